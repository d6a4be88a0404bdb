//! What the bus counts.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

use crate::telemetry::Registry;

/// Numbers of one node's bus. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    pub(super) sent: Counter,
    pub(super) received: Counter,
    pub(super) up: Gauge,
    pub(super) topics: Gauge,
    dropped: Family<Reason, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

impl Metrics {
    /// Metrics that `registry` exposes.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for reason in ["away", "full", "late", "lost", "refused", "slow", "unreadable"] {
            // From 0, so that the first one is seen as an increase.
            metrics.dropped(reason, 0);
        }
        let (sent, received) = (metrics.sent.clone(), metrics.received.clone());
        registry.register("realtime_cluster_sent", "Messages handed to other nodes", sent);
        registry.register("realtime_cluster_received", "Messages of other nodes", received);
        registry.register(
            "realtime_cluster_dropped",
            "Messages that did not reach other nodes or came in vain, by reason",
            metrics.dropped.clone(),
        );
        registry.register(
            "realtime_cluster_up",
            "1 while the bus between nodes is reached",
            metrics.up.clone(),
        );
        registry.register(
            "realtime_cluster_topics",
            "Topics whose messages other nodes send here",
            metrics.topics.clone(),
        );
        metrics
    }

    /// Counts messages that are lost, and why.
    pub(super) fn dropped(&self, reason: &'static str, messages: usize) {
        let messages = u64::try_from(messages).unwrap_or(u64::MAX);
        self.dropped.get_or_create(&Reason { reason }).inc_by(messages);
    }
}

//! What the chat counts.

use prometheus_client::encoding::EncodeLabelSet;

use crate::telemetry::{Counts, Registry};

use super::ChatError;

/// The metric families. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    verbs: Counts<Outcome>,
    pushes: Counts<Event>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    tenant: String,
    verb: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Event {
    tenant: String,
    event: &'static str,
}

/// One tenant's series.
#[derive(Debug, Clone)]
pub struct Series {
    tenant: String,
    families: Metrics,
}

impl Metrics {
    /// Adds the families to a registry.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Chat verbs of clients over both doors, by outcome";
        registry.register("realtime_chat_verbs", help, metrics.verbs.family());
        let help = "Chat events said in rooms, each counted once";
        registry.register("realtime_chat_pushes", help, metrics.pushes.family());
        metrics
    }

    /// The series of one tenant.
    pub fn tenant(&self, name: &str) -> Series {
        Series { tenant: name.to_owned(), families: self.clone() }
    }

    /// Removes the series of a tenant that is served no more.
    pub fn remove(&self, name: &str) {
        self.verbs.remove(name);
        self.pushes.remove(name);
    }
}

impl Series {
    /// Counts a verb; without an error it was done.
    pub fn verb(&self, verb: &'static str, error: Option<&ChatError>) {
        let outcome = error.map_or("ok", |error| error.code.as_str());
        let label = Outcome { tenant: self.tenant.clone(), verb, outcome };
        self.families.verbs.add(&self.tenant, label, 1);
    }

    pub(super) fn pushed(&self, event: &'static str) {
        let label = Event { tenant: self.tenant.clone(), event };
        self.families.pushes.add(&self.tenant, label, 1);
    }
}

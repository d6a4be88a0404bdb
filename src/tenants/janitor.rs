//! Keeps `realtime.messages` in order while the server runs.
//!
//! A run drops the partitions older than the retention, creates those that
//! are missing and deletes messages that expired earlier. Runs come at the
//! start, then every few hours, and when somebody finds today's partition
//! missing. A run that fails is tried again soon; nothing waits for it.

use std::{sync::Arc, time::Duration};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Unit,
};
use tokio::{sync::Notify, time::sleep};

use super::partitions;
use crate::{
    error_code::ErrorCode,
    postgres::{connect::ConnectConfig, pool as pg, session},
    runtime::{
        Drain,
        backoff::{self, Backoff},
        clock,
    },
    telemetry::{Registry, TenantLabel, reason, tenant_label},
};

/// When the janitor runs and what it keeps.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which database. The user must own `realtime.messages`.
    pub connect: ConnectConfig,
    /// Whose database, for log lines and metrics.
    pub tenant: String,
    /// How long messages are kept.
    pub retention: Duration,
    /// From the start to the first run.
    pub first: Duration,
    /// Between two runs.
    pub interval: Duration,
    /// Up to this much is added to each pause, so that many servers do not
    /// run together.
    pub jitter: Duration,
}

/// Asks the janitor for something. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Handle(Arc<Notify>);

/// The metric families. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    partitions: Family<TenantLabel, Gauge>,
    last_run: Family<TenantLabel, Gauge>,
    errors: Family<TenantLabel, Counter>,
}

#[derive(Debug)]
struct Janitor {
    config: Config,
    asked: Arc<Notify>,
    partitions: Gauge,
    last_run: Gauge,
    errors: Counter,
}

impl Handle {
    /// Asks for a run soon: a partition is missing. May be called by anybody
    /// any number of times; runs are at least some seconds apart.
    pub fn partition_is_missing(&self) {
        self.0.notify_one();
    }
}

impl Metrics {
    /// Adds the families to a registry.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "realtime_messages_partitions",
            "Partitions of realtime.messages",
            metrics.partitions.clone(),
        );
        registry.register_with_unit(
            "realtime_janitor_last_run_timestamp",
            "When the janitor last finished its work, since 1970",
            Unit::Seconds,
            metrics.last_run.clone(),
        );
        registry.register(
            "realtime_janitor_errors",
            "Runs of the janitor that failed",
            metrics.errors.clone(),
        );
        metrics
    }

    /// Removes the series of a tenant that is served no more.
    pub fn remove(&self, tenant: &str) {
        let labels = tenant_label(tenant);
        self.partitions.remove(&labels);
        self.last_run.remove(&labels);
        self.errors.remove(&labels);
    }
}

/// Starts a janitor that does what `handle` asks for; it ends when `drain` begins.
pub fn spawn(config: Config, handle: &Handle, drain: &Drain, metrics: &Metrics) {
    let labels = tenant_label(&config.tenant);
    let janitor = Janitor {
        config,
        asked: Arc::clone(&handle.0),
        partitions: metrics.partitions.get_or_create_owned(&labels),
        last_run: metrics.last_run.get_or_create_owned(&labels),
        errors: metrics.errors.get_or_create_owned(&labels),
    };
    let signal = drain.clone();
    drain.spawn("janitor", async move {
        tokio::select! {
            () = janitor.run() => {}
            () = signal.started() => {}
        }
    });
}

impl Janitor {
    async fn run(&self) {
        let mut retry = Backoff::new(Duration::from_secs(5), Duration::from_secs(300));
        let mut pause = self.config.first;
        loop {
            tokio::select! {
                () = sleep(pause) => {}
                () = self.asked.notified() => {}
            }
            pause = if Box::pin(self.clean()).await.is_ok() {
                retry.reset();
                self.config.interval + backoff::jitter(self.config.jitter)
            } else {
                self.errors.inc();
                retry.pause()
            };
            // However often somebody asks.
            sleep(Duration::from_secs(5)).await;
        }
    }

    /// One run. What fails is logged here, and does not keep the rest from being done.
    async fn clean(&self) -> Result<(), ()> {
        let config = session::SessionConfig {
            statement_timeout: Some(Duration::from_secs(60)),
            ..session::SessionConfig::new("rowcast_janitor")
        };
        let client = session::connect(&self.config.connect, &config).await;
        let mut client = client.map_err(|error| {
            let error = reason(&error);
            tracing::warn!(
                code = %ErrorCode::UnableToConnectToTenantDatabase, error,
                "the janitor cannot connect to the database"
            );
        })?;
        // First what is needed, then what is in the way.
        let created = partitions::create_missing(&mut client).await;
        let created = told(ErrorCode::PartitionCreationFailed, created);
        let retention = self.config.retention;
        let dropped = partitions::drop_expired(&mut client, retention).await;
        let dropped = told(ErrorCode::JanitorFailedToDeleteOldMessages, dropped);
        let deleted = partitions::delete_expired(&client).await;
        let deleted = told(ErrorCode::JanitorFailedToDeleteOldMessages, deleted);
        if let Ok(count) = partitions::count(&client).await {
            self.partitions.set(count);
        }
        let (created, dropped, deleted) = (created?, dropped?, deleted?);
        if !created.is_empty() || !dropped.is_empty() || deleted > 0 {
            tracing::info!(?created, ?dropped, deleted, "realtime.messages is in order");
        }
        self.last_run.set(clock::unix_seconds());
        Ok(())
    }
}

fn told<T>(code: ErrorCode, result: Result<T, pg::Error>) -> Result<T, ()> {
    result.map_err(|error| {
        let reason = reason(&error);
        tracing::warn!(%code, reason, "the janitor could not do all of its work");
    })
}

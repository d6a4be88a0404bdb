//! What an operator decides about row changes.

use std::{sync::Arc, time::Duration};

use super::{
    metrics::{Metrics, Series},
    row_security,
};
use crate::tenants::Tenant;

/// Settings of the engine.
#[derive(Debug, Clone)]
pub struct Config {
    /// The publication whose tables can be subscribed to.
    pub publication: Arc<str>,
    /// Rows with more bytes lose their larger values (error 413).
    pub max_record_bytes: usize,
    /// Policies.
    pub row_security: row_security::Config,
    /// Whose rate of changes is counted and bounded; none counts nothing.
    pub tenant: Option<Arc<Tenant>>,
    /// What becomes of changes over that rate.
    pub surplus: Surplus,
    /// Bindings of one channel.
    pub max_bindings: usize,
    /// Conditions of one binding.
    pub max_filters: usize,
    /// Keep the good bindings of a channel where others are bad.
    pub keeps_partial: bool,
    /// Between looks at what the publication contains.
    pub publication_check: Duration,
    /// Where numbers go.
    pub metrics: Metrics,
}

/// What becomes of changes over the tenant's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surplus {
    /// They are delivered, and it is logged.
    Keep,
    /// They are dropped silently, as Supabase Realtime does.
    Drop,
}

impl Config {
    pub(super) fn series(&self) -> Series {
        self.metrics.series(self.tenant.as_ref().map_or("", |tenant| &tenant.name))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            publication: Arc::from("supabase_realtime"),
            max_record_bytes: 1 << 20,
            row_security: row_security::Config::default(),
            tenant: None,
            surplus: Surplus::Keep,
            max_bindings: 100,
            max_filters: 50,
            keeps_partial: false,
            publication_check: Duration::from_secs(60),
            metrics: Metrics::default(),
        }
    }
}

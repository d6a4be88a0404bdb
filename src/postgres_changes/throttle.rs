//! The tenant's rate of changes, counted once for each subscription.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::config::{Config, Surplus};
use crate::{error_code::ErrorCode, tenants::Tenant};

/// Counts deliveries and says which rows are too many.
#[derive(Debug)]
pub(super) struct Throttle {
    tenant: Option<Arc<Tenant>>,
    surplus: Surplus,
    /// The trip that lasts was logged.
    is_told: AtomicBool,
}

impl Throttle {
    pub(super) fn new(config: &Config) -> Self {
        let (tenant, surplus) = (config.tenant.clone(), config.surplus);
        Self { tenant, surplus, is_told: AtomicBool::new(false) }
    }

    /// True if a row is to be dropped. One line is logged for each trip.
    pub(super) fn drops(&self) -> bool {
        let Some(tenant) = &self.tenant else { return false };
        if !tenant.meters.db_events.is_tripped() {
            self.is_told.store(false, Ordering::Relaxed);
            return false;
        }
        if !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                code = %ErrorCode::MessagePerSecondRateLimitReached,
                limit = tenant.terms().limits.max_events_per_second,
                surplus = ?self.surplus,
                "more changes a second than the tenant may have"
            );
        }
        self.surplus == Surplus::Drop
    }

    /// Counts the subscriptions that a row went to.
    pub(super) fn record(&self, delivered: usize) {
        if let Some(tenant) = &self.tenant {
            tenant.meters.db_events.record(u64::try_from(delivered).unwrap_or(u64::MAX));
        }
    }
}

//! Counters with more labels than the tenant.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus_client::metrics::{counter::Counter, family::Family};

/// A family that remembers which labels each tenant used, so that a tenant's
/// series can be removed. Clones share everything.
pub struct Counts<L> {
    family: Family<L, Counter>,
    used: Arc<Mutex<HashMap<String, HashSet<L>>>>,
}

impl<L: Clone + Eq + Hash> Counts<L> {
    /// What a registry takes.
    pub fn family(&self) -> Family<L, Counter> {
        self.family.clone()
    }

    /// Counts `more` of a tenant under these labels.
    pub fn add(&self, tenant: &str, labels: L, more: u64) {
        if let Some(counter) = self.family.get(&labels) {
            counter.inc_by(more);
            return;
        }
        self.family.get_or_create(&labels).inc_by(more);
        self.lock().entry(tenant.to_owned()).or_default().insert(labels);
    }

    /// Removes a tenant's series.
    pub fn remove(&self, tenant: &str) {
        let used = self.lock().remove(tenant);
        for labels in used.into_iter().flatten() {
            self.family.remove(&labels);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, HashSet<L>>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L: Clone + Eq + Hash> Default for Counts<L> {
    fn default() -> Self {
        Self { family: Family::default(), used: Arc::default() }
    }
}

impl<L> Clone for Counts<L> {
    fn clone(&self) -> Self {
        Self { family: self.family.clone(), used: Arc::clone(&self.used) }
    }
}

impl<L> fmt::Debug for Counts<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counts").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Label = [(&'static str, String); 1];

    fn label(value: &str) -> Label {
        [("code", value.to_owned())]
    }

    #[test]
    fn the_series_of_one_tenant_go() {
        let counts: Counts<Label> = Counts::default();
        counts.add("a", label("one"), 1);
        counts.add("a", label("one"), 2);
        counts.add("b", label("two"), 1);
        assert_eq!(counts.family().get(&label("one")).map(|count| count.get()), Some(3));
        counts.remove("a");
        counts.remove("nobody");
        assert!(counts.family().get(&label("one")).is_none());
        assert!(counts.family().get(&label("two")).is_some());
    }
}

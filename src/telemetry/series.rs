//! Families that several modules register: counts by tenant with their sum, and
//! the sizes of payloads.
//!
//! A sum is counted, not added up when it is asked for, so it outlives the
//! series of a tenant.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
};

use super::{Registry, TenantLabel, tenant_label};

/// Bounds in bytes, as Supabase Realtime has them.
const SIZES: [f64; 11] = [250.0, 500.0, 1e3, 3e3, 5e3, 10e3, 25e3, 100e3, 500e3, 1e6, 3e6];

/// `realtime_channel_NAME` by tenant, and `realtime_channel_global_NAME`. Clones share both.
#[derive(Debug, Clone, Default)]
pub struct Summed {
    by_tenant: Family<TenantLabel, Counter>,
    all: Counter,
}

/// One tenant's counter, which counts for the sum too.
#[derive(Debug, Clone, Default)]
pub struct Twin {
    own: Counter,
    all: Counter,
}

impl Summed {
    /// Adds both to a registry.
    pub fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(format!("realtime_channel_{name}"), help, self.by_tenant.clone());
        let help = format!("{help}, of all tenants");
        registry.register(format!("realtime_channel_global_{name}"), help, self.all.clone());
    }

    /// The counter of one tenant.
    pub fn tenant(&self, name: &str) -> Twin {
        let own = self.by_tenant.get_or_create_owned(&tenant_label(name));
        Twin { own, all: self.all.clone() }
    }

    /// Removes the series of a tenant that is served no more; the sum stays.
    pub fn remove(&self, name: &str) {
        self.by_tenant.remove(&tenant_label(name));
    }
}

impl Twin {
    /// One more.
    pub fn inc(&self) {
        self.inc_by(1);
    }

    /// So many more.
    pub fn inc_by(&self, count: u64) {
        self.own.inc_by(count);
        self.all.inc_by(count);
    }
}

/// What a payload belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A broadcast of a client.
    Broadcast,
    /// What a client says about itself.
    Presence,
    /// A row.
    PostgresChanges,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Broadcast => "broadcast",
            Self::Presence => "presence",
            Self::PostgresChanges => "postgres_changes",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TenantType {
    tenant: String,
    message_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Type {
    message_type: &'static str,
}

/// Sizes of payloads in bytes, each counted once however many receive it.
/// Clones share the families.
#[derive(Debug, Clone)]
pub struct Payloads {
    by_tenant: Family<TenantType, Histogram, fn() -> Histogram>,
    all: Family<Type, Histogram, fn() -> Histogram>,
}

/// The sizes of one kind of one tenant's payloads.
#[derive(Debug, Clone)]
pub struct Sizes {
    own: Histogram,
    all: Histogram,
}

impl Default for Payloads {
    fn default() -> Self {
        let sizes: fn() -> Histogram = || Histogram::new(SIZES);
        Self {
            by_tenant: Family::new_with_constructor(sizes),
            all: Family::new_with_constructor(sizes),
        }
    }
}

impl Payloads {
    /// Adds the families to a registry.
    pub fn register(registry: &mut Registry) -> Self {
        let payloads = Self::default();
        let (own, all) = (payloads.by_tenant.clone(), payloads.all.clone());
        registry.register("realtime_tenants_payload_size", "Bytes of a payload", own);
        registry.register("realtime_payload_size", "Bytes of a payload, of all tenants", all);
        payloads
    }

    /// The sizes of one kind of a tenant's payloads.
    pub fn of(&self, tenant: &str, kind: Kind) -> Sizes {
        let message_type = kind.as_str();
        let own = TenantType { tenant: tenant.to_owned(), message_type };
        Sizes {
            own: self.by_tenant.get_or_create_owned(&own),
            all: self.all.get_or_create_owned(&Type { message_type }),
        }
    }

    /// Removes the series of a tenant that is served no more; the sum stays.
    pub fn remove(&self, tenant: &str) {
        for kind in [Kind::Broadcast, Kind::Presence, Kind::PostgresChanges] {
            let message_type = kind.as_str();
            self.by_tenant.remove(&TenantType { tenant: tenant.to_owned(), message_type });
        }
    }
}

impl Sizes {
    /// Counts a payload of so many bytes.
    pub fn observe(&self, bytes: usize) {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let bytes = bytes as f64;
        self.own.observe(bytes);
        self.all.observe(bytes);
    }
}

/// Milliseconds of work that may end with a limit of seconds: the bounds of
/// Supabase Realtime, with finer ones between them.
pub fn milliseconds() -> Histogram {
    Histogram::new([1.0, 5.0, 10.0, 50.0, 100.0, 250.0, 1000.0, 5000.0, 15_000.0])
}

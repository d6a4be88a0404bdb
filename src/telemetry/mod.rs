//! Logs and metrics. Neither ever holds a payload, a token or a row's values.

pub mod logging;

/// Metrics are registered into one registry that is passed in, never a global.
pub use prometheus_client::registry::Registry;

/// The label of a series that belongs to one tenant.
pub type TenantLabel = [(&'static str, String); 1];

/// The label of this tenant's series.
pub fn tenant_label(name: &str) -> TenantLabel {
    [("tenant", name.to_owned())]
}

//! Logs and metrics. Neither ever holds a payload, a token or a row's values.

pub mod logging;

/// Metrics are registered into one registry that is passed in, never a global.
pub use prometheus_client::registry::Registry;

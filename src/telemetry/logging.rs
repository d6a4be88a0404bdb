//! Structured logs on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::{
    EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

impl Format {
    /// What suits standard error: people on a terminal, machines elsewhere.
    pub fn detect() -> Self {
        if std::io::stderr().is_terminal() { Self::Pretty } else { Self::Json }
    }
}

/// Starts logging at `level`: `off`, `error`, `warn`, `info`, `debug` or
/// `trace`. Later calls do nothing.
pub fn init(level: &str, format: Format) {
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        Format::Pretty => {
            lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).boxed()
        }
        Format::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
    };
    // A second subscriber is refused; the first one goes on.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
}

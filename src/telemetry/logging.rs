//! Structured logs on standard error.

mod codes;

use std::io::IsTerminal as _;

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{self, MakeWriter},
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use self::codes::{CodeFirst, Coded};

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
    let lines = lines(format, std::io::stderr().is_terminal(), std::io::stderr);
    // A second subscriber is refused; the first one goes on.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
}

/// Writes lines, with colours if people may see them.
fn lines<S, W>(format: Format, colours: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_writer(writer);
    match format {
        Format::Pretty => lines
            .fmt_fields(CodeFirst)
            .with_target(false)
            .with_ansi(colours)
            .map_event_format(move |inner| Coded::new(inner, format))
            .boxed(),
        Format::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(false);
            lines.map_event_format(move |inner| Coded::new(inner, format)).boxed()
        }
    }
}

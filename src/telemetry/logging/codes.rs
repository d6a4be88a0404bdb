//! Lines with a code: how they begin, and that a storm of them fills no disk.
//!
//! A line that has the field `code` begins with it: `Unauthorized: join refused`.
//! Of each tenant and code the first few lines within some seconds are written;
//! the first one afterwards says how many were left out. What has no code, and
//! what is written for people who search (`debug` and below), is never left out.

use std::{
    collections::HashMap,
    fmt::{self, Debug},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{DefaultFields, Writer},
    },
    registry::LookupSpan,
};

use super::Format;

/// Lines of one tenant and code that are written within a window.
const FIRST: u32 = 10;

/// Its length.
const WINDOW: Duration = Duration::from_secs(10);

/// Pairs of tenant and code that are counted; beyond it everything is written.
const MOST: usize = 10_000;

/// Where the text of a line of JSON begins: nothing else can read like this, as
/// quotes within a text are escaped.
const TEXT: &str = r#""message":""#;

/// Writes lines as `inner` does, with what this module is about.
#[derive(Debug)]
pub(super) struct Coded<F> {
    inner: F,
    format: Format,
    storms: Storms,
}

impl<F> Coded<F> {
    pub(super) fn new(inner: F, format: Format) -> Self {
        Self { inner, format, storms: Storms::default() }
    }
}

impl<S, N, F> FormatEvent<S, N> for Coded<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut label = Label::default();
        event.record(&mut label);
        let Some(code) = label.code else {
            return self.inner.format_event(context, writer, event);
        };
        let mut left_out = 0;
        if *event.metadata().level() <= Level::INFO {
            let tenant = label.tenant.unwrap_or_default();
            match self.storms.fate(&tenant, &code, Instant::now()) {
                Fate::Written { after } => left_out = after,
                Fate::LeftOut => return Ok(()),
            }
        }
        match self.format {
            // The text is preceded by the code where fields are written.
            Format::Pretty => {
                if left_out > 0 {
                    writeln!(writer, "({left_out} lines like this one were left out)")?;
                }
                self.inner.format_event(context, writer, event)
            }
            Format::Json => {
                let mut line = String::new();
                self.inner.format_event(context, Writer::new(&mut line), event)?;
                let begin = match left_out {
                    0 => format!("{TEXT}{code}: "),
                    _ => format!("\"left_out\":{left_out},{TEXT}{code}: "),
                };
                writer.write_str(&line.replacen(TEXT, &begin, 1))
            }
        }
    }
}

/// Fields for people, after the code.
#[derive(Debug, Default)]
pub(super) struct CodeFirst;

impl<'writer> FormatFields<'writer> for CodeFirst {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        let mut label = Label::default();
        fields.record(&mut label);
        if let Some(code) = label.code {
            write!(writer, "{code}: ")?;
        }
        DefaultFields::new().format_fields(writer, fields)
    }
}

/// What a line is about.
#[derive(Default)]
struct Label {
    code: Option<String>,
    tenant: Option<String>,
}

impl Visit for Label {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "code" => self.code = Some(format!("{value:?}")),
            "tenant" => self.tenant = Some(format!("{value:?}")),
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// Counts lines.
#[derive(Debug, Default)]
struct Storms(Mutex<HashMap<(String, String), Window>>);

#[derive(Debug)]
struct Window {
    since: Instant,
    lines: u32,
}

/// What becomes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is written, after so many that were not.
    Written { after: u32 },
    /// It is not.
    LeftOut,
}

impl Storms {
    fn fate(&self, tenant: &str, code: &str, now: Instant) -> Fate {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= MOST {
            windows.retain(|_, window| now - window.since < WINDOW);
            if windows.len() >= MOST {
                return Fate::Written { after: 0 };
            }
        }
        let key = (tenant.to_owned(), code.to_owned());
        let window = windows.entry(key).or_insert(Window { since: now, lines: 0 });
        let mut after = 0;
        if now - window.since >= WINDOW {
            after = window.lines.saturating_sub(FIRST);
            *window = Window { since: now, lines: 0 };
        }
        window.lines = window.lines.saturating_add(1);
        match window.lines <= FIRST {
            true => Fate::Written { after },
            false => Fate::LeftOut,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use tracing_subscriber::{fmt::MakeWriter, layer::SubscriberExt as _};

    use super::*;

    #[derive(Debug, Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Page {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn written(format: Format, say: impl FnOnce()) -> String {
        let page = Page::default();
        let lines = super::super::lines(format, false, page.clone());
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(subscriber, say);
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_line_begins_with_its_code_in_both_forms() {
        let say = || {
            let code = crate::error_code::ErrorCode::Unauthorized;
            tracing::info!(%code, topic = "a \"message\":\"", "join refused");
            tracing::info!("without");
        };
        let json = written(Format::Json, say);
        let mut lines = json.lines().map(|line| serde_json::from_str(line).unwrap());
        let line: serde_json::Value = lines.next().unwrap();
        assert_eq!(line["message"], "Unauthorized: join refused");
        assert_eq!(
            (&line["code"], &line["topic"]),
            (&"Unauthorized".into(), &"a \"message\":\"".into())
        );
        assert_eq!(lines.next().unwrap()["message"], "without");
        let pretty = written(Format::Pretty, say);
        assert!(pretty.contains("INFO Unauthorized: join refused code=Unauthorized"), "{pretty}");
    }

    #[test]
    fn a_storm_is_cut_short_for_each_tenant_and_code() {
        let json = written(Format::Json, || {
            for _ in 0..50 {
                tracing::warn!(code = "A", tenant = "t", "x");
                tracing::warn!(code = "A", tenant = "u", "x");
                tracing::warn!(code = "B", tenant = "t", "x");
                tracing::debug!(code = "A", tenant = "t", "x");
                tracing::warn!("plain");
            }
        });
        assert_eq!(json.lines().count(), 3 * FIRST as usize + 50 + 50);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_storm_it_is_said_how_much_was_left_out() {
        let storms = Storms::default();
        let fates = |count: usize| -> Vec<Fate> {
            (0..count).map(|_| storms.fate("t", "A", Instant::now())).collect()
        };
        let first = fates(25);
        assert_eq!(first.iter().filter(|fate| **fate == Fate::LeftOut).count(), 15);
        tokio::time::advance(WINDOW).await;
        assert_eq!(fates(1), [Fate::Written { after: 15 }]);
        tokio::time::advance(WINDOW).await;
        assert_eq!(fates(1), [Fate::Written { after: 0 }]);
    }
}

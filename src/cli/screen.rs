//! The one place that writes to the terminal.
//!
//! anstream strips colours where nobody sees them: in a pipe, on a dumb
//! terminal, or when `NO_COLOR` is set. A closed pipe is no reason to fail.

use std::{fmt::Display, io::Write as _};

use anstyle::{AnsiColor, Style};

/// Headings and names.
pub(super) const STRONG: Style = Style::new().bold();
/// What matters less.
pub(super) const FAINT: Style = Style::new().dimmed();
/// Success.
pub(super) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Failure.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What may become a failure.
pub(super) const WORRY: Style = AnsiColor::Yellow.on_default().bold();
/// Something to copy or to open.
pub(super) const VALUE: Style = AnsiColor::Cyan.on_default();

/// `text` in that style.
pub(super) fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Writes text and a line end to standard output.
pub(super) fn line(text: impl Display) {
    let _ = writeln!(anstream::stdout(), "{text}");
}

/// Tells of progress on standard error, out of the way of what is piped.
pub(super) fn progress(text: impl Display) {
    let _ = writeln!(anstream::stderr(), "{}", paint(FAINT, text));
}

/// Writes an error and what to do about it to standard error.
pub(super) fn error(what: impl Display, next: &str) {
    let mut out = anstream::stderr();
    let _ = writeln!(out, "{} {what}", paint(BAD, "error:"));
    let _ = writeln!(out, "  {} {next}", paint(STRONG, "next:"));
}

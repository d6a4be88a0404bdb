//! The wall clock. Durations come from `tokio::time`, dates from here.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since 1970-01-01 UTC; zero if the machine's clock is before that.
pub fn unix_time() -> Duration {
    #[expect(clippy::disallowed_methods, reason = "this is the clock the lint points to")]
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A moment as `2026-01-31T23:59:59`, in UTC.
pub fn iso8601(since_1970: Duration) -> String {
    let moment = time::OffsetDateTime::UNIX_EPOCH + since_1970;
    let format = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
    // The parts of a date always format.
    moment.format(format).unwrap_or_default()
}

/// Whole seconds since 1970-01-01 UTC.
pub fn unix_seconds() -> i64 {
    i64::try_from(unix_time().as_secs()).unwrap_or(i64::MAX)
}

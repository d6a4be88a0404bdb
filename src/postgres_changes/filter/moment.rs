//! Dates and times as numbers, read from PostgreSQL's ISO output.

/// Microseconds in a day.
const DAY: i64 = 86_400_000_000;

/// Days since 1970-01-01; the infinities are the ends of `i64`.
pub(super) fn date(text: &str) -> Option<i64> {
    match text {
        "infinity" => Some(i64::MAX),
        "-infinity" => Some(i64::MIN),
        _ => {
            let (text, before_christ) = era(text);
            days(text, before_christ)
        }
    }
}

/// Microseconds since 1970-01-01 UTC; a zone, where there is one, is applied.
pub(super) fn timestamp(text: &str) -> Option<i64> {
    match text {
        "infinity" => return Some(i64::MAX),
        "-infinity" => return Some(i64::MIN),
        _ => {}
    }
    let (text, before_christ) = era(text);
    let (day, clock) = text.split_once(' ')?;
    let (clock, zone) = match clock.find(['+', '-']) {
        Some(at) => clock.split_at(at),
        None => (clock, ""),
    };
    let local = days(day, before_christ)?.checked_mul(DAY)?.checked_add(time(clock)?)?;
    local.checked_sub(offset(zone)?)
}

/// Microseconds since midnight, `24:00:00` included.
pub(super) fn time(text: &str) -> Option<i64> {
    let (text, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = text.split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || fraction.len() > 6 {
        return None;
    }
    let whole = (number(hours)? * 60 + number(minutes)?) * 60 + number(seconds)?;
    let micros = if fraction.is_empty() { 0 } else { number(&format!("{fraction:0<6}"))? };
    Some(whole * 1_000_000 + micros)
}

fn offset(zone: &str) -> Option<i64> {
    let (sign, digits) = match zone.split_at_checked(1) {
        Some(("+", digits)) => (1, digits),
        Some(("-", digits)) => (-1, digits),
        _ => return zone.is_empty().then_some(0),
    };
    let mut parts = digits.split(':').map(number);
    let mut seconds = 0;
    for unit in [3600, 60, 1] {
        seconds += parts.next().unwrap_or(Some(0))? * unit;
    }
    parts.next().is_none().then_some(sign * seconds * 1_000_000)
}

fn era(text: &str) -> (&str, bool) {
    match text.strip_suffix(" BC") {
        Some(text) => (text, true),
        None => (text, false),
    }
}

/// Days since 1970-01-01 of `YYYY-MM-DD` in the proleptic Gregorian calendar.
fn days(text: &str, before_christ: bool) -> Option<i64> {
    let mut parts = text.split('-');
    let (year, month, day) =
        (number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?)?);
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // 1 BC is year 0.
    let year = if before_christ { 1 - year } else { year };
    // Years from March on, so that the leap day is the last of a year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    Some(year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468)
}

/// Digits only; nine at most, so that nothing overflows.
fn number(text: &str) -> Option<i64> {
    let plain =
        !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_count_from_1970() {
        assert_eq!(date("1970-01-01"), Some(0));
        assert_eq!(date("2000-02-29"), Some(11_016));
        assert_eq!(date("1969-12-31"), Some(-1));
        assert_eq!(date("0001-01-01"), Some(-719_162));
        assert_eq!(date("0001-12-31 BC"), Some(-719_163));
        assert_eq!(timestamp("1970-01-02 00:00:01.5"), Some(DAY + 1_500_000));
        assert_eq!(timestamp("1970-01-01 02:00:00+02"), Some(0));
        assert_eq!(timestamp("1970-01-01 00:00:00-00:30"), Some(1_800_000_000));
        assert_eq!(time("24:00:00"), Some(DAY));
    }

    #[test]
    fn other_forms_are_not_understood() {
        for text in ["", "today", "2024-5", "2024-13-01", "2024-01-01T00:00:00", "1-2-3-4"] {
            assert_eq!((date(text), timestamp(text)), (None, None), "{text}");
        }
        assert_eq!(time("1:2"), None);
    }
}

//! Checks of values, and how far apart two names are.

use std::net::{IpAddr, SocketAddr};

use super::{
    error::ConfigError,
    knob::{Kind, Knob},
};

/// `Ok` if `knob` may have the value `text`.
pub(super) fn check(knob: &Knob, name: &str, text: &str) -> Result<(), ConfigError> {
    if accepts(knob.kind, text) {
        return Ok(());
    }
    // A URL may hold a password, and one that is wrong cannot be taken apart to mask it.
    let hidden = knob.secret || matches!(knob.kind, Kind::Url | Kind::WebUrl | Kind::RedisUrl);
    let value = if hidden { "set to something else".to_owned() } else { quote(text) };
    Err(ConfigError::Invalid { name: name.to_owned(), value, expected: knob.kind.expected() })
}

fn accepts(kind: Kind, text: &str) -> bool {
    match kind {
        Kind::Text | Kind::List | Kind::Path => true,
        Kind::Bool => parse_bool(text).is_some(),
        Kind::Address => text.parse::<IpAddr>().is_ok(),
        Kind::SocketAddress => text.parse::<SocketAddr>().is_ok(),
        Kind::Number { min, max, .. } => {
            text.parse::<u64>().is_ok_and(|number| (min..=max).contains(&number))
        }
        Kind::Choice(words) => words.contains(&text),
        Kind::Url => text.starts_with("postgres://") || text.starts_with("postgresql://"),
        Kind::WebUrl => text.starts_with("https://") || text.starts_with("http://"),
        Kind::RedisUrl => {
            let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
            let (base, _) = scheme.split_once('-').unwrap_or((scheme, ""));
            matches!(base, "redis" | "rediss" | "valkey" | "valkeys")
        }
        Kind::Object => {
            serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok()
        }
        Kind::SlotName => {
            (1..=63).contains(&text.len())
                && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        }
    }
}

/// `true`, `1`, `yes`, `on` and their opposites; nothing else.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// `text` in quotes, shortened: a pasted file must not fill the screen.
fn quote(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

/// The one of `names` that `name` most likely means, if any is close.
pub(super) fn nearest(
    name: &str,
    names: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    // The prefix alone must not make two names similar, and it may be too much.
    let bare = |name: &str| name.trim_start_matches("ROWCAST_").to_owned();
    let name = bare(name);
    names
        .map(|known| (distance(&name, &bare(known)), known))
        .filter(|(far, known)| far * 3 <= bare(known).len())
        .min_by_key(|(far, _)| *far)
        .map(|(_, known)| known)
}

/// How many letters to insert, drop or change to make `b` out of `a`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (above, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let cost = (diagonal + usize::from(x != y)).min(left + 1).min(*above + 1);
            diagonal = *above;
            *above = cost;
            left = cost;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(name: &str, text: &str) -> String {
        let knob = Knob::find(name).unwrap();
        check(knob, name, text).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_variable_the_value_and_what_is_expected() {
        assert_eq!(
            fault("PORT", "http"),
            r#"PORT is "http", but should be a number from 0 to 65535"#
        );
        assert_eq!(
            fault("LOG_LEVEL", "loud"),
            r#"LOG_LEVEL is "loud", but should be off, error, warn, info, debug or trace"#
        );
        assert_eq!(
            fault("ROWCAST_SLOT_NAME", "My-Slot"),
            r#"ROWCAST_SLOT_NAME is "My-Slot", but should be a name of at most 63 lower-case letters, digits and underscores"#
        );
    }

    #[test]
    fn a_secret_is_never_part_of_an_error() {
        assert!(!fault("DATABASE_URL", "mysql://u:hunter2@h/d").contains("hunter2"));
    }

    #[test]
    fn booleans_have_four_spellings() {
        assert_eq!(parse_bool("TRUE"), Some(true));
        assert_eq!(parse_bool("off"), Some(false));
        assert_eq!(parse_bool("maybe"), None);
    }

    #[test]
    fn the_nearest_name_may_lack_the_prefix() {
        let nearest = |name| nearest(name, ["PORT", "ROWCAST_BIND"].into_iter());
        assert_eq!(nearest("ROWCAST_PORT"), Some("PORT"));
        assert_eq!(nearest("ROWCAST_BND"), Some("ROWCAST_BIND"));
        assert_eq!(nearest("ROWCAST_XYZ"), None);
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}

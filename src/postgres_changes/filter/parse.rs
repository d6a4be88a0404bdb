//! The filter grammar.
//!
//! ```text
//! filter   := segment ("," segment)*
//! segment  := column "=" ["not."] op "." value
//! ```
//!
//! A comma splits only outside parentheses and quotes; a quote opens only
//! directly after `.`, `(` or `,`, and a backslash within takes the next byte
//! as it is.

use std::sync::Arc;

use super::{Filter, Op};
use crate::postgres_changes::inspect;

/// Why a text is not a filter. `Display` is what clients are told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Error parsing `filter` params: {0}")]
pub struct FilterError(String);

/// Reads a filter; a blank one has no conditions.
///
/// # Errors
///
/// [`FilterError`] for an empty segment, a missing `=` or operator, an unknown
/// operator, or an `in` list without parentheses.
pub fn parse(text: &str) -> Result<Vec<Filter>, FilterError> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    split(text).into_iter().map(segment).collect()
}

fn split(text: &str) -> Vec<&str> {
    let mut segments = Vec::new();
    let (mut start, mut depth, mut quoted, mut previous) = (0, 0_usize, false, b'\0');
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' if quoted => {
                bytes.next();
            }
            b'"' if quoted => quoted = false,
            b'"' => quoted = matches!(previous, b'.' | b'(' | b','),
            _ if quoted => {}
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                segments.extend(text.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
        previous = byte;
    }
    // Behind a quote that never closes, commas are part of the value.
    segments.extend(text.get(start..));
    segments
}

fn segment(text: &str) -> Result<Filter, FilterError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(FilterError(
            "filter must not contain empty segments (check for extra commas)".to_owned(),
        ));
    }
    let listed = |parts: &[&str]| FilterError(inspect::list(parts.iter().copied()));
    let (column, condition) = text.split_once('=').ok_or_else(|| listed(&[text]))?;
    let (negated, rest) = match condition.strip_prefix("not.") {
        Some(rest) => (true, rest),
        None => (false, condition),
    };
    let (name, value) = rest.split_once('.').ok_or_else(|| listed(&[rest]))?;
    let op = Op::of_name(name).ok_or_else(|| listed(&[name, value]))?;
    let value = if op == Op::In { in_list(value)? } else { unquote(value) };
    Ok(Filter { column: Arc::from(column), op, value: Arc::from(value), negated })
}

/// `(a,b)` as the array literal `{a,b}`.
fn in_list(value: &str) -> Result<String, FilterError> {
    value
        .strip_prefix('(')
        .and_then(|value| value.strip_suffix(')'))
        .map(|elements| format!("{{{elements}}}"))
        .ok_or_else(|| FilterError("`in` filter value must be wrapped by parentheses".to_owned()))
}

/// Takes quotes off if they enclose the whole value; else it is literal.
fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"') else { return value.to_owned() };
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' if chars.as_str().is_empty() => return text,
            '"' => break,
            '\\' => text.extend(chars.next()),
            _ => text.push(char),
        }
    }
    value.to_owned()
}

/// Splits an array literal into its elements; `None` is a null. The error is PostgreSQL's.
///
/// # Errors
///
/// The text of PostgreSQL's error for a literal that is not one-dimensional
/// and well formed.
pub fn elements(literal: &str) -> Result<Vec<Option<String>>, String> {
    let malformed = || format!("malformed array literal: \"{literal}\"");
    let inner = literal
        .strip_prefix('{')
        .and_then(|inner| inner.strip_suffix('}'))
        .ok_or_else(malformed)?;
    let mut elements = Vec::new();
    if inner.trim().is_empty() {
        return Ok(elements);
    }
    let (mut text, mut quoted, mut kept) = (String::new(), false, 0);
    let mut chars = inner.chars().chain([',']).peekable();
    let mut in_quotes = false;
    let mut left = inner.chars().count() + 1;
    while let Some(char) = chars.next() {
        left -= 1;
        match char {
            '\\' if left > 1 => {
                text.extend(chars.next());
                left -= 1;
                kept = text.len();
            }
            '\\' => return Err(malformed()),
            '"' if in_quotes => in_quotes = false,
            '"' => {
                // Quotes enclose a whole element or PostgreSQL refuses the literal.
                if quoted || !text.trim().is_empty() {
                    return Err(malformed());
                }
                text.clear();
                (quoted, in_quotes) = (true, true);
            }
            ',' if !in_quotes || left == 0 => {
                if in_quotes {
                    return Err(malformed());
                }
                // White space around an element is not part of it, unless escaped.
                let end = text.trim_end().len().max(kept);
                text.truncate(end);
                let element = if quoted { text.as_str() } else { text.trim_start() };
                if element.is_empty() && !quoted {
                    return Err(malformed());
                }
                let null = !quoted && element.eq_ignore_ascii_case("null");
                elements.push((!null).then(|| element.to_owned()));
                (text, quoted, kept) = (String::new(), false, 0);
            }
            '{' | '}' if !in_quotes => return Err(malformed()),
            char if quoted && !in_quotes => {
                if !char.is_whitespace() {
                    return Err(malformed());
                }
            }
            char => {
                text.push(char);
                if in_quotes {
                    kept = text.len();
                }
            }
        }
    }
    Ok(elements)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(text: &str) -> (String, Op, String, bool) {
        let filters = parse(text).unwrap();
        assert_eq!(filters.len(), 1, "{text}");
        let filter = &filters[0];
        (filter.column.to_string(), filter.op, filter.value.to_string(), filter.negated)
    }

    fn refused(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn every_operator_parses_with_and_without_not() {
        for op in Op::ALL {
            let value = if op == Op::In { "(1)" } else { "1" };
            let text = format!("a={}.{value}", op.name());
            assert_eq!((one(&text).1, one(&text).3), (op, false));
            let text = format!("a=not.{}.{value}", op.name());
            assert_eq!((one(&text).1, one(&text).3), (op, true));
        }
    }

    #[test]
    fn commas_split_outside_parentheses_and_quotes() {
        let count = |text: &str| parse(text).unwrap().len();
        assert_eq!(count(" id=eq.1 , a=eq.abc "), 2);
        assert_eq!(count("id=in.(1,2),a=like.a%"), 2);
        assert_eq!(count("a=eq.\"with, comma\""), 1);
        assert_eq!(count("a=eq.\"x\\\",y\",b=eq.1"), 2);
        assert_eq!(count("  "), 0);
    }

    #[test]
    fn quotes_come_off_only_when_they_enclose_the_value() {
        assert_eq!(one("a=eq.\"with, comma\"").2, "with, comma");
        assert_eq!(one("a=eq.\"say \\\"hi\\\"\"").2, "say \"hi\"");
        assert_eq!(one("a=eq.\"back\\\\slash\"").2, "back\\slash");
        assert_eq!(one("a=eq.\"open").2, "\"open");
        assert_eq!(one("a=eq.\"tail\"x").2, "\"tail\"x");
        assert_eq!(one("a=eq.dot.and=equals").2, "dot.and=equals");
        assert_eq!(one("a=eq. lead").2, " lead");
        assert_eq!(one("a=eq.").2, "");
    }

    #[test]
    fn bad_filters_are_refused_in_the_known_words() {
        let prefix = "Error parsing `filter` params: ";
        for (text, rest) in [
            ("subject=foo.hey", "[\"foo\", \"hey\"]"),
            ("undefined", "[\"undefined\"]"),
            ("id=wrong", "[\"wrong\"]"),
            ("id=eq.1,,id=lt.3", "filter must not contain empty segments (check for extra commas)"),
            (",id=eq.1", "filter must not contain empty segments (check for extra commas)"),
            ("id=in.1,2", "`in` filter value must be wrapped by parentheses"),
            ("id=EQ.1", "[\"EQ\", \"1\"]"),
            ("arr=eq.{1,2}", "[\"2}\"]"),
        ] {
            assert_eq!(refused(text), format!("{prefix}{rest}"), "{text}");
        }
    }

    #[test]
    fn in_lists_follow_the_rules_of_array_literals() {
        let some = |texts: &[&str]| Ok(texts.iter().map(|text| Some((*text).to_owned())).collect());
        assert_eq!(elements("{}"), Ok(vec![]));
        assert_eq!(elements("{1, 2 ,3}"), some(&["1", "2", "3"]));
        assert_eq!(
            elements("{\"with, comma\",\"par)en\",plain}"),
            some(&["with, comma", "par)en", "plain"])
        );
        assert_eq!(elements("{a b,\" c \",\"\"}"), some(&["a b", " c ", ""]));
        assert_eq!(
            elements("{a,NULL,\"NULL\"}"),
            Ok(vec![Some("a".into()), None, Some("NULL".into())])
        );
        assert_eq!(elements("{\"q\\\"x\"}"), some(&["q\"x"]));
        for bad in ["{1,,2}", "{1,}", "{\"a\"b}", "{a\"b\"}", "{\"a}", "{{1}}", "{a\\}", "x"] {
            assert!(elements(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text: String, odd in "[a=.,()\"\\\\ not in{}é]{0,60}") {
            for text in [&text, &odd] {
                if let Ok(filters) = parse(text) {
                    for filter in filters.iter().filter(|filter| filter.op == Op::In) {
                        let _ = elements(&filter.value);
                    }
                }
            }
        }

        #[test]
        fn a_quoted_value_comes_back(value: String) {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            prop_assert_eq!(one(&format!("a=eq.\"{quoted}\"")).2, value.as_str());
            prop_assert_eq!(elements(&format!("{{\"{quoted}\"}}")), Ok(vec![Some(value)]));
        }
    }
}

//! How large a payload counts.
//!
//! Limits are measured in the size the original measures: bytes of the Erlang
//! external term, not of the JSON text. So a payload that passes there passes here.

/// A term is at most this many times as large as its JSON text (`0.0,` is 9 bytes).
const WORST_RATIO: usize = 6;

/// True if the JSON text `json` counts as more than `limit` bytes.
pub fn exceeds(json: &[u8], limit: usize) -> bool {
    // Nearly every payload is far too small to need counting.
    json.len().saturating_mul(WORST_RATIO) > limit && term_size(json) > limit
}

/// Size of a user broadcast: its event and payload beside fixed costs.
pub fn user_broadcast(event: &str, payload: &[u8], is_json: bool) -> usize {
    let fixed = if is_json { 24 } else { 26 };
    fixed + event.len() + payload.len()
}

/// Size of the term that JSON text stands for. The text must be valid JSON.
fn term_size(json: &[u8]) -> usize {
    let mut size = 1;
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        let (cost, length) = match byte {
            b'"' => string(json, at),
            b'{' => (5, 1),
            b'[' => (6, 1),
            b't' => (6, 4),
            b'f' => (7, 5),
            b'n' => (5, 4),
            b'-' | b'0'..=b'9' => number(json, at),
            _ => (0, 1),
        };
        size += cost;
        at += length;
    }
    size
}

/// Cost and length of the string that starts at `at`.
fn string(json: &[u8], at: usize) -> (usize, usize) {
    let mut bytes = 0;
    let mut end = at + 1;
    while let Some(&byte) = json.get(end) {
        match byte {
            b'"' => break,
            b'\\' if json.get(end + 1) == Some(&b'u') => {
                bytes += 2;
                end += 6;
            }
            b'\\' => {
                bytes += 1;
                end += 2;
            }
            _ => {
                bytes += 1;
                end += 1;
            }
        }
    }
    (5 + bytes, end + 1 - at)
}

/// Cost and length of the number that starts at `at`.
fn number(json: &[u8], at: usize) -> (usize, usize) {
    let rest = json.get(at..).unwrap_or_default();
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let length = rest.iter().take_while(|byte| is_part(byte)).count().max(1);
    let digits = rest.get(..length).unwrap_or_default();
    if digits.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        return (9, length);
    }
    let value = std::str::from_utf8(digits).ok().and_then(|text| text.parse::<i64>().ok());
    let cost = match value {
        Some(0..=255) => 2,
        Some(value) if i32::try_from(value).is_ok() => 5,
        Some(_) => 11,
        // About 2.4 digits a byte.
        None => 3 + length * 5 / 12,
    };
    (cost, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_external_term() {
        assert_eq!(term_size(b"{}"), 6);
        assert_eq!(term_size(br#"{"a":"b"}"#), 18);
        assert_eq!(term_size(br#"{"a":1}"#), 14);
        assert_eq!(term_size(br#"{"a":1.5}"#), 21);
        assert_eq!(term_size(br#"{"a":-7000000000}"#), 23);
        assert_eq!(term_size(b"[true,false,null]"), 25);
        assert_eq!(term_size(r#""é\n""#.as_bytes()), 1 + 5 + 3);
    }

    #[test]
    fn only_the_counted_size_exceeds_a_limit() {
        assert!(!exceeds(br#"{"a":"b"}"#, 18));
        assert!(exceeds(br#"{"a":"b"}"#, 17));
        assert_eq!(user_broadcast("hi", b"{}", true), 28);
    }
}

//! Reads the fields of a broadcast as leniently as the original does. Pure.

use std::{borrow::Cow, fmt};

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

pub(super) const BLANK: &str = "can't be blank";
pub(super) const INVALID: &str = "is invalid";
pub(super) const RESERVED: &str = "is reserved for the server";

/// Fields of an object by name, the last of a name; others cost no memory.
/// `None` if it is no object.
pub(super) fn pick<'a, const N: usize>(
    json: &'a RawValue,
    names: [&str; N],
) -> Option<[Option<&'a RawValue>; N]> {
    let mut json = serde_json::Deserializer::from_str(json.get());
    json.deserialize_map(Pick(names)).ok()
}

struct Pick<'n, const N: usize>([&'n str; N]);

impl<'a, const N: usize> Visitor<'a> for Pick<'_, N> {
    type Value = [Option<&'a RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(key) = map.next_key::<Cow<'a, str>>()? {
            let wanted = self.0.iter().zip(&mut found).find(|(name, _)| **name == key);
            match wanted {
                Some((_, place)) => *place = Some(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

/// How many things a list has; `None` if it is no list.
pub(super) fn count(json: &RawValue) -> Option<usize> {
    // Nothing of them is kept, not even a place.
    serde_json::from_str::<Vec<IgnoredAny>>(json.get()).ok().map(|list| list.len())
}

/// A text that must be there and say something.
pub(super) fn text(value: Option<&RawValue>) -> Result<String, &'static str> {
    let text = optional_text(value)?.unwrap_or_default();
    if text.trim().is_empty() { Err(BLANK) } else { Ok(text) }
}

/// A text that may be absent, null or empty, all of which mean none.
pub(super) fn optional_text(value: Option<&RawValue>) -> Result<Option<String>, &'static str> {
    let Some(value) = value else { return Ok(None) };
    let text: Option<String> = serde_json::from_str(value.get()).map_err(|_| INVALID)?;
    Ok(text.filter(|text| !text.is_empty()))
}

/// A yes or no in any of the forms that clients use; none means no.
pub(super) fn flag(value: Option<&RawValue>) -> Result<bool, &'static str> {
    match value.map(RawValue::get) {
        Some("true" | r#""true""# | r#""1""#) => Ok(true),
        None | Some("false" | "null" | r#""false""# | r#""0""# | r#""""#) => Ok(false),
        Some(_) => Err(INVALID),
    }
}

/// JSON text of an object that must be there.
pub(super) fn object(value: Option<&RawValue>) -> Result<&str, &'static str> {
    match value.map(RawValue::get) {
        None | Some("null") => Err(BLANK),
        Some(json) if json.starts_with('{') => Ok(json),
        Some(_) => Err(INVALID),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Option<&RawValue> {
        Some(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn fields_are_picked_by_name_and_the_last_counts() {
        let object = raw(r#"{"a":1,"x":[2],"\u0061":{"a":3}}"#).unwrap();
        let [a, b] = pick(object, ["a", "b"]).unwrap();
        assert_eq!((a.map(RawValue::get), b.map(RawValue::get)), (Some(r#"{"a":3}"#), None));
        for other in ["[1]", "null", r#""a""#, "5"] {
            assert!(pick(raw(other).unwrap(), ["a"]).is_none(), "{other}");
        }
        assert_eq!(count(raw("[{},[1,2],null]").unwrap()), Some(3));
        assert_eq!(count(raw("{}").unwrap()), None);
    }

    #[test]
    fn texts_are_there_or_blank_or_invalid() {
        assert_eq!(text(raw(r#" "a b" "#)).as_deref(), Ok("a b"));
        for blank in [None, raw("null"), raw(r#""""#), raw(r#""  ""#)] {
            assert_eq!(text(blank), Err(BLANK));
        }
        for invalid in [raw("5"), raw("true"), raw("{}"), raw("[]")] {
            assert_eq!(text(invalid), Err(INVALID));
            assert_eq!(optional_text(invalid), Err(INVALID));
        }
        assert_eq!(optional_text(raw(r#""""#)), Ok(None));
    }

    #[test]
    fn flags_may_be_texts() {
        for yes in ["true", r#""true""#, r#""1""#] {
            assert_eq!(flag(raw(yes)), Ok(true), "{yes}");
        }
        for no in ["false", "null", r#""false""#] {
            assert_eq!(flag(raw(no)), Ok(false), "{no}");
        }
        for neither in ["1", r#""maybe""#, "{}"] {
            assert_eq!(flag(raw(neither)), Err(INVALID), "{neither}");
        }
    }
}

//! From PostgreSQL's text output to JSON, without building trees.
//!
//! The mapping is the one clients know: numbers keep all their digits, what
//! JSON cannot say is null, timestamps are ISO 8601, `json` is nested as it is.
//!
//! Invariant: whatever the bytes, what is written is one valid JSON value.
//! Text that does not have the form its type promises is written as a string.
//! The text must come from a session with ISO dates, UTC and hex bytea.

mod nested;
mod string;

use std::sync::Arc;

pub use self::string::{push_escaped, write_string};

/// What JSON a type's text becomes. The catalog builds it; domains are already their base type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypeShape {
    /// `t` and `f`.
    Bool,
    /// Integers, numeric and floats: the digits as they are.
    Number,
    /// `json` and `jsonb`, nested.
    Json,
    /// Hex digits, without `\x` at the top.
    Bytea,
    /// ISO 8601 without zone.
    Timestamp,
    /// ISO 8601 with zone.
    TimestampTz,
    /// Everything else, `oid` included: a string.
    Text,
    /// An array of any number of dimensions.
    Array {
        /// Of what.
        element: Arc<Self>,
        /// Between elements: a comma, but for `box` a semicolon.
        delimiter: u8,
    },
    /// A row type.
    Composite(Arc<[Field]>),
}

/// An attribute of a row type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name, unquoted.
    pub name: Arc<str>,
    /// Its type.
    pub shape: TypeShape,
}

impl TypeShape {
    /// The shape of a built-in scalar type, by `pg_type.oid`; none for
    /// arrays, domains and types that only the catalog knows.
    pub fn of_builtin(oid: u32) -> Option<Self> {
        Some(match oid {
            16 => Self::Bool,
            20 | 21 | 23 | 700 | 701 | 1700 => Self::Number,
            114 | 3802 => Self::Json,
            17 => Self::Bytea,
            1114 => Self::Timestamp,
            1184 => Self::TimestampTz,
            18
            | 19
            | 25
            | 26
            | 27
            | 28
            | 29
            | 142
            | 600..=604
            | 628
            | 650
            | 718
            | 774
            | 790
            | 829
            | 869
            | 1042
            | 1043
            | 1082
            | 1083
            | 1186
            | 1266
            | 1560
            | 1562
            | 2950
            | 3220
            | 3614
            | 3615 => Self::Text,
            _ => return None,
        })
    }
}

/// Appends the JSON of `text`, a non-null value of a type of this shape.
pub fn write_json(shape: &TypeShape, text: &[u8], out: &mut Vec<u8>) {
    write(shape, text, false, out);
}

/// `nested`: within an array or row, where PostgreSQL's own JSON rules hold.
fn write(shape: &TypeShape, text: &[u8], nested: bool, out: &mut Vec<u8>) {
    match shape {
        TypeShape::Bool => match text {
            b"t" => out.extend_from_slice(b"true"),
            b"f" => out.extend_from_slice(b"false"),
            _ => write_string(text, out),
        },
        TypeShape::Number => write_number(text, nested, out),
        TypeShape::Json if is_json(text) => out.extend_from_slice(text),
        TypeShape::Bytea if !nested => write_string(text.strip_prefix(b"\\x").unwrap_or(text), out),
        TypeShape::Timestamp => write_timestamp(text, false, out),
        TypeShape::TimestampTz => write_timestamp(text, true, out),
        TypeShape::Json | TypeShape::Bytea | TypeShape::Text => write_string(text, out),
        TypeShape::Array { element, delimiter } => {
            or_string(text, out, |out| nested::write_array(element, *delimiter, text, out));
        }
        TypeShape::Composite(fields) => {
            or_string(text, out, |out| nested::write_composite(fields, text, out));
        }
    }
}

/// Runs `write`; if it gives up half-way, takes back what it wrote and writes a string.
fn or_string(text: &[u8], out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Option<()>) {
    let start = out.len();
    if write(out).is_none() {
        out.truncate(start);
        write_string(text, out);
    }
}

fn write_number(text: &[u8], nested: bool, out: &mut Vec<u8>) {
    if is_number(text) {
        out.extend_from_slice(text);
    } else if !nested && matches!(text, b"NaN" | b"Infinity" | b"-Infinity") {
        out.extend_from_slice(b"null");
    } else {
        write_string(text, out);
    }
}

/// JSON's grammar of numbers.
fn is_number(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest.first() == Some(&b'0')) {
        return false;
    }
    let mut rest = rest.get(whole..).unwrap_or_default();
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = fraction.get(count..).unwrap_or_default();
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = match exponent {
            [b'+' | b'-', digits @ ..] => digits,
            _ => exponent,
        };
        return !exponent.is_empty() && digits(exponent) == exponent.len();
    }
    rest.is_empty()
}

fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
}

/// `2024-05-06 07:08:09.5+00 BC` becomes `2024-05-06T07:08:09.5+00:00 BC`;
/// `infinity` stays.
fn write_timestamp(text: &[u8], zone: bool, out: &mut Vec<u8>) {
    let Some(space) = memchr::memchr(b' ', text) else {
        return write_string(text, out);
    };
    let (date, time) = text.split_at(space);
    let time = time.strip_prefix(b" ").unwrap_or(time);
    let (time, era) = match memchr::memchr(b' ', time) {
        Some(at) => time.split_at(at),
        None => (time, b"".as_slice()),
    };
    out.push(b'"');
    push_escaped(date, out);
    out.push(b'T');
    push_escaped(time, out);
    // The zone is `+HH` unless it has minutes.
    if zone && matches!(time, [.., b'+' | b'-', _, _]) {
        out.extend_from_slice(b":00");
    }
    push_escaped(era, out);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(shape: &TypeShape, text: &str) -> String {
        let mut out = Vec::new();
        write_json(shape, text.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn builtin(oid: u32, text: &str) -> String {
        json(&TypeShape::of_builtin(oid).unwrap(), text)
    }

    fn array(oid: u32, text: &str) -> String {
        let element = Arc::new(TypeShape::of_builtin(oid).unwrap());
        json(&TypeShape::Array { element, delimiter: b',' }, text)
    }

    fn point() -> TypeShape {
        let field = |name: &str, shape| Field { name: Arc::from(name), shape };
        TypeShape::Composite(Arc::from([
            field("x", TypeShape::Number),
            field("label", TypeShape::Text),
            field("On", TypeShape::Bool),
        ]))
    }

    #[test]
    fn numbers_keep_their_digits_and_what_json_lacks_is_null() {
        assert_eq!(builtin(20, "-9223372036854775808"), "-9223372036854775808");
        assert_eq!(builtin(1700, "12.340"), "12.340");
        assert_eq!(
            builtin(1700, "123456789012345678901234567890.123456789"),
            "123456789012345678901234567890.123456789"
        );
        assert_eq!(builtin(701, "1e+300"), "1e+300");
        assert_eq!(builtin(701, "5e-324"), "5e-324");
        for odd in ["NaN", "Infinity", "-Infinity"] {
            assert_eq!(builtin(701, odd), "null");
            assert_eq!(builtin(1700, odd), "null");
        }
        assert_eq!(builtin(26, "42"), "\"42\"");
    }

    #[test]
    fn texts_are_escaped() {
        assert_eq!(
            builtin(25, "tab\t nl\n \"quote\" \\ back é 🙂 \u{1}"),
            "\"tab\\t nl\\n \\\"quote\\\" \\\\ back é 🙂 \\u0001\""
        );
        assert_eq!(builtin(1042, "ab "), "\"ab \"");
        assert_eq!(builtin(1560, "101"), "\"101\"");
        assert_eq!(builtin(16, "t"), "true");
    }

    #[test]
    fn dates_and_times_are_iso_8601() {
        assert_eq!(builtin(1082, "0044-03-15 BC"), "\"0044-03-15 BC\"");
        assert_eq!(builtin(1114, "2024-05-06 07:08:09.123456"), "\"2024-05-06T07:08:09.123456\"");
        assert_eq!(builtin(1114, "-infinity"), "\"-infinity\"");
        assert_eq!(
            builtin(1184, "2024-05-06 05:08:09.123456+00"),
            "\"2024-05-06T05:08:09.123456+00:00\""
        );
        assert_eq!(builtin(1184, "0001-01-01 00:00:00+00 BC"), "\"0001-01-01T00:00:00+00:00 BC\"");
        assert_eq!(builtin(1184, "2024-05-06 05:08:09+05:30"), "\"2024-05-06T05:08:09+05:30\"");
        assert_eq!(builtin(1266, "07:08:09+02"), "\"07:08:09+02\"");
    }

    #[test]
    fn json_is_nested_as_it_is() {
        assert_eq!(builtin(114, "{\"b\": 1, \"a\": [2.50]}"), "{\"b\": 1, \"a\": [2.50]}");
        assert_eq!(builtin(3802, "null"), "null");
        assert_eq!(builtin(114, "{broken"), "\"{broken\"");
    }

    #[test]
    fn bytea_loses_its_prefix_at_the_top_only() {
        assert_eq!(builtin(17, "\\x0102ff"), "\"0102ff\"");
        assert_eq!(builtin(17, "\\x"), "\"\"");
        assert_eq!(array(17, "{\"\\\\x01\",\"\\\\x\",NULL}"), "[\"\\\\x01\",\"\\\\x\",null]");
    }

    #[test]
    fn arrays_nest_and_keep_nulls() {
        assert_eq!(array(23, "{1,2,NULL}"), "[1,2,null]");
        assert_eq!(array(23, "{}"), "[]");
        assert_eq!(array(23, "{{1,2},{3,4}}"), "[[1,2],[3,4]]");
        assert_eq!(array(23, "[0:1]={1,2}"), "[1,2]");
        assert_eq!(
            array(25, r#"{plain,"with, comma","quo\"te",NULL,"","NULL","{"}"#),
            r#"["plain","with, comma","quo\"te",null,"","NULL","{"]"#
        );
        assert_eq!(array(16, "{t,f,NULL}"), "[true,false,null]");
        assert_eq!(array(1700, "{1.50,NaN}"), "[1.50,\"NaN\"]");
        assert_eq!(array(3802, r#"{"{\"a\": 1}",[2]}"#), r#"[{"a": 1},[2]]"#);
        assert_eq!(array(1184, "{\"2024-05-06 05:08:09+00\"}"), "[\"2024-05-06T05:08:09+00:00\"]");
    }

    #[test]
    fn composites_are_objects() {
        assert_eq!(json(&point(), "(1,\"one, two\",t)"), r#"{"x":1,"label":"one, two","On":true}"#);
        assert_eq!(json(&point(), "(,,)"), r#"{"x":null,"label":null,"On":null}"#);
        assert_eq!(
            json(&point(), r#"(1,"a ""b"" \\ c",f)"#),
            r#"{"x":1,"label":"a \"b\" \\ c","On":false}"#
        );
        let points = TypeShape::Array { element: Arc::new(point()), delimiter: b',' };
        assert_eq!(
            json(&points, r#"{"(1,x,f)",NULL}"#),
            r#"[{"x":1,"label":"x","On":false},null]"#
        );
    }

    #[test]
    fn text_without_the_promised_form_becomes_a_string() {
        assert_eq!(array(23, "{1,2"), "\"{1,2\"");
        assert_eq!(array(23, "{1}x"), "\"{1}x\"");
        assert_eq!(json(&point(), "(1,2)"), "\"(1,2)\"");
        assert_eq!(builtin(23, "01"), "\"01\"");
    }

    proptest! {
        #[test]
        fn any_bytes_become_valid_json(bytes: Vec<u8>, text in "[\\[\\]{}(),\"\\\\a1tN: =.eE+-]{0,40}") {
            let scalars = [16, 23, 114, 17, 1114, 1184, 25].map(|oid| TypeShape::of_builtin(oid).unwrap());
            let arrays = scalars.clone().map(|shape| TypeShape::Array { element: Arc::new(shape), delimiter: b',' });
            let rows = TypeShape::Array { element: Arc::new(point()), delimiter: b',' };
            for shape in scalars.iter().chain(&arrays).chain([&point(), &rows]) {
                for input in [bytes.as_slice(), text.as_bytes()] {
                    let mut out = Vec::new();
                    write_json(shape, input, &mut out);
                    prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&out).is_ok());
                    prop_assert!(std::str::from_utf8(&out).is_ok());
                }
            }
        }

        #[test]
        fn any_text_comes_back_from_its_json(text: String) {
            prop_assert_eq!(serde_json::from_str::<String>(&builtin(25, &text)).unwrap(), text);
        }
    }
}

//! Typed values and PostgreSQL's order of them.
//!
//! Values are read from PostgreSQL's own text output, so only its canonical
//! forms are understood; anything else is refused, never guessed.

use std::cmp::Ordering;

pub use super::decimal::Decimal;
use super::moment;

/// How values of a column's type compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// int2, int4, int8, oid.
    Integer,
    /// Exact decimals of any size.
    Numeric,
    /// float4.
    Float4,
    /// float8.
    Float8,
    /// False before true.
    Bool,
    /// By bytes. `ordered` if the collation is byte order too.
    Text {
        /// The collation orders by bytes.
        ordered: bool,
        /// `char(n)`: trailing spaces do not count.
        padded: bool,
        /// LIKE and regular expressions are allowed (text and name).
        patterns: bool,
    },
    /// By bytes.
    Uuid,
    /// A day or infinity.
    Date,
    /// With or without zone, all in UTC.
    Timestamp,
    /// Time of day.
    Time,
    /// Equal exactly if the text output is equal; no order.
    Exact,
    /// The type has no equality that we can decide here.
    Opaque,
}

/// A value ready to compare.
#[derive(Debug, Clone, PartialEq)]
pub enum Comparable {
    /// Of integers.
    Integer(i64),
    /// Of numerics.
    Decimal(Decimal),
    /// Of floats.
    Float(f64),
    /// Of everything whose order is that of bytes or numbers with more than one part.
    Bytes(Box<[u8]>),
    /// Of dates and times: a day or microsecond number.
    Moment(i64),
}

impl Kind {
    /// The kind of a built-in type; enums and other types that the catalog
    /// alone knows are not here.
    pub fn of_builtin(oid: u32, byte_order: bool) -> Self {
        let text = |padded, patterns| Self::Text { ordered: byte_order, padded, patterns };
        match oid {
            16 => Self::Bool,
            20 | 21 | 23 | 26 => Self::Integer,
            1700 => Self::Numeric,
            700 => Self::Float4,
            701 => Self::Float8,
            25 => text(false, true),
            19 => Self::Text { ordered: true, padded: false, patterns: true },
            1043 => text(false, false),
            1042 => text(true, false),
            2950 => Self::Uuid,
            1082 => Self::Date,
            1083 => Self::Time,
            1114 | 1184 => Self::Timestamp,
            // Their output is unique per value.
            17 | 18 | 650 | 774 | 829 | 869 | 1266 | 1560 | 1562 | 3220 => Self::Exact,
            _ => Self::Opaque,
        }
    }

    /// True if values order as PostgreSQL orders them, not just equal.
    pub fn is_ordered(self) -> bool {
        !matches!(self, Self::Text { ordered: false, .. } | Self::Exact | Self::Opaque)
    }

    /// Reads PostgreSQL's output of a value. None for what is not understood.
    pub fn read(self, text: &[u8]) -> Option<Comparable> {
        let utf8 = || std::str::from_utf8(text).ok();
        Some(match self {
            Self::Integer => Comparable::Integer(utf8()?.parse().ok()?),
            Self::Numeric => Comparable::Decimal(Decimal::read(text)?),
            // The text is the shortest that reads back: f32 for float4, then widened exactly.
            Self::Float4 => Comparable::Float(f64::from(utf8()?.parse::<f32>().ok()?)),
            Self::Float8 => Comparable::Float(utf8()?.parse().ok()?),
            Self::Bool => Comparable::Integer(match text {
                b"t" | b"true" => 1,
                b"f" | b"false" => 0,
                _ => return None,
            }),
            Self::Text { padded: true, .. } => Comparable::Bytes(trim_spaces(text).into()),
            Self::Text { .. } | Self::Uuid | Self::Exact => Comparable::Bytes(text.into()),
            Self::Date => Comparable::Moment(moment::date(utf8()?)?),
            Self::Timestamp => Comparable::Moment(moment::timestamp(utf8()?)?),
            Self::Time => Comparable::Moment(moment::time(utf8()?)?),
            Self::Opaque => return None,
        })
    }

    /// A key that is equal for equal values and only for them, for hashing. `None` for
    /// kinds whose equal values may print differently.
    pub fn hash_key(self, text: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Integer
            | Self::Bool
            | Self::Uuid
            | Self::Exact
            | Self::Date
            | Self::Timestamp
            | Self::Time => Some(text),
            Self::Text { padded, .. } => Some(if padded { trim_spaces(text) } else { text }),
            // 1.0 equals 1.00, and 0 equals -0.
            Self::Numeric | Self::Float4 | Self::Float8 | Self::Opaque => None,
        }
    }

    /// The canonical text of a filter value, where PostgreSQL need not be
    /// asked because its answer is certain. Integers of up to `digits` digits are.
    pub fn canonical(self, value: &str, digits: usize) -> Option<&str> {
        let plain_digits = |max: usize| {
            let digits = value.strip_prefix('-').unwrap_or(value);
            let leading_zero = digits.starts_with('0') && (digits.len() > 1 || value.len() > 1);
            let fits = !digits.is_empty() && digits.len() <= max && !leading_zero;
            (fits && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(value)
        };
        match self {
            Self::Text { .. } => (!value.contains('\0')).then_some(value),
            Self::Integer if !value.starts_with('-') => plain_digits(digits),
            Self::Numeric => plain_digits(100),
            Self::Bool => match value {
                "t" | "true" => Some("t"),
                "f" | "false" => Some("f"),
                _ => None,
            },
            Self::Uuid => is_canonical_uuid(value).then_some(value),
            _ => None,
        }
    }
}

impl Comparable {
    /// PostgreSQL's order. Both sides come from the same [`Kind`].
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        Some(match (self, other) {
            (Self::Integer(left), Self::Integer(right))
            | (Self::Moment(left), Self::Moment(right)) => left.cmp(right),
            (Self::Decimal(left), Self::Decimal(right)) => left.cmp(right),
            (Self::Bytes(left), Self::Bytes(right)) => left.cmp(right),
            // NaN is equal to itself and above everything; zeros are equal.
            (Self::Float(left), Self::Float(right)) => match (left.is_nan(), right.is_nan()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => left.partial_cmp(right)?,
            },
            _ => return None,
        })
    }
}

fn trim_spaces(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|&byte| byte != b' ').map_or(0, |last| last + 1);
    text.get(..end).unwrap_or(text)
}

fn is_canonical_uuid(value: &str) -> bool {
    value.len() == 36
        && value.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(kind: Kind, left: &str, right: &str) -> Ordering {
        let read = |text: &str| kind.read(text.as_bytes()).unwrap();
        read(left).compare(&read(right)).unwrap()
    }

    #[test]
    fn each_list_is_in_postgresql_order() {
        for (kind, list) in [
            (Kind::Integer, &["-9223372036854775808", "-1", "0", "9223372036854775807"][..]),
            (
                Kind::Numeric,
                &[
                    "-Infinity",
                    "-10",
                    "-9.5",
                    "-0.001",
                    "0",
                    "0.0009",
                    "0.1",
                    "1.5",
                    "9",
                    "10",
                    "123456789012345678901234567890.1",
                    "Infinity",
                    "NaN",
                ],
            ),
            (Kind::Float8, &["-Infinity", "-0.5", "0", "5e-324", "1e+300", "Infinity", "NaN"]),
            (Kind::Bool, &["f", "t"]),
            (
                Kind::Date,
                &[
                    "-infinity",
                    "0044-03-15 BC",
                    "0001-01-01",
                    "2024-02-29",
                    "10000-01-01",
                    "infinity",
                ],
            ),
            (
                Kind::Timestamp,
                &[
                    "-infinity",
                    "0002-01-01 00:00:00 BC",
                    "0001-12-31 00:00:00 BC",
                    "0001-01-01 00:00:00",
                    "2024-05-06 07:08:09",
                    "2024-05-06 07:08:09.1",
                    "2024-05-06 07:08:09.123456",
                    "infinity",
                ],
            ),
            (Kind::Time, &["00:00:00", "07:08:09.5", "24:00:00"]),
        ] {
            for (at, left) in list.iter().enumerate() {
                for (other, right) in list.iter().enumerate() {
                    assert_eq!(order(kind, left, right), at.cmp(&other), "{left} {right}");
                }
            }
        }
    }

    #[test]
    fn equal_values_in_different_clothes_are_equal() {
        assert_eq!(order(Kind::Numeric, "1.50", "1.5"), Ordering::Equal);
        assert_eq!(order(Kind::Numeric, "0.00", "0"), Ordering::Equal);
        assert_eq!(order(Kind::Numeric, "100", "100.0"), Ordering::Equal);
        assert_eq!(order(Kind::Float8, "-0", "0"), Ordering::Equal);
        let char = Kind::Text { ordered: false, padded: true, patterns: false };
        assert_eq!(order(char, "ab ", "ab"), Ordering::Equal);
    }

    #[test]
    fn canonical_texts_are_taken_only_where_certain() {
        assert_eq!(Kind::Integer.canonical("42", 4), Some("42"));
        for odd in ["042", "+1", " 1", "99999", "-1", "1.0", ""] {
            assert_eq!(Kind::Integer.canonical(odd, 4), None, "{odd}");
        }
        assert_eq!(Kind::Bool.canonical("true", 4), Some("t"));
        assert_eq!(Kind::Bool.canonical("yes", 4), None);
        let uuid = "11111111-1111-4111-8111-11111111111a";
        assert_eq!(Kind::Uuid.canonical(uuid, 4), Some(uuid));
        assert_eq!(Kind::Uuid.canonical(&uuid.to_uppercase(), 4), None);
    }

    proptest! {
        #[test]
        fn numerics_compare_as_their_values(left in -100_000_i64..100_000, right in -100_000_i64..100_000) {
            let text = |n: i64| format!("{}{}.{:03}", if n < 0 { "-" } else { "" }, n.abs() / 1000, n.abs() % 1000);
            prop_assert_eq!(order(Kind::Numeric, &text(left), &text(right)), left.cmp(&right));
        }

        #[test]
        fn no_text_breaks_the_readers(bytes: Vec<u8>, odd in "[-0-9:. +BCinfty]{0,40}") {
            for kind in [Kind::Integer, Kind::Numeric, Kind::Float4, Kind::Float8, Kind::Bool, Kind::Date, Kind::Timestamp, Kind::Time] {
                kind.read(&bytes);
                kind.read(odd.as_bytes());
            }
        }
    }
}

//! A filter made ready for one column's type.
//!
//! [`check`] says what a filter needs before it can be compiled: the values
//! that must be valid for the type. [`compile`] takes their canonical text
//! and makes a [`Predicate`], which knows SQL's three truth values.

use std::{cmp::Ordering, sync::Arc};

use regex::bytes::Regex;

use super::{
    Filter, Op,
    compare::{Comparable, Kind},
    parse::elements,
    pattern::{self, Like},
};
use crate::replication::change::Value;

/// PostgreSQL functions behind the original take no more.
const MAX_IN_VALUES: usize = 100;

/// What a filter must know of its column's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnType {
    /// How values compare; of a domain, those of its base type.
    pub kind: Kind,
    /// The name in messages: `integer`, `character varying`.
    pub title: Arc<str>,
    /// The name in casts: as `title`, but without the length one that SQL
    /// assumes for bare `character` and `bit`.
    pub cast: Arc<str>,
    /// `bytea`, whose filter values may be bare hex digits.
    pub is_bytea: bool,
    /// A domain, whose constraints only PostgreSQL checks.
    pub is_domain: bool,
}

/// Why a filter does not fit its column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// The original's trigger raises this.
    #[error("{0}")]
    Raised(String),
    /// The text is not a valid list: PostgreSQL's words.
    #[error("{0}")]
    Malformed(String),
    /// We cannot decide this comparison exactly as PostgreSQL does.
    #[error("the filter {0} on a column of type {1} is not supported by this server")]
    Unsupported(&'static str, Arc<str>),
}

/// The values of a filter that must be cast to the column's type, as the client wrote them.
///
/// # Errors
///
/// [`Misfit`] when the operator does not go with the type whatever the values.
pub fn check(filter: &Filter, column: &ColumnType) -> Result<Vec<String>, Misfit> {
    let value = &*filter.value;
    let raised = |text: String| Err(Misfit::Raised(text));
    match filter.op {
        Op::Like | Op::Ilike | Op::Match | Op::Imatch => {
            if !matches!(column.kind, Kind::Text { patterns: true, .. }) {
                return raised(format!(
                    "operator {} requires a text-compatible column type, got {}",
                    filter.op.name(),
                    column.title
                ));
            }
            Ok(Vec::new())
        }
        Op::Is => match value {
            "null" => Ok(Vec::new()),
            "true" | "false" | "unknown" if column.kind == Kind::Bool => Ok(Vec::new()),
            "true" | "false" | "unknown" => {
                raised(format!("is {value} filter requires a boolean column, got {}", column.title))
            }
            _ => raised(
                "invalid value for is filter: must be null, true, false, or unknown".to_owned(),
            ),
        },
        Op::In => {
            let values = elements(value).map_err(Misfit::Malformed)?;
            if values.len() > MAX_IN_VALUES {
                return raised(format!("too many values for `in` filter. Maximum {MAX_IN_VALUES}"));
            }
            Ok(values.into_iter().flatten().map(|value| column.input(&value)).collect())
        }
        Op::Eq | Op::Neq | Op::Lt | Op::Lte | Op::Gt | Op::Gte | Op::IsDistinct => {
            Ok(vec![column.input(value)])
        }
    }
}

impl ColumnType {
    fn input(&self, value: &str) -> String {
        let hex =
            value.len().is_multiple_of(2) && value.bytes().all(|byte| byte.is_ascii_hexdigit());
        if self.is_bytea && hex { format!("\\x{value}") } else { value.to_owned() }
    }

    /// The canonical text of a value, where PostgreSQL need not be asked.
    pub fn canonical<'a>(&self, value: &'a str) -> Option<&'a str> {
        // A domain may refuse the value; `name` cuts long ones; nine digits fit all but int2.
        let certain = !self.is_domain && (&*self.cast != "name" || value.len() < 64);
        let digits = if &*self.cast == "smallint" { 4 } else { 9 };
        self.kind.canonical(value, digits).filter(|_| certain)
    }
}

/// A test of one column's value.
#[derive(Debug, Clone)]
pub struct Predicate {
    kind: Kind,
    negated: bool,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    IsNull,
    /// Of a boolean; none is unknown.
    IsBool(Option<bool>),
    Compare(Op, Comparable),
    In {
        values: Vec<Comparable>,
        has_null: bool,
    },
    IsDistinct(Comparable),
    Like(Like),
    Regex(Regex),
}

/// Compiles a filter; `canonical` are the texts that PostgreSQL gives for the
/// values of [`check`], in their order.
///
/// # Errors
///
/// [`Misfit`], mostly [`Misfit::Unsupported`] once `check` has passed.
pub fn compile(
    filter: &Filter,
    column: &ColumnType,
    canonical: &[Arc<str>],
) -> Result<Predicate, Misfit> {
    let kind = column.kind;
    let unsupported = || Misfit::Unsupported(filter.op.name(), Arc::clone(&column.title));
    let read = |text: &Arc<str>| kind.read(text.as_bytes()).ok_or_else(unsupported);
    let one = || canonical.first().ok_or_else(unsupported).and_then(read);
    let value = &*filter.value;
    let test = match filter.op {
        Op::Eq | Op::Neq => Test::Compare(filter.op, one()?),
        Op::Lt | Op::Lte | Op::Gt | Op::Gte if kind.is_ordered() => {
            Test::Compare(filter.op, one()?)
        }
        Op::In => {
            let all = elements(value).map_err(Misfit::Malformed)?;
            let values = canonical.iter().map(read).collect::<Result<_, _>>()?;
            if kind == Kind::Opaque {
                return Err(unsupported());
            }
            Test::In { values, has_null: all.contains(&None) }
        }
        Op::IsDistinct => Test::IsDistinct(one()?),
        Op::Is => match value {
            "null" => Test::IsNull,
            "true" => Test::IsBool(Some(true)),
            "false" => Test::IsBool(Some(false)),
            _ => Test::IsBool(None),
        },
        Op::Like | Op::Ilike => {
            Like::new(value, filter.op == Op::Ilike).map(Test::Like).ok_or_else(unsupported)?
        }
        Op::Match | Op::Imatch => pattern::regex(value, filter.op == Op::Imatch)
            .map(Test::Regex)
            .ok_or_else(unsupported)?,
        Op::Lt | Op::Lte | Op::Gt | Op::Gte => return Err(unsupported()),
    };
    Ok(Predicate { kind, negated: filter.negated, test })
}

/// The bytes under which an equality filter can be hashed, if it can.
pub fn hash_key(filter: &Filter, column: &ColumnType, canonical: &[Arc<str>]) -> Option<Box<[u8]>> {
    if filter.op != Op::Eq || filter.negated {
        return None;
    }
    column.kind.hash_key(canonical.first()?.as_bytes()).map(Into::into)
}

impl Predicate {
    /// True if the condition holds; SQL's "unknown" does not, negated or not,
    /// nor does a value that the log does not have.
    pub fn holds(&self, value: Value<'_>) -> bool {
        let truth = match value {
            Value::Unchanged => None,
            Value::Null => self.of_null(),
            Value::Text(text) => self.of_text(text),
        };
        truth.is_some_and(|truth| truth != self.negated)
    }

    fn of_null(&self) -> Option<bool> {
        match self.test {
            Test::IsNull | Test::IsDistinct(_) => Some(true),
            Test::IsBool(wanted) => Some(wanted.is_none()),
            Test::Compare(..) | Test::In { .. } | Test::Like(_) | Test::Regex(_) => None,
        }
    }

    fn of_text(&self, text: &[u8]) -> Option<bool> {
        let order = |wanted: &Comparable| self.kind.read(text)?.compare(wanted);
        match &self.test {
            Test::IsNull => Some(false),
            Test::IsBool(wanted) => Some(*wanted == Some(text == b"t")),
            Test::Compare(op, wanted) => {
                let order = order(wanted)?;
                Some(match op {
                    Op::Neq => order != Ordering::Equal,
                    Op::Lt => order == Ordering::Less,
                    Op::Lte => order != Ordering::Greater,
                    Op::Gt => order == Ordering::Greater,
                    Op::Gte => order != Ordering::Less,
                    _ => order == Ordering::Equal,
                })
            }
            Test::In { values, has_null } => {
                let value = self.kind.read(text)?;
                let equal = |wanted: &Comparable| value.compare(wanted) == Some(Ordering::Equal);
                // `x = any('{1,null}')` is unknown where no element equals x.
                if values.iter().any(equal) { Some(true) } else { (!has_null).then_some(false) }
            }
            Test::IsDistinct(wanted) => Some(order(wanted)? != Ordering::Equal),
            Test::Like(like) => Some(like.is_match(text)),
            Test::Regex(regex) => Some(regex.is_match(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres_changes::filter::parse::parse;

    fn column(oid: u32, title: &str) -> ColumnType {
        ColumnType {
            kind: Kind::of_builtin(oid, false),
            title: Arc::from(title),
            cast: Arc::from(title),
            is_bytea: oid == 17,
            is_domain: false,
        }
    }

    fn predicate(condition: &str, column: &ColumnType) -> Result<Predicate, Misfit> {
        let filter = parse(&format!("c={condition}")).unwrap().remove(0);
        let values: Vec<_> = check(&filter, column)?.into_iter().map(Arc::from).collect();
        compile(&filter, column, &values)
    }

    fn holds(condition: &str, column: &ColumnType, value: Option<&str>) -> bool {
        let value = value.map_or(Value::Null, |text| Value::Text(text.as_bytes()));
        predicate(condition, column).unwrap().holds(value)
    }

    #[test]
    fn the_truth_table_of_nulls() {
        let (int, text, bool) = (column(23, "integer"), column(25, "text"), column(16, "boolean"));
        // Null: no comparison holds, negated or not.
        for condition in ["eq.1", "neq.1", "lt.1", "lte.1", "gt.1", "gte.1", "in.(1)"] {
            assert!(!holds(condition, &int, None), "{condition}");
            assert!(!holds(&format!("not.{condition}"), &int, None), "not.{condition}");
        }
        for condition in ["like.a%", "ilike.a%", "match.a", "imatch.a"] {
            assert!(!holds(condition, &text, None), "{condition}");
            assert!(!holds(&format!("not.{condition}"), &text, None), "not.{condition}");
        }
        assert!(holds("is.null", &int, None) && !holds("not.is.null", &int, None));
        assert!(!holds("is.true", &bool, None) && holds("is.unknown", &bool, None));
        assert!(holds("not.is.true", &bool, None));
        assert!(holds("isdistinct.1", &int, None) && !holds("not.isdistinct.1", &int, None));
        // Not null.
        assert!(!holds("is.null", &int, Some("1")) && holds("not.is.null", &int, Some("1")));
        assert!(holds("is.true", &bool, Some("t")) && !holds("is.true", &bool, Some("f")));
        assert!(holds("is.false", &bool, Some("f")) && !holds("is.unknown", &bool, Some("f")));
        assert!(holds("isdistinct.1", &int, Some("2")) && !holds("isdistinct.1", &int, Some("1")));
        assert!(holds("not.isdistinct.1", &int, Some("1")));
        // Not in the log: nothing holds.
        for condition in [
            "eq.1",
            "not.eq.1",
            "is.null",
            "not.is.null",
            "isdistinct.1",
            "not.isdistinct.1",
            "in.(1)",
        ] {
            assert!(!predicate(condition, &int).unwrap().holds(Value::Unchanged), "{condition}");
        }
    }

    #[test]
    fn comparisons_follow_the_type() {
        let int = column(23, "integer");
        assert!(holds("gt.9", &int, Some("10")) && !holds("gt.9", &int, Some("9")));
        assert!(holds("lte.2", &int, Some("2")) && holds("neq.2", &int, Some("3")));
        let numeric = column(1700, "numeric");
        assert!(
            holds("eq.1.50", &numeric, Some("1.5")) && holds("in.(1.50,2)", &numeric, Some("2.0"))
        );
        assert!(holds("eq.NaN", &column(701, "double precision"), Some("NaN")));
    }

    #[test]
    fn a_list_with_null_is_never_false() {
        let text = column(25, "text");
        assert!(holds("in.(apple,NULL)", &text, Some("apple")));
        assert!(!holds("in.(apple,NULL)", &text, Some("pear")));
        assert!(!holds("not.in.(apple,NULL)", &text, Some("pear")));
        assert!(holds("not.in.(apple)", &text, Some("pear")));
        assert!(!holds("in.()", &text, Some("pear")));
    }

    #[test]
    fn text_orders_only_under_a_byte_collation() {
        let mut text = column(25, "text");
        assert!(matches!(predicate("lt.b", &text), Err(Misfit::Unsupported("lt", _))));
        text.kind = Kind::of_builtin(25, true);
        assert!(holds("lt.b", &text, Some("a")) && !holds("lt.b", &text, Some("é")));
    }

    #[test]
    fn misfits_are_told_in_the_known_words() {
        let int = column(23, "integer");
        let text = |condition: &str, column: &ColumnType| {
            predicate(condition, column).unwrap_err().to_string()
        };
        assert_eq!(
            text("like.1%", &int),
            "operator like requires a text-compatible column type, got integer"
        );
        assert_eq!(
            text("match.x", &column(1043, "character varying")),
            "operator match requires a text-compatible column type, got character varying"
        );
        assert_eq!(text("is.true", &int), "is true filter requires a boolean column, got integer");
        assert_eq!(
            text("is.maybe", &int),
            "invalid value for is filter: must be null, true, false, or unknown"
        );
        let many = (0..101).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        assert_eq!(
            text(&format!("in.({many})"), &int),
            "too many values for `in` filter. Maximum 100"
        );
        assert_eq!(text("in.(1,,2)", &int), "malformed array literal: \"{1,,2}\"");
    }

    #[test]
    fn bare_hex_digits_are_bytea_too() {
        let bytea = column(17, "bytea");
        assert!(holds("eq.0102", &bytea, Some("\\x0102")));
        assert!(holds("eq.\\x0102", &bytea, Some("\\x0102")));
    }
}

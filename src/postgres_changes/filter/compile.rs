//! A filter made ready for one column's type.
//!
//! [`check`] says what a filter needs before it can be compiled: the values
//! that must be valid for the type. [`compile`] takes their canonical text
//! and makes a [`Predicate`], which knows SQL's three truth values. Where the
//! comparison is not ours to make, the predicate asks (see [`super::ask`]).

use std::{cmp::Ordering, sync::Arc};

use regex::bytes::Regex;

use super::{
    Filter, Op,
    ask::{Answers, Asked, Comparison, Truth},
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
    /// How PostgreSQL is asked to compare.
    pub asked: AskedType,
}

/// A type as SQL text names it, for comparisons that PostgreSQL makes. Each
/// part is quoted as needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedType {
    /// The type; of a domain, its base type.
    pub cast: Arc<str>,
    /// The schema of its operators.
    pub schema: Arc<str>,
    /// The column's collation, where it is not the database's.
    pub collation: Option<Arc<str>>,
    /// The labels of an enum in their order; empty for other types.
    pub labels: Arc<[Arc<str>]>,
    /// The collation pairs ASCII letters as ASCII does; Turkish does not.
    pub folds_ascii: bool,
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
    /// PostgreSQL would raise this for every row.
    #[error("LIKE pattern must not end with escape character")]
    OpenEscape,
    /// A value is not in the form that the catalog's description promises.
    #[error("the type of column {0} changed")]
    Changed(Arc<str>),
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

impl AskedType {
    fn question(&self, operator: &'static str, wanted: &Arc<str>) -> Arc<Asked> {
        let comparison = Comparison {
            cast: Arc::clone(&self.cast),
            collation: self.collation.clone(),
            schema: Arc::clone(&self.schema),
            operator,
        };
        Asked::new(comparison, Arc::clone(wanted))
    }

    /// The place of an enum's label. None for one that came after the catalog was read.
    fn position(&self, label: &[u8]) -> Option<usize> {
        self.labels.iter().position(|known| known.as_bytes() == label)
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
    /// Without regard to case: as ASCII does it where all is ASCII.
    Fold {
        test: Box<Self>,
        asked: Arc<Asked>,
    },
    /// Order of an enum: by position, and as PostgreSQL says for new labels.
    Label {
        op: Op,
        wanted: usize,
        column: AskedType,
        asked: Arc<Asked>,
    },
    /// Any of these, as PostgreSQL compares them.
    Asked {
        any: Vec<Arc<Asked>>,
        has_null: bool,
        /// `is distinct from` is the opposite of `=`.
        inverted: bool,
    },
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Holds,
    /// It does not, or SQL does not know.
    Fails,
    /// PostgreSQL must be asked first.
    Open,
}

/// Compiles a filter; `canonical` are the texts that PostgreSQL gives for the
/// values of [`check`], in their order.
///
/// # Errors
///
/// [`Misfit`], rarely once `check` has passed.
pub fn compile(
    filter: &Filter,
    column: &ColumnType,
    canonical: &[Arc<str>],
) -> Result<Predicate, Misfit> {
    let kind = column.kind;
    let changed = || Misfit::Changed(Arc::clone(&filter.column));
    let read = |text: &Arc<str>| kind.read(text.as_bytes()).ok_or_else(changed);
    let first = || canonical.first().ok_or_else(changed);
    let value = &*filter.value;
    let ask = |operator: &'static str| {
        let any = canonical.iter().map(|wanted| column.asked.question(operator, wanted)).collect();
        Test::Asked { any, has_null: false, inverted: false }
    };
    let pattern = |operator: &'static str| {
        let any = vec![column.asked.question(operator, &filter.value)];
        Test::Asked { any, has_null: false, inverted: false }
    };
    // Which letters are one letter in two cases is the collation's to say.
    let fold = |operator: &'static str, test: Option<Test>| match test {
        Some(test) if column.asked.folds_ascii => {
            let asked = column.asked.question(operator, &filter.value);
            Test::Fold { test: Box::new(test), asked }
        }
        _ => pattern(operator),
    };
    let test = match filter.op {
        Op::Eq | Op::Neq if kind != Kind::Opaque => Test::Compare(filter.op, read(first()?)?),
        Op::Lt | Op::Lte | Op::Gt | Op::Gte if kind.is_ordered() => {
            Test::Compare(filter.op, read(first()?)?)
        }
        Op::Eq | Op::Neq | Op::Lt | Op::Lte | Op::Gt | Op::Gte => {
            match column.asked.position(first()?.as_bytes()) {
                Some(wanted) => {
                    let asked = column.asked.question(operator(filter.op), first()?);
                    Test::Label { op: filter.op, wanted, column: column.asked.clone(), asked }
                }
                None => ask(operator(filter.op)),
            }
        }
        Op::In => {
            let has_null = elements(value).map_err(Misfit::Malformed)?.contains(&None);
            if kind == Kind::Opaque {
                let Test::Asked { any, .. } = ask("=") else { return Err(changed()) };
                Test::Asked { any, has_null, inverted: false }
            } else {
                let values = canonical.iter().map(read).collect::<Result<_, _>>()?;
                Test::In { values, has_null }
            }
        }
        Op::IsDistinct if kind == Kind::Opaque => {
            let any = vec![column.asked.question("=", first()?)];
            Test::Asked { any, has_null: false, inverted: true }
        }
        Op::IsDistinct => Test::IsDistinct(read(first()?)?),
        Op::Is => match value {
            "null" => Test::IsNull,
            "true" => Test::IsBool(Some(true)),
            "false" => Test::IsBool(Some(false)),
            _ => Test::IsBool(None),
        },
        Op::Like | Op::Ilike if pattern::has_open_escape(value) => return Err(Misfit::OpenEscape),
        Op::Like => Like::new(value, false).map_or_else(|| pattern("~~"), Test::Like),
        Op::Ilike => fold("~~*", Like::new(value, true).map(Test::Like)),
        Op::Match => pattern::regex(value, false).map_or_else(|| pattern("~"), Test::Regex),
        Op::Imatch => fold("~*", pattern::regex(value, true).map(Test::Regex)),
    };
    Ok(Predicate { kind, negated: filter.negated, test })
}

fn operator(op: Op) -> &'static str {
    match op {
        Op::Neq => "<>",
        Op::Lt => "<",
        Op::Lte => "<=",
        Op::Gt => ">",
        Op::Gte => ">=",
        _ => "=",
    }
}

/// The bytes under which an equality filter can be hashed, if it can.
pub fn hash_key(filter: &Filter, column: &ColumnType, canonical: &[Arc<str>]) -> Option<Box<[u8]>> {
    if filter.op != Op::Eq || filter.negated {
        return None;
    }
    column.kind.hash_key(canonical.first()?.as_bytes()).map(Into::into)
}

impl Predicate {
    /// Judges a value. SQL's "unknown" fails, negated or not, and so does a
    /// value that the log does not have.
    pub fn judge(&self, value: Value<'_>, answers: &mut Answers) -> Verdict {
        let truth = match value {
            Value::Unchanged => Truth::Known(None),
            Value::Null => Truth::Known(self.of_null()),
            Value::Text(text) => self.of_text(text, answers),
        };
        match truth {
            Truth::Open => Verdict::Open,
            Truth::Known(Some(truth)) if truth != self.negated => Verdict::Holds,
            Truth::Known(_) => Verdict::Fails,
        }
    }

    /// What PostgreSQL may be asked to judge values.
    pub fn asks(&self) -> &[Arc<Asked>] {
        match &self.test {
            Test::Asked { any, .. } => any,
            Test::Label { asked, .. } | Test::Fold { asked, .. } => std::slice::from_ref(asked),
            _ => &[],
        }
    }

    fn of_null(&self) -> Option<bool> {
        match self.test {
            Test::IsNull | Test::IsDistinct(_) | Test::Asked { inverted: true, .. } => Some(true),
            Test::IsBool(wanted) => Some(wanted.is_none()),
            Test::Compare(..)
            | Test::In { .. }
            | Test::Like(_)
            | Test::Regex(_)
            | Test::Fold { .. }
            | Test::Label { .. }
            | Test::Asked { .. } => None,
        }
    }

    fn of_text(&self, text: &[u8], answers: &mut Answers) -> Truth {
        match &self.test {
            Test::Asked { any, has_null, inverted } => {
                any_of(any, *has_null, *inverted, |asked| answers.find(asked, text))
            }
            Test::Label { op, wanted, column, asked } => match column.position(text) {
                Some(position) => Truth::Known(Some(is_so(*op, position.cmp(wanted)))),
                None => answers.find(asked, text),
            },
            Test::Fold { asked, .. } if !text.is_ascii() => answers.find(asked, text),
            Test::Fold { test, .. } => Truth::Known(self.of_known(test, text)),
            test => Truth::Known(self.of_known(test, text)),
        }
    }

    fn of_known(&self, test: &Test, text: &[u8]) -> Option<bool> {
        let order = |wanted: &Comparable| self.kind.read(text)?.compare(wanted);
        match test {
            Test::IsNull => Some(false),
            Test::IsBool(wanted) => Some(*wanted == Some(text == b"t")),
            Test::Compare(op, wanted) => Some(is_so(*op, order(wanted)?)),
            Test::In { values, has_null } => {
                let value = self.kind.read(text)?;
                let equal = |wanted: &Comparable| value.compare(wanted) == Some(Ordering::Equal);
                // `x = any('{1,null}')` is unknown where no element equals x.
                if values.iter().any(equal) { Some(true) } else { (!has_null).then_some(false) }
            }
            Test::IsDistinct(wanted) => Some(order(wanted)? != Ordering::Equal),
            Test::Like(like) => Some(like.is_match(text)),
            Test::Regex(regex) => Some(regex.is_match(text)),
            Test::Fold { .. } | Test::Label { .. } | Test::Asked { .. } => None,
        }
    }
}

fn is_so(op: Op, order: Ordering) -> bool {
    match op {
        Op::Neq => order != Ordering::Equal,
        Op::Lt => order == Ordering::Less,
        Op::Lte => order != Ordering::Greater,
        Op::Gt => order == Ordering::Greater,
        Op::Gte => order != Ordering::Less,
        _ => order == Ordering::Equal,
    }
}

/// SQL's `or` over the questions. All of them are looked up, so that one
/// round answers the whole list.
fn any_of(
    any: &[Arc<Asked>],
    has_null: bool,
    inverted: bool,
    mut find: impl FnMut(&Arc<Asked>) -> Truth,
) -> Truth {
    let (mut open, mut unknown) = (false, has_null);
    for asked in any {
        match find(asked) {
            Truth::Known(Some(true)) => return Truth::Known(Some(!inverted)),
            Truth::Known(Some(false)) => {}
            Truth::Known(None) => unknown = true,
            Truth::Open => open = true,
        }
    }
    if open { Truth::Open } else { Truth::Known((!unknown).then_some(inverted)) }
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
            asked: AskedType {
                cast: Arc::from(title),
                schema: Arc::from("pg_catalog"),
                collation: None,
                labels: Arc::default(),
                folds_ascii: true,
            },
        }
    }

    fn predicate(condition: &str, column: &ColumnType) -> Result<Predicate, Misfit> {
        let filter = parse(&format!("c={condition}")).unwrap().remove(0);
        let values: Vec<_> = check(&filter, column)?.into_iter().map(Arc::from).collect();
        compile(&filter, column, &values)
    }

    fn holds(condition: &str, column: &ColumnType, value: Option<&str>) -> bool {
        let value = value.map_or(Value::Null, |text| Value::Text(text.as_bytes()));
        predicate(condition, column).unwrap().judge(value, &mut Answers::default())
            == Verdict::Holds
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
            let predicate = predicate(condition, &int).unwrap();
            let verdict = predicate.judge(Value::Unchanged, &mut Answers::default());
            assert_eq!(verdict, Verdict::Fails, "{condition}");
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
        assert_eq!(predicate("lt.b", &text).unwrap().asks().len(), 1);
        text.kind = Kind::of_builtin(25, true);
        assert!(holds("lt.b", &text, Some("a")) && !holds("lt.b", &text, Some("é")));
    }

    #[test]
    fn what_is_not_ours_to_compare_is_asked() {
        let mut json = column(3802, "jsonb");
        let list = predicate(r#"in.("{}",[],NULL)"#, &json).unwrap();
        let mut answers = Answers::default();
        let value = Value::Text(b"[]");
        assert_eq!(list.judge(value, &mut answers), Verdict::Open);
        let open = answers.take_open();
        assert_eq!(open.len(), 2);
        for (asked, value) in open {
            let answer = Some(*asked.wanted == *"[]");
            answers.put(asked, value, answer);
        }
        assert_eq!(list.judge(value, &mut answers), Verdict::Holds);
        let distinct = predicate("isdistinct.[]", &json).unwrap();
        assert_eq!(distinct.judge(value, &mut answers), Verdict::Fails);
        assert_eq!(distinct.judge(Value::Null, &mut answers), Verdict::Holds);
        // Nothing equals, but a null in the list leaves it unknown.
        let others = predicate(r#"not.in.("{}",NULL)"#, &json).unwrap();
        assert_eq!(others.judge(value, &mut answers), Verdict::Fails);
        json.kind = Kind::Exact;
        json.asked.labels = ["low", "high"].map(Arc::from).into();
        let order = predicate("gt.low", &json).unwrap();
        assert_eq!(order.judge(Value::Text(b"high"), &mut answers), Verdict::Holds);
        assert_eq!(order.judge(Value::Text(b"low"), &mut answers), Verdict::Fails);
        assert_eq!(order.judge(Value::Text(b"new"), &mut answers), Verdict::Open);
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

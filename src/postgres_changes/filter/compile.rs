//! A filter made ready for one column's type.
//!
//! [`check`] says what a filter needs before it can be compiled: the values
//! that must be valid for the type. [`compile`] takes their canonical text
//! and makes a [`Predicate`], which knows SQL's three truth values. Where the
//! comparison is not ours to make, the predicate asks (see [`super::ask`]).

use std::sync::Arc;

pub use super::predicate::{Predicate, Verdict};
use super::{
    Filter, Op,
    ask::{Asked, Comparison},
    compare::Kind,
    parse::elements,
    pattern::{self, Like},
    predicate::Test,
};

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
            // As in the original, `varchar` is not among them.
            if !matches!(&*column.asked.cast, "text" | "name") {
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
    /// A column of a type of PostgreSQL itself, of which nothing is remarkable.
    /// `deterministic` is said of its collation.
    pub fn builtin(oid: u32, title: &str, deterministic: bool) -> Self {
        let title = Arc::from(title);
        Self {
            kind: Kind::of_builtin(oid, deterministic),
            cast: Arc::clone(&title),
            is_bytea: oid == 17,
            is_domain: false,
            asked: AskedType {
                cast: Arc::clone(&title),
                schema: Arc::from("pg_catalog"),
                collation: None,
                labels: Arc::default(),
                folds_ascii: true,
            },
            title,
        }
    }

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
    pub(super) fn position(&self, label: &[u8]) -> Option<usize> {
        self.labels.iter().position(|known| known.as_bytes() == label)
    }
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
        // Under a nondeterministic collation PostgreSQL refuses most patterns.
        Op::Like if kind == Kind::Opaque => pattern("~~"),
        Op::Ilike if kind == Kind::Opaque => pattern("~~*"),
        Op::Match if kind == Kind::Opaque => pattern("~"),
        Op::Imatch if kind == Kind::Opaque => pattern("~*"),
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

#[cfg(test)]
#[path = "compile_tests.rs"]
mod tests;

//! A compiled condition: what it tests, and how it judges a value.

use std::{cmp::Ordering, sync::Arc};

use regex::bytes::Regex;

use super::{
    Op,
    ask::{Answers, Asked, Truth},
    compare::{Comparable, Kind},
    compile::AskedType,
    pattern::Like,
};
use crate::replication::change::Value;

/// A test of one column's value.
#[derive(Debug, Clone)]
pub struct Predicate {
    pub(super) kind: Kind,
    pub(super) negated: bool,
    pub(super) test: Test,
}

#[derive(Debug, Clone)]
pub(super) enum Test {
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
        match &self.test {
            Test::IsNull | Test::IsDistinct(_) | Test::Asked { inverted: true, .. } => Some(true),
            Test::IsBool(wanted) => Some(wanted.is_none()),
            // Nothing is in an empty list, not even null perhaps.
            Test::In { values, has_null: false } if values.is_empty() => Some(false),
            Test::Asked { any, has_null: false, .. } if any.is_empty() => Some(false),
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

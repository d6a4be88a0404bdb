//! Comparisons that only PostgreSQL makes exactly: under a language's
//! collation, of types without a rule here, of patterns it reads its own way.
//!
//! A row is judged without waiting: what is not known yet is noted in
//! [`Answers`], whoever judges has it answered and judges again. An answer
//! depends on the two values and the comparison alone, so it stays true
//! whatever else changed meanwhile.

use std::{
    collections::{HashMap, HashSet},
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// An operator between two values of one type, as SQL writes it. Its parts
/// come from the catalog, quoted by PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Comparison {
    /// The type to cast both sides to.
    pub cast: Arc<str>,
    /// The collation, where it is not the database's.
    pub collation: Option<Arc<str>>,
    /// The schema of the operator.
    pub schema: Arc<str>,
    /// The operator.
    pub operator: &'static str,
}

/// A comparison with one value of a filter.
#[derive(Debug)]
pub struct Asked {
    /// How.
    pub comparison: Comparison,
    /// With what, in PostgreSQL's own text form.
    pub wanted: Arc<str>,
    /// PostgreSQL cannot answer this: it raises an error or takes too long.
    is_hopeless: AtomicBool,
}

/// What PostgreSQL said about the rows at hand, and what it must still be asked.
#[derive(Debug, Default)]
pub struct Answers {
    known: HashMap<Arc<Asked>, Known>,
    open: HashMap<Arc<Asked>, HashSet<Box<[u8]>>>,
}

/// SQL's answer for each value.
type Known = HashMap<Box<[u8]>, Option<bool>>;

/// What is known of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// SQL's answer; `None` is its "unknown".
    Known(Option<bool>),
    /// PostgreSQL has not been asked yet.
    Open,
}

impl Comparison {
    /// `left operator right` with the casts; both sides are SQL of type text.
    pub fn sql(&self, left: &str, right: &str) -> String {
        let Self { cast, schema, operator, .. } = self;
        let collate = self.collation.as_ref().map(|name| format!(" collate {name}"));
        let collate = collate.as_deref().unwrap_or_default();
        format!("({left}::{cast}{collate} operator({schema}.{operator}) {right}::{cast})")
    }

    /// SQL that fails if the comparison makes no sense to PostgreSQL, whatever
    /// the values. A null is of every type; patterns are looked at only with a text.
    pub fn probe(&self) -> String {
        let value = if self.operator.contains('~') { "''::text" } else { "null::text" };
        format!("select {}", self.sql(value, value))
    }
}

impl Asked {
    /// A question about values of a column.
    pub fn new(comparison: Comparison, wanted: Arc<str>) -> Arc<Self> {
        Arc::new(Self { comparison, wanted, is_hopeless: AtomicBool::new(false) })
    }

    /// Never ask again: whoever waits for this gets nothing more.
    pub fn give_up(&self) {
        self.is_hopeless.store(true, Ordering::Relaxed);
    }

    /// Somebody new waits for this, and is to hear of it by itself if it fails again.
    pub fn revive(&self) {
        self.is_hopeless.store(false, Ordering::Relaxed);
    }

    /// True once nobody asks this any more.
    pub fn is_hopeless(&self) -> bool {
        self.is_hopeless.load(Ordering::Relaxed)
    }
}

impl PartialEq for Asked {
    fn eq(&self, other: &Self) -> bool {
        self.wanted == other.wanted && self.comparison == other.comparison
    }
}

impl Eq for Asked {}

impl Hash for Asked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.wanted.hash(state);
        self.comparison.hash(state);
    }
}

impl Answers {
    /// What PostgreSQL said of `value`; notes the question if nothing yet.
    pub fn find(&mut self, asked: &Arc<Asked>, value: &[u8]) -> Truth {
        if let Some(answer) = self.known.get(asked).and_then(|values| values.get(value)) {
            return Truth::Known(*answer);
        }
        if asked.is_hopeless() {
            return Truth::Known(None);
        }
        self.open.entry(Arc::clone(asked)).or_default().insert(value.into());
        Truth::Open
    }

    /// True if there is nothing to ask.
    pub fn is_settled(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes the open questions out.
    pub fn take_open(&mut self) -> Vec<(Arc<Asked>, Box<[u8]>)> {
        let open = std::mem::take(&mut self.open).into_iter();
        open.flat_map(|(asked, values)| {
            values.into_iter().map(move |value| (Arc::clone(&asked), value))
        })
        .collect()
    }

    /// Takes an answer in.
    pub fn put(&mut self, asked: Arc<Asked>, value: Box<[u8]>, answer: Option<bool>) {
        self.known.entry(asked).or_default().insert(value, answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Arc<Asked> {
        let comparison = Comparison {
            cast: Arc::from("jsonb"),
            collation: None,
            schema: Arc::from("pg_catalog"),
            operator: "=",
        };
        Asked::new(comparison, Arc::from("{}"))
    }

    #[test]
    fn equal_questions_are_asked_once() {
        let (one, two, mut answers) = (asked(), asked(), Answers::default());
        assert_eq!(answers.find(&one, b"[]"), Truth::Open);
        assert_eq!(answers.find(&two, b"[]"), Truth::Open);
        let open = answers.take_open();
        assert_eq!(open.len(), 1);
        for (asked, value) in open {
            answers.put(asked, value, Some(false));
        }
        assert!(answers.is_settled());
        assert_eq!(answers.find(&two, b"[]"), Truth::Known(Some(false)));
        assert_eq!(answers.find(&two, b"{}"), Truth::Open);
    }

    #[test]
    fn what_is_given_up_is_unknown() {
        let (asked, mut answers) = (asked(), Answers::default());
        asked.give_up();
        assert_eq!(answers.find(&asked, b"{}"), Truth::Known(None));
        assert!(answers.is_settled());
    }

    #[test]
    fn a_comparison_reads_as_sql() {
        let mut comparison = asked().comparison.clone();
        assert_eq!(comparison.sql("a", "b"), "(a::jsonb operator(pg_catalog.=) b::jsonb)");
        comparison.collation = Some(Arc::from("x.\"de-DE\""));
        let sql = "(a::jsonb collate x.\"de-DE\" operator(pg_catalog.=) b::jsonb)";
        assert_eq!(comparison.sql("a", "b"), sql);
    }
}

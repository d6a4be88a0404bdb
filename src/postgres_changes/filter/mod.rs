//! Filters of a subscription: `column=operator.value`, joined by commas.
//!
//! `parse` reads the text, `op` names the operators, `compile` makes a typed
//! test of it for a column. All of it is pure: what only PostgreSQL can know
//! (is this value valid for the type, how does it print) is an input here, and
//! `ask` keeps what it must say about rows.

pub mod ask;
pub mod compare;
pub mod compile;
mod decimal;
mod moment;
pub mod op;
pub mod parse;
pub mod pattern;

use std::sync::Arc;

pub use self::{op::Op, parse::FilterError};

/// One condition on one column.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Column name, unquoted.
    pub column: Arc<str>,
    /// The operator.
    pub op: Op,
    /// The value; for `in` a PostgreSQL array literal (`{1,2}`).
    pub value: Arc<str>,
    /// Preceded by `not.`.
    pub negated: bool,
}

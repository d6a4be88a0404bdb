//! One logical replication stream per database: from the slot to a [`sink::ChangeSink`].

pub mod change;
pub mod position;
pub mod relation;
pub mod sink;

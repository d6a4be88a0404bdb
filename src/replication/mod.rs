//! One logical replication stream per database: from the slot to a [`sink::ChangeSink`].
//!
//! [`worker`] keeps a stream running; a stream is a `link` task that owns the
//! connection and an apply loop that feeds the sink. The slot is the only
//! thing that is stored: PostgreSQL keeps what is not confirmed, and a change
//! is confirmed after the sink took it. So a crash repeats and never loses.

mod apply;
pub mod change;
pub mod config;
mod error;
mod give_up;
mod guard;
mod link;
pub mod metrics;
pub mod position;
mod prepare;
mod publication;
pub mod relation;
pub mod relay;
mod shutdown;
pub mod sink;
mod slot;
pub mod status;
pub mod transaction;
pub mod worker;

pub use self::{
    config::{Config, Publication},
    give_up::give_up,
    metrics::Metrics,
    status::{Handle, Status},
    worker::Worker,
};

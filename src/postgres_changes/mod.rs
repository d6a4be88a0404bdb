//! Row changes to the channels that subscribed to them.
//!
//! A row goes: relation → `index` candidates (a hash look-up for equality
//! filters, a list for the rest) → compiled filters, and PostgreSQL's word
//! where only it can judge (`filter::ask`) → what its readers' roles may see
//! (`shape`) → row security, once per role and claims (`row_security`) →
//! `payload`, rendered once per shape → one frame per group
//! of equal channels → their outboxes.
//!
//! Invariants:
//! - no row is judged by an older description of its table than the stream
//!   gave: grants and row security count from the first row after they changed;
//! - what cannot be judged is not delivered, and costs nobody else a row;
//! - a subscriber gets nothing that committed before it subscribed;
//! - nothing that is asked of the database leaves a trace there.

mod catalog;
mod condition;
mod config;
mod deliver;
pub mod filter;
mod flight;
mod generated;
mod image;
mod index;
mod inspect;
mod members;
pub mod metrics;
mod notices;
mod payload;
mod pipeline;
mod prepare;
mod ready;
mod row_security;
mod rule;
mod shape;
mod state;
mod subscribe;
pub mod subscription;
mod table;
mod throttle;

pub use self::{
    config::{Config, Surplus},
    metrics::Metrics,
    pipeline::Pipeline,
    row_security::{Config as RowSecurity, DeleteVisibility},
    subscribe::{Place, PostgresChanges, Registration, Subscribe, SubscribeError},
    subscription::{Binding, BindingError, legacy_item, reply_entries},
};

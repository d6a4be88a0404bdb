//! Row changes to the channels that subscribed to them.
//!
//! A row goes: relation → `index` candidates (a hash look-up for equality
//! filters, a list for the rest) → compiled filters → what its readers' roles
//! may see (`shape`) → row security, once per role and claims (`row_security`) → `payload`, rendered once per shape → one frame per group
//! of equal channels → their outboxes.
//!
//! Invariants:
//! - no row is judged by an older description of its table than the stream
//!   gave: grants and row security count from the first row after they changed;
//! - what cannot be judged is not delivered, and costs nobody else a row;
//! - a subscriber gets nothing that committed before it subscribed;
//! - nothing is written to the database.
//!
//! Not here yet: comparisons that only PostgreSQL can make.

mod catalog;
mod condition;
mod deliver;
pub mod filter;
mod flight;
mod image;
mod index;
mod inspect;
mod members;
mod payload;
mod pipeline;
mod row_security;
mod rule;
mod shape;
mod state;
mod stretch;
mod subscribe;
pub mod subscription;
mod table;

pub use self::{
    pipeline::Pipeline,
    row_security::{Config as RowSecurity, DeleteVisibility},
    subscribe::{Config, Place, PostgresChanges, Registration, Subscribe, SubscribeError},
    subscription::{Binding, BindingError, legacy_item, reply_entries},
};

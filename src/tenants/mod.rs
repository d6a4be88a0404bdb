//! Tenants: identity, keys, limits, and the schema in their databases.

pub mod cache;
pub mod caller;
pub mod census;
pub mod chat_schema;
pub mod chat_shards;
pub mod crypto;
pub mod janitor;
mod ledger;
pub mod limits;
pub mod metrics;
pub mod migrations;
pub mod partitions;
pub mod record;
pub mod store;
pub mod tenant;

pub use self::{
    caller::Caller,
    limits::Limits,
    record::Record,
    store::Store,
    tenant::{Tenant, Terms},
};

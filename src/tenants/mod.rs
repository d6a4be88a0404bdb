//! Tenants: identity, keys, limits, and the schema in their databases.

pub mod chat_schema;
pub mod janitor;
mod ledger;
pub mod limits;
pub mod migrations;
pub mod partitions;
pub mod tenant;

pub use self::{
    limits::Limits,
    tenant::{Tenant, Terms},
};

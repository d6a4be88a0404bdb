//! Tenants: what their databases contain.

pub mod migrations;

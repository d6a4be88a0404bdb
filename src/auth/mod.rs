//! Who a token says its bearer is, and whether to believe it.

pub mod claims;
#[cfg(test)]
mod fixtures;
mod jwk;
pub mod jwks;
pub mod jwks_fetch;
pub mod jwks_source;
pub mod jwt;
pub mod keys;
#[cfg(test)]
mod publisher;
pub mod roles;

pub use self::{
    claims::Claims, jwks::Jwks, jwks_source::JwksSource, jwt::TokenError, keys::Keys, roles::Roles,
};

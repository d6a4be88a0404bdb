//! Who a token says its bearer is, and whether to believe it.

pub mod claims;
pub mod jwt;

pub use self::{claims::Claims, jwt::TokenError};

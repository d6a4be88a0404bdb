//! Keys of clients and operators.

use rowcast::{auth::jwt, runtime::clock};
use serde_json::{Map, Value, json};

/// What the server under test verifies tokens with.
pub const SECRET: &str = "a-secret-for-tests-a-secret-for-tests";

/// A token of a role for an hour.
pub fn token(role: &str) -> String {
    expiring(role, 3600)
}

/// A token of a role that expires in so many seconds, or did if negative.
pub fn expiring(role: &str, seconds: i64) -> String {
    signed(json!({ "role": role, "exp": clock::unix_seconds() + seconds }))
}

/// A token with these claims and no others.
pub fn signed(claims: Value) -> String {
    signed_with(claims, SECRET)
}

/// A token signed with another secret.
pub fn signed_with(claims: Value, secret: &str) -> String {
    let claims: Map<String, Value> = serde_json::from_value(claims).unwrap();
    jwt::sign(&claims, secret).unwrap()
}

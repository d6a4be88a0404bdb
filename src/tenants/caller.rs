//! Whom the database is asked for: a caller's role and claims, as SQL settings.

use postgres_protocol::escape::escape_literal;

use crate::{auth::Claims, secret::Secret};

/// Who asks, and about which private topic.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The topic without `realtime:`; policies read it as `realtime.topic()`.
    pub topic: &'a str,
    /// The caller's token.
    pub claims: &'a Claims,
    /// The caller's request headers as a JSON object, for `request.headers`.
    pub headers: &'a Secret,
}

impl Caller<'_> {
    /// A statement that makes the rest of its transaction the caller's: what
    /// policies read, and the role last. It returns one row of no interest.
    pub fn settings(&self) -> String {
        let Self { topic, claims, headers } = *self;
        let set = |name: &str, value: &str| {
            format!("set_config('{name}', {}, true)", escape_literal(value))
        };
        let settings = [
            set("realtime.topic", topic),
            set("request.jwt.claims", claims.json()),
            set("request.jwt.claim.sub", claims.subject().unwrap_or_default()),
            set("request.jwt.claim.role", claims.role()),
            set("request.headers", headers.expose()),
            set("role", claims.role()),
        ];
        format!("select {}", settings.join(", "))
    }
}

//! A tenant's keys: from a token to verified claims.
//!
//! The order of checks is fixed, since clients see which one failed: shape,
//! key, signature, validators, dates, required claims. A token names an
//! algorithm and a key; the key's type decides whether they go together.

use std::{fmt, sync::Arc};

use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

use super::{
    claims::Claims,
    jwk::HMAC,
    jwks::{Found, Jwks},
    jwks_source::JwksSource,
    jwt::{self, Token, TokenError},
    roles::Roles,
};

/// What a tenant's tokens are verified with.
#[derive(Clone)]
pub struct Keys {
    secret: Option<Arc<DecodingKey>>,
    jwks: Option<Arc<Jwks>>,
    source: Option<Arc<JwksSource>>,
    required: Map<String, Value>,
    roles: Roles,
}

impl Keys {
    /// Keys that accept HS256, HS384 and HS512 with `secret`, whatever the keys
    /// of `jwks` can verify, and only claims that equal every entry of
    /// `required`. An empty secret counts as none.
    pub fn new(secret: Option<&str>, jwks: Option<Jwks>, required: Map<String, Value>) -> Self {
        // Anybody can sign with nothing.
        let secret = secret.filter(|secret| !secret.is_empty());
        let secret = secret.map(|secret| Arc::new(DecodingKey::from_secret(secret.as_bytes())));
        Self { secret, jwks: jwks.map(Arc::new), source: None, required, roles: Roles::default() }
    }

    /// The same and the keys that `source` fetches; those given win.
    #[must_use]
    pub fn with_source(self, source: Arc<JwksSource>) -> Self {
        Self { source: Some(source), ..self }
    }

    /// The same for tokens of these roles.
    #[must_use]
    pub fn with_roles(self, roles: Roles) -> Self {
        Self { roles, ..self }
    }

    /// Verifies a token at `now` (seconds since 1970). Never waits: a token of
    /// an unknown key is refused, and the keys are fetched for the next one.
    ///
    /// # Errors
    ///
    /// [`TokenError`], the first check that failed.
    pub fn verify(&self, token: &str, now: i64) -> Result<Claims, TokenError> {
        let claims = Claims::parse(&self.payload(token)?, now)?;
        if self.roles.allow(claims.role()) { Ok(claims) } else { Err(TokenError::Invalid) }
    }

    /// Waits for the keys to be fetched if that could make `error` go away,
    /// and tells whether another look is worth it. Bounded in time; many
    /// callers share one fetch, and right after one nobody waits.
    pub async fn refreshed(&self, error: &TokenError) -> bool {
        match (error, &self.source) {
            (TokenError::NoKey { kid: Some(_) }, Some(source)) => {
                source.refreshed().await;
                true
            }
            _ => false,
        }
    }

    /// Verifies a token of an operator, which needs neither `role` nor `exp`.
    /// A role other than `service_role` makes it the key of a client: such
    /// keys are public, and often signed with the same secret.
    ///
    /// # Errors
    ///
    /// [`TokenError`], the first check that failed.
    pub fn verify_operator(&self, token: &str, now: i64) -> Result<(), TokenError> {
        let payload = self.payload(token)?;
        let claims: Map<String, Value> =
            serde_json::from_str(&payload).map_err(|_| TokenError::Invalid)?;
        if claims.get("role").is_some_and(|role| role != "service_role") {
            return Err(TokenError::Invalid);
        }
        match claims.get("exp") {
            None => Ok(()),
            Some(exp) => match exp.as_f64() {
                #[expect(clippy::cast_precision_loss, reason = "dates are far below 2^52")]
                Some(exp) if exp > now as f64 => Ok(()),
                Some(_) => Err(TokenError::Expired { seconds: 0 }),
                None => Err(TokenError::Invalid),
            },
        }
    }

    /// The JSON text of the claims, once the signature and the validators agree.
    fn payload(&self, token: &str) -> Result<String, TokenError> {
        let token = Token::parse(token)?;
        let found = token.algorithm.and_then(|algorithm| {
            let key = self.key(algorithm, token.kid.as_deref())?;
            Some((key, algorithm))
        });
        let Some((key, algorithm)) = found else {
            return Err(self.no_key(token.kid.as_deref()));
        };
        if !token.is_signed_by(&key, algorithm) {
            return Err(TokenError::Signature);
        }
        self.check_required(&token.claims)?;
        Ok(token.claims)
    }

    /// The one key that may verify such a token. A public key is only found by
    /// its name; a secret is the fallback for tokens signed with a secret.
    fn key(&self, algorithm: Algorithm, kid: Option<&str>) -> Option<Arc<DecodingKey>> {
        if let Some(kid) = kid {
            let fetched = self.source.as_ref().and_then(|source| source.current());
            for set in [&self.jwks, &fetched].into_iter().flatten() {
                match set.find(kid, algorithm) {
                    Found::Key(key) => return Some(key),
                    // The name is known: trying the secret would be guessing.
                    Found::Misfit => return None,
                    Found::Nothing => {}
                }
            }
        }
        self.secret.clone().filter(|_| HMAC.contains(&algorithm))
    }

    /// Refuses a token; names the key only to those who have named keys.
    fn no_key(&self, kid: Option<&str>) -> TokenError {
        let has_names = self.jwks.is_some() || self.source.is_some();
        let kid = kid.filter(|_| has_names).map(jwt::shown);
        if let (Some(_), Some(source)) = (&kid, &self.source) {
            source.ask();
        }
        TokenError::NoKey { kid }
    }

    fn check_required(&self, claims: &str) -> Result<(), TokenError> {
        if self.required.is_empty() {
            return Ok(());
        }
        let claims: Map<String, Value> =
            serde_json::from_str(claims).map_err(|_| TokenError::Invalid)?;
        let holds = |(name, value): (&String, &Value)| claims.get(name) == Some(value);
        if self.required.iter().all(holds) { Ok(()) } else { Err(TokenError::Invalid) }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("jwks", &self.jwks).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;

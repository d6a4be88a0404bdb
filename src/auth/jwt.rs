//! JSON Web Tokens: from text to verified claims.
//!
//! The order of checks is fixed, since clients see which one failed: shape,
//! key, signature, dates, required claims. The key decides which algorithms
//! are possible; a token's `alg` only chooses among them.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::claims::Claims;

/// Why a token was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three base64url parts, or a header that is no object.
    #[error("the token provided is not a valid JWT")]
    NotAJwt,
    /// No key fits the token's algorithm.
    #[error("no key fits the token's algorithm")]
    NoKey,
    /// The signature is not the key's.
    #[error("the signature does not match")]
    Signature,
    /// `exp` is not in the future.
    #[error("the token expired {seconds} seconds ago")]
    Expired {
        /// Whole seconds since then.
        seconds: i64,
    },
    /// `role` or `exp` is absent.
    #[error("the claims `role` and `exp` are required")]
    MissingClaims,
    /// Claims of a wrong type, or not what a validator demands.
    #[error("the claims are not usable")]
    Invalid,
}

/// What a tenant's tokens are verified with.
#[derive(Clone)]
pub struct Keys {
    secret: DecodingKey,
    required: Map<String, Value>,
}

impl Keys {
    /// Keys that accept HS256, HS384 and HS512 with `secret`, and only claims
    /// that equal every entry of `required`.
    pub fn new(secret: &str, required: Map<String, Value>) -> Self {
        Self { secret: DecodingKey::from_secret(secret.as_bytes()), required }
    }

    /// Verifies a token at `now` (seconds since 1970).
    ///
    /// # Errors
    ///
    /// [`TokenError`], the first check that failed.
    pub fn verify(&self, token: &str, now: i64) -> Result<Claims, TokenError> {
        Claims::parse(&self.payload(token)?, now)
    }

    /// Verifies a token of an operator, which needs neither `role` nor `exp`.
    ///
    /// # Errors
    ///
    /// [`TokenError`], the first check that failed.
    pub fn verify_operator(&self, token: &str, now: i64) -> Result<(), TokenError> {
        let payload = self.payload(token)?;
        let claims: Map<String, Value> =
            serde_json::from_str(&payload).map_err(|_| TokenError::Invalid)?;
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
        let token = clean(token);
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::NotAJwt);
        };
        let head: Head =
            serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::NotAJwt)?;
        let claims = String::from_utf8(decode(payload)?).map_err(|_| TokenError::NotAJwt)?;
        serde_json::from_str::<serde::de::IgnoredAny>(&claims).map_err(|_| TokenError::NotAJwt)?;

        let algorithm = match head.alg.as_str() {
            "HS256" => Algorithm::HS256,
            "HS384" => Algorithm::HS384,
            "HS512" => Algorithm::HS512,
            _ => return Err(TokenError::NoKey),
        };
        let signed = token.get(..header.len() + 1 + payload.len()).ok_or(TokenError::NotAJwt)?;
        let genuine =
            jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &self.secret, algorithm);
        if !genuine.unwrap_or(false) {
            return Err(TokenError::Signature);
        }
        self.check_required(&claims)?;
        Ok(claims)
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
        f.write_str("Keys(***)")
    }
}

/// Signs `claims` with HS256.
///
/// # Errors
///
/// [`TokenError::NoKey`] if the secret cannot sign.
pub fn sign(claims: &Map<String, Value>, secret: &str) -> Result<String, TokenError> {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key)
        .map_err(|_| TokenError::NoKey)
}

#[derive(Deserialize)]
struct Head {
    alg: String,
}

fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::NotAJwt)
}

/// Tokens arrive percent-encoded and with stray white space.
fn clean(token: &str) -> String {
    let decoded = percent_encoding::percent_decode_str(token).decode_utf8_lossy();
    decoded.chars().filter(|c| !c.is_whitespace()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_000;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("not an object") };
        map
    }

    fn token(claims: Value) -> String {
        sign(&object(claims), "secret").unwrap()
    }

    fn keys() -> Keys {
        Keys::new("secret", Map::new())
    }

    #[test]
    fn a_signed_token_gives_its_claims() {
        let token = token(json!({"role": "anon", "exp": 2000}));
        assert_eq!(keys().verify(&token, NOW).unwrap().role().as_ref(), "anon");
        let (start, end) = token.split_at(10);
        let dirty = format!(" {start}%20\n{end}");
        assert!(keys().verify(&dirty, NOW).is_ok());
    }

    #[test]
    fn another_secret_or_a_changed_payload_is_no_match() {
        let token = token(json!({"role": "anon", "exp": 2000}));
        let other = Keys::new("other", Map::new());
        assert_eq!(other.verify(&token, NOW), Err(TokenError::Signature));
        let parts: Vec<&str> = token.split('.').collect();
        let forged = URL_SAFE_NO_PAD.encode(r#"{"role":"service_role","exp":2000}"#);
        let forged = format!("{}.{forged}.{}", parts[0], parts[2]);
        assert_eq!(keys().verify(&forged, NOW), Err(TokenError::Signature));
    }

    #[test]
    fn algorithms_without_a_key_are_refused() {
        for header in [r#"{"alg":"none"}"#, r#"{"alg":"RS256","kid":"k"}"#, r#"{"alg":"hs256"}"#] {
            let header = URL_SAFE_NO_PAD.encode(header);
            let payload = URL_SAFE_NO_PAD.encode(r#"{"role":"a","exp":2000}"#);
            let token = format!("{header}.{payload}.");
            assert_eq!(keys().verify(&token, NOW), Err(TokenError::NoKey));
        }
    }

    #[test]
    fn other_texts_are_no_tokens() {
        for text in ["", "abc", "a.b.c", "a.b.c.d", "....", "e30.e30"] {
            assert_eq!(keys().verify(text, NOW), Err(TokenError::NotAJwt), "{text}");
        }
    }

    #[test]
    fn required_claims_must_be_equal() {
        let keys = Keys::new("secret", object(json!({"iss": "me"})));
        let with = |iss: &str| token(json!({"role": "a", "exp": 2000, "iss": iss}));
        assert!(keys.verify(&with("me"), NOW).is_ok());
        assert_eq!(keys.verify(&with("you"), NOW), Err(TokenError::Invalid));
    }

    #[test]
    fn an_operator_needs_no_role_but_a_future_exp_if_any() {
        assert_eq!(keys().verify_operator(&token(json!({})), NOW), Ok(()));
        assert_eq!(keys().verify_operator(&token(json!({"exp": 1001})), NOW), Ok(()));
        assert!(keys().verify_operator(&token(json!({"exp": 999})), NOW).is_err());
        assert!(keys().verify_operator(&token(json!({"exp": "x"})), NOW).is_err());
    }
}

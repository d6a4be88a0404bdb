//! JSON Web Tokens: what a token says, before anybody believes it.
//!
//! Reading and signing only; which key verifies a token is decided in `keys`.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::jwk;

/// Characters of a key's name that are repeated to others.
const MAX_SHOWN: usize = 128;

/// Why a token was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three base64url parts, or a header that is no object.
    #[error("the token provided is not a valid JWT")]
    NotAJwt,
    /// No key fits the token's algorithm and key name.
    #[error("no key fits the token")]
    NoKey {
        /// The key that the token names, fit to be shown; only if the tenant
        /// has keys with names.
        kid: Option<String>,
    },
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

/// A token in its parts, none of them verified.
pub(super) struct Token {
    text: String,
    /// Where the signature begins; the full stop before it is not signed.
    signature: usize,
    /// The algorithm it claims; `None` for one that nobody here knows.
    pub(super) algorithm: Option<Algorithm>,
    /// The key it names. A name that is no text names nothing.
    pub(super) kid: Option<String>,
    /// Its claims as JSON text.
    pub(super) claims: String,
}

impl Token {
    /// Takes a token apart.
    pub(super) fn parse(text: &str) -> Result<Self, TokenError> {
        let text = clean(text);
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::NotAJwt);
        };
        let signature = header.len() + payload.len() + 2;
        let head = Head::parse(&decode(header)?).ok_or(TokenError::NotAJwt)?;
        let claims = String::from_utf8(decode(payload)?).map_err(|_| TokenError::NotAJwt)?;
        serde_json::from_str::<serde::de::IgnoredAny>(&claims).map_err(|_| TokenError::NotAJwt)?;
        if head.crit.is_some() {
            // RFC 7515: what is critical and not understood makes a token invalid.
            return Err(TokenError::Invalid);
        }
        let algorithm = head.alg.as_ref().and_then(Value::as_str).and_then(jwk::algorithm);
        let kid = match head.kid {
            Some(Value::String(kid)) => Some(kid),
            _ => None,
        };
        Ok(Self { text, signature, algorithm, kid, claims })
    }

    /// Whether `key` made the signature with `algorithm`.
    pub(super) fn is_signed_by(&self, key: &DecodingKey, algorithm: Algorithm) -> bool {
        let signed = self.signature.checked_sub(1).and_then(|end| self.text.get(..end));
        let (Some(signed), Some(signature)) = (signed, self.text.get(self.signature..)) else {
            return false;
        };
        jsonwebtoken::crypto::verify(signature, signed.as_bytes(), key, algorithm).unwrap_or(false)
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
        .map_err(|_| TokenError::NoKey { kid: None })
}

/// Sixteen bytes that stand for a text, the same in every process and version.
/// Not a secret: the key is fixed.
pub fn digest(text: &str) -> Option<[u8; 16]> {
    let key = EncodingKey::from_secret(b"rowcast");
    let signed = jsonwebtoken::crypto::sign(text.as_bytes(), &key, Algorithm::HS256).ok()?;
    let bytes = URL_SAFE_NO_PAD.decode(signed).ok()?;
    bytes.get(..16)?.try_into().ok()
}

/// A key's name as it may be repeated to a client or a log: it is whatever the
/// sender of a token made up.
pub(super) fn shown(kid: &str) -> String {
    let plain = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    kid.chars().take(MAX_SHOWN).map(plain).collect()
}

#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    alg: Option<Value>,
    #[serde(default)]
    kid: Option<Value>,
    #[serde(default)]
    crit: Option<Value>,
}

impl Head {
    fn parse(json: &[u8]) -> Option<Self> {
        // A list would do for serde: the members in their order.
        json.trim_ascii_start().starts_with(b"{").then(|| serde_json::from_slice(json).ok())?
    }
}

fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::NotAJwt)
}

/// A token as it is verified: they arrive percent-encoded and with stray white
/// space, and all spellings of one token are the same token.
pub fn clean(token: &str) -> String {
    let decoded: Cow<'_, str> = percent_encoding::percent_decode_str(token).decode_utf8_lossy();
    decoded.chars().filter(|c| !c.is_whitespace()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, payload: &str) -> String {
        format!("{}.{}.", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn other_texts_are_no_tokens() {
        for text in ["", "abc", "a.b.c", "a.b.c.d", "....", "e30.e30"] {
            assert_eq!(Token::parse(text).err(), Some(TokenError::NotAJwt), "{text}");
        }
        for header in ["[]", r#"["HS256"]"#, "7", "null", "{", r#"{"alg":"HS256","alg":"none"}"#] {
            let error = Token::parse(&token(header, "{}")).err();
            assert_eq!(error, Some(TokenError::NotAJwt), "{header}");
        }
    }

    #[test]
    fn what_names_no_algorithm_or_key_is_none() {
        let head = |header: &str| {
            let token = Token::parse(&token(header, "{}")).unwrap();
            (token.algorithm, token.kid)
        };
        for alg in ["{}", r#"{"alg":"none"}"#, r#"{"alg":"hs256"}"#, r#"{"alg":7,"kid":{"a":1}}"#] {
            assert_eq!(head(alg), (None, None), "{alg}");
        }
        let named = (Some(Algorithm::ES256), Some("../../etc/passwd".to_owned()));
        assert_eq!(head(r#"{"alg":"ES256","kid":"../../etc/passwd"}"#), named);
    }

    #[test]
    fn critical_headers_are_not_ignored() {
        let token = token(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, "{}");
        assert_eq!(Token::parse(&token).err(), Some(TokenError::Invalid));
    }

    #[test]
    fn a_name_is_shown_shortened_and_without_control_characters() {
        assert_eq!(shown("k-1"), "k-1");
        assert_eq!(shown("a\r\nb\u{1b}"), "a\u{fffd}\u{fffd}b\u{fffd}");
        assert_eq!(shown(&"x".repeat(1_000_000)).len(), 128);
    }
}

//! JSON Web Key Sets (RFC 7517): keys by name.
//!
//! A key that cannot be used is left out and noted, so that one bad entry does
//! not lock everybody out. Nothing is fetched here.

use std::{fmt, sync::Arc};

use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

use crate::error_code::ErrorCode;

use super::{jwk::Key, jwt};

/// More keys than anybody rotates through.
pub const MAX_KEYS: usize = 64;

/// Bytes of a set that is part of the settings.
pub const MAX_INLINE_BYTES: usize = 64 * 1024;

/// A set of keys by name. Never holds a key that cannot verify.
#[derive(Clone)]
pub struct Jwks {
    keys: Box<[Key]>,
    skipped: Box<[Skipped]>,
}

/// Why something is no set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// Not an object with a list `keys`.
    #[error("not a JSON object with a list `keys`")]
    NotASet,
    /// More than [`MAX_KEYS`].
    #[error("{0} keys are more than the {MAX_KEYS} that are allowed")]
    TooManyKeys(usize),
    /// Longer than [`MAX_INLINE_BYTES`].
    #[error("{0} bytes are more than the {MAX_INLINE_BYTES} that are allowed")]
    TooLong(usize),
}

/// A key that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its name, shortened, if it has one.
    pub kid: Option<String>,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// What a set knows about a name.
pub(super) enum Found {
    /// The key to verify with.
    Key(Arc<DecodingKey>),
    /// A key of that name and the right type, which is for another algorithm.
    Misfit,
    /// No such key.
    Nothing,
}

impl Jwks {
    /// Reads a set from JSON text of any length.
    ///
    /// # Errors
    ///
    /// [`JwksError`] if it is no set or has too many keys.
    pub fn parse(text: &[u8]) -> Result<Self, JwksError> {
        Self::from_map(&serde_json::from_slice(text).map_err(|_| JwksError::NotASet)?)
    }

    /// Reads a set that is part of the settings.
    ///
    /// # Errors
    ///
    /// [`JwksError`] if it is too long, too.
    pub fn parse_inline(text: &str) -> Result<Self, JwksError> {
        match text.len() {
            0..=MAX_INLINE_BYTES => Self::parse(text.as_bytes()),
            length => Err(JwksError::TooLong(length)),
        }
    }

    /// Reads a set that is JSON already.
    ///
    /// # Errors
    ///
    /// [`JwksError`] if it is no set or has too many keys.
    pub fn from_map(set: &Map<String, Value>) -> Result<Self, JwksError> {
        let Some(Value::Array(entries)) = set.get("keys") else { return Err(JwksError::NotASet) };
        if entries.len() > MAX_KEYS {
            return Err(JwksError::TooManyKeys(entries.len()));
        }
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for entry in entries {
            match Key::parse(entry) {
                Ok(key) => keys.push(key),
                Err(reason) => {
                    let kid = entry.get("kid").and_then(Value::as_str);
                    skipped.push(Skipped { kid: kid.map(jwt::shown), reason });
                }
            }
        }
        Ok(Self { keys: keys.into(), skipped: skipped.into() })
    }

    /// How many keys can be used.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key to verify anything with.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether one of the keys is a shared secret, which also signs.
    pub fn has_secret(&self) -> bool {
        self.keys.iter().any(Key::is_secret)
    }

    /// The keys that were left out.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Writes the keys that were left out to the log.
    pub fn warn_of_skipped(&self) {
        for Skipped { kid, reason } in &self.skipped {
            tracing::warn!(
                code = %ErrorCode::JwtSignerError, kid, reason,
                "a key of the key set is left out"
            );
        }
    }

    /// The key called `kid` whose type can verify `algorithm`.
    pub(super) fn find(&self, kid: &str, algorithm: Algorithm) -> Found {
        let mut found = Found::Nothing;
        // Names are not secret, and a set is too small for an index to pay.
        for key in self.keys.iter().filter(|key| *key.kid == *kid) {
            match key.fit(algorithm) {
                Some(true) => return Found::Key(Arc::clone(&key.key)),
                Some(false) => found = Found::Misfit,
                None => {}
            }
        }
        found
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.keys.iter().map(|key| &key.kid);
        f.debug_list().entries(names).finish()
    }
}

#[cfg(test)]
#[path = "jwks_tests.rs"]
mod tests;

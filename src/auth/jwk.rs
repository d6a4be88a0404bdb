//! One JSON Web Key (RFC 7517, 7518, 8037, 9864): from JSON to what verifies.
//!
//! A key's type decides which algorithms it may verify, never the token: an
//! RSA key cannot be taken for an HMAC secret. Pure.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// A key that can verify.
#[derive(Clone)]
pub(super) struct Key {
    /// Its name.
    pub(super) kid: Box<str>,
    /// The key itself.
    pub(super) key: Arc<DecodingKey>,
    /// What its type can verify.
    algorithms: &'static [Algorithm],
    /// What its own `alg` narrows that to.
    only: Option<Algorithm>,
}

impl Key {
    /// Whether the key is for `algorithm`; `None` if its type is not.
    pub(super) fn fit(&self, algorithm: Algorithm) -> Option<bool> {
        let can = self.algorithms.contains(&algorithm);
        can.then(|| self.only.is_none_or(|only| only == algorithm))
    }

    /// Whether whoever can verify with it can sign with it, too.
    pub(super) fn is_secret(&self) -> bool {
        self.algorithms == HMAC
    }

    /// Reads a key; the error says what is wrong with it.
    pub(super) fn parse(entry: &Value) -> Result<Self, &'static str> {
        // A list would do for serde: the members in their order.
        let entry = Some(entry).filter(|entry| entry.is_object()).ok_or("it is no object")?;
        let entry = Entry::deserialize(entry).map_err(|_| "a member has a wrong type")?;
        let kid = entry.kid.as_deref().ok_or("it has no kid, so no token can name it")?;
        if entry.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Err("it is not for signatures");
        }
        // Whoever publishes the key to sign with means its other half to verify.
        let signs = |ops: &[String]| ops.iter().any(|op| op == "verify" || op == "sign");
        if entry.key_ops.as_deref().is_some_and(|ops| !signs(ops)) {
            return Err("it is not for signatures");
        }
        let (algorithms, key) = entry.key()?;
        let only = entry.alg.as_deref().map(|name| {
            algorithm(name).filter(|named| algorithms.contains(named)).ok_or("its alg does not fit")
        });
        let only = only.transpose()?;
        // A point off the curve comes to light when a signature is looked at.
        let checked = algorithms.first().map(|first| {
            jsonwebtoken::crypto::verify("", b"", &key, *first).map_err(|_| "it is no such key")
        });
        checked.transpose()?;
        Ok(Self { kid: kid.into(), algorithms, only, key: Arc::new(key) })
    }
}

/// The algorithm that a header or a key calls `name`.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "HS256" => Algorithm::HS256,
        "HS384" => Algorithm::HS384,
        "HS512" => Algorithm::HS512,
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        // RFC 9864 names the curve; both mean the same here.
        "EdDSA" | "Ed25519" => Algorithm::EdDSA,
        _ => return None,
    })
}

/// The algorithms of a shared secret.
pub(super) const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// The members in use; a private key's others are not even read.
#[derive(Deserialize)]
struct Entry {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    k: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Entry {
    /// The key and the algorithms of its type.
    fn key(&self) -> Result<(&'static [Algorithm], DecodingKey), &'static str> {
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("oct", _) => {
                let secret = bytes(self.k.as_deref())?;
                // Anybody can sign with nothing.
                if secret.is_empty() {
                    return Err("it is empty");
                }
                Ok((HMAC, DecodingKey::from_secret(&secret)))
            }
            ("RSA", _) => {
                let (n, e) = (bytes(self.n.as_deref())?, bytes(self.e.as_deref())?);
                check_rsa(&n, &e)?;
                Ok((RSA, DecodingKey::from_rsa_raw_components(&n, &e)))
            }
            ("EC", Some("P-256")) => Ok((&[Algorithm::ES256], self.point(32)?)),
            ("EC", Some("P-384")) => Ok((&[Algorithm::ES384], self.point(48)?)),
            ("OKP", Some("Ed25519")) => {
                let x = bytes(self.x.as_deref())?;
                // The library takes the length for granted.
                if x.len() != 32 {
                    return Err("its length is wrong");
                }
                Ok((&[Algorithm::EdDSA], DecodingKey::from_ed_der(&x)))
            }
            ("EC" | "OKP", _) => Err("its curve is not supported"),
            _ => Err("its type is not supported"),
        }
    }

    /// An uncompressed point (SEC 1, 2.3.3) of coordinates that long.
    fn point(&self, length: usize) -> Result<DecodingKey, &'static str> {
        let (x, y) = (bytes(self.x.as_deref())?, bytes(self.y.as_deref())?);
        if x.len() != length || y.len() != length {
            return Err("its length is wrong");
        }
        Ok(DecodingKey::from_ec_der(&[&[4], x.as_slice(), y.as_slice()].concat()))
    }
}

/// 2048 bits as RFC 7518 demands, at most 4096 as the library can; an exponent
/// that takes no time to speak of.
fn check_rsa(n: &[u8], e: &[u8]) -> Result<(), &'static str> {
    let significant = |number: &[u8]| number.iter().skip_while(|byte| **byte == 0).count();
    let odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    if !(256..=512).contains(&significant(n)) || !odd(n) {
        return Err("its modulus has not 2048 to 4096 bits");
    }
    match e
        .iter()
        .try_fold(0_u64, |number, byte| number.checked_mul(256)?.checked_add((*byte).into()))
    {
        Some(3..=0xFFFF_FFFF) if odd(e) => Ok(()),
        _ => Err("its exponent is unusual"),
    }
}

fn bytes(text: Option<&str>) -> Result<Vec<u8>, &'static str> {
    let text = text.ok_or("a member is missing")?.trim_end_matches('=');
    URL_SAFE_NO_PAD.decode(text).map_err(|_| "a member is not base64url")
}

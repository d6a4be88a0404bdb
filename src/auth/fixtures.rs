//! Keys for tests, made once with Python's `cryptography` and used nowhere
//! else: one of each type, and a certificate for `localhost`.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};

use super::jwks::Jwks;

/// The public halves, called `rsa`, `p256`, `p384` and `ed`, and the secret `oct`.
pub(super) const JWKS: &str = include_str!("fixtures/jwks.json");

/// A certificate for `localhost` that signs itself; valid until 2120.
pub(super) const CERTIFICATE: &[u8] = include_bytes!("fixtures/localhost.pem");

/// Its key.
pub(super) const CERTIFICATE_KEY: &[u8] = include_bytes!("fixtures/localhost.key.pem");

/// The secret of the key `oct`.
pub(super) const SHARED: &str = "a shared secret of these tests";

/// The set of all keys.
pub(super) fn jwks() -> Jwks {
    Jwks::parse_inline(JWKS).unwrap()
}

/// The key of that name as JSON, to be changed.
pub(super) fn key(kid: &str) -> Value {
    let set: Value = serde_json::from_str(JWKS).unwrap();
    let keys = set["keys"].as_array().unwrap();
    keys.iter().find(|key| key["kid"] == kid).unwrap().clone()
}

/// A set of these keys.
pub(super) fn set(keys: &[Value]) -> Jwks {
    Jwks::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

/// Valid claims.
pub(super) fn claims() -> Map<String, Value> {
    let Value::Object(claims) = json!({"role": "anon", "exp": 2000}) else { panic!("no object") };
    claims
}

/// A valid token, signed with the test key for `algorithm`, naming `kid`.
pub(super) fn token(algorithm: Algorithm, kid: Option<&str>) -> String {
    let rsa = || EncodingKey::from_rsa_pem(include_bytes!("fixtures/rsa.pem")).unwrap();
    let key = match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
            EncodingKey::from_secret(SHARED.as_bytes())
        }
        Algorithm::ES256 => EncodingKey::from_ec_pem(include_bytes!("fixtures/p256.pem")).unwrap(),
        Algorithm::ES384 => EncodingKey::from_ec_pem(include_bytes!("fixtures/p384.pem")).unwrap(),
        Algorithm::EdDSA => {
            EncodingKey::from_ed_pem(include_bytes!("fixtures/ed25519.pem")).unwrap()
        }
        _ => rsa(),
    };
    let mut header = Header::new(algorithm);
    header.kid = kid.map(str::to_owned);
    jsonwebtoken::encode(&header, &claims(), &key).unwrap()
}

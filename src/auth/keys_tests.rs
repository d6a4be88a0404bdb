//! Tokens against keys.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::auth::{
    fixtures::{SHARED, claims, jwks, key, set, token},
    jwt::sign,
};

const NOW: i64 = 1_000;

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(map) = value else { panic!("not an object") };
    map
}

fn signed(claims: Value) -> String {
    sign(&object(claims), "secret").unwrap()
}

fn keys() -> Keys {
    Keys::new(Some("secret"), None, Map::new())
}

fn only(jwks: Jwks) -> Keys {
    Keys::new(None, Some(jwks), Map::new())
}

fn no_key(kid: Option<&str>) -> TokenError {
    TokenError::NoKey { kid: kid.map(str::to_owned) }
}

/// A token with any header and an empty signature.
fn bare(header: &Value) -> String {
    let part = |value: String| URL_SAFE_NO_PAD.encode(value);
    format!("{}.{}.", part(header.to_string()), part(Value::Object(claims()).to_string()))
}

#[test]
fn a_signed_token_gives_its_claims() {
    let token = signed(json!({"role": "anon", "exp": 2000}));
    assert_eq!(keys().verify(&token, NOW).unwrap().role().as_ref(), "anon");
    let (start, end) = token.split_at(10);
    let dirty = format!(" {start}%20\n{end}");
    assert!(keys().verify(&dirty, NOW).is_ok());
}

#[test]
fn another_secret_or_a_changed_payload_is_no_match() {
    let token = signed(json!({"role": "anon", "exp": 2000}));
    let other = Keys::new(Some("other"), None, Map::new());
    assert_eq!(other.verify(&token, NOW), Err(TokenError::Signature));
    let parts: Vec<&str> = token.split('.').collect();
    let forged = URL_SAFE_NO_PAD.encode(r#"{"role":"service_role","exp":2000}"#);
    let forged = format!("{}.{forged}.{}", parts[0], parts[2]);
    assert_eq!(keys().verify(&forged, NOW), Err(TokenError::Signature));
}

#[test]
fn every_algorithm_works_with_a_key_set_alone() {
    let keys = only(jwks());
    let (rsa, oct) = ("rsa", "oct");
    for (algorithm, kid) in [
        (Algorithm::HS256, oct),
        (Algorithm::HS384, oct),
        (Algorithm::HS512, oct),
        (Algorithm::RS256, rsa),
        (Algorithm::RS384, rsa),
        (Algorithm::RS512, rsa),
        (Algorithm::PS256, rsa),
        (Algorithm::PS384, rsa),
        (Algorithm::PS512, rsa),
        (Algorithm::ES256, "p256"),
        (Algorithm::ES384, "p384"),
        (Algorithm::EdDSA, "ed"),
    ] {
        let token = token(algorithm, Some(kid));
        assert!(keys.verify(&token, NOW).is_ok(), "{algorithm:?}");
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let changed = format!("{signed}.{}", signature.split_at(signature.len() - 8).0);
        assert_eq!(keys.verify(&changed, NOW), Err(TokenError::Signature), "{algorithm:?}");
    }
}

#[test]
fn a_public_key_is_found_by_name_only() {
    let keys = only(jwks());
    let verify = |kid| keys.verify(&token(Algorithm::ES256, kid), NOW);
    assert_eq!(verify(None), Err(no_key(None)));
    assert_eq!(verify(Some("K")), Err(no_key(Some("K"))));
    assert_eq!(verify(Some("p384")), Err(no_key(Some("p384"))), "the key's curve decides");
    assert_eq!(verify(Some("../p256")), Err(no_key(Some("../p256"))));
}

#[test]
fn a_key_is_named_only_to_tenants_with_named_keys() {
    for header in [json!({"alg": "none", "kid": "K"}), json!({"alg": "RS256", "kid": "K"})] {
        let token = bare(&header);
        assert_eq!(keys().verify(&token, NOW), Err(no_key(None)), "{header}");
        assert_eq!(only(jwks()).verify(&token, NOW), Err(no_key(Some("K"))), "{header}");
    }
    let long = bare(&json!({"alg": "RS256", "kid": "x".repeat(100_000)}));
    assert_eq!(only(jwks()).verify(&long, NOW), Err(no_key(Some(&"x".repeat(128)))));
    let number = bare(&json!({"alg": "RS256", "kid": 7}));
    assert_eq!(only(jwks()).verify(&number, NOW), Err(no_key(None)));
}

#[test]
fn algorithms_without_a_key_are_refused() {
    for alg in [json!("none"), json!("NONE"), json!("hs256"), json!("RS256"), json!(7), Value::Null]
    {
        let header = json!({ "alg": alg });
        assert_eq!(keys().verify(&bare(&header), NOW), Err(no_key(None)), "{header}");
    }
    assert_eq!(keys().verify(&bare(&json!({})), NOW), Err(no_key(None)));
}

#[test]
fn a_shared_secret_falls_back_to_the_tenants() {
    let keys = Keys::new(Some(SHARED), Some(jwks()), Map::new());
    assert!(keys.verify(&token(Algorithm::HS256, None), NOW).is_ok());
    assert!(keys.verify(&token(Algorithm::HS512, Some("elsewhere")), NOW).is_ok());
    let keys = Keys::new(Some("another"), Some(jwks()), Map::new());
    assert!(keys.verify(&token(Algorithm::HS256, Some("oct")), NOW).is_ok(), "the set wins");
    let unknown = token(Algorithm::HS256, Some("elsewhere"));
    assert_eq!(keys.verify(&unknown, NOW), Err(TokenError::Signature));
    assert_eq!(only(jwks()).verify(&unknown, NOW), Err(no_key(Some("elsewhere"))));
}

#[test]
fn a_public_key_is_never_a_secret() {
    // What an attacker has: the published key, in every form it comes in.
    let pem = include_bytes!("fixtures/rsa.pem").as_slice();
    let entry = key("rsa");
    let modulus = URL_SAFE_NO_PAD.decode(entry["n"].as_str().unwrap()).unwrap();
    let text = entry.to_string();
    for secret in [pem, modulus.as_slice(), text.as_bytes(), b"".as_slice()] {
        for kid in [None, Some("rsa")] {
            let mut header = jsonwebtoken::Header::new(Algorithm::HS256);
            header.kid = kid.map(str::to_owned);
            let forged =
                jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(secret))
                    .unwrap();
            assert_eq!(only(jwks()).verify(&forged, NOW), Err(no_key(kid)));
            let both = Keys::new(Some("secret"), Some(jwks()), Map::new());
            assert_eq!(both.verify(&forged, NOW), Err(TokenError::Signature));
        }
    }
    assert_eq!(
        Keys::new(Some(""), None, Map::new()).verify(&signed(json!({})), NOW),
        Err(no_key(None))
    );
}

#[test]
fn a_keys_own_algorithm_binds() {
    let mut narrow = key("oct");
    narrow["alg"] = json!("HS512");
    // The secret is the same: only the name of the key forbids the others.
    let keys = Keys::new(Some(SHARED), Some(set(&[narrow])), Map::new());
    assert!(keys.verify(&token(Algorithm::HS512, Some("oct")), NOW).is_ok());
    let other = token(Algorithm::HS256, Some("oct"));
    assert_eq!(keys.verify(&other, NOW), Err(no_key(Some("oct"))));
}

#[test]
fn required_claims_must_be_equal() {
    let keys = Keys::new(Some("secret"), None, object(json!({"iss": "me"})));
    let with = |iss: &str| signed(json!({"role": "a", "exp": 2000, "iss": iss}));
    assert!(keys.verify(&with("me"), NOW).is_ok());
    assert_eq!(keys.verify(&with("you"), NOW), Err(TokenError::Invalid));
}

#[test]
fn an_operator_needs_no_role_but_a_future_exp_if_any() {
    assert_eq!(keys().verify_operator(&signed(json!({})), NOW), Ok(()));
    assert_eq!(keys().verify_operator(&signed(json!({"exp": 1001})), NOW), Ok(()));
    assert!(keys().verify_operator(&signed(json!({"exp": 999})), NOW).is_err());
    assert!(keys().verify_operator(&signed(json!({"exp": "x"})), NOW).is_err());
    assert_eq!(keys().verify_operator(&signed(json!({"role": "service_role"})), NOW), Ok(()));
    for role in [json!("anon"), json!("authenticated"), json!("other"), json!(null), json!(1)] {
        let token = signed(json!({ "role": role }));
        assert!(keys().verify_operator(&token, NOW).is_err(), "{role}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_refused_and_nothing_panics(text in "\\PC{0,40}(\\.\\PC{0,40}){0,4}") {
        prop_assert!(only(jwks()).verify(&text, NOW).is_err());
    }

    #[test]
    fn any_signature_under_any_header_is_refused(
        alg in prop::sample::select(vec!["HS256", "RS256", "PS512", "ES256", "ES384", "EdDSA", "x"]),
        kid in prop::sample::select(vec!["rsa", "p256", "p384", "ed", "oct", "?"]),
        payload in prop_oneof![Just(r#"{"role":"a","exp":2000}"#.to_owned()), "\\PC{0,40}"],
        signature in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let header = json!({"alg": alg, "kid": kid}).to_string();
        let parts = [part(header.as_bytes()), part(payload.as_bytes()), part(&signature)];
        let keys = Keys::new(Some("secret"), Some(jwks()), Map::new());
        prop_assert!(keys.verify(&parts.join("."), NOW).is_err());
    }

    #[test]
    fn any_set_is_read_without_panic(
        kty in prop::sample::select(vec!["RSA", "EC", "OKP", "oct"]),
        crv in prop::sample::select(vec!["P-256", "P-384", "Ed25519"]),
        x in prop::collection::vec(any::<u8>(), 0..600),
        y in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let entry = json!({"kid": "k", "kty": kty, "crv": crv, "x": x, "y": y, "n": x, "e": y, "k": x});
        let keys = only(set(&[entry]));
        for alg in ["HS256", "RS256", "PS256", "ES256", "ES384", "EdDSA"] {
            let token = format!("{}AAAA", bare(&json!({"alg": alg, "kid": "k"})));
            prop_assert!(keys.verify(&token, NOW).is_err());
        }
    }
}

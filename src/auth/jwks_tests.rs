//! What becomes of a set's entries.

use serde_json::json;

use super::*;
use crate::auth::fixtures::{JWKS, jwks, key, set};

#[test]
fn every_supported_type_is_read() {
    let set = jwks();
    assert_eq!((set.len(), set.skipped()), (5, &[] as &[Skipped]));
    assert_eq!(format!("{set:?}"), r#"["rsa", "p256", "p384", "ed", "oct"]"#);
}

#[test]
fn other_texts_are_no_sets() {
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, "null", r#"{"keys":[]"#] {
        assert_eq!(Jwks::parse(text.as_bytes()).err(), Some(JwksError::NotASet), "{text}");
    }
    assert!(Jwks::parse(br#"{"keys":[]}"#).unwrap().is_empty());
}

#[test]
fn sets_are_bounded() {
    let many = json!({ "keys": vec![key("ed"); MAX_KEYS + 1] }).to_string();
    assert_eq!(Jwks::parse(many.as_bytes()).err(), Some(JwksError::TooManyKeys(65)));
    assert_eq!(Jwks::parse_inline(&many).err(), Some(JwksError::TooManyKeys(65)));
    let long = format!("{JWKS}{}", " ".repeat(MAX_INLINE_BYTES));
    let length = JWKS.len() + MAX_INLINE_BYTES;
    assert_eq!(Jwks::parse_inline(&long).err(), Some(JwksError::TooLong(length)));
}

/// The key `kid` with one member changed; null removes it.
fn changed(kid: &str, member: &str, value: Value) -> Value {
    let mut key = key(kid);
    let members = key.as_object_mut().unwrap();
    match value {
        Value::Null => members.remove(member),
        value => members.insert(member.to_owned(), value),
    };
    key
}

#[test]
fn a_bad_key_is_left_out_and_the_others_stay() {
    let small = "A".repeat(170) + "AQ";
    let bad = [
        changed("rsa", "kid", Value::Null),
        changed("rsa", "kid", json!(7)),
        changed("rsa", "kty", json!("DSA")),
        changed("rsa", "use", json!("enc")),
        changed("rsa", "key_ops", json!(["encrypt"])),
        changed("rsa", "alg", json!("ES256")),
        changed("rsa", "alg", json!("RSA-OAEP")),
        changed("rsa", "n", json!(small)),
        changed("rsa", "n", json!("not base64!")),
        changed("rsa", "e", json!("AQ")),
        changed("rsa", "e", json!("AQABAQABAQAB")),
        changed("p256", "crv", json!("P-521")),
        changed("p256", "crv", json!("P-384")),
        changed("p256", "x", key("p256")["y"].clone()),
        changed("p256", "y", Value::Null),
        changed("p256", "x", json!("")),
        changed("ed", "x", json!("AAAA")),
        changed("ed", "crv", json!("Ed448")),
        changed("oct", "k", json!("")),
        changed("oct", "k", json!(["a"])),
        json!("text"),
        json!(["oct", "k", null, null, null, null, "YQ", null, null, null, null]),
        Value::Null,
    ];
    for entry in bad {
        let set = set(&[entry.clone(), key("ed")]);
        assert_eq!((set.len(), set.skipped().len()), (1, 1), "{entry}");
        let kid = entry.get("kid").and_then(Value::as_str);
        assert_eq!(set.skipped()[0].kid.as_deref(), kid, "{entry}");
    }
}

#[test]
fn harmless_oddities_are_accepted() {
    let padded = format!("{}=", key("ed")["x"].as_str().unwrap());
    for entry in [
        changed("ed", "x", json!(padded)),
        changed("ed", "d", json!("the private half is not looked at")),
        changed("ed", "alg", json!("Ed25519")),
        changed("ed", "key_ops", json!(["verify"])),
        changed("ed", "use", Value::Null),
        changed("ed", "x5c", json!([1])),
    ] {
        assert_eq!(set(std::slice::from_ref(&entry)).len(), 1, "{entry}");
    }
}

#[test]
fn the_type_decides_the_algorithm() {
    let set = set(&[
        key("rsa"),
        changed("ed", "kid", json!("rsa")),
        changed("oct", "alg", json!("HS512")),
    ]);
    let found = |kid: &str, algorithm| match set.find(kid, algorithm) {
        Found::Key(key) => Some(key.family()),
        Found::Misfit | Found::Nothing => None,
    };
    // Two keys may share a name if their types differ.
    assert_eq!(found("rsa", Algorithm::PS384), Some(jsonwebtoken::AlgorithmFamily::Rsa));
    assert_eq!(found("rsa", Algorithm::EdDSA), Some(jsonwebtoken::AlgorithmFamily::Ed));
    assert!(matches!(set.find("rsa", Algorithm::HS256), Found::Nothing));
    assert!(matches!(set.find("rsa", Algorithm::ES256), Found::Nothing));
    assert!(matches!(set.find("oct", Algorithm::HS256), Found::Misfit));
    assert_eq!(found("oct", Algorithm::HS512), Some(jsonwebtoken::AlgorithmFamily::Hmac));
}

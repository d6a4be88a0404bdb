//! When a published set is fetched, and what is in force meanwhile.

use jsonwebtoken::Algorithm;
use serde_json::{Map, json};

use super::*;
use crate::auth::{
    TokenError,
    fixtures::{JWKS, key, token},
    keys::Keys,
    publisher::{Publisher, ok},
};

const NOW: i64 = 1_000;
const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(20);

/// A source whose task runs until the drain is dropped.
fn source(publisher: &Publisher, config: Config) -> (Arc<JwksSource>, Drain) {
    let address = Address::new(&publisher.url, true).unwrap();
    let (source, drain) = (Arc::new(JwksSource::new(address, config)), Drain::new());
    drain.spawn("jwks", Arc::clone(&source).run(drain.clone()));
    (source, drain)
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..400 {
        if holds() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

fn one(kid: &str) -> Vec<u8> {
    ok(&json!({ "keys": [key(kid)] }).to_string())
}

#[tokio::test]
async fn the_first_token_waits_for_the_keys() {
    let publisher = Publisher::start(ok(JWKS)).await;
    let (source, drain) = source(&publisher, Config::every(LONG));
    let keys = Keys::new(None, None, Map::new()).with_source(source);
    let token = token(Algorithm::ES256, Some("p256"));
    let error = keys.verify(&token, NOW).unwrap_err();
    assert_eq!(error, TokenError::NoKey { kid: Some("p256".to_owned()) });
    assert!(keys.refreshed(&error).await);
    assert!(keys.verify(&token, NOW).is_ok());
    assert_eq!(drain.finish(LONG).await, 0, "the task ends with the server");
}

#[tokio::test]
async fn a_new_key_is_fetched_when_a_token_names_it() {
    let publisher = Publisher::start(one("p256")).await;
    let (source, _drain) = source(&publisher, Config { rest: SHORT, ..Config::every(LONG) });
    let keys = Keys::new(None, None, Map::new()).with_source(Arc::clone(&source));
    eventually("keys", || source.current().is_some()).await;
    publisher.say(ok(JWKS));
    let token = token(Algorithm::EdDSA, Some("ed"));
    // Verifying alone starts the fetch, for callers that cannot wait.
    assert!(keys.verify(&token, NOW).is_err());
    eventually("the new key", || keys.verify(&token, NOW).is_ok()).await;
}

#[tokio::test]
async fn made_up_names_cause_one_fetch_and_no_waiting() {
    let publisher = Publisher::start(ok(JWKS)).await;
    let (source, _drain) = source(&publisher, Config::every(LONG));
    let keys = Keys::new(None, None, Map::new()).with_source(Arc::clone(&source));
    eventually("keys", || source.current().is_some()).await;
    for n in 0..50 {
        let error = keys.verify(&token(Algorithm::EdDSA, Some(&n.to_string())), NOW).unwrap_err();
        assert!(keys.refreshed(&error).await);
    }
    // Fetches that were started would have been asked for by now.
    sleep(Duration::from_millis(100)).await;
    assert_eq!(publisher.requests(), 1);
}

#[tokio::test]
async fn many_who_wait_share_one_fetch() {
    let publisher = Publisher::start(one("p256")).await;
    let (source, _drain) = source(&publisher, Config { rest: SHORT, ..Config::every(LONG) });
    eventually("keys", || source.current().is_some()).await;
    sleep(SHORT * 2).await;
    let waiting = (0..100).map(|_| source.refreshed());
    futures_util::future::join_all(waiting).await;
    assert_eq!(publisher.requests(), 2);
}

#[tokio::test]
async fn tokens_that_no_fetch_can_help_ask_for_none() {
    let publisher = Publisher::start(ok(JWKS)).await;
    let (source, _drain) = source(&publisher, Config { rest: SHORT, ..Config::every(LONG) });
    let keys = Keys::new(Some("secret"), None, Map::new()).with_source(Arc::clone(&source));
    eventually("keys", || source.current().is_some()).await;
    sleep(SHORT * 2).await;
    let unnamed = keys.verify(&token(Algorithm::ES256, None), NOW).unwrap_err();
    assert_eq!(unnamed, TokenError::NoKey { kid: None });
    assert!(!keys.refreshed(&unnamed).await);
    let signature = keys.verify(&token(Algorithm::HS256, Some("x")), NOW).unwrap_err();
    assert!(!keys.refreshed(&signature).await);
    sleep(SHORT * 5).await;
    assert_eq!(publisher.requests(), 1);
}

#[tokio::test]
async fn keys_stay_while_fetching_fails_and_are_replaced_after() {
    let publisher = Publisher::start(one("p256")).await;
    let config = Config { refresh: SHORT, rest: SHORT, keep: LONG };
    let (source, _drain) = source(&publisher, config);
    let has = |kid: &str, algorithm| {
        let keys = Keys::new(None, None, Map::new()).with_source(Arc::clone(&source));
        keys.verify(&token(algorithm, Some(kid)), NOW).is_ok()
    };
    eventually("keys", || has("p256", Algorithm::ES256)).await;
    for bad in ["HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", "nonsense\r\n\r\n"] {
        publisher.say(bad);
        let asked = publisher.requests();
        eventually("a few failures", || publisher.requests() > asked + 2).await;
        assert!(has("p256", Algorithm::ES256));
    }
    publisher.say(one("ed"));
    eventually("the new key", || has("ed", Algorithm::EdDSA)).await;
    assert!(!has("p256", Algorithm::ES256), "a withdrawn key is gone");
}

#[tokio::test]
async fn keys_do_not_live_for_ever() {
    let publisher = Publisher::start(ok(JWKS)).await;
    let config = Config { refresh: SHORT, rest: SHORT, keep: SHORT };
    let (source, _drain) = source(&publisher, config);
    eventually("keys", || source.current().is_some()).await;
    publisher.say("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n");
    eventually("no keys", || source.current().is_none()).await;
}

#[tokio::test]
async fn keys_given_win_over_keys_fetched() {
    let mut impostor = key("p256");
    impostor["kid"] = json!("p384");
    let mut shared = key("oct");
    shared["kid"] = json!("p256");
    let published = json!({ "keys": [impostor, shared] }).to_string();
    let publisher = Publisher::start(ok(&published)).await;
    let (source, _drain) = source(&publisher, Config::every(LONG));
    eventually("keys", || source.current().is_some()).await;
    let given = Jwks::parse_inline(JWKS).unwrap();
    let keys = Keys::new(None, Some(given), Map::new()).with_source(source);
    assert!(keys.verify(&token(Algorithm::ES384, Some("p384")), NOW).is_ok());
    assert!(keys.verify(&token(Algorithm::ES256, Some("p256")), NOW).is_ok());
}

//! Tokens of channels: at the join, refreshed, expired.

use serde_json::json;

use crate::support::{
    client::Client,
    server::World,
    tokens::{expiring, signed, signed_with, token},
};

const ROOM: &str = "realtime:room";

#[tokio::test]
async fn a_join_with_a_bad_token_is_refused_with_its_reason() {
    let world = World::start("").await;
    let mut client = world.client().await;
    let far = 4_000_000_000_u64;
    let cases = [
        ("nonsense".to_owned(), "MalformedJWT: The token provided is not a valid JWT"),
        (
            signed_with(json!({ "role": "anon", "exp": far }), "another secret"),
            "JwtSignatureError: Failed to validate JWT signature",
        ),
        (
            signed(json!({ "role": "anon" })),
            "InvalidJWTToken: Fields `role` and `exp` are required in JWT",
        ),
        (
            signed(json!({ "exp": far })),
            "InvalidJWTToken: Fields `role` and `exp` are required in JWT",
        ),
    ];
    for (bad, reason) in cases {
        let reply =
            client.ask(ROOM, "phx_join", json!({ "config": {}, "access_token": bad })).await;
        assert_eq!(reply.reason(), reason);
    }
    let bad = expiring("anon", -60);
    let reply = client.ask(ROOM, "phx_join", json!({ "config": {}, "access_token": bad })).await;
    let reason = reply.reason();
    assert!(reason.starts_with("InvalidJWTToken: Token has expired 6"), "{reason}");
    client.join(ROOM, json!({})).await;
}

#[tokio::test]
async fn an_expired_token_ends_its_channel_and_no_other() {
    let world = World::start("").await;
    let mut client = world.client().await;
    client.join("realtime:lasting", json!({ "broadcast": { "ack": true } })).await;
    let short = expiring("anon", 2);
    let reply = client.ask(ROOM, "phx_join", json!({ "config": {}, "access_token": short })).await;
    assert!(reply.is_ok(), "{reply:?}");
    let system = client.event(ROOM, "system").await;
    let message = system["message"].as_str().unwrap();
    assert!(message.starts_with("Token has expired ") && message.ends_with("seconds ago"));
    client.event(ROOM, "phx_close").await;
    client.expect_joined("realtime:lasting").await;
}

#[tokio::test]
async fn a_refreshed_token_keeps_the_channel_alive() {
    let world = World::start("").await;
    let mut client = world.client().await;
    // The second channel has the same short token, and shows when it has expired.
    for topic in [ROOM, "realtime:short"] {
        let config = json!({ "broadcast": { "ack": true } });
        let short = json!({ "config": config, "access_token": expiring("anon", 3) });
        assert!(client.ask(topic, "phx_join", short).await.is_ok());
    }
    client.push(ROOM, "access_token", json!({ "access_token": token("authenticated") })).await;
    client.event("realtime:short", "phx_close").await;
    client.expect_joined(ROOM).await;
}

#[tokio::test]
async fn a_bad_refresh_ends_the_channel_and_tokens_that_say_nothing_new_do_not() {
    let world = World::start("").await;
    let key = token("anon");
    let mut client = Client::connect_as(&world.server, rowcast::protocol::Vsn::V2, &key).await;
    client.join(ROOM, json!({})).await;
    for harmless in [json!(null), json!(key), json!("sb_publishable_x")] {
        client.push(ROOM, "access_token", json!({ "access_token": harmless })).await;
    }
    assert!(client.settled().await.is_empty(), "{:?}", client.backlog);
    client.push(ROOM, "access_token", json!({ "access_token": "nonsense" })).await;
    let system = client.event(ROOM, "system").await;
    assert_eq!(system["message"], "The token provided is not a valid JWT");
    assert_eq!(system["status"], "error");
    client.event(ROOM, "phx_close").await;
    client.settled().await;
}

//! What one client may cost.

use super::*;
use crate::{
    hub::{ChannelId, Key},
    presence::state::Meta,
    topic::Topic,
};

/// The reason of the next reply.
async fn reason(client: &mut Client) -> Value {
    client.next().await[4]["response"]["reason"].take()
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_no_database_can_hold_is_refused() {
    let (_services, mut client) = open();
    client.join("1", "realtime:a\0", json!({"config": {"private": true}})).await;
    let text = "TopicNameRequired: a channel topic has no zero byte";
    assert_eq!(reason(&mut client).await, text);
    client.join("2", &format!("realtime:{}", "é".repeat(5000)), json!({"config": {}})).await;
    let text = "TopicNameRequired: a channel topic has at most 8192 bytes";
    assert_eq!(reason(&mut client).await, text);
}

#[tokio::test(start_paused = true)]
async fn refused_joins_count_and_too_many_end_the_socket() {
    let limits = Limits { max_joins_per_second: 1, ..Limits::default() };
    let services = services(limits, Config::default());
    let mut client = connect(&services, 1000);
    for _ in 0..20 {
        client.join("1", "realtime:", json!({"config": {}})).await;
    }
    for _ in 0..20 {
        assert_eq!(reason(&mut client).await, "TopicNameRequired: You must provide a topic name");
    }
    advance(Duration::from_secs(6)).await;
    client.join("2", "realtime:", json!({"config": {}})).await;
    assert_eq!(reason(&mut client).await, "TopicNameRequired: You must provide a topic name");
    assert_eq!(client.next().await, json!({"closed": 1001}));
}

#[tokio::test(start_paused = true)]
async fn the_connections_token_is_verified_again_at_each_join() {
    let services = services(Limits::default(), Config::default());
    // Its key was good at the upgrade and has been withdrawn since.
    let claims = json!({"role": "anon", "exp": clock::unix_seconds() + 3600});
    let withdrawn = sign(claims.as_object().unwrap(), "withdrawn").unwrap();
    let mut client = connect_as(&services, 1000, withdrawn);
    client.join("1", "realtime:a", json!({"config": {}})).await;
    let text = "JwtSignatureError: Failed to validate JWT signature";
    assert_eq!(reason(&mut client).await, text);
}

#[tokio::test(start_paused = true)]
async fn too_many_items_are_not_subscribed() {
    let (_services, mut client) = open();
    let items = vec![json!({"table": 5}); 101];
    client.join("1", "realtime:a", json!({"config": {"postgres_changes": items}})).await;
    let reply = client.next().await;
    assert_eq!(reply[4]["response"]["postgres_changes"].as_array().unwrap().len(), 101);
    let text = "Too many postgres_changes of one channel. Maximum 100";
    assert_eq!(client.next().await[4]["message"], text);
}

#[tokio::test(start_paused = true)]
async fn a_socket_has_one_seat_however_many_joins_wait() {
    let limits = Limits { max_concurrent_users: 1, ..Limits::default() };
    let services = services(limits, Config::default());
    let mut client = connect(&services, 1000);
    let waiting = json!({"config": {
        "postgres_changes": [{"event": "*", "schema": "public", "table": "t"}],
        "postgres_changes_options": {"wait": true},
    }});
    client.join("1", "realtime:a", waiting).await;
    client.join("2", "realtime:b", json!({"config": {}})).await;
    let reply = client.next().await;
    assert_eq!((&reply[2], &reply[4]["status"]), (&json!("realtime:b"), &json!("ok")));
}

#[tokio::test(start_paused = true)]
async fn a_refused_join_leaves_its_seat() {
    let limits = Limits { max_concurrent_users: 1, ..Limits::default() };
    let services = services(limits, Config::default());
    let mut refused = connect(&services, 1000);
    let config = json!({"config": {}, "access_token": "a.b.c"});
    refused.join("1", "realtime:a", config).await;
    assert_eq!(refused.next().await[4]["status"], "error");
    let mut client = connect(&services, 1000);
    client.join("1", "realtime:a", json!({"config": {}})).await;
    assert_eq!(client.next().await[4]["status"], "ok");
}

#[tokio::test(start_paused = true)]
async fn stored_broadcasts_count_towards_the_rate() {
    let limits = Limits { max_events_per_second: 1, ..Limits::default() };
    let services = services(limits, Config::default());
    let key = Key { tenant: "t".into(), private: true, topic: Topic::parse("realtime:a").unwrap() };
    assert!(services.broadcasts.count(&key));
    services.tenant.meters.events.record(1000);
    advance(Duration::from_secs(6)).await;
    assert!(!services.broadcasts.count(&key));
}

#[tokio::test(start_paused = true)]
async fn a_crowded_topic_may_be_joined() {
    let config = Config { outbox_bytes: 20_000, ..Config::default() };
    let services = services(Limits::default(), config);
    let topic = Topic::parse("realtime:a").unwrap();
    let key = Key { tenant: "t".into(), private: false, topic };
    for n in 0..50 {
        let meta = Meta::parse(json!({"text": "x".repeat(1000)}).to_string().as_bytes()).unwrap();
        services.presence.track(&key, ChannelId(1_000_000 + n), &n.to_string(), meta);
    }
    let mut client = connect(&services, 1000);
    for reference in ["1", "2", "3"] {
        let payload = json!({"config": {"presence": {"enabled": true}}});
        client.join(reference, "realtime:a", payload).await;
    }
    let mut states = 0;
    while states < 3 {
        let frame = client.next().await;
        assert_eq!(frame.get("closed"), None);
        if frame[3] == "presence_state" {
            assert_eq!(frame[4].as_object().unwrap().len(), 50);
            states += 1;
        }
    }
}

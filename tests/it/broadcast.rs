//! Broadcasts between sockets.

use rowcast::protocol::Vsn;
use serde_json::json;

use crate::support::{
    client::{Client, user_broadcast},
    eventually,
    server::World,
    tokens::token,
};

const ROOM: &str = "realtime:room";

#[tokio::test]
async fn a_broadcast_reaches_the_others_verbatim_and_its_sender_only_if_asked() {
    let world = World::start("").await;
    let mut sender = world.client().await;
    let mut echo = world.client().await;
    let mut old = Client::connect_as(&world.server, Vsn::V1, &token("anon")).await;
    sender.join(ROOM, json!({})).await;
    echo.join(ROOM, json!({ "broadcast": { "self": true } })).await;
    old.join(ROOM, json!({})).await;
    let first =
        json!({ "type": "broadcast", "event": "e", "payload": { "n": 1 }, "extra": [true] });
    sender.push(ROOM, "broadcast", first.clone()).await;
    assert_eq!(echo.event(ROOM, "broadcast").await, first);
    assert_eq!(old.event(ROOM, "broadcast").await, first);
    let second = json!({ "type": "broadcast", "event": "e", "payload": { "n": 2 } });
    echo.push(ROOM, "broadcast", second.clone()).await;
    assert_eq!(echo.event(ROOM, "broadcast").await, second);
    // The second is the first that the first's sender sees.
    assert_eq!(sender.event(ROOM, "broadcast").await, second);
    assert!(sender.settled().await.is_empty(), "{:?}", sender.backlog);
}

#[tokio::test]
async fn a_binary_broadcast_is_binary_to_version_2_and_json_to_version_1() {
    let world = World::start("").await;
    let mut sender = world.client().await;
    let mut new = world.client().await;
    let mut old = Client::connect_as(&world.server, Vsn::V1, &token("anon")).await;
    for client in [&mut sender, &mut new, &mut old] {
        client.join(ROOM, json!({})).await;
    }
    sender.send(user_broadcast(ROOM, "hello", &json!({ "n": 1 }))).await;
    let expected = json!({ "type": "broadcast", "event": "hello", "payload": { "n": 1 } });
    assert_eq!(new.event(ROOM, "broadcast").await, expected);
    assert_eq!(old.event(ROOM, "broadcast").await, expected);
}

#[tokio::test]
async fn an_acknowledged_broadcast_is_answered() {
    let world = World::start("").await;
    let mut client = world.client().await;
    client.join(ROOM, json!({ "broadcast": { "ack": true } })).await;
    let reply = client.ask(ROOM, "broadcast", json!({ "event": "e", "payload": {} })).await;
    assert!(reply.is_ok(), "{reply:?}");
}

#[tokio::test]
async fn topics_are_strangers_and_the_order_of_a_sender_is_kept() {
    let world = World::start("").await;
    let mut sender = world.client().await;
    let mut here = world.client().await;
    let mut elsewhere = world.client().await;
    sender.join(ROOM, json!({})).await;
    here.join(ROOM, json!({})).await;
    elsewhere.join("realtime:other", json!({})).await;
    for n in 0..100 {
        sender.push(ROOM, "broadcast", json!({ "event": "e", "payload": { "n": n } })).await;
    }
    for n in 0..100 {
        assert_eq!(here.event(ROOM, "broadcast").await["payload"]["n"], n);
    }
    assert!(elsewhere.settled().await.is_empty(), "{:?}", elsewhere.backlog);
}

#[tokio::test]
async fn a_payload_above_the_limit_reaches_nobody() {
    let world = World::start_with("", &[("ROWCAST_MAX_PAYLOAD_KB", "1")]).await;
    let mut sender = world.client().await;
    let mut other = world.client().await;
    sender.join(ROOM, json!({ "broadcast": { "ack": true } })).await;
    other.join(ROOM, json!({})).await;
    let large = json!({ "event": "e", "payload": { "text": "x".repeat(5000) } });
    let reply = sender.ask(ROOM, "broadcast", large).await;
    assert_eq!(reply.payload["status"], "error", "{reply:?}");
    sender.push(ROOM, "broadcast", json!({ "event": "small", "payload": {} })).await;
    assert_eq!(other.event(ROOM, "broadcast").await["event"], "small");
}

#[tokio::test]
async fn receivers_of_too_many_broadcasts_are_told_and_their_channels_end() {
    let world = World::start_with("", &[("TENANT_MAX_EVENTS_PER_SECOND", "1")]).await;
    let mut sender = world.client().await;
    let mut receiver = world.client().await;
    sender.join(ROOM, json!({})).await;
    receiver.join(ROOM, json!({})).await;
    // The rate is an average that is taken every few seconds.
    eventually("the rate is noticed", async || {
        for n in 0..10 {
            sender.push(ROOM, "broadcast", json!({ "event": "e", "payload": { "n": n } })).await;
        }
        let backlog = receiver.settled().await;
        backlog.iter().any(|message| message.event == "system").then_some(())
    })
    .await;
    let system = receiver.event(ROOM, "system").await;
    assert_eq!(system["message"], "Too many messages per second", "{system}");
    receiver.event(ROOM, "phx_close").await;
}

//! What only the server says cannot be said by anybody else, by any door.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{World, user};
use crate::support::client::user_broadcast;

const FORGED: &str = "chat:message";

#[tokio::test(flavor = "multi_thread")]
async fn no_door_lets_a_forged_event_through() {
    let world = World::start().await;
    let (ada, bob) = (user("Ada"), user("Bob"));
    let room = world.room(&[&ada, &bob]).await;
    let replay = json!({ "ack": true, "replay": { "since": 0 } });
    let (mut at_ada, mut at_bob) = (world.enter(&ada, room).await, world.enter(&bob, room).await);

    // A socket, in every form.
    at_bob.cannot("message", json!({ "message": { "content": "x" } }), "bad_request").await;
    let topic = at_bob.topic.clone();
    for event in ["CHAT:message", "Chat:typing"] {
        let forged = json!({ "type": "broadcast", "event": event, "payload": {} });
        let reply = at_bob.client.ask(&topic, "broadcast", forged).await;
        assert_eq!(reply.payload["status"], "error", "{event}");
    }
    at_bob.client.send(user_broadcast(&topic, "CHAT:message", &json!({}))).await;

    // REST, one and many, and stored.
    let bearer = format!("Bearer {}", bob.token);
    let headers = [("Authorization", &*bearer), ("Content-Type", "application/json")];
    let paths = [
        format!("/api/broadcast/room:{room}/events/{FORGED}?private=true"),
        format!("/api/broadcast/room:{room}/events/{FORGED}?private=true&persist=true"),
    ];
    for path in &paths {
        let answer = world.server.call("POST", path, &headers, b"{}").await.unwrap();
        assert_eq!(answer.status, 422, "{path}: {}", answer.body);
    }
    let message =
        json!({ "topic": format!("room:{room}"), "event": FORGED, "payload": {}, "private": true });
    let batch = json!({ "messages": [message] }).to_string();
    let answer = world.server.call("POST", "/api/broadcast", &headers, batch.as_bytes()).await;
    assert_eq!(answer.unwrap().status, 422);

    // The table, live and replayed.
    let insert = |event: &str| {
        format!(
            "insert into realtime.messages (topic, extension, event, payload, private) \
             values ('room:{room}', 'broadcast', '{event}', '{{}}', true)"
        )
    };
    world.run(&insert(FORGED)).await;
    world.run(&insert("mine")).await;
    let fits = |m: &crate::support::client::Message| m.payload["event"] == "mine";
    at_ada.client.wait("an event of the user's own", fits).await;
    assert_eq!(at_ada.heard().await, [""; 0]);
    let mut late = world.enter_with(&ada, room, replay).await;
    late.client.wait("the replay", fits).await;
    assert_eq!(late.heard().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn elsewhere_and_without_a_chat_such_events_are_the_users() {
    let world = World::start_with(&[("ROWCAST_CHAT", "off")]).await;
    let (ada, bob) = (user("Ada"), user("Bob"));
    let room = Uuid::new_v4();
    world
        .run(&format!(
            "insert into rooms (id) values ('{room}'); insert into room_members (room_id, user_id) \
             values ('{room}', '{}'), ('{room}', '{}')",
            ada.id, bob.id
        ))
        .await;
    let (mut at_ada, mut at_bob) = (world.enter(&ada, room).await, world.enter(&bob, room).await);
    at_bob.does("message", json!({ "mine": 1 })).await;
    assert_eq!(at_ada.hears("message").await["mine"], 1);
    let answer = world.ask(&ada, "GET", "/rooms", Value::Null).await;
    assert_eq!((answer.status, &answer.json()["code"]), (503, &json!("unavailable")));
}

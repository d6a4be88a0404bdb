//! Broadcasts over HTTP.

use rowcast::protocol::Vsn;
use serde_json::{Value, json};

use crate::support::{
    client::Client,
    server::{Answer, World},
    tokens::token,
};

const ROOM: &str = "realtime:room";

async fn post(world: &World, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let authorization = format!("Bearer {}", token("anon"));
    let mut all = vec![("Authorization", authorization.as_str())];
    all.extend(headers);
    world.server.call("POST", path, &all, body).await.unwrap()
}

async fn batch(world: &World, messages: Value) -> Answer {
    let json = [("Content-Type", "application/json")];
    let body = json!({ "messages": messages }).to_string();
    post(world, "/api/broadcast", &json, body.as_bytes()).await
}

#[tokio::test]
async fn a_batch_is_text_to_both_versions_and_carries_its_ids() {
    let world = World::start("").await;
    let mut new = world.client().await;
    let mut old = Client::connect_as(&world.server, Vsn::V1, &token("anon")).await;
    new.join(ROOM, json!({})).await;
    old.join(ROOM, json!({})).await;
    let messages = json!([
        { "topic": "room", "event": "one", "payload": { "n": 1 } },
        { "topic": "elsewhere", "event": "lost", "payload": {} },
        { "topic": "room", "event": "two", "payload": {}, "id": "my-id" },
    ]);
    let answer = batch(&world, messages).await;
    assert_eq!((answer.status, answer.body.as_str()), (202, ""));
    for name in ["x-rate-rolling", "x-rate-limit", "x-rate-limit-remaining", "x-request-id"] {
        assert!(answer.header(name).is_some(), "{name}");
    }
    for client in [&mut new, &mut old] {
        let first = json!({ "type": "broadcast", "event": "one", "payload": { "n": 1 } });
        assert_eq!(client.event(ROOM, "broadcast").await, first);
        let meta = json!({ "id": "my-id" });
        let second = json!({ "type": "broadcast", "event": "two", "payload": {}, "meta": meta });
        assert_eq!(client.event(ROOM, "broadcast").await, second);
    }
}

#[tokio::test]
async fn one_wrong_message_stops_the_batch() {
    let world = World::start("").await;
    let mut client = world.client().await;
    client.join(ROOM, json!({})).await;
    let good = json!({ "topic": "room", "event": "e", "payload": {} });
    let answer = batch(&world, json!([good, { "topic": "room" }])).await;
    assert_eq!(answer.status, 422);
    let blank = json!(["can't be blank"]);
    let errors = json!({ "messages": [{}, { "event": blank, "payload": blank }] });
    assert_eq!(answer.json(), json!({ "errors": errors }));
    assert!(client.settled().await.is_empty(), "{:?}", client.backlog);
}

#[tokio::test]
async fn a_batch_above_the_rate_is_refused_before_it_is_read() {
    let world = World::start_with("", &[("TENANT_MAX_EVENTS_PER_SECOND", "100")]).await;
    let answer = batch(&world, json!(vec![json!({}); 101])).await;
    let text = "Too many messages to broadcast, please reduce the batch size";
    assert_eq!((answer.status, answer.json()), (429, json!({ "message": text })));
    assert_eq!(batch(&world, json!(vec![json!({}); 100])).await.status, 422);
}

#[tokio::test]
async fn a_single_message_is_json_or_bytes() {
    let world = World::start("").await;
    let mut client = world.client().await;
    client.join("realtime:a:b c", json!({})).await;
    let path = "/api/broadcast/a%3Ab%20c/events/hi";
    assert_eq!(post(&world, path, &[], br#"{"n":1}"#).await.status, 202);
    assert_eq!(client.event("realtime:a:b c", "broadcast").await["payload"], json!({ "n": 1 }));
    assert_eq!(post(&world, path, &[], b"[1]").await.status, 202);
    let payload = json!({ "_json": [1] });
    assert_eq!(client.event("realtime:a:b c", "broadcast").await["payload"], payload);
    let bytes = [("Content-Type", "application/octet-stream")];
    assert_eq!(post(&world, path, &bytes, &[0, 255]).await.status, 202);
    assert_eq!(client.event("realtime:a:b c", "broadcast").await["payload"], json!([0, 255]));
    let text = [("Content-Type", "text/plain")];
    assert_eq!(post(&world, path, &text, b"x").await.status, 415);
}

#[tokio::test]
async fn a_token_is_needed_and_may_stand_in_three_places() {
    let world = World::start("").await;
    let body = json!({ "messages": [{ "topic": "t", "event": "e", "payload": {} }] }).to_string();
    let key = token("anon");
    let status = async |path: &str, headers: &[(&str, &str)]| {
        let mut all = vec![("Content-Type", "application/json")];
        all.extend(headers);
        world.server.call("POST", path, &all, body.as_bytes()).await.unwrap().status
    };
    assert_eq!(status("/api/broadcast", &[]).await, 401);
    assert_eq!(status("/api/broadcast", &[("x-api-key", &key)]).await, 401);
    assert_eq!(status("/api/broadcast", &[("apikey", &key)]).await, 202);
    assert_eq!(status("/api/broadcast", &[("authorization", &format!("bearer {key}"))]).await, 202);
    assert_eq!(status(&format!("/realtime/v1/api/broadcast?vsn=2&apikey={key}"), &[]).await, 202);
}

#[tokio::test]
async fn policies_decide_about_private_messages() {
    let world = World::start("").await;
    world
        .run(&[
            "create policy r on realtime.messages for select to anon using (true)",
            "create policy w on realtime.messages for insert to anon \
             with check (realtime.topic() = 'open')",
        ])
        .await;
    let mut client = world.client().await;
    for topic in ["realtime:open", "realtime:shut"] {
        client.join(topic, json!({ "private": true })).await;
    }
    let message = |topic| json!({ "topic": topic, "event": "e", "payload": {}, "private": true });
    assert_eq!(batch(&world, json!([message("shut"), message("open")])).await.status, 202);
    let answer = post(&world, "/api/broadcast/shut/events/e?private=true", &[], b"{}").await;
    assert_eq!((answer.status, answer.json()), (403, json!({ "message": "Unauthorized" })));
    let answer = post(&world, "/api/broadcast/open/events/e", &[], br#"{"private":true}"#).await;
    assert_eq!(answer.status, 202);
    client.event("realtime:open", "broadcast").await;
    client.event("realtime:open", "broadcast").await;
    assert!(client.settled().await.is_empty(), "{:?}", client.backlog);
}

#[tokio::test]
async fn what_would_reach_nobody_is_refused() {
    let world = World::start_with("", &[("ROWCAST_DATABASE_BROADCASTS", "false")]).await;
    let policy = "create policy p on realtime.messages to anon using (true) with check (true)";
    world.run(&[policy]).await;
    let mut client = world.client().await;
    let wants = json!({ "private": true, "broadcast": { "replication_ready": true } });
    let refused = client.ask_join("realtime:a", wants).await;
    let reason = "RealtimeDisabledForConfiguration: Broadcasts of the database are switched off";
    assert_eq!(refused.reason(), reason);
    client.join("realtime:a", json!({ "private": true })).await;
    let path = "/api/broadcast/a/events/e?private=true";
    assert_eq!(post(&world, path, &[], b"{}").await.status, 202);
    let answer = post(&world, &format!("{path}&persist=true"), &[], b"{}").await;
    let text = "Messages cannot be stored: broadcasts of the database are switched off";
    assert_eq!((answer.status, answer.json()), (422, json!({ "message": text })));
}

#[tokio::test]
async fn pages_may_call_from_anywhere() {
    let world = World::start("").await;
    let asked = [
        ("Origin", "https://example.org"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "apikey,x-client-info"),
    ];
    let answer = world.server.call("OPTIONS", "/api/broadcast", &asked, b"").await.unwrap();
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("apikey,x-client-info"));
    assert_eq!(world.server.call("OPTIONS", "/api/ping", &[], b"").await.unwrap().status, 404);
}

//! What must never be written to a log.

use serde_json::json;

use crate::support::{
    client::{Client, user_broadcast},
    eventually,
    server::World,
    tokens::{SECRET, expiring, token},
};

const ROOM: &str = "realtime:room";

#[tokio::test]
async fn no_token_payload_or_row_value_is_logged() {
    let mut world = World::start_with(
        "create table t (id int primary key, body text); grant select on t to anon; \
         alter publication supabase_realtime add table t",
        &[("LOG_LEVEL", "debug")],
    )
    .await;
    let key = token("anon");
    let version = rowcast::protocol::Vsn::V2;
    let mut client = Client::connect_as(&world.server, version, &key).await;
    let config = json!({
        "broadcast": { "self": true },
        "presence": { "enabled": true, "key": "somebody" },
        "postgres_changes": [{ "event": "*", "schema": "public", "table": "t" }],
    });
    client.join(ROOM, config).await;
    client.event(ROOM, "system").await;
    world
        .run(&[
            "insert into t values (1, 'secretrowone')",
            "update t set body = 'secretrowtwo'",
            "delete from t",
        ])
        .await;
    for _ in 0..3 {
        client.change(ROOM).await;
    }
    client
        .push(ROOM, "broadcast", json!({ "event": "e", "payload": { "text": "secretcast" } }))
        .await;
    client.event(ROOM, "broadcast").await;
    client.send(user_broadcast(ROOM, "e", &json!({ "text": "secretbinary" }))).await;
    client.event(ROOM, "broadcast").await;
    let track = json!({ "event": "track", "payload": { "text": "secretpresence" } });
    client.ask(ROOM, "presence", track).await;
    // Refusals and nonsense are where values slip into messages.
    let stale = expiring("anon", -5);
    client.ask("realtime:b", "phx_join", json!({ "config": {}, "access_token": stale })).await;
    Client::refused(&world.server, &format!("apikey={stale}")).await;
    Client::refused(&world.server, "apikey=secretnonsense").await;
    client
        .join(
            "realtime:c",
            json!({ "postgres_changes": [
                { "event": "*", "schema": "public", "table": "t", "filter": "id=eq.secretfilter" }
            ] }),
        )
        .await;
    client.event("realtime:c", "system").await;
    let frame = tokio_tungstenite::tungstenite::Message::text(r#"["secretframe""#);
    client.send(frame).await;
    client.push(ROOM, "access_token", json!({ "access_token": stale })).await;
    client.event(ROOM, "phx_close").await;
    world.server.terminate();
    client.closed().await;
    world.server.wait_exit().await;

    let log = world.server.log();
    assert!(log.contains("join refused"), "the log is there");
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    let key = signature(&key);
    let stale = signature(&stale);
    for secret in [SECRET, &key, &stale, "secretrow", "secretcast", "secretbinary"] {
        assert!(!log.contains(secret), "{secret} was logged");
    }
    for secret in ["secretpresence", "secretnonsense", "secretframe", "secretfilter"] {
        assert!(!log.contains(secret), "{secret} was logged");
    }
}

#[tokio::test]
async fn lines_begin_with_their_code_and_topics_of_requests_are_not_told() {
    let mut world = World::start("").await;
    let mut client = world.client().await;
    client.ask_join("realtime:refused", json!({ "private": true })).await;
    eventually("the stream runs", async || {
        world.server.log().contains("\"streaming\"").then_some(())
    })
    .await;
    world.postgres.kill9().await;
    let bearer = format!("Bearer {}", token("anon"));
    let headers = [("Authorization", &*bearer), ("Content-Type", "application/json")];
    let body = json!({ "messages": [
        { "topic": "secrettopic", "event": "e", "payload": {}, "private": true },
    ] });
    let body = body.to_string();
    let answer = world.server.call("POST", "/api/broadcast", &headers, body.as_bytes()).await;
    assert_eq!(answer.unwrap().status, 202);
    eventually("all of it is told", async || {
        let log = world.server.log();
        let told =
            ["Unauthorized: join refused", "UnableToHandleBroadcast: private messages skipped"];
        let down = "ReplicationConnectionDown: stream broke";
        told.into_iter().chain([down]).all(|text| log.contains(text)).then_some(())
    })
    .await;
    assert!(!world.server.log().contains("secrettopic"));
}

//! Joins whose reply waits until their changes are live.

use rowcast::protocol::Vsn;
use serde_json::{Value, json};

use crate::support::{client::Client, server::World, tokens::token};

const ROOM: &str = "realtime:room";

const TABLE: &str = "create table t (id int primary key); grant select on t to anon; \
     alter publication supabase_realtime add table t";

/// Nobody can look a table up until the transaction ends.
const HOLD: &str = "begin; lock table pg_catalog.pg_publication in access exclusive mode";

fn waiting(table: &str, timeout: u64) -> Value {
    json!({
        "broadcast": { "self": true },
        "presence": { "enabled": true, "key": "k" },
        "postgres_changes": [{ "event": "*", "schema": "public", "table": table }],
        "postgres_changes_options": { "wait": true, "timeout": timeout },
    })
}

#[tokio::test]
async fn the_reply_says_that_changes_are_live() {
    let world = World::start(TABLE).await;
    for vsn in [Vsn::V1, Vsn::V2] {
        let mut client = Client::connect_as(&world.server, vsn, &token("anon")).await;
        let response = client.join(ROOM, waiting("t", 15_000)).await;
        assert_eq!(response["postgres_changes"][0]["table"], "t");
        assert!(client.backlog.is_empty(), "the reply is the first word: {:?}", client.backlog);
        world.run(&["insert into t values (1)", "delete from t"]).await;
        assert_eq!(client.change(ROOM).await["type"], "INSERT");
        assert_eq!(client.event(ROOM, "system").await["message"], "Subscribed to PostgreSQL");
        client.event(ROOM, "presence_state").await;
        client.push(ROOM, "broadcast", json!({ "event": "e", "payload": {} })).await;
        client.event(ROOM, "broadcast").await;
    }
}

#[tokio::test]
async fn while_a_reply_waits_other_channels_are_served_and_its_own_can_be_left() {
    let world = World::start(TABLE).await;
    let mut client = world.client().await;
    world.run(&[HOLD]).await;
    let first = client.push(ROOM, "phx_join", json!({ "config": waiting("t", 20_000) })).await;
    client.join("realtime:other", json!({ "broadcast": { "self": true } })).await;
    client.push("realtime:other", "broadcast", json!({ "event": "e", "payload": {} })).await;
    client.event("realtime:other", "broadcast").await;
    assert!(client.ask(ROOM, "phx_leave", json!({})).await.is_ok());
    client.event(ROOM, "phx_close").await;
    // One that replaces another: only the second is answered.
    let second = client.push(ROOM, "phx_join", json!({ "config": waiting("t", 20_000) })).await;
    let third = client.push(ROOM, "phx_join", json!({ "config": waiting("t", 20_000) })).await;
    assert!(client.settled().await.is_empty(), "{:?}", client.backlog);
    world.run(&["rollback"]).await;
    let reply = client.wait("a reply", |message| message.event == "phx_reply").await;
    assert!(reply.is_ok() && reply.reference == third, "{reply:?}");
    let closed = client.wait("the end", |message| message.event == "phx_close").await;
    assert_eq!(closed.join_ref, second);
    client.event(ROOM, "system").await;
    client.event(ROOM, "presence_state").await;
    let left = client.settled().await;
    assert!(left.is_empty(), "nothing for {first}: {left:?}");
}

#[tokio::test]
async fn a_join_that_waits_in_vain_is_refused() {
    let world = World::start_with(TABLE, &[("CHANNEL_ERROR_BACKOFF_MS", "10")]).await;
    let mut client = world.client().await;
    world.run(&[HOLD]).await;
    let reply = client.ask_join(ROOM, waiting("t", 100)).await;
    let late = "PostgresChangesSubscribeTimeout: Timed out after 100ms waiting for the postgres_changes subscription";
    assert_eq!(reply.reason(), late);
    world.run(&["rollback"]).await;
    let reply = client.ask_join(ROOM, waiting("nowhere", 15_000)).await;
    let reason = reply.reason();
    assert!(
        reason.starts_with("RealtimeDisabledForConfiguration: Unable to subscribe to changes"),
        "{reason}"
    );
    let config = json!({
        "postgres_changes": [{ "event": "*", "schema": "public", "filter": "id=eq.1" }],
        "postgres_changes_options": { "wait": true },
    });
    let reply = client.ask_join(ROOM, config).await;
    assert!(reply.reason().starts_with("RealtimeDisabledForConfiguration: "), "{reply:?}");
    // Refused is refused: the topic is not joined, nothing else was said.
    let reply = client.ask(ROOM, "broadcast", json!({ "event": "e", "payload": {} })).await;
    assert_eq!(reply.reason(), "unmatched topic");
    assert!(client.settled().await.is_empty(), "{:?}", client.backlog);
}

#[tokio::test]
async fn without_bindings_or_without_the_wish_nothing_waits() {
    let world = World::start(TABLE).await;
    let mut client = world.client().await;
    world.run(&[HOLD]).await;
    client.join("realtime:a", json!({ "postgres_changes_options": { "wait": true } })).await;
    let mut config = waiting("t", 1_000);
    config["postgres_changes_options"] = json!({ "wait": false });
    client.join("realtime:b", config).await;
    world.run(&["rollback"]).await;
    client.event("realtime:b", "system").await;
}

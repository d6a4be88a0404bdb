//! Pushes: every writer's, in order, none lost over an absence.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{World, user};
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_insert_is_as_good_as_a_verb() {
    let world = World::start().await;
    let ada = user("Ada");
    let room = world.room(&[&ada]).await;
    let mut here = world.enter(&ada, room).await;
    let somebody = Uuid::new_v4();
    world
        .run(&format!(
            "insert into messages (room_id, sender_id, content) values ('{room}', '{somebody}', 'psql')"
        ))
        .await;
    let message = here.hears("message").await["message"].clone();
    assert_eq!((&message["content"], &message["seq"]), (&json!("psql"), &json!(1)));
    let stored = world.value("select chat.message_json(m) from messages m").await;
    assert_eq!(message, stored, "as the functions print it");
    world.run("update messages set content = 'changed'").await;
    assert_eq!(here.hears("message_updated").await["message"]["version"], 2);
    world.run("delete from messages").await;
    let gone = here.hears("message_deleted").await["message"].clone();
    assert_eq!(gone, json!({ "id": message["id"], "room_id": room, "seq": 1 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_that_the_log_leaves_out_is_read_from_the_table() {
    let world = World::start().await;
    let ada = user("Ada");
    let room = world.room(&[&ada]).await;
    let mut here = world.enter(&ada, room).await;
    // Large and not to be compressed: stored beside the row.
    let text: String = (0..9_000).map(|n: u32| char::from(33 + (n * n * 7 % 90) as u8)).collect();
    world.run("alter table messages alter column content set storage external").await;
    here.does("send", json!({ "id": Uuid::new_v4(), "content": text })).await;
    world
        .run("alter table messages disable trigger user; update messages set edited_at = now()")
        .await;
    let message = here.hears("message_updated").await["message"].clone();
    assert_eq!(message["content"], json!(text));
    assert!(message["edited_at"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_that_cannot_be_read_is_to_be_asked_for() {
    let world = World::start().await;
    let ada = user("Ada");
    let room = world.room(&[&ada]).await;
    let mut here = world.enter(&ada, room).await;
    world.run("alter table messages alter column content set storage external").await;
    here.does("send", json!({ "id": Uuid::new_v4(), "content": "x".repeat(9_000) })).await;
    // The log names the table as it was; when the content is read it is gone.
    world
        .run(
            "alter table messages disable trigger user; \
             begin; update messages set edited_at = now(); \
             alter table messages rename to hidden; commit",
        )
        .await;
    assert_eq!(here.hears("resync").await, json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_many_senders_come_in_the_order_of_their_numbers() {
    let world = World::start().await;
    let users: Vec<_> = ["Ada", "Bob", "Cyd"].into_iter().map(user).collect();
    let room = world.room(&users.iter().collect::<Vec<_>>()).await;
    let mut reader = world.enter(&users[0], room).await;
    let mut sockets = Vec::new();
    for user in &users {
        sockets.push(world.enter(user, room).await);
    }
    let sending = sockets.iter_mut().map(async |socket| {
        for n in 0..20 {
            socket.send(&format!("{n}")).await;
        }
    });
    futures_util::future::join_all(sending).await;
    for seq in 1..=60 {
        assert_eq!(reader.hears("message").await["message"]["seq"], seq);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_gets_exactly_what_it_missed() {
    let world = World::start().await;
    let (ada, bob) = (user("Ada"), user("Bob"));
    let room = world.room(&[&ada, &bob]).await;
    let mut at_ada = world.enter(&ada, room).await;
    let first = at_ada.send("first").await;
    let second = at_ada.send("second").await;
    // Bob has both, and is away while the first is edited and a third comes.
    at_ada.does("edit", json!({ "id": first["id"], "content": "First", "version": 1 })).await;
    at_ada.send("third").await;
    let path = format!("/rooms/{room}/resume?seq={}&rev={}", second["seq"], second["rev"]);
    let missed = world.done(&bob, "GET", &path, Value::Null).await;
    let contents: Vec<_> =
        missed["messages"].as_array().unwrap().iter().map(|m| &m["content"]).collect();
    assert_eq!(contents, ["First", "third"]);
    assert_eq!((&missed["limited"], &missed["head"]["seq"]), (&json!(false), &json!(3)));
    let path = format!("/rooms/{room}/resume?seq=0&limit=2");
    let all = world.done(&bob, "GET", &path, Value::Null).await;
    assert_eq!(all["limited"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_changes_go_on_beside_it() {
    let world = World::start().await;
    let ada = user("Ada");
    let room = world.room(&[&ada]).await;
    let mut here = world.enter(&ada, room).await;
    let mut plain = world.enter(&ada, room).await.client;
    let binding = json!([{ "event": "INSERT", "schema": "public", "table": "messages" }]);
    plain.subscribe("realtime:plain", binding).await;
    here.send("both").await;
    assert_eq!(plain.change("realtime:plain").await["record"]["content"], "both");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_a_free_connection_delays_the_chat_and_does_not_end_it() {
    let mut world = World::start().await;
    let ada = user("Ada");
    let room = world.room(&[&ada]).await;
    world.server.kill9().await;
    // The stream has connections of its own, and starts.
    let mut crowd = Vec::new();
    while let Some(client) = world.postgres.try_client_over_socket().await {
        crowd.push(client);
    }
    let failed = "cannot see whether there is a chat";
    let before = world.server.log().matches(failed).count();
    world.server.resume().await;
    eventually("the first look fails", async || {
        (world.server.log().matches(failed).count() > before).then_some(())
    })
    .await;
    // For longer than it takes to give up where the answer is known. No later look is logged.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(world.ask(&ada, "GET", "/rooms", Value::Null).await.status, 503);
    drop(crowd);
    let path = format!("/rooms/{room}");
    eventually("the chat is there", async || {
        (world.ask(&ada, "GET", &path, Value::Null).await.status == 200).then_some(())
    })
    .await;
    let mut here = world.enter(&ada, room).await;
    world
        .run(&format!(
            "insert into messages (room_id, sender_id, content) values ('{room}', '{}', 'psql')",
            ada.id
        ))
        .await;
    assert_eq!(here.hears("message").await["message"]["content"], "psql");
}

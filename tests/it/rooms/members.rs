//! Who comes and goes: cut off at once, typing, online.

use std::time::Duration;

use rowcast::protocol::Vsn;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Room, World, user};
use crate::support::client::Client;

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_member_hears_nothing_more() {
    let world = World::start().await;
    let (ada, bob) = (user("Ada"), user("Bob"));
    let room = world.room(&[&ada, &bob]).await;
    let (mut at_ada, mut at_bob) = (world.enter(&ada, room).await, world.enter(&bob, room).await);
    let mut other = world.enter(&bob, room).await;
    // In one transaction: what follows the removal must not reach who was removed.
    world
        .run(&format!(
            "begin; delete from room_members where user_id = '{}'; \
             insert into messages (room_id, sender_id, content) values ('{room}', '{}', 'secret'); commit",
            bob.id, ada.id
        ))
        .await;
    let change = at_ada.hears_of_member(&bob, "left").await;
    assert_eq!(change, json!({ "user_id": bob.id, "change": "left" }));
    assert_eq!(at_ada.hears("message").await["message"]["content"], "secret");
    for gone in [&mut at_bob, &mut other] {
        let topic = gone.topic.clone();
        let system = gone.client.event(&topic, "system").await;
        assert_eq!(system["status"], "error");
        let text =
            format!("You no longer have permission to read from this Channel topic: room:{room}");
        assert_eq!(system["message"], json!(text));
        gone.client.event(&topic, "phx_close").await;
        assert!(gone.heard().await.is_empty());
    }
    let config = json!({ "private": true });
    let topic = at_bob.topic.clone();
    let refused = at_bob.client.ask_join(&topic, config).await;
    assert!(refused.reason().starts_with("Unauthorized"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn those_there_hear_who_comes_and_changes() {
    let world = World::start().await;
    let (ada, bob) = (user("Ada"), user("Bob"));
    let room = world.room(&[&ada]).await;
    let mut at_ada = world.enter(&ada, room).await;
    let invitation = json!({ "user_id": bob.id, "name": "Bob" });
    world.done(&ada, "POST", &format!("/rooms/{room}/members"), invitation).await;
    let joined = at_ada.hears_of_member(&bob, "joined").await;
    let expected =
        json!({ "user_id": bob.id, "name": "Bob", "role": "member", "change": "joined" });
    assert_eq!(joined, expected);
    world
        .run(&format!("update room_members set role = 'admin' where user_id = '{}'", bob.id))
        .await;
    assert_eq!(at_ada.hears_of_member(&bob, "updated").await["role"], "admin");
    world.done(&bob, "POST", &format!("/rooms/{room}/leave"), Value::Null).await;
    at_ada.hears_of_member(&bob, "left").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_is_told_seldom_and_ends_by_itself() {
    let world = World::start().await;
    let (ada, bob) = (user("Ada"), user("Bob"));
    let room = world.room(&[&ada, &bob]).await;
    let (mut at_ada, mut at_bob) = (world.enter(&ada, room).await, world.enter(&bob, room).await);
    for _ in 0..5 {
        at_ada.does("typing", json!({ "typing": true })).await;
    }
    let began = Instant::now();
    assert_eq!(at_bob.hears("typing").await, json!({ "user_id": ada.id, "typing": true }));
    assert_eq!(at_bob.hears("typing").await["typing"], false);
    let took = began.elapsed();
    assert!(took > Duration::from_millis(5_500) && took < Duration::from_secs(8), "{took:?}");
    at_ada.does("typing", json!({ "typing": true })).await;
    assert_eq!(at_bob.hears("typing").await["typing"], true);
    at_ada.send("done").await;
    assert_eq!(at_bob.hears("typing").await["typing"], false, "a message ends it");
    at_ada.does("typing", json!({ "typing": true })).await;
    assert_eq!(at_bob.hears("typing").await["typing"], true);
    assert!(!at_ada.heard().await.contains(&"chat:typing".to_owned()));
    drop(at_ada);
    assert_eq!(at_bob.hears("typing").await["typing"], false, "so does leaving");
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_hear_who_is_online_and_others_may_ask() {
    let world = World::start().await;
    let (ada, bob, eve) = (user("Ada"), user("Bob"), user("Eve"));
    let room = world.room(&[&ada, &bob]).await;
    let mut at_ada = world.enter(&ada, room).await;
    assert_eq!(at_ada.hears("status").await["user_id"], json!(ada.id));
    let at_bob = world.enter(&bob, room).await;
    let status = at_ada.hears("status").await;
    assert_eq!((&status["user_id"], &status["online"]), (&json!(bob.id), &json!(true)));
    let path = format!("/users/status?ids={},{}", bob.id, eve.id);
    let list = world.done(&ada, "GET", &path, Value::Null).await;
    assert_eq!(list.as_array().unwrap().len(), 1, "only who shares a room");
    assert_eq!((&list[0]["user_id"], &list[0]["online"]), (&json!(bob.id), &json!(true)));
    drop(at_bob);
    let status = at_ada.hears("status").await;
    assert_eq!((&status["user_id"], &status["online"]), (&json!(bob.id), &json!(false)));
    assert!(status["last_seen"].as_str().unwrap().ends_with("+00:00"));
    let list = world.done(&eve, "GET", &path, Value::Null).await;
    assert_eq!(list, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_users_token_is_another_user() {
    let world = World::start().await;
    let (ada, bob) = (user("Ada"), user("Bob"));
    let room = world.room(&[&ada, &bob]).await;
    let client = Client::connect_as(&world.server, Vsn::V2, &ada.token).await;
    let mut here = Room::enter(client, room, json!({ "ack": true })).await;
    let topic = here.topic.clone();
    here.client.push(&topic, "access_token", json!({ "access_token": bob.token })).await;
    assert_eq!(here.send("as Bob").await["sender_id"], json!(bob.id));
    world.run(&format!("delete from room_members where user_id = '{}'", bob.id)).await;
    here.client.event(&topic, "phx_close").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_hear_nothing_of_a_room_that_has_become_private() {
    let world = World::start().await;
    let (ada, eve) = (user("Ada"), user("Eve"));
    let room = world.room(&[&ada]).await;
    world.run("update rooms set visibility = 'public'").await;
    let mut at_ada = world.enter(&ada, room).await;
    let anonymous = Client::connect(&world.server).await;
    let visitors =
        [world.enter(&eve, room).await, Room::enter(anonymous, room, json!({ "ack": true })).await];
    world
        .run(&format!(
            "begin; update rooms set visibility = 'private'; \
             insert into messages (room_id, sender_id, content) values ('{room}', '{}', 'secret'); commit",
            ada.id
        ))
        .await;
    assert_eq!(at_ada.hears("message").await["message"]["content"], "secret");
    for mut gone in visitors {
        let topic = gone.topic.clone();
        assert_eq!(gone.client.event(&topic, "system").await["status"], "error");
        gone.client.event(&topic, "phx_close").await;
        assert!(gone.heard().await.is_empty());
    }
    assert_eq!(world.value("select count(*) from chat.closings").await, json!(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_keeps_a_room_whose_table_was_emptied() {
    let world = World::start().await;
    let ada = user("Ada");
    let room = world.room(&[&ada]).await;
    let mut at_ada = world.enter(&ada, room).await;
    world.run("truncate room_members").await;
    let topic = at_ada.topic.clone();
    assert_eq!(at_ada.client.event(&topic, "system").await["status"], "error");
    at_ada.client.event(&topic, "phx_close").await;
}

//! What members do over sockets, and what they are refused.

use rowcast::protocol::Vsn;
use serde_json::json;
use uuid::Uuid;

use super::{Room, World, user};
use crate::support::client::Client;

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_sent_edited_deleted_and_reacted_to() {
    let world = World::start().await;
    let (ada, bob) = (user("Ada"), user("Bob"));
    let room = world.room(&[&ada, &bob]).await;
    let (mut at_ada, mut at_bob) = (world.enter(&ada, room).await, world.enter(&bob, room).await);

    let id = Uuid::new_v4();
    let sent = at_ada.does("send", json!({ "id": id, "content": "hello" })).await;
    assert_eq!((&sent["id"], &sent["seq"]), (&json!(id), &json!(1)));
    let heard = at_bob.hears("message").await["message"].clone();
    assert_eq!(heard, sent, "the push is what the sender was told");
    assert_eq!(heard["content"], "hello");
    assert_eq!(heard["sender_id"], json!(ada.id));

    let edited = at_ada.does("edit", json!({ "id": id, "content": "hello!", "version": 1 })).await;
    assert_eq!((&edited["version"], &edited["content"]), (&json!(2), &json!("hello!")));
    assert_eq!(at_bob.hears("message_updated").await["message"], edited);

    let tea = json!({ "id": id, "emoji": "🍵" });
    at_bob.does("react", tea.clone()).await;
    let reaction = at_ada.hears("reaction").await;
    let expected = json!({ "message_id": id, "user_id": bob.id, "emoji": "🍵", "added": true });
    assert_eq!(reaction, expected);
    at_bob.does("react", tea.clone()).await;
    at_bob.does("unreact", tea).await;
    assert_eq!(at_ada.hears("reaction").await["added"], false, "the second one changed nothing");

    let deleted = at_ada.does("delete", json!({ "id": id })).await;
    let heard = at_bob.hears("message_deleted").await["message"].clone();
    assert_eq!(heard, deleted);
    assert!(heard["content"].is_null() && heard["deleted_at"].is_string());
    at_bob.does("send", json!({ "id": Uuid::new_v4(), "content": "re", "reply_to": id })).await;
    assert_eq!(at_ada.hears("message").await["message"]["reply_to"], json!(id));
    assert!(at_ada.heard().await.is_empty(), "nothing came back to who caused it");
    assert!(at_bob.heard().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_to_hear_itself_does() {
    let world = World::start().await;
    let ada = user("Ada");
    let room = world.room(&[&ada]).await;
    let mut here = world.enter_with(&ada, room, json!({ "ack": true, "self": true })).await;
    let old = Client::connect_as(&world.server, Vsn::V1, &ada.token).await;
    let mut there = Room::enter(old, room, json!({ "ack": true })).await;
    let sent = here.send("one").await;
    assert_eq!(here.hears("message").await["message"], sent);
    assert_eq!(there.hears("message").await["message"], sent, "another device");
    there.does("react", json!({ "id": sent["id"], "emoji": "x" })).await;
    assert_eq!(here.hears("reaction").await["added"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_one_message() {
    let world = World::start().await;
    let (ada, bob) = (user("Ada"), user("Bob"));
    let room = world.room(&[&ada, &bob]).await;
    let (mut at_ada, mut at_bob) = (world.enter(&ada, room).await, world.enter(&bob, room).await);
    let id = Uuid::new_v4();
    let message = json!({ "id": id, "content": "once" });
    let first = at_ada.does("send", message.clone()).await;
    let second = at_ada.does("send", message.clone()).await;
    assert_eq!((&second["seq"], &second["duplicate"]), (&first["seq"], &json!(true)));
    at_bob.cannot("send", message, "conflict").await;
    assert_eq!(at_ada.send("next").await["seq"], 2, "no hole");
    assert_eq!(at_bob.hears("message").await["message"]["id"], json!(id));
    assert_eq!(at_bob.hears("message").await["message"]["content"], "next");
    assert!(at_bob.heard().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_is_refused_with_a_code() {
    let world = World::start().await;
    let (ada, bob) = (user("Ada"), user("Bob"));
    let room = world.room(&[&ada, &bob]).await;
    let (mut at_ada, mut at_bob) = (world.enter(&ada, room).await, world.enter(&bob, room).await);
    let id = at_ada.send("mine").await["id"].clone();
    let long = "é".repeat(10_001);
    for (verb, payload, code) in [
        ("send", json!({ "id": Uuid::new_v4(), "content": " " }), "bad_request"),
        ("send", json!({ "id": Uuid::new_v4(), "content": long }), "bad_request"),
        ("send", json!({ "id": 7, "content": "x" }), "bad_request"),
        ("dance", json!({}), "bad_request"),
        ("edit", json!({ "id": id, "content": "yours", "version": 1 }), "forbidden"),
        ("delete", json!({ "id": id }), "forbidden"),
        ("react", json!({ "id": Uuid::new_v4(), "emoji": "x" }), "not_found"),
        ("read", json!({ "seq": -1 }), "bad_request"),
    ] {
        at_bob.cannot(verb, payload, code).await;
    }
    at_ada.does("edit", json!({ "id": id, "content": "new", "version": 1 })).await;
    let reply = at_ada.say("edit", json!({ "id": id, "content": "x", "version": 1 })).await;
    assert_eq!(reply.payload["response"]["code"], "conflict");
    assert_eq!(reply.payload["response"]["current_version"], 2);
    assert_eq!(at_ada.hears("error").await["current_version"], 2);
    at_ada.does("delete", json!({ "id": id, "version": 2 })).await;
    at_ada.cannot("edit", json!({ "id": id, "content": "x", "version": 3 }), "deleted").await;
    at_ada.cannot("react", json!({ "id": id, "emoji": "x" }), "deleted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_write_reaches_no_log() {
    let world = World::start_with(&[("LOG_LEVEL", "trace")]).await;
    let (ada, bob) = (user("Ada"), user("Bob"));
    let room = world.room(&[&ada, &bob]).await;
    let (mut at_ada, mut at_bob) = (world.enter(&ada, room).await, world.enter(&bob, room).await);
    let id = at_ada.send("pale-blue-kettle").await["id"].clone();
    at_bob.hears("message").await;
    at_bob
        .cannot("edit", json!({ "id": id, "content": "red-kettle", "version": 1 }), "forbidden")
        .await;
    at_ada.does("edit", json!({ "id": id, "content": "green-kettle", "version": 1 })).await;
    at_ada.does("react", json!({ "id": id, "emoji": "kettle" })).await;
    assert!(!world.server.log().contains("kettle"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_of_a_public_room_reads_and_does_not_write() {
    let world = World::start().await;
    let (ada, eve) = (user("Ada"), user("Eve"));
    let public = json!({ "name": "Square", "visibility": "public" });
    let room = world.done(&ada, "POST", "/rooms", public).await["id"].clone();
    let room = room.as_str().unwrap().parse().unwrap();
    let (mut at_ada, mut at_eve) = (world.enter(&ada, room).await, world.enter(&eve, room).await);
    at_eve.cannot("send", json!({ "id": Uuid::new_v4(), "content": "x" }), "forbidden").await;
    at_eve.cannot("typing", json!({ "typing": true }), "forbidden").await;
    at_ada.send("hear me").await;
    assert_eq!(at_eve.hears("message").await["message"]["content"], "hear me");
}

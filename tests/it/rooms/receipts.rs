//! Receipts: gathered, monotonic, seen by the sender.

use serde_json::{Value, json};

use super::{World, user};

#[tokio::test(flavor = "multi_thread")]
async fn ticks_go_from_delivered_to_read() {
    let world = World::start().await;
    let (ada, bob) = (user("Ada"), user("Bob"));
    let room = world.room(&[&ada, &bob]).await;
    let (mut at_ada, mut at_bob) = (world.enter(&ada, room).await, world.enter(&bob, room).await);
    let id = at_ada.send("one").await["id"].clone();
    at_ada.send("two").await;
    let cursors = at_bob.does("delivered", json!({ "seq": 2 })).await;
    assert_eq!(cursors, json!({ "delivered_seq": 2, "read_seq": 0 }));
    let expected = json!({ "user_id": bob.id, "delivered_seq": 2, "read_seq": 0 });
    assert_eq!(at_ada.hears("receipt").await, expected);
    at_bob.does("read", json!({ "seq": 1 })).await;
    assert_eq!(at_ada.hears("receipt").await["read_seq"], 1);
    assert!(at_bob.heard().await.iter().all(|event| event != "chat:receipt"), "not to its cause");
    let ahead = at_bob.does("read", json!({ "seq": 99 })).await;
    assert_eq!(ahead["read_seq"], 2, "never ahead of what there is");
    assert_eq!(at_ada.hears("receipt").await["read_seq"], 2);
    let path = format!("/rooms/{room}/messages/{}/receipts", id.as_str().unwrap());
    let receipts = world.done(&ada, "GET", &path, Value::Null).await;
    assert!(receipts["receipts"][0]["read_at"].is_string(), "{receipts}");
    assert_eq!(receipts["receipts"][0]["user_id"], json!(bob.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_within_a_moment_is_one_statement() {
    let world = World::start().await;
    let (ada, bob) = (user("Ada"), user("Bob"));
    let room = world.room(&[&ada, &bob]).await;
    let (mut at_ada, mut at_bob) = (world.enter(&ada, room).await, world.enter(&bob, room).await);
    for n in 0..10 {
        at_ada.send(&format!("{n}")).await;
    }
    let topic = at_bob.topic.clone();
    let mut references = Vec::new();
    for seq in 1..=10 {
        for event in ["chat:delivered", "chat:read"] {
            let verb = json!({ "type": "broadcast", "event": event, "payload": { "seq": seq } });
            references.push(at_bob.client.push(&topic, "broadcast", verb).await);
        }
    }
    for reference in references {
        let fits = |m: &crate::support::client::Message| m.reference == reference;
        let reply = at_bob.client.wait("an answer", fits).await;
        assert_eq!(reply.payload["response"]["read_seq"], 10);
    }
    assert_eq!(at_ada.hears("receipt").await["read_seq"], 10);
    assert!(at_ada.heard().await.is_empty(), "one push for all of them");
    assert!(at_bob.heard().await.iter().all(|event| event != "chat:receipt"), "not to its cause");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_leaves_its_receipts() {
    let world = World::start_with(&[("ROWCAST_CHAT_RECEIPTS_MS", "60000")]).await;
    let (ada, bob) = (user("Ada"), user("Bob"));
    let room = world.room(&[&ada, &bob]).await;
    let (mut at_ada, mut at_bob) = (world.enter(&ada, room).await, world.enter(&bob, room).await);
    at_ada.send("one").await;
    at_bob.hears("message").await;
    let topic = at_bob.topic.clone();
    let verb = json!({ "type": "broadcast", "event": "chat:read", "payload": { "seq": 1 } });
    at_bob.client.push(&topic, "broadcast", verb.clone()).await;
    at_bob.client.settled().await;
    drop(at_bob);
    assert_eq!(at_ada.hears("receipt").await["read_seq"], 1);
    // The end of the server ends the window as well.
    let topic = at_ada.topic.clone();
    at_ada.client.push(&topic, "broadcast", verb).await;
    at_ada.client.settled().await;
    let mut world = world;
    world.server.terminate();
    world.server.wait_exit().await;
    let query = format!("select last_read_seq from room_members where user_id = '{}'", ada.id);
    assert_eq!(world.value(&query).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_said_nothing_new_hears_of_the_other_ones() {
    let world = World::start().await;
    let (ada, bob) = (user("Ada"), user("Bob"));
    let room = world.room(&[&ada, &bob]).await;
    let mut at_ada = world.enter(&ada, room).await;
    let (mut phone, mut desk) = (world.enter(&bob, room).await, world.enter(&bob, room).await);
    at_ada.send("one").await;
    phone.does("delivered", json!({ "seq": 1 })).await;
    // It is delivered already: nothing moves, and nothing is told.
    desk.does("delivered", json!({ "seq": 1 })).await;
    phone.does("read", json!({ "seq": 1 })).await;
    let read = json!({ "user_id": bob.id, "delivered_seq": 1, "read_seq": 1 });
    while desk.hears("receipt").await != read {}
}

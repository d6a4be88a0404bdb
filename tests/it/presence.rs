//! Who is there.

use serde_json::{Value, json};

use crate::support::{client::Client, server::World};

const ROOM: &str = "realtime:room";

fn config(key: &str) -> Value {
    json!({ "presence": { "key": key, "enabled": true } })
}

async fn track(client: &mut Client, payload: Value) {
    let call = json!({ "type": "presence", "event": "track", "payload": payload });
    let reply = client.ask(ROOM, "presence", call).await;
    assert!(reply.is_ok(), "{reply:?}");
}

#[tokio::test]
async fn a_newcomer_gets_the_state_and_everybody_the_changes() {
    let world = World::start("").await;
    let mut ann = world.client().await;
    ann.join(ROOM, config("ann")).await;
    assert_eq!(ann.event(ROOM, "presence_state").await, json!({}));
    track(&mut ann, json!({ "mood": "good" })).await;
    let diff = ann.event(ROOM, "presence_diff").await;
    assert_eq!(diff["joins"]["ann"]["metas"][0]["mood"], "good", "{diff}");
    assert_eq!(diff["leaves"], json!({}));

    let mut bob = world.client().await;
    bob.join(ROOM, config("bob")).await;
    let state = bob.event(ROOM, "presence_state").await;
    assert_eq!(state["ann"]["metas"][0]["mood"], "good", "{state}");
    assert!(state.get("bob").is_none(), "{state}");
    track(&mut bob, json!({})).await;
    let diff = ann.event(ROOM, "presence_diff").await;
    assert!(diff["joins"]["bob"].is_object(), "{diff}");
}

#[tokio::test]
async fn a_changed_track_is_one_diff_that_names_its_predecessor() {
    let world = World::start("").await;
    let mut ann = world.client().await;
    ann.join(ROOM, config("ann")).await;
    track(&mut ann, json!({ "n": 1 })).await;
    let first = ann.event(ROOM, "presence_diff").await;
    let reference = first["joins"]["ann"]["metas"][0]["phx_ref"].clone();
    assert!(reference.is_string(), "{first}");
    track(&mut ann, json!({ "n": 1 })).await;
    track(&mut ann, json!({ "n": 2 })).await;
    // The repeated one made none.
    let second = ann.event(ROOM, "presence_diff").await;
    assert_eq!(second["joins"]["ann"]["metas"][0]["phx_ref_prev"], reference, "{second}");
    assert_eq!(second["joins"]["ann"]["metas"][0]["n"], 2);
    assert_eq!(second["leaves"]["ann"]["metas"][0]["phx_ref"], reference);
}

#[tokio::test]
async fn untracking_leaving_and_losing_the_socket_are_leaves() {
    let world = World::start("").await;
    let mut watcher = world.client().await;
    watcher.join(ROOM, config("watcher")).await;
    for way in ["untrack", "leave", "drop"] {
        let mut ann = world.client().await;
        ann.join(ROOM, config("ann")).await;
        track(&mut ann, json!({})).await;
        let diff = watcher.event(ROOM, "presence_diff").await;
        assert!(diff["joins"]["ann"].is_object(), "{way}: {diff}");
        match way {
            "untrack" => {
                let call = json!({ "type": "presence", "event": "untrack" });
                assert!(ann.ask(ROOM, "presence", call).await.is_ok());
            }
            "leave" => assert!(ann.ask(ROOM, "phx_leave", json!({})).await.is_ok()),
            _ => drop(ann),
        }
        let diff = watcher.event(ROOM, "presence_diff").await;
        assert!(diff["leaves"]["ann"].is_object(), "{way}: {diff}");
        assert_eq!(diff["joins"], json!({}), "{way}");
    }
}

#[tokio::test]
async fn sockets_of_one_key_are_several_metas() {
    let world = World::start("").await;
    let mut first = world.client().await;
    let mut second = world.client().await;
    for (n, client) in [&mut first, &mut second].into_iter().enumerate() {
        client.join(ROOM, config("ann")).await;
        track(client, json!({ "n": n })).await;
    }
    let mut late = world.client().await;
    late.join(ROOM, config("late")).await;
    let state = late.event(ROOM, "presence_state").await;
    assert_eq!(state["ann"]["metas"].as_array().unwrap().len(), 2, "{state}");
}

#[tokio::test]
async fn too_many_calls_end_the_channel_and_not_the_socket() {
    let world = World::start_with("", &[("CLIENT_PRESENCE_MAX_CALLS", "2")]).await;
    let mut ann = world.client().await;
    ann.join(ROOM, config("ann")).await;
    for n in 0..2 {
        track(&mut ann, json!({ "n": n })).await;
    }
    ann.push(ROOM, "presence", json!({ "event": "track", "payload": { "n": 2 } })).await;
    let system = ann.event(ROOM, "system").await;
    assert_eq!(system["message"], "Client presence rate limit exceeded", "{system}");
    ann.event(ROOM, "phx_close").await;
    ann.settled().await;
}

//! A room whose members are on different servers.

use serde_json::{Value, json};

use super::{ROOM, ready, streams};
use crate::{
    rooms::{Room, World, user},
    support::{
        client::{Client, Message},
        redis::Redis,
        server::Server,
    },
};
use rowcast::protocol::Vsn;

/// Two servers with a chat.
async fn pair(mode: &str) -> (Redis, World, Server) {
    let redis = Redis::start(&[]).await;
    let url = redis.url();
    let env = [("ROWCAST_REDIS_URL", url.as_str()), ("ROWCAST_CHANGES_MODE", mode)];
    let world = World::start_with(&env).await;
    let suffix = [("SLOT_NAME_SUFFIX", "other")];
    let env = if mode == "slot-per-node" { [&env[..], &suffix].concat() } else { env.to_vec() };
    let other = Server::start(&world.postgres, &env).await;
    for server in [&world.server, &other] {
        ready(server, 200).await;
        streams(server).await;
    }
    (redis, world, other)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_of_one_server_is_told_to_its_own_clients() {
    let (_redis, world, other) = pair("slot-per-node").await;
    let (ada, bob) = (user("Ada"), user("Bob"));
    let room = world.room(&[&ada, &bob]).await;
    let mut here = world.enter(&ada, room).await;
    let client = Client::connect_as(&other, Vsn::V2, &bob.token).await;
    let mut there = Room::enter(client, room, json!({ "ack": true })).await;
    // What either stream had to say of its new slot is said before this.
    here.send("hello").await;
    there.hears("message").await;
    there.send("hello yourself").await;
    here.hears("message").await;
    here.client.backlog.clear();
    there.client.backlog.clear();
    // Terminated and dropped in one go, before the stream is back.
    world
        .run(
            "do $$ declare slot text := 'rowcast_realtime_slot_other'; begin loop
               perform pg_terminate_backend(active_pid) from pg_replication_slots
               where slot_name = slot and active;
               begin perform pg_drop_replication_slot(slot); exit;
               exception when object_in_use then null; end;
             end loop; end $$",
        )
        .await;
    there.hears("resync").await;
    // Comes after it on the way between the servers.
    there.does("typing", json!({ "typing": true })).await;
    here.hears("typing").await;
    let resync = |message: &Message| message.payload["event"] == "chat:resync";
    assert!(!here.client.backlog.iter().any(resync), "{:?}", here.client.backlog);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_on_different_servers_share_a_room() {
    let (_redis, world, other) = pair("stream").await;
    let (ada, bob) = (user("Ada"), user("Bob"));
    let room = world.room(&[&ada, &bob]).await;
    let mut here = world.enter(&ada, room).await;
    let client = Client::connect_as(&other, Vsn::V2, &bob.token).await;
    let mut there = Room::enter(client, room, json!({ "ack": true })).await;

    let sent = here.send("hello").await;
    assert_eq!(there.hears("message").await["message"]["id"], sent["id"], "{sent}");
    let answer = there.send("hello yourself").await;
    assert_eq!(here.hears("message").await["message"]["id"], answer["id"], "{answer}");
    here.does("typing", json!({ "typing": true })).await;
    assert_eq!(there.hears("typing").await["user_id"], json!(ada.id));
    assert!(there.heard().await.is_empty() && here.heard().await.is_empty(), "each once");

    let path = format!("/rooms/{room}/members/{}", bob.id);
    world.done(&ada, "DELETE", &path, Value::Null).await;
    there.client.event(&there.topic, "phx_close").await;
    // The socket itself goes on.
    there.client.join(ROOM, json!({})).await;
}

//! A room whose members are on different servers.

use serde_json::{Value, json};

use super::{ROOM, ready, streams};
use crate::{
    rooms::{Room, World, user},
    support::{client::Client, redis::Redis, server::Server},
};
use rowcast::protocol::Vsn;

#[tokio::test(flavor = "multi_thread")]
async fn members_on_different_servers_share_a_room() {
    let redis = Redis::start(&[]).await;
    let url = redis.url();
    let world = World::start_with(&[("ROWCAST_REDIS_URL", &url)]).await;
    let other = Server::start(&world.postgres, &[("ROWCAST_REDIS_URL", &url)]).await;
    for server in [&world.server, &other] {
        ready(server, 200).await;
        streams(server).await;
    }
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

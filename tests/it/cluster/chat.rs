//! A room whose members are on different servers.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{ROOM, ready, streams};
use crate::{
    rooms::{Room, User, World, user},
    support::{
        client::{Client, Message},
        eventually,
        redis::Redis,
        server::Server,
    },
};
use rowcast::protocol::Vsn;

/// Two servers with a chat.
async fn pair(mode: &str) -> (Redis, World, Server) {
    pair_with(mode, "15000").await
}

/// The same, whose signs of life count for so many milliseconds.
async fn pair_with(mode: &str, ttl: &str) -> (Redis, World, Server) {
    let redis = Redis::start(&[]).await;
    let url = redis.url();
    let env = [
        ("ROWCAST_REDIS_URL", url.as_str()),
        ("ROWCAST_CHANGES_MODE", mode),
        ("ROWCAST_CHAT_STATUS_TTL_MS", ttl),
    ];
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

/// What a server says of a user to another one.
async fn status(server: &Server, asked_by: &User, of: &User) -> Value {
    let bearer = format!("Bearer {}", asked_by.token);
    let path = format!("/chat/v1/users/status?ids={}", of.id);
    let answer = server.get(&path, &[("Authorization", &bearer)]).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()[0].clone()
}

/// Waits until all these servers say so.
async fn all_say(servers: &[&Server], asked_by: &User, of: &User, online: bool) {
    eventually("all servers say the same", async || {
        for server in servers {
            if status(server, asked_by, of).await["online"] != online {
                return None;
            }
        }
        Some(())
    })
    .await;
}

/// What a member has heard of another's status up to now.
async fn heard_of(room: &mut Room, of: &User) -> Vec<Value> {
    room.client.settled().await;
    let backlog = std::mem::take(&mut room.client.backlog);
    let payloads = backlog.into_iter().map(|message| message.payload);
    let statuses = payloads.filter(|payload| payload["event"] == "chat:status");
    let of_user = |payload: &Value| payload["payload"]["user_id"] == json!(of.id);
    statuses.filter(of_user).map(|payload| payload["payload"]["online"].clone()).collect()
}

async fn enter(server: &Server, who: &User, room: uuid::Uuid) -> Room {
    let client = Client::connect_as(server, Vsn::V2, &who.token).await;
    Room::enter(client, room, json!({ "ack": true })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_online_is_one_truth_on_all_servers() {
    let (redis, world, other) = pair("stream").await;
    let both = [&world.server, &other];
    let (ada, bob) = (user("Ada"), user("Bob"));
    let room = world.room(&[&ada, &bob]).await;
    let elsewhere = world.room(&[&ada, &bob]).await;
    let mut at_ada = world.enter(&ada, room).await;
    // In a room that nobody is joined to on Bob's server.
    let there = enter(&other, &bob, elsewhere).await;
    all_say(&both, &ada, &bob, true).await;
    eventually("Ada hears of it, once", async || {
        let heard = heard_of(&mut at_ada, &bob).await;
        (!heard.is_empty()).then(|| assert_eq!(heard, [true]))
    })
    .await;

    // On both servers, then on one.
    let here = world.enter(&bob, room).await;
    drop(there);
    tokio::time::sleep(Duration::from_secs(2)).await;
    all_say(&both, &ada, &bob, true).await;
    assert_eq!(heard_of(&mut at_ada, &bob).await, [] as [bool; 0]);
    drop(here);
    all_say(&both, &ada, &bob, false).await;
    eventually("Ada hears of it, once", async || {
        let heard = heard_of(&mut at_ada, &bob).await;
        (!heard.is_empty()).then(|| assert_eq!(heard, [false]))
    })
    .await;
    let last_seen = status(&world.server, &ada, &bob).await["last_seen"].clone();
    assert!(last_seen.is_string());

    // A server that has just started knows what the others know.
    let url = redis.url();
    let new = Server::start(&world.postgres, &[("ROWCAST_REDIS_URL", url.as_str())]).await;
    assert_eq!(status(&new, &bob, &ada).await["online"], true);
    for server in [&other, &new] {
        assert_eq!(status(server, &ada, &bob).await["last_seen"], last_seen);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_users_of_a_killed_server_go_offline() {
    let (_redis, world, mut other) = pair("stream").await;
    let (ada, bob) = (user("Ada"), user("Bob"));
    let room = world.room(&[&ada, &bob]).await;
    let mut at_ada = world.enter(&ada, room).await;
    let _there = enter(&other, &bob, room).await;
    all_say(&[&world.server], &ada, &bob, true).await;
    let before = Instant::now();
    other.kill9().await;
    let mut heard = Vec::new();
    while heard.last() != Some(&json!(false)) {
        assert!(before.elapsed() < Duration::from_secs(20), "{heard:?}");
        heard.extend(heard_of(&mut at_ada, &bob).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(heard, [true, false]);
    let status = status(&world.server, &ada, &bob).await;
    assert!(status["online"] == false && status["last_seen"].is_string(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_offline_because_redis_is_away_and_what_was_missed_is_told_after() {
    let (mut redis, world, other) = pair_with("slot-per-node", "5000").await;
    let both = [&world.server, &other];
    let (ada, bob, cyd) = (user("Ada"), user("Bob"), user("Cyd"));
    let room = world.room(&[&ada, &bob, &cyd]).await;
    let mut at_ada = world.enter(&ada, room).await;
    let bobs = enter(&other, &bob, room).await;
    let _cyds = enter(&other, &cyd, room).await;
    for of in [&bob, &cyd] {
        all_say(&both, &ada, of, true).await;
    }
    eventually("Ada hears of Bob", async || heard_of(&mut at_ada, &bob).await.pop()).await;
    redis.kill9();
    ready(&world.server, 503).await;
    ready(&other, 503).await;
    drop(bobs);
    all_say(&[&other], &ada, &bob, false).await;
    // Longer than a silent server's users are online.
    tokio::time::sleep(Duration::from_secs(7)).await;
    for of in [&bob, &cyd] {
        assert_eq!(status(&world.server, &ada, of).await["online"], true);
    }
    assert_eq!(heard_of(&mut at_ada, &cyd).await, [] as [bool; 0]);
    redis.resume().await;
    let before = Instant::now();
    all_say(&both, &ada, &bob, false).await;
    assert!(before.elapsed() < Duration::from_secs(8), "{:?}", before.elapsed());
    assert_eq!(
        status(&world.server, &ada, &bob).await["last_seen"],
        status(&other, &ada, &bob).await["last_seen"]
    );
    all_say(&both, &ada, &cyd, true).await;
    eventually("Ada hears that Bob is gone", async || {
        let heard = heard_of(&mut at_ada, &bob).await;
        (!heard.is_empty()).then(|| assert_eq!(heard, [false]))
    })
    .await;
}

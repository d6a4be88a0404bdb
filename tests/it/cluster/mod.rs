//! Several servers that act as one.

mod broker;
mod changes;
mod chat;
mod conformance;
mod kills;
mod partition;
mod presence;
mod races;
mod rows;
mod sentinel;
mod sharded;
mod talk;
mod tls;

use std::time::Duration;

use rowcast::protocol::Vsn;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{
    client::{Client, user_broadcast},
    eventually,
    redis::Redis,
    server::{Server, World},
    tokens::token,
};

const ROOM: &str = "realtime:room";

/// Two servers on one database and one Redis.
struct Pair {
    other: Server,
    world: World,
    redis: Redis,
}

impl Pair {
    async fn start() -> Self {
        Self::start_with(&[], &[]).await
    }

    async fn start_with(one: &[(&str, &str)], two: &[(&str, &str)]) -> Self {
        let redis = Redis::start(&[]).await;
        let url = redis.url();
        let both = [("ROWCAST_REDIS_URL", url.as_str())];
        let world = World::start_with("", &[&both, one].concat()).await;
        let other = Server::start(&world.postgres, &[&both, two].concat()).await;
        let pair = Self { other, world, redis };
        pair.ready(200).await;
        pair
    }

    /// Waits until both servers say so.
    async fn ready(&self, status: u16) {
        for server in [&self.world.server, &self.other] {
            ready(server, status).await;
        }
    }

    async fn here(&self) -> Client {
        self.world.client().await
    }

    async fn there(&self) -> Client {
        Client::connect(&self.other).await
    }
}

/// Waits until a server's readiness is this.
async fn ready(server: &Server, status: u16) {
    eventually("readiness is as expected", async || {
        (server.get("/ready", &[]).await?.status == status).then_some(())
    })
    .await;
}

/// Waits until changes flow on a server.
async fn streams(server: &Server) {
    let mut client = Client::connect(server).await;
    client.join("realtime:streams", json!({ "broadcast": { "replication_ready": true } })).await;
    client.event("realtime:streams", "system").await;
}

fn message(n: u32) -> Value {
    json!({ "type": "broadcast", "event": "e", "payload": { "n": n } })
}

#[tokio::test]
async fn a_broadcast_reaches_the_other_server_in_order_and_once() {
    let pair = Pair::start().await;
    let (mut sender, mut here) = (pair.here().await, pair.here().await);
    let mut there = pair.there().await;
    let mut old = Client::connect_as(&pair.other, Vsn::V1, &token("anon")).await;
    sender.join(ROOM, json!({ "broadcast": { "ack": true } })).await;
    for client in [&mut here, &mut there, &mut old] {
        client.join(ROOM, json!({})).await;
    }
    let mut stranger = pair.there().await;
    stranger.join("realtime:other", json!({})).await;
    for n in 0..300 {
        sender.push(ROOM, "broadcast", message(n)).await;
    }
    sender.send(user_broadcast(ROOM, "e", &json!({ "n": 300 }))).await;
    for client in [&mut here, &mut there, &mut old] {
        for n in 0..=300 {
            assert_eq!(client.event(ROOM, "broadcast").await, message(n));
        }
    }
    there.push(ROOM, "broadcast", message(301)).await;
    assert_eq!(sender.event(ROOM, "broadcast").await, message(301));
    for client in [&mut here, &mut old] {
        assert_eq!(client.event(ROOM, "broadcast").await, message(301));
    }
    for client in [&mut here, &mut there, &mut old, &mut stranger] {
        assert!(client.settled().await.is_empty(), "{:?}", client.backlog);
    }
    sender.expect_joined(ROOM).await;
}

#[tokio::test]
async fn a_join_is_answered_when_the_other_servers_messages_come() {
    let pair = Pair::start().await;
    let (mut sender, mut receiver) = (pair.here().await, pair.there().await);
    // Nobody has asked for these topics before: the answer has to wait for Redis.
    for n in 0..50 {
        let topic = format!("realtime:fresh:{n}");
        sender.join(&topic, json!({})).await;
        receiver.join(&topic, json!({})).await;
        sender.push(&topic, "broadcast", message(n)).await;
        assert_eq!(receiver.event(&topic, "broadcast").await, message(n));
    }
}

#[tokio::test]
async fn rest_and_the_database_reach_both_servers_once() {
    reach_both_servers_once(Pair::start().await).await;
}

#[tokio::test]
async fn with_a_slot_for_each_server_the_same_reaches_both_once() {
    let mode = ("ROWCAST_CHANGES_MODE", "slot-per-node");
    let pair = Pair::start_with(&[mode], &[mode, ("SLOT_NAME_SUFFIX", "other")]).await;
    reach_both_servers_once(pair).await;
}

async fn reach_both_servers_once(pair: Pair) {
    let (mut here, mut there) = (pair.here().await, pair.there().await);
    for client in [&mut here, &mut there] {
        let config = json!({ "broadcast": { "replication_ready": true } });
        client.join(ROOM, config).await;
        client.event(ROOM, "system").await;
    }
    let key = token("anon");
    let body = json!({ "messages": [{ "topic": "room", "event": "e", "payload": { "n": 1 } }] });
    let headers = [("apikey", key.as_str()), ("Content-Type", "application/json")];
    let answer =
        pair.other.call("POST", "/api/broadcast", &headers, body.to_string().as_bytes()).await;
    assert_eq!(answer.unwrap().status, 202);
    for client in [&mut here, &mut there] {
        assert_eq!(client.event(ROOM, "broadcast").await["payload"], json!({ "n": 1 }));
    }
    pair.world.run(&[r#"select realtime.send('{"n":2}', 'e', 'room', false)"#]).await;
    for client in [&mut here, &mut there] {
        assert_eq!(client.event(ROOM, "broadcast").await["payload"]["n"], 2);
    }
    for client in [&mut here, &mut there] {
        assert!(client.settled().await.is_empty(), "{:?}", client.backlog);
    }
}

#[tokio::test]
async fn users_of_all_servers_count_against_the_limit() {
    let limit = [("TENANT_MAX_CONCURRENT_USERS", "2")];
    let pair = Pair::start_with(&limit, &limit).await;
    let (mut first, mut second) = (pair.here().await, pair.there().await);
    let mut third = pair.here().await;
    first.join(ROOM, json!({})).await;
    second.join(ROOM, json!({})).await;
    eventually("both servers know", async || {
        let bearer = format!("Bearer {}", token("service_role"));
        let headers = [("Authorization", bearer.as_str())];
        let path = "/api/tenants/realtime-dev/health";
        let health = pair.world.server.get(path, &headers).await?.json();
        (health["data"]["connected_cluster"] == 2).then_some(())
    })
    .await;
    let reply = third.ask_join(ROOM, json!({})).await;
    assert!(reply.reason().contains("ConnectionRateLimitReached"), "{reply:?}");
    drop(second);
    eventually("there is room again", async || {
        third.ask_join(ROOM, json!({})).await.is_ok().then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_redis_each_server_goes_on_alone_says_so_and_heals() {
    let mut pair = Pair::start().await;
    let (mut sender, mut here) = (pair.here().await, pair.here().await);
    let mut there = pair.there().await;
    sender.join(ROOM, json!({ "broadcast": { "ack": true } })).await;
    for client in [&mut here, &mut there] {
        client.join(ROOM, json!({})).await;
    }
    let before = Instant::now();
    pair.redis.kill9();
    pair.ready(503).await;
    assert!(before.elapsed() < Duration::from_secs(5), "as docs/operations.md promises");
    sender.join("realtime:new", json!({})).await;
    let reply = sender.ask(ROOM, "broadcast", message(1)).await;
    assert_eq!(reply.reason(), "other servers are out of reach");
    assert_eq!(here.event(ROOM, "broadcast").await, message(1));
    assert_eq!(pair.other.get("/healthcheck", &[]).await.unwrap().status, 200);

    pair.redis.resume().await;
    pair.ready(200).await;
    // The other server's topics are confirmed a moment after it is ready.
    let n = eventually("the other server hears again", async || {
        let reply = sender.ask(ROOM, "broadcast", message(2)).await;
        assert!(reply.is_ok(), "{reply:?}");
        there.settled().await.iter().any(|message| message.event == "broadcast").then_some(2)
    })
    .await;
    assert_eq!(there.event(ROOM, "broadcast").await, message(n), "and not the one before");
}

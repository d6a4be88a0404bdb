//! A Redis Cluster: topics and logs are spread over its masters, and followed
//! when they move.

use std::time::Duration;

use rowcast::cluster::{
    Metrics,
    log::About,
    redis::{Config, Redis as Bus, Tls},
};
use rowcast::topic::Key;
use serde_json::json;
use tokio::time::sleep;

use super::{
    ROOM,
    conformance::{Place, conforms, connect, hasty, key},
    message, ready,
    sentinel::{append, read, talk},
    streams,
};
use crate::support::{
    client::Client,
    eventually,
    redis::Redis,
    server::{Server, World},
};

/// Of a topic and a log that share a slot.
const TAG: &str = "{t/slot}";

#[tokio::test]
async fn the_bus_through_a_cluster_conforms() {
    let servers = Redis::cluster().await;
    let url = Redis::cluster_url(&servers);
    conforms(Place::Redis { url, tls: Tls::default(), servers }).await;
}

/// The place of the server that has the subscriptions of a topic.
async fn owner(servers: &[Redis], name: &str) -> usize {
    let channel = format!("rowcast:0:public:t:realtime:{name}");
    eventually("a server has the topic", async || {
        servers.iter().position(|server| {
            let answer = server.command(&["PUBSUB", "SHARDNUMSUB", &channel]);
            answer.lines().nth(1).is_some_and(|count| count != "0")
        })
    })
    .await
}

#[tokio::test]
async fn a_slot_that_moves_is_followed_and_the_others_lose_nothing() {
    let servers = Redis::cluster().await;
    // Without pings nothing but a refusal can end a connection.
    let calm = || Config { ping: Duration::from_secs(60), ..hasty() };
    let url = Redis::cluster_url(&servers[..1]);
    let (one, two) = (connect(&url, calm()), connect(&url, calm()));
    for node in [&one, &two] {
        node.up(true).await;
    }
    let (moving, staying) = (key(false, "a"), key(false, "b"));
    two.enter(&moving).await;
    two.enter(&staying).await;
    let (from, to) = (owner(&servers, "a").await, owner(&servers, "b").await);
    let bystander = 3 - from - to;
    assert_ne!(from, to, "two topics of different masters");
    let slot = servers[0].command(&["CLUSTER", "KEYSLOT", "rowcast:0:public:t:realtime:a"]);
    let set = |at: usize, state: &str, server: usize| {
        let id = servers[server].id();
        let done = servers[at].command(&["CLUSTER", "SETSLOT", slot.trim(), state, &id]);
        assert!(done.starts_with("OK"), "{done}");
    };
    let links = [&one, &two].map(|node| node.bus.interest().link());
    for n in 0..300 {
        one.say(&moving, n).unwrap();
        one.say(&staying, n).unwrap();
        sleep(Duration::from_millis(2)).await;
        match n {
            100 => {
                set(to, "IMPORTING", from);
                set(from, "MIGRATING", to);
            }
            110 => set(to, "NODE", to),
            120 => set(from, "NODE", to),
            130 => set(bystander, "NODE", to),
            _ => {}
        }
    }
    let of = |topic: &Key| -> Vec<usize> {
        let heard = two.heard().into_iter().filter(|(key, _)| key == topic);
        heard.map(|(_, n)| n).collect()
    };
    eventually("the last ones are heard", async || {
        [&moving, &staying].into_iter().all(|key| of(key).last() == Some(&299)).then_some(())
    })
    .await;
    assert!(of(&staying).into_iter().eq(0..300), "all of it, in order, each once");
    let heard = of(&moving);
    assert!(heard.is_sorted_by(|a, b| a < b) && heard.len() > 200, "{heard:?}");
    assert!(links.iter().all(|link| !link.has_changed().unwrap()), "the bus was up all the time");
    assert_eq!(owner(&servers, "a").await, to);
    // Given up where it is now, and not taken for another move.
    two.bus.interest().leave(&moving);
    eventually("it is given up", async || (two.bus.interest().len() == 1).then_some(())).await;
    one.say(&staying, 300).unwrap();
    eventually("the other is heard", async || (of(&staying).last() == Some(&300)).then_some(()))
        .await;
    assert!(links.iter().all(|link| !link.has_changed().unwrap()));
}

#[tokio::test]
async fn nodes_and_logs_follow_when_a_master_dies() {
    let mut servers = Redis::cluster().await;
    let url = Redis::cluster_url(&servers);
    let (one, two) = (connect(&url, hasty()), connect(&url, hasty()));
    talk(&one, &two, TAG).await;
    let bus = Bus::new(&url, hasty(), Metrics::default()).unwrap();
    let (log, reader) = (bus.log("t/slot"), bus.log("t/slot"));
    let about = About { source: (1, 1), ..About::default() };
    let mut turn = log.take("one", &about, None).await.unwrap();
    append(&log, &mut turn, 1).await.unwrap();
    assert_eq!(read(&reader, &turn).await, [1]);

    let at = owner(&servers, TAG).await;
    let replica = servers[at].replica().await;
    append(&log, &mut turn, 2).await.unwrap();
    eventually("the replica has it", async || {
        let offset = |server: &Redis| {
            let about = server.command(&["INFO", "replication"]);
            about.lines().find_map(|line| line.strip_prefix("master_repl_offset:")?.parse().ok())
        };
        let offset: (Option<u64>, _) = (offset(&servers[at]), offset(&replica));
        (offset.0.is_some() && offset.0 == offset.1).then_some(())
    })
    .await;
    servers[at].kill9();
    for node in [&one, &two] {
        node.up(false).await;
    }
    append(&log, &mut turn, 3).await.unwrap();
    assert_eq!(read(&reader, &turn).await, [1, 2, 3]);
    talk(&one, &two, TAG).await;
    assert!(replica.command(&["ROLE"]).contains("master"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_share_broadcasts_and_rows() {
    let redis = Redis::cluster().await;
    let url = Redis::cluster_url(&redis);
    let env = [("ROWCAST_REDIS_URL", url.as_str())];
    let world = World::start_with("", &env).await;
    let table = ["create table rows (n int primary key)", "grant select on rows to anon"];
    world
        .run(&[&table[..], &["alter publication supabase_realtime add table rows"]].concat())
        .await;
    let other = Server::start(&world.postgres, &env).await;
    for server in [&world.server, &other] {
        ready(server, 200).await;
        streams(server).await;
    }
    let (mut here, mut there) = (world.client().await, Client::connect(&other).await);
    let insert = json!([{ "event": "INSERT", "schema": "public", "table": "rows" }]);
    for client in [&mut here, &mut there] {
        client.join(ROOM, json!({})).await;
        client.subscribe("realtime:rows", insert.clone()).await;
    }
    for n in 0..20 {
        here.push(ROOM, "broadcast", message(n)).await;
        assert_eq!(there.event(ROOM, "broadcast").await, message(n));
    }
    world.run(&["insert into rows values (7)"]).await;
    for client in [&mut here, &mut there] {
        let change = client.event("realtime:rows", "postgres_changes").await;
        assert_eq!(change["data"]["record"]["n"], 7, "{change}");
    }
}

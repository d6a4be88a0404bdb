//! Crashes of the database and of the server: nothing committed is lost.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
};

use rowcast::postgres::{pool, session};
use serde_json::json;

use crate::support::{client::Client, eventually, server::World};

const ROOM: &str = "realtime:room";
const TABLE: &str = "create table t (id int primary key); grant select on t to anon; \
                     alter publication supabase_realtime add table t;";

async fn subscribed(world: &World) -> Client {
    let mut client = world.client().await;
    let binding = json!([{ "event": "INSERT", "schema": "public", "table": "t" }]);
    client.subscribe(ROOM, binding).await;
    client
}

/// Reads until the row `last` arrives. Returns all ids that did, each once.
async fn until(client: &mut Client, last: i64, seen: &mut BTreeSet<i64>) {
    while !seen.contains(&last) {
        seen.insert(client.change(ROOM).await["record"]["id"].as_i64().unwrap());
    }
}

async fn stored(sql: &pool::Client) -> BTreeSet<i64> {
    let rows = sql.query("select id::int8 from t", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_database_killed_under_writes_loses_nothing_and_closes_no_socket() {
    let mut world = World::start(TABLE).await;
    let mut client = subscribed(&world).await;
    let mut seen = BTreeSet::new();
    let config = world.postgres.config();
    let next = AtomicI64::new(0);
    for _ in 0..3 {
        // Writes until the database is killed under it; what failed may have committed or not.
        let killed = AtomicBool::new(false);
        let writer = async {
            let sql =
                session::connect(&config, &session::SessionConfig::new("writer")).await.unwrap();
            loop {
                let id = next.fetch_add(1, Ordering::Relaxed);
                if sql.batch_execute(&format!("insert into t values ({id})")).await.is_err() {
                    break;
                }
            }
            assert!(killed.load(Ordering::Relaxed), "the writer failed too early");
        };
        let start = next.load(Ordering::Relaxed);
        let killer = async {
            // Some rows are delivered before.
            until(&mut client, start + 20, &mut seen).await;
            killed.store(true, Ordering::Relaxed);
            world.postgres.kill9().await;
        };
        tokio::join!(writer, killer);
        world.postgres.resume().await;
    }
    let sql = world.postgres.client().await;
    sql.batch_execute("insert into t values (-1)").await.unwrap();
    until(&mut client, -1, &mut seen).await;
    assert_eq!(seen, stored(&sql).await);
    client.settled().await;
}

#[tokio::test]
async fn a_terminated_walsender_is_not_noticed_by_clients() {
    let world = World::start(TABLE).await;
    let mut client = subscribed(&world).await;
    let mut seen = BTreeSet::new();
    for n in 0..3 {
        let id = n * 2;
        world.run(&[&format!("insert into t values ({id})")]).await;
        eventually("a walsender is ended", async || {
            let end = "select pg_terminate_backend(active_pid) from pg_replication_slots \
                       where active";
            world.sql.query_opt(end, &[]).await.unwrap().filter(|row| row.get(0))
        })
        .await;
        world.run(&[&format!("insert into t values ({})", id + 1)]).await;
        until(&mut client, id + 1, &mut seen).await;
    }
    assert_eq!(seen, (0..6).collect());
    client.settled().await;
}

#[tokio::test]
async fn a_join_while_the_database_is_down_subscribes_when_it_is_back() {
    let mut world = World::start(TABLE).await;
    world.postgres.kill9().await;
    let mut client = world.client().await;
    client
        .join(
            ROOM,
            json!({ "postgres_changes": [{ "event": "*", "schema": "public", "table": "t" }] }),
        )
        .await;
    world.postgres.resume().await;
    client
        .wait("subscribed", |message| {
            message.event == "system" && message.payload["message"] == "Subscribed to PostgreSQL"
        })
        .await;
    let sql = world.postgres.client().await;
    sql.batch_execute("insert into t values (1)").await.unwrap();
    assert_eq!(client.change(ROOM).await["record"]["id"], 1);
}

#[tokio::test]
async fn a_killed_server_takes_its_slot_up_again() {
    let mut world = World::start(TABLE).await;
    let mut client = subscribed(&world).await;
    world.run(&["insert into t values (1)"]).await;
    client.change(ROOM).await;
    let slots = "select slot_name::text from pg_replication_slots";
    let before: String = world.sql.query_one(slots, &[]).await.unwrap().get(0);
    world.server.kill9().await;
    assert_eq!(client.closed().await, None, "nobody said goodbye");
    world.run(&["insert into t values (2)"]).await;
    world.server.resume().await;
    let mut client = subscribed(&world).await;
    world.run(&["insert into t values (3)"]).await;
    let written = "select pg_current_wal_lsn()::text";
    let written: String = world.sql.query_one(written, &[]).await.unwrap().get(0);
    // Row 2 is older than this subscription.
    assert_eq!(client.change(ROOM).await["record"]["id"], 3);
    let after: String = world.sql.query_one(slots, &[]).await.unwrap().get(0);
    assert_eq!(before, after);
    eventually("the slot's log is let go", async || {
        let sql = format!("select confirmed_flush_lsn >= '{written}' from pg_replication_slots");
        world.sql.query_one(&sql, &[]).await.unwrap().get::<_, bool>(0).then_some(())
    })
    .await;
    let log = world.server.log();
    let gaps = log.lines().filter(|line| line.contains("streaming") && line.contains("gap"));
    let starts: Vec<&str> = gaps.collect();
    assert!(starts.last().is_some_and(|line| line.contains("\"gap\":\"None\"")), "{starts:?}");
}

#[tokio::test]
async fn a_stopped_server_confirms_what_it_delivered() {
    let mut world = World::start(TABLE).await;
    let mut client = subscribed(&world).await;
    world.run(&["insert into t values (1)"]).await;
    client.change(ROOM).await;
    world.server.terminate();
    client.closed().await;
    assert_eq!(world.server.wait_exit().await.code(), Some(0));
    let active = "select count(*) from pg_replication_slots where active";
    eventually("the slot is free", async || {
        let active: i64 = world.sql.query_one(active, &[]).await.unwrap().get(0);
        (active == 0).then_some(())
    })
    .await;
    let inserts = "select count(*) from pg_replication_slots, \
        pg_logical_slot_peek_binary_changes(slot_name, null, null, 'proto_version', '1', \
        'publication_names', 'supabase_realtime') where get_byte(data, 0) = ascii('I')";
    let inserts: i64 = world.sql.query_one(inserts, &[]).await.unwrap().get(0);
    assert_eq!(inserts, 0, "the row would come again");
}

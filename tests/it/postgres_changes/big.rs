//! Large transactions: bounded memory, nothing lost, others not starved for long.

use std::{fs, time::Duration};

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::support::{client::Message, server::World};

const ROOM: &str = "realtime:room";
const TABLES: &str =
    "create table big (id int primary key, body text); create table small (id int primary key);
    grant select on big, small to anon; alter publication supabase_realtime add table big, small;
    alter system set logical_decoding_work_mem = '64kB';";

/// The most memory the server has used so far, in kilobytes.
fn peak(world: &World) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", world.server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn transaction_of(rows: u32, limit_kb: u64) {
    let sql: Vec<&str> = TABLES.split_inclusive(';').collect();
    let world = World::start("").await;
    world.run(&sql).await;
    let mut client = world.client().await;
    // A hash, a list, and a filter that only PostgreSQL can judge look at every row.
    let of = |filter: String| json!({"event": "INSERT", "schema": "public", "table": "big", "filter": filter});
    // Rows of a kilobyte: all of them are more than the limit.
    let last = rows - 1;
    client
        .subscribe(
            ROOM,
            json!([
                of(format!("id=eq.{last}")),
                of(format!("id=gt.{}", rows - 2)),
                of(format!("body=match.^\\d+ {last}$")),
                {"event": "INSERT", "schema": "public", "table": "small"}
            ]),
        )
        .await;
    world.run(&["insert into small values (1)"]).await;
    assert_eq!(client.change(ROOM).await["record"]["id"], 1);
    let before = peak(&world);
    world
        .run(&[
            &format!(
                "begin; insert into big select g, repeat('1', 1000) || ' ' || g from generate_series(0, {last}) g; rollback"
            ),
            &format!(
                "insert into big select g, repeat('1', 1000) || ' ' || g from generate_series(0, {last}) g"
            ),
            "insert into small values (2)",
        ])
        .await;
    let started = Instant::now();
    let is_change = |message: &Message| message.event == "postgres_changes";
    // The heartbeats keep the socket open meanwhile.
    while !client.settled().await.iter().any(is_change) {
        assert!(started.elapsed() < Duration::from_secs(600), "the rows never come");
        sleep(Duration::from_millis(200)).await;
    }
    let first = client.wait("the last row", is_change).await;
    assert_eq!(first.payload["data"]["record"]["id"], last);
    assert_eq!(first.payload["ids"].as_array().unwrap().len(), 3);
    assert_eq!(client.change(ROOM).await["record"]["id"], 2);
    let more = peak(&world) - before;
    eprintln!("{rows} rows: {:?} after the commit, {more} kB more memory", started.elapsed());
    assert!(more < limit_kb, "{more} kB more for {rows} rows");
}

#[tokio::test]
async fn a_large_transaction_takes_bounded_memory() {
    transaction_of(100_000, 64 << 10).await;
}

#[tokio::test]
#[ignore = "takes minutes"]
async fn a_transaction_of_a_million_rows_takes_no_more() {
    transaction_of(1_000_000, 256 << 10).await;
}

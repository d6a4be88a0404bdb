//! Changes of one database reach the clients of all servers, whatever happens to
//! the server that reads it: each once and in order, or somebody is told.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::rows::{TOPIC, Trio};
use crate::{stopping::Crowd, support::eventually};

#[tokio::test(flavor = "multi_thread")]
async fn one_server_reads_for_all_and_another_takes_over_when_it_is_killed() {
    let mut trio = Trio::start(&[]).await;
    let slots = "select count(*)::int4 from pg_replication_slots";
    assert_eq!(trio.number(slots).await, 1);
    let mut listeners = trio.listen().await;
    let writer = trio.write();
    writer.more(50).await;
    let (reader, owner) = (trio.reader(), trio.owner().await);
    let killed = Instant::now();
    match reader {
        0 => trio.world.server.kill9().await,
        other => trio.servers[other - 1].kill9().await,
    }
    trio.is_read_by_another(owner).await;
    assert!(killed.elapsed() < Duration::from_secs(5));
    writer.more(50).await;
    let n = writer.stop().await;
    for (at, listener) in listeners.iter_mut().enumerate() {
        if at != reader {
            listener.has_all(n).await;
        }
    }
    assert_eq!(trio.number(slots).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_loses_the_slot_and_repeats_nothing_when_it_wakes() {
    let trio = Trio::start(&[]).await;
    let mut listeners = trio.listen().await;
    let writer = trio.write();
    writer.more(50).await;
    let (reader, owner) = (trio.reader(), trio.owner().await);
    let hung = Instant::now();
    trio.all()[reader].hang(true);
    trio.is_read_by_another(owner).await;
    assert!(hung.elapsed() < Duration::from_secs(15));
    writer.more(50).await;
    trio.all()[reader].hang(false);
    writer.more(50).await;
    let n = writer.stop().await;
    for listener in &mut listeners {
        listener.has_all(n).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_hands_the_database_over() {
    let trio = Trio::start(&[("ROWCAST_DRAIN_WINDOW_MS", "10000")]).await;
    let (reader, owner) = (trio.reader(), trio.owner().await);
    // Many, so that its listener stays until another server reads.
    let _crowd = Crowd::of(trio.all()[reader], 1000).await;
    let mut listeners = trio.listen().await;
    let writer = trio.write();
    writer.more(20).await;
    trio.all()[reader].terminate();
    trio.is_read_by_another(owner).await;
    writer.more(20).await;
    let n = writer.stop().await;
    for listener in &mut listeners {
        listener.has_all(n).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_back_empty_loses_nothing_in_silence() {
    let mut trio = Trio::start(&[]).await;
    let mut listeners = trio.listen().await;
    let writer = trio.write();
    writer.more(50).await;
    trio.redis.kill9();
    writer.more(50).await;
    trio.redis.resume().await;
    writer.more(50).await;
    trio.redis.command(&["FLUSHALL"]);
    writer.more(50).await;
    trio.redis.hang(true);
    writer.more(50).await;
    trio.redis.hang(false);
    writer.more(50).await;
    let n = writer.stop().await;
    for listener in &mut listeners {
        listener.has_all_or_was_told(n).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_crashes_costs_nothing() {
    let mut trio = Trio::start(&[]).await;
    let mut listeners = trio.listen().await;
    trio.world.run(&["insert into rows select generate_series(1, 100)"]).await;
    trio.world.postgres.kill9().await;
    trio.world.postgres.resume().await;
    let client = trio.world.postgres.client().await;
    client.batch_execute("insert into rows select generate_series(101, 200)").await.unwrap();
    for listener in &mut listeners {
        listener.has_all(200).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_was_dropped_is_a_gap_on_every_server() {
    let trio = Trio::start(&[]).await;
    let mut listeners = trio.listen().await;
    let drop = "select pg_terminate_backend(active_pid), pg_drop_replication_slot(slot_name) \
                from pg_replication_slots, lateral (select pg_sleep(0.05)) s";
    eventually("the slot is dropped", async || {
        let client = trio.world.postgres.client().await;
        client.batch_execute(drop).await.ok()
    })
    .await;
    for listener in &mut listeners {
        let system = listener.client.event(TOPIC, "system").await;
        assert_eq!(system["status"], "error", "{system}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_falls_behind_is_waited_for() {
    let trio =
        Trio::start(&[("ROWCAST_CHANGES_LOG_MB", "1"), ("ROWCAST_OUTBOX_BYTES", "100000000")])
            .await;
    let mut listeners = trio.listen().await;
    let wide = "alter table rows add column body text; \
                insert into rows select n, repeat('x', 400) from generate_series(1, 10000) n";
    let slow = (trio.reader() + 1) % 3;
    trio.all()[slow].hang(true);
    trio.world.run(&wide.split("; ").collect::<Vec<_>>()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    trio.all()[slow].hang(false);
    join_all(listeners.iter_mut().map(|listener| listener.has_all(10_000))).await;
}

//! Servers that die, links that break, consumers that are stuck.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

#[tokio::test]
async fn a_killed_server_loses_nothing_and_repeats_nothing() {
    let mut bench = Bench::start(&[], TABLE).await;
    let mut committed = Vec::new();
    let mut next = 0;
    for _ in 0..3 {
        let writer = bench.server.client().await;
        for _ in 0..50 {
            let sql = format!("insert into t values ({next}), ({})", next + 1);
            writer.batch_execute(&sql).await.unwrap();
            committed.extend([next, next + 1]);
            next += 2;
        }
        // Some of these were delivered and confirmed, some were not.
        bench.recorder.wait_changes(committed.len() - 20).await;
        bench.server.kill9().await;
        bench.wait_broken().await;
        assert!(bench.handle.is_live(), "the slot keeps what commits");
        bench.server.resume().await;
        bench.wait_streaming().await;
    }
    bench.client = bench.server.client().await;
    let rows = bench.client.query("select id from t order by id", &[]).await.unwrap();
    let stored: Vec<String> =
        rows.iter().map(|row| format!("insert t {}|null", row.get::<_, i32>(0))).collect();
    assert_eq!(stored.len(), committed.len());
    bench.recorder.wait_changes(stored.len()).await;
    // A change after all that shows that nothing repeated comes behind.
    bench.run("insert into t values (-1)").await;
    let changes = bench.recorder.wait_changes(stored.len() + 1).await;
    assert_eq!(changes[..stored.len()], stored);
    assert_eq!(changes[stored.len()..], ["insert t -1|null"]);
    bench.recorder.assert_ordered();
    let starts = bench.recorder.starts();
    assert!(starts.iter().skip(1).all(|start| start.gap.is_none()), "{starts:?}");
    bench.stop().await;
}

#[tokio::test]
async fn a_terminated_walsender_costs_nothing() {
    let bench = Bench::start(&[], TABLE).await;
    for n in 0..5 {
        bench.run(&format!("insert into t values ({n})")).await;
        bench.run("select pg_terminate_backend(active_pid) from pg_replication_slots").await;
        bench.recorder.wait_starts(n + 2).await;
    }
    let changes = bench.recorder.wait_changes(5).await;
    let expected: Vec<String> = (0..5).map(|n| format!("insert t {n}|null")).collect();
    assert_eq!(changes, expected);
    let starts = bench.recorder.starts();
    assert!(starts.iter().skip(1).all(|start| start.gap.is_none()), "{starts:?}");
    assert_eq!(bench.recorder.seen.lock().unwrap().interruptions, 5);
    bench.stop().await;
}

#[tokio::test]
async fn an_idle_stream_lets_unrelated_log_go() {
    let bench = Bench::start(
        &["wal_sender_timeout=4s"],
        &format!("{TABLE} create table other (body text);"),
    )
    .await;
    bench.run("insert into other select repeat('x', 500) from generate_series(1, 4000)").await;
    eventually("the slot catches up", async || (bench.lag().await < 100_000).then_some(())).await;
    assert_eq!(bench.recorder.starts().len(), 1);
    bench.stop().await;
}

#[tokio::test]
async fn a_blocked_sink_does_not_cost_the_connection() {
    let bench = Bench::start_with(&["wal_sender_timeout=2s"], TABLE, |config| {
        config.queue_bytes = 64 << 10;
    })
    .await;
    bench.recorder.open.send_replace(false);
    bench.run("insert into t select n, repeat('x', 500) from generate_series(1, 20000) n").await;
    // Three times the server's patience: the wait is what is tested.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(bench.recorder.changes().is_empty());
    assert_eq!(bench.recorder.seen.lock().unwrap().interruptions, 0);
    bench.recorder.open.send_replace(true);
    bench.recorder.wait_changes(20_000).await;
    assert_eq!(bench.recorder.starts().len(), 1, "the connection lived on");
    bench.recorder.assert_ordered();
    bench.stop().await;
}

#[tokio::test]
async fn a_stuck_consumer_gives_the_slot_up_rather_than_the_disk() {
    let bench = Bench::start_with(&[], TABLE, |config| {
        config.wal_budget_bytes = Some(1 << 20);
        config.wal_budget_interval = Duration::from_millis(200);
        config.queue_bytes = 64 << 10;
    })
    .await;
    bench.recorder.open.send_replace(false);
    bench.run("insert into t select n, repeat('x', 500) from generate_series(1, 8000) n").await;
    eventually("the slot goes", async || {
        let slots = bench.number("select count(*) from pg_replication_slots").await;
        (slots == 0).then_some(())
    })
    .await;
    assert!(!bench.handle.is_live());
    bench.recorder.open.send_replace(true);
    let start = bench.recorder.wait_starts(2).await;
    assert_eq!(start.gap, Some(Gap::NewSlot));
    bench.wait_streaming().await;
    bench.stop().await;
}

#[tokio::test]
async fn a_second_process_stands_by_and_takes_over() {
    let bench = Bench::start(&[], TABLE).await;
    let (other, drain, standby) = spawn(Config::new(bench.server.config()));
    wait_status(&standby, |status| matches!(status, Status::Standby { .. })).await;
    bench.run("insert into t values (1)").await;
    bench.recorder.wait_changes(1).await;
    assert!(other.changes().is_empty());
    let server = bench.server.client().await;
    let Bench { server: _keep, drain: first, .. } = bench;
    stop(&first).await;
    other.wait_starts(1).await;
    server.batch_execute("insert into t values (2)").await.unwrap();
    assert_eq!(other.wait_changes(1).await, ["insert t 2|null"], "the first confirmed its own");
    stop(&drain).await;
}

#[tokio::test]
async fn a_clean_restart_costs_nothing_and_does_not_hang() {
    let mut bench = Bench::start(&[], TABLE).await;
    bench.run("insert into t values (1)").await;
    // The server waits for us to confirm everything before it stops.
    bench.server.stop().await;
    assert!(bench.wait_broken().await.is_live());
    bench.server.resume().await;
    bench.client = bench.server.client().await;
    bench.run("insert into t values (2)").await;
    let changes = bench.recorder.wait_changes(2).await;
    assert_eq!(changes, ["insert t 1|null", "insert t 2|null"]);
    assert_eq!(bench.recorder.wait_starts(2).await.gap, None);
    bench.stop().await;
}

#[tokio::test]
async fn a_server_stops_although_the_sink_waits_for_it() {
    // A few rows, and more than the queue takes: the server is then not even read from.
    for rows in [3, 20_000] {
        let mut bench = Bench::start_with(&[], TABLE, |config| {
            config.queue_bytes = 64 << 10;
            config.stuck_after = Duration::from_millis(200);
        })
        .await;
        // As a sink that needs SQL, which is refused from the stop to the start.
        bench.recorder.open.send_replace(false);
        let insert = "insert into t select n, repeat('x', 500) from generate_series(1,";
        bench.run(&format!("{insert} {rows}) n")).await;
        eventually("the sink has rows", async || {
            (bench.recorder.open.receiver_count() > 0).then_some(())
        })
        .await;
        bench.server.stop().await;
        bench.server.resume().await;
        bench.client = bench.server.client().await;
        bench.recorder.open.send_replace(true);
        assert_eq!(bench.recorder.wait_starts(2).await.gap, None);
        bench.run("insert into t values (0)").await;
        let changes = bench.recorder.wait_changes(rows + 1).await;
        let last = changes.iter().position(|change| change == "insert t 0|null");
        assert_eq!((changes.len(), last), (rows + 1, Some(rows)), "each once");
        bench.recorder.assert_ordered();
        bench.stop().await;
    }
}

#[tokio::test]
async fn a_frozen_server_process_does_not_stop_a_drain() {
    let bench = Bench::start(&[], TABLE).await;
    let walsender: i32 = bench
        .client
        .query_one("select active_pid from pg_replication_slots", &[])
        .await
        .unwrap()
        .get(0);
    let signal = |name: &str| {
        let pid = walsender.to_string();
        let sent = std::process::Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(sent.success(), "{sent}");
    };
    signal("-STOP");
    let left = bench.drain.finish(Duration::from_secs(10)).await;
    signal("-CONT");
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_sink_that_panics_gets_everything_again() {
    #[derive(Debug)]
    struct Panics(Recorder, AtomicBool);
    impl ChangeSink for Panics {
        async fn started(&self, start: Start) {
            self.0.started(start).await;
        }
        async fn deliver(&self, batch: &Batch) -> Result<(), Undelivered> {
            let is_first = batch.changes.len() == 2 && !self.1.swap(true, Ordering::Relaxed);
            assert!(!is_first, "on purpose");
            self.0.deliver(batch).await
        }
        fn interrupted(&self) {
            self.0.interrupted();
        }
    }
    let server = Postgres::start(&[]).await;
    let client = server.client().await;
    client.batch_execute(TABLE).await.unwrap();
    let (recorder, drain) = (Recorder::new(), Drain::new());
    let sink = Panics(recorder.clone(), AtomicBool::new(false));
    let handle = Worker::spawn(Config::new(server.config()), sink, &drain, &Metrics::default());
    wait_status(&handle, Status::is_live).await;
    client.batch_execute("insert into t values (1)").await.unwrap();
    client.batch_execute("insert into t values (2), (3)").await.unwrap();
    assert_eq!(recorder.wait_starts(2).await.gap, None);
    assert_eq!(recorder.seen.lock().unwrap().interruptions, 1);
    // The first may come twice: it need not have been confirmed before the panic.
    let mut changes = eventually("all are there", async || {
        let changes = recorder.changes();
        changes.last().is_some_and(|last| last == "insert t 3|null").then_some(changes)
    })
    .await;
    changes.dedup();
    assert_eq!(changes, ["insert t 1|null", "insert t 2|null", "insert t 3|null"]);
    stop(&drain).await;
    assert_eq!(handle.status(), Status::Stopped);
}

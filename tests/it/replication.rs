//! The stream against a real PostgreSQL, and against its faults.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rowcast::{
    postgres::pool::Client,
    replication::{
        Config, Handle, Metrics, Publication, Status, Worker,
        change::{Batch, Operation, Tuple, Value},
        position::{Epoch, Position},
        sink::{ChangeSink, Gap, Start},
    },
    runtime::Drain,
};
use tokio::sync::watch;

use crate::support::{eventually, postgres::Postgres};

/// Remembers what a sink is told.
#[derive(Debug, Clone)]
struct Recorder {
    seen: Arc<Mutex<Seen>>,
    /// Delivery waits while this is false.
    open: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Seen {
    starts: Vec<Start>,
    changes: Vec<(Position, String)>,
    batches: Vec<(usize, bool)>,
    interruptions: usize,
}

impl Recorder {
    fn new() -> Self {
        Self { seen: Arc::default(), open: watch::channel(true).0 }
    }

    fn changes(&self) -> Vec<String> {
        self.seen.lock().unwrap().changes.iter().map(|(_, change)| change.clone()).collect()
    }

    fn starts(&self) -> Vec<Start> {
        self.seen.lock().unwrap().starts.clone()
    }

    async fn wait_changes(&self, count: usize) -> Vec<String> {
        eventually(&format!("{count} changes"), async || {
            let changes = self.changes();
            (changes.len() >= count).then_some(changes)
        })
        .await
    }

    async fn wait_starts(&self, count: usize) -> Start {
        eventually(&format!("start {count}"), async || self.starts().get(count - 1).cloned()).await
    }

    /// No position twice, and all in order within each history.
    fn assert_ordered(&self) {
        let mut last: Option<Position> = None;
        for (position, change) in &self.seen.lock().unwrap().changes {
            if let Some(last) = last.filter(|last| last.epoch == position.epoch) {
                let key = |position: Position| (position.commit, position.ordinal);
                assert!(key(last) < key(*position), "{last:?} then {position:?}: {change}");
            }
            last = Some(*position);
        }
    }
}

impl ChangeSink for Recorder {
    async fn started(&self, start: Start) {
        self.seen.lock().unwrap().starts.push(start);
    }

    async fn deliver(&self, batch: &Batch) {
        let _ = self.open.subscribe().wait_for(|open| *open).await;
        let mut seen = self.seen.lock().unwrap();
        seen.batches.push((batch.changes.len(), batch.is_last));
        for (ordinal, change) in (batch.first_ordinal..).zip(&batch.changes) {
            let position = Position { epoch: batch.epoch, commit: batch.commit, ordinal };
            let table = &change.relation.table;
            let text = match &change.operation {
                Operation::Insert { new } => format!("insert {table} {}", show(new)),
                Operation::Update { old, new } => {
                    let old = old.as_ref().map_or("-".to_owned(), |old| show(old.tuple()));
                    format!("update {table} {old} => {}", show(new))
                }
                Operation::Delete { old } => format!("delete {table} {}", show(old.tuple())),
                Operation::Truncate => format!("truncate {table}"),
            };
            seen.changes.push((position, text));
        }
    }

    fn interrupted(&self) {
        self.seen.lock().unwrap().interruptions += 1;
    }
}

fn show(tuple: &Tuple) -> String {
    let cells: Vec<String> = (0..tuple.len())
        .map(|index| match tuple.value(index) {
            Value::Null => "null".to_owned(),
            Value::Unchanged => "unchanged".to_owned(),
            Value::Text(text) if text.len() > 40 => format!("{} bytes", text.len()),
            Value::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
        })
        .collect();
    cells.join("|")
}

/// A server, a client, a stream and what came out of it.
struct Bench {
    server: Postgres,
    client: Client,
    drain: Drain,
    handle: Handle,
    recorder: Recorder,
}

impl Bench {
    async fn start(settings: &[&str], sql: &str) -> Self {
        Self::start_with(settings, sql, |_| {}).await
    }

    async fn start_with(settings: &[&str], sql: &str, change: impl Fn(&mut Config)) -> Self {
        let server = Postgres::start(settings).await;
        let client = server.client().await;
        client.batch_execute(sql).await.unwrap();
        let mut config = Config::new(server.config());
        config.publications.push(Publication::of_the_user("another"));
        change(&mut config);
        let recorder = Recorder::new();
        let drain = Drain::new();
        let handle = Worker::spawn(config, recorder.clone(), &drain, &Metrics::default());
        let bench = Self { server, client, drain, handle, recorder };
        bench.wait_streaming().await;
        bench
    }

    async fn wait_streaming(&self) -> Epoch {
        let mut status = self.handle.watch();
        let streaming = status.wait_for(|status| matches!(status, Status::Streaming { .. }));
        let status = tokio::time::timeout(Duration::from_secs(30), streaming).await;
        status.expect("streams").unwrap().epoch().unwrap()
    }

    async fn wait_broken(&self) {
        let mut status = self.handle.watch();
        let broken = status.wait_for(|status| !matches!(status, Status::Streaming { .. }));
        tokio::time::timeout(Duration::from_secs(30), broken).await.expect("breaks").unwrap();
    }

    async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    async fn number(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }

    async fn lag(&self) -> i64 {
        self.number(
            "select pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::int8 \
             from pg_replication_slots",
        )
        .await
    }

    async fn stop(self) {
        assert_eq!(self.drain.finish(Duration::from_secs(10)).await, 0, "drains");
        assert_eq!(self.handle.status(), Status::Stopped);
    }
}

const TABLE: &str = "create table t (id int primary key, body text); \
                     create publication supabase_realtime for table t;";

#[tokio::test]
async fn each_kind_of_change_arrives_as_it_was_made() {
    let bench = Bench::start(
        &[],
        "create table t (id int primary key, body text, big text); \
         alter table t alter big set storage external; \
         create table f (id int primary key, body text); alter table f replica identity full; \
         create table other (id int); \
         create publication supabase_realtime for table t, f",
    )
    .await;
    let publications =
        bench.number("select count(*) from pg_publication where not puballtables").await;
    assert_eq!(publications, 2, "the second was created, empty");
    bench
        .run(
            "begin; insert into t values (1, 'a', repeat('x', 5000)), (2, null, ''); \
             insert into other values (1); commit; \
             begin; insert into t values (9, 'rolled back', ''); rollback; \
             update t set body = 'b' where id = 1; \
             update t set id = 3 where id = 2; \
             delete from t where id = 3; \
             insert into f values (1, 'old'); update f set body = 'new'; delete from f; \
             truncate t, f; \
             alter table t add more timestamptz, drop body; \
             insert into t values (4, '', '2024-01-02 03:04:05.5+02')",
        )
        .await;
    let changes = bench.recorder.wait_changes(11).await;
    assert_eq!(
        changes,
        [
            "insert t 1|a|5000 bytes",
            "insert t 2|null|",
            "update t - => 1|b|unchanged",
            "update t 2|null|null => 3|null|",
            "delete t 3|null|null",
            "insert f 1|old",
            "update f 1|old => 1|new",
            "delete f 1|new",
            "truncate t",
            "truncate f",
            "insert t 4||2024-01-02 01:04:05.5+00",
        ]
    );
    bench.recorder.assert_ordered();
    bench.stop().await;
}

#[tokio::test]
async fn a_large_transaction_arrives_in_several_batches() {
    let bench = Bench::start(&[], TABLE).await;
    bench.run("insert into t select n, 'x' from generate_series(1, 2500) n").await;
    bench.recorder.wait_changes(2500).await;
    bench.run("insert into t values (0, repeat('x', 3000000)), (-1, '')").await;
    bench.recorder.wait_changes(2502).await;
    let batches = bench.recorder.seen.lock().unwrap().batches.clone();
    assert_eq!(batches, [(1000, false), (1000, false), (500, true), (1, false), (1, true)]);
    bench.recorder.assert_ordered();
    bench.stop().await;
}

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
async fn a_dropped_slot_is_a_gap_and_a_new_history() {
    let bench = Bench::start(&[], TABLE).await;
    bench.run("insert into t values (1)").await;
    bench.recorder.wait_changes(1).await;
    let before = bench.wait_streaming().await;
    // Terminated and dropped in one go, before the stream is back.
    bench
        .run(
            "do $$ begin loop \
               perform pg_terminate_backend(active_pid) from pg_replication_slots where active; \
               begin perform pg_drop_replication_slot('rowcast'); exit; \
               exception when object_in_use then null; end; \
             end loop; end $$",
        )
        .await;
    let start = bench.recorder.wait_starts(2).await;
    assert_eq!(start.gap, Some(Gap::NewSlot));
    assert_ne!(start.epoch, before);
    bench.run("insert into t values (2)").await;
    assert_eq!(bench.recorder.wait_changes(2).await[1], "insert t 2|null");
    bench.stop().await;
}

#[tokio::test]
async fn a_slot_moved_by_others_is_a_gap() {
    let bench = Bench::start(&[], TABLE).await;
    // A sink in the middle of a delivery keeps the stream from coming back.
    bench.recorder.open.send_replace(false);
    bench.run("insert into t values (1)").await;
    bench.run("select pg_terminate_backend(active_pid) from pg_replication_slots").await;
    eventually("the slot is free", async || {
        let active = "select count(*) from pg_replication_slots where active";
        (bench.number(active).await == 0).then_some(())
    })
    .await;
    bench.run("insert into t values (2)").await;
    bench.run("select pg_replication_slot_advance('rowcast', pg_current_wal_lsn())").await;
    bench.recorder.open.send_replace(true);
    let start = bench.recorder.wait_starts(2).await;
    assert_eq!(start.gap, Some(Gap::SlotAhead));
    bench.run("insert into t values (3)").await;
    let changes = bench.recorder.wait_changes(1).await;
    assert!(!changes.contains(&"insert t 2|null".to_owned()), "{changes:?}");
    eventually("the stream goes on", async || {
        bench.recorder.changes().contains(&"insert t 3|null".to_owned()).then_some(())
    })
    .await;
    bench.stop().await;
}

#[tokio::test]
async fn a_publication_made_anew_does_not_wedge_the_stream() {
    let bench = Bench::start(&[], TABLE).await;
    bench.run("insert into t values (1)").await;
    bench.recorder.wait_changes(1).await;
    bench
        .run(
            "drop publication supabase_realtime; insert into t values (2); \
             create publication supabase_realtime for table t",
        )
        .await;
    let start = bench.recorder.wait_starts(2).await;
    assert_eq!(start.gap, Some(Gap::SlotAhead));
    bench.wait_streaming().await;
    bench.run("insert into t values (3)").await;
    let changes = bench.recorder.wait_changes(2).await;
    assert_eq!(changes, ["insert t 1|null", "insert t 3|null"]);
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
    let other = Recorder::new();
    let drain = Drain::new();
    let config = Config::new(bench.server.config());
    let standby = Worker::spawn(config, other.clone(), &drain, &Metrics::default());
    let mut status = standby.watch();
    status.wait_for(|status| matches!(status, Status::Standby { .. })).await.unwrap();
    bench.run("insert into t values (1)").await;
    bench.recorder.wait_changes(1).await;
    assert!(other.changes().is_empty());
    let server = bench.server.client().await;
    let Bench { server: _keep, drain: first, .. } = bench;
    assert_eq!(first.finish(Duration::from_secs(10)).await, 0);
    other.wait_starts(1).await;
    server.batch_execute("insert into t values (2)").await.unwrap();
    assert_eq!(other.wait_changes(1).await, ["insert t 2|null"], "the first confirmed its own");
    assert_eq!(drain.finish(Duration::from_secs(10)).await, 0);
}

#[tokio::test]
async fn passwords_work_and_wrong_ones_say_so() {
    let server = Postgres::start(&[]).await;
    let client = server.client().await;
    for (user, method) in [("scram", "scram-sha-256"), ("md5", "md5")] {
        client
            .batch_execute(&format!(
                "set password_encryption = '{method}'; \
                 create role {user} login replication password 'sécret'; \
                 grant create on database postgres to {user}"
            ))
            .await
            .unwrap();
    }
    client.batch_execute("create role plain login replication password 'sécret'").await.unwrap();
    server
        .authenticate(
            "local all all trust\n\
             host all postgres 127.0.0.1/32 trust\n\
             host all scram 127.0.0.1/32 scram-sha-256\n\
             host all md5 127.0.0.1/32 md5\n\
             host all plain 127.0.0.1/32 password\n",
        )
        .await;
    for user in ["scram", "md5", "plain"] {
        let mut config = Config::new(server.config());
        config.connect.user = user.to_owned();
        config.connect.password = Some("sécret".to_owned());
        config.slot_name = format!("slot_{user}");
        let drain = Drain::new();
        let recorder = Recorder::new();
        let handle = Worker::spawn(config.clone(), recorder.clone(), &drain, &Metrics::default());
        recorder.wait_starts(1).await;
        drop(handle);
        assert_eq!(drain.finish(Duration::from_secs(10)).await, 0);

        config.connect.password = Some("wrong".to_owned());
        let drain = Drain::new();
        let handle = Worker::spawn(config, recorder, &drain, &Metrics::default());
        let mut status = handle.watch();
        let failed = status
            .wait_for(|status| matches!(status, Status::Failed { .. }))
            .await
            .unwrap()
            .clone();
        let Status::Failed { reason, .. } = failed else { panic!() };
        assert!(reason.contains("28P01"), "{reason}");
        drain.finish(Duration::from_secs(10)).await;
    }
}

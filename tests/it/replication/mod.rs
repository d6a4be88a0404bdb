//! The stream against a real PostgreSQL, and against its faults.

mod changes;
mod faults;
mod login;
mod slots;

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
        sink::{ChangeSink, Gap, Start, Undelivered},
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
    /// Deliveries that have begun, ended or not.
    begun: usize,
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

    async fn deliver(&self, batch: &Batch) -> Result<(), Undelivered> {
        self.seen.lock().unwrap().begun += 1;
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
        Ok(())
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
        let (recorder, drain, handle) = spawn(config);
        let bench = Self { server, client, drain, handle, recorder };
        bench.wait_streaming().await;
        bench
    }

    async fn wait_streaming(&self) -> Epoch {
        let is_streaming = |status: &Status| matches!(status, Status::Streaming { .. });
        wait_status(&self.handle, is_streaming).await.epoch().unwrap()
    }

    async fn wait_broken(&self) -> Status {
        wait_status(&self.handle, |status| !matches!(status, Status::Streaming { .. })).await
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
        stop(&self.drain).await;
        assert_eq!(self.handle.status(), Status::Stopped);
    }
}

async fn wait_status(handle: &Handle, is_it: impl Fn(&Status) -> bool) -> Status {
    let mut status = handle.watch();
    let status = tokio::time::timeout(Duration::from_secs(30), status.wait_for(is_it)).await;
    status.expect("the status comes").unwrap().clone()
}

/// A stream without a bench round it.
fn spawn(config: Config) -> (Recorder, Drain, Handle) {
    let (recorder, drain) = (Recorder::new(), Drain::new());
    let handle = Worker::spawn(config, recorder.clone(), &drain, &Metrics::default());
    (recorder, drain, handle)
}

async fn stop(drain: &Drain) {
    assert_eq!(drain.finish(Duration::from_secs(10)).await, 0, "drains");
}

const TABLE: &str = "create table t (id int primary key, body text); \
                     create publication supabase_realtime for table t;";

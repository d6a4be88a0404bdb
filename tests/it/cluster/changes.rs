//! Changes of one database reach the clients of all servers, whatever happens to
//! the server that reads it: each once and in order, or somebody is told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use rowcast::runtime;
use serde_json::json;
use tokio::{task::JoinHandle, time::Instant};

use super::streams;
use crate::support::{
    client::Client,
    eventually,
    redis::Redis,
    server::{Server, World},
};

const TOPIC: &str = "realtime:rows";

/// Three servers on one database and one Redis.
struct Trio {
    servers: Vec<Server>,
    world: World,
    redis: Redis,
}

/// Rows written one after the other until told to stop.
struct Writer {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicI64>,
    task: JoinHandle<()>,
}

/// Collects what a client is told.
struct Listener {
    client: Client,
    rows: Vec<i64>,
    /// Told that something may be missing.
    was_told: bool,
}

impl Trio {
    async fn start(env: &[(&str, &str)]) -> Self {
        let redis = Redis::start(&[]).await;
        let url = redis.url();
        let env = [env, &[("ROWCAST_REDIS_URL", url.as_str())]].concat();
        let table = "create table rows (n bigint primary key); grant select on rows to anon; \
                     alter publication supabase_realtime add table rows";
        let world = World::start_with("", &env).await;
        world.run(&table.split("; ").collect::<Vec<_>>()).await;
        let mut servers = Vec::new();
        for _ in 0..2 {
            servers.push(Server::start(&world.postgres, &env).await);
        }
        let trio = Self { servers, world, redis };
        for server in trio.all() {
            streams(server).await;
        }
        trio
    }

    fn all(&self) -> [&Server; 3] {
        [&self.world.server, &self.servers[0], &self.servers[1]]
    }

    async fn listen(&self) -> [Listener; 3] {
        let [a, b, c] = self.all();
        [Listener::on(a).await, Listener::on(b).await, Listener::on(c).await]
    }

    async fn write(&self) -> Writer {
        let client = self.world.postgres.client().await;
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
        let (signal, count) = (Arc::clone(&stop), Arc::clone(&written));
        let task = runtime::spawn("writer", async move {
            while !signal.load(Ordering::Relaxed) {
                let n = count.load(Ordering::Relaxed) + 1;
                client.execute("insert into rows values ($1)", &[&n]).await.unwrap();
                count.store(n, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        Writer { stop, written, task }
    }

    /// The database's process that serves the slot; zero for none.
    async fn owner(&self) -> i32 {
        let sql = "select coalesce(max(active_pid), 0) from pg_replication_slots";
        self.number(sql).await
    }

    async fn number(&self, sql: &str) -> i32 {
        self.world.postgres.client().await.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Which of the servers says that it reads for all, by its last word about it.
    fn reader(&self) -> usize {
        let last = |server: &Server| {
            let log = server.log();
            let line = log.lines().rev().find(|line| line.contains("reading the database for all"));
            line.map(str::to_owned).unwrap_or_default()
        };
        let said: Vec<String> = self.all().into_iter().map(last).collect();
        (0..said.len()).max_by_key(|&at| said[at].clone()).unwrap()
    }
}

impl Writer {
    /// Waits until so many more rows are there.
    async fn more(&self, rows: i64) {
        let wanted = self.written.load(Ordering::Relaxed) + rows;
        eventually("rows are written", async || {
            (self.written.load(Ordering::Relaxed) >= wanted).then_some(())
        })
        .await;
    }

    /// Stops and says how many there are.
    async fn stop(self) -> i64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        self.written.load(Ordering::Relaxed)
    }
}

impl Listener {
    async fn on(server: &Server) -> Self {
        let mut client = Client::connect(server).await;
        client
            .subscribe(TOPIC, json!([{ "event": "INSERT", "schema": "public", "table": "rows" }]))
            .await;
        Self { client, rows: Vec::new(), was_told: false }
    }

    /// Reads until the row is there.
    async fn until(&mut self, n: i64) {
        while self.rows.last().is_none_or(|last| *last < n) {
            let message =
                self.client.wait("a row or a word", |message| message.topic == TOPIC).await;
            if message.event == "system" {
                self.was_told |= message.payload["status"] == "error";
            } else if message.event == "postgres_changes" {
                self.rows.push(message.payload["data"]["record"]["n"].as_i64().unwrap());
            }
        }
    }

    /// Everything up to `n`, in order, each once.
    async fn has_all(&mut self, n: i64) {
        self.until(n).await;
        assert!(self.rows.iter().copied().eq(1..=n), "{:?}", missing(&self.rows, n));
        assert!(!self.was_told, "a gap was told where there is none");
    }

    /// In order and each once; what is missing was told.
    async fn has_all_or_was_told(&mut self, n: i64) {
        self.until(n).await;
        assert!(self.rows.is_sorted_by(|a, b| a < b), "{:?}", self.rows);
        assert!(
            self.was_told || self.rows.iter().copied().eq(1..=n),
            "{:?}",
            missing(&self.rows, n)
        );
    }
}

/// What is not as it should be, for a failing test.
fn missing(rows: &[i64], n: i64) -> (Vec<i64>, usize) {
    ((1..=n).filter(|row| !rows.contains(row)).take(20).collect(), rows.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_reads_for_all_and_another_takes_over_when_it_is_killed() {
    let mut trio = Trio::start(&[]).await;
    let slots = "select count(*)::int4 from pg_replication_slots";
    assert_eq!(trio.number(slots).await, 1);
    let mut listeners = trio.listen().await;
    let writer = trio.write().await;
    writer.more(50).await;
    let (reader, owner) = (trio.reader(), trio.owner().await);
    let killed = Instant::now();
    match reader {
        0 => trio.world.server.kill9().await,
        other => trio.servers[other - 1].kill9().await,
    }
    eventually("another server has the slot", async || {
        let now = trio.owner().await;
        (now != owner && now != 0).then_some(())
    })
    .await;
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
    let writer = trio.write().await;
    writer.more(50).await;
    let (reader, owner) = (trio.reader(), trio.owner().await);
    let hung = Instant::now();
    trio.all()[reader].hang(true);
    eventually("another server has the slot", async || {
        let now = trio.owner().await;
        (now != owner && now != 0).then_some(())
    })
    .await;
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
    let trio = Trio::start(&[]).await;
    let mut listeners = trio.listen().await;
    let writer = trio.write().await;
    writer.more(20).await;
    let (reader, owner) = (trio.reader(), trio.owner().await);
    trio.all()[reader].terminate();
    eventually("another server has the slot", async || {
        let now = trio.owner().await;
        (now != owner && now != 0).then_some(())
    })
    .await;
    writer.more(20).await;
    let n = writer.stop().await;
    for (at, listener) in listeners.iter_mut().enumerate() {
        if at != reader {
            listener.has_all(n).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_back_empty_loses_nothing_in_silence() {
    let mut trio = Trio::start(&[]).await;
    let mut listeners = trio.listen().await;
    let writer = trio.write().await;
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

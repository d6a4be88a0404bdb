//! Rows that somebody writes, and what the clients of three servers are told of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use rowcast::{
    postgres::{
        connect::ConnectConfig,
        session::{SessionConfig, connect},
    },
    runtime,
};
use serde_json::json;
use tokio::{task::JoinHandle, time::sleep};

use super::streams;
use crate::support::{
    client::{Client, Message},
    eventually,
    postgres::Postgres,
    proxy::Proxy,
    redis::Redis,
    server::{Server, World},
};

pub(super) const TOPIC: &str = "realtime:rows";

const TABLE: &str = "create table rows (n bigint primary key); grant select on rows to anon; \
                     alter publication supabase_realtime add table rows";

/// Three servers on one database and one Redis.
pub(super) struct Trio {
    pub(super) servers: Vec<Server>,
    pub(super) world: World,
    pub(super) redis: Redis,
    /// Each server's own.
    pub(super) ways: Vec<Ways>,
}

/// How one server reaches the others.
pub(super) struct Ways {
    pub(super) redis: Proxy,
    pub(super) database: Proxy,
}

/// Rows written one after the other until told to stop, whatever happens to the database.
pub(super) struct Writer {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicI64>,
    task: JoinHandle<()>,
}

/// Collects what a client is told.
pub(super) struct Listener {
    pub(super) client: Client,
    /// The first row that has to come.
    first: i64,
    rows: Vec<i64>,
    /// Told that something may be missing, after which rows.
    gaps: Vec<Option<i64>>,
}

impl Ways {
    pub(super) async fn start(postgres: &Postgres, redis: &Redis, seed: u64) -> Self {
        let database = format!("127.0.0.1:{}", postgres.config().port);
        Self {
            redis: Proxy::start(&redis.address(), seed).await,
            database: Proxy::start(&database, seed).await,
        }
    }

    /// The settings of a server that goes these ways.
    pub(super) fn env(&self) -> [(&'static str, String); 2] {
        let database = format!("postgres://postgres@{}/postgres", self.database.address());
        let redis = format!("redis://{}", self.redis.address());
        [("ROWCAST_REDIS_URL", redis), ("DATABASE_URL", database)]
    }
}

impl Trio {
    pub(super) async fn start(env: &[(&str, &str)]) -> Self {
        let trio = Self::begin(env, Redis::start(&[]).await).await;
        for server in trio.all() {
            streams(server).await;
        }
        trio
    }

    /// The same, with a Redis that may be anything yet.
    pub(super) async fn begin(env: &[(&str, &str)], redis: Redis) -> Self {
        let postgres = Postgres::start(&[]).await;
        let mut ways = Vec::new();
        for seed in 0..3 {
            ways.push(Ways::start(&postgres, &redis, seed).await);
        }
        let settings = |at: usize| ways[at].env();
        let all = |own: &[(&'static str, String)]| -> Vec<(String, String)> {
            let own = own.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
            let env = env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
            own.chain(env).collect()
        };
        let first = all(&settings(0));
        let world = World::on(postgres, "", &borrowed(&first)).await;
        world.run(&TABLE.split("; ").collect::<Vec<_>>()).await;
        let mut servers = Vec::new();
        for at in 1..3 {
            let env = all(&settings(at));
            servers.push(Server::start(&world.postgres, &borrowed(&env)).await);
        }
        Self { servers, world, redis, ways }
    }

    pub(super) fn all(&self) -> [&Server; 3] {
        [&self.world.server, &self.servers[0], &self.servers[1]]
    }

    pub(super) fn server(&mut self, at: usize) -> &mut Server {
        match at {
            0 => &mut self.world.server,
            at => &mut self.servers[at - 1],
        }
    }

    pub(super) async fn listen(&self) -> [Listener; 3] {
        let [a, b, c] = self.all();
        [Listener::on(a).await, Listener::on(b).await, Listener::on(c).await]
    }

    pub(super) fn write(&self) -> Writer {
        Writer::start(self.world.postgres.config())
    }

    /// The database's process that serves the slot; zero for none.
    pub(super) async fn owner(&self) -> i32 {
        let sql = "select coalesce(max(active_pid), 0) from pg_replication_slots";
        self.number(sql).await
    }

    pub(super) async fn number(&self, sql: &str) -> i32 {
        self.world.postgres.client().await.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Waits until another process than this one serves the slot.
    pub(super) async fn is_read_by_another(&self, owner: i32) {
        eventually("another server has the slot", async || {
            let now = self.owner().await;
            (now != owner && now != 0).then_some(())
        })
        .await;
    }

    /// Which of the servers says that it reads for all, by its last word about it.
    pub(super) fn reader(&self) -> usize {
        let last = |server: &Server| {
            let log = server.log();
            let line = log.lines().rev().find(|line| line.contains("reading the database for all"));
            line.map(str::to_owned).unwrap_or_default()
        };
        let said: Vec<String> = self.all().into_iter().map(last).collect();
        (0..said.len()).max_by_key(|&at| said[at].clone()).unwrap()
    }
}

fn borrowed(env: &[(String, String)]) -> Vec<(&str, &str)> {
    env.iter().map(|(name, value)| (&**name, &**value)).collect()
}

impl Writer {
    pub(super) fn start(config: ConnectConfig) -> Self {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
        let (signal, count) = (Arc::clone(&stop), Arc::clone(&written));
        let task = runtime::spawn("writer", async move {
            while !signal.load(Ordering::Relaxed) {
                if let Ok(client) = connect(&config, &SessionConfig::new("writer")).await {
                    // A row whose answer was lost is there already.
                    let insert = "insert into rows values ($1) on conflict do nothing";
                    while !signal.load(Ordering::Relaxed) {
                        let n = count.load(Ordering::Relaxed) + 1;
                        if client.execute(insert, &[&n]).await.is_err() {
                            break;
                        }
                        count.store(n, Ordering::Relaxed);
                        sleep(Duration::from_millis(5)).await;
                    }
                }
                sleep(Duration::from_millis(20)).await;
            }
        });
        Self { stop, written, task }
    }

    /// How many rows there are, or one more.
    pub(super) fn written(&self) -> i64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Waits until so many more rows are there.
    pub(super) async fn more(&self, rows: i64) {
        let wanted = self.written() + rows;
        eventually("rows are written", async || (self.written() >= wanted).then_some(())).await;
    }

    /// Stops and says how many there are.
    pub(super) async fn stop(self) -> i64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        self.written.load(Ordering::Relaxed)
    }
}

impl Listener {
    /// Before the first row is written.
    pub(super) async fn on(server: &Server) -> Self {
        let mut client = Client::connect(server).await;
        client
            .subscribe(TOPIC, json!([{ "event": "INSERT", "schema": "public", "table": "rows" }]))
            .await;
        Self { client, first: 1, rows: Vec::new(), gaps: Vec::new() }
    }

    /// In the middle: what is not yet written when it is live has to come.
    pub(super) async fn join(server: &Server, writer: &Writer) -> Self {
        let listener = Self::on(server).await;
        // The one that is being written now may have been, a moment ago.
        Self { first: writer.written() + 2, ..listener }
    }

    fn take(&mut self, message: &Message) {
        match &*message.event {
            "system" if message.payload["status"] == "error" => {
                self.gaps.push(self.rows.last().copied());
            }
            "postgres_changes" => {
                self.rows.push(message.payload["data"]["record"]["n"].as_i64().unwrap());
            }
            _ => {}
        }
    }

    /// Reads until the row is there.
    async fn until(&mut self, n: i64) {
        while self.rows.last().is_none_or(|last| *last < n) {
            let message =
                self.client.wait("a row or a word", |message| message.topic == TOPIC).await;
            self.take(&message);
        }
    }

    /// Everything up to `n`, in order, each once.
    pub(super) async fn has_all(&mut self, n: i64) {
        self.until(n).await;
        self.check(n);
        assert!(self.gaps.is_empty(), "told of gaps after {:?}, and there is none", self.gaps);
    }

    /// In order and each once; what is missing was told.
    pub(super) async fn has_all_or_was_told(&mut self, n: i64) {
        self.until(n).await;
        self.check(n);
    }

    /// The same of one whose server is gone, up to what it had last.
    pub(super) async fn had_all_or_was_told(mut self) -> Vec<i64> {
        while let Ok(message) = self.client.read().await {
            self.client.backlog.push_back(message);
        }
        for message in std::mem::take(&mut self.client.backlog) {
            self.take(&message);
        }
        if let Some(&last) = self.rows.last() {
            self.check(last);
        }
        self.rows
    }

    /// In order and each once, with nothing missing; but what was told last may
    /// come again after a gap was told, and what is missing must have been told.
    fn check(&self, n: i64) {
        let mut last = None;
        for &row in self.rows.iter().take_while(|row| **row <= n) {
            let expected = last.map_or(self.first, |last| last + 1);
            let is_next = if last.is_none() { row <= expected } else { row == expected };
            assert!(is_next || self.gaps.contains(&last), "{row} after {last:?}, silently");
            last = Some(row);
        }
    }
}

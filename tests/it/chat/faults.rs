//! The server and the database are killed in turn, again and again, in the
//! middle of many conversations. In the end everything is compared with the table.
//!
//! `ROWCAST_FAULTS_SEED` repeats the choices of a run, though not its timing.

mod person;
mod view;

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rowcast::{
    config::env::{Env, Strings as _},
    runtime,
};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle, time::Instant};
use uuid::Uuid;

use self::{
    person::{Orders, Person},
    view::Row,
};
use crate::{
    rooms::{User, World, user},
    support::{dice::Dice, eventually, server::Server},
};

/// Who talks and listens.
const WRITERS: usize = 5;

/// Who only listens.
const READERS: usize = 3;

const ROOMS: usize = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_processes_cost_no_message() {
    run(6, 400).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: cargo nextest run --run-ignored only a_hundred_killed_processes"]
async fn a_hundred_killed_processes_cost_no_message() {
    run(100, 10_000).await;
}

/// What happened, counted by everybody.
#[derive(Debug, Default)]
pub struct Tally {
    /// Times that the server was killed; counted before it is.
    servers: AtomicU64,
    /// Times that the database was killed.
    databases: AtomicU64,
    /// Acknowledged messages.
    messages: AtomicU64,
    /// Acknowledged edits and deletions.
    changes: AtomicU64,
    /// Acknowledgements that said it was done before.
    duplicates: AtomicU64,
    /// Answers that the database is away.
    unavailable: AtomicU64,
    /// Refused joins.
    refused: AtomicU64,
    /// Sockets that ended.
    losses: AtomicU64,
    /// Messages that resuming brought and were not known.
    missed: AtomicU64,
    /// Pushes of what was known already.
    repeated: AtomicU64,
    /// Requests of the server to resume, which nobody here follows.
    resyncs: AtomicU64,
    /// Writers who have nothing left to say.
    idle: AtomicU64,
}

impl Tally {
    /// Waits until a count is that high.
    async fn reach(&self, what: &str, count: &AtomicU64, least: u64) {
        eventually(what, async || (count.load(Ordering::SeqCst) >= least).then_some(())).await;
    }
}

async fn run(kills: usize, messages: usize) {
    let seed = Env.value("ROWCAST_FAULTS_SEED").and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(1));
    eprintln!("faults: seed {seed}, {kills} kills, at least {messages} messages");
    let begun = Instant::now();
    let mut dice = Dice(seed);
    let mut world = World::start().await;
    let party = Party::begin(&world, &[&world.server], &mut dice).await;
    let tally = Arc::clone(&party.tally);
    for kill in 0..kills {
        // Something is said between two kills: it works again after each.
        party.more(1 + dice.roll(2 * messages / kills) as u64).await;
        match kill % 2 {
            0 => kill_server(&mut world, &tally).await,
            _ => kill_database(&mut world, &tally, dice.roll(2) == 0, kill % 8 == 3).await,
        }
    }
    while tally.messages.load(Ordering::SeqCst) < messages as u64 {
        party.more(1).await;
    }
    party.end(&mut world).await;
    eprintln!("faults: seed {seed}, {:?}, {tally:?}", begun.elapsed());
}

/// Many who talk to each other.
pub struct Party {
    pub tally: Arc<Tally>,
    rooms: Vec<Uuid>,
    orders: watch::Sender<Orders>,
    talks: Vec<JoinHandle<HashMap<Uuid, Row>>>,
}

impl Party {
    /// At servers of which any will do.
    pub async fn begin(world: &World, servers: &[&Server], dice: &mut Dice) -> Self {
        let people: Vec<User> = (0..WRITERS + READERS).map(|n| user(&format!("P{n}"))).collect();
        let mut rooms = Vec::new();
        for _ in 0..ROOMS {
            rooms.push(world.room(&people.iter().collect::<Vec<_>>()).await);
        }
        let (orders, watched) = watch::channel(Orders::Talk);
        let tally = Arc::new(Tally::default());
        let talks = people.into_iter().enumerate().map(|(number, user)| {
            let dice = Dice(dice.roll(usize::MAX) as u64);
            let addresses = servers.iter().map(|server| server.address().to_owned()).collect();
            let person =
                Person::new(user, number < WRITERS, addresses, &rooms, &tally, &watched, dice);
            runtime::spawn("person", person.run())
        });
        let talks = talks.collect();
        Self { tally, rooms, orders, talks }
    }

    /// Waits until so many more messages are acknowledged.
    pub async fn more(&self, messages: u64) {
        let least = self.tally.messages.load(Ordering::SeqCst) + messages;
        self.tally.reach("messages are acknowledged", &self.tally.messages, least).await;
    }

    /// Lets all finish, and compares what each has with the table.
    pub async fn end(self, world: &mut World) {
        let Self { tally, rooms, orders, talks } = self;
        orders.send_replace(Orders::Finish);
        tally.reach("everything is acknowledged", &tally.idle, WRITERS as u64).await;
        let table = Arc::new(stored(world, &rooms).await);
        orders.send_replace(Orders::Compare(Arc::clone(&table)));
        let mut acknowledged = HashMap::new();
        for talk in talks {
            // It ends when it has just what the table has.
            acknowledged.extend(talk.await.expect("a person is content"));
        }
        let rows: HashMap<Uuid, &Row> =
            table.values().flat_map(BTreeMap::values).map(|row| (row.id, row)).collect();
        for (id, row) in &acknowledged {
            assert_eq!(rows.get(id), Some(&row), "an acknowledged message is not as it was");
        }
        assert_eq!(rows.len(), acknowledged.len(), "some were stored and nobody was told");
        let sum = tally.messages.load(Ordering::SeqCst);
        assert_eq!(rows.len() as u64, sum);
    }
}

async fn kill_server(world: &mut World, tally: &Tally) {
    tally.servers.fetch_add(1, Ordering::SeqCst);
    world.server.kill9().await;
    world.server.resume().await;
}

/// Kills PostgreSQL: its main process, after which the others go in order, or
/// all of them in the middle of what they do. With `both` the server is killed
/// too and starts without a database.
async fn kill_database(world: &mut World, tally: &Tally, all: bool, both: bool) {
    tally.databases.fetch_add(1, Ordering::SeqCst);
    let before = tally.unavailable.load(Ordering::SeqCst);
    match all {
        true => world.postgres.kill9_all().await,
        false => world.postgres.kill9().await,
    }
    tally.reach("somebody is told", &tally.unavailable, before + 1).await;
    if both {
        let before = tally.refused.load(Ordering::SeqCst);
        kill_server(world, tally).await;
        tally.reach("somebody may not join", &tally.refused, before + 1).await;
    }
    world.postgres.resume().await;
}

/// What the table has of each room, checked to be what it should.
async fn stored(world: &mut World, rooms: &[Uuid]) -> HashMap<Uuid, BTreeMap<i64, Row>> {
    world.sql = world.postgres.client().await;
    let mut table = HashMap::new();
    for room in rooms {
        let query =
            format!("select jsonb_agg(m order by seq) from messages m where room_id = '{room}'");
        let found = world.value(&query).await;
        let rows: Vec<Row> = found.as_array().unwrap().iter().map(Row::of).collect();
        let numbers: Vec<i64> = rows.iter().map(|row| row.seq).collect();
        let count = i64::try_from(rows.len()).unwrap();
        assert_eq!(numbers, (1..=count).collect::<Vec<_>>(), "seq has a hole");
        let head = world
            .value(&format!(
                "select jsonb_build_array(last_seq, last_rev) from rooms where id = '{room}'"
            ))
            .await;
        let changes: i64 = rows.iter().map(|row| row.version).sum();
        assert_eq!(head, json!([count, changes]), "the room counts its messages and changes");
        table.insert(*room, rows.into_iter().map(|row| (row.seq, row)).collect());
    }
    let all: Value = world.value("select count(*) from messages").await;
    assert_eq!(all, table.values().map(BTreeMap::len).sum::<usize>());
    table
}

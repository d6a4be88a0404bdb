//! What every bus does, run against each of them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use rowcast::{
    cluster::{
        Bus, Envelope, Handler, Metrics, Refused,
        envelope::Kind,
        interest::Times,
        memory::Exchange,
        redis::{self, Redis, Tls},
    },
    runtime::Drain,
    telemetry::Registry,
    topic::{Key, Topic},
};

use crate::support::{self, eventually};

/// Short, so that a test sees a topic given up.
const TIMES: Times =
    Times { cooldown: Duration::from_millis(200), patience: Duration::from_secs(5) };

/// Where nodes of one kind meet.
pub(super) enum Place {
    Memory(Exchange),
    Redis {
        url: String,
        tls: Tls,
        /// Those that keep it up.
        servers: Vec<support::redis::Redis>,
    },
}

pub(super) struct Node {
    pub(super) bus: Arc<dyn Bus>,
    pub(super) heard: Heard,
    pub(super) drain: Drain,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Heard(Arc<Mutex<Vec<Envelope>>>);

impl Heard {
    pub(super) fn forget(&self) {
        self.0.lock().unwrap().clear();
    }
}

impl Handler for Heard {
    fn receive(&self, envelope: Envelope) {
        self.0.lock().unwrap().push(envelope);
    }
}

impl Place {
    pub(super) fn redis(server: support::redis::Redis) -> Self {
        Self::Redis { url: server.url(), tls: Tls::default(), servers: vec![server] }
    }

    pub(super) async fn node(&self) -> Node {
        self.node_with(TIMES).await
    }

    pub(super) async fn node_with(&self, times: Times) -> Node {
        let node = match self {
            Self::Memory(exchange) => {
                let (heard, drain) = (Heard::default(), Drain::new());
                let bus = exchange.node(times, Metrics::default());
                bus.start(Arc::new(heard.clone()), &drain);
                Node { bus, heard, drain }
            }
            Self::Redis { url, tls, .. } => {
                connect(url, redis::Config { tls: tls.clone(), times, ..hasty() })
            }
        };
        node.up(true).await;
        node
    }

    async fn set_reachable(&mut self, reachable: bool) {
        match self {
            Self::Memory(exchange) => exchange.set_reachable(reachable),
            Self::Redis { servers, .. } => {
                for server in servers {
                    if reachable {
                        server.resume().await;
                    } else {
                        server.kill9();
                    }
                }
            }
        }
    }
}

/// What notices soon that a server is away.
pub(super) fn hasty() -> redis::Config {
    redis::Config {
        times: TIMES,
        timeout: Duration::from_millis(500),
        ping: Duration::from_millis(100),
        ..redis::Config::default()
    }
}

/// A node that may not be up yet.
pub(super) fn connect(url: &str, config: redis::Config) -> Node {
    let bus = Redis::new(url, config, Metrics::default()).unwrap();
    let (heard, drain) = (Heard::default(), Drain::new());
    bus.start(Arc::new(heard.clone()), &drain);
    Node { bus, heard, drain }
}

impl Node {
    pub(super) async fn up(&self, up: bool) {
        let mut link = self.bus.interest().link();
        let waited = link.wait_for(|is_up| *is_up == up);
        tokio::time::timeout(support::PATIENCE, waited).await.unwrap().unwrap();
    }

    /// As a first member does it.
    pub(super) async fn enter(&self, key: &Key) {
        if let Some(reached) = self.bus.interest().reach(key) {
            assert!(reached.wait().await, "not confirmed");
        }
        self.bus.interest().enter(key);
    }

    pub(super) fn say(&self, key: &Key, n: usize) -> Result<(), Refused> {
        self.bus.publish(&Envelope {
            node: self.bus.node(),
            key: key.clone(),
            kind: Kind::UserBytes,
            event: "e".to_owned(),
            meta: String::new(),
            payload: Bytes::from(n.to_string()),
        })
    }

    pub(super) fn heard(&self) -> Vec<(Key, usize)> {
        let heard = self.heard.0.lock().unwrap();
        let number = |envelope: &Envelope| std::str::from_utf8(&envelope.payload).unwrap().parse();
        heard.iter().map(|envelope| (envelope.key.clone(), number(envelope).unwrap())).collect()
    }

    pub(super) async fn hears(&self, what: &[(Key, usize)]) {
        eventually("it is heard", async || (self.heard().len() >= what.len()).then_some(())).await;
        assert_eq!(self.heard(), what);
    }
}

pub(super) fn key(private: bool, name: &str) -> Key {
    Key { tenant: Arc::from("t"), private, topic: Topic::from_sub_topic(name).unwrap() }
}

pub(super) async fn conforms(mut place: Place) {
    let (one, two, three) = (place.node().await, place.node().await, place.node().await);
    let (room, other) = (key(false, "room"), key(true, "room"));

    // What is confirmed is heard, by those who want it and not by who says it.
    one.enter(&room).await;
    two.enter(&room).await;
    three.enter(&other).await;
    for n in 0..1000 {
        one.say(&room, n).unwrap();
    }
    two.hears(&(0..1000).map(|n| (room.clone(), n)).collect::<Vec<_>>()).await;
    two.say(&other, 0).unwrap();
    three.hears(&[(other.clone(), 0)]).await;
    assert!(one.heard().is_empty(), "{:?}", one.heard());

    // Who leaves and comes back misses nothing; who stays away is sent nothing.
    three.bus.interest().leave(&other);
    three.enter(&other).await;
    two.say(&other, 1).unwrap();
    three.hears(&[(other.clone(), 0), (other.clone(), 1)]).await;
    three.bus.interest().leave(&other);
    eventually("it is given up", async || three.bus.interest().is_empty().then_some(())).await;
    three.enter(&other).await;
    two.say(&other, 2).unwrap();
    three.hears(&[(other.clone(), 0), (other.clone(), 1), (other.clone(), 2)]).await;

    // Away: nothing is taken and nobody waits. Back: everything is as before.
    place.set_reachable(false).await;
    for node in [&one, &two, &three] {
        node.up(false).await;
    }
    assert_eq!(one.say(&room, 1000), Err(Refused::Away));
    assert!(two.bus.interest().reach(&key(false, "new")).is_none());
    two.enter(&key(false, "new")).await;
    place.set_reachable(true).await;
    for node in [&one, &two, &three] {
        node.up(true).await;
    }
    two.enter(&room).await;
    two.enter(&key(false, "new")).await;
    one.say(&room, 1001).unwrap();
    one.say(&key(false, "new"), 7).unwrap();
    eventually("it is heard again", async || (two.heard().len() >= 1002).then_some(())).await;
    assert_eq!(two.heard()[1000..], [(room.clone(), 1001), (key(false, "new"), 7)]);

    for node in [one, two, three] {
        assert_eq!(node.drain.finish(support::PATIENCE).await, 0);
        assert_eq!(node.say(&room, 0), Err(Refused::Away));
    }
}

#[tokio::test]
async fn the_bus_in_process_conforms() {
    conforms(Place::Memory(Exchange::default())).await;
}

#[tokio::test]
async fn the_bus_through_redis_conforms() {
    conforms(Place::redis(support::redis::Redis::start(&[]).await)).await;
}

#[tokio::test]
async fn a_server_that_hangs_is_away_and_nobody_waits_for_it() {
    let server = support::redis::Redis::start(&[]).await;
    let place = Place::redis(server);
    let node = place.node().await;
    let Place::Redis { servers, .. } = &place else { unreachable!() };
    let server = &servers[0];
    server.hang(true);
    node.up(false).await;
    assert!(node.bus.interest().reach(&key(false, "room")).is_none(), "nothing to wait for");
    node.bus.interest().enter(&key(false, "room"));
    server.hang(false);
    node.up(true).await;
    node.enter(&key(false, "room")).await;
}

/// A node through a server, and what it has counted as lost.
async fn counted(
    server: &support::redis::Redis,
    config: redis::Config,
) -> (Node, impl Fn() -> u64) {
    let mut registry = Registry::default();
    let node = Redis::new(&server.url(), config, Metrics::register(&mut registry)).unwrap();
    let (heard, drain) = (Heard::default(), Drain::new());
    node.start(Arc::new(heard.clone()), &drain);
    let node = Node { bus: node, heard, drain };
    node.up(true).await;
    let dropped = move || {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        let lines = page.lines().filter(|line| line.starts_with("realtime_cluster_dropped_total"));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    };
    (node, dropped)
}

#[tokio::test]
async fn what_was_on_its_way_when_a_server_went_away_is_counted() {
    let server = support::redis::Redis::start(&[]).await;
    let (node, dropped) = counted(&server, hasty()).await;
    server.hang(true);
    // A ping is overdue first.
    tokio::time::sleep(Duration::from_millis(250)).await;
    node.say(&key(false, "room"), 0).unwrap();
    node.up(false).await;
    assert_eq!(dropped(), 1);
    server.hang(false);
}

#[tokio::test]
async fn what_a_shutdown_leaves_is_counted() {
    let server = support::redis::Redis::start(&[]).await;
    let patient = redis::Config { timeout: support::PATIENCE, ..hasty() };
    let (node, dropped) = counted(&server, patient).await;
    server.hang(true);
    for n in 0..10 {
        node.say(&key(false, "room"), n).unwrap();
        // The first ones are on their way, the others wait.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(node.drain.finish(support::PATIENCE).await, 0);
    assert_eq!(node.say(&key(false, "room"), 10), Err(Refused::Away));
    assert_eq!(dropped(), 11);
    server.hang(false);
}

#[tokio::test]
async fn a_password_is_used_and_a_wrong_one_leaves_the_node_alone() {
    let server = support::redis::Redis::start(&["--requirepass", "secret"]).await;
    let connect = |password: &str| {
        let url = server.url().replace("redis://", &format!("redis://default:{password}@"));
        let node = Redis::new(&url, redis::Config::default(), Metrics::default()).unwrap();
        let drain = Drain::new();
        node.start(Arc::new(Heard::default()), &drain);
        Node { bus: node, heard: Heard::default(), drain }
    };
    connect("secret").up(true).await;
    let stranger = connect("wrong");
    // The second attempt comes when all that follows the first has happened.
    eventually("two logins are refused", async || {
        (server.refused_logins("secret").await >= 2).then_some(())
    })
    .await;
    assert!(!stranger.bus.interest().is_up());
}

#[test]
fn a_url_that_leads_nowhere_is_refused_without_its_password() {
    let config = redis::Config::default();
    let error = Redis::new("redis://u:hunter2@", config, Metrics::default()).unwrap_err();
    assert!(!rowcast::telemetry::reason(&error).contains("hunter2"));
}

//! Several nodes on one exchange, with paused time.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::Duration,
};

use serde_json::Value;
use tokio::time::sleep;

use super::{
    super::nodes::{EXPIRES, SILENCE},
    *,
};
use crate::{
    cluster::{
        Handler, Metrics,
        interest::Times,
        memory::{Exchange, Memory},
    },
    hub::{
        Subscriber,
        outbox::{Item, Outbox},
    },
    protocol::{Vsn, prepared::Frame},
    runtime::Drain,
};

#[derive(Debug)]
struct ToTracker(Arc<Tracker>);

impl Handler for ToTracker {
    fn receive(&self, envelope: Envelope) {
        self.0.receive(&envelope);
    }
}

/// A node, and what its clients on the topic know.
struct Node {
    tracker: Arc<Tracker>,
    hub: Arc<Hub>,
    bus: Arc<Memory>,
    drain: Drain,
    clients: Vec<Client>,
}

struct Client {
    subscriber: Arc<Subscriber>,
    tracks: Option<u64>,
    /// What is tracked, by reference, as it was told.
    knows: BTreeMap<String, Value>,
}

fn key() -> Key {
    let topic = crate::topic::Topic::from_sub_topic("a").unwrap();
    Key { tenant: Arc::from("t"), private: false, topic }
}

impl Node {
    fn start(exchange: &Exchange) -> Self {
        let drain = Drain::new();
        let bus = exchange.node(Times::default(), Metrics::default());
        let hub = Arc::new(Hub::with_bus(Arc::clone(&bus) as _));
        let tracker = Arc::new(Tracker::new(Arc::clone(&hub)));
        bus.start(Arc::new(ToTracker(Arc::clone(&tracker))), &drain);
        tracker.start(&drain);
        Self { tracker, hub, bus, drain, clients: Vec::new() }
    }

    async fn join(&mut self) {
        if let Some(reached) = self.hub.reach(&key()) {
            reached.wait().await;
        }
        let outbox = Arc::new(Outbox::new(10_000_000));
        let subscriber = Subscriber::new(Vsn::V2, outbox, Interest::ALL);
        let knows = self.tracker.enter(&key(), |state| {
            self.hub.join(&key(), &subscriber);
            metas(&serde_json::from_slice(state).unwrap())
        });
        self.clients.push(Client { subscriber, tracks: None, knows });
    }

    fn leave(&mut self, client: usize) {
        let client = self.clients.swap_remove(client);
        self.hub.leave(&key(), &client.subscriber);
        self.tracker.untrack(&key(), client.subscriber.id);
    }

    fn track(&mut self, client: usize, n: u64) {
        let client = &mut self.clients[client];
        let meta = Meta::parse(format!("{{\"n\":{n}}}").as_bytes()).unwrap();
        self.tracker.track(&key(), client.subscriber.id, "k", meta);
        client.tracks = Some(n);
    }

    fn tracked(&self) -> Vec<u64> {
        self.clients.iter().filter_map(|client| client.tracks).collect()
    }
}

impl Client {
    /// Reads what it was told; returns the numbers it knows, and those that left.
    fn read(&mut self) -> (Vec<u64>, usize) {
        let mut items = Vec::new();
        self.subscriber.outbox.drain(&mut items);
        let mut left = 0;
        for item in items {
            let Item::Frame(Frame::Text(text)) = item else { panic!("{item:?}") };
            let frame: Value = serde_json::from_slice(&text).unwrap();
            for reference in metas(&frame[4]["leaves"]).keys() {
                assert!(self.knows.remove(reference).is_some(), "left and was not there");
                left += 1;
            }
            for (reference, meta) in metas(&frame[4]["joins"]) {
                assert!(self.knows.insert(reference, meta).is_none(), "came twice");
            }
        }
        let mut numbers: Vec<u64> =
            self.knows.values().map(|meta| meta["n"].as_u64().unwrap()).collect();
        numbers.sort_unstable();
        (numbers, left)
    }
}

fn metas(side: &Value) -> BTreeMap<String, Value> {
    let keys = side.as_object().unwrap().values();
    let metas = keys.flat_map(|key| key["metas"].as_array().unwrap().clone());
    metas.map(|meta| (meta["phx_ref"].as_str().unwrap().to_owned(), meta)).collect()
}

fn assert_all_know(nodes: &mut [Node], seed: u64) {
    let mut truth: Vec<u64> = nodes.iter().flat_map(Node::tracked).collect();
    truth.sort_unstable();
    assert_eq!(truth.iter().collect::<BTreeSet<_>>().len(), truth.len());
    for client in nodes.iter_mut().flat_map(|node| &mut node.clients) {
        assert_eq!(client.read().0, truth, "seed {seed}");
    }
}

fn assert_none_is_missing(nodes: &mut [Node], seed: u64) {
    let truth: Vec<u64> = nodes.iter().flat_map(Node::tracked).collect();
    for client in nodes.iter_mut().flat_map(|node| &mut node.clients) {
        let known = client.read().0;
        assert!(truth.iter().all(|n| known.contains(n)), "seed {seed}: {known:?} of {truth:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_is_lost_all_nodes_know_the_same_in_the_end() {
    know_the_same(0..150).await;
}

#[tokio::test(start_paused = true)]
#[ignore = "takes a minute: cargo nextest run --run-ignored only thousands_of_histories"]
async fn in_thousands_of_histories_all_nodes_know_the_same_in_the_end() {
    know_the_same(150..3000).await;
}

/// Nodes lose the bus, one or all, for a moment or for so long that others take
/// them for dead, while clients come, track and go.
async fn know_the_same(seeds: Range<u64>) {
    for seed in seeds {
        let mut state = seed;
        let mut below = move |limit: usize| {
            state = u64::wrapping_add(u64::wrapping_mul(state, 6_364_136_223_846_793_005), 1);
            usize::try_from(state >> 33).unwrap() % limit
        };
        let exchange = Exchange::default();
        let mut nodes: Vec<Node> = (0..3).map(|_| Node::start(&exchange)).collect();
        let mut is_up = [true; 3];
        for n in 0..60 {
            let at = below(3);
            let node = &mut nodes[at];
            let client = (!node.clients.is_empty()).then(|| below(node.clients.len()));
            match (below(10), client) {
                (0..=2, _) | (_, None) => node.join().await,
                (3 | 4, Some(client)) => node.leave(client),
                (5..=7, Some(client)) => node.track(client, n),
                (8, _) => {
                    let longest = [300, 3000, 30_000][below(3)];
                    sleep(Duration::from_millis(below(longest) as u64)).await;
                }
                _ if below(3) == 0 => {
                    is_up = [!is_up[at]; 3];
                    exchange.set_reachable(is_up[at]);
                    tokio::task::yield_now().await;
                }
                _ => {
                    is_up[at] = !is_up[at];
                    node.bus.set_reachable(is_up[at]);
                    tokio::task::yield_now().await;
                }
            }
        }
        exchange.set_reachable(true);
        // Who is there is known at once, without a comparison.
        sleep(Duration::from_secs(2)).await;
        assert_none_is_missing(&mut nodes, seed);
        // Who left where nobody is any more, while one could not hear it, expires.
        sleep(EXPIRES + Duration::from_secs(35)).await;
        assert_all_know(&mut nodes, seed);
        for node in nodes {
            node.drain.finish(Duration::from_secs(1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_nodes_channels_leave_and_those_of_one_out_of_reach_do_not() {
    let exchange = Exchange::default();
    let mut nodes: Vec<Node> = (0..2).map(|_| Node::start(&exchange)).collect();
    tokio::task::yield_now().await;
    for (n, node) in (1..).zip(&mut nodes) {
        node.join().await;
        node.track(0, n);
    }
    sleep(Duration::from_secs(1)).await;
    assert_all_know(&mut nodes, 0);

    exchange.set_reachable(false);
    sleep(2 * EXPIRES).await;
    assert_eq!(nodes[0].clients[0].read(), (vec![1, 2], 0), "nobody can be heard");
    exchange.set_reachable(true);
    sleep(2 * EXPIRES).await;
    assert_eq!(nodes[0].clients[0].read(), (vec![1, 2], 0), "confirmed again");

    // Its tasks end, and nobody says that its clients are gone.
    nodes[1].drain.finish(Duration::from_secs(1)).await;
    sleep(SILENCE - Duration::from_secs(6)).await;
    assert_eq!(nodes[0].clients[0].read(), (vec![1, 2], 0), "not yet");
    sleep(Duration::from_secs(8)).await;
    assert_eq!(nodes[0].clients[0].read(), (vec![1], 1));
}

#[tokio::test(start_paused = true)]
async fn a_topic_without_subscribers_here_is_forgotten() {
    let exchange = Exchange::default();
    let mut nodes: Vec<Node> = (0..2).map(|_| Node::start(&exchange)).collect();
    tokio::task::yield_now().await;
    nodes[0].join().await;
    nodes[0].track(0, 7);
    for _ in 0..2 {
        nodes[1].join().await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(nodes[1].clients[0].read().0, [7]);
        nodes[1].leave(0);
        sleep(Duration::from_secs(1)).await;
        let topics = nodes[1].tracker.lock(&key());
        assert!(topics.is_empty());
    }
}

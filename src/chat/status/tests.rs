//! Servers on a bus in memory: one truth of who is online.

use tokio::time::sleep;

use super::*;
use crate::{
    chat::status::table::Told,
    cluster::{
        Envelope, Handler, Metrics,
        interest::Times,
        memory::{Exchange, Memory},
    },
    runtime::Drain,
};

const ADA: Uuid = Uuid::from_u128(1);
const BOB: Uuid = Uuid::from_u128(2);
const MOMENT: Duration = Duration::from_millis(100);

/// A server: its statuses, its bus, and what stops it.
struct Node {
    status: Arc<Status>,
    bus: Arc<Memory>,
    drain: Drain,
}

/// Drops the words that a server is not to hear.
#[derive(Debug)]
struct Deaf {
    status: Arc<Status>,
    to_changes: bool,
}

impl Handler for Deaf {
    fn receive(&self, envelope: Envelope) {
        if !(self.to_changes && envelope.payload.starts_with(br#"{"changes""#)) {
            self.status.receive(envelope);
        }
    }
}

impl Node {
    fn start(exchange: &Exchange) -> Self {
        Self::start_with(exchange, &Config::default(), false)
    }

    fn start_with(exchange: &Exchange, config: &Config, to_changes: bool) -> Self {
        let drain = Drain::new();
        let bus = exchange.node(Times::default(), Metrics::default());
        let status = Arc::new(Status::new(config, Arc::from("t"), Some(Arc::clone(&bus) as _)));
        bus.start(Arc::new(Deaf { status: Arc::clone(&status), to_changes }), &drain);
        status.start(&drain);
        Self { status, bus, drain }
    }

    fn sees(&self, user: Uuid) -> bool {
        self.knows(user).online
    }

    fn knows(&self, user: Uuid) -> Told {
        self.status.lock().status(user)
    }

    /// What its rooms are told now.
    fn told(&self) -> Vec<(Uuid, bool)> {
        let changes = self.status.lock().changes();
        changes.iter().map(|(user, told)| (*user, told.online)).collect()
    }

    fn die(self) {
        self.drain.start();
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_is_online_while_any_server_has_them_and_each_tells_its_own_rooms() {
    let exchange = Exchange::default();
    let (one, two) = (Node::start(&exchange), Node::start(&exchange));
    sleep(MOMENT).await;
    one.status.enter(ADA);
    sleep(MOMENT).await;
    assert!(two.sees(ADA) && !two.sees(BOB));
    assert_eq!((one.told(), two.told()), (vec![(ADA, true)], vec![(ADA, true)]));
    two.status.enter(ADA);
    sleep(MOMENT).await;
    one.status.leave(ADA);
    sleep(TICK * 3).await;
    assert!(one.sees(ADA) && two.sees(ADA));
    two.status.leave(ADA);
    sleep(MOMENT).await;
    assert!(!one.sees(ADA) && !two.sees(ADA));
    assert_eq!(one.told(), [], "they may be about to come to another server");
    sleep(TICK).await;
    assert_eq!((one.told(), two.told()), (vec![(ADA, false)], vec![(ADA, false)]));
    let (here, there) = (one.knows(ADA), two.knows(ADA));
    assert!(here.last_seen.is_some());
    assert_eq!(here, there);
}

#[tokio::test(start_paused = true)]
async fn who_moves_to_another_server_is_not_told_to_have_left() {
    let exchange = Exchange::default();
    let nodes = [Node::start(&exchange), Node::start(&exchange)];
    sleep(MOMENT).await;
    let [one, two] = &nodes;
    one.status.enter(ADA);
    sleep(MOMENT).await;
    assert_eq!((one.told().len(), two.told().len()), (1, 1));
    one.status.leave(ADA);
    sleep(MOMENT).await;
    two.status.enter(ADA);
    sleep(MOMENT).await;
    for _ in 0..5 {
        assert_eq!((one.told(), two.told()), (vec![], vec![]));
        sleep(TICK).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_learns_nothing_that_rooms_are_not_told() {
    let exchange = Exchange::default();
    let node = Node::start(&exchange);
    node.status.enter(ADA);
    assert!(node.status.of(ADA).online, "who comes is told at once");
    node.told();
    node.status.leave(ADA);
    assert!(node.status.of(ADA).online, "they may be right back, and nobody would hear of it");
    node.status.enter(ADA);
    sleep(TICK * 3).await;
    assert_eq!(node.told(), []);
    node.status.leave(ADA);
    sleep(TICK).await;
    assert_eq!(node.told(), [(ADA, false)]);
    assert!(!node.status.of(ADA).online);
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_knows_what_others_know_and_tells_nobody() {
    let exchange = Exchange::default();
    let (one, two) = (Node::start(&exchange), Node::start(&exchange));
    sleep(MOMENT).await;
    let crowd: Vec<Uuid> = (100..40_100).map(Uuid::from_u128).collect();
    crowd.iter().for_each(|user| one.status.enter(*user));
    two.status.enter(BOB);
    one.status.enter(ADA);
    one.status.leave(ADA);
    sleep(TICK).await;
    let three = Node::start(&exchange);
    three.status.whole().await;
    assert!(three.sees(BOB) && crowd.iter().all(|user| three.sees(*user)));
    assert_eq!(three.knows(ADA), one.knows(ADA), "also who left before");
    assert!(three.knows(ADA).last_seen.is_some());
    sleep(TICK * 2).await;
    assert_eq!(three.told(), []);

    // Also of those who are not there any more.
    one.die();
    sleep(Duration::from_secs(17)).await;
    assert!(crowd.iter().all(|user| !three.sees(*user) && !two.sees(*user)) && three.sees(BOB));
    let gone = three.knows(crowd[0]);
    assert!(gone.last_seen.is_some());
    assert_eq!(gone, two.knows(crowd[0]));
    assert_eq!(three.told().len(), BATCH);
}

#[tokio::test(start_paused = true)]
async fn nobody_leaves_while_the_bus_is_away_and_what_was_missed_is_known_after() {
    let exchange = Exchange::default();
    let (one, two) = (Node::start(&exchange), Node::start(&exchange));
    sleep(MOMENT).await;
    one.status.enter(ADA);
    one.status.enter(BOB);
    sleep(TICK).await;
    assert_eq!(two.told().len(), 2);
    exchange.set_reachable(false);
    sleep(Duration::from_secs(120)).await;
    one.status.leave(BOB);
    let cyd = Uuid::from_u128(3);
    one.status.enter(cyd);
    sleep(Duration::from_secs(120)).await;
    assert!(two.sees(ADA) && two.sees(BOB) && !two.sees(cyd));
    assert_eq!(two.told(), []);
    exchange.set_reachable(true);
    sleep(Duration::from_secs(2)).await;
    assert!(two.sees(ADA) && !two.sees(BOB) && two.sees(cyd));
    assert_eq!(two.knows(BOB), one.knows(BOB), "and when they left");
    let mut told = two.told();
    told.sort_unstable();
    assert_eq!(told, [(BOB, false), (cyd, true)]);
    sleep(Duration::from_secs(60)).await;
    assert!(two.sees(ADA));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_cut_off_alone_keeps_its_truth_and_comes_back_with_its_users() {
    let exchange = Exchange::default();
    let (one, two) = (Node::start(&exchange), Node::start(&exchange));
    sleep(MOMENT).await;
    one.status.enter(ADA);
    two.status.enter(BOB);
    sleep(TICK).await;
    one.bus.set_reachable(false);
    sleep(Duration::from_secs(20)).await;
    assert!(one.sees(ADA) && one.sees(BOB) && !two.sees(ADA) && two.sees(BOB));
    one.bus.set_reachable(true);
    sleep(Duration::from_secs(2)).await;
    assert!(one.sees(ADA) && one.sees(BOB) && two.sees(ADA) && two.sees(BOB));
}

#[tokio::test(start_paused = true)]
async fn lost_words_are_found_and_mended() {
    let exchange = Exchange::default();
    let one = Node::start(&exchange);
    let deaf = Node::start_with(&exchange, &Config::default(), true);
    sleep(MOMENT).await;
    one.status.enter(ADA);
    sleep(MOMENT).await;
    assert!(!deaf.sees(ADA));
    sleep(Duration::from_secs(6)).await;
    assert!(deaf.sees(ADA));
    one.status.leave(ADA);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(deaf.knows(ADA), one.knows(ADA));
}

#[tokio::test(start_paused = true)]
async fn more_users_than_are_remembered_cost_no_endless_questions() {
    let exchange = Exchange::default();
    let few = Config { max_statuses: 10, ..Config::default() };
    let (one, two) = (Node::start(&exchange), Node::start_with(&exchange, &few, false));
    sleep(MOMENT).await;
    let crowd: Vec<Uuid> = (100..200).map(Uuid::from_u128).collect();
    crowd.iter().for_each(|user| one.status.enter(*user));
    sleep(Duration::from_secs(30)).await;
    assert_eq!(crowd.iter().filter(|user| two.sees(**user)).count(), 10);
    assert_eq!(two.status.talk().awaited(), None);
    two.status.enter(ADA);
    assert!(!two.sees(ADA));
    crowd.iter().for_each(|user| one.status.leave(*user));
    sleep(Duration::from_secs(10)).await;
    // Those are told, and make room.
    assert_eq!(two.told(), []);
    sleep(Duration::from_secs(10)).await;
    assert!(two.sees(ADA), "there is room");
    assert!(one.sees(ADA));
}

#[tokio::test(start_paused = true)]
async fn without_a_bus_signs_go_on_and_nobody_waits() {
    let drain = Drain::new();
    let status = Arc::new(Status::new(&Config::default(), Arc::from("t"), None));
    status.start(&drain);
    status.whole().await;
    assert_eq!(status.of(ADA), Told { online: false, last_seen: None });
    status.enter(ADA);
    status.enter(ADA);
    status.leave(ADA);
    sleep(TICK).await;
    assert!(status.of(ADA).online);
    status.leave(ADA);
    assert!(!status.of(ADA).online);
}

#[tokio::test(start_paused = true)]
async fn a_server_alone_on_the_bus_or_without_it_answers_soon() {
    let exchange = Exchange::default();
    let alone = Node::start(&exchange);
    let before = tokio::time::Instant::now();
    alone.status.whole().await;
    assert!(before.elapsed() <= TICK * 2);
    assert!(alone.bus.interest().is_up());
    let cut_off = Node::start(&exchange);
    exchange.set_reachable(false);
    let before = tokio::time::Instant::now();
    cut_off.status.whole().await;
    assert_eq!(before.elapsed(), Duration::from_secs(2));
}

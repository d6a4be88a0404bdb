//! Servers that are cut off from Redis, or from the database, and come back.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    presence::Watcher,
    ready,
    rows::{Listener, Trio, Writer},
    talk::{Speaker, meet},
};
use crate::support::{
    client::Client,
    dice::Dice,
    proxy::{End, Faults},
};

/// Within this all servers act as one again: docs/operations.md promises less, for machines with nothing else to do.
const HEALED: Duration = Duration::from_secs(12);

const NAMES: [&str; 3] = ["ann", "bob", "cyd"];

/// Three servers with everything going on: rows, talk and presence.
struct Life {
    trio: Trio,
    listeners: [Listener; 3],
    speakers: Vec<Speaker>,
    watchers: Vec<Watcher>,
    writer: Writer,
}

impl Life {
    async fn start() -> Self {
        let trio = Trio::start(&[("ROWCAST_OUTBOX_BYTES", "100000000")]).await;
        let listeners = trio.listen().await;
        let (mut speakers, mut watchers) = (Vec::new(), Vec::new());
        for (server, name) in trio.all().into_iter().zip(NAMES) {
            speakers.push(Speaker::at(server, name).await);
            let mut watcher = Watcher::join(Client::connect(server).await, name).await;
            watcher.track().await;
            watchers.push(watcher);
        }
        let writer = trio.write();
        let mut life = Self { trio, listeners, speakers, watchers, writer };
        life.is_whole().await;
        life
    }

    /// Waits until all servers act as one.
    async fn is_whole(&mut self) {
        let begun = Instant::now();
        for server in self.trio.all() {
            ready(server, 200).await;
        }
        meet(&mut self.speakers).await;
        for watcher in &mut self.watchers {
            watcher.sees(&NAMES).await;
        }
        assert!(begun.elapsed() < 2 * HEALED, "{:?}", begun.elapsed());
        self.writer.more(20).await;
    }

    /// Everybody is heard at least where they are.
    async fn talk(&mut self) {
        for speaker in &mut self.speakers {
            speaker.say(20).await;
        }
        for speaker in &mut self.speakers {
            speaker.hears().await;
        }
    }

    /// No row is missing anywhere, and nobody was alarmed.
    async fn end(mut self) {
        let n = self.writer.stop().await;
        for listener in &mut self.listeners {
            listener.has_all(n).await;
        }
    }
}

/// Cuts the server that reads the database off from Redis, and heals it.
async fn cut_off(faults: Faults, for_long: bool) {
    let mut life = Life::start().await;
    let (cut, owner) = (life.trio.reader(), life.trio.owner().await);
    life.trio.ways[cut].redis.set(faults);
    let begun = Instant::now();
    ready(life.trio.all()[cut], 503).await;
    assert!(begun.elapsed() < HEALED, "{:?}", begun.elapsed());
    life.talk().await;
    life.trio.is_read_by_another(owner).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    life.writer.more(20).await;
    if for_long {
        let others: Vec<_> = NAMES.into_iter().filter(|name| *name != NAMES[cut]).collect();
        for (at, watcher) in life.watchers.iter_mut().enumerate() {
            if at != cut {
                watcher.sees(&others).await;
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        // Who hears of nobody says of nobody that they left.
        assert_eq!(life.watchers[cut].now().await.len(), NAMES.len());
    }
    life.talk().await;
    life.trio.ways[cut].redis.heal();
    life.is_whole().await;
    life.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_cut_off_from_redis_goes_on_alone_and_comes_back() {
    cut_off(Faults::CUT, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_redis_does_not_hear_goes_on_alone_and_comes_back() {
    cut_off(Faults { holds_requests: true, ..Faults::default() }, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_hear_redis_goes_on_alone_and_comes_back() {
    cut_off(Faults { holds_answers: true, ..Faults::default() }, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_cut_off_from_the_database_loses_the_slot() {
    let mut life = Life::start().await;
    let (cut, owner) = (life.trio.reader(), life.trio.owner().await);
    let begun = Instant::now();
    life.trio.ways[cut].database.set(Faults::CUT);
    life.trio.is_read_by_another(owner).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    life.talk().await;
    life.trio.ways[cut].database.heal();
    life.is_whole().await;
    life.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_falls_apart_and_mends_leaves_nothing_behind() {
    let mut life = Life::start().await;
    let mut dice = Dice(7);
    for _ in 0..2 {
        for way in &life.trio.ways {
            let late = Faults {
                latency: Duration::from_millis(5),
                jitter: Duration::from_millis(40),
                ..Faults::default()
            };
            match dice.roll(5) {
                0 => way.redis.set(Faults::CUT),
                1 => way.redis.set(Faults { holds_requests: true, ..late }),
                2 => way.redis.set(Faults { holds_answers: true, ..late }),
                3 => way.redis.set(late),
                _ => {
                    way.redis.set(Faults { refuses: true, ..late });
                    way.redis.end(End::Reset);
                }
            }
        }
        for _ in 0..4 {
            sleep(Duration::from_secs(1)).await;
            life.talk().await;
        }
        for way in &life.trio.ways {
            way.redis.heal();
        }
        life.is_whole().await;
    }
    life.end().await;
}

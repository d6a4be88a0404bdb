//! Joins and leaves while messages come: what a client was promised it gets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use rowcast::{
    cluster::{
        interest::Times,
        redis::{self, Tls},
    },
    runtime,
    topic::Key,
};
use serde_json::json;
use tokio::time::sleep;

use super::{
    Pair, ROOM,
    conformance::{Place, key},
    message,
};
use crate::support::{
    self,
    dice::Dice,
    eventually,
    proxy::{Faults, Proxy},
};

const HALF: Duration = Duration::from_millis(5);

/// A topic is given up soon, though no join may take so long.
const SHORT: Times =
    Times { cooldown: Duration::from_millis(300), patience: Duration::from_secs(5) };

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_while_a_topic_is_given_up_misses_nothing() {
    let place = Place::redis(support::redis::Redis::start(&[]).await);
    let config = || redis::Config { times: SHORT, ..redis::Config::default() };
    let (one, two) = (Arc::new(place.node_with(config()).await), place.node_with(config()).await);
    let rooms: Vec<Key> = (0..10).map(|room| key(false, &format!("room {room}"))).collect();
    let said = Arc::new(AtomicUsize::new(0));
    let speaks = {
        let (one, said, rooms) = (Arc::clone(&one), Arc::clone(&said), rooms.clone());
        runtime::spawn("speaker", async move {
            loop {
                let n = said.fetch_add(1, Ordering::SeqCst);
                for room in &rooms {
                    one.say(room, n).unwrap();
                }
                sleep(Duration::from_millis(1)).await;
            }
        })
    };
    let guests = rooms.iter().enumerate().map(async |(seed, room)| {
        let mut dice = Dice(seed as u64);
        for _ in 0..8 {
            two.enter(room).await;
            // What is being said now may be on its way already.
            let first = said.load(Ordering::SeqCst);
            let got = eventually("some are heard", async || {
                let got = two.heard.since(room, first);
                (got.len() >= 5).then_some(got)
            })
            .await;
            let all: Vec<usize> = (first..first + got.len()).collect();
            assert_eq!(got, all, "promised from {first}");
            two.bus.interest().leave(room);
            // Before, while and after it is given up.
            sleep(SHORT.cooldown + Duration::from_millis(dice.roll(10) as u64) - HALF).await;
        }
    });
    join_all(guests).await;
    speaks.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_joins_again_and_again_misses_nothing_in_between() {
    let pair = Pair::start().await;
    let (mut sender, mut guest) = (pair.here().await, pair.there().await);
    sender.join(ROOM, json!({ "broadcast": { "ack": true } })).await;
    let mut n = 0;
    for _ in 0..100 {
        guest.join(ROOM, json!({})).await;
        let first = n + 1;
        for _ in 0..5 {
            n += 1;
            sender.push(ROOM, "broadcast", message(n)).await;
        }
        for expected in first..=n {
            assert_eq!(guest.event(ROOM, "broadcast").await, message(expected));
        }
        let reply = guest.ask(ROOM, "phx_leave", json!({})).await;
        assert!(reply.is_ok(), "{reply:?}");
        guest.backlog.clear();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_held_up_on_a_broken_connection_does_not_come_after_what_is_newer() {
    let server = support::redis::Redis::start(&[]).await;
    let way = Proxy::start(&server.address(), 1).await;
    let place = Place::redis(server);
    let far = Place::Redis {
        url: format!("redis://{}", way.address()),
        tls: Tls::default(),
        servers: Vec::new(),
    };
    let (one, two) = (far.node().await, place.node().await);
    let room = key(false, "room");
    two.enter(&room).await;
    let mut n = 0;
    let late = Faults { resend: Duration::from_secs(1), ..Faults::default() };
    for _ in 0..2 {
        way.set(Faults { holds_requests: true, ..late });
        // Taken as long as nobody has noticed.
        while one.say(&room, n).is_ok() {
            n += 1;
            sleep(Duration::from_millis(2)).await;
        }
        way.set(late);
        one.up(true).await;
        // Until long after what was held has come.
        for _ in 0..200 {
            let _ = one.say(&room, n);
            n += 1;
            sleep(Duration::from_millis(10)).await;
        }
    }
    let last = n;
    eventually("it is heard again", async || {
        let _ = one.say(&room, n);
        n += 1;
        (two.heard.since(&room, last).len() > 1).then_some(())
    })
    .await;
    let heard = two.heard.since(&room, 0);
    assert!(heard.is_sorted_by(|a, b| a < b), "{heard:?}");
}

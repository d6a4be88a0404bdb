//! Joins and leaves while messages come: what a client was promised it gets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rowcast::{cluster::interest::Times, runtime};
use serde_json::json;
use tokio::time::sleep;

use super::{
    Pair, ROOM,
    conformance::{Node, Place, key},
    message,
};
use crate::support::{self, dice::Dice, eventually, proxy::Proxy};

const SHORT: Times =
    Times { cooldown: Duration::from_millis(40), patience: Duration::from_secs(5) };

/// What was heard, from the first number on.
fn from(node: &Node, first: usize) -> Vec<usize> {
    node.heard().into_iter().map(|(_, n)| n).filter(|n| *n >= first).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_while_a_topic_is_given_up_misses_nothing() {
    let place = Place::redis(support::redis::Redis::start(&[]).await);
    let (one, two) = (Arc::new(place.node().await), place.node_with(SHORT).await);
    let room = key(false, "room");
    let said = Arc::new(AtomicUsize::new(0));
    let speaks = {
        let (one, said, room) = (Arc::clone(&one), Arc::clone(&said), room.clone());
        runtime::spawn("speaker", async move {
            loop {
                one.say(&room, said.fetch_add(1, Ordering::SeqCst)).unwrap();
                sleep(Duration::from_micros(200)).await;
            }
        })
    };
    let (mut dice, mut heard) = (Dice(1), 0);
    for _ in 0..80 {
        two.enter(&room).await;
        let first = said.load(Ordering::SeqCst);
        let soon = async {
            while from(&two, first).len() < 3 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(support::PATIENCE, soon).await.expect("some are heard");
        let got = from(&two, first);
        let all: Vec<usize> = (first..first + got.len()).collect();
        assert_eq!(got, all, "promised from {first}");
        two.heard.forget();
        heard += got.len();
        two.bus.interest().leave(&room);
        // Before, while and after it is given up.
        sleep(Duration::from_micros(dice.roll(80_000) as u64)).await;
    }
    speaks.abort();
    assert!(heard >= 240);
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
        tls: rowcast::cluster::redis::Tls::default(),
        servers: Vec::new(),
    };
    let (one, two) = (far.node().await, place.node().await);
    let room = key(false, "room");
    two.enter(&room).await;
    let mut n = 0;
    for _ in 0..5 {
        way.set(support::proxy::Faults { holds_requests: true, ..Default::default() });
        // Taken as long as nobody has noticed.
        while one.say(&room, n).is_ok() {
            n += 1;
            sleep(Duration::from_millis(2)).await;
        }
        way.heal();
        one.up(true).await;
        for _ in 0..200 {
            let _ = one.say(&room, n);
            n += 1;
            sleep(Duration::from_millis(1)).await;
        }
    }
    let last = n;
    eventually("it is heard again", async || {
        let _ = one.say(&room, n);
        n += 1;
        (from(&two, last).len() > 1).then_some(())
    })
    .await;
    let heard = from(&two, 0);
    assert!(heard.is_sorted_by(|a, b| a < b), "{heard:?}");
}

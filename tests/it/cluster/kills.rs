//! Servers, Redis and the database are killed in any order while rows are written.
//!
//! `ROWCAST_KILLS` makes the run longer, `ROWCAST_KILLS_SEED` repeats the choices
//! of one, though not its timing.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, RandomState},
};

use rowcast::config::env::{Env, Strings as _};

use super::{
    presence::Watcher,
    ready,
    rows::{Listener, Trio, Writer},
    talk::{Speaker, meet},
};
use crate::support::{client::Client, dice::Dice};

fn number(name: &str) -> Option<u64> {
    Env.value(name).and_then(|text| text.parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_killed_in_any_order_lose_no_row_in_silence() {
    let seed = number("ROWCAST_KILLS_SEED").unwrap_or_else(|| RandomState::new().hash_one(1));
    let kills = number("ROWCAST_KILLS").unwrap_or(10);
    eprintln!("kills: seed {seed}, {kills} of them");
    let mut dice = Dice(seed);
    let mut trio = Trio::start(&[("ROWCAST_OUTBOX_BYTES", "100000000")]).await;
    let writer = trio.write();
    let mut listeners = Vec::new();
    for server in trio.all() {
        listeners.push(Listener::join(server, &writer).await);
    }
    let mut told = BTreeSet::new();
    for kill in 0..kills {
        writer.more(1 + i64::try_from(dice.roll(40)).unwrap()).await;
        let what = dice.roll(6);
        eprintln!("kills: {kill} is of {what}, after row {}", writer.written());
        match what {
            0 => {
                match dice.roll(2) {
                    0 => trio.world.postgres.kill9().await,
                    _ => trio.world.postgres.kill9_all().await,
                }
                trio.world.postgres.resume().await;
            }
            1 => {
                trio.redis.kill9();
                trio.redis.resume().await;
            }
            2 => {
                // The one that reads, and what it has read.
                let reader = trio.reader();
                trio.redis.kill9();
                trio.server(reader).kill9().await;
                trio.redis.resume().await;
                told.extend(again(&mut trio, reader, &mut listeners, &writer).await);
            }
            server => {
                let server = server - 3;
                trio.server(server).kill9().await;
                told.extend(again(&mut trio, server, &mut listeners, &writer).await);
            }
        }
    }
    for server in trio.all() {
        ready(server, 200).await;
    }
    writer.more(50).await;
    let n = writer.stop().await;
    for listener in &mut listeners {
        listener.has_all_or_was_told(n).await;
    }
    assert!(told.iter().all(|row| (1..=n).contains(row)), "a row that nobody wrote: {told:?}");

    // Nothing is left of those that were killed.
    assert_eq!(trio.number("select count(*)::int4 from rows").await, i32::try_from(n).unwrap());
    assert_eq!(trio.number("select count(*)::int4 from pg_replication_slots").await, 1);
    let (mut speakers, mut watchers) = (Vec::new(), Vec::new());
    for (server, name) in trio.all().into_iter().zip(["ann", "bob", "cyd"]) {
        speakers.push(Speaker::at(server, name).await);
        let mut watcher = Watcher::join(Client::connect(server).await, name).await;
        watcher.track().await;
        watchers.push(watcher);
    }
    meet(&mut speakers).await;
    for watcher in &mut watchers {
        watcher.sees(&["ann", "bob", "cyd"]).await;
    }
}

/// Starts a killed server, with a listener in the place of the one it had.
/// What that one was told.
async fn again(
    trio: &mut Trio,
    at: usize,
    listeners: &mut [Listener],
    writer: &Writer,
) -> Vec<i64> {
    trio.server(at).resume().await;
    let listener = Listener::join(trio.all()[at], writer).await;
    std::mem::replace(&mut listeners[at], listener).had_all_or_was_told().await
}

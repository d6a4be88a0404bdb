//! Who is there, on whichever server.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Pair, ROOM};
use crate::support::{client::Client, eventually};

/// A client that follows the presence of the room.
pub(super) struct Watcher {
    client: Client,
    pub(super) keys: BTreeSet<String>,
}

impl Watcher {
    pub(super) async fn join(mut client: Client, key: &str) -> Self {
        client.join(ROOM, json!({ "presence": { "key": key, "enabled": true } })).await;
        let state = client.event(ROOM, "presence_state").await;
        Self { client, keys: keys(&state) }
    }

    pub(super) async fn track(&mut self) {
        let call = json!({ "type": "presence", "event": "track", "payload": { "n": 1 } });
        let reply = self.client.ask(ROOM, "presence", call).await;
        assert!(reply.is_ok(), "{reply:?}");
    }

    /// Who is there by now.
    pub(super) async fn now(&mut self) -> BTreeSet<String> {
        self.client.settled().await;
        for message in std::mem::take(&mut self.client.backlog) {
            if message.event == "presence_diff" {
                for gone in keys(&message.payload["leaves"]) {
                    self.keys.remove(&gone);
                }
                self.keys.extend(keys(&message.payload["joins"]));
            }
        }
        self.keys.clone()
    }

    /// Waits until exactly these are there.
    pub(super) async fn sees(&mut self, expected: &[&str]) {
        let expected: BTreeSet<String> = expected.iter().map(|&key| key.to_owned()).collect();
        eventually("all know who is there", async || (self.now().await == expected).then_some(()))
            .await;
    }
}

fn keys(side: &Value) -> BTreeSet<String> {
    side.as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn everybody_sees_everybody_and_who_leaves_or_dies_is_gone() {
    let mut pair = Pair::start().await;
    let mut ann = Watcher::join(pair.here().await, "ann").await;
    ann.track().await;
    let mut bob = Watcher::join(pair.there().await, "bob").await;
    bob.track().await;
    for watcher in [&mut ann, &mut bob] {
        watcher.sees(&["ann", "bob"]).await;
    }
    let mut cyd = Watcher::join(pair.there().await, "cyd").await;
    assert!(cyd.keys.contains("ann"), "known here by now: {:?}", cyd.keys);
    cyd.track().await;
    ann.sees(&["ann", "bob", "cyd"]).await;
    let before = Instant::now();
    drop(cyd);
    ann.sees(&["ann", "bob"]).await;
    assert!(before.elapsed() < Duration::from_secs(1));

    let before = Instant::now();
    pair.other.kill9().await;
    ann.sees(&["ann"]).await;
    assert!(before.elapsed() < Duration::from_secs(20), "{:?}", before.elapsed());
}

#[tokio::test]
async fn nobody_leaves_because_redis_is_away_and_what_was_missed_is_told_after() {
    let mut pair = Pair::start().await;
    let mut ann = Watcher::join(pair.here().await, "ann").await;
    let mut bob = Watcher::join(pair.there().await, "bob").await;
    let mut cyd = Watcher::join(pair.there().await, "cyd").await;
    for watcher in [&mut ann, &mut bob, &mut cyd] {
        watcher.track().await;
    }
    ann.sees(&["ann", "bob", "cyd"]).await;
    pair.redis.kill9();
    pair.ready(503).await;
    drop(cyd);
    bob.sees(&["ann", "bob"]).await;
    let mut dan = Watcher::join(pair.here().await, "dan").await;
    dan.track().await;
    ann.sees(&["ann", "bob", "cyd", "dan"]).await;
    pair.redis.resume().await;
    let before = Instant::now();
    for watcher in [&mut ann, &mut bob, &mut dan] {
        watcher.sees(&["ann", "bob", "dan"]).await;
    }
    assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
}

#[tokio::test]
async fn a_newcomer_sees_at_once_who_is_there_on_other_servers() {
    let pair = Pair::start().await;
    let mut ann = Watcher::join(pair.here().await, "ann").await;
    ann.track().await;
    let bob = Watcher::join(pair.there().await, "bob").await;
    assert_eq!(bob.keys, BTreeSet::from(["ann".to_owned()]));
    // Also where nobody has been for a moment.
    drop(bob);
    let cyd = Watcher::join(pair.there().await, "cyd").await;
    assert_eq!(cyd.keys, BTreeSet::from(["ann".to_owned()]));
}

//! Numbered broadcasts: what is lost, doubled or out of order shows.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{client::Client, eventually, server::Server};

const TOPIC: &str = "realtime:talk";

/// Somebody at a server who speaks, and somebody who listens.
pub(super) struct Speaker {
    name: String,
    mouth: Client,
    ear: Client,
    /// The last number that was said.
    said: u64,
    /// What was heard of each speaker, in the order in which it came.
    heard: BTreeMap<String, Vec<u64>>,
}

impl Speaker {
    pub(super) async fn at(server: &Server, name: &str) -> Self {
        let (mut mouth, mut ear) = (Client::connect(server).await, Client::connect(server).await);
        for client in [&mut mouth, &mut ear] {
            client.join(TOPIC, json!({})).await;
        }
        Self { name: name.to_owned(), mouth, ear, said: 0, heard: BTreeMap::new() }
    }

    /// Says the next numbers.
    pub(super) async fn say(&mut self, count: u64) {
        self.shout(count, 0).await;
    }

    /// The same, each with so many bytes beside.
    pub(super) async fn shout(&mut self, count: u64, bytes: usize) {
        for _ in 0..count {
            self.said += 1;
            let body = "x".repeat(bytes);
            let payload = json!({ "from": self.name, "n": self.said, "body": body });
            let message = json!({ "type": "broadcast", "event": "e", "payload": payload });
            self.mouth.push(TOPIC, "broadcast", message).await;
        }
        self.mouth.settled().await;
    }

    /// Takes in what has come by now. Checks that nothing came twice or out of
    /// order, and that the own server has passed on everything.
    pub(super) async fn hears(&mut self) {
        self.ear.settled().await;
        for message in std::mem::take(&mut self.ear.backlog) {
            if message.event == "broadcast" {
                let Value::Object(word) = &message.payload["payload"] else {
                    panic!("{message:?}")
                };
                let from = word["from"].as_str().unwrap().to_owned();
                self.heard.entry(from).or_default().push(word["n"].as_u64().unwrap());
            }
        }
        for (from, numbers) in &self.heard {
            assert!(numbers.is_sorted_by(|a, b| a < b), "{from} at {}: {numbers:?}", self.name);
        }
        let own = self.heard.get(&self.name).cloned().unwrap_or_default();
        assert!(own.iter().copied().eq(1..=self.said), "{}: {own:?}", self.name);
    }

    fn last(&self, from: &str) -> u64 {
        self.heard.get(from).and_then(|numbers| numbers.last()).copied().unwrap_or_default()
    }
}

/// Waits until all hear each other; then nothing is lost any more.
pub(super) async fn meet(speakers: &mut [Speaker]) {
    eventually("all hear each other", async || {
        for speaker in &mut *speakers {
            speaker.say(1).await;
        }
        let said: Vec<_> = speakers.iter().map(|one| (one.name.clone(), one.said)).collect();
        let mut all_know = true;
        for speaker in &mut *speakers {
            speaker.hears().await;
            all_know &= said.iter().all(|(name, said)| speaker.last(name) == *said);
        }
        all_know.then_some(())
    })
    .await;
    let before: Vec<_> = speakers.iter().map(|one| (one.name.clone(), one.said)).collect();
    for speaker in &mut *speakers {
        speaker.say(50).await;
    }
    eventually("all is heard", async || {
        let mut all_know = true;
        for speaker in &mut *speakers {
            speaker.hears().await;
            all_know &= before.iter().all(|(name, said)| speaker.last(name) == said + 50);
        }
        all_know.then_some(())
    })
    .await;
    for speaker in &*speakers {
        for (name, said) in &before {
            let newest = speaker.heard[name].iter().rev().take(50).rev().copied();
            assert!(newest.eq(said + 1..=said + 50), "{name} at {}", speaker.name);
        }
    }
}

//! The first to enter a topic on a node waits, for a moment, until the other
//! nodes have said who is present there: so its state is whole.

use std::time::Duration;

use tokio::{sync::watch, time::timeout};

use crate::topic::Key;

use super::{
    tracker::{Topic, Tracker, entry},
    word::Word,
};

/// Who has not answered by then is heard of as joins.
const PATIENCE: Duration = Duration::from_millis(500);

/// How many answers are expected, once that is known, and how many are there.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Gathered {
    expected: Option<usize>,
    heard: usize,
}

impl Tracker {
    /// Whether somebody who is about to enter a topic has others to wait for.
    pub fn must_gather(&self, key: &Key) -> bool {
        let is_known = |topic: &Topic| topic.asked && topic.gathering.is_none();
        self.hub.is_connected()
            && self.hub.bus().is_some()
            && !self.lock(key).get(key).is_some_and(is_known)
    }

    /// Waits until the other nodes have said who is present on a topic, at most
    /// half a second. To be called when their messages come here.
    pub async fn gather(&self, key: &Key) {
        // If this is cancelled the next one to enter finds an answer that is not
        // waited for any more, and no harm done.
        let _ = timeout(PATIENCE, self.answers(key)).await;
        if let Some(topic) = self.lock(key).get_mut(key) {
            topic.gathering = None;
        }
    }

    async fn answers(&self, key: &Key) {
        let (mut gathered, is_first) = {
            let mut topics = self.lock(key);
            let topic = entry(&mut topics, key);
            let is_first = !std::mem::replace(&mut topic.asked, true);
            match (&topic.gathering, is_first) {
                (Some(gathering), _) => (gathering.subscribe(), false),
                (None, false) => return,
                (None, true) => {
                    let gathering = watch::Sender::default();
                    let gathered = gathering.subscribe();
                    topic.gathering = Some(gathering);
                    (gathered, true)
                }
            }
        };
        if is_first {
            let Some(bus) = self.hub.bus() else { return };
            let question = Word::Ask(None).envelope(bus.node(), key);
            let Ok(others) = bus.ask(&question) else { return };
            let Ok(others) = others.await else { return };
            if let Some(topic) = self.lock(key).get_mut(key) {
                topic.gathered(|gathered| gathered.expected = Some(others));
            }
        }
        // An error: somebody else has stopped waiting.
        let _ = gathered
            .wait_for(|gathered| gathered.expected.is_some_and(|others| gathered.heard >= others))
            .await;
    }
}

impl Topic {
    /// A node has said all that it knows.
    pub(super) fn answered(&self) {
        self.gathered(|gathered| gathered.heard += 1);
    }

    fn gathered(&self, change: impl FnOnce(&mut Gathered)) {
        if let Some(gathering) = &self.gathering {
            gathering.send_modify(change);
        }
    }
}

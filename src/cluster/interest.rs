//! The topics whose messages other nodes send here.
//!
//! A topic is wanted from the first attempt to join it until some time after
//! its last member left, so that one who comes right back costs nothing. A bus
//! makes true what is wanted: it takes a [`Batch`] of changes, tells its server,
//! and confirms. Joins wait for that confirmation, but not long: a bus that is
//! away must not keep clients from each other on this node.
//!
//! Invariants: one batch is under way at a time, so a topic is never asked for
//! and given up at once; what changed meanwhile is in the next batch. A topic
//! with members is subscribed to or on its way to be, whenever the bus is up.

mod table;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until, timeout},
};

use crate::topic::Key;

pub use self::table::Batch;
use self::table::Table;

/// Times of an [`Interest`].
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// A topic without members is kept for so long.
    pub cooldown: Duration,
    /// A join waits so long at most.
    pub patience: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { cooldown: Duration::from_secs(30), patience: Duration::from_secs(1) }
    }
}

/// What one node wants to hear.
#[derive(Debug)]
pub struct Interest {
    table: Mutex<Table>,
    changed: Notify,
    up: watch::Sender<bool>,
    times: Times,
}

/// A topic whose messages will come here soon.
#[derive(Debug)]
pub struct Reached {
    confirmed: watch::Receiver<bool>,
    patience: Duration,
}

impl Interest {
    /// Nothing is wanted and the bus is away.
    pub fn new(times: Times) -> Self {
        Self {
            table: Mutex::new(Table::new(times.cooldown)),
            changed: Notify::new(),
            up: watch::Sender::new(false),
            times,
        }
    }

    /// A topic has members from now on.
    pub fn enter(&self, key: &Key) {
        let changed = self.lock().enter(key, Instant::now());
        self.wake(changed);
    }

    /// A topic has no members any more.
    pub fn leave(&self, key: &Key) {
        let changed = self.lock().leave(key, Instant::now());
        self.wake(changed);
    }

    /// Somebody is about to enter a topic. `None` if its messages come here
    /// already, or will not because the bus is away.
    pub fn reach(&self, key: &Key) -> Option<Reached> {
        let confirmed = self.lock().reach(key, Instant::now())?;
        self.wake(true);
        Some(Reached { confirmed, patience: self.times.patience })
    }

    /// Whether the bus is up, to be watched.
    pub fn link(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }

    /// Whether the bus is up.
    pub fn is_up(&self) -> bool {
        *self.up.borrow()
    }

    /// Topics that are wanted.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// For a bus: its server is reached, and knows of no topic of this node yet.
    pub fn came_up(&self) {
        self.lock().came_up();
        self.up.send_replace(true);
        self.changed.notify_one();
    }

    /// For a bus: its server is away and knows of no topic any more.
    pub fn went_down(&self) {
        self.lock().went_down();
        self.up.send_replace(false);
    }

    /// For a bus that is up: what to tell its server next, at most `most` of
    /// each. Waits until there is something. Cancel safe; one caller at a time.
    pub async fn next(&self, most: usize) -> Batch {
        loop {
            let due = {
                let mut table = self.lock();
                let batch = table.next(most, Instant::now());
                if !batch.is_empty() {
                    return batch;
                }
                table.due()
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
        }
    }

    /// For a bus: its server has done what the last batch asked for.
    pub fn confirm(&self, batch: &Batch) {
        let changed = self.lock().confirm(batch);
        self.wake(changed);
    }

    /// For a bus that is up: its server does not know these topics any more.
    pub fn forget(&self, is_forgotten: impl Fn(&Key) -> bool) {
        let changed = self.lock().forget(is_forgotten);
        self.wake(changed);
    }

    fn wake(&self, changed: bool) {
        if changed {
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reached {
    /// Waits until the topic's messages come here, or no longer than a join may.
    /// Whether they do.
    pub async fn wait(mut self) -> bool {
        let confirmed = self.confirmed.wait_for(|is_known| *is_known);
        matches!(timeout(self.patience, confirmed).await, Ok(Ok(_)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::topic::Topic;

    fn key(name: &str) -> Key {
        let topic = Topic::from_sub_topic(name).unwrap();
        Key { tenant: Arc::from("t"), private: false, topic }
    }

    #[tokio::test(start_paused = true)]
    async fn a_join_waits_for_the_confirmation_but_not_long() {
        let interest = Interest::new(Times::default());
        assert!(interest.reach(&key("a")).is_none(), "nothing to wait for while it is away");
        interest.came_up();
        let reached = interest.reach(&key("a")).unwrap();
        let batch = interest.next(10).await;
        assert_eq!(batch.subscribe, [key("a")]);
        interest.confirm(&batch);
        assert!(reached.wait().await);
        assert!(interest.reach(&key("a")).is_none(), "it is there");
        let before = Instant::now();
        assert!(!interest.reach(&key("b")).unwrap().wait().await);
        assert_eq!(before.elapsed(), Times::default().patience);
        let reached = interest.reach(&key("b")).unwrap();
        interest.went_down();
        let before = Instant::now();
        assert!(!reached.wait().await);
        assert_eq!(before.elapsed(), Duration::ZERO, "no use to wait");
    }

    #[tokio::test(start_paused = true)]
    async fn a_topic_is_given_up_some_time_after_its_last_member() {
        let interest = Interest::new(Times::default());
        interest.came_up();
        interest.enter(&key("a"));
        let batch = interest.next(10).await;
        interest.confirm(&batch);
        interest.leave(&key("a"));
        interest.enter(&key("a"));
        interest.leave(&key("a"));
        let before = Instant::now();
        let batch = interest.next(10).await;
        assert_eq!((&*batch.subscribe, &*batch.unsubscribe), (&[][..], &[key("a")][..]));
        assert!(before.elapsed() >= Times::default().cooldown);
        assert!(interest.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_forgotten_is_asked_for_again_and_not_confirmed() {
        let interest = Interest::new(Times::default());
        interest.came_up();
        interest.enter(&key("a"));
        let reached = interest.reach(&key("b")).unwrap();
        let first = interest.next(10).await;
        interest.forget(|forgotten| *forgotten == key("b"));
        interest.confirm(&first);
        let second = interest.next(10).await;
        assert_eq!(second.subscribe, [key("b")]);
        interest.confirm(&second);
        assert!(reached.wait().await);
        interest.forget(|forgotten| *forgotten == key("a"));
        assert_eq!(interest.next(10).await.subscribe, [key("a")]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bus_that_comes_back_is_told_everything_again() {
        let interest = Interest::new(Times::default());
        for name in ["a", "b", "c"] {
            interest.enter(&key(name));
        }
        interest.leave(&key("c"));
        interest.came_up();
        let batch = interest.next(1).await;
        interest.confirm(&batch);
        assert_eq!(batch.subscribe.len(), 1);
        interest.went_down();
        interest.came_up();
        let mut batch = interest.next(10).await;
        batch.subscribe.sort_by(|a, b| a.topic.as_str().cmp(b.topic.as_str()));
        assert_eq!(batch.subscribe, [key("a"), key("b")]);
    }
}

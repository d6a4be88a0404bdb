//! The state behind an interest: which topics are wanted, and which of them the
//! bus's server knows. Pure: it is told the time.

use std::{collections::VecDeque, time::Duration};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use tokio::{sync::watch, time::Instant};

use crate::topic::Key;

/// What a bus is to tell its server.
#[derive(Debug, Default)]
pub struct Batch {
    /// Topics whose messages are to come.
    pub subscribe: Vec<Key>,
    /// Topics whose messages are not to come any more.
    pub unsubscribe: Vec<Key>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.subscribe.is_empty() && self.unsubscribe.is_empty()
    }
}

#[derive(Debug)]
pub(super) struct Table {
    topics: HashMap<Key, Entry, RandomState>,
    /// Topics to look at for the next batch, each once.
    changed: VecDeque<Key>,
    /// When to look whether a topic is still wanted; one for each with `has_timer`.
    timers: VecDeque<(Instant, Key)>,
    is_up: bool,
    cooldown: Duration,
}

#[derive(Debug)]
struct Entry {
    has_members: bool,
    /// The last time that anybody wanted it, where there are no members.
    wanted_at: Instant,
    is_expired: bool,
    state: State,
    is_queued: bool,
    has_timer: bool,
    /// Tells all joins that wait that it is confirmed, or by its end that it
    /// will not be.
    waiting: Option<watch::Sender<bool>>,
}

/// What the server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    Asked,
    Known,
}

impl Table {
    pub(super) fn new(cooldown: Duration) -> Self {
        Self {
            topics: HashMap::default(),
            changed: VecDeque::new(),
            timers: VecDeque::new(),
            is_up: false,
            cooldown,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.topics.len()
    }

    /// True if there is something for the next batch.
    pub(super) fn enter(&mut self, key: &Key, now: Instant) -> bool {
        let entry = entry(&mut self.topics, key, now);
        (entry.has_members, entry.is_expired) = (true, false);
        self.is_up && entry.state == State::Unknown && queue(&mut self.changed, key, entry)
    }

    /// True if the next batch may be due earlier.
    pub(super) fn leave(&mut self, key: &Key, now: Instant) -> bool {
        let Some(entry) = self.topics.get_mut(key) else { return false };
        if !self.is_up {
            self.topics.remove(key);
            return false;
        }
        (entry.has_members, entry.wanted_at) = (false, now);
        set_timer(&mut self.timers, key, entry, now + self.cooldown);
        true
    }

    /// What tells that the topic is known; `None` if it is, or if nobody can know it.
    pub(super) fn reach(&mut self, key: &Key, now: Instant) -> Option<watch::Receiver<bool>> {
        if !self.is_up {
            return None;
        }
        let entry = entry(&mut self.topics, key, now);
        (entry.wanted_at, entry.is_expired) = (now, false);
        if !entry.has_members {
            set_timer(&mut self.timers, key, entry, now + self.cooldown);
        }
        if entry.state == State::Known {
            return None;
        }
        if entry.state == State::Unknown {
            queue(&mut self.changed, key, entry);
        }
        Some(entry.waiting.get_or_insert_with(|| watch::Sender::new(false)).subscribe())
    }

    pub(super) fn came_up(&mut self) {
        self.is_up = true;
        for (key, entry) in &mut self.topics {
            queue(&mut self.changed, key, entry);
        }
    }

    /// Whoever waits hears at once that there is nothing to wait for.
    pub(super) fn went_down(&mut self) {
        self.is_up = false;
        self.changed.clear();
        self.timers.clear();
        self.topics.retain(|_, entry| {
            entry.waiting = None;
            (entry.state, entry.is_queued, entry.has_timer) = (State::Unknown, false, false);
            entry.has_members
        });
    }

    /// When a topic may have been unwanted for long enough.
    pub(super) fn due(&self) -> Option<Instant> {
        self.timers.front().map(|&(due, _)| due)
    }

    pub(super) fn next(&mut self, most: usize, now: Instant) -> Batch {
        self.expire(now);
        let mut batch = Batch::default();
        while batch.subscribe.len() < most
            && batch.unsubscribe.len() < most
            && let Some(key) = self.changed.pop_front()
        {
            let Some(entry) = self.topics.get_mut(&key) else { continue };
            entry.is_queued = false;
            match (entry.is_expired, entry.state) {
                (false, State::Unknown) => {
                    entry.state = State::Asked;
                    batch.subscribe.push(key);
                }
                (true, State::Known) => {
                    self.topics.remove(&key);
                    batch.unsubscribe.push(key);
                }
                (true, State::Unknown) => {
                    self.topics.remove(&key);
                }
                (_, State::Asked) | (false, State::Known) => {}
            }
        }
        batch
    }

    /// True if there is something for the next batch.
    pub(super) fn confirm(&mut self, batch: &Batch) -> bool {
        let mut changed = false;
        for key in &batch.subscribe {
            // After the bus went down it means nothing.
            let Some(entry) = self.topics.get_mut(key).filter(|e| e.state == State::Asked) else {
                continue;
            };
            entry.state = State::Known;
            if let Some(waiting) = entry.waiting.take() {
                waiting.send_replace(true);
            }
            changed |= entry.is_expired && queue(&mut self.changed, key, entry);
        }
        changed
    }

    /// True if there is something for the next batch.
    pub(super) fn forget(&mut self, is_forgotten: impl Fn(&Key) -> bool) -> bool {
        let mut changed = false;
        for (key, entry) in &mut self.topics {
            if entry.state != State::Unknown && is_forgotten(key) {
                entry.state = State::Unknown;
                changed |= queue(&mut self.changed, key, entry);
            }
        }
        changed
    }

    fn expire(&mut self, now: Instant) {
        while self.due().is_some_and(|due| due <= now)
            && let Some((_, key)) = self.timers.pop_front()
        {
            let Some(entry) = self.topics.get_mut(&key) else { continue };
            entry.has_timer = false;
            if entry.has_members {
                continue;
            }
            let due = entry.wanted_at + self.cooldown;
            if due > now {
                set_timer(&mut self.timers, &key, entry, due);
            } else {
                entry.is_expired = true;
                queue(&mut self.changed, &key, entry);
            }
        }
    }
}

fn entry<'a>(
    topics: &'a mut HashMap<Key, Entry, RandomState>,
    key: &Key,
    now: Instant,
) -> &'a mut Entry {
    topics.entry(key.clone()).or_insert_with(|| Entry {
        has_members: false,
        wanted_at: now,
        is_expired: false,
        state: State::Unknown,
        is_queued: false,
        has_timer: false,
        waiting: None,
    })
}

fn queue(changed: &mut VecDeque<Key>, key: &Key, entry: &mut Entry) -> bool {
    if !entry.is_queued {
        entry.is_queued = true;
        changed.push_back(key.clone());
    }
    true
}

fn set_timer(timers: &mut VecDeque<(Instant, Key)>, key: &Key, entry: &mut Entry, due: Instant) {
    if !entry.has_timer {
        entry.has_timer = true;
        timers.push_back((due, key.clone()));
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::Arc};

    use super::*;
    use crate::topic::Topic;

    const COOLDOWN: Duration = Duration::from_secs(30);

    /// Small numbers that only look random.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (self.0 >> 33) % limit
        }
    }

    /// A table, the server it talks to, and what should be.
    struct World {
        table: Table,
        now: Instant,
        server: HashSet<Key>,
        members: HashSet<Key>,
        /// A batch under way, and whether the server has done it.
        flight: Option<Batch>,
        waiting: Vec<(Key, watch::Receiver<bool>)>,
    }

    impl World {
        fn step(&mut self, dice: &mut Dice, keys: &[Key]) {
            let key = &keys[usize::try_from(dice.below(keys.len() as u64)).unwrap()];
            match dice.below(12) {
                0..=2 => {
                    if self.members.insert(key.clone()) {
                        self.table.enter(key, self.now);
                    }
                }
                3..=5 => {
                    if self.members.remove(key) {
                        self.table.leave(key, self.now);
                    }
                }
                6 | 7 => match self.table.reach(key, self.now) {
                    Some(waiting) => self.waiting.push((key.clone(), waiting)),
                    None => {
                        assert!(!self.table.is_up || self.server.contains(key), "told too early");
                    }
                },
                8 => self.now += Duration::from_secs(dice.below(20)),
                9 | 10 => self.flush(1 + usize::try_from(dice.below(3)).unwrap()),
                _ if self.table.is_up => {
                    self.table.went_down();
                    self.server.clear();
                    self.flight = None;
                    self.waiting.clear();
                }
                _ => self.table.came_up(),
            }
        }

        /// The server does what is under way, or is asked for more.
        fn flush(&mut self, most: usize) {
            if !self.table.is_up {
                return;
            }
            let Some(batch) = self.flight.take() else {
                self.flight = Some(self.table.next(most, self.now));
                return;
            };
            self.server.extend(batch.subscribe.iter().cloned());
            for key in &batch.unsubscribe {
                assert!(self.server.remove(key), "given up what was not known");
            }
            self.table.confirm(&batch);
            let server = &self.server;
            self.waiting.retain(|(key, waiting)| {
                if *waiting.borrow() {
                    assert!(server.contains(key), "confirmed too early");
                    return false;
                }
                // Or nobody entered for so long that it was given up.
                waiting.has_changed().is_ok()
            });
        }

        fn settle(&mut self) {
            if !self.table.is_up {
                self.table.came_up();
            }
            for _ in 0..200 {
                self.flush(2);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_happens_members_are_subscribed_and_nobody_is_told_too_early() {
        let keys = ["a", "b", "c", "d"].map(|name| {
            let topic = Topic::from_sub_topic(name).unwrap();
            Key { tenant: Arc::from("t"), private: false, topic }
        });
        for seed in 0..3_000 {
            let mut dice = Dice(seed);
            let mut world = World {
                table: Table::new(COOLDOWN),
                now: Instant::now(),
                server: HashSet::new(),
                members: HashSet::new(),
                flight: None,
                waiting: Vec::new(),
            };
            for _ in 0..100 {
                world.step(&mut dice, &keys);
            }
            world.settle();
            assert!(world.members.is_subset(&world.server), "seed {seed}");
            assert!(world.waiting.is_empty(), "seed {seed}");
            assert!(world.table.timers.len() <= keys.len(), "seed {seed}");
            world.now += 2 * COOLDOWN;
            world.settle();
            world.now += 2 * COOLDOWN;
            world.settle();
            assert_eq!(world.members, world.server, "seed {seed}");
            assert_eq!(world.table.len(), world.members.len(), "seed {seed}");
        }
    }
}

//! Talks with other servers about who is online.
//!
//! - Who comes and goes is said at once, many in one word.
//! - A server gives three signs of life in the time that one counts. With it
//!   come digests of its users: whoever knows otherwise asks for those parts,
//!   one server at a time, and is answered alone.
//! - While the bus is away nobody can be heard, so nobody leaves. When it is
//!   back all have as much time as at first, and all give and ask for signs.

use std::{collections::HashMap, sync::Arc};

use tokio::time::{Duration, Instant, sleep, timeout, timeout_at};
use uuid::Uuid;

use crate::{
    cluster::{Bus, Envelope, Handler, NodeId},
    runtime::{Drain, clock},
    topic::{Key, Topic},
};

use super::{
    Status,
    others::Manner,
    word::{Ask, Moment, Word},
};

/// Between two looks.
const TICK: Duration = Duration::from_millis(500);

/// What happens in it is said together.
const PAUSE: Duration = Duration::from_millis(20);

/// Until an answer is overdue.
const OVERDUE: Duration = Duration::from_secs(1);

/// How long a start waits for what others know.
const PATIENCE: Duration = Duration::from_secs(2);

/// By so much clocks may differ.
const SKEW: Moment = 60_000;

/// What is going on between this server and others.
#[derive(Debug, Default)]
pub(super) struct Talk {
    /// Who asked what.
    asks: HashMap<NodeId, Ask>,
    /// Somebody wants a sign.
    wants_sign: bool,
    /// Whose answer is awaited, and since when.
    awaited: Option<(NodeId, Instant)>,
    /// How many others there were at the start, once that is known.
    others: Option<usize>,
    /// When this server started.
    started: Option<(Instant, Moment)>,
}

#[cfg(test)]
impl Talk {
    pub(super) fn awaited(&self) -> Option<NodeId> {
        self.awaited.map(|(node, _)| node)
    }
}

impl Status {
    /// Keeps it true between servers until the drain begins.
    pub(in crate::chat) fn start(self: &Arc<Self>, drain: &Drain) {
        let (status, signal) = (Arc::clone(self), drain.clone());
        self.talk().started = Some((Instant::now(), now()));
        drain.spawn("chat status between servers", async move {
            tokio::select! {
                () = status.run() => {}
                () = signal.started() => {}
            }
        });
    }

    /// Waits until it is known what other servers knew when this one started,
    /// for a moment at most.
    pub(super) async fn whole(&self) {
        let Some((started, _)) = self.talk().started.filter(|_| self.bus.is_some()) else { return };
        let mut whole = self.whole.subscribe();
        let _ = timeout_at(started + PATIENCE, whole.wait_for(|whole| *whole)).await;
    }

    async fn run(&self) {
        let bus = self.bus.as_deref();
        let mut link = bus.map(|bus| bus.interest().link());
        if let Some(bus) = bus {
            for key in [all(), one(bus.node())].iter().flatten() {
                bus.interest().enter(key);
            }
        }
        if let Some(link) = &mut link {
            link.mark_changed();
        }
        let mut signed: Option<Instant> = None;
        loop {
            if let (Some(bus), Some(link)) = (bus, &mut link)
                && bus.interest().is_up()
            {
                if link.has_changed().unwrap_or_default() {
                    link.mark_unchanged();
                    self.came_up(bus).await;
                }
                self.bury();
                self.converse(bus);
            }
            self.say();
            let wants_sign = std::mem::take(&mut self.talk().wants_sign);
            if wants_sign || signed.is_none_or(|signed| signed.elapsed() >= self.ttl / 3) {
                signed = Some(Instant::now());
                let sign = self.lock().sign(now(), self.ttl, false);
                self.tell(all(), &Word::Sign(sign));
            }
            tokio::select! {
                () = self.wake.notified() => sleep(PAUSE).await,
                () = sleep(TICK) => {}
            }
        }
    }

    /// The bus is there, for the first time or again.
    async fn came_up(&self, bus: &dyn Bus) {
        // Whoever asks must be able to hear the answer.
        for key in [all(), one(bus.node())].iter().flatten() {
            if let Some(reached) = bus.interest().reach(key) {
                reached.wait().await;
            }
        }
        self.lock().forgive();
        self.talk().awaited = None;
        self.say();
        let sign = self.lock().sign(now(), self.ttl, true);
        let Some(hello) = self.envelope(all(), &Word::Sign(sign)) else { return };
        let Ok(others) = bus.ask(&hello) else { return };
        if let Ok(Ok(others)) = timeout(OVERDUE, others).await {
            self.talk().others.get_or_insert(others);
            self.look();
        }
    }

    fn say(&self) {
        loop {
            let Some(changes) = self.lock().say() else { return };
            // What is lost is found by its digest.
            self.tell(all(), &Word::Changes(changes));
        }
    }

    fn bury(&self) {
        let dead = self.lock().bury();
        if dead > 0 {
            tracing::info!(dead, "another server is gone: its users are offline");
        }
    }

    /// Answers, and asks.
    fn converse(&self, bus: &dyn Bus) {
        let asks = std::mem::take(&mut self.talk().asks);
        for (node, ask) in asks {
            let answer = self.lock().answer(ask);
            self.tell(one(node), &Word::Parts(answer));
        }
        let awaited = self.talk().awaited;
        if let Some((node, since)) = awaited {
            if since.elapsed() < OVERDUE {
                return;
            }
            self.lock().give_up(node);
        }
        let question = self.lock().question();
        self.talk().awaited = question.map(|(node, _)| (node, Instant::now()));
        if let Some((node, ask)) = question {
            let _ = self.envelope(one(node), &Word::Ask(ask)).map(|word| bus.publish(&word));
        }
    }

    fn tell(&self, key: Option<Key>, word: &Word) {
        let Some(bus) = &self.bus else { return };
        let _ = self.envelope(key, word).map(|word| bus.publish(&word));
    }

    fn envelope(&self, key: Option<Key>, word: &Word) -> Option<Envelope> {
        Some(word.envelope(self.bus.as_ref()?.node(), &self.tenant, &key?))
    }

    /// Whether everything is known by now that was at the start.
    fn look(&self) {
        let others = self.talk().others;
        if others.is_some_and(|others| self.lock().agrees(others)) {
            self.whole.send_replace(true);
        }
    }

    fn manner(&self) -> Manner {
        let started = self.talk().started;
        let is_new = started.is_none_or(|(at, _)| at.elapsed() < PATIENCE);
        let quiet = is_new && !*self.whole.borrow();
        let since = started.map_or_else(now, |(_, at)| at).saturating_sub(SKEW);
        Manner { quiet, since, ttl: self.ttl }
    }
}

impl Handler for Status {
    fn receive(&self, envelope: Envelope) {
        if *envelope.event != *self.tenant {
            return;
        }
        let Some(word) = Word::decode(&envelope.payload) else { return };
        let (node, manner) = (envelope.node, self.manner());
        match word {
            Word::Changes(changes) => return self.lock().hear_changes(node, changes, manner),
            Word::Sign(sign) => {
                self.talk().wants_sign |= sign.asks;
                self.lock().hear_sign(node, &sign, manner);
            }
            Word::Ask(ask) => drop(self.talk().asks.insert(node, ask)),
            Word::Parts(parts) => {
                self.lock().hear_parts(node, parts, manner);
                let mut talk = self.talk();
                talk.awaited = talk.awaited.filter(|(awaited, _)| *awaited != node);
            }
        }
        self.look();
        self.wake.notify_one();
    }
}

pub(super) fn now() -> Moment {
    Moment::try_from(clock::unix_time().as_millis()).unwrap_or(Moment::MAX)
}

/// Where all servers listen. No tenant has an empty name, so no client can join it.
fn all() -> Option<Key> {
    topic("status")
}

/// Where one server listens.
fn one(node: NodeId) -> Option<Key> {
    let NodeId(id) = node;
    topic(&format!("status:{}", Uuid::simple(id)))
}

fn topic(name: &str) -> Option<Key> {
    let topic = Topic::from_sub_topic(name).ok()?;
    Some(Key { tenant: Arc::from(""), private: true, topic })
}

//! How many users a tenant has on other nodes: what the limit of concurrent users is held against.
//!
//! A node says its number when it changes, at most ten times a second, and
//! every few seconds in any case. So the limit holds to within what changes in
//! a tenth of a second. A node that is silent counts no more; while the bus is
//! away nobody can be heard, so what was known holds.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use crate::{
    cluster::{Bus, Envelope, Handler, NodeId, envelope::Kind},
    runtime::Drain,
    topic::{Key, Topic},
};

use super::Tenant;

/// Longest time between two words.
const PERIOD: Duration = Duration::from_secs(5);

/// Shortest time between two words.
const PAUSE: Duration = Duration::from_millis(100);

/// A node that is not heard of for so long has no users.
const SILENCE: Duration = Duration::from_secs(15);

/// Counts the users of one tenant on other nodes.
#[derive(Debug)]
pub struct Census {
    tenant: Arc<Tenant>,
    bus: Arc<dyn Bus>,
    others: Mutex<HashMap<NodeId, (usize, Instant)>>,
    /// A node is new and knows nothing of this one.
    newcomer: Notify,
}

impl Census {
    /// Nothing is known of others yet.
    pub fn new(tenant: Arc<Tenant>, bus: Arc<dyn Bus>) -> Self {
        Self { tenant, bus, others: Mutex::default(), newcomer: Notify::new() }
    }

    /// Tells and hears until the drain begins.
    pub fn start(self: &Arc<Self>, drain: &Drain) {
        let (census, signal) = (Arc::clone(self), drain.clone());
        drain.spawn("census", async move {
            tokio::select! {
                () = census.run() => {}
                () = signal.started() => {}
            }
        });
    }

    async fn run(&self) {
        let Some(key) = key() else { return };
        self.bus.interest().enter(&key);
        let mut users = self.tenant.meters.watch_users();
        let mut link = self.bus.interest().link();
        loop {
            let before = Instant::now();
            if link.wait_for(|up| *up).await.is_err() {
                return;
            }
            self.expire(before.elapsed());
            let count = *users.borrow_and_update();
            // What is lost is said again soon.
            let _ = self.bus.publish(&self.word(&key, count));
            sleep(PAUSE).await;
            let _ = timeout(PERIOD, async {
                tokio::select! {
                    _ = users.changed() => {}
                    () = self.newcomer.notified() => {}
                }
            })
            .await;
        }
    }

    fn word(&self, key: &Key, count: usize) -> Envelope {
        Envelope {
            node: self.bus.node(),
            key: key.clone(),
            kind: Kind::Users,
            event: self.tenant.name.to_string(),
            meta: String::new(),
            payload: count.to_string().into(),
        }
    }

    /// Drops who is silent; the time in which nobody could be heard does not count.
    fn expire(&self, unheard: Duration) {
        let mut others = self.lock();
        for (_, heard) in others.values_mut() {
            *heard += unheard;
        }
        others.retain(|_, (_, heard)| heard.elapsed() < SILENCE);
        self.sum(&others);
    }

    fn sum(&self, others: &HashMap<NodeId, (usize, Instant)>) {
        let sum = others.values().fold(0usize, |sum, (count, _)| sum.saturating_add(*count));
        self.tenant.meters.set_elsewhere(sum);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, (usize, Instant)>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handler for Census {
    fn receive(&self, envelope: Envelope) {
        let count = std::str::from_utf8(&envelope.payload).ok().and_then(|text| text.parse().ok());
        let Some(count) = count else { return };
        if *envelope.event != *self.tenant.name {
            return;
        }
        let mut others = self.lock();
        if others.insert(envelope.node, (count, Instant::now())).is_none() {
            self.newcomer.notify_one();
        }
        self.sum(&others);
    }
}

/// Where numbers are told. No tenant has an empty name, so no client can join it.
fn key() -> Option<Key> {
    let topic = Topic::from_sub_topic("users").ok()?;
    Some(Key { tenant: Arc::from(""), private: true, topic })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::Keys,
        cluster::{Metrics, interest::Times, memory::Exchange},
        tenants::Terms,
    };

    #[derive(Debug)]
    struct To(Mutex<Option<Arc<Census>>>);

    impl Handler for To {
        fn receive(&self, envelope: Envelope) {
            if let Some(census) = &*self.0.lock().unwrap() {
                census.receive(envelope);
            }
        }
    }

    fn node(exchange: &Exchange, drain: &Drain) -> Arc<Tenant> {
        let keys = Keys::new(Some("secret"), None, serde_json::Map::new());
        let tenant = Arc::new(Tenant::new("t", keys, Terms::default()));
        let bus = exchange.node(Times::default(), Metrics::default());
        let census = Arc::new(Census::new(Arc::clone(&tenant), Arc::clone(&bus) as _));
        bus.start(Arc::new(To(Mutex::new(Some(Arc::clone(&census))))), drain);
        census.start(drain);
        tenant
    }

    #[tokio::test(start_paused = true)]
    async fn users_of_other_nodes_count_until_their_node_is_silent() {
        let (exchange, here, there) = (Exchange::default(), Drain::new(), Drain::new());
        let (one, two) = (node(&exchange, &here), node(&exchange, &there));
        sleep(PERIOD * 2).await;
        let seat = one.meters.try_seat(1);
        assert!(seat.is_some());
        sleep(PAUSE * 3).await;
        assert_eq!((two.meters.users(), two.meters.all_users()), (0, 1));
        assert!(two.meters.try_seat(1).is_none());
        let other = two.meters.try_seat(2);
        assert!(other.is_some() && one.meters.users() == 1);
        sleep(PAUSE * 3).await;
        assert_eq!(one.meters.all_users(), 2);
        // A newcomer hears of both at once.
        let three = node(&exchange, &here);
        sleep(PERIOD).await;
        assert_eq!(three.meters.all_users(), 2);

        // While nobody can be heard nothing is forgotten.
        exchange.set_reachable(false);
        sleep(SILENCE * 4).await;
        assert_eq!(one.meters.all_users(), 2);
        exchange.set_reachable(true);
        sleep(PAUSE).await;
        assert_eq!(one.meters.all_users(), 2);

        there.start();
        sleep(SILENCE + PERIOD * 2).await;
        assert_eq!(one.meters.all_users(), 1);
    }
}

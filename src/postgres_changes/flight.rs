//! One database round trip for many callers who want the same.
//!
//! A caller never shares a trip that had started before it asked: what it
//! reads is as new as its question. A trip that nobody waits for any more ends
//! there and then, and gives its connection back.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    hash::Hash,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::{
    FutureExt as _,
    future::{Shared, WeakShared},
};

/// So many keys are kept without a look at which of them are of use.
const MAX_KEYS: usize = 1024;

type Inner<V> = Pin<Box<dyn Future<Output = V> + Send>>;
type Trip<V> = Shared<Inner<V>>;

/// Trips under way, by what they ask.
pub(super) struct Flights<K, V: Clone> {
    trips: Mutex<HashMap<K, Slot<V>>>,
}

/// Only callers keep a trip going, not the slot.
struct Slot<V: Clone> {
    current: WeakShared<Inner<V>>,
    /// Starts when the current one has landed.
    next: Option<Next<V>>,
}

struct Next<V: Clone> {
    trip: WeakShared<Inner<V>>,
    has_started: Arc<AtomicBool>,
}

impl<K: Eq + Hash + Clone, V: Clone + Send + Sync + 'static> Flights<K, V> {
    pub(super) fn new() -> Self {
        Self { trips: Mutex::default() }
    }

    /// The answer of a trip that starts now, or of the next one if one is under way.
    pub(super) async fn run<F>(&self, key: K, make: impl FnOnce() -> F) -> V
    where
        F: Future<Output = V> + Send + 'static,
    {
        let trip = self.board(&key, make());
        let value = trip.clone().await;
        self.land(&key, &trip);
        value
    }

    fn board<F>(&self, key: &K, future: F) -> Trip<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut trips = self.lock();
        let mut current = None;
        if let Some(slot) = trips.get(key) {
            current = slot.current.upgrade();
            if let Some(next) = &slot.next
                && let Some(trip) = next.trip.upgrade()
            {
                if !next.has_started.load(Ordering::Acquire) {
                    return trip;
                }
                current = Some(trip);
            }
        }
        let Some(current) = current else {
            let trip = future.boxed().shared();
            if trips.len() >= MAX_KEYS {
                trips.retain(|_, slot| slot.is_of_use());
            }
            if let Some(weak) = trip.downgrade() {
                trips.insert(key.clone(), Slot { current: weak, next: None });
            }
            return trip;
        };
        let has_started = Arc::new(AtomicBool::new(false));
        let (before, starts) = (current.downgrade(), Arc::clone(&has_started));
        let trip = async move {
            current.await;
            starts.store(true, Ordering::Release);
            future.await
        };
        let trip = trip.boxed().shared();
        if let (Some(current), Some(weak)) = (before, trip.downgrade()) {
            let next = Some(Next { trip: weak, has_started });
            trips.insert(key.clone(), Slot { current, next });
        }
        trip
    }

    fn land(&self, key: &K, trip: &Trip<V>) {
        let is = |weak: &WeakShared<Inner<V>>| weak.upgrade().is_some_and(|it| it.ptr_eq(trip));
        let mut trips = self.lock();
        let Some(slot) = trips.get_mut(key) else { return };
        if slot.next.as_ref().is_some_and(|next| is(&next.trip)) {
            trips.remove(key);
        } else if is(&slot.current) {
            match slot.next.take() {
                Some(next) => slot.current = next.trip,
                None => {
                    trips.remove(key);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Slot<V>>> {
        self.trips.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: Clone> Slot<V> {
    fn is_of_use(&self) -> bool {
        let next = self.next.as_ref().and_then(|next| next.trip.upgrade());
        next.is_some() || self.current.upgrade().is_some()
    }
}

impl<K, V: Clone> fmt::Debug for Flights<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flights")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn many_callers_take_two_trips() {
        let (gate, count) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(0)));
        let flights = Flights::<(), usize>::new();
        let trip = || {
            let (gate, count) = (Arc::clone(&gate), Arc::clone(&count));
            async move {
                let number = {
                    let mut count = count.lock().unwrap();
                    *count += 1;
                    *count
                };
                let _permit = gate.acquire().await;
                number
            }
        };
        let mut calls: Vec<_> = (0..50).map(|_| Box::pin(flights.run((), trip))).collect();
        for call in &mut calls {
            // Everyone has asked before anyone gets an answer.
            assert!(futures_util::poll!(call).is_pending());
        }
        gate.add_permits(2);
        let mut answers = Vec::new();
        for call in calls {
            answers.push(call.await);
        }
        assert_eq!((answers[0], &answers[1..]), (1, [2; 49].as_slice()));
        assert!(flights.lock().is_empty());
    }

    #[tokio::test]
    async fn a_trip_ends_when_its_callers_have_left() {
        let connection = Arc::new(());
        let flights = Flights::<(), usize>::new();
        let stuck = || {
            let connection = Arc::clone(&connection);
            async move {
                let _held = connection;
                std::future::pending().await
            }
        };
        let mut calls: Vec<_> = (0..3).map(|_| Box::pin(flights.run((), stuck))).collect();
        for call in &mut calls {
            assert!(futures_util::poll!(call).is_pending());
        }
        drop(calls);
        assert_eq!(Arc::strong_count(&connection), 1);
        assert_eq!(flights.run((), || async { 7 }).await, 7);
        assert!(flights.lock().is_empty());
    }

    #[tokio::test]
    async fn a_trip_that_has_started_is_not_joined_though_the_one_before_was_abandoned() {
        let gate = Arc::new(Semaphore::new(0));
        let flights = Flights::<(), usize>::new();
        let trip = |number| {
            let gate = Arc::clone(&gate);
            move || async move {
                let permit = gate.acquire().await;
                permit.unwrap().forget();
                number
            }
        };
        let mut first = Box::pin(flights.run((), trip(1)));
        assert!(futures_util::poll!(&mut first).is_pending());
        let mut second = Box::pin(flights.run((), trip(2)));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        gate.add_permits(1);
        assert!(futures_util::poll!(&mut second).is_pending(), "it has started");
        let mut third = Box::pin(flights.run((), trip(3)));
        assert!(futures_util::poll!(&mut third).is_pending());
        gate.add_permits(2);
        assert_eq!((second.await, third.await), (2, 3));
        assert!(flights.lock().is_empty());
    }
}

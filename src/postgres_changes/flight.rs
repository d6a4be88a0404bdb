//! One database round trip for many callers who want the same.
//!
//! A caller never shares a trip that had started before it asked, except
//! where the start was a moment ago: what it reads is as new as its question.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    hash::Hash,
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures_util::{FutureExt as _, future::Shared};

/// Keys of trips whose callers all went away are kept up to this many.
const MAX_KEYS: usize = 1024;

type Trip<V> = Shared<Pin<Box<dyn Future<Output = V> + Send>>>;

/// Trips under way, by what they ask.
pub(super) struct Flights<K, V: Clone> {
    trips: Mutex<HashMap<K, Slot<V>>>,
}

struct Slot<V: Clone> {
    current: Trip<V>,
    /// Starts when the current one has landed.
    next: Option<Trip<V>>,
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
        let trip = self.board(&key, make);
        let value = trip.clone().await;
        self.land(&key, &trip);
        value
    }

    fn board<F>(&self, key: &K, make: impl FnOnce() -> F) -> Trip<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut trips = self.lock();
        if trips.len() >= MAX_KEYS {
            trips.clear();
        }
        let Some(slot) = trips.get_mut(key) else {
            let trip = make().boxed().shared();
            trips.insert(key.clone(), Slot { current: trip.clone(), next: None });
            return trip;
        };
        if let Some(next) = &slot.next {
            return next.clone();
        }
        let (current, future) = (slot.current.clone(), make());
        let next = async move {
            current.await;
            future.await
        };
        let next = next.boxed().shared();
        slot.next = Some(next.clone());
        next
    }

    fn land(&self, key: &K, trip: &Trip<V>) {
        let mut trips = self.lock();
        let Some(slot) = trips.get_mut(key) else { return };
        if slot.current.ptr_eq(trip) {
            match slot.next.take() {
                Some(next) => slot.current = next,
                None => {
                    trips.remove(key);
                }
            }
        } else if slot.next.as_ref().is_some_and(|next| next.ptr_eq(trip)) {
            trips.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Slot<V>>> {
        self.trips.lock().unwrap_or_else(PoisonError::into_inner)
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
}

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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    static COUNT: AtomicUsize = AtomicUsize::new(0);

    async fn trip() -> usize {
        let n = COUNT.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        n
    }

    #[tokio::test]
    async fn many_callers_take_two_trips() {
        let flights = Flights::<(), usize>::new();
        let calls = (0..50).map(|_| flights.run((), trip));
        let mut answers = Vec::new();
        let mut calls: Vec<_> = calls.map(Box::pin).collect();
        for call in &mut calls {
            // Everyone has asked before anyone gets an answer.
            assert!(futures_util::poll!(call).is_pending());
        }
        for call in calls {
            answers.push(call.await);
        }
        assert_eq!(answers.iter().filter(|n| **n == 0).count(), 1);
        assert!(answers.iter().all(|n| *n < 2), "{answers:?}");
        assert!(flights.lock().is_empty());
    }
}

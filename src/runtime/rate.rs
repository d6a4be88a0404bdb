//! Rates averaged over a sliding window of ticks.
//!
//! Events are counted without a lock; at each tick's end the count becomes a
//! bucket, and the average of the buckets decides whether the limit is
//! tripped until the next tick. So a short burst passes and a lasting one does
//! not, exactly as the original behaves. Nothing runs in the background: the
//! ticks that passed are caught up with by whoever looks next.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// Counts events and tells whether there are too many a second.
#[derive(Debug)]
pub struct Rate {
    limit: AtomicU64,
    tick: Duration,
    buckets: usize,
    started: Instant,
    count: AtomicU64,
    /// Milliseconds after `started` at which the current tick ends.
    tick_ends: AtomicU64,
    tripped: AtomicBool,
    history: Mutex<VecDeque<u64>>,
}

impl Rate {
    /// A limit of `limit` events a second, averaged over at most `buckets`
    /// ticks of length `tick`.
    pub fn new(limit: u64, tick: Duration, buckets: usize) -> Self {
        // The first bucket is taken at the start, when nothing has happened yet.
        Self {
            limit: AtomicU64::new(limit),
            tick,
            buckets,
            started: Instant::now(),
            count: AtomicU64::new(0),
            tick_ends: AtomicU64::new(millis(tick)),
            tripped: AtomicBool::new(false),
            history: Mutex::new(VecDeque::from([0])),
        }
    }

    /// The usual window: 12 ticks of 5 seconds.
    pub fn per_minute(limit: u64) -> Self {
        Self::new(limit, Duration::from_secs(5), 12)
    }

    /// The limit in force.
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Another limit, and with it a new window: what happened under the old
    /// limit is not held against it.
    pub fn set_limit(&self, limit: u64) {
        if self.limit.swap(limit, Ordering::Relaxed) == limit {
            return;
        }
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        *history = VecDeque::from([0]);
        self.count.store(0, Ordering::Relaxed);
        let ends = millis(self.started.elapsed()) + millis(self.tick).max(1);
        self.tick_ends.store(ends, Ordering::Relaxed);
        self.tripped.store(false, Ordering::Relaxed);
    }

    /// Counts `events` and tells whether the limit is tripped.
    pub fn record(&self, events: u64) -> bool {
        self.catch_up();
        self.count.fetch_add(events, Ordering::Relaxed);
        self.tripped.load(Ordering::Relaxed)
    }

    /// Whether the limit is tripped.
    pub fn is_tripped(&self) -> bool {
        self.catch_up();
        self.tripped.load(Ordering::Relaxed)
    }

    /// Events a second over the window, the current tick left out.
    pub fn average(&self) -> f64 {
        self.catch_up();
        self.mean(&self.history.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn catch_up(&self) {
        let now = millis(self.started.elapsed());
        if now < self.tick_ends.load(Ordering::Relaxed) {
            return;
        }
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ends = self.tick_ends.load(Ordering::Relaxed);
        let mut caught_up = 0;
        while now >= ends && caught_up < self.buckets {
            history.push_back(self.count.swap(0, Ordering::Relaxed));
            if history.len() > self.buckets {
                history.pop_front();
            }
            ends += millis(self.tick).max(1);
            caught_up += 1;
        }
        // After a long silence every bucket is empty; older ticks do not matter.
        let ends = ends.max(now + 1);
        self.tick_ends.store(ends, Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "limits are far below 2^52")]
        self.tripped.store(self.mean(&history) >= self.limit() as f64, Ordering::Relaxed);
    }

    fn mean(&self, history: &VecDeque<u64>) -> f64 {
        let sum: u64 = history.iter().sum();
        #[expect(clippy::cast_precision_loss, reason = "a minute's events are far below 2^52")]
        let mean = sum as f64 / history.len().max(1) as f64;
        mean / self.tick.as_secs_f64()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_trips_at_the_end_of_its_tick_and_recovers_later() {
        let rate = Rate::per_minute(10);
        assert!(!rate.record(100), "the tick has not ended");
        tokio::time::advance(Duration::from_secs(5)).await;
        // (0 + 100) / 2 buckets / 5 s = 10 a second
        assert!(rate.is_tripped());
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(!rate.is_tripped(), "100 / 3 / 5 is below 10");
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_silence_empties_the_window() {
        let rate = Rate::per_minute(1);
        rate.record(1_000);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(rate.is_tripped());
        tokio::time::advance(Duration::from_secs(600)).await;
        assert!(!rate.is_tripped());
        assert!(rate.average() < 0.1);
    }

    #[tokio::test(start_paused = true)]
    async fn another_limit_begins_a_new_window() {
        let rate = Rate::per_minute(1);
        rate.record(100);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(rate.is_tripped());
        rate.set_limit(10);
        assert!(!rate.is_tripped(), "what happened before does not count");
        rate.record(100);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(rate.is_tripped(), "the new limit holds from now on");
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_of_zero_is_tripped_after_the_first_tick() {
        let rate = Rate::per_minute(0);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(rate.record(0));
    }
}

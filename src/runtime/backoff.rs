//! Growing, jittered pauses between attempts.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

/// Pauses that double from `first` to `limit`, each shortened by up to half
/// at random so that many clients of one failed server do not return together.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    limit: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses from `first` up to `limit`.
    pub fn new(first: Duration, limit: Duration) -> Self {
        Self { first, limit, next: first.min(limit) }
    }

    /// The pause before the next attempt.
    pub fn pause(&mut self) -> Duration {
        let full = self.next;
        self.next = full.saturating_mul(2).min(self.limit);
        full / 2 + jitter(full / 2)
    }

    /// Starts over after a success.
    pub fn reset(&mut self) {
        self.next = self.first.min(self.limit);
    }
}

/// A random time below `limit`, good enough to keep many from acting together.
pub fn jitter(limit: Duration) -> Duration {
    // The standard hasher is seeded at random.
    let share = RandomState::new().hash_one(limit) % 1024;
    limit.mul_f64(f64::from(u16::try_from(share).unwrap_or(0)) / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(350));
        for full in [100, 200, 350, 350] {
            let pause = backoff.pause().as_millis();
            assert!((full / 2..=full).contains(&pause), "{pause} is not near {full}");
        }
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(100));
    }
}

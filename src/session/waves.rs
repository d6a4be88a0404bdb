//! When each socket of a server that stops closes.
//!
//! Clients that lose their sockets together come back together, to a server
//! that has its own. So each socket has a moment of its own in a window, and
//! works until then. The fewer there are the shorter is the window.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// Of the window for each socket, so that a few sockets are gone in no time.
const EACH: Duration = Duration::from_millis(10);

/// The moments, handed out in the order in which sockets ask.
#[derive(Debug)]
pub struct Waves {
    longest: Duration,
    plan: OnceLock<Plan>,
    taken: AtomicU32,
}

#[derive(Debug)]
struct Plan {
    start: Instant,
    window: Duration,
    sockets: u32,
}

impl Waves {
    /// All sockets close within `longest` of the first call of [`Waves::moment`].
    pub fn new(longest: Duration) -> Self {
        Self { longest, plan: OnceLock::new(), taken: AtomicU32::new(0) }
    }

    /// The moment of one more of so many `sockets`; what the first one says counts.
    pub fn moment(&self, sockets: usize) -> Instant {
        let plan = self.plan.get_or_init(|| {
            let sockets = u32::try_from(sockets).unwrap_or(u32::MAX).max(1);
            let window = self.longest.min(EACH.saturating_mul(sockets));
            Plan { start: Instant::now(), window, sockets }
        });
        let place = self.taken.fetch_add(1, Ordering::Relaxed) % plan.sockets;
        plan.start + plan.window.mul_f64(f64::from(place) / f64::from(plan.sockets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(5);

    fn moments(longest: Duration, sockets: usize) -> Vec<Duration> {
        let (waves, now) = (Waves::new(longest), Instant::now());
        (0..sockets).map(|_| waves.moment(sockets) - now).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn every_part_of_the_window_sees_as_many_sockets() {
        let moments = moments(LONGEST, 10_000);
        for tenth in 0..10 {
            let (from, to) = (LONGEST * tenth / 10, LONGEST * (tenth + 1) / 10);
            let now = moments.iter().filter(|moment| (from..to).contains(*moment)).count();
            assert!((999..=1001).contains(&now), "{now}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_sockets_do_not_take_the_whole_window() {
        let moments = moments(LONGEST, 3);
        assert_eq!(moments, [0, 10, 20].map(Duration::from_millis));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_window_all_close_at_once() {
        assert_eq!(moments(Duration::ZERO, 1000), [Duration::ZERO; 1000]);
    }

    #[tokio::test(start_paused = true)]
    async fn more_sockets_than_were_counted_fit_in() {
        let (waves, now) = (Waves::new(LONGEST), Instant::now());
        let moments = (0..10).map(|_| waves.moment(4) - now);
        assert!(moments.into_iter().all(|moment| moment < EACH * 4));
    }
}

//! What a tenant may use, and the counters that hold it to it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use crate::runtime::rate::Rate;

/// Limits of a tenant. Names and defaults are those of Supabase Realtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sockets with at least one successful join.
    pub max_concurrent_users: usize,
    /// Broadcasts sent and delivered, changes delivered, HTTP requests: each a second.
    pub max_events_per_second: u64,
    /// Joins, a second.
    pub max_joins_per_second: u64,
    /// Channels of one socket.
    pub max_channels_per_client: usize,
    /// Presence messages sent and delivered, a second.
    pub max_presence_events_per_second: u64,
    /// Largest broadcast or tracked payload, in kilobytes of 1000.
    pub max_payload_size_in_kb: usize,
    /// Presence calls of one channel within the window.
    pub client_presence_max_calls: u32,
    /// Length of that window.
    pub client_presence_window: Duration,
}

impl Limits {
    /// The payload limit in bytes, as the original counts it.
    pub fn max_payload_bytes(&self) -> usize {
        self.max_payload_size_in_kb.saturating_mul(1000).saturating_add(500)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_concurrent_users: 200,
            max_events_per_second: 100,
            max_joins_per_second: 100,
            max_channels_per_client: 100,
            max_presence_events_per_second: 1000,
            max_payload_size_in_kb: 3000,
            client_presence_max_calls: 5,
            client_presence_window: Duration::from_secs(30),
        }
    }
}

/// Running counters of one tenant on this node.
#[derive(Debug)]
pub struct Meters {
    /// Upgrades and joins.
    pub joins: Rate,
    /// Broadcasts.
    pub events: Rate,
    /// Database changes delivered.
    pub db_events: Rate,
    /// Presence messages.
    pub presence_events: Rate,
    /// HTTP requests.
    pub requests: Rate,
    users: Arc<watch::Sender<usize>>,
    /// Those on other nodes.
    elsewhere: AtomicUsize,
}

impl Meters {
    /// Counters at zero for these limits.
    pub fn new(limits: &Limits) -> Self {
        Self {
            joins: Rate::per_minute(limits.max_joins_per_second),
            events: Rate::per_minute(limits.max_events_per_second),
            db_events: Rate::per_minute(limits.max_events_per_second),
            presence_events: Rate::per_minute(limits.max_presence_events_per_second),
            requests: Rate::new(limits.max_events_per_second, Duration::from_secs(1), 60),
            users: Arc::default(),
            elsewhere: AtomicUsize::new(0),
        }
    }

    /// Measures against other limits from now on; what was counted stays.
    pub fn set_limits(&self, limits: &Limits) {
        self.joins.set_limit(limits.max_joins_per_second);
        self.events.set_limit(limits.max_events_per_second);
        self.db_events.set_limit(limits.max_events_per_second);
        self.presence_events.set_limit(limits.max_presence_events_per_second);
        self.requests.set_limit(limits.max_events_per_second);
    }

    /// Sockets of this node that are counted as users now.
    pub fn users(&self) -> usize {
        *self.users.borrow()
    }

    /// Those of all nodes, as far as is known.
    pub fn all_users(&self) -> usize {
        self.users().saturating_add(self.elsewhere.load(Ordering::Relaxed))
    }

    /// To wait for a change of [`Meters::users`].
    pub fn watch_users(&self) -> watch::Receiver<usize> {
        self.users.subscribe()
    }

    /// How many there are on other nodes.
    pub fn set_elsewhere(&self, users: usize) {
        self.elsewhere.store(users, Ordering::Relaxed);
    }

    /// Counts a socket as a user until the seat is dropped; none if `most` are
    /// counted already, on all nodes.
    pub fn try_seat(&self, most: usize) -> Option<Seat> {
        let elsewhere = self.elsewhere.load(Ordering::Relaxed);
        let seated = self.users.send_if_modified(|users| {
            let has_room = users.saturating_add(elsewhere) < most;
            *users += usize::from(has_room);
            has_room
        });
        seated.then(|| Seat(Arc::clone(&self.users)))
    }
}

/// One counted user.
#[derive(Debug)]
pub struct Seat(Arc<watch::Sender<usize>>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.send_modify(|users| *users -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_seat_counts_until_it_is_dropped() {
        let meters = Meters::new(&Limits::default());
        let seat = meters.try_seat(1);
        assert!(seat.is_some() && meters.try_seat(1).is_none());
        assert_eq!(meters.users(), 1);
        drop(seat);
        assert_eq!(meters.users(), 0);
    }

    #[test]
    fn the_payload_limit_has_the_originals_slack() {
        assert_eq!(Limits::default().max_payload_bytes(), 3_000_500);
    }
}

//! A tenant: whose sockets, topics and database these are.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::watch;

use crate::{
    auth::{Claims, Keys, TokenError},
    runtime::clock,
};

use super::limits::{Limits, Meters};

/// One tenant. Shared by everything that works for it.
#[derive(Debug)]
pub struct Tenant {
    /// Its name: the first label of the host its clients use.
    pub name: Arc<str>,
    /// What its tokens are verified with.
    pub keys: Keys,
    /// What it uses.
    pub meters: Meters,
    terms: RwLock<Terms>,
    /// A copy of the one limit that every message is held against, so that
    /// messages share no lock.
    max_payload_bytes: AtomicUsize,
    /// Counts up whenever all sockets are to go.
    disconnects: watch::Sender<u64>,
    keeps_rooms: AtomicBool,
    /// Whether somebody needs the database's stream.
    wants_stream: watch::Sender<bool>,
    /// Nobody is served any more under this tenant.
    is_over: AtomicBool,
}

/// What an operator may change while a tenant is served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    /// What the tenant may use.
    pub limits: Limits,
    /// Refuse public channels.
    pub private_only: bool,
    /// Presence is on for every channel, asked for or not.
    pub presence_enabled: bool,
    /// Refuse everything.
    pub suspended: bool,
}

impl Tenant {
    /// A tenant that nobody uses yet.
    pub fn new(name: &str, keys: Keys, terms: Terms) -> Self {
        Self {
            name: name.into(),
            keys,
            meters: Meters::new(&terms.limits),
            max_payload_bytes: AtomicUsize::new(terms.limits.max_payload_bytes()),
            terms: RwLock::new(terms),
            disconnects: watch::Sender::new(0),
            keeps_rooms: AtomicBool::new(false),
            wants_stream: watch::Sender::new(true),
            is_over: AtomicBool::new(false),
        }
    }

    /// Verifies a token of one of the tenant's clients. Never waits.
    ///
    /// # Errors
    ///
    /// [`TokenError`], the first check that failed.
    pub fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        self.keys.verify(token, clock::unix_seconds())
    }

    /// Verifies a token and, if its key is unknown, waits a few seconds for the
    /// published keys to be fetched again. For whoever may wait: an upgrade, a
    /// request. A joined socket does not: it is told, and tries again.
    ///
    /// # Errors
    ///
    /// [`TokenError`], the first check that failed.
    pub async fn verify_or_refresh(&self, token: &str) -> Result<Claims, TokenError> {
        match self.verify(token) {
            Err(error) if self.keys.refreshed(&error).await => self.verify(token),
            outcome => outcome,
        }
    }

    /// The terms in force.
    pub fn terms(&self) -> Terms {
        *self.terms.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The largest payload in bytes, as the original counts it.
    pub fn max_payload_bytes(&self) -> usize {
        self.max_payload_bytes.load(Ordering::Relaxed)
    }

    /// Other terms from now on. If they say anew who may be connected, all
    /// sockets are to go and come back under them.
    pub fn change(&self, terms: Terms) {
        let before = {
            let mut current = self.terms.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, terms)
        };
        self.max_payload_bytes.store(terms.limits.max_payload_bytes(), Ordering::Relaxed);
        self.meters.set_limits(&terms.limits);
        if (before.private_only, before.suspended) != (terms.private_only, terms.suspended) {
            self.disconnect_all();
        }
    }

    /// Whether the private topics `room:<id>` are the chat's, where it alone
    /// says `chat:…`.
    pub fn keeps_rooms(&self) -> bool {
        self.keeps_rooms.load(Ordering::Relaxed)
    }

    /// Says whether they are, from now on.
    pub fn keep_rooms(&self, keep: bool) {
        self.keeps_rooms.store(keep, Ordering::Relaxed);
    }

    /// Tells every socket to go.
    pub fn disconnect_all(&self) {
        self.disconnects.send_modify(|count| *count += 1);
    }

    /// Changes when all sockets are to go. Take it before looking at the terms:
    /// a change in between is then seen.
    pub fn disconnects(&self) -> watch::Receiver<u64> {
        let mut disconnects = self.disconnects.subscribe();
        if self.is_over.load(Ordering::Acquire) {
            disconnects.mark_changed();
        }
        disconnects
    }

    /// The tenant is served under another of these, or no more: all sockets are
    /// to go, and so is one that is only just being opened.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        self.disconnect_all();
    }

    /// Says whether the database's stream is wanted, from now on.
    pub fn want_stream(&self, want: bool) {
        // Every join says so: mostly it is nothing new.
        if *self.wants_stream.borrow() != want {
            self.wants_stream.send_replace(want);
        }
    }

    /// Whether the database's stream is wanted, to be watched.
    pub fn wants_stream(&self) -> watch::Receiver<bool> {
        self.wants_stream.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> Tenant {
        Tenant::new("t", Keys::new(Some("secret"), None, serde_json::Map::new()), Terms::default())
    }

    #[tokio::test]
    async fn other_limits_are_in_force_at_once_and_disturb_nobody() {
        let tenant = tenant();
        let disconnects = tenant.disconnects();
        let mut terms = tenant.terms();
        terms.limits.max_payload_size_in_kb = 1;
        terms.limits.max_joins_per_second = 7;
        tenant.change(terms);
        assert_eq!((tenant.max_payload_bytes(), tenant.meters.joins.limit()), (1_500, 7));
        assert!(!disconnects.has_changed().unwrap());
    }

    #[tokio::test]
    async fn a_socket_that_comes_after_the_end_is_to_go() {
        let tenant = tenant();
        assert!(!tenant.disconnects().has_changed().unwrap());
        tenant.end();
        assert!(tenant.disconnects().has_changed().unwrap());
    }

    #[tokio::test]
    async fn who_may_be_connected_is_asked_anew() {
        let tenant = tenant();
        let mut disconnects = tenant.disconnects();
        let suspended = Terms { suspended: true, ..tenant.terms() };
        for terms in [suspended, Terms { private_only: true, ..suspended }] {
            tenant.change(terms);
            assert!(disconnects.has_changed().unwrap());
            disconnects.mark_unchanged();
            tenant.change(terms);
            assert!(!disconnects.has_changed().unwrap(), "nothing is different");
        }
    }
}

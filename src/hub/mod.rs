//! Who is joined here, and getting frames to them.
//!
//! A [`topics::Hub`] maps topics to [`Subscriber`]s; each subscriber is one
//! channel of one socket and holds the socket's [`outbox::Outbox`]. Publishing
//! encodes once per serializer and never waits.

pub mod delivery;
pub mod outbox;
pub mod remote;
pub mod seen;
pub mod topics;

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
};

use crate::protocol::Vsn;

pub use crate::topic::Key;

use self::{outbox::Outbox, seen::Seen};

/// One joined channel of one socket. Never reused within this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub u64);

impl ChannelId {
    /// An id that no channel had before.
    pub fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What a subscriber is to receive from its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interest(u8);

impl Interest {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Broadcasts.
    pub const BROADCAST: Self = Self(1);
    /// Presence diffs.
    pub const PRESENCE: Self = Self(2);
    /// Everything.
    pub const ALL: Self = Self(3);

    /// True if every part of `other` is in this.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A channel as its topic sees it.
#[derive(Debug)]
pub struct Subscriber {
    /// The channel.
    pub id: ChannelId,
    /// The serializer of its socket.
    pub vsn: Vsn,
    /// Where its frames go.
    pub outbox: Arc<Outbox>,
    /// Which stored messages it has.
    pub seen: Seen,
    interest: AtomicU8,
    /// Its place in the topic's list, kept by the topic.
    place: AtomicUsize,
}

impl Subscriber {
    /// A new channel that wants `interest`.
    pub fn new(vsn: Vsn, outbox: Arc<Outbox>, interest: Interest) -> Arc<Self> {
        Arc::new(Self {
            id: ChannelId::next(),
            vsn,
            outbox,
            seen: Seen::default(),
            interest: AtomicU8::new(interest.0),
            place: AtomicUsize::new(0),
        })
    }

    /// What it wants now.
    pub fn interest(&self) -> Interest {
        Interest(self.interest.load(Ordering::Relaxed))
    }

    /// Changes what it wants; takes effect with the next message.
    pub fn set_interest(&self, interest: Interest) {
        self.interest.store(interest.0, Ordering::Relaxed);
    }
}

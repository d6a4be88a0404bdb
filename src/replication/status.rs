//! How a stream is doing, for whoever waits for it.

use std::sync::Arc;

use tokio::{sync::watch, time::Instant};

use super::position::Epoch;

/// The state of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Not streaming yet.
    Starting {
        /// What it is doing.
        detail: Arc<str>,
    },
    /// Another process streams; this one waits to take over.
    Standby {
        /// Since when.
        since: Instant,
    },
    /// Changes flow.
    Streaming {
        /// The history they belong to.
        epoch: Epoch,
    },
    /// The stream broke and is being restored.
    Interrupted {
        /// The history until now, and afterwards too if the slot exists.
        epoch: Epoch,
        /// Since when.
        since: Instant,
        /// Why.
        reason: Arc<str>,
        /// The slot keeps what commits meanwhile.
        slot_exists: bool,
    },
    /// Cannot run until somebody changes something; tried again now and then.
    Failed {
        /// Since when.
        since: Instant,
        /// What to change.
        reason: Arc<str>,
    },
    /// Ended for good: by a drain.
    Stopped,
}

impl Status {
    /// True when every later commit will be delivered, now or after the
    /// stream is restored. Except if PostgreSQL then turns out to have lost
    /// the slot, which the next start reports as a gap.
    pub fn is_live(&self) -> bool {
        match self {
            Self::Streaming { .. } => true,
            Self::Interrupted { slot_exists, .. } => *slot_exists,
            Self::Starting { .. } | Self::Standby { .. } | Self::Failed { .. } | Self::Stopped => {
                false
            }
        }
    }

    /// The current history, if there is one.
    pub fn epoch(&self) -> Option<Epoch> {
        match self {
            Self::Streaming { epoch } | Self::Interrupted { epoch, .. } => Some(*epoch),
            Self::Starting { .. } | Self::Standby { .. } | Self::Failed { .. } | Self::Stopped => {
                None
            }
        }
    }
}

/// A view of a running stream. Clones share it.
#[derive(Debug, Clone)]
pub struct Handle {
    status: watch::Receiver<Status>,
}

impl Handle {
    /// A handle and the end that its worker writes to. Public for tests of
    /// others, which play the worker.
    pub fn channel() -> (watch::Sender<Status>, Self) {
        let (sender, status) = watch::channel(Status::Starting { detail: "connecting".into() });
        (sender, Self { status })
    }

    /// The state now.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// See [`Status::is_live`].
    pub fn is_live(&self) -> bool {
        self.status.borrow().is_live()
    }

    /// To wait for a change of state.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }
}

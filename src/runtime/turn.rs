//! One at a time, over awaits: whoever has the turn may ask and wait.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A turn that one has and others wait for, in the order in which they came.
/// Clones are the same turn.
#[derive(Debug, Clone)]
pub struct Turn(Arc<Semaphore>);

/// Whose turn it is, until it is dropped.
#[derive(Debug)]
pub struct Turned(#[expect(dead_code, reason = "ends when dropped")] Option<OwnedSemaphorePermit>);

impl Turn {
    /// Waits for the turn. Cancel safe.
    pub async fn take(&self) -> Turned {
        // It is never closed.
        Turned(Arc::clone(&self.0).acquire_owned().await.ok())
    }

    /// The turn, if nobody has it.
    pub fn try_take(&self) -> Option<Turned> {
        Arc::clone(&self.0).try_acquire_owned().ok().map(|permit| Turned(Some(permit)))
    }

    /// Whether anybody else has it, waits for it, or may.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl Default for Turn {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_has_it_at_a_time() {
        let turn = Turn::default();
        let first = turn.take().await;
        assert!(turn.is_shared() && turn.try_take().is_none());
        drop(first);
        assert!(!turn.is_shared());
        assert!(turn.try_take().is_some());
    }
}

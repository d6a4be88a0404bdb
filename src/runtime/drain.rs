//! Orderly shutdown: one signal down, one "all done" back.

use std::{future::Future, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Told to every component that outlives a call. Clones share one signal.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Drain {
    /// A drain nobody has asked for yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `future` as a named task that [`Drain::finish`] waits for.
    pub fn spawn<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let tracked = self.tasks.track_future(future);
        super::spawn(name, tracked);
    }

    /// Makes [`Drain::finish`] wait for `future` too, which runs elsewhere.
    pub fn track<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        self.tasks.track_future(future)
    }

    /// True once shutdown began.
    pub fn is_draining(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Completes when shutdown begins. Cancel safe.
    pub async fn started(&self) {
        self.stop.cancelled().await;
    }

    /// Begins shutdown and returns at once.
    pub fn start(&self) {
        self.stop.cancel();
    }

    /// Begins shutdown and waits for all tasks, at most `limit`.
    /// Returns how many were still running then.
    pub async fn finish(&self, limit: Duration) -> usize {
        self.stop.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(limit, self.tasks.wait()).await;
        self.tasks.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn finish_waits_for_tasks_and_counts_the_stubborn() {
        let drain = Drain::new();
        let signal = drain.clone();
        drain.spawn("polite", async move { signal.started().await });
        drain.spawn("stubborn", std::future::pending());
        assert!(!drain.is_draining());
        assert_eq!(drain.finish(Duration::from_secs(1)).await, 1);
        assert!(drain.is_draining());
    }
}

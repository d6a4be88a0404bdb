//! Orderly shutdown: a signal down, an "all done" back, stage by stage.
//!
//! A server stops in three [`Stages`], each of which begins when the one before
//! has ended. Whoever builds a component chooses its stage by the [`Drain`] that
//! it hands over; the component itself knows of no others.
//!
//! 1. `work`: what is not begun any more. It is told at once. Sockets refuse
//!    joins and close one after the other; who reads the database for other
//!    servers gives it up; upkeep ends.
//! 2. `doors`: the listener and its connections. They stay open meanwhile, to say
//!    that the server is not ready, and take no request after that.
//! 3. `ground`: what sockets and requests stand on, and what they may have left to
//!    do: streams, the bus to other servers, presence, the chat's tasks, keys. An
//!    open socket misses nothing until its own end.

use std::{future::Future, time::Duration};

use tokio::time::Instant;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

/// Told to every component that outlives a call. Clones share one signal.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Those that wait for these tasks too.
    above: Vec<TaskTracker>,
}

/// What stops first, then, and last. Clones share their signals.
#[derive(Debug, Clone, Default)]
pub struct Stages {
    /// Sockets, and what need not be begun any more.
    pub work: Drain,
    /// The listener and its connections.
    pub doors: Drain,
    /// What sockets and requests are served by.
    pub ground: Drain,
}

impl Drain {
    /// A drain nobody has asked for yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A drain that begins with this one, or earlier by itself. This one waits
    /// for the tasks of both.
    pub fn child(&self) -> Self {
        let mut above = self.above.clone();
        above.push(self.tasks.clone());
        Self { stop: self.stop.child_token(), tasks: TaskTracker::new(), above }
    }

    /// Runs `future` as a named task that [`Drain::finish`] waits for.
    pub fn spawn<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let tracked = self.track(future);
        super::spawn(name, tracked);
    }

    /// Makes [`Drain::finish`] wait for `future` too, which runs elsewhere.
    pub fn track<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let above: Vec<TaskTrackerToken> = self.above.iter().map(TaskTracker::token).collect();
        self.tasks.track_future(async move {
            let _above = above;
            future.await
        })
    }

    /// How many tasks run.
    pub fn tasks(&self) -> usize {
        self.tasks.len()
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

impl Stages {
    /// Stages nobody has asked to end yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The stages of a part that may end before the rest. The doors are everybody's.
    pub fn child(&self) -> Self {
        let Self { work, doors, ground } = self;
        Self { work: work.child(), doors: doors.clone(), ground: ground.child() }
    }

    /// Ends one stage after the other, all within `limit`: one that takes too
    /// long does not keep the next from its end. Returns how many tasks were
    /// still running then.
    pub async fn finish(&self, limit: Duration) -> usize {
        let end = Instant::now() + limit;
        let rest = || end.saturating_duration_since(Instant::now());
        self.work.finish(limit * 3 / 4).await;
        self.doors.finish(rest() / 2).await;
        self.ground.finish(rest()).await;
        [&self.work, &self.doors, &self.ground].into_iter().map(Drain::tasks).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

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

    #[tokio::test(start_paused = true)]
    async fn a_part_ends_by_itself_or_with_the_whole() {
        let whole = Drain::new();
        let (one, two) = (whole.child(), whole.child().child());
        for part in [&one, &two] {
            let signal = part.clone();
            part.spawn("part", async move { signal.started().await });
        }
        assert_eq!(whole.tasks(), 2);
        assert_eq!(one.finish(LIMIT).await, 0);
        assert!(!whole.is_draining() && !two.is_draining());
        assert_eq!((whole.tasks(), two.tasks()), (1, 1));
        assert_eq!(whole.finish(LIMIT).await, 0);
        assert_eq!(two.tasks(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stage_goes_on_until_the_one_before_has_ended() {
        let stages = Stages::new();
        let Stages { work, doors, ground } = stages.clone();
        stages.work.spawn("work", async move {
            work.started().await;
            tokio::time::sleep(Duration::from_secs(3)).await;
            assert!(!doors.is_draining());
        });
        let doors = stages.doors.clone();
        stages.doors.spawn("doors", async move {
            doors.started().await;
            tokio::time::sleep(Duration::from_secs(3)).await;
            assert!(!ground.is_draining());
        });
        let ground = stages.ground.clone();
        stages.ground.spawn("ground", async move { ground.started().await });
        let begun = Instant::now();
        assert_eq!(stages.finish(LIMIT).await, 0);
        assert_eq!(begun.elapsed(), Duration::from_secs(6));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stubborn_stage_leaves_the_others_time_to_end() {
        let stages = Stages::new();
        stages.work.spawn("stubborn", std::future::pending());
        let ground = stages.ground.clone();
        stages.ground.spawn("last words", async move {
            ground.started().await;
            tokio::time::sleep(Duration::from_secs(2)).await;
        });
        let begun = Instant::now();
        assert_eq!(stages.finish(LIMIT).await, 1);
        assert!(begun.elapsed() <= LIMIT);
    }
}

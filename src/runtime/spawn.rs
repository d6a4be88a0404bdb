//! The one door to a new task.

use std::future::Future;

use tokio::task::JoinHandle;
use tracing::Instrument as _;

/// Starts a task called `name`; its log lines carry the name as a span.
///
/// The caller keeps the handle or gives the task a [`super::Drain`], so that
/// shutdown can wait for it. A panic ends this task alone.
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[expect(clippy::disallowed_methods, reason = "this is the door the lint points to")]
    tokio::spawn(future.instrument(tracing::info_span!("task", task = name)))
}

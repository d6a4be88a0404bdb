//! What tests share.

pub mod client;
pub mod dice;
pub mod postgres;
pub mod proxy;
pub mod redis;
pub mod server;
pub mod tokens;

use std::time::Duration;

use rowcast::replication::{
    change::Batch,
    sink::{ChangeSink, Start, Undelivered},
};
use tokio::time::{Instant, sleep};

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks `question` until it answers, with [`PATIENCE`].
pub async fn eventually<T>(what: &str, mut question: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = question().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A sink that forgets everything.
#[derive(Debug, Clone, Copy)]
pub struct Nowhere;

impl ChangeSink for Nowhere {
    async fn started(&self, _: Start) {}

    async fn deliver(&self, _: &Batch) -> Result<(), Undelivered> {
        Ok(())
    }

    fn interrupted(&self) {}
}

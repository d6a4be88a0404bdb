//! What tests share.

pub mod client;
pub mod postgres;
pub mod server;
pub mod tokens;

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Asks `question` until it answers, at most half a minute.
pub async fn eventually<T>(what: &str, mut question: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(answer) = question().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

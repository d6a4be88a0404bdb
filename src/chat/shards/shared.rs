//! A question that many ask at a time, put once for all of them.

use std::sync::{Mutex, PoisonError};

use tokio::{sync::Semaphore, time::Instant};

use crate::chat::ChatError;

/// The last answer. One asks at a time; those who waited for their turn take
/// what was asked after they came, a failure as well.
#[derive(Debug)]
pub(super) struct Shared<T> {
    turn: Semaphore,
    last: Mutex<Option<(Instant, Result<T, ChatError>)>>,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { turn: Semaphore::new(1), last: Mutex::default() }
    }
}

impl<T: Clone> Shared<T> {
    /// An answer that is no older than this call; `ask` is dropped unused if
    /// somebody else has got one.
    pub(super) async fn ask(
        &self,
        ask: impl Future<Output = Result<T, ChatError>>,
    ) -> Result<T, ChatError> {
        let came = Instant::now();
        // The semaphore is never closed.
        let _turn = self.turn.acquire().await;
        if let Some((begun, answer)) = &*self.lock()
            && *begun >= came
        {
            return answer.clone();
        }
        let begun = Instant::now();
        let answer = ask.await;
        *self.lock() = Some((begun, answer.clone()));
        answer
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Instant, Result<T, ChatError>)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, time::Duration};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_who_come_meanwhile_share_the_next_answer() {
        let (shared, asked) = (Shared::default(), Cell::new(0));
        let ask = async |after: u64| {
            tokio::time::sleep(Duration::from_millis(after)).await;
            let query = async {
                asked.set(asked.get() + 1);
                tokio::time::sleep(Duration::from_millis(10)).await;
                Ok(asked.get())
            };
            shared.ask(query).await.unwrap()
        };
        let answers = tokio::join!(ask(0), ask(1), ask(2), ask(30));
        assert_eq!(answers, (1, 2, 2, 3));
    }
}

//! Gathers questions while earlier ones are asked, and asks them in batches.
//!
//! Invariants: at most `connections` batches run at a time, so checks never
//! take the whole pool; at most `waiting` questions wait, further ones fail at
//! once; equal questions that wait together are asked once.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Semaphore, oneshot};

use crate::postgres::pool::{Pool, PoolError};

use super::{
    AuthorizeError, Caller, Rights,
    probe::{self, Access, Answer, Question},
};

/// Questions of one round trip.
const BATCH: usize = 50;

/// Bounds of checks.
#[derive(Debug, Clone)]
pub struct Config {
    /// Batches that run at a time.
    pub connections: usize,
    /// Questions that may wait.
    pub waiting: usize,
    /// A batch may take this long.
    pub timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { connections: 2, waiting: 20_000, timeout: Duration::from_secs(5) }
    }
}

/// Asks PostgreSQL who may do what. Clones share the queue.
#[derive(Debug, Clone)]
pub struct Authorizer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    pool: Pool,
    seats: Semaphore,
    waiting: Mutex<VecDeque<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    question: Question,
    answers: Vec<oneshot::Sender<Answer>>,
}

impl Authorizer {
    /// Checks through `pool`.
    pub fn new(pool: Pool, config: Config) -> Self {
        let seats = Semaphore::new(config.connections.max(1));
        Self { shared: Arc::new(Shared { config, pool, seats, waiting: Mutex::default() }) }
    }

    /// What a caller may receive on a topic.
    ///
    /// # Errors
    ///
    /// [`AuthorizeError`]; treat it as a no.
    pub async fn read(&self, caller: Caller) -> Result<Rights, AuthorizeError> {
        self.ask(Question { caller, access: Access::Read }).await
    }

    /// What a caller may send to a topic.
    ///
    /// # Errors
    ///
    /// [`AuthorizeError`]; treat it as a no.
    pub async fn write(&self, caller: Caller) -> Result<Rights, AuthorizeError> {
        self.ask(Question { caller, access: Access::Write }).await
    }

    /// Puts a question in the queue, then helps to empty it: whoever gets a
    /// seat asks for everybody, so no task is needed and none can die.
    async fn ask(&self, question: Question) -> Answer {
        let mut answer = self.enqueue(question)?;
        loop {
            tokio::select! {
                biased;
                answered = &mut answer => return answered.unwrap_or(Err(AuthorizeError::Unavailable)),
                seat = self.shared.seats.acquire() => {
                    let batch = self.take();
                    if batch.is_empty() {
                        // Somebody else is asking this very question.
                        drop(seat);
                        return answer.await.unwrap_or(Err(AuthorizeError::Unavailable));
                    }
                    // Others wait for this batch: it must not end with this caller.
                    let shared = Arc::clone(&self.shared);
                    let run = crate::runtime::spawn("authorization", async move { shared.run(batch).await });
                    let _ = run.await;
                }
            }
        }
    }

    fn enqueue(&self, question: Question) -> Result<oneshot::Receiver<Answer>, AuthorizeError> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.shared.lock();
        let is_full = waiting.len() >= self.shared.config.waiting;
        // Storms come in runs of equal questions: the youngest are the likely twins.
        let twin = waiting.iter_mut().rev().take(BATCH).find(|other| other.question == question);
        match twin {
            Some(twin) => twin.answers.push(sender),
            None if is_full => return Err(AuthorizeError::PoolExhausted),
            None => waiting.push_back(Waiting { question, answers: vec![sender] }),
        }
        Ok(receiver)
    }

    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.shared.lock();
        let count = waiting.len().min(BATCH);
        waiting.drain(..count).collect()
    }
}

impl Shared {
    async fn run(&self, batch: Vec<Waiting>) {
        let questions: Vec<Question> = batch.iter().map(|each| each.question.clone()).collect();
        let mut answers = self.probe(&questions).await;
        if questions.len() > 1 && answers.contains(&Err(AuthorizeError::Canceled)) {
            // One slow policy must not cost the others their answer: ask one by one.
            answers = Vec::with_capacity(questions.len());
            for question in &questions {
                answers.extend(self.probe(std::slice::from_ref(question)).await);
            }
        }
        for (waiting, answer) in batch.into_iter().zip(answers) {
            for sender in waiting.answers {
                // The caller may have left.
                let _ = sender.send(answer.clone());
            }
        }
    }

    async fn probe(&self, questions: &[Question]) -> Vec<Answer> {
        let all = |error: AuthorizeError| vec![Err(error); questions.len()];
        let mut lease = match Box::pin(self.pool.checkout()).await {
            Ok(lease) => lease,
            Err(error) => return all(unavailable(&error)),
        };
        lease.mark_dirty();
        let script = probe::script(questions, self.config.timeout.as_millis());
        match lease.simple_rows(&script).await {
            Ok(rows) => {
                lease.mark_clean();
                let json = rows.last().map(String::as_str).unwrap_or_default();
                probe::answers(json, questions.len())
            }
            Err(error) => {
                let failure = error.code().map(|code| probe::failure(code.code()));
                all(failure.unwrap_or(AuthorizeError::Unavailable))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unavailable(error: &PoolError) -> AuthorizeError {
    tracing::warn!(%error, "cannot check permissions");
    match error {
        PoolError::Exhausted { .. } => AuthorizeError::PoolExhausted,
        PoolError::TooManyConnections(_) => AuthorizeError::LackOfConnections,
        PoolError::Connect(_) | PoolError::Closed => AuthorizeError::Unavailable,
    }
}

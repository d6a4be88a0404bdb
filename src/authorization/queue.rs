//! Gathers questions while earlier ones are asked, and asks them in batches.
//!
//! Invariants: at most `connections` batches run at a time, so checks never
//! take the whole pool; at most `waiting` questions wait, further ones fail at
//! once; equal questions that wait together are asked once; what fails for a
//! whole batch is asked again one by one, so no question decides for another.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Semaphore, oneshot};

use crate::{
    error_code::ErrorCode,
    postgres::pool::{Pool, PoolError, RunError, ScriptError},
    telemetry::reason,
};

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
    seats: Arc<Semaphore>,
    waiting: Mutex<VecDeque<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    question: Question,
    answers: Vec<oneshot::Sender<Answer>>,
}

/// Why a batch as a whole has no answers.
enum Failure {
    /// Nobody could be asked, and asking again now would not help.
    NoConnection(AuthorizeError),
    /// It was asked and failed.
    Batch(AuthorizeError),
}

impl Authorizer {
    /// Checks through `pool`.
    pub fn new(pool: Pool, config: Config) -> Self {
        let seats = Arc::new(Semaphore::new(config.connections.max(1)));
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
                seat = Arc::clone(&self.shared.seats).acquire_owned() => {
                    let batch = self.take();
                    if batch.is_empty() {
                        // Somebody else is asking this very question.
                        drop(seat);
                        return answer.await.unwrap_or(Err(AuthorizeError::Unavailable));
                    }
                    // Others wait for this batch: it must not end with this caller,
                    // and holds its seat until its own end.
                    let shared = Arc::clone(&self.shared);
                    let run = crate::runtime::spawn("authorization", async move {
                        shared.run(batch).await;
                        drop(seat);
                    });
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
        let mut batch = Vec::new();
        while batch.len() < BATCH
            && let Some(next) = waiting.pop_front()
        {
            if next.is_awaited() {
                batch.push(next);
            }
        }
        batch
    }
}

impl Waiting {
    /// False once everybody who asked has gone away.
    fn is_awaited(&self) -> bool {
        self.answers.iter().any(|sender| !sender.is_closed())
    }

    fn tell(self, answer: &Answer) {
        for sender in self.answers {
            // The caller may have left.
            let _ = sender.send(answer.clone());
        }
    }
}

impl Shared {
    async fn run(&self, batch: Vec<Waiting>) {
        let questions: Vec<Question> = batch.iter().map(|each| each.question.clone()).collect();
        let answers = match self.probe(&questions).await {
            Ok(answers) => answers,
            // One slow or poisonous question must not cost the others their answer.
            Err(Failure::Batch(_)) if batch.len() > 1 => return self.run_each(batch).await,
            Err(Failure::Batch(error) | Failure::NoConnection(error)) => {
                vec![Err(error); batch.len()]
            }
        };
        for (waiting, answer) in batch.into_iter().zip(&answers) {
            waiting.tell(answer);
        }
    }

    async fn run_each(&self, batch: Vec<Waiting>) {
        let mut unreachable = None;
        for waiting in batch.into_iter().filter(Waiting::is_awaited) {
            let answers = match &unreachable {
                Some(error) => Err(Failure::NoConnection(AuthorizeError::clone(error))),
                None => self.probe(std::slice::from_ref(&waiting.question)).await,
            };
            let answer = match answers {
                Ok(answers) => {
                    answers.into_iter().next().unwrap_or(Err(AuthorizeError::Unavailable))
                }
                Err(Failure::Batch(error)) => Err(error),
                Err(Failure::NoConnection(error)) => Err(unreachable.insert(error).clone()),
            };
            waiting.tell(&answer);
        }
    }

    async fn probe(&self, questions: &[Question]) -> Result<Vec<Answer>, Failure> {
        let limit = self.config.timeout;
        let script = probe::script(questions, limit.as_millis());
        match self.pool.run(limit, &script).await {
            Ok(rows) => {
                let json = rows.last().map(String::as_str).unwrap_or_default();
                Ok(probe::answers(json, questions.len()))
            }
            Err(RunError::Pool(error)) => Err(Failure::NoConnection(unavailable(&error))),
            Err(RunError::Script(ScriptError::Silent)) => {
                Err(Failure::NoConnection(AuthorizeError::Unavailable))
            }
            Err(RunError::Script(error)) => {
                let failure = error.sqlstate().map(probe::failure);
                Err(Failure::Batch(failure.unwrap_or(AuthorizeError::Unavailable)))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unavailable(error: &PoolError) -> AuthorizeError {
    tracing::warn!(
        code = %ErrorCode::UnableCheckoutConnection, error = reason(error),
        "cannot check permissions"
    );
    match error {
        PoolError::Exhausted { .. } => AuthorizeError::PoolExhausted,
        PoolError::TooManyConnections(_) => AuthorizeError::LackOfConnections,
        PoolError::Connect(_) => AuthorizeError::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::pin, task::Poll};

    use tokio::{net::TcpListener, task::yield_now};

    use super::*;
    use crate::{
        auth::Claims,
        postgres::{
            connect::{ConnectConfig, SslMode},
            pool::PoolConfig,
            session::SessionConfig,
        },
        secret::Secret,
    };

    /// A pool whose connections are accepted and never answered.
    fn silent(listener: &TcpListener) -> Pool {
        let connect = ConnectConfig {
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr().unwrap().port(),
            user: "nobody".to_owned(),
            password: None,
            database: "none".to_owned(),
            ssl_mode: SslMode::Disable,
            ssl_root_cert: None,
        };
        let session = SessionConfig::new("test");
        Pool::new(PoolConfig { connect, size: 5, wait: Duration::from_secs(1), session })
    }

    fn caller(topic: &str) -> Caller {
        let claims = Claims::parse(r#"{"role":"anon","exp":2}"#, 1).unwrap();
        Caller { topic: topic.into(), claims, headers: Secret::new("{}") }
    }

    /// Lets `future` begin, and what it started do all it can without an answer.
    async fn begin(mut future: std::pin::Pin<&mut impl Future<Output = Answer>>) {
        std::future::poll_fn(|context| {
            assert!(future.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        for _ in 0..10 {
            yield_now().await;
        }
    }

    #[tokio::test]
    async fn callers_who_go_away_leave_no_seat_and_no_question() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pool = silent(&listener);
        let config = Config { connections: 1, ..Config::default() };
        let authorizer = Authorizer::new(pool.clone(), config);
        for topic in ["a", "b", "c"] {
            let mut asking = pin!(authorizer.read(caller(topic)));
            begin(asking.as_mut()).await;
            assert_eq!(pool.in_use(), 1, "{topic}: the first batch still runs");
        }
        assert!(authorizer.take().is_empty(), "nobody waits for b or c");
    }
}

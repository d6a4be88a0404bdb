//! Tenants by name, remembered for a while.
//!
//! One look at the control database answers everybody who asks for a name at
//! the same time. A record that is too old is asked for again; while the
//! database is away, or slow, it serves on. Names that do not exist are
//! remembered for a shorter time and only so many of them, because anybody can
//! make them up. Without a record, a database that is away is an error, never
//! "no such tenant".

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, timeout};

use super::{
    record::Record,
    store::{Store, StoreError},
};
use crate::{error_code::ErrorCode, runtime::turn::Turn, telemetry::reason};

/// How long a name is known not to exist.
const ABSENT: Duration = Duration::from_secs(5);

/// How many such names are remembered.
const MOST_ABSENT: usize = 10_000;

/// No tenant has a longer name.
const MOST_BYTES: usize = 1024;

/// Pause between two looks at a database that is away.
const PAUSE: Duration = Duration::from_secs(1);

/// How long an old record waits for a newer one.
const PATIENCE: Duration = Duration::from_secs(2);

/// Pause between two lines in the log about a database that is away.
const SILENCE: Duration = Duration::from_secs(10);

type Found = Result<Option<Arc<Record>>, Arc<StoreError>>;

/// The cache of a server. Clones share what is remembered.
#[derive(Debug, Clone)]
pub struct Cache {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    ttl: Duration,
    entries: Mutex<Entries>,
    told: Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Entries {
    by_name: HashMap<Box<str>, Arc<Entry>>,
    /// New ones since those without a record were forgotten.
    added: usize,
}

/// What is known of one name.
#[derive(Debug, Default)]
struct Entry {
    /// Held by the one who asks the database.
    turn: Turn,
    known: Mutex<Known>,
}

#[derive(Debug, Clone, Default)]
struct Known {
    /// The database's last answer and when it came.
    answer: Option<(Option<Arc<Record>>, Instant)>,
    /// The failure since then: when, and what unless it was slowness.
    failure: Option<(Option<Arc<StoreError>>, Instant)>,
    /// Counts up when it is forgotten: the answer to a question from before is
    /// not kept.
    age: u64,
}

impl Cache {
    /// A cache of `store` whose records are good for `ttl`.
    pub fn new(store: Store, ttl: Duration) -> Self {
        let (entries, told) = Default::default();
        Self { shared: Arc::new(Shared { store, ttl, entries, told }) }
    }

    /// The store behind it.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// The tenant of that name, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if that cannot be said. Ask again later if it is transient.
    pub async fn find(&self, name: &str) -> Found {
        let Shared { store, ttl, .. } = &*self.shared;
        if name.len() > MOST_BYTES {
            return Ok(None);
        }
        let entry = self.shared.entry(name);
        loop {
            let known = entry.known().clone();
            if let Some(found) = known.found(*ttl) {
                return found;
            }
            let turn = match (entry.turn.try_take(), known.record()) {
                (Some(turn), _) => turn,
                // Somebody asks already: what is old is better than to wait.
                (None, Some(record)) => return Ok(Some(record)),
                (None, None) => entry.turn.take().await,
            };
            let known = entry.known().clone();
            if let Some(found) = known.found(*ttl) {
                return found;
            }
            let question = Box::pin(store.find(name));
            let answer = match known.record() {
                None => question.await.map_err(Some),
                Some(_) => match timeout(PATIENCE, question).await {
                    Ok(answer) => answer.map_err(Some),
                    Err(_) => Err(None),
                },
            };
            if let Err(error) = &answer {
                self.shared.tell(name, error.as_ref());
            }
            let found = entry.known().learn(known.age, answer);
            drop(turn);
            if let Some(found) = found {
                return found;
            }
        }
    }

    /// Remembers a tenant that was stored just now, by [`Store::put`] for
    /// example, whatever was known before.
    pub fn remember(&self, record: Record) -> Arc<Record> {
        let record = Arc::new(record);
        let entry = self.shared.entry(&record.external_id);
        let mut known = entry.known();
        known.forget();
        known.answer = Some((Some(Arc::clone(&record)), Instant::now()));
        record
    }

    /// Forgets a tenant: it is another now, here or by way of another server.
    pub fn invalidate(&self, name: &str) {
        let entry = self.shared.entries().by_name.get(name).cloned();
        if let Some(entry) = entry {
            entry.known().forget();
        }
    }

    /// Forgets all: what other servers said may have been missed.
    pub fn invalidate_all(&self) {
        self.shared.entries().by_name.values().for_each(|entry| entry.known().forget());
    }
}

impl Shared {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, name: &str) -> Arc<Entry> {
        let mut entries = self.entries();
        if let Some(entry) = entries.by_name.get(name) {
            return Arc::clone(entry);
        }
        if entries.added >= MOST_ABSENT {
            // Whoever waits for an entry still needs it.
            let is_used = |entry: &Arc<Entry>| Arc::strong_count(entry) > 1;
            entries.by_name.retain(|_, entry| entry.known().record().is_some() || is_used(entry));
            entries.added = 0;
        }
        entries.added += 1;
        let entry = Arc::<Entry>::default();
        entries.by_name.insert(name.into(), Arc::clone(&entry));
        entry
    }

    /// Says that the database gave no answer, now and then.
    fn tell(&self, name: &str, error: Option<&StoreError>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|at| at.elapsed() >= SILENCE) {
            *told = Some(Instant::now());
            let error = error.map_or_else(|| "it is slow".to_owned(), |error| reason(error));
            tracing::warn!(code = %ErrorCode::ErrorRunningQuery, tenant = name, error, "the control database gives no answer");
        }
    }
}

impl Entry {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn record(&self) -> Option<Arc<Record>> {
        self.answer.as_ref().and_then(|(record, _)| record.clone())
    }

    /// What can be said without asking.
    fn found(&self, ttl: Duration) -> Option<Found> {
        if let Some((record, at)) = &self.answer {
            let good = if record.is_some() { ttl } else { ttl.min(ABSENT) };
            if at.elapsed() < good {
                return Some(Ok(record.clone()));
            }
        }
        let (error, at) = self.failure.as_ref()?;
        if at.elapsed() >= PAUSE {
            return None;
        }
        match (self.record(), error) {
            (Some(record), _) => Some(Ok(Some(record))),
            (None, error) => error.clone().map(Err),
        }
    }

    /// Takes an answer and says what to tell, or nothing if the question was
    /// asked before all was forgotten.
    fn learn(
        &mut self,
        age: u64,
        answer: Result<Option<Record>, Option<StoreError>>,
    ) -> Option<Found> {
        if age != self.age {
            return None;
        }
        match answer {
            Ok(record) => {
                let record = record.map(Arc::new);
                self.answer = Some((record.clone(), Instant::now()));
                self.failure = None;
                Some(Ok(record))
            }
            Err(error) => {
                let error = error.map(Arc::new);
                self.failure = Some((error.clone(), Instant::now()));
                self.record().map(|record| Ok(Some(record))).or_else(|| error.map(Err))
            }
        }
    }

    fn forget(&mut self) {
        *self = Self { age: self.age + 1, ..Self::default() };
    }
}

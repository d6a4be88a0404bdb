//! The [log](crate::cluster::log) in Redis: a capped stream for each history and a hash that
//! names the current one.
//!
//! What has to hold together is one script, so that no node sees half of it.
//! The keys of a log share a hash tag and so a server of a Redis Cluster.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use redis::{Cmd, FromRedisValue, RedisError, Value, aio::MultiplexedConnection};

use super::servers::Servers;
use crate::cluster::{
    NodeId,
    log::{About, Entry, EntryId, Head, LogError, Turn},
};

/// One log. Each use connects by itself if there is no connection.
pub struct Log {
    servers: Arc<Servers>,
    head: String,
    node: NodeId,
    commands: Connection,
    /// Of its own: a read waits for entries, and nothing else can use it meanwhile.
    reads: Connection,
}

/// Most entries of one read.
const ENTRIES: usize = 64;

/// How long a read waits for entries.
const WAIT: Duration = Duration::from_secs(1);

/// A reader that is not heard of for so many seconds is gone.
const SILENCE: u64 = 10;

/// With what [`Servers::changes`] was when it was made.
type Connection = Mutex<Option<(usize, MultiplexedConnection)>>;

impl Log {
    /// The log `name` behind `prefix`. Nothing is connected yet.
    pub(super) fn new(servers: Arc<Servers>, prefix: &str, name: &str, node: NodeId) -> Self {
        let head = format!("{prefix}log:{{{name}}}");
        Self { servers, head, node, commands: Mutex::default(), reads: Mutex::default() }
    }

    /// Takes over the right to append to a log about this. `token` names the
    /// turn; `known` is the last entry that this node appended, if it did.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub async fn take(
        &self,
        token: &str,
        about: &About,
        known: Option<&(String, EntryId)>,
    ) -> Result<Turn, LogError> {
        let mut command = script(include_str!("take.lua"), &[&self.head]);
        command.arg(token).arg(source(about.source)).arg(about.generation).arg(&about.gap);
        match known {
            Some((history, entry)) => command.arg(history).arg(entry.to_string()),
            None => command.arg("").arg("0-0"),
        };
        let (history, top, entries, bytes): (String, String, usize, usize) =
            self.ask(&self.commands, &command).await?;
        Ok(Turn { token: token.to_owned(), history, top: top.parse()?, entries, bytes })
    }

    /// Appends entries to the turn's history, of which `keep` are to be kept.
    /// May be asked again with the same if there was no answer.
    ///
    /// # Errors
    ///
    /// [`LogError`]; unless it is `Away`, nothing can be appended in this turn.
    pub async fn append(
        &self,
        turn: &Turn,
        keep: usize,
        entries: &[(EntryId, Bytes)],
    ) -> Result<(), LogError> {
        let mut command =
            script(include_str!("append.lua"), &[&self.head, &self.history(&turn.history)]);
        command.arg(&turn.token).arg(turn.top.to_string()).arg(keep);
        for (id, payload) in entries {
            command.arg(id.to_string()).arg(&**payload);
        }
        let answer: String = self.ask(&self.commands, &command).await?;
        match answer.as_str() {
            "done" => Ok(()),
            "taken" => Err(LogError::TakenOver),
            "lost" => Err(LogError::Lost),
            _ => Err(LogError::Answer),
        }
    }

    /// The current history, if anybody ever began one.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub async fn head(&self) -> Result<Option<Head>, LogError> {
        let mut command = redis::cmd("HMGET");
        command.arg(&self.head);
        command.arg(&["history", "top", "source", "generation", "gap", "follows"]);
        let found: [Option<String>; 6] = self.ask(&self.commands, &command).await?;
        let [Some(history), Some(top), Some(source), Some(generation), gap, follows] = found else {
            return Ok(None);
        };
        let (system, timeline) = source.split_once('/').ok_or(LogError::Answer)?;
        let number = |text: &str| text.parse().map_err(|_| LogError::Answer);
        let source = (system.parse().map_err(|_| LogError::Answer)?, number(timeline)?);
        let about =
            About { source, generation: number(&generation)?, gap: gap.unwrap_or_default() };
        let follows = follows.as_deref().and_then(|follows| follows.split_once(' '));
        let follows = match follows {
            Some((history, entry)) => Some((history.to_owned(), entry.parse()?)),
            None => None,
        };
        Ok(Some(Head { history, top: top.parse()?, about, follows }))
    }

    /// The entries of a history after one. Waits a second for them; none if
    /// there are none. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub async fn read(&self, history: &str, after: EntryId) -> Result<Vec<Entry>, LogError> {
        let mut command = redis::cmd("XREAD");
        let wait = u64::try_from(WAIT.as_millis()).unwrap_or(u64::MAX);
        command.arg("COUNT").arg(ENTRIES).arg("BLOCK").arg(wait);
        command.arg("STREAMS").arg(self.history(history)).arg(after.to_string());
        let answer = self.ask::<Option<StreamAnswer>>(&self.reads, &command).await?;
        let (_, entries) = answer.unwrap_or_default().into_iter().next().unwrap_or_default();
        entries.into_iter().map(|(id, fields)| entry(&id, fields)).collect()
    }

    /// Tells whoever appends how far this node has come.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub async fn report(&self, history: &str, entry: EntryId) -> Result<(), LogError> {
        let mut command = script(include_str!("report.lua"), &[&self.readers()]);
        command.arg(self.node.0.to_string()).arg(format!("{history} {entry}"));
        self.ask(&self.commands, &command).await
    }

    /// How far the readers of the history are that live.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub async fn places(&self, history: &str) -> Result<Vec<EntryId>, LogError> {
        let mut command = script(include_str!("readers.lua"), &[&self.readers()]);
        command.arg(history).arg(SILENCE);
        let places: Vec<String> = self.ask(&self.commands, &command).await?;
        places.iter().map(|place| place.parse()).collect()
    }

    fn history(&self, history: &str) -> String {
        format!("{}:{history}", self.head)
    }

    fn readers(&self) -> String {
        format!("{}:readers", self.head)
    }

    async fn ask<T: FromRedisValue>(
        &self,
        connection: &Connection,
        command: &Cmd,
    ) -> Result<T, LogError> {
        let away = |error: RedisError| LogError::Away(error.into());
        let changes = self.servers.changes();
        let known = lock(connection).clone().filter(|(made, _)| *made == changes);
        let mut open = if let Some((_, open)) = known {
            open
        } else {
            let open = self.connect().await.map_err(away)?;
            lock(connection).insert((changes, open)).1.clone()
        };
        let answer = command.query_async::<Value>(&mut open).await.inspect_err(|error| {
            // What the server refuses is mostly no fault of the connection.
            if error.code().is_none() || is_elsewhere(error) {
                *lock(connection) = None;
            }
        });
        redis::from_redis_value(answer.map_err(away)?).map_err(|_| LogError::Answer)
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let config =
            self.servers.config().set_response_timeout(Some(self.servers.timeout() + WAIT));
        self.servers.reach(&self.head, &config).await.map(|(connection, _)| connection)
    }
}

/// Whether another server has what was asked for.
fn is_elsewhere(error: &RedisError) -> bool {
    let code = error.code().unwrap_or_default();
    // Older servers answer for a script with a code of its own.
    let is_replica = || error.detail().is_some_and(|detail| detail.contains("READONLY"));
    matches!(code, "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" | "MOVED" | "READONLY" | "UNBLOCKED")
        || is_replica()
}

/// Streams by name, each with entries: an id and its fields.
type StreamAnswer = Vec<(Value, Vec<(String, Vec<(String, Value)>)>)>;

fn entry(id: &str, fields: Vec<(String, Value)>) -> Result<Entry, LogError> {
    let (mut previous, mut payload) = (None, None);
    for (name, value) in fields {
        let Value::BulkString(bytes) = value else { return Err(LogError::Answer) };
        match name.as_str() {
            "p" => previous = Some(String::from_utf8(bytes).map_err(|_| LogError::Answer)?),
            "b" => payload = Some(Bytes::from(bytes)),
            _ => {}
        }
    }
    let previous = previous.ok_or(LogError::Answer)?.parse()?;
    Ok(Entry { id: id.parse()?, previous, payload })
}

fn script(text: &str, keys: &[&str]) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(text).arg(keys.len()).arg(keys);
    command
}

fn source((system, timeline): (u64, u32)) -> String {
    format!("{system}/{timeline}")
}

fn lock(
    connection: &Connection,
) -> std::sync::MutexGuard<'_, Option<(usize, MultiplexedConnection)>> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("head", &self.head).finish_non_exhaustive()
    }
}

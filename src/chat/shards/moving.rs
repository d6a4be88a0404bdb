//! Moves a bucket's rooms from one shard to another while they are in use.
//!
//! The order is what makes it safe: the source stops writing; its stream tells
//! what it has; the rows are copied; the source gives the bucket up; the map
//! names the target; only then the target takes it; the source's rows go. So at
//! most one shard takes writes, and what is written is told by the shard that the
//! map names. What was done is in the databases alone: a move that was cut off
//! is finished, or before the map has changed undone, by asking for it again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::slot_suffix;
use crate::postgres::{
    connect::ConnectConfig,
    pool::{self as pg, Client},
    session::{self, SessionConfig, SessionError},
};

mod rows;

/// Between two looks at what a stream has confirmed.
const LOOK: Duration = Duration::from_millis(20);

/// First number of the advisory locks; the second is a bucket.
const LOCKS: i32 = 1_667_785_076;

/// Second number of the lock that one move at a time holds: beyond all buckets.
const ONE_MOVE: i32 = 4096;

/// Where a bucket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The bucket.
    pub bucket: u16,
    /// Its shard.
    pub shard: usize,
    /// The version of the map at its last change.
    pub version: i64,
    /// The shard to which it moves now.
    pub moves_to: Option<usize>,
    /// The shard in which rows of it are left over.
    pub left_in: Option<usize>,
}

/// A move to be made.
#[derive(Debug, Clone)]
pub struct Move<'a> {
    /// The shards in their order.
    pub shards: &'a [ConnectConfig],
    /// What moves.
    pub bucket: u16,
    /// Where to.
    pub to: usize,
    /// How long a shard's streams may take to tell what was written before. The
    /// bucket is frozen meanwhile.
    pub patience: Duration,
}

/// Why a bucket was not moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// A shard cannot be reached.
    #[error("shard {shard} cannot be reached")]
    Connect {
        /// Which.
        shard: usize,
        /// Why.
        source: SessionError,
    },
    /// A statement failed.
    #[error("a statement failed in shard {shard}")]
    Sql {
        /// Where.
        shard: usize,
        /// Why.
        source: pg::Error,
    },
    /// There is no such shard in the list, or the database is not that shard.
    #[error("shard {0} is not set up; run rowcast migrate --chat with ROWCAST_CHAT_SHARDS")]
    NoShard(usize),
    /// Another move is under way.
    #[error("another move is under way")]
    Busy,
    /// The bucket is on its way to a third shard.
    #[error(
        "the bucket is on its way from shard {from} to shard {to}: finish that, or undo it with --to {from}"
    )]
    UnderWay {
        /// Where it was.
        from: usize,
        /// Where it goes.
        to: usize,
    },
    /// A stream does not go on.
    #[error("a stream of shard {shard} does not get on: its slot {slot} is behind")]
    Silent {
        /// Which shard.
        shard: usize,
        /// The slot, which tells whose stream it is.
        slot: String,
    },
}

/// Every bucket that is somewhere, in order.
///
/// # Errors
///
/// [`MoveError`].
pub async fn places(first: &ConnectConfig) -> Result<Vec<Place>, MoveError> {
    let client = connect(first, 0).await?;
    read_places(&client, "true").await
}

async fn read_places(client: &Client, which: &str) -> Result<Vec<Place>, MoveError> {
    let sql = format!(
        "select bucket, shard, version, state, other from chat.buckets where {which} order by bucket"
    );
    let rows = client.query(&sql, &[]).await.map_err(at(0))?;
    let shard = |number: i32| usize::try_from(number).unwrap_or(usize::MAX);
    let place = |row: &pg::Row| {
        let other = row.get::<_, Option<i32>>(4).map(shard);
        let state: &str = row.get(3);
        Place {
            bucket: u16::try_from(row.get::<_, i32>(0)).unwrap_or_default(),
            shard: shard(row.get(1)),
            version: row.get(2),
            moves_to: other.filter(|_| state == "moving"),
            left_in: other.filter(|_| state == "clearing"),
        }
    };
    Ok(rows.iter().map(place).collect())
}

impl Move<'_> {
    /// Moves the bucket, finishes a move that was cut off, or, if `to` is where
    /// it came from, undoes one. `told` hears each step.
    ///
    /// # Errors
    ///
    /// [`MoveError`]. The bucket is then where it was, or asking again goes on.
    pub async fn run(&self, told: impl Fn(&str)) -> Result<(), MoveError> {
        let first = self.connect(0).await?;
        let lock = format!("select pg_try_advisory_lock({LOCKS}, {ONE_MOVE})");
        if !first.query_one(&lock, &[]).await.map_err(at(0))?.get::<_, bool>(0) {
            return Err(MoveError::Busy);
        }
        let mut place = self.place(&first).await?;
        if let Some(left) = place.left_in {
            told("finishing an earlier move");
            self.clear(&first, left, &told).await?;
            place = self.place(&first).await?;
        }
        match (place.shard, place.moves_to) {
            (from, None) if from == self.to => {
                told("the bucket is there already");
                Ok(())
            }
            (from, Some(target)) if from == self.to => {
                told("undoing the move that was begun");
                self.undo(&first, from, target).await
            }
            (from, Some(target)) if target != self.to => {
                Err(MoveError::UnderWay { from, to: target })
            }
            (from, _) => self.carry(&first, from, told).await,
        }
    }

    async fn carry(
        &self,
        first: &Client,
        from: usize,
        told: impl Fn(&str),
    ) -> Result<(), MoveError> {
        let (mut source, mut target) = (self.connect(from).await?, self.connect(self.to).await?);
        self.set_place(first, from, "moving", Some(self.to)).await?;
        let brought = self.bring(&mut source, from, &mut target, &told);
        if let Err(error) = Box::pin(brought).await {
            told("undoing: nothing was moved");
            // Its own error says less than the first one, and asking again tells it.
            if self.undo(first, from, self.to).await.is_err() {
                told(
                    "not all is undone yet: --to the shard where the bucket was goes on with that",
                );
            }
            return Err(error);
        }
        told("handing the bucket over");
        // The lock is gone if this fails, and another move may be under way.
        first.simple_query("select 1").await.map_err(at(0))?;
        self.run_locked(&source, from, "delete from chat.owned_buckets where bucket = {}").await?;
        self.set_place(first, self.to, "clearing", Some(from)).await?;
        self.clear(first, from, &told).await
    }

    /// Everything up to the copy: the target has it all and owns nothing.
    async fn bring(
        &self,
        source: &mut Client,
        from: usize,
        target: &mut Client,
        told: &impl Fn(&str),
    ) -> Result<(), MoveError> {
        rows::delete(target, self.to, self.bucket).await?;
        // Before anybody has to wait: rooms must not come where nobody listens.
        told("looking whether the target's stream gets on");
        self.wait(target, self.to).await?;
        told("freezing");
        let freeze = "update chat.owned_buckets set frozen = true where bucket = {}";
        self.run_locked(source, from, freeze).await?;
        told("waiting until all that was written before is told");
        self.wait(source, from).await?;
        told("copying");
        rows::copy(source, from, target, self.to, self.bucket).await
    }

    /// The source first: its writers must not wait for a target that is away.
    async fn undo(&self, first: &Client, from: usize, target: usize) -> Result<(), MoveError> {
        let source = self.connect(from).await?;
        let keep = "insert into chat.owned_buckets (bucket) values ({}) \
                    on conflict (bucket) do update set frozen = false";
        self.run_locked(&source, from, keep).await?;
        let mut other = self.connect(target).await?;
        rows::delete(&mut other, target, self.bucket).await?;
        self.set_place(first, from, "open", None).await
    }

    /// The end of a move: the shard that the map names takes the bucket, and the
    /// rows that are left in the other one go.
    async fn clear(
        &self,
        first: &Client,
        left: usize,
        told: &impl Fn(&str),
    ) -> Result<(), MoveError> {
        let shard = self.place(first).await?.shard;
        let take = "insert into chat.owned_buckets (bucket) values ({}) on conflict do nothing";
        self.run_locked(&self.connect(shard).await?, shard, take).await?;
        told("clearing what is left behind");
        rows::delete(&mut self.connect(left).await?, left, self.bucket).await?;
        self.set_place(first, shard, "open", None).await?;
        told("done");
        Ok(())
    }

    /// Runs a statement while nobody writes in the bucket. Who writes for long
    /// must not make all others wait as well.
    async fn run_locked(
        &self,
        client: &Client,
        shard: usize,
        statement: &str,
    ) -> Result<(), MoveError> {
        let bucket = self.bucket;
        let statement = statement.replace("{}", &bucket.to_string());
        let script = format!(
            "begin; set local lock_timeout = '5s'; select pg_advisory_xact_lock({LOCKS}, {bucket}); \
             {statement}; commit"
        );
        if let Err(error) = client.batch_execute(&script).await {
            // Best effort: the connection is of no further use if this fails.
            let _ = client.batch_execute("rollback").await;
            return Err(at(shard)(error));
        }
        Ok(())
    }

    /// Waits until all streams of a shard, whichever servers read them, have handed
    /// off what is in its log by now.
    async fn wait(&self, client: &Client, shard: usize) -> Result<(), MoveError> {
        // What is not flushed is not sent, and PostgreSQL leaves its own records so for
        // long. The commit of anything that is logged flushes all before it.
        let flush = "begin; set local synchronous_commit = on; \
                     select pg_logical_emit_message(true, 'rowcast', ''); commit";
        client.batch_execute(flush).await.map_err(at(shard))?;
        let end = client.query_one("select pg_current_wal_flush_lsn()::text", &[]).await;
        let end: String = end.map_err(at(shard))?.get(0);
        let look = format!(
            "select slot_name::text from pg_replication_slots \
             where slot_type = 'logical' and database = current_database() \
             and right(slot_name, length($1)) = $1 \
             and coalesce(confirmed_flush_lsn < '{end}', true) order by slot_name limit 1"
        );
        let suffix = slot_suffix(shard);
        let begun = Instant::now();
        loop {
            let behind = client.query_opt(&look, &[&suffix]).await.map_err(at(shard))?;
            let Some(behind) = behind else { return Ok(()) };
            if begun.elapsed() >= self.patience {
                return Err(MoveError::Silent { shard, slot: behind.get(0) });
            }
            sleep(LOOK).await;
        }
    }

    async fn place(&self, first: &Client) -> Result<Place, MoveError> {
        let mut found = read_places(first, &format!("bucket = {}", self.bucket)).await?;
        found.pop().ok_or(MoveError::NoShard(0))
    }

    async fn set_place(
        &self,
        first: &Client,
        shard: usize,
        state: &str,
        other: Option<usize>,
    ) -> Result<(), MoveError> {
        let other = other.map_or_else(|| "null".to_owned(), |other| other.to_string());
        let sql = format!(
            "update chat.buckets set shard = {shard}, state = '{state}', other = {other}, \
             version = (select 1 + max(version) from chat.buckets) where bucket = {}",
            self.bucket
        );
        first.batch_execute(&sql).await.map_err(at(0))
    }

    /// A connection to a shard that knows that it is this one.
    async fn connect(&self, shard: usize) -> Result<Client, MoveError> {
        let config = self.shards.get(shard).ok_or(MoveError::NoShard(shard))?;
        let client = connect(config, shard).await?;
        let number = client.query_opt("select number from chat.shard", &[]).await;
        let number = number.ok().flatten().map(|row| row.get::<_, i32>(0));
        match number.is_some_and(|number| usize::try_from(number) == Ok(shard)) {
            true => Ok(client),
            false => Err(MoveError::NoShard(shard)),
        }
    }
}

async fn connect(config: &ConnectConfig, shard: usize) -> Result<Client, MoveError> {
    let session = SessionConfig::new("rowcast_chat_move");
    let client = Box::pin(session::connect(config, &session)).await;
    client.map_err(|source| MoveError::Connect { shard, source })
}

fn at(shard: usize) -> impl Fn(pg::Error) -> MoveError {
    move |source| MoveError::Sql { shard, source }
}

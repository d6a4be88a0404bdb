//! Rooms spread over several databases: a room has a bucket, a bucket a shard.
//!
//! The map of buckets is a table of the first shard, read again every second and
//! whenever a shard refuses. It only says where to ask: each shard has a list of
//! its own buckets and refuses all others, so an old map costs time and nothing
//! else. Without several shards there is one database and no map, and nothing is
//! looked up.

mod gather;
mod map;
mod moving;
mod shared;

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;

use crate::{error_code::ErrorCode, postgres::pool::Pool, tenants::Caller};

pub(super) use self::map::Map;
use self::shared::Shared;
pub use self::{
    map::{BUCKETS, bucket},
    moving::{Move, MoveError, Place, places},
};
use super::{Chat, ChatError, Mode, State};

/// Between two looks at the map.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a call follows a room that moves.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two attempts of such a call.
const RETRY: Duration = Duration::from_millis(50);

/// The map may take this long.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The slot of a shard's stream, made of that of the tenant's.
pub fn slot_name(base: &str, shard: usize) -> String {
    format!("{base}{}", slot_suffix(shard))
}

/// What the names of a shard's slots end in, whichever server they are of.
fn slot_suffix(shard: usize) -> String {
    format!("_chat_{shard}")
}

/// The databases of a chat.
#[derive(Debug)]
pub struct Shards {
    pools: Vec<Pool>,
    /// Of several databases; `None` until it has been read.
    map: RwLock<Option<Arc<Map>>>,
    reading: Shared<()>,
    /// The buckets that each shard owns.
    owned: Vec<Shared<Arc<HashSet<u16>>>>,
    is_spread: bool,
}

impl Shards {
    /// One database, in which every room is.
    pub fn one(pool: Pool) -> Self {
        Self::new(vec![pool], false)
    }

    /// Several databases in their order, the first of which has the map. The
    /// list may have one entry: others may come later.
    pub fn spread(pools: Vec<Pool>) -> Self {
        Self::new(pools, true)
    }

    fn new(pools: Vec<Pool>, is_spread: bool) -> Self {
        let owned = pools.iter().map(|_| Shared::default()).collect();
        Self { pools, map: RwLock::default(), reading: Shared::default(), owned, is_spread }
    }

    pub(super) fn is_spread(&self) -> bool {
        self.is_spread
    }

    /// The shard that has a room, as far as is known.
    pub(super) fn of(&self, room: Uuid) -> Result<usize, ChatError> {
        match self.is_spread {
            true => Ok(self.map().ok_or_else(ChatError::unavailable)?.of(room)),
            false => Ok(0),
        }
    }

    pub(super) fn pool(&self, shard: usize) -> Result<&Pool, ChatError> {
        self.pools.get(shard).ok_or_else(|| {
            tracing::error!(
                code = %ErrorCode::RealtimeDisabledForConfiguration, shard,
                "a bucket is in a shard that is not in ROWCAST_CHAT_SHARDS"
            );
            ChatError::unavailable()
        })
    }

    pub(super) fn map(&self) -> Option<Arc<Map>> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Learns what has changed in the map.
    pub(super) async fn reload(&self) -> Result<(), ChatError> {
        self.reading.ask(Box::pin(self.read_map())).await
    }

    async fn read_map(&self) -> Result<(), ChatError> {
        let known = self.map();
        let version = known.as_ref().map_or(-1, |map| map.version());
        let timeout = TIMEOUT.as_millis();
        let script = format!(
            "begin read only; set local statement_timeout = {timeout}; \
             select concat_ws(' ', bucket, shard, version) from chat.buckets \
             where version > {version}; commit"
        );
        let Some(first) = self.pools.first() else { return Ok(()) };
        let rows = Box::pin(first.run(TIMEOUT, &script)).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let map = match known {
            None => Map::read(&rows),
            Some(known) => {
                let mut map = Map::clone(&known);
                map.update(&rows);
                Some(map)
            }
        };
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = map.map(Arc::new);
        Ok(())
    }
}

impl Shards {
    /// Whether a shard owns a room's bucket, now or a moment later. However many
    /// ask at a time, it is one query.
    async fn owns(&self, shard: usize, room: Uuid) -> Result<bool, ChatError> {
        let Some(shared) = self.owned.get(shard) else { return Ok(false) };
        let owned = shared.ask(Box::pin(self.read_owned(shard))).await?;
        Ok(owned.contains(&bucket(room)))
    }

    async fn read_owned(&self, shard: usize) -> Result<Arc<HashSet<u16>>, ChatError> {
        let script = format!(
            "begin read only; set local statement_timeout = {}; \
             select bucket from chat.owned_buckets; commit",
            TIMEOUT.as_millis()
        );
        let rows = Box::pin(self.pool(shard)?.run(TIMEOUT, &script)).await?;
        Ok(Arc::new(rows.iter().filter_map(|row| row.parse().ok()).collect()))
    }
}

impl Chat {
    /// The shard that has a room, if there are several.
    pub fn shard_of(&self, room: Uuid) -> Option<Result<usize, ChatError>> {
        let shards = &self.0.shards;
        let may = shards.is_spread() && self.0.config.mode != Mode::Off;
        may.then(|| shards.of(room))
    }

    /// Whether a shard still has a room. If not the map is read again.
    ///
    /// # Errors
    ///
    /// [`ChatError`], if it cannot be asked.
    pub async fn is_still_in(&self, room: Uuid, shard: usize) -> Result<bool, ChatError> {
        let is_there = Box::pin(self.0.shards.owns(shard, room)).await?;
        if !is_there {
            self.follow().await;
        }
        Ok(is_there)
    }

    /// Runs a query about a room as the caller, in the shard that has it,
    /// wherever it moves meanwhile.
    pub(super) async fn in_shard(
        &self,
        caller: Caller<'_>,
        room: Uuid,
        query: &str,
    ) -> Result<String, ChatError> {
        let shards = &self.0.shards;
        let begun = Instant::now();
        loop {
            let pool = shards.pool(shards.of(room)?)?;
            match Box::pin(self.query_in(pool, caller, Some(room), query)).await {
                // Refused before anything was done, so it may be done again.
                Err(error) if error.is_elsewhere() && begun.elapsed() < PATIENCE => {
                    self.follow().await;
                }
                answer => return answer,
            }
        }
    }

    /// Waits a moment and reads the map.
    async fn follow(&self) {
        tokio::time::sleep(RETRY).await;
        if let Err(error) = Box::pin(self.0.shards.reload()).await {
            tracing::warn!(
                code = %ErrorCode::ErrorRunningQuery, %error,
                "cannot read the map of the chat's shards"
            );
        }
    }

    /// Keeps the map, until the drain begins.
    pub(super) async fn keep_map(self) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = self.0.drain.started() => return,
            }
            let outcome = match self.state() {
                State::On => Box::pin(self.0.shards.reload()).await,
                State::Unknown | State::Off => Box::pin(self.look()).await.map(drop),
            };
            if let Err(error) = outcome {
                tracing::debug!(%error, "cannot read the map of the chat's shards");
            }
        }
    }

    /// Waits until it is known which shard has which room.
    pub(super) async fn until_mapped(&self) {
        while self.0.shards.is_spread() && self.state() == State::Unknown {
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = self.0.drain.started() => return,
            }
        }
    }
}

/// The statement that refuses what is not to be done in this shard. Writes are
/// refused further by triggers, for everybody.
pub(super) fn check(room: Uuid) -> String {
    format!("select chat.check_bucket({}, false)", bucket(room))
}

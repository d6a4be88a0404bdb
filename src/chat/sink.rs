//! The stream's rows become pushes, in commit order and for every writer alike.
//!
//! The sink waits for the database only where a row's content is not in the
//! log. A removed member is cut off before anything later is told.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use uuid::Uuid;

use crate::{
    error_code::ErrorCode,
    hub::Interest,
    replication::{
        change::{Batch, Change},
        sink::{ChangeSink, Start, Undelivered},
    },
};

use super::{
    Chat, ChatError, Mode, State,
    joined::Seat,
    push::{self, Push},
    rows::{self, Meaning},
};

/// Attempts to learn whether there still is a chat, each time the stream starts.
const ATTEMPTS: u32 = 5;

/// Between two of them.
const PAUSE: Duration = Duration::from_millis(500);

/// The sink to give to the stream.
#[derive(Debug)]
pub struct Pushes {
    chat: Chat,
    shard: usize,
    /// The last transaction that moved rooms, by its commit.
    moved: AtomicU64,
}

impl Pushes {
    /// Tells what happens to the tables of `chat` in one of its shards; there
    /// is a first one, 0, in any case.
    pub fn new(chat: Chat, shard: usize) -> Self {
        Self { chat, shard, moved: AtomicU64::new(0) }
    }

    /// Whether rows of a room are the shard's to tell. What comes from the log
    /// again after a crash may be of a room that has moved on.
    async fn is_told_here(&self, push: &Push) -> bool {
        let shards = &self.chat.0.shards;
        let is_here = || shards.of(push.room).is_ok_and(|shard| shard == self.shard);
        if !shards.is_spread() || is_here() {
            return true;
        }
        // More likely the map is old: whoever wrote this was not refused.
        if let Err(error) = Box::pin(shards.reload()).await {
            tracing::warn!(
                code = %ErrorCode::ErrorRunningQuery, %error,
                "cannot read the map of the chat's shards"
            );
            return true;
        }
        is_here()
    }
}

impl Pushes {
    async fn look(&self) {
        let mut attempt = 1;
        loop {
            match Box::pin(self.chat.look()).await {
                Ok(State::Off) if self.chat.config().mode == Mode::On => {
                    tracing::error!(
                        code = %ErrorCode::RealtimeDisabledForConfiguration,
                        "there is no chat in the database: run rowcast migrate --chat"
                    );
                    return;
                }
                Ok(_) => return,
                Err(error) if attempt == 1 => {
                    tracing::warn!(
                        code = %ErrorCode::ErrorRunningQuery, %error,
                        "cannot see whether there is a chat, trying again"
                    );
                }
                Err(_) => {}
            }
            // What was known before holds. If nothing was, whatever came now
            // would be told to nobody and never come again.
            if attempt >= ATTEMPTS && self.chat.state() != State::Unknown {
                return;
            }
            attempt += 1;
            tokio::select! {
                () = self.chat.0.drain.started() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }
}

impl ChangeSink for Pushes {
    async fn started(&self, start: Start) {
        self.look().await;
        if start.gap.is_some() && self.chat.state() == State::On {
            // What happened meanwhile is not told any more: clients are to ask.
            let shards = &self.chat.0.shards;
            let is_of_another =
                |room: &Uuid| shards.of(*room).is_ok_and(|shard| shard != self.shard);
            let rooms = self.chat.0.joined.rooms().into_iter();
            let rooms: Vec<Uuid> = rooms.filter(|room| !is_of_another(room)).collect();
            self.chat.start_over(self.shard, rooms).await;
        }
    }

    async fn deliver(&self, batch: &Batch) -> Result<(), Undelivered> {
        self.chat.until_mapped().await;
        if self.chat.state() != State::On {
            return Ok(());
        }
        for change in &batch.changes {
            if rows::is_move(change) {
                self.moved.store(batch.commit.0, Ordering::Relaxed);
            }
            // Rows that come or go with their room: nothing happened to it.
            if self.moved.load(Ordering::Relaxed) == batch.commit.0 {
                continue;
            }
            let Some(meaning) = rows::read(change, None) else { continue };
            Box::pin(self.tell(change, meaning)).await;
        }
        Ok(())
    }

    fn interrupted(&self) {}
}

impl Pushes {
    async fn tell(&self, change: &Change, meaning: Meaning) {
        let chat = &self.chat;
        match meaning {
            Meaning::Push(push) if self.is_told_here(&push).await => chat.push(&push),
            Meaning::Receipt(push) if self.is_told_here(&push).await => {
                // In a crowd everybody's receipts would drown the messages.
                let most = usize::try_from(chat.0.config.receipts_room_size).unwrap_or(usize::MAX);
                if chat.0.hub.count(&chat.key(push.room)) <= most {
                    chat.push(&push);
                }
            }
            Meaning::Left { user, push } if self.is_told_here(&push).await => {
                chat.0.joined.remove(push.room, user, |seat| chat.cut(seat));
                chat.stop_typing(push.room, user);
                chat.push(&push);
            }
            Meaning::Incomplete { room, message, version } => {
                let content = match chat.content(self.shard, message, version).await {
                    Ok(Some(content)) => content,
                    // It changed again: that change tells it all.
                    Ok(None) => return,
                    Err(error) => {
                        tracing::warn!(
                            code = %ErrorCode::ErrorRunningQuery, %error,
                            "a message cannot be read"
                        );
                        return chat.resync(room);
                    }
                };
                if let Some(Meaning::Push(push)) = rows::read(change, Some(&content))
                    && self.is_told_here(&push).await
                {
                    chat.push(&push);
                }
            }
            Meaning::Closed(room) => chat.cut_strangers(self.shard, room, true).await,
            Meaning::Emptied => chat.start_over(self.shard, chat.0.joined.rooms()).await,
            Meaning::Push(_) | Meaning::Receipt(_) | Meaning::Left { .. } => {}
        }
    }
}

impl Chat {
    fn push(&self, push: &Push) {
        let message = push::fanout(push.event, push.payload.clone());
        let key = self.key(push.room);
        let told = self.0.hub.publish_unless(&key, &message, Interest::BROADCAST, &push.ids);
        self.0.tenant.meters.events.record(told);
        self.0.series.pushed(push.event);
    }

    /// Nobody knows what happened in these rooms: who may not be there any more
    /// is cut, the others are to ask what they missed.
    async fn start_over(&self, shard: usize, rooms: Vec<Uuid>) {
        for room in rooms {
            Box::pin(self.cut_strangers(shard, room, false)).await;
            self.resync(room);
        }
    }

    /// Cuts whoever is no member of a room and may not read it as a visitor.
    /// Where that cannot be known everybody is cut; who may comes back.
    async fn cut_strangers(&self, shard: usize, room: Uuid, is_private: bool) {
        let seats = self.0.joined.close(room);
        let users: Vec<String> =
            seats.iter().filter_map(|seat| seat.user).map(|user| user.to_string()).collect();
        // The commit that closed it may not be visible yet, so its word counts.
        let visitors = "select 'anybody' from public.rooms where visibility = 'public'";
        let query = format!(
            "{visitors} and id = '{room}' and not {is_private} union all \
             select user_id::text from public.room_members \
             where room_id = '{room}' and user_id = any('{{{}}}'::uuid[])",
            users.join(",")
        );
        let known = Box::pin(self.ask(shard, &query)).await;
        let known = known.inspect_err(|error| {
            tracing::warn!(
                code = %ErrorCode::ErrorRunningQuery, %error,
                "nobody knows who is in a room: all its channels are closed"
            );
        });
        let known = known.unwrap_or_default();
        let may_stay = |seat: &Seat| {
            seat.is_service
                || known.iter().any(|who| {
                    who == "anybody" || seat.user.is_some_and(|user| *who == user.to_string())
                })
        };
        seats.iter().filter(|seat| !may_stay(seat)).for_each(|seat| self.cut(seat));
    }

    /// Has the clients of a room on this node ask for what they may have missed:
    /// other nodes have streams of their own.
    fn resync(&self, room: Uuid) {
        self.push(&Push::new(room, "chat:resync", "{}"));
    }

    /// A message's content as JSON text, if it still has that version.
    async fn content(
        &self,
        shard: usize,
        message: Uuid,
        version: i64,
    ) -> Result<Option<String>, ChatError> {
        let query = format!(
            "select coalesce(to_jsonb(content)::text, 'null') from public.messages \
             where id = '{message}' and version = {version}"
        );
        Ok(Box::pin(self.ask(shard, &query)).await?.pop())
    }
}

//! The stream's rows become pushes, in commit order and for every writer alike.
//!
//! The sink waits for the database only where a row's content is not in the
//! log. A removed member is cut off before anything later is told.

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use crate::{
    hub::{Interest, Key, Subscriber},
    protocol::system,
    replication::{
        change::{Batch, Change},
        sink::{ChangeSink, Start},
    },
};

use super::{
    Chat, ChatError, Mode, State,
    push::{self, Push},
    rows::{self, Meaning},
};

/// Attempts to learn whether there still is a chat, each time the stream starts.
const ATTEMPTS: u32 = 5;

/// Between two of them.
const PAUSE: Duration = Duration::from_millis(500);

/// The sink to give to the stream.
#[derive(Debug, Clone)]
pub struct Pushes(Chat);

impl Pushes {
    /// Tells what happens to the tables of `chat`.
    pub fn new(chat: Chat) -> Self {
        Self(chat)
    }
}

impl Pushes {
    async fn look(&self) {
        let mut attempt = 1;
        loop {
            match Box::pin(self.0.look()).await {
                Ok(State::Off) if self.0.config().mode == Mode::On => {
                    tracing::error!("there is no chat in the database: run rowcast migrate --chat");
                    return;
                }
                Ok(_) => return,
                Err(error) if attempt == 1 => {
                    tracing::warn!(%error, "cannot see whether there is a chat, trying again");
                }
                Err(_) => {}
            }
            // What was known before holds. If nothing was, whatever came now
            // would be told to nobody and never come again.
            if attempt >= ATTEMPTS && self.0.state() != State::Unknown {
                return;
            }
            attempt += 1;
            tokio::select! {
                () = self.0.0.drain.started() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }
}

impl ChangeSink for Pushes {
    async fn started(&self, start: Start) {
        self.look().await;
        if start.gap.is_some() && self.0.state() == State::On {
            // What happened meanwhile is not told any more: clients are to ask.
            for room in self.0.0.joined.rooms() {
                self.0.resync(room);
            }
        }
    }

    async fn deliver(&self, batch: &Batch) {
        if self.0.state() != State::On {
            return;
        }
        for change in &batch.changes {
            if let Some(meaning) = rows::read(change, None) {
                Box::pin(self.0.tell(change, meaning)).await;
            }
        }
    }

    fn interrupted(&self) {}
}

/// Ends a channel whose user may no longer be in the room.
pub(super) fn shut_down(subscriber: &Arc<Subscriber>, key: &Key) {
    let reason = system::lost_access(key.topic.sub_topic());
    subscriber.outbox.shut_down(subscriber.id, reason);
}

impl Chat {
    async fn tell(&self, change: &Change, meaning: Meaning) {
        match meaning {
            Meaning::Push(push) => self.push(&push),
            Meaning::Receipt(push) => {
                // In a crowd everybody's receipts would drown the messages.
                let most = usize::try_from(self.0.config.receipts_room_size).unwrap_or(usize::MAX);
                if self.0.hub.count(&self.key(push.room)) <= most {
                    self.push(&push);
                }
            }
            Meaning::Left { user, push } => {
                self.0.joined.remove(push.room, user, |seat| {
                    self.0.hub.leave(&seat.key, &seat.subscriber);
                    shut_down(&seat.subscriber, &seat.key);
                });
                self.stop_typing(push.room, user);
                self.push(&push);
            }
            Meaning::Incomplete { room, message, version } => {
                let content = match self.content(message, version).await {
                    Ok(Some(content)) => content,
                    // It changed again: that change tells it all.
                    Ok(None) => return,
                    Err(error) => {
                        tracing::warn!(%error, "a message cannot be read");
                        return self.resync(room);
                    }
                };
                if let Some(Meaning::Push(push)) = rows::read(change, Some(&content)) {
                    self.push(&push);
                }
            }
        }
    }

    fn push(&self, push: &Push) {
        let message = push::fanout(push.event, push.payload.clone());
        let key = self.key(push.room);
        let told = self.0.hub.publish_unless(&key, &message, Interest::BROADCAST, &push.ids);
        self.0.tenant.meters.events.record(told);
        self.0.series.pushed(push.event);
    }

    /// Has the clients of a room ask for what they may have missed.
    fn resync(&self, room: Uuid) {
        self.say(room, "chat:resync", "{}", None);
    }

    /// A message's content as JSON text, if it still has that version.
    async fn content(&self, message: Uuid, version: i64) -> Result<Option<String>, ChatError> {
        let query = format!(
            "select coalesce(to_jsonb(content)::text, 'null') from public.messages \
             where id = '{message}' and version = {version}"
        );
        Ok(Box::pin(self.ask(&query)).await?.pop())
    }
}

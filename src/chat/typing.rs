//! Who types: told at once, repeated seldom, ended by itself.
//!
//! Nothing is stored. While a member types, the room hears of it at most once
//! per [`REPEAT`] however often clients say so; it ends when a client says so,
//! with a message, with the channel, or [`LIFE`] after the last word of it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use uuid::Uuid;

use crate::hub::ChannelId;

use super::{Chat, Config};

/// Between two times that a room is told of the same member.
const REPEAT: Duration = Duration::from_secs(3);

/// From the last word of a client to the end.
const LIFE: Duration = Duration::from_secs(6);

/// How exactly ends are kept.
const TICK: Duration = Duration::from_millis(250);

/// Members who type.
#[derive(Debug)]
pub(super) struct Typing {
    typists: Mutex<HashMap<(Uuid, Uuid), Typist>>,
    started: Notify,
    most: usize,
}

#[derive(Debug)]
struct Typist {
    /// The channel that said so last, and whether it wants to hear itself.
    channel: ChannelId,
    own: bool,
    ends: Instant,
    repeats: Instant,
}

impl Typist {
    fn skip(&self) -> Option<ChannelId> {
        (!self.own).then_some(self.channel)
    }
}

impl Typing {
    pub(super) fn new(config: &Config) -> Self {
        Self { typists: Mutex::default(), started: Notify::new(), most: config.max_typing }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Uuid, Uuid), Typist>> {
        self.typists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chat {
    /// A member types, or stopped. The caller has made sure of the membership.
    /// `own` wants to hear itself.
    pub fn typing(&self, room: Uuid, user: Uuid, channel: ChannelId, own: bool, typing: bool) {
        self.0.series.verb("typing", None);
        if !typing {
            return self.stop_typing(room, user);
        }
        let now = Instant::now();
        let tells = {
            let mut typists = self.0.typing.lock();
            if typists.len() >= self.0.typing.most && !typists.contains_key(&(room, user)) {
                // In such a crowd nobody looks at it.
                return;
            }
            let fresh = || Typist { channel, own, ends: now, repeats: now };
            let typist = typists.entry((room, user)).or_insert_with(fresh);
            (typist.channel, typist.own, typist.ends) = (channel, own, now + LIFE);
            let tells = now >= typist.repeats;
            if tells {
                typist.repeats = now + REPEAT;
            }
            tells.then(|| typist.skip())
        };
        if let Some(skip) = tells {
            self.0.typing.started.notify_one();
            self.tell_typing(room, user, true, skip);
        }
    }

    pub(super) fn stop_typing(&self, room: Uuid, user: Uuid) {
        let gone = self.0.typing.lock().remove(&(room, user));
        if let Some(typist) = gone {
            self.tell_typing(room, user, false, typist.skip());
        }
    }

    /// The same, if it was this channel that said so.
    pub(super) fn stop_typing_on(&self, room: Uuid, user: Uuid, channel: ChannelId) {
        let is_its = self.0.typing.lock().get(&(room, user)).is_some_and(|t| t.channel == channel);
        if is_its {
            self.stop_typing(room, user);
        }
    }

    /// Ends what nobody ended, until the drain begins.
    pub(super) async fn end_typing(self) {
        loop {
            let is_idle = self.0.typing.lock().is_empty();
            let pause = async {
                match is_idle {
                    true => self.0.typing.started.notified().await,
                    false => sleep(TICK).await,
                }
            };
            tokio::select! {
                () = pause => {}
                () = self.0.drain.started() => return,
            }
            let now = Instant::now();
            let ended: Vec<_> =
                self.0.typing.lock().extract_if(|_, typist| typist.ends <= now).collect();
            for ((room, user), typist) in ended {
                self.tell_typing(room, user, false, typist.skip());
            }
        }
    }

    fn tell_typing(&self, room: Uuid, user: Uuid, typing: bool, skip: Option<ChannelId>) {
        let payload = format!(r#"{{"user_id":"{user}","typing":{typing}}}"#);
        self.say(room, "chat:typing", payload, skip);
    }
}

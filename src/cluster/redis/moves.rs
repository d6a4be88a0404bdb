//! What servers say by themselves on a connection that listens: messages, and
//! that channels have moved.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use redis::{PushInfo, PushKind, RedisError, RedisResult, Value};
use tokio::sync::Notify;

use super::{servers::fault, slots::slot};

/// What listeners hear of channels that move.
#[derive(Debug, Default)]
pub(super) struct Moves {
    /// Channels that we give up ourselves.
    leaving: Mutex<HashSet<Vec<u8>>>,
    /// Slots whose channels are to be subscribed to again.
    slots: Mutex<HashSet<u16>>,
    heard: Notify,
}

/// What a server says without being asked.
pub(super) enum Said {
    /// Something was said on a channel.
    Message(Bytes),
    /// A sharded channel is not subscribed to any more.
    Left(Vec<u8>),
    /// Nothing that matters.
    Other,
}

impl Moves {
    /// Channels are about to be given up.
    pub(super) fn leave(&self, channels: &[String]) {
        lock(&self.leaving).extend(channels.iter().map(|name| name.as_bytes().to_vec()));
    }

    /// They are given up.
    pub(super) fn have_left(&self) {
        lock(&self.leaving).clear();
    }

    /// A server has said that a channel is not subscribed to any more.
    pub(super) fn left(&self, channel: &[u8]) {
        if !lock(&self.leaving).remove(channel) {
            lock(&self.slots).insert(slot(channel));
            self.heard.notify_one();
        }
    }

    /// A server has said that a channel is elsewhere.
    pub(super) fn has_moved(&self, channel: &str) {
        lock(&self.slots).insert(slot(channel.as_bytes()));
    }

    /// Whether a channel has moved, for all that is known since the last time.
    pub(super) fn take(&self) -> Option<impl Fn(&str) -> bool + use<>> {
        let slots = std::mem::take(&mut *lock(&self.slots));
        let has_moved = !slots.is_empty();
        has_moved.then_some(move |channel: &str| slots.contains(&slot(channel.as_bytes())))
    }

    /// Waits until a channel has left by itself.
    pub(super) async fn wait(&self) {
        self.heard.notified().await;
    }
}

impl From<PushInfo> for Said {
    fn from(push: PushInfo) -> Self {
        let mut data = push.data.into_iter();
        match (push.kind, data.next(), data.next()) {
            (PushKind::Message | PushKind::SMessage, Some(_), Some(Value::BulkString(bytes))) => {
                Self::Message(bytes.into())
            }
            (PushKind::SUnsubscribe, Some(Value::BulkString(channel)), _) => Self::Left(channel),
            _ => Self::Other,
        }
    }
}

/// Checks that an answer is about this channel. A server that says by itself
/// that a channel has moved can do so while an answer is expected, and the
/// client then takes that for the answer.
pub(super) fn confirms(answer: &Value, is_subscribed: bool, channel: &str) -> RedisResult<()> {
    let Value::Push { kind, data } = answer else { return Err(out_of_step()) };
    let says = match kind {
        PushKind::Subscribe | PushKind::SSubscribe => Some(true),
        PushKind::Unsubscribe | PushKind::SUnsubscribe => Some(false),
        _ => None,
    };
    match data.first() {
        Some(Value::BulkString(about))
            if says == Some(is_subscribed) && about == channel.as_bytes() =>
        {
            Ok(())
        }
        _ => Err(out_of_step()),
    }
}

/// A connection whose answers belong to other questions.
pub(super) fn out_of_step() -> RedisError {
    fault("an answer that was not asked for")
}

fn lock<T>(set: &Mutex<HashSet<T>>) -> MutexGuard<'_, HashSet<T>> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Messages and reactions: what changes them.

use bytes::Bytes;
use serde::Deserialize;
use uuid::Uuid;

use crate::{hub::Subscriber, tenants::Caller};

use super::{Act, Chat, ChatError, call::Function, push, user};

/// What is looked at in a function's result.
#[derive(Deserialize)]
struct Outcome {
    #[serde(default)]
    duplicate: bool,
    #[serde(default)]
    version: Option<i64>,
    #[serde(default)]
    changed: Option<bool>,
}

impl Chat {
    /// Does what a member wants done with a room's messages and returns the
    /// function's result, JSON text. It has committed then and is on its way to
    /// everybody in the room but `own`.
    ///
    /// # Errors
    ///
    /// [`ChatError`]; then nothing was done, unless it is
    /// [`Code::Unavailable`](super::Code::Unavailable), when nobody knows.
    pub async fn act(
        &self,
        caller: Caller<'_>,
        room: Uuid,
        act: &Act,
        own: Option<&Subscriber>,
    ) -> Result<String, ChatError> {
        let outcome = self.act_unseen(caller, room, act, own).await;
        self.0.series.verb(act.name(), outcome.as_ref().err());
        if outcome.is_ok()
            && matches!(act, Act::Send { .. })
            && let Some(user) = user(caller.claims)
        {
            self.stop_typing(room, user);
        }
        outcome
    }

    async fn act_unseen(
        &self,
        caller: Caller<'_>,
        room: Uuid,
        act: &Act,
        own: Option<&Subscriber>,
    ) -> Result<String, ChatError> {
        act.check(self.0.config.message_characters)?;
        let expected = own.zip(expected(act, user(caller.claims)));
        // Before it commits, or the log could be faster.
        if let Some((own, id)) = expected {
            own.seen.will_store(id);
        }
        let outcome = Box::pin(self.call(caller, room, &function(act, room))).await;
        if let Some((own, id)) = expected
            && !outcome.as_ref().is_ok_and(|json| comes(act, json))
            && !own.seen.did_not_store(id)
            && outcome.is_err()
        {
            // Somebody else did the same meanwhile and was taken for this.
            let message = push::fanout("chat:resync", Bytes::from_static(b"{}"));
            let frame = message.encode(own.vsn, self.key(room).topic.as_str());
            frame.map(|frame| own.outbox.push(frame));
        }
        outcome
    }
}

fn function(act: &Act, room: Uuid) -> Function {
    let function = Function::new(act.name()).uuid(room).uuid(act.id());
    match act {
        Act::Send { content, reply_to, .. } => function.text(&**content).uuid(*reply_to),
        Act::Edit { content, version, .. } => function.text(&**content).number(*version),
        Act::Delete { version, .. } => function.optional(*version),
        Act::React { emoji, .. } | Act::Unreact { emoji, .. } => function.text(&**emoji),
    }
}

/// The push that this will cause, by its id.
fn expected(act: &Act, user: Option<Uuid>) -> Option<Uuid> {
    Some(match act {
        Act::Send { id, .. } => push::inserted(*id, user?),
        Act::Edit { id, version, content } => push::updated(*id, i64::from(*version) + 1, content),
        Act::Delete { id, .. } => push::deleted(*id),
        Act::React { id, emoji } => push::reaction(*id, user?, emoji, true),
        Act::Unreact { id, emoji } => push::reaction(*id, user?, emoji, false),
    })
}

/// Whether the expected push really comes. If not it must be forgotten: a
/// later one that looks like it would be taken for it.
fn comes(act: &Act, json: &str) -> bool {
    let Ok(outcome) = serde_json::from_str::<Outcome>(json) else { return false };
    let changed = outcome.changed.unwrap_or(true) && !outcome.duplicate;
    match act {
        Act::Edit { version, .. } => changed && outcome.version == Some(i64::from(*version) + 1),
        Act::Send { .. } | Act::Delete { .. } | Act::React { .. } | Act::Unreact { .. } => changed,
    }
}

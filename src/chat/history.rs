//! What was said: pages, what was missed, and who has seen a message.

use uuid::Uuid;

use crate::tenants::Caller;

use super::{Chat, ChatError, call::Function, page_of};

/// Most messages of one resume.
const LONGEST_RESUME: i32 = 1000;

/// Which messages of a room; at most one of `before` and `after`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Page {
    /// Only those below this `seq`.
    pub before: Option<i64>,
    /// Only those above this `seq`.
    pub after: Option<i64>,
    /// How many at most.
    pub limit: Option<i32>,
}

impl Chat {
    /// A page of a room's messages, oldest first, JSON text.
    ///
    /// # Errors
    ///
    /// [`ChatError`].
    pub async fn history(
        &self,
        caller: Caller<'_>,
        room: Uuid,
        page: Page,
    ) -> Result<String, ChatError> {
        if page.before.is_some() && page.after.is_some() {
            return Err(ChatError::bad_request("Give before or after, not both."));
        }
        let limit = page_of(page.limit);
        let function =
            Function::new("history").uuid(room).optional(page.before).optional(page.after);
        Box::pin(self.call(caller, room, &function.number(limit))).await
    }

    /// What changed in a room since `seq` and `rev`, JSON text.
    ///
    /// # Errors
    ///
    /// [`ChatError`].
    pub async fn resume(
        &self,
        caller: Caller<'_>,
        room: Uuid,
        (seq, rev): (Option<i64>, Option<i64>),
        limit: Option<i32>,
    ) -> Result<String, ChatError> {
        let limit = limit.unwrap_or(LONGEST_RESUME).clamp(1, LONGEST_RESUME);
        let function = Function::new("resume").uuid(room).optional(seq).optional(rev).number(limit);
        Box::pin(self.call(caller, room, &function)).await
    }

    /// Who has and who has seen a message, JSON text.
    ///
    /// # Errors
    ///
    /// [`ChatError`].
    pub async fn receipts_of(
        &self,
        caller: Caller<'_>,
        room: Uuid,
        message: Uuid,
    ) -> Result<String, ChatError> {
        let function = Function::new("receipts").uuid(room).uuid(message);
        Box::pin(self.call(caller, room, &function)).await
    }
}

//! Why something was not done, as clients are told over every door.

use std::borrow::Cow;

use crate::{
    error_code::ErrorCode,
    postgres::pool::{DbError, RunError, ScriptError},
};

/// A refusal: a code for programs and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ChatError {
    /// Which kind.
    pub code: Code,
    /// One sentence. Never holds what somebody wrote.
    pub message: Cow<'static, str>,
    /// The message's version, if the code is [`Code::Conflict`] and it is known.
    pub current: Option<i64>,
    /// The shard that was asked has not got the room, or not for long.
    elsewhere: bool,
}

/// The kinds of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// What was asked makes no sense.
    BadRequest,
    /// The caller may not do this.
    Forbidden,
    /// No such room or message, or not the caller's to see.
    NotFound,
    /// The message has another version by now, or the id is taken.
    Conflict,
    /// The message is deleted, for good.
    Deleted,
    /// Too much at once.
    RateLimited,
    /// The database did not answer, or there is no chat in it.
    Unavailable,
}

impl Code {
    /// The code as clients see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Deleted => "deleted",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
        }
    }
}

impl ChatError {
    pub(super) fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), current: None, elsewhere: false }
    }

    /// What was asked makes no sense.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::BadRequest, message)
    }

    /// More than the tenant may do.
    pub fn rate_limited() -> Self {
        Self::new(Code::RateLimited, "Too many requests; try again in a moment.")
    }

    /// The caller is no member of the room.
    pub fn not_a_member() -> Self {
        Self::new(Code::Forbidden, "Only members of the room may do this.")
    }

    pub(super) fn is_elsewhere(&self) -> bool {
        self.elsewhere
    }

    pub(super) fn unavailable() -> Self {
        Self::new(Code::Unavailable, "The database did not answer; try again in a moment.")
    }
}

impl From<RunError> for ChatError {
    fn from(error: RunError) -> Self {
        let refused = match &error {
            RunError::Script(ScriptError::Failed(error)) => error.as_db_error(),
            RunError::Script(ScriptError::Silent) | RunError::Pool(_) => None,
        };
        refused.and_then(refusal).unwrap_or_else(|| {
            // Its text leaves out what PostgreSQL says, which may quote values.
            tracing::warn!(code = %ErrorCode::ErrorRunningQuery, %error, "a chat call failed");
            Self::unavailable()
        })
    }
}

/// What a refusal of the database means; `None` if it is no refusal but a fault.
fn refusal(error: &DbError) -> Option<ChatError> {
    // Our functions' sentences are for people; PostgreSQL's own are not.
    let says = |code| ChatError::new(code, error.message().to_owned());
    Some(match error.code().code() {
        "PT400" => says(Code::BadRequest),
        "PT403" => says(Code::Forbidden),
        "PT404" => says(Code::NotFound),
        "PT409" => ChatError { current: error.detail().and_then(version), ..says(Code::Conflict) },
        "PT410" => says(Code::Deleted),
        "PT503" => ChatError { elsewhere: true, ..says(Code::Unavailable) },
        code @ ("42501" | "22023") => {
            tracing::debug!(code, "the database does not allow it");
            ChatError::new(Code::Forbidden, "You may not do this.")
        }
        // What a trigger of the owner's says is not known to be for everybody.
        "P0001" => ChatError::new(Code::Forbidden, "The database does not accept this."),
        "23505" => ChatError::new(Code::Conflict, "There is such an entry already."),
        "23503" => ChatError::new(Code::NotFound, "There is no such room or message."),
        code if code.starts_with("22") || code == "23514" => {
            ChatError::bad_request("Something in the request is not valid.")
        }
        _ => return None,
    })
}

/// The first whole number in a detail.
fn version(detail: &str) -> Option<i64> {
    let digits = detail.split(|c: char| !c.is_ascii_digit());
    digits.into_iter().find(|part| !part.is_empty())?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_number_in_the_detail() {
        assert_eq!(version("7"), Some(7));
        assert_eq!(version("The current version is 12."), Some(12));
        assert_eq!(version("none"), None);
    }
}

//! What clients are told about permissions on private topics.

use crate::{authorization::AuthorizeError, error_code::ErrorCode, protocol::system, topic::Topic};

use super::refusal::Refusal;

/// Neither broadcasts nor presence may be read.
pub fn denied(topic: &Topic) -> String {
    format!("You do not have permissions to read from this Channel topic: {}", topic.sub_topic())
}

/// Something could be read with the old token that cannot with the new one.
pub fn lost(topic: &Topic) -> String {
    system::lost_access(topic.sub_topic())
}

/// A join whose policies gave no answer.
pub fn refusal(error: &AuthorizeError, topic: &Topic) -> Refusal {
    let (code, message) = match error {
        AuthorizeError::Policy { sqlstate } => {
            // The text of what a policy raised is the tenant's; the code helps its owner.
            tracing::warn!(code = %ErrorCode::RlsPolicyError, sqlstate, "a policy raised");
            return Refusal::new(ErrorCode::Unauthorized, denied(topic));
        }
        AuthorizeError::Canceled => {
            (ErrorCode::QueryCanceled, "canceling statement due to statement timeout")
        }
        AuthorizeError::MissingPartition => (
            ErrorCode::MissingPartition,
            "Realtime was unable to find the expected messages partition",
        ),
        AuthorizeError::PoolExhausted => {
            (ErrorCode::IncreaseConnectionPool, "Please increase your connection pool size")
        }
        AuthorizeError::LackOfConnections => (
            ErrorCode::DatabaseLackOfConnections,
            "Database can't accept more connections, Realtime won't connect",
        ),
        AuthorizeError::Unavailable => (
            ErrorCode::UnableToConnectToProject,
            "Realtime was unable to connect to the project database",
        ),
    };
    Refusal::new(code, message)
}

/// A refreshed token whose policies gave no answer.
pub fn refresh_text(error: &AuthorizeError, topic: &Topic) -> String {
    match error {
        AuthorizeError::Policy { .. } => denied(topic),
        AuthorizeError::Canceled => "Query was cancelled, please try again".to_owned(),
        other => refusal(other, topic).message.into_owned(),
    }
}

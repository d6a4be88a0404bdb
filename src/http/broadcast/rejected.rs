//! What callers are told when a broadcast is not sent.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::{
    authorization::AuthorizeError,
    broadcast::persist::PersistError,
    http::error::{ApiError, message},
};

/// Why a broadcast is not sent. Texts and statuses are the original's.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    /// As with any other call.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The tenant is suspended.
    #[error("the tenant is suspended")]
    Suspended,
    /// Neither JSON nor bytes.
    #[error("the media type is not supported")]
    MediaType,
    /// Too many messages a second.
    #[error("too many messages a second")]
    RateLimit,
    /// Too many messages a second with this batch.
    #[error("the batch is too large for the rate limit")]
    BatchSize,
    /// The policies say no.
    #[error("the policies do not allow this")]
    Denied,
    /// The message could not be stored.
    #[error(transparent)]
    NotStored(#[from] PersistError),
    /// The policies could not be asked.
    #[error(transparent)]
    Unanswered(#[from] AuthorizeError),
}

impl IntoResponse for Rejected {
    fn into_response(self) -> Response {
        let says = |status, text| message(status, "message", text);
        match self {
            Self::Api(error) => error.into_response(),
            Self::Suspended => says(StatusCode::FORBIDDEN, "Tenant is suspended"),
            Self::MediaType => {
                let text =
                    "Unsupported Media Type. Use application/json or application/octet-stream";
                message(StatusCode::UNSUPPORTED_MEDIA_TYPE, "error", text)
            }
            Self::RateLimit => {
                says(StatusCode::TOO_MANY_REQUESTS, "You have exceeded your rate limit")
            }
            Self::BatchSize => {
                let text = "Too many messages to broadcast, please reduce the batch size";
                says(StatusCode::TOO_MANY_REQUESTS, text)
            }
            Self::Denied | Self::NotStored(PersistError::Denied) => {
                says(StatusCode::FORBIDDEN, "Unauthorized")
            }
            Self::NotStored(error) => says(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()),
            Self::Unanswered(error) => {
                let (status, text) = unanswered(&error);
                says(status, text)
            }
        }
    }
}

fn unanswered(error: &AuthorizeError) -> (StatusCode, &'static str) {
    let text = match error {
        AuthorizeError::PoolExhausted => {
            return (StatusCode::TOO_MANY_REQUESTS, "Connection pool exhausted");
        }
        AuthorizeError::Policy { .. } => "RLS policy error",
        AuthorizeError::Canceled => "Query canceled",
        AuthorizeError::MissingPartition => "Missing messages partition",
        AuthorizeError::LackOfConnections => "Tenant database has too many connections",
        AuthorizeError::Unavailable => "Tenant database unavailable",
    };
    (StatusCode::UNPROCESSABLE_ENTITY, text)
}

//! What can go wrong on the wire.

use std::{io, time::Duration};

use bytes::Bytes;

use crate::postgres::{
    cursor::{Cursor, Malformed},
    dial::DialError,
    session::is_transient_sqlstate,
};

/// Why a connection cannot go on. Every one of these ends it, except
/// [`WireError::Server`] from a query.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The server was not reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection broke.
    #[error("connection to the server broke")]
    Io(#[from] io::Error),
    /// The server hung up.
    #[error("the server closed the connection")]
    Closed,
    /// The server says no.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The server sent what this point of the protocol does not allow.
    #[error("unexpected message `{}` from the server", tag.escape_ascii())]
    Unexpected {
        /// The message's first byte.
        tag: u8,
    },
    /// The server sent a broken message.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The server wants a login that we cannot do.
    #[error("cannot log in: {0}")]
    Login(&'static str),
    /// No answer.
    #[error("no answer from the server within {0:?}")]
    Timeout(Duration),
}

/// An error as the server reports it. Its DETAIL is dropped, for it may quote rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (SQLSTATE {code})")]
pub struct ServerError {
    /// SQLSTATE.
    pub code: Box<str>,
    /// Message, in the server's language.
    pub message: Box<str>,
}

impl ServerError {
    /// Reads the fields of an `ErrorResponse`.
    pub(super) fn decode(body: &Bytes) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(body);
        let mut error = Self { code: "XX000".into(), message: "unknown error".into() };
        loop {
            match cursor.u8("error field")? {
                0 => return Ok(error),
                // Lossy: before login the server's encoding is anything.
                b'C' => error.code = String::from_utf8_lossy(cursor.c_bytes("code")?).into(),
                b'M' => error.message = String::from_utf8_lossy(cursor.c_bytes("message")?).into(),
                _ => {
                    cursor.c_bytes("error field")?;
                }
            }
        }
    }
}

impl WireError {
    /// The server's SQLSTATE, if it answered with one.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Server(error) => Some(&error.code),
            _ => None,
        }
    }

    /// True if trying again later may help without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Dial(error) => error.is_transient(),
            Self::Server(error) => is_transient_sqlstate(&error.code),
            Self::Login(_) => false,
            // A broken byte on the line is gone with the connection.
            Self::Io(_)
            | Self::Closed
            | Self::Timeout(_)
            | Self::Unexpected { .. }
            | Self::Malformed(_) => true,
        }
    }
}

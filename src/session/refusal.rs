//! What a client is told when something is not done.

use std::{borrow::Cow, fmt};

use crate::error_code::ErrorCode;

/// A refused join. `Display` is the reason as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For logs, metrics and the reason's prefix.
    pub code: ErrorCode,
    /// For people.
    pub message: Cow<'static, str>,
    /// The reason does not begin with the code.
    pub bare: bool,
    /// Close the socket with this code afterwards.
    pub close: Option<u16>,
}

impl Refusal {
    /// A refusal that leaves the socket open.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), bare: false, close: None }
    }

    /// The few reasons that are the message alone.
    pub fn bare(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { bare: true, ..Self::new(code, message) }
    }

    /// The same, and the socket is closed with `code` afterwards.
    pub fn closing(self, code: u16) -> Self {
        Self { close: Some(code), ..self }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bare {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.code, self.message)
    }
}

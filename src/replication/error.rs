//! Why a stream does not run.

use super::{publication::identifier, sink::Undelivered, transaction::AssembleError};
use crate::postgres::{pgoutput::DecodeError, wire::WireError};

/// Why a stream ended or did not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    /// The connection.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A message that cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A message out of place.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// The server does not log enough.
    #[error("the server runs with wal_level={found}; logical replication needs wal_level=logical")]
    WalLevel {
        /// Its setting.
        found: String,
    },
    /// A standby of a version that cannot decode there.
    #[error("the server is a standby; it can stream once it is promoted")]
    InRecovery,
    /// The server did not say who it is.
    #[error("the server's answer to {0} cannot be read")]
    Answer(&'static str),
    /// Another process streams from the slot.
    #[error("replication slot {} is in use by another process", identifier(name))]
    SlotInUse {
        /// The slot.
        name: String,
    },
    /// The slot's name belongs to something else.
    #[error(
        "replication slot {} belongs to plugin {plugin} of database {database}",
        identifier(name)
    )]
    SlotForeign {
        /// The slot.
        name: String,
        /// Its plugin, quoted.
        plugin: String,
        /// Its database, quoted.
        database: String,
    },
    /// A publication is missing and must not be created.
    #[error("publication {} does not exist", identifier(name))]
    PublicationMissing {
        /// The publication.
        name: String,
    },
    /// A publication is not as it should be and cannot be mended.
    #[error(
        "publication {} is missing or holds other tables, and {user} may not change that \
         ({message}): run `{remedy}` as a superuser, once",
        identifier(name)
    )]
    PublicationDenied {
        /// The publication.
        name: String,
        /// Our user, quoted.
        user: String,
        /// PostgreSQL's words.
        message: String,
        /// The statement that helps.
        remedy: String,
    },
    /// The table of a publication is missing.
    #[error("the table {table} does not exist: run `rowcast migrate`")]
    TableMissing {
        /// The table, quoted.
        table: String,
    },
    /// The sink.
    #[error(transparent)]
    Undelivered(#[from] Undelivered),
    /// The budget guard gave the slot up.
    #[error("the slot held back more log than its budget and was dropped")]
    OverBudget,
    /// A bug. The panic itself was printed where it happened.
    #[error("the stream's {0} panicked")]
    Panicked(&'static str),
}

impl StreamError {
    /// True if it may pass without anybody changing anything.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Wire(error) => error.is_transient(),
            Self::Decode(_)
            | Self::Assemble(_)
            | Self::InRecovery
            | Self::SlotInUse { .. }
            | Self::Undelivered(_)
            | Self::OverBudget
            | Self::Panicked(_) => true,
            Self::WalLevel { .. }
            | Self::Answer(_)
            | Self::SlotForeign { .. }
            | Self::PublicationMissing { .. }
            | Self::PublicationDenied { .. }
            | Self::TableMissing { .. } => false,
        }
    }

    /// The server's SQLSTATE, if it is one.
    pub(super) fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Wire(error) => error.sqlstate(),
            _ => None,
        }
    }

    /// The whole chain of reasons in one line.
    pub(super) fn reason(&self) -> String {
        crate::telemetry::reason(self)
    }
}

//! The replication slot: looked up, created, given up, moved on.
//!
//! A slot that another process uses is left alone, whoever that is: it may be
//! a healthy owner, or our own last connection that the server has not missed
//! yet. The caller waits.

use super::{
    error::StreamError,
    position::Lsn,
    publication::{identifier, literal},
};
use crate::{
    error_code::ErrorCode,
    postgres::wire::{Connection, WireError},
};

/// What PostgreSQL knows about a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    /// Somebody streams from it.
    pub(super) is_active: bool,
    /// PostgreSQL has removed log that it needs.
    pub(super) is_lost: bool,
    /// Up to where changes are confirmed.
    pub(super) confirmed: Lsn,
    /// Bytes of log that it holds back.
    pub(super) held: u64,
    /// Bytes of log that are not confirmed.
    pub(super) behind: u64,
}

impl Slot {
    /// True if giving the slot up would free more log than `budget`. A long
    /// transaction of somebody else also holds log back, but then a new slot
    /// would help nobody: it is our own lag that counts.
    pub(super) fn is_over(&self, budget: u64) -> bool {
        self.held > budget && self.behind > budget
    }
}

/// Finds a slot of this database.
pub(super) async fn find(
    connection: &mut Connection,
    name: &str,
) -> Result<Option<Slot>, StreamError> {
    let sql = format!(
        "SELECT s.plugin, s.database, s.database = current_database() AND s.plugin = 'pgoutput', \
             s.wal_status = 'lost', s.confirmed_flush_lsn, \
             pg_wal_lsn_diff(w.now, s.restart_lsn)::int8, \
             pg_wal_lsn_diff(w.now, s.confirmed_flush_lsn)::int8, s.active \
         FROM pg_replication_slots s, (SELECT CASE WHEN pg_is_in_recovery() \
             THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END) w(now) \
         WHERE s.slot_name = {}",
        literal(name)
    );
    let rows = connection.query(&sql).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    if rows.text(0, 2) != Some("t") {
        // A physical slot has neither plugin nor database.
        let text = |column| rows.text(0, column).map_or("(none)".to_owned(), identifier);
        let (plugin, database) = (text(0), text(1));
        return Err(StreamError::SlotForeign { name: name.to_owned(), plugin, database });
    }
    let size = |column| rows.parse::<i64>(0, column).map_or(0, |size| size.max(0).unsigned_abs());
    Ok(Some(Slot {
        is_active: rows.text(0, 7) == Some("t"),
        is_lost: rows.text(0, 3) == Some("t"),
        // Null while it is being created, and then nothing is confirmed.
        confirmed: rows.parse(0, 4).unwrap_or_default(),
        held: size(5),
        behind: size(6),
    }))
}

/// Creates the slot; changes that commit from now on will be in it. Waits for
/// the transactions that are open now. None if the name is taken by now.
pub(super) async fn create(
    connection: &mut Connection,
    name: &str,
    temporary: bool,
) -> Result<Option<Lsn>, StreamError> {
    let kind = if temporary { "TEMPORARY " } else { "" };
    let options = if connection.server_version() >= 150_000 {
        "(SNAPSHOT 'nothing')"
    } else {
        "NOEXPORT_SNAPSHOT"
    };
    let name = identifier(name);
    let command = format!("CREATE_REPLICATION_SLOT {name} {kind}LOGICAL pgoutput {options}");
    match connection.query_patiently(&command).await {
        Ok(rows) => {
            rows.parse(0, 1).map(Some).ok_or(StreamError::Answer("CREATE_REPLICATION_SLOT"))
        }
        Err(WireError::Server(error)) if &*error.code == "42710" => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Drops the slot, if it is there and nobody uses it.
pub(super) async fn drop_slot(connection: &mut Connection, name: &str) -> Result<(), StreamError> {
    let sql = format!("SELECT pg_drop_replication_slot({})", literal(name));
    match connection.query(&sql).await {
        Ok(_) => Ok(()),
        Err(WireError::Server(error)) if &*error.code == "42704" => Ok(()),
        Err(error) => Err(in_use(error.into(), name)),
    }
}

/// Moves the slot past everything written until now, without decoding it.
/// False if PostgreSQL cannot.
pub(super) async fn skip_to_now(
    connection: &mut Connection,
    name: &str,
) -> Result<bool, StreamError> {
    let name_literal = literal(name);
    let sql =
        format!("SELECT pg_replication_slot_advance({name_literal}, pg_current_wal_flush_lsn())");
    // Reads all the log in between.
    match connection.query_patiently(&sql).await {
        Ok(_) => Ok(true),
        Err(error) => match in_use(error.into(), name) {
            StreamError::Wire(WireError::Server(error)) => {
                tracing::warn!(
                    code = %ErrorCode::ReplicationSlotCheckSkipped, %error, slot = name,
                    "cannot move the slot on"
                );
                Ok(false)
            }
            error => Err(error),
        },
    }
}

/// Gives "object in use" (55006) its own error.
pub(super) fn in_use(error: StreamError, name: &str) -> StreamError {
    if error.sqlstate() == Some("55006") {
        StreamError::SlotInUse { name: name.to_owned() }
    } else {
        error
    }
}

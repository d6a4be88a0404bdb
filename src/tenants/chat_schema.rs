//! The tables and functions of the chat, installed beside the schema `realtime`.
//!
//! Part of the migrations' transaction: where a name is taken by somebody
//! else, nothing at all is changed.

use super::{
    ledger::{Set, apply, at},
    migrations::{MigrateError, Report},
};
use crate::postgres::pool as pg;

const SET: Set = Set {
    ledger: include_str!("../../sql/chat/ledger.sql"),
    table: "chat.schema_migrations",
    migrations: &[
        ("0001_callers", include_str!("../../sql/chat/0001_callers.sql")),
        ("0002_tables", include_str!("../../sql/chat/0002_tables.sql")),
        ("0003_membership", include_str!("../../sql/chat/0003_membership.sql")),
        ("0004_sequence", include_str!("../../sql/chat/0004_sequence.sql")),
        ("0005_members", include_str!("../../sql/chat/0005_members.sql")),
        ("0006_policies", include_str!("../../sql/chat/0006_policies.sql")),
        ("0007_messages", include_str!("../../sql/chat/0007_messages.sql")),
        ("0008_rooms", include_str!("../../sql/chat/0008_rooms.sql")),
        ("0009_reading", include_str!("../../sql/chat/0009_reading.sql")),
        ("0010_grants", include_str!("../../sql/chat/0010_grants.sql")),
        ("0011_shards", include_str!("../../sql/chat/0011_shards.sql")),
        ("0012_closings", include_str!("../../sql/chat/0012_closings.sql")),
        ("0013_receipts", include_str!("../../sql/chat/0013_receipts.sql")),
    ],
};

const CHECK: &str = include_str!("../../sql/chat/check.sql");
const PUBLICATION: &str = include_str!("../../sql/chat/publication.sql");
const GENERAL: &str = include_str!("../../sql/chat/general.sql");

/// The id of the public room "General" that `rowcast dev` makes.
pub const GENERAL_ROOM: &str = "00000000-0000-4000-8000-000000000001";

/// How to install the chat.
#[derive(Debug, Clone)]
pub struct Chat {
    /// The publication that its tables join; made if there is none.
    pub publication: String,
    /// Whether to make the public room "General".
    pub general_room: bool,
}

/// Installs what is missing.
pub(super) async fn install(
    transaction: &pg::Transaction<'_>,
    chat: &Chat,
    report: &mut Report,
) -> Result<(), MigrateError> {
    transaction.batch_execute(CHECK).await.map_err(at("chat/check.sql"))?;
    apply(transaction, &SET, report).await?;
    transaction
        .query("select set_config('chat.publication', $1, true)", &[&chat.publication])
        .await
        .map_err(at("chat/publication.sql"))?;
    transaction.batch_execute(PUBLICATION).await.map_err(at("chat/publication.sql"))?;
    if chat.general_room {
        transaction.batch_execute(GENERAL).await.map_err(at("chat/general.sql"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_order_and_nothing_is_dropped() {
        assert!(SET.migrations.is_sorted_by(|(a, _), (b, _)| a < b));
        for sql in SET.migrations.iter().map(|(_, sql)| *sql).chain([CHECK, PUBLICATION, GENERAL]) {
            assert!(!sql.to_lowercase().contains("drop "), "a migration drops something");
        }
        assert!(GENERAL.contains(GENERAL_ROOM));
    }
}

//! What `rowcast dev` installs: the schema, and the table of a chat.

use super::super::{
    Failure,
    connect::{connect, pg},
};
use crate::{
    postgres::connect::ConnectConfig,
    tenants::migrations::{self, Options, reason},
};

const MESSAGES: &str = include_str!("../../../sql/dev/messages.sql");

/// Installs the SQL and the table of the chat.
pub(super) async fn install(database: &ConnectConfig) -> Result<(), Failure> {
    let mut client = connect(database).await?;
    let plain = |error: pg::Error| {
        Failure::new(
            format!("The table messages could not be created: {}.", reason(&error)),
            "look at what has that name; rowcast dev --reset makes a new private database.",
        )
    };
    let level: String = client.query_one("show wal_level", &[]).await.map_err(plain)?.get(0);
    if level != "logical" {
        return Err(Failure::new(
            format!("The database has wal_level {level}, but logical is needed."),
            "run ALTER SYSTEM SET wal_level = logical as a superuser and restart PostgreSQL.",
        ));
    }
    migrations::run(&mut client, &Options { create_roles: true }).await?;
    client.batch_execute(MESSAGES).await.map_err(plain)
}

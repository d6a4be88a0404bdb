//! What `rowcast dev` installs: the schema, and a chat with a public room.

use super::super::{
    Failure,
    connect::{connect, pg},
    screen,
};
use crate::{
    postgres::connect::ConnectConfig,
    tenants::{
        chat_schema::Chat,
        migrations::{self, MigrateError, Options},
    },
};

/// Installs the SQL and the chat. A database that has tables of these names
/// already keeps them, and there is no chat in it.
pub(super) async fn install(database: &ConnectConfig, publication: String) -> Result<(), Failure> {
    let mut client = connect(database).await?;
    let plain = |error: pg::Error| {
        Failure::new(
            format!("The database does not tell its settings: {}.", pg::words(&error)),
            "try again; if it stays so, look at PostgreSQL's log.",
        )
    };
    let level: String = client.query_one("show wal_level", &[]).await.map_err(plain)?.get(0);
    if level != "logical" {
        return Err(Failure::new(
            format!("The database has wal_level {level}, but logical is needed."),
            "run ALTER SYSTEM SET wal_level = logical as a superuser and restart PostgreSQL.",
        ));
    }
    let chat = Some(Chat { publication, general_room: true });
    match migrations::run(&mut client, &Options { create_roles: true, chat }).await {
        Err(MigrateError::Refused(reason)) => {
            screen::progress(format!("Going on without the chat: {reason}."));
            migrations::run(&mut client, &Options { create_roles: true, chat: None }).await?;
        }
        done => drop(done?),
    }
    Ok(())
}

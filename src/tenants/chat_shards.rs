//! Makes databases the shards of a chat.
//!
//! The first one has the map, which is made once; each learns from it what it
//! owns, once. So it may be done again at any time, in part or as a whole.

use crate::{
    postgres::{
        connect::ConnectConfig,
        pool as pg,
        session::{self, SessionConfig, SessionError},
    },
    tenants::migrations::{self, BEGIN, LOCK, MigrateError, Options, Report},
};

/// Why a shard could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// It cannot be reached or refuses us.
    #[error("cannot connect to shard {shard} of the chat")]
    Connect {
        /// Its place in the list, from 0.
        shard: usize,
        /// Why.
        source: SessionError,
    },
    /// Something cannot be installed.
    #[error("cannot set up shard {shard} of the chat")]
    Migrate {
        /// Its place in the list, from 0.
        shard: usize,
        /// Why.
        source: MigrateError,
    },
}

impl ShardError {
    /// True if waiting may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { source, .. } => source.is_transient(),
            Self::Migrate { source, .. } => source.is_transient(),
        }
    }
}

/// Installs the chat in every shard and gives each its buckets. `told` hears
/// what was done in which. A shard that is away is passed over and its error
/// returned at the end, so that one holds up only itself.
///
/// # Errors
///
/// [`ShardError`], of what waiting cannot mend at once.
pub async fn set_up(
    shards: &[ConnectConfig],
    options: &Options,
    mut told: impl FnMut(usize, &Report),
) -> Result<(), ShardError> {
    let mut away = None;
    let mut map: Option<Vec<(i32, i32)>> = None;
    for (shard, connect) in shards.iter().enumerate() {
        match Box::pin(set_up_one(shard, shards.len(), connect, options, &mut map)).await {
            Ok(report) => told(shard, &report),
            // Without the map nothing is known about the others.
            Err(error) if shard == 0 || !error.is_transient() => return Err(error),
            Err(error) => away = Some(error),
        }
    }
    away.map_or(Ok(()), Err)
}

async fn set_up_one(
    shard: usize,
    count: usize,
    connect: &ConnectConfig,
    options: &Options,
    map: &mut Option<Vec<(i32, i32)>>,
) -> Result<Report, ShardError> {
    let session = SessionConfig::new("rowcast_migrations");
    let client = Box::pin(session::connect(connect, &session)).await;
    let mut client = client.map_err(|source| ShardError::Connect { shard, source })?;
    let wrong = |source| ShardError::Migrate { shard, source };
    let report = migrations::run(&mut client, options).await.map_err(wrong)?;
    let publication = options.chat.as_ref().map_or("", |chat| &chat.publication);
    match join(&mut client, shard, count, publication, map).await {
        Ok(()) => Ok(report),
        Err(source) => Err(wrong(migrations::explain(&client, "0011_shards", source).await)),
    }
}

async fn join(
    client: &mut pg::Client,
    shard: usize,
    count: usize,
    publication: &str,
    map: &mut Option<Vec<(i32, i32)>>,
) -> Result<(), pg::Error> {
    let number = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let transaction = client.transaction().await?;
    transaction.batch_execute(BEGIN).await?;
    transaction.query("select pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let places = if let Some(places) = map {
        places
    } else {
        transaction.query("select chat.lay_out($1)", &[&number(count)]).await?;
        let rows = transaction.query("select bucket, shard from chat.buckets", &[]).await?;
        map.insert(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    };
    let own: Vec<i32> =
        places.iter().filter(|(_, of)| *of == number(shard)).map(|(bucket, _)| *bucket).collect();
    let become_shard = "select chat.become_shard($1, $2, $3)";
    transaction.query(become_shard, &[&number(shard), &own, &publication]).await?;
    transaction.commit().await
}

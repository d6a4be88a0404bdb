//! What a stream is told.

use std::time::Duration;

use crate::postgres::connect::ConnectConfig;

/// Settings of one stream.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which database. The user needs the `REPLICATION` attribute.
    pub connect: ConnectConfig,
    /// Whose stream, for log lines and metrics.
    pub tenant: String,
    /// The slot: lower case letters, digits and `_`, at most 63 bytes.
    pub slot_name: String,
    /// The slot ends with the connection. Changes are then lost whenever the
    /// connection breaks, and nothing is left behind in the database.
    pub temporary: bool,
    /// What is streamed.
    pub publications: Vec<Publication>,
    /// Creates missing publications and mends those with fixed contents.
    /// Otherwise the stream waits until somebody else has.
    pub create_publications: bool,
    /// How much log the slot may hold back before it is given up, so that the
    /// database's disk is not filled; none leaves that to
    /// `max_slot_wal_keep_size`.
    pub wal_budget_bytes: Option<u64>,
    /// How often the budget is looked at.
    pub wal_budget_interval: Duration,
    /// Longest time between two reports to the server. Shortened to a third of
    /// its `wal_sender_timeout`.
    pub status_interval: Duration,
    /// The server hangs up when it hears nothing for this long; none leaves
    /// that to its `wal_sender_timeout`.
    pub hang_up_after: Option<Duration>,
    /// Longest time to connect and log in.
    pub connect_timeout: Duration,
    /// When nothing was confirmed for this long although rows are there, the
    /// server is asked whether it is shutting down.
    pub stuck_after: Duration,
    /// Rows received but not yet applied, in bytes.
    pub queue_bytes: u32,
    /// Most changes of a batch.
    pub batch_changes: usize,
    /// A batch ends after this many bytes of values; one larger row still fits.
    pub batch_bytes: usize,
}

/// A publication and what is to be in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Its name.
    pub name: String,
    /// Its one table as schema and name, with its partitions. None leaves the
    /// contents to the user: a missing publication is then created empty.
    pub table: Option<(String, String)>,
}

impl Publication {
    /// One whose contents are the user's.
    pub fn of_the_user(name: impl Into<String>) -> Self {
        Self { name: name.into(), table: None }
    }

    /// One that is there for a single table.
    pub fn of_table(name: impl Into<String>, schema: &str, table: &str) -> Self {
        Self { name: name.into(), table: Some((schema.to_owned(), table.to_owned())) }
    }

    /// The broadcasts of the database.
    pub fn messages() -> Self {
        Self::of_table("supabase_realtime_messages_publication", "realtime", "messages")
    }
}

impl Config {
    /// The defaults for a database: durable slot `rowcast`, the publication
    /// `supabase_realtime`, 4 GiB of log.
    pub fn new(connect: ConnectConfig) -> Self {
        Self {
            tenant: connect.database.clone(),
            connect,
            slot_name: "rowcast".to_owned(),
            temporary: false,
            publications: vec![Publication::of_the_user("supabase_realtime")],
            create_publications: true,
            wal_budget_bytes: Some(4 << 30),
            wal_budget_interval: Duration::from_secs(30),
            status_interval: Duration::from_secs(10),
            hang_up_after: None,
            connect_timeout: Duration::from_secs(10),
            stuck_after: Duration::from_secs(10),
            queue_bytes: 8 << 20,
            batch_changes: 1_000,
            batch_bytes: 1 << 20,
        }
    }
}

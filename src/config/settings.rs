//! The settings as plain values, for the composition root.
//!
//! What they mean is said in `vars`; how they are filled, in `load`.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use serde_json::{Map, Value};

use crate::{
    auth::Jwks,
    chat,
    postgres::connect::ConnectConfig,
    secret::Secret,
    tenants::{crypto::Vault, store::Seed},
};

/// Everything that `serve` and `dev` need.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen.
    pub listen: ListenSettings,
    /// The database.
    pub database: DatabaseSettings,
    /// The one tenant.
    pub tenant: TenantSettings,
    /// Tenants in a control database, which `database` then is; absent if there
    /// is the one tenant only.
    pub control: Option<ControlSettings>,
    /// The admin API.
    pub admin: Guard,
    /// `/metrics`.
    pub metrics: Guard,
    /// What a socket may do.
    pub sockets: SocketSettings,
    /// Other servers.
    pub cluster: ClusterSettings,
    /// The replication stream.
    pub replication: ReplicationSettings,
    /// Messages of the database.
    pub messages: MessageSettings,
    /// Database changes and their subscribers.
    pub changes: ChangeSettings,
    /// Rooms and their messages.
    pub chat: chat::Config,
    /// The databases over which rooms are spread; none for the tenant's alone.
    pub chat_shards: Vec<ConnectConfig>,
    /// Logs.
    pub log: LogSettings,
}

/// Where and how to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenSettings {
    /// Address; port 0 takes any free one.
    pub address: SocketAddr,
    /// Connections open at a time.
    pub max_connections: usize,
    /// Bytes of a request's head.
    pub max_header_bytes: usize,
    /// Time for a new connection to send its request.
    pub handshake_timeout: Duration,
    /// Bytes of a request's body.
    pub max_body_bytes: usize,
    /// Time for a request to send it.
    pub body_timeout: Duration,
    /// Pages that may call; none for any.
    pub origins: Vec<String>,
    /// Where the admin API and the metrics are, if not where clients are.
    pub admin: Option<SocketAddr>,
    /// A certificate and its key, for TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Entry of `baggage` that names a request.
    pub baggage_key: String,
    /// Time that a shutdown may take.
    pub drain_timeout: Duration,
    /// Time over which it closes sockets.
    pub drain_window: Duration,
}

/// The database and what may be installed there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// How to reach it.
    pub connect: ConnectConfig,
    /// Connections for queries.
    pub pool_size: usize,
    /// Time to wait for one of them.
    pub pool_wait: Duration,
    /// Whether to install the SQL objects at start.
    pub auto_migrate: bool,
    /// Whether that includes roles and `auth.*`.
    pub create_roles: bool,
}

/// The one tenant.
#[derive(Debug, Clone)]
pub struct TenantSettings {
    /// Its name, the `external_id` of the admin API.
    pub name: String,
    /// Whether other host names are refused.
    pub strict_host: bool,
    /// HMAC secret of its tokens; absent only if there are other keys.
    pub jwt_secret: Option<Secret>,
    /// Public keys of its tokens, a JSON Web Key Set.
    pub jwt_jwks: Option<Jwks>,
    /// Where further public keys are published.
    pub jwks_url: Option<JwksUrl>,
    /// Roles that its tokens may name; none for all but dangerous ones.
    pub roles: Vec<String>,
    /// Claims each token must have.
    pub claim_validators: Map<String, Value>,
    /// What its clients may do.
    pub limits: Limits,
}

/// Tenants in a control database.
#[derive(Debug, Clone)]
pub struct ControlSettings {
    /// The keys of their secrets.
    pub vault: Arc<Vault>,
    /// SQL with which each connection begins.
    pub after_connect: Option<String>,
    /// Time for which a tenant is remembered.
    pub cache_ttl: Duration,
    /// Tenants served at a time.
    pub max_tenants: usize,
    /// Time without sockets and requests after which one is served no more.
    pub idle: Duration,
    /// The tenant that is made anew at start.
    pub seed: Option<Seed>,
}

/// A published key set. The URL was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwksUrl {
    /// Where it is.
    pub url: String,
    /// Whether the URL may be plain HTTP.
    pub allow_http: bool,
    /// Time between two fetches.
    pub refresh: Duration,
}

/// Limits of the tenant, as section "Tenant and limits" describes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Sockets that have joined a channel.
    pub max_concurrent_users: u64,
    /// Events per second.
    pub max_events_per_second: u64,
    /// Joins per second.
    pub max_joins_per_second: u64,
    /// Channels of one socket.
    pub max_channels_per_client: u64,
    /// Presence messages per second.
    pub max_presence_events_per_second: u64,
    /// Presence messages of one channel in a window.
    pub client_presence_max_calls: u64,
    /// That window.
    pub client_presence_window: Duration,
    /// Kilobytes of one payload.
    pub max_payload_kb: u64,
    /// Presence without being asked for.
    pub presence_enabled: bool,
    /// No public channels.
    pub private_only: bool,
}

/// Who may pass: the secrets of accepted tokens and the tokens refused anyway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// Any of these may have signed the token. Empty if the tenant has a key
    /// set or `ROWCAST_JWT_SECRET` and nothing else; nobody passes then.
    pub secrets: Vec<Secret>,
    /// Refused tokens.
    pub blocklist: Vec<Secret>,
}

/// What a socket may do and how long it may wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketSettings {
    /// Pause before a refused connection is told so.
    pub connect_error_backoff: Duration,
    /// Pause before a refused join is told so.
    pub channel_error_backoff: Duration,
    /// Time without a channel after an attempt to join.
    pub no_channel_timeout: Duration,
    /// Time without a frame.
    pub idle_timeout: Duration,
    /// Bytes of one frame from a client.
    pub max_frame_bytes: usize,
    /// Bytes that may wait for a client.
    pub outbox_bytes: usize,
    /// Bytes of a client's messages that may wait for the database.
    pub waiting_bytes: usize,
}

/// How several servers act as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSettings {
    /// Where they meet; absent if there is only this one.
    pub redis_url: Option<Secret>,
    /// The authorities that may sign its certificate; the system's if absent.
    pub redis_ca: Option<PathBuf>,
    /// Our own certificate and its key.
    pub redis_certificate: Option<(PathBuf, PathBuf)>,
    /// What the names of channels and keys there begin with.
    pub redis_prefix: String,
    /// One server reads the database for all.
    pub shares_changes: bool,
    /// Bytes that a server may be behind in what is shared.
    pub log_bytes: usize,
}

/// The replication stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationSettings {
    /// Slot, the suffix included.
    pub slot_name: String,
    /// Whether it vanishes with the connection.
    pub slot_temporary: bool,
    /// Publication of postgres_changes.
    pub publication: String,
    /// Bytes of WAL that the slot may hold back.
    pub wal_budget_bytes: u64,
    /// Bytes of a row that is sent in full.
    pub max_record_bytes: usize,
    /// Deletes of tables with row security reach only who could see the row.
    pub strict_deletes: bool,
    /// What policies may take for one user.
    pub policy_timeout: Duration,
    /// Connections that judge rows.
    pub policy_connections: usize,
}

/// Messages of the database and the table they are kept in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageSettings {
    /// Whether they are broadcast.
    pub broadcasts: bool,
    /// How long they are kept.
    pub retention: Duration,
    /// When partitions are looked after; `None` for never.
    pub janitor: Option<JanitorSettings>,
}

/// When partitions are looked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JanitorSettings {
    /// From the start to the first time.
    pub first: Duration,
    /// Between two times.
    pub interval: Duration,
    /// Up to this is added at random.
    pub jitter: Duration,
}

/// Database changes and their subscribers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeSettings {
    /// Whether changes over the tenant's rate are dropped.
    pub drops_surplus: bool,
    /// Whether good bindings are kept where others are bad.
    pub keeps_partial: bool,
    /// Bindings of one channel.
    pub max_bindings: usize,
    /// Conditions of one binding.
    pub max_filters: usize,
    /// Between looks at the publication.
    pub publication_check: Duration,
}

/// Logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// `off`, `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// Form of the lines; `None` looks whether there is a terminal.
    pub format: Option<LogFormat>,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

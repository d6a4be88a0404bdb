//! Codes: what operators search logs for and clients match on.
//!
//! The names are those of Supabase Realtime, so that runbooks carry over.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// An operational code. A refusal's reason starts with it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// All codes.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code as written in logs and reasons.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

codes! {
    /// Old messages that could not be deleted.
    JanitorFailedToDeleteOldMessages,
    /// A partition that could not be created.
    PartitionCreationFailed,
    /// A channel closed by the server, in order.
    ChannelShutdown,
    /// Too many channels on one socket.
    ChannelRateLimitReached,
    /// Too many joins a second, seen at a join.
    ClientJoinRateLimitReached,
    /// Too many presence calls on one channel.
    ClientPresenceRateLimitReached,
    /// Too many connected users.
    ConnectionRateLimitReached,
    /// The database has no connection left.
    DatabaseLackOfConnections,
    /// A query of the server's own that failed.
    ErrorRunningQuery,
    /// An upgrade refused for another reason.
    ErrorConnectingToWebsocket,
    /// A request, or a connection, that the server could not serve.
    HttpServerError,
    /// No connection was free for a check.
    IncreaseConnectionPool,
    /// A join field of a wrong type; the join goes on.
    InvalidJoinPayload,
    /// Expired, or without its required claims.
    InvalidJWTToken,
    /// Too many joins a second, seen at an upgrade.
    JoinsRateLimitReached,
    /// A signature that does not match.
    JwtSignatureError,
    /// No key to verify a token with.
    JwtSignerError,
    /// Not a token at all.
    MalformedJWT,
    /// A frame that was dropped.
    MalformedWebSocketMessage,
    /// SQL objects that could not be installed.
    MigrationsFailedToRun,
    /// No partition of `realtime.messages` for today.
    MissingPartition,
    /// Too many messages a second.
    MessagePerSecondRateLimitReached,
    /// An upgrade without a token.
    MissingAPIKey,
    /// Changes that were not live in the time that a join waited for them.
    PostgresChangesSubscribeTimeout,
    /// Too many presence messages a second.
    PresenceRateLimitReached,
    /// A public join where only private channels are allowed.
    PrivateOnly,
    /// What was asked for is switched off, or makes no sense.
    RealtimeDisabledForConfiguration,
    /// A suspended tenant.
    RealtimeDisabledForTenant,
    /// A check that took too long.
    QueryCanceled,
    /// Other servers that cannot be reached, or do not keep up.
    RealtimeNodeDisconnected,
    /// The server is shutting down.
    RealtimeRestarting,
    /// A stream of the log that broke.
    ReplicationConnectionDown,
    /// A slot that another process reads.
    ReplicationSlotBeingUsed,
    /// A slot that could not be looked after.
    ReplicationSlotCheckSkipped,
    /// What a slot holds back that could not be looked up.
    ReplicationSlotLagCheckSkipped,
    /// A slot that held back too much and was dropped.
    ReplicationSlotLagTooHigh,
    /// A slot that is of no use any more.
    ReplicationSlotNotAlive,
    /// A policy that raised.
    RlsPolicyError,
    /// A client that does not read fast enough.
    SlowClient,
    /// A stream of the log that could not be started.
    StartReplicationFailed,
    /// No such tenant.
    TenantNotFound,
    /// A join without a topic name.
    TopicNameRequired,
    /// No permission to read from the topic.
    Unauthorized,
    /// No connection for a piece of work.
    UnableCheckoutConnection,
    /// A broadcast of the database that was dropped.
    UnableToBroadcastChanges,
    /// The database cannot be reached.
    UnableToConnectToProject,
    /// The database cannot be reached by whoever looks after it.
    UnableToConnectToTenantDatabase,
    /// A broadcast that was not stored.
    UnableToHandleBroadcast,
    /// A replay that was refused or failed.
    UnableToReplayMessages,
    /// A subscription that failed.
    UnableToSubscribeToPostgres,
    /// Whose status others could not be told.
    UnableToTrackPresence,
    /// Work that did not end in time.
    UnhandledProcessMessage,
    /// Anything else in a join.
    UnknownErrorOnChannel,
    /// A presence event that is neither track nor untrack.
    UnknownPresenceEvent,
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

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
    /// An upgrade refused for another reason.
    ErrorConnectingToWebsocket,
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
    /// The server is shutting down.
    RealtimeRestarting,
    /// A policy that raised.
    RlsPolicyError,
    /// A client that does not read fast enough.
    SlowClient,
    /// No such tenant.
    TenantNotFound,
    /// A join without a topic name.
    TopicNameRequired,
    /// No permission to read from the topic.
    Unauthorized,
    /// A broadcast of the database that was dropped.
    UnableToBroadcastChanges,
    /// The database cannot be reached.
    UnableToConnectToProject,
    /// A broadcast that was not stored.
    UnableToHandleBroadcast,
    /// A replay that was refused or failed.
    UnableToReplayMessages,
    /// A subscription that failed.
    UnableToSubscribeToPostgres,
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

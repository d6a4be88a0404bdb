//! Persist: a client's broadcast is stored before it is acknowledged.
//!
//! The row is inserted as the sender, so the INSERT policies on
//! `realtime.messages` decide, and then comes to everybody by the log, like
//! any row: once, in commit order, whichever node the receivers are on. It is
//! not sent directly as well. See the decision record on stored broadcasts.

use std::time::Duration;

use postgres_protocol::escape::escape_literal;
use uuid::Uuid;

use crate::{
    hub::Subscriber,
    postgres::pool::{Pool, PoolError, RunError, ScriptError},
    protocol::{
        message::{Encoding, UserBroadcast},
        persist::Persist,
    },
    tenants::Caller,
};

/// Storing one message may take this long.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Stores broadcasts. Clones share the pool.
#[derive(Debug, Clone)]
pub struct Store {
    /// `None` where nothing that is stored would reach anybody.
    pool: Option<Pool>,
}

/// Why a message was not stored. The texts are for the client, which gets
/// them as `{"error": …}`.
#[derive(Debug, thiserror::Error)]
pub enum PersistError {
    /// Public channels store nothing.
    #[error("Messages can only be stored on private channels")]
    Public,
    /// The stream leaves stored messages out, so they would reach nobody.
    #[error("Messages cannot be stored: broadcasts of the database are switched off")]
    Off,
    /// `persist` is neither true nor an object with a positive `ttl`.
    #[error("persist must be true or have a ttl in whole seconds")]
    Ttl,
    /// No policy allows it.
    #[error("You do not have permissions to store messages on this topic")]
    Denied,
    /// No table takes today's messages; the janitor is to be asked.
    #[error("Missing messages partition")]
    MissingPartition,
    /// The database took too long.
    #[error("Query canceled")]
    Canceled,
    /// All connections are in use, or there is none.
    #[error("Tenant database unavailable")]
    Unavailable(#[source] PoolError),
    /// A policy raised, the role does not exist, the payload cannot be stored,
    /// or the database stopped answering.
    #[error("The message could not be stored")]
    Failed(#[source] ScriptError),
}

impl Store {
    /// Stores through `pool`.
    pub fn new(pool: Pool) -> Self {
        Self { pool: Some(pool) }
    }

    /// Stores nothing: broadcasts of the database are switched off.
    pub fn off() -> Self {
        Self { pool: None }
    }

    /// Stores a broadcast on a private topic and returns its id. It is then on
    /// its way to the receivers; `skip` is the sender's own subscriber, if it
    /// does not want the message back.
    ///
    /// # Errors
    ///
    /// [`PersistError`]; then it is not stored and reaches nobody, unless the
    /// connection broke while it was being stored.
    pub async fn store(
        &self,
        sender: Caller<'_>,
        broadcast: &UserBroadcast,
        persist: Persist,
        skip: Option<&Subscriber>,
    ) -> Result<Uuid, PersistError> {
        let pool = self.pool.as_ref().ok_or(PersistError::Off)?;
        let seconds = match persist {
            Persist::Retention => None,
            Persist::Seconds(seconds) => Some(seconds),
            Persist::Unreadable => return Err(PersistError::Ttl),
        };
        let id = Uuid::new_v4();
        let script = script(id, sender, broadcast, seconds);
        // Before it is stored, or the log could be faster.
        if let Some(subscriber) = skip {
            subscriber.seen.will_store(id);
        }
        match pool.run(TIMEOUT, &script).await {
            Ok(_) => Ok(id),
            Err(error) => {
                if let Some(subscriber) = skip {
                    subscriber.seen.did_not_store(id);
                }
                Err(failure(error))
            }
        }
    }
}

fn failure(error: RunError) -> PersistError {
    let error = match error {
        RunError::Pool(error) => return PersistError::Unavailable(error),
        RunError::Script(error) => error,
    };
    match error.sqlstate() {
        Some("42501") => PersistError::Denied,
        Some("23514") => PersistError::MissingPartition,
        Some("57014") => PersistError::Canceled,
        _ => PersistError::Failed(error),
    }
}

/// One round trip. The settings and the role end with the transaction.
fn script(id: Uuid, sender: Caller<'_>, broadcast: &UserBroadcast, seconds: Option<u32>) -> String {
    let (timeout, settings) = (TIMEOUT.as_millis(), sender.settings());
    let (column, payload) = match broadcast.encoding {
        Encoding::Json => ("payload", escape_literal(&String::from_utf8_lossy(&broadcast.payload))),
        Encoding::Binary => {
            let hex: String = broadcast.payload.iter().map(|byte| format!("{byte:02x}")).collect();
            ("binary_payload", format!("decode('{hex}', 'hex')"))
        }
    };
    let (topic, event) = (escape_literal(sender.topic), escape_literal(&broadcast.event));
    // The wish to forget is the server's to keep, not the sender's to see.
    let expiry = seconds.map_or_else(String::new, |seconds| {
        format!(
            "set local role none; insert into realtime.rowcast_expiries (message, expires_at) \
             values ('{id}', (now() at time zone 'utc') + {seconds} * interval '1 second'); "
        )
    });
    format!(
        "begin; set local statement_timeout = {timeout}; {settings}; \
         insert into realtime.messages (id, topic, extension, event, private, {column}) \
         values ('{id}', {topic}, 'broadcast', {event}, true, {payload}); \
         {expiry}commit"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{auth::Claims, secret::Secret};

    fn made(event: &str, encoding: Encoding, payload: &'static [u8], ttl: Option<u32>) -> String {
        let claims = Claims::parse(r#"{"role":"anon","exp":2}"#, 1).unwrap();
        let headers = Secret::new(r#"{"x":"\\'"}"#);
        let sender = Caller { topic: "it's", claims: &claims, headers: &headers };
        let broadcast =
            UserBroadcast { event: event.to_owned(), encoding, payload: payload.into() };
        script(Uuid::from_u128(7), sender, &broadcast, ttl)
    }

    #[test]
    fn what_a_client_sends_is_quoted() {
        let script = made("x'); drop table t; --", Encoding::Json, br#"{"a":"'"}"#, Some(60));
        assert!(script.contains("'x''); drop table t; --'") && script.contains("'it''s'"));
        assert!(script.contains(r#"'{"a":"''"}'"#) && script.contains(" E'"));
        assert!(script.contains("60 * interval"));
    }

    #[test]
    fn bytes_are_stored_as_bytes() {
        let script = made("e", Encoding::Binary, &[0, 0xfe], None);
        assert!(script.contains("binary_payload") && script.contains("decode('00fe', 'hex')"));
        assert!(!script.contains("rowcast_expiries"));
    }
}

//! Replay: messages stored in `realtime.messages`, pushed to a channel that joins.
//!
//! Only for private channels that may read broadcasts; the policies of single
//! rows are not asked, as in the original. The order is that of insertion also
//! within one transaction, whose rows all have its time: by the command that
//! made them, then by their place. See the decision record on replay.

use std::time::Duration;

use bytes::Bytes;
use postgres_protocol::escape::escape_literal;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    hub::Subscriber,
    postgres::{
        pool::{Pool, PoolError, ScriptError},
        snapshot::Snapshot,
    },
    protocol::{
        message::{Encoding, Ref, UserBroadcast},
        prepared::{Frame, pushed},
    },
};

use super::{metrics::DatabaseSeries, row};

/// A query may take this long.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Most messages of a replay, and what is meant when no limit is given.
const MOST: i64 = 25;

/// The end of the year 9999 in milliseconds: later is a mistake of the client.
const LATEST: i64 = 253_402_300_799_999;

/// What a join asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Milliseconds since 1970.
    since: i64,
    /// 1 to 25.
    limit: i64,
}

/// A reason for the client, without its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Public channels have no replay. To be looked at before the parameters.
    #[error("Replay is not allowed for public channels")]
    Public,
    /// Not an object with a number `since` and perhaps a number `limit`.
    #[error("Replay params are not valid")]
    Params,
}

/// Why nothing could be read. What the client is told is one text for all.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// No connection.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The query failed or took too long.
    #[error("the stored messages cannot be read")]
    Query(#[from] ScriptError),
    /// The answer cannot be read.
    #[error("a stored message cannot be read")]
    Answer,
}

impl ReplayError {
    /// What a client is told, without the code.
    pub const MESSAGE: &str = "Realtime was unable to replay messages";
}

/// A stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its row's id.
    pub id: Uuid,
    broadcast: UserBroadcast,
}

impl Stored {
    /// The user's event.
    pub fn event(&self) -> &str {
        &self.broadcast.event
    }
}

/// What a replay found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Oldest first.
    pub messages: Vec<Stored>,
    /// What it saw, if it found anything.
    saw: Option<Snapshot>,
}

/// Reads stored messages. Clones share the pool.
#[derive(Debug, Clone)]
pub struct Replays {
    pool: Pool,
    series: DatabaseSeries,
}

#[derive(Deserialize)]
struct Params {
    since: i64,
    #[serde(default)]
    limit: Option<i64>,
}

#[derive(Deserialize)]
struct Answer<'a> {
    id: Uuid,
    event: String,
    #[serde(borrow)]
    payload: &'a RawValue,
    bytes: Option<String>,
    snapshot: &'a str,
}

impl Request {
    /// Reads `config.broadcast.replay` of a join.
    ///
    /// # Errors
    ///
    /// [`Refused`], in the order in which clients know the refusals.
    pub fn parse(private: bool, replay: &RawValue) -> Result<Self, Refused> {
        if !private {
            return Err(Refused::Public);
        }
        let text = replay.get();
        if !text.starts_with('{') {
            return Err(Refused::Params);
        }
        let params: Params = serde_json::from_str(text).map_err(|_| Refused::Params)?;
        if params.since > LATEST {
            return Err(Refused::Params);
        }
        let limit = params.limit.unwrap_or(MOST).clamp(1, MOST);
        Ok(Self { since: params.since.max(0), limit })
    }
}

impl Replays {
    /// Replays through `pool`.
    pub fn new(pool: Pool, series: DatabaseSeries) -> Self {
        Self { pool, series }
    }

    /// The newest messages of a private topic (without `realtime:`) within the
    /// request, oldest first.
    ///
    /// # Errors
    ///
    /// [`ReplayError`].
    pub async fn fetch(&self, topic: &str, request: Request) -> Result<Found, ReplayError> {
        let begun = Instant::now();
        let mut lease = Box::pin(self.pool.checkout()).await?;
        lease.mark_dirty();
        let rows = lease.simple_rows_within(TIMEOUT, &script(topic, request)).await?;
        lease.mark_clean();
        self.series.replayed(begun.elapsed());
        let mut found = Found::default();
        for row in &rows {
            let (message, saw) = stored(row)?;
            found.messages.push(message);
            found.saw = Some(saw);
        }
        Ok(found)
    }
}

/// The frames to push to a channel, right after the reply to its join. Clears
/// up with what came live meanwhile, so call it once, and also when nothing
/// was found: [`crate::hub::seen::Seen::replay_begins`] waits for it.
pub fn frames(found: Found, subscriber: &Subscriber, join_ref: &Ref, topic: &str) -> Vec<Frame> {
    let Found { messages, saw } = found;
    let ids: Vec<Uuid> = messages.iter().map(|message| message.id).collect();
    let wanted = subscriber.seen.replay_ends(&ids, saw);
    let frame = |message: &Stored| {
        let meta = format!(r#"{{"id":"{}","replayed":true}}"#, message.id);
        pushed(subscriber.vsn, join_ref, topic, &message.broadcast, &meta)
    };
    let unseen = messages.iter().zip(wanted).filter(|(_, wanted)| *wanted);
    unseen.filter_map(|(message, _)| frame(message)).collect()
}

/// One round trip. All of it happens in a transaction for its time limit;
/// the last statement ends it.
fn script(topic: &str, Request { since, limit }: Request) -> String {
    let (topic, timeout) = (escape_literal(topic), TIMEOUT.as_millis());
    format!(
        "begin read only; set local statement_timeout = {timeout}; \
         select json_build_object('id', id, 'event', event, 'payload', payload, \
             'bytes', encode(binary_payload, 'hex'), 'snapshot', pg_current_snapshot()::text)::text \
         from ( \
           select id, event, payload, binary_payload, inserted_at, \
             cmin::text::bigint as command, ctid as place \
           from realtime.messages m \
           where topic = {topic} and extension = 'broadcast' and private is true \
             and inserted_at >= timestamp 'epoch' + {since} * interval '1 millisecond' \
             and inserted_at < (now() at time zone 'utc') + interval '1 minute' \
             and event is not null and (payload is not null or binary_payload is not null) \
             and not exists (select from realtime.rowcast_expiries e \
               where e.message = m.id and e.expires_at <= now() at time zone 'utc') \
           order by inserted_at desc, command desc, place desc limit {limit} \
         ) newest order by inserted_at, command, place; \
         rollback"
    )
}

fn stored(row: &str) -> Result<(Stored, Snapshot), ReplayError> {
    let answer: Answer<'_> = serde_json::from_str(row).map_err(|_| ReplayError::Answer)?;
    let (encoding, payload) = match answer.bytes {
        Some(hex) => (Encoding::Binary, row::hex(hex.as_bytes()).ok_or(ReplayError::Answer)?),
        None => (Encoding::Json, Bytes::copy_from_slice(answer.payload.get().as_bytes())),
    };
    let broadcast = UserBroadcast { event: answer.event, encoding, payload };
    let saw = Snapshot::parse(answer.snapshot).ok_or(ReplayError::Answer)?;
    Ok((Stored { id: answer.id, broadcast }, saw))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(private: bool, text: &str) -> Result<Request, Refused> {
        Request::parse(private, &RawValue::from_string(text.to_owned()).unwrap())
    }

    #[test]
    fn limits_are_brought_within_bounds() {
        let limit = |text: &str| parse(true, text).unwrap().limit;
        assert_eq!(limit(r#"{"since":1}"#), 25);
        assert_eq!(limit(r#"{"since":1,"limit":0}"#), 1);
        assert_eq!(limit(r#"{"since":1,"limit":7}"#), 7);
        assert_eq!(limit(r#"{"since":1,"limit":1000}"#), 25);
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_public_channels_first() {
        for text in [
            "{}",
            "[]",
            "[1,2]",
            r#"{"limit":3}"#,
            r#"{"since":"yesterday"}"#,
            r#"{"since":1,"limit":"x"}"#,
            r#"{"since":1.5}"#,
            r#"{"since":999999999999999999}"#,
        ] {
            assert_eq!(parse(true, text), Err(Refused::Params), "{text}");
            assert_eq!(parse(false, text), Err(Refused::Public), "{text}");
        }
    }

    #[test]
    fn rows_read_as_messages_with_their_payload_as_it_was() {
        let id = Uuid::from_u128(7);
        let json = format!(
            r#"{{"id" : "{id}", "event" : "e", "payload" : {{"a": 1.50}}, "bytes" : null, "snapshot" : "1:1:"}}"#
        );
        let (message, _) = stored(&json).unwrap();
        assert_eq!(message.broadcast.payload, r#"{"a": 1.50}"#);
        let bytes = format!(
            r#"{{"id":"{id}","event":"e","payload":null,"bytes":"cafe","snapshot":"1:1:"}}"#
        );
        let (message, _) = stored(&bytes).unwrap();
        assert_eq!(message.broadcast.payload, Bytes::from_static(&[0xca, 0xfe]));
        assert_eq!(message.broadcast.encoding, Encoding::Binary);
    }

    #[test]
    fn a_topic_is_quoted() {
        let request = Request { since: 0, limit: 1 };
        assert!(script("it's", request).contains("topic = 'it''s'"));
    }
}

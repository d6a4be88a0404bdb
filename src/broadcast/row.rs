//! A row of `realtime.messages` as the log shows it, read as a broadcast. Pure.

use std::{fmt, str};

use bytes::Bytes;
use uuid::Uuid;

use crate::{
    protocol::message::{Encoding, UserBroadcast},
    replication::{
        change::{Tuple, Value},
        relation::Relation,
    },
    topic::{Topic, TopicError},
};

/// Why a row was not broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Dropped {
    IdMissing,
    InsertedAtMissing,
    EventMissing,
    TopicMissing,
    PrivateMissing,
    PayloadMissing,
    PayloadTooLarge,
    TooManyRequests,
    /// Older than messages are kept.
    Expired,
    /// The event comes from the server alone.
    Reserved,
    /// A value is not what its type prints, or no topic.
    Unreadable,
}

impl Dropped {
    /// As operators of Supabase Realtime know them from its log.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::IdMissing => "id_missing",
            Self::InsertedAtMissing => "inserted_at_missing",
            Self::EventMissing => "event_missing",
            Self::TopicMissing => "topic_missing",
            Self::PrivateMissing => "private_missing",
            Self::PayloadMissing => "payload_missing",
            Self::PayloadTooLarge => "payload_size_exceeded",
            Self::TooManyRequests => "too_many_requests",
            Self::Expired => "expired",
            Self::Reserved => "reserved_event",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether this is `realtime.messages` or one of its partitions, under whose
/// names rows come unless the publication goes by the root.
pub(super) fn is_messages(relation: &Relation) -> bool {
    &*relation.schema == "realtime"
        && relation
            .table
            .strip_prefix("messages")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

/// Where the columns are. `extension` is not looked at.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    id: Option<usize>,
    inserted_at: Option<usize>,
    event: Option<usize>,
    topic: Option<usize>,
    private: Option<usize>,
    payload: Option<usize>,
    binary_payload: Option<usize>,
}

/// A row that can be broadcast.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: Uuid,
    /// In microseconds since 1970, if it can be read. A time of the database,
    /// which is expected to keep UTC.
    pub(super) inserted_at: Option<i64>,
    pub(super) private: bool,
    pub(super) topic: Topic,
    pub(super) broadcast: UserBroadcast,
}

impl Layout {
    pub(super) fn of(relation: &Relation) -> Self {
        let column = |name| relation.columns.iter().position(|column| &*column.name == name);
        Self {
            id: column("id"),
            inserted_at: column("inserted_at"),
            event: column("event"),
            topic: column("topic"),
            private: column("private"),
            payload: column("payload"),
            binary_payload: column("binary_payload"),
        }
    }

    pub(super) fn read(&self, tuple: &Tuple) -> Result<Row, Dropped> {
        let text = |at: Option<usize>| match at.map(|at| tuple.value(at)) {
            Some(Value::Text(text)) => Some(text),
            Some(Value::Null | Value::Unchanged) | None => None,
        };
        let id = utf8(text(self.id).ok_or(Dropped::IdMissing)?)?;
        let id = Uuid::parse_str(id).map_err(|_| Dropped::Unreadable)?;
        let inserted_at = text(self.inserted_at).ok_or(Dropped::InsertedAtMissing)?;
        let event = utf8(text(self.event).ok_or(Dropped::EventMissing)?)?.to_owned();
        let topic = utf8(text(self.topic).ok_or(Dropped::TopicMissing)?)?;
        let topic = Topic::from_sub_topic(topic).map_err(|error| match error {
            TopicError::Empty => Dropped::TopicMissing,
            _ => Dropped::Unreadable,
        })?;
        let private = text(self.private).ok_or(Dropped::PrivateMissing)? == b"t";
        let (encoding, payload) = match (text(self.binary_payload), text(self.payload)) {
            (Some(hex), _) => (Encoding::Binary, bytes(hex).ok_or(Dropped::Unreadable)?),
            (None, Some(json)) => (Encoding::Json, Bytes::copy_from_slice(json)),
            (None, None) => return Err(Dropped::PayloadMissing),
        };
        let inserted_at = str::from_utf8(inserted_at).ok().and_then(micros);
        let broadcast = UserBroadcast { event, encoding, payload };
        Ok(Row { id, inserted_at, private, topic, broadcast })
    }
}

/// Reads `2026-01-31 23:59:59.123456` as microseconds since 1970.
fn micros(text: &str) -> Option<i64> {
    let (date, clock) = text.split_once(' ')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse().ok());
    let (year, month, day): (i32, u8, u8) =
        (date.next()??, u8::try_from(date.next()??).ok()?, u8::try_from(date.next()??).ok()?);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut clock = clock.splitn(3, ':').map(|part| part.parse::<u8>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let micro: u32 = format!("{fraction:0<6}").parse().ok()?;
    let month = time::Month::try_from(month).ok()?;
    let date = time::Date::from_calendar_date(year, month, day).ok()?;
    let moment = date.with_hms_micro(hour, minute, second, micro).ok()?.assume_utc();
    i64::try_from(moment.unix_timestamp_nanos() / 1000).ok()
}

fn utf8(text: &[u8]) -> Result<&str, Dropped> {
    str::from_utf8(text).map_err(|_| Dropped::Unreadable)
}

/// Reads `\x…`, which the stream asks PostgreSQL for.
fn bytes(text: &[u8]) -> Option<Bytes> {
    hex(text.strip_prefix(b"\\x")?)
}

/// Reads hexadecimal digits.
pub(super) fn hex(digits: &[u8]) -> Option<Bytes> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    digits
        .chunks(2)
        .map(|pair| match pair {
            &[high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_the_database_is_read_to_the_microsecond() {
        assert_eq!(micros("1970-01-02 00:00:01.5"), Some(86_401_500_000));
        assert_eq!(micros("2026-01-31 23:59:59.123456"), Some(1_769_903_999_123_456));
        for nonsense in ["", "infinity", "2026-13-01 00:00:00", "2026-01-01 00:00:00+02"] {
            assert_eq!(micros(nonsense), None, "{nonsense}");
        }
    }
}

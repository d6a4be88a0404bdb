//! The JSON of a change, and the frames round it.
//!
//! The change object is rendered once per shape and shared; a frame is that
//! object with a group's topic and ids spliced round it.

use std::io::Write as _;

use bytes::Bytes;
use time::OffsetDateTime;

use super::{
    catalog::Table, image::Image, members::GroupKey, shape::Shape, subscription::EventFilter,
};
use crate::{
    postgres::value::{write_json, write_string},
    protocol::{Vsn, prepared::Frame},
    replication::change::Value,
};

/// Of a row that is too large, values with a longer JSON text are left out.
const SMALL_VALUE: usize = 64;

const TOO_LARGE: &str = "Error 413: Payload Too Large";

/// How a row is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) table: &'a Table,
    pub(super) shape: &'a Shape,
    /// `old_record` has the primary key and nothing else.
    pub(super) keys_only: bool,
}

/// The change object of a row.
pub(super) fn change(
    image: &Image<'_>,
    shown: &Shown<'_>,
    committed_at: i64,
    max_record_bytes: usize,
) -> Bytes {
    let shape = shown.shape;
    let mut out = Vec::with_capacity(256 + shape.columns_json.len() + image.size() * 2);
    head(image, &mut out);
    let too_large = image.size() > max_record_bytes;
    let limit = if too_large { SMALL_VALUE } else { usize::MAX };
    timestamp(committed_at, &mut out);
    out.extend_from_slice(b",\"type\":\"");
    out.extend_from_slice(image.event.name().as_bytes());
    out.extend_from_slice(b"\",\"columns\":");
    out.extend_from_slice(&shape.columns_json);
    if image.event != EventFilter::Delete {
        out.extend_from_slice(b",\"record\":");
        let all = Shown { keys_only: false, ..*shown };
        record(&all, |column| image.current(column), limit, &mut out);
    }
    if image.event != EventFilter::Insert {
        out.extend_from_slice(b",\"old_record\":");
        record(shown, |column| image.previous(column), limit, &mut out);
    }
    out.extend_from_slice(b",\"errors\":");
    if too_large {
        errors(TOO_LARGE, &mut out);
    } else {
        out.extend_from_slice(b"null");
    }
    out.push(b'}');
    Bytes::from(out)
}

/// The change object of a row that may not be shown.
pub(super) fn failure(image: &Image<'_>, text: &str) -> Bytes {
    let mut out = Vec::with_capacity(256);
    head(image, &mut out);
    out.extend_from_slice(b"null,\"type\":\"");
    out.extend_from_slice(image.event.name().as_bytes());
    out.extend_from_slice(b"\",\"columns\":[],\"record\":{}");
    if image.event == EventFilter::Update {
        out.extend_from_slice(b",\"old_record\":{}");
    }
    out.extend_from_slice(b",\"errors\":");
    errors(text, &mut out);
    out.push(b'}');
    Bytes::from(out)
}

/// The frame of a change for a group; `ids` are those of its bindings that match.
pub(super) fn frame(
    key: &GroupKey,
    event: EventFilter,
    ids: impl Iterator<Item = u32>,
    data: &[u8],
) -> Frame {
    let mut payload_head = Vec::with_capacity(64);
    if !key.legacy {
        payload_head.extend_from_slice(b"{\"ids\":[");
        for (at, id) in ids.enumerate() {
            let comma = if at == 0 { "" } else { "," };
            // Writing to a vector cannot fail.
            let _ = write!(payload_head, "{comma}{id}");
        }
        payload_head.extend_from_slice(b"],\"data\":");
    }
    let name = if key.legacy { event.name() } else { "postgres_changes" };
    let tail: &[u8] = if key.legacy { b"" } else { b"}" };
    envelope(key, name, &[&payload_head, data, tail])
}

/// A system message to a group, outside any reply.
pub(super) fn system(key: &GroupKey, status: &str, message: &str) -> Frame {
    let mut payload = b"{\"extension\":\"postgres_changes\",\"status\":".to_vec();
    write_string(status.as_bytes(), &mut payload);
    payload.extend_from_slice(b",\"message\":");
    write_string(message.as_bytes(), &mut payload);
    payload.extend_from_slice(b",\"channel\":");
    write_string(key.topic.sub_topic().as_bytes(), &mut payload);
    payload.push(b'}');
    envelope(key, "system", &[&payload])
}

fn envelope(key: &GroupKey, event: &str, payload: &[&[u8]]) -> Frame {
    let size: usize = payload.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(size + key.topic.as_str().len() + 64);
    let (open, close): (&[u8], &[u8]) = match key.vsn {
        Vsn::V1 => (b"{\"topic\":", b",\"ref\":null}"),
        Vsn::V2 => (b"[null,null,", b"]"),
    };
    out.extend_from_slice(open);
    write_string(key.topic.as_str().as_bytes(), &mut out);
    out.extend_from_slice(if key.vsn == Vsn::V1 { b",\"event\":" } else { b"," });
    write_string(event.as_bytes(), &mut out);
    out.extend_from_slice(if key.vsn == Vsn::V1 { b",\"payload\":" } else { b"," });
    payload.iter().for_each(|part| out.extend_from_slice(part));
    out.extend_from_slice(close);
    Frame::Text(Bytes::from(out))
}

fn head(image: &Image<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"schema\":");
    write_string(image.relation.schema.as_bytes(), out);
    out.extend_from_slice(b",\"table\":");
    write_string(image.relation.table.as_bytes(), out);
    out.extend_from_slice(b",\"commit_timestamp\":");
}

fn errors(text: &str, out: &mut Vec<u8>) {
    out.push(b'[');
    write_string(text.as_bytes(), out);
    out.push(b']');
}

fn record<'a>(
    shown: &Shown<'_>,
    value: impl Fn(usize) -> Value<'a>,
    limit: usize,
    out: &mut Vec<u8>,
) {
    out.push(b'{');
    let mut empty = true;
    for (at, in_stream) in &shown.shape.columns {
        let Some(column) = shown.table.columns.get(*at) else { continue };
        if shown.keys_only && !column.is_key {
            continue;
        }
        let value = value(*in_stream);
        if value == Value::Unchanged {
            continue;
        }
        let before = out.len();
        if !empty {
            out.push(b',');
        }
        write_string(column.name.as_bytes(), out);
        out.push(b':');
        let start = out.len();
        match value {
            Value::Text(text) => write_json(&column.shape, text, out),
            Value::Null | Value::Unchanged => out.extend_from_slice(b"null"),
        }
        if out.len() - start > limit {
            out.truncate(before);
        } else {
            empty = false;
        }
    }
    out.push(b'}');
}

/// `"2026-01-02T03:04:05.678Z"` of microseconds since 1970.
fn timestamp(micros: i64, out: &mut Vec<u8>) {
    let Ok(at) = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000) else {
        return out.extend_from_slice(b"null");
    };
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second, milli) = at.to_hms_milli();
    let month = u8::from(month);
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        "\"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z\""
    );
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{postgres_changes::subscription::Binding, topic::Topic};

    fn key(vsn: Vsn, legacy: bool) -> GroupKey {
        GroupKey {
            topic: Topic::parse("realtime:a \"b\"").unwrap(),
            vsn,
            legacy,
            role: Arc::from("anon"),
            bindings: Arc::from(Vec::<Binding>::new()),
        }
    }

    fn text(frame: &Frame) -> &str {
        let Frame::Text(bytes) = frame else { panic!("not text") };
        std::str::from_utf8(bytes).unwrap()
    }

    fn framed(vsn: Vsn, legacy: bool) -> String {
        let frame = frame(&key(vsn, legacy), EventFilter::Insert, [7, 8].into_iter(), b"{\"x\":1}");
        text(&frame).to_owned()
    }

    #[test]
    fn a_frame_is_the_change_with_topic_and_ids_round_it() {
        assert_eq!(
            framed(Vsn::V2, false),
            r#"[null,null,"realtime:a \"b\"","postgres_changes",{"ids":[7,8],"data":{"x":1}}]"#
        );
        assert_eq!(
            framed(Vsn::V1, false),
            r#"{"topic":"realtime:a \"b\"","event":"postgres_changes","payload":{"ids":[7,8],"data":{"x":1}},"ref":null}"#
        );
    }

    #[test]
    fn a_legacy_frame_is_the_change_under_its_own_event() {
        assert_eq!(framed(Vsn::V2, true), r#"[null,null,"realtime:a \"b\"","INSERT",{"x":1}]"#);
        assert_eq!(
            framed(Vsn::V1, true),
            r#"{"topic":"realtime:a \"b\"","event":"INSERT","payload":{"x":1},"ref":null}"#
        );
    }

    #[test]
    fn a_system_frame_names_the_channel() {
        assert_eq!(
            text(&system(&key(Vsn::V2, false), "error", "lost")),
            r#"[null,null,"realtime:a \"b\"","system",{"extension":"postgres_changes","status":"error","message":"lost","channel":"a \"b\""}]"#
        );
    }

    #[test]
    fn commit_timestamps_have_milliseconds() {
        let mut out = Vec::new();
        timestamp(1_767_323_045_678_901, &mut out);
        assert_eq!(out, b"\"2026-01-02T03:04:05.678Z\"");
    }
}

//! Entry points for the fuzzers: every parser of bytes that come from outside.
//!
//! Each takes any bytes and must return. Where an output has a promise of its
//! own, such as to be JSON, the promise is checked.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    auth::Keys,
    postgres::{
        pgoutput,
        value::{Field, TypeShape, write_json},
    },
    postgres_changes::{
        Binding,
        filter::{
            ask::Answers,
            compile::{ColumnType, check, compile, hash_key},
            parse,
        },
    },
    protocol::{self, Received, Vsn, join::Join},
    replication::change::Value,
};

/// A text frame of version 1, and the join in it.
pub fn v1_text(data: &[u8]) {
    frame(Vsn::V1, &Received::Text(Bytes::copy_from_slice(data)));
}

/// A text frame of version 2, and the join in it.
pub fn v2_text(data: &[u8]) {
    frame(Vsn::V2, &Received::Text(Bytes::copy_from_slice(data)));
}

/// A binary frame of version 2.
pub fn v2_binary(data: &[u8]) {
    frame(Vsn::V2, &Received::Binary(Bytes::copy_from_slice(data)));
}

fn frame(vsn: Vsn, received: &Received) {
    if let Ok(message) = protocol::decode(vsn, received)
        && let protocol::message::Payload::Json(payload) = &message.payload
    {
        let _ = protocol::size::exceeds(payload, 64);
        if let Ok(join) = Join::parse(payload) {
            for item in &join.changes {
                let _ = Binding::parse(item.get());
            }
        }
    }
}

/// A replication frame, and the message in it.
pub fn wire_frame(data: &[u8]) {
    let frame = pgoutput::Frame::decode(&Bytes::copy_from_slice(data));
    if let Ok(pgoutput::Frame::Data { message, .. }) = frame {
        let _ = pgoutput::decode(&message);
    }
}

/// A message of pgoutput.
pub fn pgoutput_message(data: &[u8]) {
    let _ = pgoutput::decode(&Bytes::copy_from_slice(data));
}

/// A token.
pub fn jwt(data: &[u8]) {
    let keys = Keys::new(Some("secret"), None, serde_json::Map::new());
    let token = String::from_utf8_lossy(data);
    let _ = keys.verify(&token, 0);
    let _ = keys.verify_operator(&token, 0);
}

/// A filter, compiled for columns of several types and tried on its own text.
pub fn filter(data: &[u8]) {
    let Ok(filters) = parse::parse(&String::from_utf8_lossy(data)) else { return };
    for filter in &filters {
        // bool, int8, text, uuid, numeric, timestamptz, float8, date, bytea.
        for oid in [16, 20, 25, 2950, 1700, 1184, 701, 1082, 17] {
            let column = ColumnType::builtin(oid, "a type", true);
            let Ok(values) = check(filter, &column) else { continue };
            let canonical: Vec<Arc<str>> = values.iter().map(|value| Arc::from(&**value)).collect();
            let _ = hash_key(filter, &column, &canonical);
            let Ok(predicate) = compile(filter, &column, &canonical) else { continue };
            let mut answers = Answers::default();
            let _ = predicate.judge(Value::Null, &mut answers);
            let _ = predicate.judge(Value::Unchanged, &mut answers);
            let _ = predicate.judge(Value::Text(data), &mut answers);
            let _ = predicate.judge(Value::Text(filter.value.as_bytes()), &mut answers);
        }
    }
}

/// A value as PostgreSQL prints it; the first byte chooses its type. Whatever
/// the text, what comes out must be JSON.
pub fn value_text(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else { return };
    let array = |element, delimiter| TypeShape::Array { element: Arc::new(element), delimiter };
    let field = |name: &str, shape| Field { name: Arc::from(name), shape };
    let shapes = [
        TypeShape::Bool,
        TypeShape::Number,
        TypeShape::Json,
        TypeShape::Bytea,
        TypeShape::Timestamp,
        TypeShape::TimestampTz,
        TypeShape::Text,
        array(TypeShape::Number, b','),
        array(array(TypeShape::Text, b','), b';'),
        TypeShape::Composite(Arc::from([
            field("a", TypeShape::Number),
            field("b", array(TypeShape::Json, b',')),
        ])),
    ];
    let Some(shape) = shapes.get(usize::from(*choice) % shapes.len()) else { return };
    let mut out = Vec::new();
    write_json(shape, text, &mut out);
    let json = serde_json::from_slice::<serde::de::IgnoredAny>(&out);
    assert!(json.is_ok(), "not JSON: {}", String::from_utf8_lossy(&out));
}

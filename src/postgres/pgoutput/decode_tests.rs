//! The decoder against an encoder, and against noise.

use bytes::{BufMut as _, BytesMut};
use proptest::{collection::vec, prelude::*};

use super::*;

#[derive(Debug, Clone)]
enum Value {
    Null,
    Unchanged,
    Text(Vec<u8>),
    Binary(Vec<u8>),
}

fn put_row(out: &mut BytesMut, values: &[Value]) {
    out.put_u16(u16::try_from(values.len()).unwrap());
    for value in values {
        match value {
            Value::Null => out.put_u8(b'n'),
            Value::Unchanged => out.put_u8(b'u'),
            Value::Text(bytes) | Value::Binary(bytes) => {
                out.put_u8(if matches!(value, Value::Text(_)) { b't' } else { b'b' });
                out.put_u32(u32::try_from(bytes.len()).unwrap());
                out.put_slice(bytes);
            }
        }
    }
}

fn put_text(out: &mut BytesMut, text: &str) {
    out.put_slice(text.as_bytes());
    out.put_u8(0);
}

fn assert_row(row: &Row, values: &[Value]) {
    assert_eq!(row.cells.len(), values.len());
    for (cell, value) in row.cells.iter().zip(values) {
        match (cell, value) {
            (Cell::Null, Value::Null) | (Cell::Unchanged, Value::Unchanged) => {}
            (Cell::Text(range), Value::Text(bytes))
            | (Cell::Binary(range), Value::Binary(bytes)) => {
                assert_eq!(&row.bytes[range.start as usize..range.end as usize], bytes);
            }
            other => panic!("{other:?}"),
        }
    }
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(Value::Unchanged),
        vec(any::<u8>(), 0..20).prop_map(Value::Text),
        vec(any::<u8>(), 0..20).prop_map(Value::Binary),
    ]
}

proptest! {
    #[test]
    fn any_bytes_do_not_panic(bytes in vec(any::<u8>(), 0..256)) {
        let _ = decode(&Bytes::from(bytes));
    }

    #[test]
    fn any_bytes_after_a_known_kind_do_not_panic(
        kind in prop::sample::select(&b"BCORYIUDTM"[..]),
        mut bytes in vec(prop_oneof![Just(0u8), Just(1u8), Just(b'N'), Just(b't'), any::<u8>()], 0..128),
    ) {
        bytes.insert(0, kind);
        let _ = decode(&Bytes::from(bytes));
    }

    #[test]
    fn an_update_reads_as_it_was_written(
        relation: u32,
        old in proptest::option::of((any::<bool>(), vec(value(), 0..5))),
        new in vec(value(), 0..5),
    ) {
        let mut out = BytesMut::new();
        out.put_u8(b'U');
        out.put_u32(relation);
        if let Some((full, values)) = &old {
            out.put_u8(if *full { b'O' } else { b'K' });
            put_row(&mut out, values);
        }
        out.put_u8(b'N');
        put_row(&mut out, &new);
        let bytes = out.freeze();
        let Ok(Message::Update { relation: oid, old: decoded, new: row }) = decode(&bytes) else {
            panic!("not an update");
        };
        prop_assert_eq!(oid, relation);
        assert_row(&row, &new);
        match (decoded, &old) {
            (None, None) => {}
            (Some(OldTuple::Full(row)), Some((true, values)))
            | (Some(OldTuple::Key(row)), Some((false, values))) => assert_row(&row, values),
            other => panic!("{other:?}"),
        }
        // Every shorter message is an error, and so is a longer one.
        for length in 0..bytes.len() {
            prop_assert!(decode(&bytes.slice(..length)).is_err());
        }
        prop_assert!(decode(&[&bytes[..], b"x"].concat().into()).is_err());
    }

    #[test]
    fn a_relation_reads_as_it_was_written(
        oid: u32,
        names in vec(("[a-z é]{0,9}", any::<bool>(), any::<u32>(), any::<i32>()), 0..6),
    ) {
        let mut out = BytesMut::new();
        out.put_u8(b'R');
        out.put_u32(oid);
        put_text(&mut out, "");
        put_text(&mut out, "Täble");
        out.put_u8(b'f');
        out.put_u16(u16::try_from(names.len()).unwrap());
        for (name, key, type_oid, modifier) in &names {
            out.put_u8(u8::from(*key));
            put_text(&mut out, name);
            out.put_u32(*type_oid);
            out.put_i32(*modifier);
        }
        let Ok(Message::Relation(relation)) = decode(&out.freeze()) else { panic!() };
        prop_assert_eq!(relation.oid, oid);
        prop_assert_eq!(&*relation.schema, "pg_catalog");
        prop_assert_eq!(&*relation.name, "Täble");
        prop_assert_eq!(relation.identity, Identity::Full);
        for (column, (name, key, type_oid, modifier)) in relation.columns.iter().zip(&names) {
            prop_assert_eq!(&*column.name, name.as_str());
            prop_assert_eq!(column.is_identity, *key);
            prop_assert_eq!(column.type_oid, *type_oid);
            prop_assert_eq!(column.type_modifier, *modifier);
        }
    }
}

#[test]
fn transaction_marks_and_the_rest_decode() {
    let mut begin = BytesMut::from(&b"B"[..]);
    begin.put_u64(9);
    begin.put_i64(-1);
    begin.put_u32(3);
    let expected = Message::Begin(Begin { commit_lsn: 9, committed_at: -1, xid: 3 });
    assert_eq!(decode(&begin.freeze()), Ok(expected));

    let mut commit = BytesMut::from(&b"C\0"[..]);
    commit.put_u64(9);
    commit.put_u64(10);
    commit.put_i64(1);
    let expected = Message::Commit(Commit { commit_lsn: 9, end_lsn: 10, committed_at: 1 });
    assert_eq!(decode(&commit.freeze()), Ok(expected));

    let truncate = Bytes::from_static(b"T\0\0\0\x01\x03\0\0\0\x07");
    let expected = Truncate { cascade: true, restart_identity: true, relations: vec![7] };
    assert_eq!(decode(&truncate), Ok(Message::Truncate(expected)));

    let logical = Bytes::from_static(b"M\x01\0\0\0\0\0\0\0\x05pre\0\0\0\0\x02hi");
    let expected = LogicalMessage {
        transactional: true,
        lsn: 5,
        prefix: "pre".into(),
        content: Bytes::from_static(b"hi"),
    };
    assert_eq!(decode(&logical), Ok(Message::Logical(expected)));
}

#[test]
fn a_huge_count_in_a_short_message_is_an_error() {
    assert!(decode(&Bytes::from_static(b"T\xFF\xFF\xFF\xFF\0")).is_err());
    assert!(decode(&Bytes::from_static(b"I\0\0\0\x01N\xFF\xFF")).is_err());
    assert!(decode(&Bytes::from_static(b"I\0\0\0\x01N\0\x01t\xFF\xFF\xFF\xFF")).is_err());
}

#[test]
fn kinds_that_were_not_asked_for_say_so() {
    assert_eq!(decode(&Bytes::from_static(b"S")), Err(DecodeError::NotAsked { kind: b'S' }));
    assert_eq!(decode(&Bytes::from_static(b"?")), Err(DecodeError::Unknown { kind: b'?' }));
}

//! A batch survives the log, and bytes of others do no harm.

use proptest::prelude::*;

use super::*;
use crate::replication::change::Cell;

const EPOCH: Epoch = Epoch { system_id: 1, timeline: 2, generation: 3 };

fn relation(oid: u32) -> Arc<Relation> {
    let column = |name: &str, is_identity| pgoutput::Column {
        is_identity,
        name: name.into(),
        type_oid: 25,
        type_modifier: -1,
    };
    Arc::new(Relation::new(pgoutput::Relation {
        oid,
        schema: "public".into(),
        name: "tä".into(),
        identity: pgoutput::Identity::Index,
        columns: vec![column("id", true), column("body", false), column("more", false)],
    }))
}

fn row(text: &'static str) -> Tuple {
    let end = u32::try_from(text.len()).unwrap();
    let cells = [Cell::Text(0..end), Cell::Null, Cell::Unchanged];
    Tuple::new(Bytes::from_static(text.as_bytes()), Box::new(cells))
}

fn batch() -> Batch {
    let (one, two) = (relation(7), relation(8));
    let again = relation(7);
    let change =
        |relation: &Arc<Relation>, operation| Change { relation: Arc::clone(relation), operation };
    let update = |old| Operation::Update { old, new: row("new") };
    Batch {
        epoch: EPOCH,
        commit: Lsn(99),
        xid: 5,
        committed_at: -1,
        first_ordinal: 3,
        is_last: true,
        changes: vec![
            change(&one, Operation::Insert { new: row("a") }),
            change(&two, update(None)),
            change(&one, update(Some(Old::Key(row("key"))))),
            change(&again, update(Some(Old::Full(row(""))))),
            change(&again, Operation::Delete { old: Old::Full(row("gone")) }),
            change(&two, Operation::Truncate),
        ],
    }
}

/// Everything but the versions of tables, which are this process's own.
fn shown(batch: &Batch) -> String {
    let mut text = format!("{:?}", (batch.commit, batch.xid, batch.committed_at));
    text.push_str(&format!("{:?}", (batch.first_ordinal, batch.is_last)));
    for Change { relation, operation } in &batch.changes {
        let tuple = |tuple: &Tuple| -> Vec<String> {
            (0..tuple.len()).map(|at| format!("{:?}", tuple.value(at))).collect()
        };
        text.push_str(&format!("{:?}", (relation.oid, &relation.table, &relation.columns)));
        text.push_str(&match operation {
            Operation::Insert { new } => format!("I{:?}", tuple(new)),
            Operation::Update { old, new } => {
                let kind = old.as_ref().map(|old| matches!(old, Old::Full(_)));
                let old = old.as_ref().map(|old| tuple(old.tuple()));
                format!("U{kind:?}{old:?}{:?}", tuple(new))
            }
            Operation::Delete { old } => format!("D{:?}", tuple(old.tuple())),
            Operation::Truncate => "T".to_owned(),
        });
    }
    text
}

#[test]
fn a_batch_comes_out_as_it_went_in() {
    let batch = batch();
    let bytes = encode(&batch);
    let read = Reader::default().decode(Lsn(99), &bytes).unwrap();
    assert_eq!(shown(&read), shown(&batch));
    let versions: Vec<u64> = read.changes.iter().map(|change| change.relation.version).collect();
    assert_eq!(versions[0], versions[2]);
    assert_ne!(versions[2], versions[3], "the table was described anew in between");
}

#[test]
fn a_table_stays_the_same_until_it_is_described_anew() {
    let (mut reader, mut one) = (Reader::default(), batch());
    one.changes.truncate(1);
    let bytes = encode(&one);
    let version = |reader: &mut Reader, bytes: &Bytes| {
        reader.decode(Lsn(1), bytes).unwrap().changes[0].relation.version
    };
    let first = version(&mut reader, &bytes);
    assert_eq!(version(&mut reader, &bytes), first);
    one.changes[0].relation = relation(7);
    assert_ne!(version(&mut reader, &encode(&one)), first);
}

#[test]
fn a_row_too_large_for_the_log_loses_its_largest_values() {
    let text = Bytes::from(vec![b'x'; MOST + 10]);
    let small = u32::try_from(text.len() - 5).unwrap();
    let cells = [Cell::Text(0..small), Cell::Text(small..small + 5)];
    let mut batch = batch();
    batch.changes.truncate(1);
    batch.changes[0].operation = Operation::Insert { new: Tuple::new(text, Box::new(cells)) };
    let bytes = encode(&batch);
    assert!(bytes.len() < LARGE);
    let read = Reader::default().decode(Lsn(1), &bytes).unwrap();
    let Operation::Insert { new } = &read.changes[0].operation else { panic!() };
    assert_eq!((new.value(0), new.value(1)), (Value::Unchanged, Value::Text(b"xxxxx")));
}

#[test]
fn a_newer_form_is_refused() {
    let mut bytes = encode(&batch()).to_vec();
    bytes[0] = 2;
    let read = Reader::default().decode(Lsn(1), &bytes.into());
    assert!(matches!(read, Err(EntryError::Unknown)));
}

proptest! {
    #[test]
    fn no_bytes_panic(at in any::<prop::sample::Index>(), byte: u8, cut: prop::sample::Index) {
        let mut bytes = encode(&batch()).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(cut.index(bytes.len() + 1));
        let _ = Reader::default().decode(Lsn(1), &bytes.into());
    }
}

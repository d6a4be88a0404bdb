//! Batches are cut, numbered and repeated as promised.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const EPOCH: Epoch = Epoch { system_id: 1, timeline: 1, generation: 1 };
const LIMITS: Limits = Limits { changes: 3, bytes: 1 << 20 };

fn describe() -> Message {
    Message::Relation(pgoutput::Relation {
        oid: 7,
        schema: "public".into(),
        name: "t".into(),
        identity: pgoutput::Identity::Default,
        columns: Vec::new(),
    })
}

fn begin(commit_lsn: u64) -> Message {
    Message::Begin(pgoutput::Begin { commit_lsn, committed_at: 0, xid: 1 })
}

fn commit(commit_lsn: u64) -> Message {
    Message::Commit(pgoutput::Commit { commit_lsn, end_lsn: commit_lsn + 1, committed_at: 0 })
}

fn insert(size: u32) -> Message {
    let bytes = Bytes::from(vec![b'x'; size as usize]);
    let cells = vec![pgoutput::Cell::Text(0..size)];
    Message::Insert { relation: 7, new: Row { bytes, cells } }
}

/// Plays transactions of the given sizes (commit positions 10, 20, …) and
/// returns the positions that came out, as (commit, ordinal).
fn play(assembler: &mut Assembler, sizes: &[u32], stop_after: usize) -> Vec<(u64, u32)> {
    let mut out = Vec::new();
    let mut take = |batch: Batch| {
        let ordinals = batch.first_ordinal..;
        out.extend(batch.changes.iter().zip(ordinals).map(|(_, at)| (batch.commit.0, at)));
    };
    let mut messages = vec![describe()];
    for (at, size) in sizes.iter().enumerate() {
        let lsn = (at as u64 + 1) * 10;
        messages.push(begin(lsn));
        messages.extend((0..*size).map(|_| insert(1)));
        messages.push(commit(lsn));
    }
    for message in messages.into_iter().take(stop_after) {
        match assembler.push(message).unwrap() {
            Step::Nothing => {}
            Step::Batch(batch) => {
                assert!(!batch.is_last);
                assert_eq!(batch.changes.len(), LIMITS.changes);
                take(batch);
            }
            Step::End { batch, .. } => {
                if let Some(batch) = batch {
                    assert!(batch.is_last && !batch.changes.is_empty());
                    take(batch);
                }
            }
        }
    }
    out
}

proptest! {
    #[test]
    fn a_broken_stream_repeats_nothing_and_loses_nothing(
        sizes in proptest::collection::vec(0u32..9, 1..6),
        stop in 0usize..60,
    ) {
        let expected: Vec<(u64, u32)> = sizes
            .iter()
            .enumerate()
            .flat_map(|(at, size)| (0..*size).map(move |n| ((at as u64 + 1) * 10, n)))
            .collect();
        let mut first = Assembler::new(EPOCH, Progress::default(), LIMITS);
        let mut seen = play(&mut first, &sizes, stop);
        // The server sends everything again, as after a crash of its own.
        let mut second = Assembler::new(EPOCH, first.progress(), LIMITS);
        seen.extend(play(&mut second, &sizes, usize::MAX));
        prop_assert_eq!(seen, expected);
    }
}

#[test]
fn a_batch_is_cut_by_bytes_and_one_huge_row_passes() {
    let limits = Limits { changes: 100, bytes: 300 };
    let mut assembler = Assembler::new(EPOCH, Progress::default(), limits);
    assembler.push(describe()).unwrap();
    assembler.push(begin(10)).unwrap();
    assert!(matches!(assembler.push(insert(5000)).unwrap(), Step::Nothing));
    let Step::Batch(batch) = assembler.push(insert(100)).unwrap() else { panic!() };
    assert_eq!((batch.first_ordinal, batch.changes.len()), (0, 1));
    assert!(matches!(assembler.push(insert(20)).unwrap(), Step::Nothing));
    let Step::End { batch: Some(batch), confirm } = assembler.push(commit(10)).unwrap() else {
        panic!()
    };
    assert_eq!((batch.first_ordinal, batch.changes.len(), confirm), (1, 2, Lsn(11)));
    assert!(assembler.is_idle());
}

#[test]
fn an_empty_transaction_is_confirmed_without_a_batch() {
    let mut assembler = Assembler::new(EPOCH, Progress::default(), LIMITS);
    assembler.push(begin(10)).unwrap();
    assert!(!assembler.is_idle());
    let step = assembler.push(commit(10)).unwrap();
    assert!(matches!(step, Step::End { batch: None, confirm: Lsn(11) }));
}

#[test]
fn messages_out_of_place_are_errors() {
    let mut assembler = Assembler::new(EPOCH, Progress::default(), LIMITS);
    assert_eq!(assembler.push(commit(1)).unwrap_err(), AssembleError::OutOfOrder);
    assert_eq!(assembler.push(insert(1)).unwrap_err(), AssembleError::UnknownRelation { oid: 7 });
    assembler.push(describe()).unwrap();
    assert_eq!(assembler.push(insert(1)).unwrap_err(), AssembleError::OutOfOrder);
    assembler.push(begin(1)).unwrap();
    assert_eq!(assembler.push(begin(2)).unwrap_err(), AssembleError::OutOfOrder);
}

//! Whatever happens to the log, a reader tells each change once or says that it missed some.

use proptest::prelude::*;

use super::*;
use crate::cluster::log::About;

fn head(history: &str, top: EntryId, follows: Option<(&str, EntryId)>) -> Head {
    Head {
        history: history.to_owned(),
        top,
        about: About { source: (1, 1), generation: 1, gap: String::new() },
        follows: follows.map(|(history, entry)| (history.to_owned(), entry)),
    }
}

fn entry(id: EntryId, previous: EntryId) -> Entry {
    Entry { id, previous, payload: Some(bytes::Bytes::new()) }
}

fn batch(commit: u64, first: u32, count: usize) -> Batch {
    let relation = std::sync::Arc::new(crate::replication::relation::Relation::new(
        crate::postgres::pgoutput::Relation {
            oid: 1,
            schema: "s".into(),
            name: "t".into(),
            identity: crate::postgres::pgoutput::Identity::Default,
            columns: Vec::new(),
        },
    ));
    let operation = crate::replication::change::Operation::Truncate;
    let change = crate::replication::change::Change { relation, operation };
    Batch {
        epoch: Epoch { system_id: 1, timeline: 1, generation: 1 },
        commit: Lsn(commit),
        xid: 1,
        committed_at: 0,
        first_ordinal: first,
        is_last: true,
        changes: vec![change; count],
    }
}

#[test]
fn a_reader_begins_at_the_end_and_misses_nothing_after_it() {
    let (mut reading, start) = Reading::begin(&head("a", EntryId(5, 1), None), false);
    assert_eq!((start.gap, reading.seen()), (None, EntryId(5, 1)));
    assert_eq!(reading.step(&entry(EntryId(6, 1), EntryId(5, 1))), None);
    assert_eq!(reading.follow(&head("a", EntryId(9, 9), None)), None);
    let gap = reading.step(&entry(EntryId(9, 1), EntryId(8, 1))).unwrap();
    assert_eq!(gap.gap, Some(Gap::LogLost));
    assert_eq!(reading.step(&entry(EntryId(10, 1), EntryId(9, 1))), None);
    let (reading, _) = Reading::begin(&head("a", EntryId(5, 1), None), true);
    assert_eq!(reading.seen(), EntryId(0, 0), "there before the history");
}

#[test]
fn another_history_is_a_gap_unless_it_follows_where_the_reader_is() {
    let at = EntryId(5, 1);
    let (reading, _) = Reading::begin(&head("a", at, None), false);
    let gap = |next: Head| reading.clone().follow(&next).unwrap().gap;
    assert_eq!(gap(head("b", EntryId(9, 1), Some(("a", at)))), None);
    assert_eq!(gap(head("b", EntryId(9, 1), Some(("a", EntryId(6, 1))))), Some(Gap::LogLost));
    assert_eq!(gap(head("b", EntryId(9, 1), Some(("z", at)))), Some(Gap::LogLost));
    assert_eq!(gap(head("b", EntryId(9, 1), None)), Some(Gap::LogLost));
    let mut told = head("b", EntryId(9, 1), None);
    for known in [Gap::NewSlot, Gap::NewHistory, Gap::SlotAhead] {
        told.about.gap = gap_name(Some(known)).to_owned();
        assert_eq!(gap(told.clone()), Some(known));
    }
}

#[test]
fn what_is_told_is_not_told_again() {
    let (mut reading, _) = Reading::begin(&head("a", EntryId(5, 2), None), false);
    assert!(reading.news(batch(5, 0, 2)).is_none());
    let rest = reading.news(batch(5, 1, 3)).unwrap();
    assert_eq!((rest.first_ordinal, rest.changes.len()), (2, 2));
    assert!(reading.news(batch(4, 0, 9)).is_none());
    assert_eq!(reading.news(batch(6, 0, 1)).unwrap().changes.len(), 1);
    // Nor what is appended again after some of it was lost.
    reading.follow(&head("b", EntryId::default(), Some(("a", EntryId(9, 1))))).unwrap();
    assert!(reading.news(batch(6, 0, 1)).is_none());
    // Positions of another database begin anew.
    let mut other = head("c", EntryId::default(), None);
    other.about.source = (2, 1);
    reading.follow(&other).unwrap();
    assert_eq!(reading.news(batch(1, 0, 1)).unwrap().changes.len(), 1);
}

proptest! {
    /// Owners come and go, entries are lost and appended again: a reader tells
    /// the changes in order, each once, and where one is missing it said so.
    #[test]
    fn nothing_is_missed_in_silence(steps in prop::collection::vec((0u8..5, 1u32..4), 1..60)) {
        let mut log: Vec<(EntryId, EntryId)> = Vec::new();
        let (mut top, mut history, mut follows) = (EntryId::default(), 0, None);
        let (mut reading, _) = Reading::begin(&head("0", top, None), false);
        let (mut told, mut missing, mut commit) = (Vec::new(), false, 0u64);
        let mut expected = Vec::new();
        for (step, count) in steps {
            match step {
                // A transaction in one entry.
                0 | 1 => {
                    commit += 1;
                    let id = EntryId(commit, u64::from(count));
                    log.push((id, top));
                    top = id;
                    expected.extend((0..count).map(|ordinal| (commit, ordinal)));
                }
                // The oldest entries are dropped.
                2 => drop(log.drain(..log.len().min(count as usize))),
                // All is lost, and whoever appended begins another history.
                3 => {
                    follows = Some((history.to_string(), top));
                    history += 1;
                    log.clear();
                    top = EntryId::default();
                }
                // The reader reads.
                _ => {
                    let name = follows.as_ref().map(|(name, at)| (name.as_str(), *at));
                    let now = head(&history.to_string(), top, name);
                    missing |= reading.follow(&now).is_some_and(|start| start.gap.is_some());
                    let seen = reading.seen();
                    for &(id, previous) in log.iter().filter(|(id, _)| *id > seen) {
                        missing |= reading.step(&entry(id, previous)).is_some();
                        let count = usize::try_from(id.1).unwrap();
                        if let Some(batch) = reading.news(batch(id.0, 0, count)) {
                            let first = batch.first_ordinal;
                            let ordinals = first..first + u32::try_from(batch.changes.len()).unwrap();
                            told.extend(ordinals.map(|ordinal| (batch.commit.0, ordinal)));
                        }
                    }
                }
            }
            prop_assert!(told.is_sorted());
            let reached = told.last().copied();
            let so_far = expected.iter().copied().filter(|at| Some(*at) <= reached);
            prop_assert!(missing || so_far.eq(told.iter().copied()));
        }
    }
}

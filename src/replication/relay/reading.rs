//! Where a reader of the log stands, and whether it has missed anything.
//!
//! Pure. A reader goes on after the last entry that it has seen. It has missed
//! something if an entry stands behind one that it has not seen, or if another
//! history does not follow where it stands. Changes that it has are not told
//! again, whatever is appended twice.

use crate::cluster::log::{Entry, EntryId, Head};

use super::super::{
    change::Batch,
    position::{Epoch, Lsn},
    sink::{Gap, Start},
};

/// A reader's place, once it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    history: String,
    seen: EntryId,
    /// The last change that was told, within `source`.
    told: EntryId,
    source: (u64, u32),
    epoch: Epoch,
}

impl Reading {
    /// Begins where the log ends: what is appended from now on will come. Or
    /// with the history, for a reader that was there before it.
    pub(super) fn begin(head: &Head, was_there: bool) -> (Self, Start) {
        let epoch = epoch(head);
        let at = if was_there { EntryId::default() } else { head.top };
        let reading = Self {
            history: head.history.clone(),
            seen: at,
            told: at,
            source: head.about.source,
            epoch,
        };
        let start = reading.start(None);
        (reading, start)
    }

    /// What is read.
    pub(super) fn history(&self) -> &str {
        &self.history
    }

    /// After which entry.
    pub(super) fn seen(&self) -> EntryId {
        self.seen
    }

    /// The history that the rest belongs to.
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Goes on in the current history, if that is another one.
    pub(super) fn follow(&mut self, head: &Head) -> Option<Start> {
        if head.history == self.history {
            return None;
        }
        let followed = head.follows.as_ref().filter(|(history, _)| *history == self.history);
        let missed = followed.is_none_or(|(_, entry)| *entry != self.seen);
        // Positions go on, also over what was missed. After others nobody knows.
        if followed.is_none() || self.source != head.about.source {
            self.told = EntryId::default();
        }
        self.history.clone_from(&head.history);
        self.seen = EntryId::default();
        self.epoch = epoch(head);
        self.source = head.about.source;
        Some(self.start(missed.then(|| gap(&head.about.gap))))
    }

    /// Steps over an entry. Set if something before it was missed.
    pub(super) fn step(&mut self, entry: &Entry) -> Option<Start> {
        let missed = entry.previous > self.seen;
        self.seen = entry.id;
        if !missed {
            return None;
        }
        self.epoch.generation = self.epoch.generation.wrapping_add(1);
        Some(self.start(Some(Gap::LogLost)))
    }

    /// Leaves only what was not told before; none if that is nothing.
    pub(super) fn news(&mut self, mut batch: Batch) -> Option<Batch> {
        let first = EntryId(batch.commit.0, u64::from(batch.first_ordinal));
        let count = u64::try_from(batch.changes.len()).unwrap_or(u64::MAX);
        let end = EntryId(first.0, first.1.saturating_add(count));
        if end <= self.told {
            return None;
        }
        if first < self.told {
            let known = self.told.1 - first.1;
            batch.changes.drain(..usize::try_from(known).unwrap_or(usize::MAX));
            batch.first_ordinal = u32::try_from(self.told.1).unwrap_or(u32::MAX);
        }
        self.told = end;
        batch.epoch = self.epoch;
        Some(batch)
    }

    fn start(&self, gap: Option<Gap>) -> Start {
        Start { epoch: self.epoch, from: Lsn(self.seen.0), gap }
    }
}

fn epoch(head: &Head) -> Epoch {
    let (system_id, timeline) = head.about.source;
    Epoch { system_id, timeline, generation: head.about.generation }
}

/// The name of a gap in the log.
pub(super) fn gap_name(gap: Option<Gap>) -> &'static str {
    match gap {
        None => "",
        Some(Gap::NewSlot) => "new-slot",
        Some(Gap::NewHistory) => "new-history",
        Some(Gap::SlotAhead) => "slot-ahead",
        Some(Gap::LogLost) => "log-lost",
    }
}

/// What a name means to a reader that has missed something.
fn gap(name: &str) -> Gap {
    [Gap::NewSlot, Gap::NewHistory, Gap::SlotAhead]
        .into_iter()
        .find(|gap| gap_name(Some(*gap)) == name)
        .unwrap_or(Gap::LogLost)
}

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;

//! What was judged so far of a stretch of rows.

use std::collections::HashMap;

use super::Slot;

/// By claimant, then by slot. What is not here has not been judged.
#[derive(Debug, Default)]
pub(in super::super) struct Verdicts {
    by_claimant: HashMap<u64, Vec<Mark>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Mark {
    #[default]
    Unknown,
    Hidden,
    Seen,
}

impl Verdicts {
    /// Whether a claimant may see an image; none if nobody has asked.
    pub(in super::super) fn of(&self, claimant: u64, slot: Slot) -> Option<bool> {
        match self.by_claimant.get(&claimant)?.get(slot.index())? {
            Mark::Unknown => None,
            Mark::Hidden => Some(false),
            Mark::Seen => Some(true),
        }
    }

    pub(in super::super) fn set(&mut self, claimant: u64, slot: Slot, seen: bool) {
        let marks = self.by_claimant.entry(claimant).or_default();
        let at = slot.index();
        if marks.len() <= at {
            marks.resize(at + 1, Mark::Unknown);
        }
        if let Some(mark) = marks.get_mut(at) {
            *mark = if seen { Mark::Seen } else { Mark::Hidden };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Side, *};

    #[test]
    fn what_nobody_judged_is_not_known() {
        let mut verdicts = Verdicts::default();
        let slot = |at, side| Slot::new(at, side);
        verdicts.set(1, slot(3, Side::Current), true);
        verdicts.set(1, slot(1, Side::Old), false);
        assert_eq!(verdicts.of(1, slot(3, Side::Current)), Some(true));
        assert_eq!(verdicts.of(1, slot(1, Side::Old)), Some(false));
        assert_eq!(verdicts.of(1, slot(3, Side::Old)), None);
        assert_eq!(verdicts.of(1, slot(0, Side::Current)), None);
        assert_eq!(verdicts.of(2, slot(3, Side::Current)), None);
    }
}

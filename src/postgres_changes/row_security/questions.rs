//! Which images are to be judged for whom, gathered before anybody is asked.

use std::{collections::HashMap, sync::Arc};

use smallvec::SmallVec;

use super::Claimant;
use crate::{
    postgres::value::{TypeShape, write_string},
    postgres_changes::{catalog::Table, image::Image},
    replication::change::Value,
};

/// One image of one change, by the change's place in the stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in super::super) struct Slot(u32);

/// Which image of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Side {
    /// The row that filters judge and `record` shows.
    Current,
    /// The row before an update.
    Old,
}

impl Slot {
    pub(in super::super) fn new(change: usize, side: Side) -> Self {
        let side = u32::from(side == Side::Old);
        Self(u32::try_from(change).unwrap_or(u32::MAX / 2).saturating_mul(2) | side)
    }

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }

    pub(in super::super) fn change(self) -> usize {
        self.index() / 2
    }

    fn side(self) -> Side {
        if self.0 & 1 == 1 { Side::Old } else { Side::Current }
    }
}

/// Images of one table that one role's claimants ask about.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) table: Arc<Table>,
    pub(super) role: Arc<str>,
    /// Columns that the log has of these rows: place in the stream, name, json or not.
    pub(super) held: Vec<(usize, Arc<str>, bool)>,
    pub(super) rows: Vec<Slot>,
    pub(super) askers: Vec<Asker>,
    by_claimant: HashMap<u64, usize>,
}

/// A claimant and the rows that its filters let through.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    pub(super) claimant: Arc<Claimant>,
    /// Places in the unit's rows, in order.
    pub(super) places: Vec<u32>,
}

/// Rows go together that have the same table, role and columns.
type Key = (u64, Arc<str>, SmallVec<[u64; 2]>);

/// Everything to be judged of a stretch of rows.
#[derive(Debug, Default)]
pub(in super::super) struct Questions {
    pub(super) units: Vec<Unit>,
    by_key: HashMap<Key, usize>,
    pairs: usize,
}

impl Questions {
    /// Images times claimants.
    pub(in super::super) fn len(&self) -> usize {
        self.pairs
    }

    /// Roles with claims that are asked about.
    pub(in super::super) fn groups(&self) -> usize {
        self.units.iter().map(|unit| unit.askers.len()).sum()
    }

    pub(in super::super) fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// An image to ask about. Images come in order of their slots.
    pub(in super::super) fn image<'a>(
        &'a mut self,
        table: &'a Arc<Table>,
        image: Image<'a>,
        slot: Slot,
    ) -> Asking<'a> {
        let mut held: SmallVec<[u64; 2]> = SmallVec::new();
        held.resize(image.relation.columns.len().div_ceil(64), 0);
        for at in 0..image.relation.columns.len() {
            if let Some(word) = held.get_mut(at / 64)
                && value(&image, slot.side(), at) != Value::Unchanged
            {
                *word |= 1 << (at % 64);
            }
        }
        Asking { questions: self, table, image, slot, held, last: None }
    }
}

/// An image, and who asks about it.
pub(in super::super) struct Asking<'a> {
    questions: &'a mut Questions,
    table: &'a Arc<Table>,
    image: Image<'a>,
    slot: Slot,
    /// A bit for each column of the stream that the log has.
    held: SmallVec<[u64; 2]>,
    /// The unit of the last one who asked, which is often the next one's.
    last: Option<(Arc<str>, usize)>,
}

impl Asking<'_> {
    /// Asks whether a claimant may see the image.
    pub(in super::super) fn ask(&mut self, claimant: &Arc<Claimant>) {
        let at = match &self.last {
            Some((role, at)) if *role == claimant.role => *at,
            _ => self.unit(&claimant.role),
        };
        if let Some(unit) = self.questions.units.get_mut(at) {
            self.questions.pairs += usize::from(unit.add(self.slot, claimant));
        }
    }

    fn unit(&mut self, role: &Arc<str>) -> usize {
        let key = (self.image.relation.version, Arc::clone(role), self.held.clone());
        let units = &mut self.questions.units;
        let at = *self.questions.by_key.entry(key).or_insert_with(|| {
            units.push(Unit::new(self.table, &self.image, role, &self.held));
            units.len() - 1
        });
        self.last = Some((Arc::clone(role), at));
        at
    }
}

impl Unit {
    fn new(table: &Arc<Table>, image: &Image<'_>, role: &Arc<str>, held: &[u64]) -> Self {
        let is_json = |name: &str| {
            table.column(name).is_some_and(|(_, column)| column.shape == TypeShape::Json)
        };
        let columns = image.relation.columns.iter().enumerate();
        let held = columns
            .filter(|(at, _)| held.get(at / 64).is_some_and(|word| word & (1 << (at % 64)) != 0))
            .map(|(at, column)| (at, Arc::clone(&column.name), is_json(&column.name)))
            .collect();
        let (table, role) = (Arc::clone(table), Arc::clone(role));
        let (rows, askers) = (Vec::new(), Vec::new());
        Self { table, role, held, rows, askers, by_claimant: HashMap::new() }
    }

    fn add(&mut self, slot: Slot, claimant: &Arc<Claimant>) -> bool {
        if self.rows.last() != Some(&slot) {
            self.rows.push(slot);
        }
        let place = u32::try_from(self.rows.len() - 1).unwrap_or(u32::MAX);
        let at = *self.by_claimant.entry(claimant.id).or_insert_with(|| {
            self.askers.push(Asker { claimant: Arc::clone(claimant), places: Vec::new() });
            self.askers.len() - 1
        });
        let Some(asker) = self.askers.get_mut(at) else { return false };
        let is_new = asker.places.last() != Some(&place);
        if is_new {
            asker.places.push(place);
        }
        is_new
    }

    /// The rows at these places as a JSON array of objects with these columns.
    pub(super) fn write_rows<'a>(
        &self,
        places: impl Iterator<Item = u32>,
        columns: &[usize],
        image: impl Fn(Slot) -> Option<Image<'a>>,
        out: &mut Vec<u8>,
    ) {
        out.push(b'[');
        for (number, place) in places.enumerate() {
            if number > 0 {
                out.push(b',');
            }
            out.push(b'{');
            let slot = self.rows.get(place as usize);
            if let Some((slot, image)) = slot.and_then(|slot| Some((*slot, image(*slot)?))) {
                let held = columns.iter().filter_map(|at| self.held.get(*at));
                for (number, (at, name, is_json)) in held.enumerate() {
                    if number > 0 {
                        out.push(b',');
                    }
                    write_string(name.as_bytes(), out);
                    out.push(b':');
                    match value(&image, slot.side(), *at) {
                        Value::Text(text) if *is_json => out.extend_from_slice(text),
                        Value::Text(text) => write_string(text, out),
                        Value::Null | Value::Unchanged => out.extend_from_slice(b"null"),
                    }
                }
            }
            out.push(b'}');
        }
        out.push(b']');
    }
}

/// Values that are no text in PostgreSQL's encoding cannot be sent back to it.
fn value<'a>(image: &Image<'a>, side: Side, at: usize) -> Value<'a> {
    let value = match side {
        Side::Current => image.current(at),
        Side::Old => image.previous(at),
    };
    match value {
        Value::Text(text) if std::str::from_utf8(text).is_err() => Value::Unchanged,
        value => value,
    }
}

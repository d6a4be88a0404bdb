//! A row to its readers, once row security has spoken where it has a say.

use bytes::Bytes;

use super::{
    filter::ask::Answers,
    image::Image,
    members::{Member, Use},
    payload,
    row_security::{DeleteVisibility, Questions, Side, Slot, Verdicts},
    shape::Shape,
    state::State,
    subscription::EventFilter,
    table::TableState,
};
use crate::{
    protocol::prepared::Frame,
    replication::{change::Change, position::Lsn},
};

/// A row and the transaction it came in.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) change: Change,
    pub(super) commit: Lsn,
    pub(super) xid: u32,
    pub(super) committed_at: i64,
}

/// How rows are shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) max_record_bytes: usize,
    pub(super) deletes: DeleteVisibility,
}

/// What row security is asked about one row.
#[derive(Debug, Clone, Copy)]
struct Sides {
    /// Whether it may be seen at all.
    current: bool,
    /// Whether the values before an update may be.
    old: bool,
}

impl State {
    /// Asks what must be judged before the row can be delivered, beyond the
    /// verdicts there are. `at` is its place in the stretch they belong to.
    pub(super) fn ask(
        &mut self,
        row: &Row,
        at: usize,
        rules: &Rules,
        verdicts: &Verdicts,
        answers: &mut Answers,
        questions: &mut Questions,
    ) {
        let Some(image) = Image::of(&row.change) else { return };
        let Some(table) = self.tables.get(&row.change.relation.oid) else { return };
        if !table.has_judged() {
            return;
        }
        let mut readers = std::mem::take(&mut self.readers);
        table.readers(&image, answers, &mut readers);
        let sides = Sides::of(&image, rules.deletes);
        for (side, wanted) in [(Side::Current, sides.current), (Side::Old, sides.old)] {
            if !wanted || readers.is_empty() {
                continue;
            }
            let slot = Slot::new(at, side);
            let mut asking = questions.image(&table.table, image, slot);
            for run in readers.chunk_by(same_frame) {
                let Some((Use { group, .. }, shape)) = run.first() else { continue };
                let is_judged =
                    table.shape(*shape).is_some_and(|shape| is_judged(shape, image.event));
                let Some(group) = self.groups.group(*group).filter(|_| is_judged) else { continue };
                for member in group.covering(row.commit) {
                    if verdicts.of(member.claimant.id, slot).is_none() {
                        asking.ask(&member.claimant);
                    }
                }
            }
        }
        self.readers = readers;
    }

    /// Sends a row to its readers and answers how many ids it went to, or to
    /// none if `answers` are open or something is `missing` that must be
    /// judged first. The table must be ready.
    pub(super) fn deliver(
        &mut self,
        row: &Row,
        at: usize,
        rules: &Rules,
        verdicts: &Verdicts,
        answers: &mut Answers,
        missing: &mut Questions,
    ) -> Option<usize> {
        self.question(&row.change, answers);
        if !answers.is_settled() {
            return None;
        }
        self.ask(row, at, rules, verdicts, answers, missing);
        if !missing.is_empty() {
            return None;
        }
        let Some(image) = Image::of(&row.change) else { return Some(0) };
        let Some(table) = self.tables.get(&row.change.relation.oid) else { return Some(0) };
        let mut readers = std::mem::take(&mut self.readers);
        table.readers(&image, answers, &mut readers);
        let mut delivered = 0;
        let sight = Sight { table, image, at, rules, verdicts };
        // Rendered when first needed: the shape and whether of the old row only
        // the key shows, then the change object.
        let mut rendered: Vec<((usize, bool), Bytes)> = Vec::new();
        for run in readers.chunk_by(same_frame) {
            let Some((Use { group, .. }, at)) = run.first() else { continue };
            let (Some(group), Some(shape)) = (self.groups.group(*group), table.shape(*at)) else {
                continue;
            };
            let mut frames: [Option<Frame>; 2] = [None, None];
            for member in group.covering(row.commit) {
                let Some(keys_only) = sight.of(member, shape) else { continue };
                let Some(frame) = frames.get_mut(usize::from(keys_only)) else { continue };
                let frame = frame.get_or_insert_with(|| {
                    let key = (*at, keys_only);
                    let known = rendered.iter().find(|(known, _)| *known == key);
                    let data = if let Some((_, data)) = known {
                        Bytes::clone(data)
                    } else {
                        let (at, max) = (row.committed_at, rules.max_record_bytes);
                        let data = table.render(&image, shape, at, max, keys_only);
                        if let Some(sizes) = &self.sizes {
                            sizes.observe(data.len());
                        }
                        rendered.push((key, data.clone()));
                        data
                    };
                    let bindings = &group.key.bindings;
                    let ids =
                        run.iter().filter_map(|(used, _)| bindings.get(used.binding as usize));
                    payload::frame(&group.key, image.event, ids.map(|item| item.id), &data)
                });
                member.push(frame);
                delivered += run.len();
            }
        }
        self.readers = readers;
        Some(delivered)
    }
}

/// What the members of a group see of one row.
struct Sight<'a> {
    table: &'a TableState,
    image: Image<'a>,
    at: usize,
    rules: &'a Rules,
    verdicts: &'a Verdicts,
}

impl Sight<'_> {
    /// None if a member sees nothing; else whether only the key of the old row.
    fn of(&self, member: &Member, shape: &Shape) -> Option<bool> {
        let event = self.image.event;
        let sees =
            |side| self.verdicts.of(member.claimant.id, Slot::new(self.at, side)) == Some(true);
        let is_delete = self.table.table.row_security && event == EventFilter::Delete;
        if !is_judged(shape, event) {
            return Some(is_delete);
        }
        let sides = Sides::of(&self.image, self.rules.deletes);
        if sides.current && !sees(Side::Current) {
            return None;
        }
        Some(is_delete || sides.old && !sees(Side::Old))
    }
}

impl Sides {
    fn of(image: &Image<'_>, deletes: DeleteVisibility) -> Self {
        let old = deletes == DeleteVisibility::Strict && image.has_whole_old();
        match image.event {
            EventFilter::Delete => Self { current: old, old: false },
            EventFilter::Update => Self { current: true, old },
            EventFilter::Insert | EventFilter::All => Self { current: true, old: false },
        }
    }
}

/// An error goes to all readers of a role, whatever they may see.
fn is_judged(shape: &Shape, event: EventFilter) -> bool {
    shape.is_judged && shape.error(event).is_none()
}

fn same_frame(one: &(Use, usize), other: &(Use, usize)) -> bool {
    (one.0.group, one.1) == (other.0.group, other.1)
}

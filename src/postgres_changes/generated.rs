//! Rows completed with their generated columns.
//!
//! The stream leaves these out (all of them before PostgreSQL 18). A row of a
//! subscribed table that has some waits for PostgreSQL to compute them: one
//! more query for each batch of rows. What cannot be computed, because the
//! log lacks a value or PostgreSQL refuses, is absent from the record.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use bytes::Bytes;

use crate::error_code::ErrorCode;

use super::{
    catalog::{Catalog, CatalogError, Generated, Generation, Source, Table},
    deliver::Row,
};
use crate::replication::{
    change::{Cell, Change, Old, Operation, Tuple, Value},
    relation::{Column, Relation},
};

/// What completes a row.
#[derive(Debug, Clone)]
pub(super) struct Filling {
    pub(super) table: Arc<Table>,
    /// With the generated columns behind those of the stream.
    pub(super) relation: Arc<Relation>,
}

/// A relation with the generated columns that the stream left out.
pub(super) fn complete(relation: &Arc<Relation>, table: &Table) -> Arc<Relation> {
    let lacks = |column: &&Generated| !relation.columns.iter().any(|c| c.name == column.name);
    let columns = table.generation.iter().flat_map(|generation| &generation.columns);
    let mut missing = columns.filter(lacks).peekable();
    if missing.peek().is_none() {
        return Arc::clone(relation);
    }
    let missing = missing.map(|column| Column {
        name: Arc::clone(&column.name),
        type_oid: column.type_oid,
        type_modifier: -1,
        is_identity: false,
    });
    let columns = relation.columns.iter().cloned().chain(missing).collect();
    Arc::new(Relation { columns, ..Relation::clone(relation) })
}

/// Completes the rows at these places.
///
/// # Errors
///
/// Only [`CatalogError::Unavailable`]; then nothing has changed.
pub(super) async fn fill(
    catalog: &Catalog,
    rows: &mut [Row],
    wanted: &[(usize, Filling)],
) -> Result<(), CatalogError> {
    for run in wanted.chunk_by(|(_, one), (_, other)| Arc::ptr_eq(&one.relation, &other.relation)) {
        let Some((_, filling)) = run.first() else { continue };
        let images = run.iter().filter_map(|(at, _)| rows.get(*at));
        let images = images.flat_map(|row| self::images(&row.change)).collect();
        let mut values = compute(catalog, filling, images).await?;
        for (at, _) in run {
            if let Some(Row { change, .. }) = rows.get_mut(*at) {
                // In the order in which `images` gave them.
                change.operation = with(&change.operation, &filling.relation, &mut values);
                change.relation = Arc::clone(&filling.relation);
            }
        }
    }
    Ok(())
}

/// A whole row, with the one before for values that an update did not touch.
#[derive(Clone, Copy)]
struct Whole<'a> {
    row: &'a Tuple,
    before: Option<&'a Tuple>,
}

impl<'a> Whole<'a> {
    fn value(&self, at: usize) -> Value<'a> {
        match (self.row.value(at), self.before) {
            (Value::Unchanged, Some(before)) => before.value(at),
            (value, _) => value,
        }
    }
}

fn images(change: &Change) -> Vec<Whole<'_>> {
    let whole = |row| Whole { row, before: None };
    match &change.operation {
        Operation::Insert { new } | Operation::Update { new, old: None | Some(Old::Key(_)) } => {
            vec![whole(new)]
        }
        Operation::Update { new, old: Some(Old::Full(old)) } => {
            vec![Whole { row: new, before: Some(old) }, whole(old)]
        }
        Operation::Delete { old: Old::Full(old) } => vec![whole(old)],
        Operation::Delete { old: Old::Key(_) } | Operation::Truncate => Vec::new(),
    }
}

type Values = std::vec::IntoIter<Vec<Made>>;

type Span = std::ops::Range<usize>;

/// What refusals of one batch may cost; after that what is refused is not taken apart.
const MAX_COST: u32 = 64;

/// What one that came of the time limit costs.
const SLOW: u32 = 16;

/// SQLSTATE of a statement that ran into the limit.
const TOO_SLOW: &str = "57014";

/// A computed value.
enum Made {
    Null,
    Text(String),
    Unknown,
}

async fn compute(
    catalog: &Catalog,
    filling: &Filling,
    images: Vec<Whole<'_>>,
) -> Result<Values, CatalogError> {
    let Filling { table, relation } = filling;
    let Some(generation) = &table.generation else { return Ok(Vec::new().into_iter()) };
    let mut sources: HashMap<&Arc<str>, (usize, Source)> = HashMap::new();
    for name in generation.columns.iter().flat_map(|column| &column.sources) {
        let at = relation.columns.iter().position(|column| column.name == *name);
        let (Some(at), Some((_, column))) = (at, table.column(name)) else { continue };
        let text = |image: &Whole<'_>| match image.value(at) {
            Value::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            Value::Null | Value::Unchanged => None,
        };
        let source = || Source {
            name: format!("\"{}\"", name.replace('"', "\"\"")),
            cast: Arc::clone(&column.filter.cast),
            values: images.iter().map(text).collect(),
        };
        sources.entry(name).or_insert_with(|| (at, source()));
    }
    let places: HashMap<&Arc<str>, usize> =
        sources.iter().map(|(name, (at, _))| (*name, *at)).collect();
    let sources: Vec<Source> = sources.into_values().map(|(_, source)| source).collect();
    let computed = cells(catalog, table, generation, &sources, images.len()).await?;
    let mut computed = computed.into_iter();
    let known = |column: &Generated, image: &Whole<'_>| {
        let place = |name| places.get(name).map(|at| image.value(*at));
        column.sources.iter().all(|name| place(name).is_some_and(|value| value != Value::Unchanged))
    };
    let row = |image: &Whole<'_>| {
        let mut values = computed.next().unwrap_or_default();
        // The columns that this row lacks; more may have been made than that.
        let lacking = relation.columns.iter().skip(image.row.len());
        let made = |column: &Column| {
            let mut generated = generation.columns.iter().enumerate();
            let found = generated.find(|(_, generated)| generated.name == column.name);
            match found.map(|(at, generated)| (generated, values.get_mut(at))) {
                Some((generated, Some(value))) if known(generated, image) => {
                    std::mem::replace(value, Made::Unknown)
                }
                _ => Made::Unknown,
            }
        };
        lacking.map(made).collect()
    };
    Ok(images.iter().map(row).collect::<Vec<_>>().into_iter())
}

/// The values of each row's generated columns. A column or a row that
/// PostgreSQL cannot compute is found by halves and costs the others nothing.
async fn cells(
    catalog: &Catalog,
    table: &Table,
    generation: &Generation,
    sources: &[Source],
    count: usize,
) -> Result<Vec<Vec<Made>>, CatalogError> {
    let width = generation.columns.len();
    let unknown = || (0..width).map(|_| Made::Unknown).collect();
    let mut cells: Vec<Vec<Made>> = (0..count).map(|_| unknown()).collect();
    let (mut left, mut cost) = (vec![(0..width, 0..count)], 0);
    while let Some((columns, rows)) = left.pop() {
        let (generation, sources) = part(generation, sources, &columns, &rows);
        match catalog.compute(&generation, &sources, rows.len()).await {
            Ok(values) => {
                for (row, values) in cells.iter_mut().skip(rows.start).zip(values) {
                    for (cell, value) in row.iter_mut().skip(columns.start).zip(values) {
                        *cell = value.map_or(Made::Null, Made::Text);
                    }
                }
            }
            Err(CatalogError::Refused { code, .. }) => {
                if cost == 0 {
                    // PostgreSQL's own words may hold values of the rows.
                    tracing::warn!(
                        code = %ErrorCode::ErrorRunningQuery,
                        schema = &*table.schema,
                        table = &*table.name,
                        sqlstate = code,
                        "generated values are left out: they cannot be computed"
                    );
                }
                cost += if code == TOO_SLOW { SLOW } else { 1 };
                if cost < MAX_COST {
                    left.extend(halves(columns, rows).into_iter().flatten());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(cells)
}

/// Two halves of the columns, or of the rows of a single column.
fn halves(columns: Span, rows: Span) -> Option<[(Span, Span); 2]> {
    let cut = |span: &Span| span.start + span.len() / 2;
    if columns.len() > 1 {
        let at = cut(&columns);
        return Some([(columns.start..at, rows.clone()), (at..columns.end, rows)]);
    }
    let at = cut(&rows);
    (rows.len() > 1).then(|| [(columns.clone(), rows.start..at), (columns, at..rows.end)])
}

/// Some columns of some rows.
fn part<'a>(
    generation: &'a Generation,
    sources: &'a [Source],
    columns: &Span,
    rows: &Span,
) -> (Cow<'a, Generation>, Cow<'a, [Source]>) {
    let is_whole = |source: &Source| source.values.len() == rows.len();
    if columns.len() == generation.columns.len() && sources.iter().all(is_whole) {
        return (Cow::Borrowed(generation), Cow::Borrowed(sources));
    }
    let picked = generation.columns.get(columns.clone()).unwrap_or_default().to_vec();
    let generation = Generation { owner: Arc::clone(&generation.owner), columns: picked };
    let some = |source: &Source| Source {
        name: source.name.clone(),
        cast: Arc::clone(&source.cast),
        values: source.values.get(rows.clone()).unwrap_or_default().to_vec(),
    };
    (Cow::Owned(generation), Cow::Owned(sources.iter().map(some).collect()))
}

fn with(operation: &Operation, relation: &Relation, values: &mut Values) -> Operation {
    let mut longer = |tuple: &Tuple| extend(tuple, relation, values.next().unwrap_or_default());
    match operation {
        Operation::Insert { new } => Operation::Insert { new: longer(new) },
        Operation::Update { new, old: Some(Old::Full(old)) } => {
            let new = longer(new);
            Operation::Update { new, old: Some(Old::Full(longer(old))) }
        }
        Operation::Update { new, old } => Operation::Update { new: longer(new), old: old.clone() },
        Operation::Delete { old: Old::Full(old) } => {
            Operation::Delete { old: Old::Full(longer(old)) }
        }
        other => other.clone(),
    }
}

/// A tuple with the generated values behind its own.
fn extend(tuple: &Tuple, relation: &Relation, made: Vec<Made>) -> Tuple {
    let (mut bytes, mut cells) = (Vec::with_capacity(tuple.size() + 64), Vec::new());
    let mut text = |text: &[u8], cells: &mut Vec<Cell>| {
        let start = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(text);
        cells.push(Cell::Text(start..u32::try_from(bytes.len()).unwrap_or(u32::MAX)));
    };
    for at in 0..tuple.len() {
        match tuple.value(at) {
            Value::Null => cells.push(Cell::Null),
            Value::Unchanged => cells.push(Cell::Unchanged),
            Value::Text(value) => text(value, &mut cells),
        }
    }
    for value in made {
        match value {
            Made::Null => cells.push(Cell::Null),
            Made::Unknown => cells.push(Cell::Unchanged),
            Made::Text(value) => text(value.as_bytes(), &mut cells),
        }
    }
    cells.resize(relation.columns.len(), Cell::Unchanged);
    Tuple::new(Bytes::from(bytes), cells.into())
}

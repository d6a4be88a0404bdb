//! The script that asks PostgreSQL, and how its answers read. Pure.

use std::time::Duration;

use postgres_protocol::escape::escape_literal;
use serde::Deserialize;

use super::{
    questions::{Slot, Unit},
    tasks::{Task, Turn},
};
use crate::{postgres::value::write_string, postgres_changes::image::Image};

const JUDGE: &str = include_str!("judge.sql");
const POLICIES: &str = include_str!("policies.sql");
const UNIT: &str = include_str!("unit.sql");

/// No new work begins in a script after this; so answers keep coming.
const SLICE: Duration = Duration::from_millis(100);

/// What the script says of a task.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Answer {
    /// SQLSTATE: nothing could be judged.
    pub(super) error: Option<String>,
    /// Columns to send, then ask again.
    pub(super) needs: Option<Vec<String>>,
    /// A policy reads what the log does not have: it was taken to refuse.
    pub(super) blind: bool,
    /// Columns that the policies read.
    pub(super) reads: Option<Vec<String>>,
    /// The verdicts of the turns that were begun, where no policy had to be asked.
    pub(super) seen: Option<Vec<Option<String>>>,
    /// The same, where one had.
    pub(super) judged: Option<Judged>,
}

/// Verdicts of policies.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Judged {
    /// For each turn that was begun `t`, `f` or `!` for its places, from the first.
    pub(super) seen: Vec<Option<String>>,
    /// SQLSTATEs behind each `!`.
    pub(super) states: Vec<String>,
    /// Set if time ran out over the rows after the end of `seen`: how many they were.
    pub(super) cut: Option<u32>,
}

/// A task with its unit and the columns to send, as indexes of those it holds.
pub(super) struct Asked<'a> {
    pub(super) task: &'a Task,
    pub(super) unit: &'a Unit,
    pub(super) columns: Vec<usize>,
}

/// One script that asks everything and keeps nothing. Its last row is the answers.
pub(super) fn script<'a>(
    asked: &[Asked<'_>],
    timeout: Duration,
    image: impl Fn(Slot) -> Option<Image<'a>>,
) -> String {
    let mut json = vec![b'['];
    for (number, asked) in asked.iter().enumerate() {
        if number > 0 {
            json.push(b',');
        }
        write_unit(asked, &image, &mut json);
    }
    json.push(b']');
    // Texts that are not UTF-8 are not sent.
    let questions = escape_literal(&String::from_utf8_lossy(&json));
    let judge = bare(JUDGE);
    let (policies, body) = (escape_literal(&bare(POLICIES)), escape_literal(&bare(UNIT)));
    let slice = SLICE.as_millis();
    let limit = (timeout + SLICE).as_millis();
    format!(
        "begin isolation level read committed; \
         set local standard_conforming_strings = on; set local row_security = on; \
         set local client_min_messages = error; set local jit = off; \
         set local max_parallel_workers_per_gather = 0; \
         set local plan_cache_mode = force_generic_plan; \
         set local statement_timeout = {limit}; \
         select pg_catalog.set_config('rowcast.path', pg_catalog.current_setting('search_path'), true), \
         pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true); \
         select set_config('rowcast.questions', {questions}, true), \
         set_config('rowcast.policies', {policies}, true), set_config('rowcast.body', {body}, true), set_config('rowcast.slice', '{slice}', true); \
         {judge} \
         select current_setting('rowcast.answers'); rollback"
    )
}

/// A script without its comments, which are not worth sending.
fn bare(sql: &str) -> String {
    let lines = sql.lines().map(str::trim_start).filter(|line| !line.starts_with("--"));
    lines.collect::<Vec<_>>().join("\n")
}

fn write_unit<'a>(
    asked: &Asked<'_>,
    image: &impl Fn(Slot) -> Option<Image<'a>>,
    out: &mut Vec<u8>,
) {
    let Asked { task, unit, columns } = asked;
    out.extend_from_slice(format!("{{\"table\":{},\"role\":", unit.table.oid).as_bytes());
    write_string(unit.role.as_bytes(), out);
    out.extend_from_slice(b",\"held\":");
    write_names(unit.held.iter().map(|(_, name, _)| &**name), out);
    out.extend_from_slice(b",\"columns\":");
    let names = columns.iter().filter_map(|at| unit.held.get(*at));
    write_names(names.map(|(_, name, _)| &**name), out);
    // Only rows that some turn is about are sent, under new places.
    let mut places: Vec<u32> =
        task.turns.iter().flat_map(|turn| turn.places.iter().copied()).collect();
    places.sort_unstable();
    places.dedup();
    out.extend_from_slice(b",\"rows\":");
    unit.write_rows(places.iter().copied(), columns, image, out);
    let turns = || task.turns.iter();
    out.extend_from_slice(b",\"claims\":");
    write_names(turns().map(|turn| &*turn.claimant.claims), out);
    out.extend_from_slice(b",\"subs\":");
    write_names(turns().map(|turn| &*turn.claimant.subject), out);
    out.extend_from_slice(b",\"places\":[");
    for (number, turn) in turns().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        write_places(turn, &places, out);
    }
    let sizes: Vec<String> = turns().map(|turn| turn.size.to_string()).collect();
    out.extend_from_slice(format!("],\"sizes\":[{}]}}", sizes.join(",")).as_bytes());
}

/// The turn's places among those sent, in PostgreSQL's form of an array.
fn write_places(turn: &Turn, places: &[u32], out: &mut Vec<u8>) {
    if turn.places.len() == places.len() {
        return out.extend_from_slice(b"null");
    }
    let found = turn.places.iter().map(|place| places.binary_search(place).unwrap_or_default());
    let found: Vec<String> = found.map(|at| at.to_string()).collect();
    out.extend_from_slice(format!("\"{{{}}}\"", found.join(",")).as_bytes());
}

fn write_names<'a>(names: impl Iterator<Item = &'a str>, out: &mut Vec<u8>) {
    out.push(b'[');
    for (number, name) in names.enumerate() {
        if number > 0 {
            out.push(b',');
        }
        write_string(name.as_bytes(), out);
    }
    out.push(b']');
}

/// The answers, one for each task that was begun; none if they make no sense.
pub(super) fn answers(json: &str) -> Option<Vec<Answer>> {
    serde_json::from_str(json).ok().filter(|answers: &Vec<Answer>| !answers.is_empty())
}

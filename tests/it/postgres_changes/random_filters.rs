//! Random filters on values of many types: who gets a row is who `select` gives it to.
//!
//! `ROWCAST_FILTER_CASES` makes the run longer, `ROWCAST_FILTER_SEED` repeats one.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasher as _, RandomState},
};

use rowcast::{
    config::env::{Env, Strings as _},
    postgres_changes::Binding,
};
use serde_json::{Value, json};

use super::{Bench, parsed};
use crate::support::{dice::Dice, eventually};

const ROWS: usize = 40;

/// Columns: name, type, type of a filter's value, values.
const COLUMNS: &[(&str, &str, &str, &[&str])] = &[
    ("i", "int", "int", &["0", "1", "-7", "42", "2147483647"]),
    ("b", "bigint", "bigint", &["0", "9223372036854775807", "-1", "42"]),
    (
        "n",
        "numeric",
        "numeric",
        &["0", "-0.00", "1.5", "1.50", "NaN", "Infinity", "1e-9", "99999999999999999999.1"],
    ),
    ("f", "float8", "float8", &["0", "-0", "0.1", "NaN", "-Infinity", "1e300", "5e-324"]),
    ("r", "real", "real", &["0", "0.1", "16777216", "NaN", "-1.5"]),
    (
        "t",
        "text",
        "text",
        &[
            "",
            "a",
            "A",
            "b",
            "ab",
            "aB c",
            "é",
            "É",
            "ß",
            "z%_",
            "10",
            "9",
            "x\ny",
            "back\\slash",
            "I",
            "ı",
        ],
    ),
    ("g", "text collate german", "text", &["a", "A", "ä", "Ä", "b", "Z", "z", "", "co-op", "coop"]),
    ("u", "text collate turkish", "text", &["I", "i", "ı", "İ", "istanbul", "ISTANBUL"]),
    ("y", "text collate numbered", "text", &["item 9", "item 10", "Item 9", "item 09"]),
    ("w", "text collate nocase", "text", &["hello", "HELLO", "Hello", "world", "é", "É"]),
    ("v", "varchar(6) collate german", "varchar", &["a", "Ä", "ab", "b "]),
    ("c", "char(4)", "bpchar", &["a", "ab", "a   ", "abcd"]),
    ("q", "name", "name", &["x", "Y", "x_y"]),
    (
        "k",
        "uuid",
        "uuid",
        &["11111111-1111-4111-8111-111111111111", "A1111111-1111-4111-8111-11111111111B"],
    ),
    ("d", "date", "date", &["2024-02-29", "infinity", "0044-03-15 BC", "1999-12-31"]),
    ("ts", "timestamp", "timestamp", &["2024-05-06 07:08:09.5", "-infinity", "2024-05-06"]),
    (
        "tz",
        "timestamptz",
        "timestamptz",
        &["2024-05-06 07:08:09+02", "2024-05-06 05:08:09Z", "infinity"],
    ),
    ("tm", "time", "time", &["00:00", "24:00", "07:08:09.5"]),
    ("tt", "timetz", "timetz", &["07:08+02", "05:08+00", "07:08-05"]),
    ("iv", "interval", "interval", &["1 day", "24:00:00", "1 mon", "30 days", "-1 hour"]),
    ("bo", "boolean", "boolean", &["t", "f"]),
    ("e", "mood", "mood", &["sad", "ok", "great"]),
    ("ea", "mood[]", "mood[]", &["{ok}", "{sad,ok}", "{}", "{NULL}"]),
    ("by", "bytea", "bytea", &["\\x", "\\x01ff", "\\xff"]),
    ("ip", "inet", "inet", &["10.0.0.1", "10.0.0.1/8", "::1"]),
    ("ci", "cidr", "cidr", &["10.0.0.0/8", "10.1.0.0/16"]),
    ("ma", "macaddr", "macaddr", &["08:00:2b:01:02:03", "ff:00:2b:01:02:03"]),
    ("bi", "bit(3)", "\"bit\"", &["101", "111"]),
    ("vb", "varbit", "varbit", &["1", "10", "101"]),
    ("j", "jsonb", "jsonb", &["{}", "{\"a\": 1}", "{\"a\": 1.0}", "[]", "null", "\"x\""]),
    ("ar", "int[]", "int[]", &["{}", "{1}", "{1,2}", "{NULL}", "[0:1]={1,2}"]),
    ("an", "numeric[]", "numeric[]", &["{1.0}", "{1.00}", "{NaN}"]),
    ("ag", "text[] collate german", "text[]", &["{a}", "{ä}", "{z}"]),
    ("ra", "int4range", "int4range", &["[1,5)", "empty", "[1,4]", "(,3)"]),
    ("mr", "int4multirange", "int4multirange", &["{[1,3)}", "{}", "{[1,2),[5,9)}"]),
    ("rt", "tstzrange", "tstzrange", &["[2024-01-01 00:00Z,)", "empty"]),
    ("bx", "box", "box", &["(1,1),(0,0)", "(2,0.5),(0,0)"]),
    ("mo", "money", "money", &["1.50", "-3"]),
    ("p", "positive", "positive", &["1", "5"]),
    ("sp", "spot", "spot", &["(1,a)", "(1,b)", "(2,)"]),
    ("ls", "pg_lsn", "pg_lsn", &["0/1", "1/0"]),
    ("tv", "tsvector", "tsvector", &["fat:2 cat:1", "fat"]),
    ("ch", "\"char\"", "\"char\"", &["a", "z"]),
    ("td", "tid", "tid", &["(1,2)", "(1,3)"]),
    ("x8", "xid8", "xid8", &["7", "8"]),
    ("o", "oid", "oid", &["1", "4294967295"]),
    ("pt", "point", "point", &["(1,2)"]),
    ("js", "json", "json", &["{}"]),
];

/// These compare with nothing.
const INCOMPARABLE: &[&str] = &["pt", "js"];
const PATTERNS: &[&str] =
    &["a%", "%b%", "_", "", "%", "A%", "É", "é%", "i%", "%I", "z\\%\\_", "%\\\\%", "x_y", "ß"];
const REGEXES: &[&str] = &[
    "^a",
    "b$",
    "^.$",
    "A",
    "[[:alpha:]]",
    "^\\w+$",
    "é|É",
    "(a|b) ?c",
    "^i",
    "x.y",
    "a{2,}",
    "\\d+",
    "^$",
    "(?i)AB",
];

const ORDER: [(&str, &str); 6] =
    [("eq", "="), ("neq", "<>"), ("lt", "<"), ("lte", "<="), ("gt", ">"), ("gte", ">=")];

fn literal(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// One condition: as a filter and as SQL.
fn condition(dice: &mut Dice) -> (String, String) {
    let (name, kind, cast, values) = COLUMNS[dice.roll(COLUMNS.len())];
    let value = values[dice.roll(values.len())];
    let typed = |value: &str| format!("{}::{cast}", literal(value));
    // PostgreSQL has no patterns under a nondeterministic collation.
    let is_text = ["text", "name"].contains(&cast) && name != "w";
    let (filter, sql) = match dice.roll(10) {
        0 => ("is.null".to_owned(), format!("{name} is null")),
        1 if kind == "boolean" => {
            let word = ["true", "false", "unknown"][dice.roll(3)];
            (format!("is.{word}"), format!("{name} is {word}"))
        }
        2 if is_text => {
            let pattern = PATTERNS[dice.roll(PATTERNS.len())];
            let op = ["like", "ilike"][dice.roll(2)];
            (format!("{op}.{}", quoted(pattern)), format!("{name} {op} {}", literal(pattern)))
        }
        3 if is_text => {
            let pattern = REGEXES[dice.roll(REGEXES.len())];
            let (op, operator) = [("match", "~"), ("imatch", "~*")][dice.roll(2)];
            (format!("{op}.{}", quoted(pattern)), format!("{name} {operator} {}", literal(pattern)))
        }
        _ if INCOMPARABLE.contains(&name) => ("is.null".to_owned(), format!("{name} is null")),
        4 => (
            format!("isdistinct.{}", quoted(value)),
            format!("{name} is distinct from {}", typed(value)),
        ),
        5 | 6 if !kind.contains("[]") => {
            let (mut items, mut list) = (Vec::new(), Vec::new());
            for _ in 0..dice.roll(4) {
                let value = values[dice.roll(values.len())];
                items.push(quoted(value));
                list.push(typed(value));
            }
            if dice.roll(4) == 0 {
                items.push("NULL".to_owned());
                list.push("null".to_owned());
            }
            let array = format!("array[{}]::{cast}[]", list.join(", "));
            (format!("in.({})", items.join(",")), format!("{name} = any({array})"))
        }
        _ => {
            // A box has no `<>`.
            let sides = if name == "bx" { 1 } else { ORDER.len() };
            let (op, operator) = ORDER[dice.roll(sides)];
            (format!("{op}.{}", quoted(value)), format!("{name} {operator} {}", typed(value)))
        }
    };
    match dice.roll(3) {
        0 => (format!("{name}=not.{filter}"), format!("not ({sql})")),
        _ => (format!("{name}={filter}"), format!("({sql})")),
    }
}

#[tokio::test]
async fn random_filters_choose_as_select_does() {
    let number = |name: &str| Env.value(name).and_then(|text| text.parse::<u64>().ok());
    let seed = number("ROWCAST_FILTER_SEED").unwrap_or_else(|| RandomState::new().hash_one(2)) | 1;
    let cases = number("ROWCAST_FILTER_CASES").unwrap_or(1_500);
    eprintln!("seed {seed}");
    let mut dice = Dice(seed);
    let columns: Vec<_> = COLUMNS.iter().map(|(name, kind, ..)| format!("{name} {kind}")).collect();
    let bench = Bench::start(&format!(
        "create collation german (provider = icu, locale = 'de-DE'); create collation turkish (provider = icu, locale = 'tr-TR');
         create collation numbered (provider = icu, locale = 'en-u-kn');
         create collation nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         create type mood as enum ('sad', 'great'); alter type mood add value 'ok' before 'great';
         create domain positive as int check (value > 0); create type spot as (x int, label text);
         create table grid (id int primary key, {}); alter table grid replica identity full;
         grant select on grid to anon; alter publication supabase_realtime add table grid;",
        columns.join(", ")
    ))
    .await;
    let (mut items, mut conditions) = (Vec::new(), Vec::new());
    for _ in 0..cases {
        let parts: Vec<_> = (0..=dice.roll(6) / 4).map(|_| condition(&mut dice)).collect();
        let (filters, sql): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let filter = filters.join(",");
        items.push(json!({"schema": "public", "table": "grid", "filter": filter}));
        conditions.push((filter, sql.join(" and ")));
    }
    let mut rooms = Vec::new();
    for some in items.chunks(100) {
        let mut some = some.to_vec();
        some.push(json!({"schema": "public", "table": "grid", "filter": "id=eq.-1"}));
        rooms.push(bench.subscribe(&some, "anon").await.unwrap());
    }
    for row in 0..ROWS {
        let mut value = |values: &[&str]| match dice.roll(5) {
            0 => "null".to_owned(),
            _ => literal(values[dice.roll(values.len())]),
        };
        let values: Vec<_> = COLUMNS.iter().map(|(_, _, _, values)| value(values)).collect();
        bench.sql(&format!("insert into grid values ({row}, {})", values.join(", "))).await;
    }
    bench.sql("insert into grid (id) values (-1)").await;
    let mut delivered = HashMap::<u64, Vec<i64>>::new();
    for room in rooms {
        let mut frames = Vec::new();
        eventually("the last row", async || {
            room.outbox.drain(&mut frames);
            let last: Option<Value> = frames.last().map(parsed);
            last.is_some_and(|last| last[4]["data"]["record"]["id"] == -1).then_some(())
        })
        .await;
        let mut seen = BTreeSet::new();
        for frame in &frames {
            let frame = parsed(frame);
            let row = frame[4]["data"]["record"]["id"].as_i64().unwrap();
            // Equal filters may have been drawn twice: the same id twice in a frame.
            let ids = frame[4]["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap());
            for id in ids.collect::<BTreeSet<_>>() {
                assert!(seen.insert((id, row)), "row {row} came twice to {id}");
                let rows = delivered.entry(id).or_default();
                // Another room may have the same filter.
                if !rows.contains(&row) {
                    rows.push(row);
                }
            }
        }
    }
    // Among tens of thousands of filters some share an id by chance.
    let id = |item: &Value| u64::from(Binding::parse(&item.to_string()).unwrap().id);
    let mut filters = HashMap::<u64, BTreeSet<&str>>::new();
    for (item, (filter, _)) in items.iter().zip(&conditions) {
        filters.entry(id(item)).or_default().insert(filter);
    }
    let mut wrong = Vec::new();
    for (item, (filter, sql)) in items.iter().zip(&conditions) {
        let query = format!("select id::int8 from grid where {sql} order by id = -1, id");
        let rows = bench.client.query(&query, &[]).await.unwrap();
        let expected: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        if filters[&id(item)].len() > 1 {
            continue;
        }
        let got = delivered.get(&id(item)).cloned().unwrap_or_default();
        if got != expected {
            wrong.push(format!("{filter}: {got:?} is not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "seed {seed}, {} of {cases}\n{}", wrong.len(), wrong.join("\n"));
    bench.end().await;
}

//! Filters, judged by what PostgreSQL itself answers.

use rowcast::postgres_changes::Binding;
use serde_json::json;

use super::{Bench, filtered, parsed};
use crate::support::eventually;

#[tokio::test]
async fn filters_choose_the_rows_that_postgresql_would() {
    let bench = Bench::start(
        "alter table todos add day date, add bytes bytea;
         alter database postgres set datestyle = 'SQL, DMY'; alter database postgres set bytea_output = 'escape'",
    )
    .await;
    let filters = [
        ("day=eq.02/01/2024", vec!["INSERT 2"]),
        ("day=gt.2024-01-01", vec!["INSERT 2", "INSERT 3"]),
        ("bytes=eq.01ff", vec!["INSERT 2"]),
        ("id=eq.3", vec!["INSERT 3"]),
        ("id=in.(1,3)", vec!["INSERT 1", "INSERT 3"]),
        ("n=gte.10", vec!["INSERT 3"]),
        ("n=eq.1.500", vec!["INSERT 1"]),
        ("title=neq.one", vec!["INSERT 2"]),
        ("title=lt.s", vec!["INSERT 1"]),
        ("title=is.null", vec!["INSERT 3"]),
        ("title=not.is.null,id=lt.2", vec!["INSERT 1"]),
        ("title=like.t%", vec!["INSERT 2"]),
        ("note=isdistinct.x", vec!["INSERT 1", "INSERT 2", "INSERT 3"]),
    ];
    let mut rooms = Vec::new();
    for (filter, expected) in filters {
        let items = [filtered(filter), filtered("title=eq.end")];
        rooms.push((filter, bench.subscribe(&items, "anon").await.unwrap(), expected));
    }
    bench.sql("insert into todos (id, title, n, day, bytes) values (1, 'one', 1.5, '2024-01-01', ''), (2, 'two', null, '2024-01-02', '\\x01ff'), (3, null, 100, 'infinity', null), (100, 'end', -1, null, null)").await;
    for (filter, room, expected) in rooms {
        assert_eq!(room.until_end().await, expected, "{filter}");
    }
    bench.end().await;
}

/// Columns, their types, and values in the many ways of writing them.
const GRID: &[(&str, &str, &[&str])] = &[
    ("i", "int", &["1", "-2", " 3 ", "+4", "0005", "2147483647", "0"]),
    ("s", "smallint", &["1", "32767", "-1"]),
    ("b", "bigint", &["1", "9223372036854775807", "-9223372036854775808", "123456789012"]),
    ("o", "oid", &["1", "4294967295"]),
    ("n", "numeric", &["1.5", "1.50", "-0.0", "1e3", "1000", "NaN", "Infinity", "-12.25", "0.001"]),
    ("f", "float8", &["1.5", "0.1", "-0", "1e300", "NaN", "-Infinity", "5e-324", "0"]),
    ("r", "real", &["0.1", "1.5", "16777217", "NaN", "0.10000000149"]),
    ("t", "text", &["apple", "Apple", "", "é 🙂", "with, \"comma\"", "app", "null"]),
    ("v", "varchar(10)", &["apple", "b", ""]),
    ("c", "char(5)", &["ab", "ab   ", "abc", ""]),
    ("m", "name", &["x", "Y"]),
    (
        "u",
        "uuid",
        &[
            "11111111-1111-4111-8111-111111111111",
            "A1111111-1111-4111-8111-11111111111B",
            "{22222222222242228222222222222222}",
        ],
    ),
    (
        "d",
        "date",
        &[
            "2024-02-29",
            "2024-1-5",
            "infinity",
            "-infinity",
            "0044-03-15 BC",
            "Jan 8, 1999",
            "10000-01-01",
        ],
    ),
    (
        "ts",
        "timestamp",
        &[
            "2024-05-06 07:08:09.5",
            "2024-05-06T07:08:09.50",
            "infinity",
            "0001-01-01 00:00:00 BC",
            "2024-05-06",
        ],
    ),
    (
        "tz",
        "timestamptz",
        &[
            "2024-05-06 07:08:09+02",
            "2024-05-06T05:08:09Z",
            "-infinity",
            "2024-05-06 00:00:00.000001+05:30",
        ],
    ),
    ("tm", "time", &["07:08:09.5", "24:00:00", "7:08", "07:08:09.500001"]),
    ("bo", "boolean", &["t", "false", "yes", "0"]),
    ("e", "mood", &["sad", "ok"]),
    ("a", "int[]", &["{1,2}", "{}", "{NULL}", "[0:1]={1,2}", "{ 1 , 2 }"]),
    ("ip", "inet", &["10.0.0.1", "10.0.0.1/8", "::1"]),
    ("by", "bytea", &["\\x01ff", "\\x"]),
    ("p", "positive", &["5", "6"]),
];

/// Types that have equality here but no order.
const UNORDERED: &[&str] = &["e", "a", "ip", "by"];

#[tokio::test]
async fn filters_agree_with_postgresql() {
    let types =
        "create type mood as enum ('sad', 'ok'); create domain positive as int check (value > 0);";
    let columns: Vec<_> = GRID.iter().map(|(name, kind, _)| format!("{name} {kind}")).collect();
    let bench = Bench::start(&format!(
        "{types} create table grid (id int primary key, {}); grant select on grid to anon;
         alter publication supabase_realtime add table grid;",
        columns.join(", ")
    ))
    .await;
    let quoted = |value: &str| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
    let literal = |value: &str| format!("'{}'", value.replace('\'', "''"));
    // What varchar(10) and char(5) cut would be another value than the filter's.
    let cast = |kind: &str| {
        kind.split('(').next().unwrap().replace("char", "bpchar").replace("varbpchar", "varchar")
    };
    let mut cases = Vec::new();
    for (name, kind, values) in GRID {
        let kind = cast(kind);
        for value in *values {
            let sql = format!("{}::{kind}", literal(value));
            let mut ops = vec![("eq", "="), ("neq", "<>"), ("isdistinct", "is distinct from")];
            if !UNORDERED.contains(name) {
                ops.extend([("lt", "<"), ("lte", "<="), ("gt", ">"), ("gte", ">=")]);
            }
            for (op, operator) in ops {
                cases.push((
                    format!("{op}.{}", quoted(value)),
                    format!("({name} {operator} {sql})"),
                    *name,
                ));
            }
            let list = format!("in.({},{})", quoted(value), quoted(values[0]));
            let first = format!("{}::{kind}", literal(values[0]));
            cases.push((list, format!("({name} = any(array[{sql}, {first}]))"), *name));
            // PostgreSQL has no array of arrays of different sizes.
            if *name == "a" {
                cases.pop();
            }
        }
    }
    let (mut items, mut conditions) = (Vec::new(), Vec::new());
    for (filter, condition, name) in cases {
        for (negation, not) in [("", ""), ("not.", "not ")] {
            let filter = format!("{name}={negation}{filter}");
            items.push(json!({"schema": "public", "table": "grid", "filter": filter}));
            conditions.push((filter, format!("{not}{condition}")));
        }
    }
    items.push(json!({"schema": "public", "table": "grid", "filter": "id=eq.100"}));
    let room = bench.subscribe(&items, "anon").await.unwrap();
    let rows = GRID.iter().map(|(_, _, values)| values.len()).max().unwrap();
    for row in 0..=rows {
        let values: Vec<_> = GRID
            .iter()
            .map(|(_, _, values)| values.get(row).map_or("null".to_owned(), |value| literal(value)))
            .collect();
        bench.sql(&format!("insert into grid values ({row}, {})", values.join(", "))).await;
    }
    bench.sql("insert into grid (id) values (100)").await;
    let mut frames = Vec::new();
    eventually("the last row", async || {
        room.outbox.drain(&mut frames);
        frames
            .last()
            .is_some_and(|last| parsed(last)[4]["data"]["record"]["id"] == 100)
            .then_some(())
    })
    .await;
    let mut delivered = std::collections::HashMap::<u64, Vec<i64>>::new();
    for frame in &frames {
        let frame = parsed(frame);
        for id in frame[4]["ids"].as_array().unwrap() {
            let row = frame[4]["data"]["record"]["id"].as_i64().unwrap();
            delivered.entry(id.as_u64().unwrap()).or_default().push(row);
        }
    }
    for (item, (filter, condition)) in items.iter().zip(&conditions) {
        let sql = format!("select id::int8 from grid where {condition} order by id");
        let expected: Vec<i64> =
            bench.client.query(&sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
        let id = u64::from(Binding::parse(&item.to_string()).unwrap().id);
        assert_eq!(delivered.get(&id).cloned().unwrap_or_default(), expected, "{filter}: {sql}");
    }
    assert!(conditions.len() > 1000, "{}", conditions.len());
    bench.end().await;
}

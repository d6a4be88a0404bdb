//! Changes from a real PostgreSQL to the outboxes of channels.

use std::{sync::Arc, time::Duration};

use rowcast::{
    hub::outbox::{Drained, Outbox},
    postgres::{
        pool::{Client, Pool, PoolConfig},
        session::SessionConfig,
    },
    postgres_changes::{
        Binding, Config, PostgresChanges, Registration, Subscribe, SubscribeError, legacy_item,
    },
    protocol::{Vsn, prepared::Frame},
    replication::{
        self,
        position::{Epoch, Lsn},
        sink::{ChangeSink as _, Gap, Start},
    },
    runtime::Drain,
    topic::Topic,
};
use serde_json::{Value, json};

use crate::support::{eventually, postgres::Postgres};

/// Roles and a table; `$T` statements of the tests use it.
const SETUP: &str = "
    create role anon nologin; create role authenticated nologin;
    create role service_role nologin bypassrls;
    create publication supabase_realtime;
    create table todos (id int primary key, title text, n numeric, note text);
    grant select on todos to anon, authenticated, service_role;
    alter publication supabase_realtime add table todos;";

struct Bench {
    client: Client,
    changes: PostgresChanges,
    drain: Drain,
    // Dropped last: the stream ends before its server.
    _server: Postgres,
}

struct Channel {
    outbox: Arc<Outbox>,
    _registration: Registration,
}

impl Bench {
    async fn start(sql: &str) -> Self {
        let server = Postgres::start(&[]).await;
        let client = server.client().await;
        client.batch_execute(SETUP).await.unwrap();
        client.batch_execute(sql).await.unwrap();
        let pool = Pool::new(PoolConfig {
            connect: server.config(),
            size: 3,
            wait: Duration::from_secs(10),
            session: SessionConfig::new("test"),
        });
        let config =
            Config { publication: Arc::from("supabase_realtime"), max_record_bytes: 100_000 };
        let changes = PostgresChanges::new(config, pool);
        let drain = Drain::new();
        let stream = replication::Config::new(server.config());
        let metrics = replication::Metrics::default();
        replication::Worker::spawn(stream, changes.pipeline(), &drain, &metrics);
        Self { client, changes, drain, _server: server }
    }

    async fn sql(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    async fn subscribe(&self, items: &[Value], role: &str) -> Result<Channel, SubscribeError> {
        let bindings: Vec<_> =
            items.iter().map(|item| Binding::parse(&item.to_string()).unwrap()).collect();
        self.enter(bindings, role, Vsn::V2, false).await
    }

    async fn enter(
        &self,
        bindings: Vec<Binding>,
        role: &str,
        vsn: Vsn,
        legacy: bool,
    ) -> Result<Channel, SubscribeError> {
        let outbox = Arc::new(Outbox::new(1 << 20));
        let request = Subscribe {
            topic: Topic::parse("realtime:room").unwrap(),
            vsn,
            legacy,
            bindings: bindings.into(),
            role: Arc::from(role),
            claims: Arc::from("{}"),
            outbox: Arc::clone(&outbox),
        };
        let subscribed =
            tokio::time::timeout(Duration::from_secs(20), self.changes.subscribe(request));
        let registration = subscribed.await.expect("the stream is live")?;
        Ok(Channel { outbox, _registration: registration })
    }

    async fn refused(&self, item: Value, role: &str) -> String {
        self.subscribe(&[item], role).await.err().expect("refused").message
    }

    async fn end(&self) {
        self.drain.finish(Duration::from_secs(10)).await;
    }
}

impl Channel {
    async fn frames(&self, count: usize) -> Vec<Value> {
        let mut frames = Vec::new();
        eventually(&format!("{count} frames"), async || {
            assert_eq!(self.outbox.drain(&mut frames), Drained::Frames);
            (frames.len() >= count).then_some(())
        })
        .await;
        frames.iter().map(parsed).collect()
    }

    /// The changes until one with the title `end`, as `type id`.
    async fn until_end(&self) -> Vec<String> {
        let mut frames = Vec::new();
        let is_end = |frame: &Frame| parsed(frame)[4]["data"]["record"]["title"] == "end";
        eventually("the end", async || {
            self.outbox.drain(&mut frames);
            frames.iter().any(is_end).then_some(())
        })
        .await;
        frames.iter().filter(|frame| !is_end(frame)).map(summary).collect()
    }
}

fn parsed(frame: &Frame) -> Value {
    let Frame::Text(bytes) = frame else { panic!("binary") };
    serde_json::from_slice(bytes).unwrap()
}

fn summary(frame: &Frame) -> String {
    let data = &parsed(frame)[4]["data"];
    let row = if data["record"].is_object() { &data["record"] } else { &data["old_record"] };
    format!("{} {}", data["type"].as_str().unwrap_or("?"), row["id"])
}

fn todos(event: &str) -> Value {
    json!({"event": event, "schema": "public", "table": "todos"})
}

fn filtered(filter: &str) -> Value {
    json!({"event": "*", "schema": "public", "table": "todos", "filter": filter})
}

#[tokio::test]
async fn a_row_arrives_as_its_channel_wants_it() {
    let bench = Bench::start("").await;
    bench.sql("insert into todos values (0, 'before')").await;
    let items = [todos("*"), todos("INSERT"), filtered("id=gt.10")];
    let room = bench.subscribe(&items, "anon").await.unwrap();
    let id = |item: &Value| Binding::parse(&item.to_string()).unwrap().id;
    bench.sql("insert into todos values (1, 'é \"quoted\"', 1.50, null)").await;
    bench
        .sql("update todos set note = 'x', id = 2 where id = 1; delete from todos where id = 2")
        .await;
    let frames = room.frames(3).await;
    let mut data = frames[0][4]["data"].clone();
    let stamp = data["commit_timestamp"].take();
    assert_eq!(stamp.as_str().unwrap().len(), "2026-01-02T03:04:05.678Z".len());
    assert_eq!(frames[0][2], "realtime:room");
    assert_eq!(frames[0][4]["ids"], json!([id(&items[0]), id(&items[1])]));
    let columns = json!([{"name": "id", "type": "int4"}, {"name": "title", "type": "text"},
        {"name": "n", "type": "numeric"}, {"name": "note", "type": "text"}]);
    assert_eq!(
        data,
        json!({"schema": "public", "table": "todos", "commit_timestamp": null, "type": "INSERT",
            "columns": columns, "errors": null,
            "record": {"id": 1, "title": "é \"quoted\"", "n": 1.5, "note": null}})
    );
    assert_eq!(frames[1][4]["ids"], json!([id(&items[0])]));
    assert_eq!(frames[1][4]["data"]["old_record"], json!({"id": 1}));
    assert_eq!(frames[1][4]["data"]["record"]["id"], 2);
    assert_eq!(frames[2][4]["data"]["old_record"], json!({"id": 2}));
    assert_eq!(frames[2][4]["data"].get("record"), None);
    bench.end().await;
}

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

#[tokio::test]
async fn what_cannot_be_subscribed_to_is_told_in_the_known_words() {
    let bench = Bench::start(
        "create table secret (id int primary key); alter table secret enable row level security;
         grant select on secret to anon, service_role;
         alter publication supabase_realtime add table secret;
         revoke select on todos from authenticated; grant select (id) on todos to authenticated;",
    )
    .await;
    let list = |filters: &str| {
        format!("[event: *, schema: public, table: todos, filters: [{filters}], select: nil]")
    };
    let raised = |filters: &str, error: &str| {
        format!(
            "Unable to subscribe to changes with given parameters. An exception happened so please check your connect parameters: {}. Exception: ERROR {error}",
            list(filters)
        )
    };
    assert_eq!(
        bench
            .refused(json!({"event": "INSERT", "schema": "public", "table": "todo_"}), "anon")
            .await,
        "Unable to subscribe to changes with given parameters. Please check Realtime is enabled for the given connect parameters: [event: INSERT, schema: public, table: todo_, filters: [], select: nil]"
    );
    for (filter, listed, error) in [
        (
            "nope=eq.1",
            r#"{"nope", "eq", "1", false}"#,
            "P0001 (raise_exception) invalid column for filter nope",
        ),
        (
            "id=eq.hey",
            r#"{"id", "eq", "hey", false}"#,
            "22P02 (invalid_text_representation) invalid input syntax for type integer: \"hey\"",
        ),
        (
            "id=in.(1,x)",
            r#"{"id", "in", "{1,x}", false}"#,
            "22P02 (invalid_text_representation) invalid input syntax for type integer: \"x\"",
        ),
        (
            "id=like.1%",
            r#"{"id", "like", "1%", false}"#,
            "P0001 (raise_exception) operator like requires a text-compatible column type, got integer",
        ),
        (
            "title=match.(",
            r#"{"title", "match", "(", false}"#,
            "P0001 (raise_exception) invalid regular expression for match filter: invalid regular expression: parentheses () not balanced",
        ),
    ] {
        assert_eq!(bench.refused(filtered(filter), "anon").await, raised(listed, error));
    }
    assert_eq!(
        bench.refused(todos("*"), "nobody").await,
        raised("", "42704 (undefined_object) role \"nobody\" does not exist")
    );
    assert_eq!(
        bench.refused(filtered("title=eq.x"), "authenticated").await,
        raised(
            r#"{"title", "eq", "x", false}"#,
            "P0001 (raise_exception) invalid column for filter title"
        )
    );
    let secret = json!({"schema": "public", "table": "secret"});
    assert!(bench.refused(secret.clone(), "anon").await.contains("Row level security is enabled"));
    assert!(bench.subscribe(&[secret], "service_role").await.is_ok());
    bench.end().await;
}

#[tokio::test]
async fn grants_and_row_security_count_from_the_first_row_after_them() {
    let bench = Bench::start("").await;
    let room = bench.subscribe(&[todos("*")], "anon").await.unwrap();
    let service = bench.subscribe(&[todos("*")], "service_role").await.unwrap();
    let steps = [
        "insert into todos values (1, 'a')",
        "revoke select on todos from anon; grant select (id, title) on todos to anon; insert into todos values (2, 'b', 1)",
        "revoke select (id) on todos from anon; insert into todos values (3, 'c')",
        "alter table todos enable row level security; insert into todos values (4, 'd')",
    ];
    let (mut frames, mut all) = (Vec::new(), Vec::new());
    for sql in steps {
        bench.sql(sql).await;
        frames.append(&mut room.frames(1).await);
        all.append(&mut service.frames(1).await);
    }
    assert_eq!(all[3][4]["data"]["record"]["id"], 4);
    assert_eq!(
        frames[0][4]["data"]["record"],
        json!({"id": 1, "title": "a", "n": null, "note": null})
    );
    assert_eq!(frames[1][4]["data"]["record"], json!({"id": 2, "title": "b"}));
    assert_eq!(frames[2][4]["data"]["errors"], json!(["Error 401: Unauthorized"]));
    assert_eq!((&frames[3][3], frames.len()), (&json!("system"), 4));
    assert!(frames[3][4]["message"].as_str().unwrap().contains("no longer delivered"));
    bench.end().await;
}

#[tokio::test]
async fn wildcards_cover_tables_that_come_later() {
    let bench = Bench::start("create table other (id int primary key, title text);
         alter default privileges grant select on tables to service_role; grant select on other to service_role").await;
    let schema = bench.subscribe(&[json!({"schema": "public"})], "service_role").await.unwrap();
    let any = bench
        .subscribe(&[json!({"schema": "*", "event": "INSERT"})], "service_role")
        .await
        .unwrap();
    bench.sql("insert into todos values (1, 'x'); insert into other values (1)").await;
    bench
        .sql("alter publication supabase_realtime add table other; insert into other values (2)")
        .await;
    bench.sql("create schema s; create table s.t (id int primary key); alter publication supabase_realtime add table s.t; insert into s.t values (3)").await;
    bench.sql("drop table todos; create table todos (id int primary key, title text); alter publication supabase_realtime add table todos; insert into todos values (9, 'end')").await;
    assert_eq!(schema.until_end().await, ["INSERT 1", "INSERT 2"]);
    assert_eq!(any.until_end().await, ["INSERT 1", "INSERT 2", "INSERT 3"]);
    bench.end().await;
}

#[tokio::test]
async fn legacy_channels_get_changes_under_their_own_events() {
    let bench = Bench::start("").await;
    let binding = Binding::parse(&legacy_item("public:todos:title=eq.x:y")).unwrap();
    let room = bench.enter(vec![binding], "anon", Vsn::V1, true).await.unwrap();
    bench.sql("insert into todos values (1, 'x'), (2, 'x:y')").await;
    let frame = room.frames(1).await.remove(0);
    assert_eq!((&frame["event"], &frame["ref"]), (&json!("INSERT"), &Value::Null));
    assert_eq!(frame["payload"]["record"]["id"], 2);
    bench.end().await;
}

#[tokio::test]
async fn every_kind_of_identity_and_value() {
    let bench = Bench::start(
        "create type mood as enum ('sad', 'ok'); create domain positive as int check (value > 0);
         create type spot as (x int, label text);
         create table kinds (id int primary key, m mood, ms mood[], p positive, s spot, ss spot[], a int[], b bytea, j jsonb, t timestamptz, o oid);
         alter table kinds replica identity full;
         create table keyless (a int); create table big (id int primary key, short text, long text);
         grant select on kinds, keyless, big to anon;
         alter publication supabase_realtime add table kinds, keyless, big;",
    )
    .await;
    let kinds = |filter: &str| json!({"schema": "public", "table": "kinds", "filter": filter});
    let all = bench
        .subscribe(&[kinds("m=eq.ok"), kinds("a=eq.{1}"), kinds("p=eq.5")], "anon")
        .await
        .unwrap();
    let keyless = bench
        .subscribe(&[json!({"schema": "public", "table": "keyless", "filter": "a=eq.2"})], "anon")
        .await
        .unwrap();
    let big = bench
        .subscribe(
            &[json!({"schema": "public", "table": "big", "select": ["short", "long"]})],
            "anon",
        )
        .await
        .unwrap();
    bench.sql(r#"insert into kinds values (1, 'ok', '{ok,null}', 5, '(1,"a, b")', array['(2,x)'::spot, null], '{1}', '\x01ff', '{"a": [1]}', '2024-05-06 07:08:09+02', 42)"#).await;
    bench.sql("update kinds set m = 'sad'; insert into keyless values (1); insert into big values (1, 'kept', repeat('x', 200000))").await;
    let frames = all.frames(2).await;
    let row = json!({"id": 1, "m": "ok", "ms": ["ok", null], "p": 5, "s": {"x": 1, "label": "a, b"},
        "ss": [{"x": 2, "label": "x"}, null], "a": [1], "b": "01ff", "j": {"a": [1]},
        "t": "2024-05-06T05:08:09+00:00", "o": "42"});
    assert_eq!(frames[0][4]["data"]["record"], row);
    assert_eq!(frames[0][4]["ids"].as_array().unwrap().len(), 3);
    assert_eq!(frames[1][4]["data"]["old_record"], row);
    assert_eq!(frames[1][4]["ids"].as_array().unwrap().len(), 2);
    let error = &keyless.frames(1).await[0][4]["data"];
    assert_eq!(error["errors"], json!(["Error 400: Bad Request, no primary key"]));
    assert_eq!((&error["commit_timestamp"], &error["record"]), (&Value::Null, &json!({})));
    let large = &big.frames(1).await[0][4]["data"];
    assert_eq!(large["errors"], json!(["Error 413: Payload Too Large"]));
    assert_eq!(large["record"], json!({"id": 1, "short": "kept"}));
    bench.end().await;
}

#[tokio::test]
async fn a_gap_is_told_and_nobody_subscribes_while_the_stream_is_down() {
    let bench = Bench::start("").await;
    let room = bench.subscribe(&[todos("*")], "anon").await.unwrap();
    let pipeline = bench.changes.pipeline();
    pipeline.interrupted();
    let items = [todos("INSERT")];
    let late = bench.subscribe(&items, "anon");
    let mut late = std::pin::pin!(late);
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut late).await.is_err());
    let epoch = Epoch { system_id: 1, timeline: 1, generation: 2 };
    pipeline.started(Start { epoch, from: Lsn(1), gap: Some(Gap::NewSlot) }).await;
    let frame = room.frames(1).await.remove(0);
    assert_eq!((&frame[0], &frame[1], &frame[3]), (&Value::Null, &Value::Null, &json!("system")));
    assert_eq!((&frame[4]["status"], &frame[4]["channel"]), (&json!("error"), &json!("room")));
    let late = late.await.unwrap();
    bench.sql("insert into todos values (1)").await;
    assert_eq!((room.frames(1).await.len(), late.frames(1).await.len()), (1, 1));
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

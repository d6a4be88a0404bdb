//! Changes from a real PostgreSQL to the outboxes of channels.

use std::{sync::Arc, time::Duration};

use rowcast::{
    hub::outbox::{Drained, Item, Outbox},
    postgres::{
        connect::ConnectConfig,
        pool::{Client, Pool, PoolConfig},
        session::SessionConfig,
    },
    postgres_changes::{
        Binding, Config, DeleteVisibility, PostgresChanges, Registration, RowSecurity, Subscribe,
        SubscribeError, legacy_item,
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

mod asked;
mod big;
mod bounds;
mod filters;
mod living_schema;
mod oracle;
mod random_filters;
mod row_security;
mod values;

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
    server: Postgres,
}

struct Channel {
    outbox: Arc<Outbox>,
    registration: Registration,
}

/// Small rows, and as many bindings as a test likes.
fn config(deletes: DeleteVisibility) -> Config {
    let row_security = RowSecurity { deletes, ..RowSecurity::default() };
    let (max_record_bytes, max_bindings) = (100_000, usize::MAX);
    Config { max_record_bytes, max_bindings, row_security, ..Config::default() }
}

impl Bench {
    async fn start(sql: &str) -> Self {
        Self::configured(config(DeleteVisibility::Strict), sql).await
    }

    async fn with(sql: &str, deletes: DeleteVisibility) -> Self {
        Self::configured(config(deletes), sql).await
    }

    async fn configured(config: Config, sql: &str) -> Self {
        Self::judged_by("postgres", config, sql).await
    }

    /// `judge` is the user whose sessions ask about row security.
    async fn judged_by(judge: &str, config: Config, sql: &str) -> Self {
        let server = Postgres::start(&[]).await;
        let client = server.client().await;
        client.batch_execute(SETUP).await.unwrap();
        client.batch_execute(sql).await.unwrap();
        let pool = |size, user: &str| {
            Pool::new(PoolConfig {
                connect: ConnectConfig { user: user.to_owned(), ..server.config() },
                size,
                wait: Duration::from_secs(10),
                session: SessionConfig::new("test"),
            })
        };
        let changes = PostgresChanges::new(config, pool(3, "postgres"), pool(2, judge));
        let drain = Drain::new();
        drain.spawn("watch", changes.clone().watch(drain.clone()));
        let stream = replication::Config::new(server.config());
        let metrics = replication::Metrics::default();
        replication::Worker::spawn(stream, changes.pipeline(), &drain, &metrics);
        Self { client, changes, drain, server }
    }

    async fn sql(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    async fn subscribe(&self, items: &[Value], role: &str) -> Result<Channel, SubscribeError> {
        let bindings: Vec<_> =
            items.iter().map(|item| Binding::parse(&item.to_string()).unwrap()).collect();
        self.enter(bindings, role, Vsn::V2, false).await
    }

    /// A subscriber with claims of its own, in the place of another if so.
    async fn user(
        &self,
        item: &Value,
        role: &str,
        claims: &Value,
        replaces: Option<&Channel>,
    ) -> Channel {
        let bindings = vec![Binding::parse(&item.to_string()).unwrap()];
        let claims = Arc::from(claims.to_string());
        self.request(bindings, role, Vsn::V2, false, claims, replaces).await.unwrap()
    }

    async fn enter(
        &self,
        bindings: Vec<Binding>,
        role: &str,
        vsn: Vsn,
        legacy: bool,
    ) -> Result<Channel, SubscribeError> {
        self.request(bindings, role, vsn, legacy, Arc::from("{}"), None).await
    }

    async fn request(
        &self,
        bindings: Vec<Binding>,
        role: &str,
        vsn: Vsn,
        legacy: bool,
        claims: Arc<str>,
        replaces: Option<&Channel>,
    ) -> Result<Channel, SubscribeError> {
        let outbox = Arc::new(Outbox::new(1 << 20));
        let request = Subscribe {
            topic: Topic::parse("realtime:room").unwrap(),
            vsn,
            legacy,
            bindings: bindings.into(),
            role: Arc::from(role),
            claims,
            outbox: Arc::clone(&outbox),
            ready: vec![Frame::text("ready")],
            replaces: replaces.map(|before| before.registration.place()),
        };
        let subscribed =
            tokio::time::timeout(Duration::from_secs(20), self.changes.subscribe(request));
        let registration = subscribed.await.expect("the stream is live")?;
        let mut frames = Vec::new();
        outbox.drain(&mut frames);
        assert_eq!(frames, [Item::Frame(Frame::text("ready"))]);
        Ok(Channel { outbox, registration })
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
            assert_eq!(self.outbox.drain(&mut frames), Drained::Items);
            (frames.len() >= count).then_some(())
        })
        .await;
        frames.iter().map(parsed).collect()
    }

    /// The changes until one with the title `end`, as `type id`.
    async fn until_end(&self) -> Vec<String> {
        let mut frames = Vec::new();
        let is_end = |item: &Item| parsed(item)[4]["data"]["record"]["title"] == "end";
        eventually("the end", async || {
            self.outbox.drain(&mut frames);
            frames.iter().any(is_end).then_some(())
        })
        .await;
        frames.iter().filter(|frame| !is_end(frame)).map(summary).collect()
    }
}

fn parsed(item: &Item) -> Value {
    let Item::Frame(Frame::Text(bytes)) = item else { panic!("not a text frame") };
    serde_json::from_slice(bytes).unwrap()
}

fn summary(item: &Item) -> String {
    let data = &parsed(item)[4]["data"];
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
    assert!(bench.subscribe(&[secret], "anon").await.is_ok());
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
    ];
    let (mut frames, mut all) = (Vec::new(), Vec::new());
    for sql in steps {
        bench.sql(sql).await;
        frames.append(&mut room.frames(1).await);
        all.append(&mut service.frames(1).await);
    }
    bench
        .sql("alter table todos enable row level security; insert into todos values (4, 'd')")
        .await;
    assert_eq!(service.frames(1).await[0][4]["data"]["record"]["id"], 4);
    // Without the key no policy is asked, as in the original.
    let told = room.frames(1).await;
    assert_eq!(told[0][4]["data"]["errors"], json!(["Error 401: Unauthorized"]));
    assert_eq!(
        frames[0][4]["data"]["record"],
        json!({"id": 1, "title": "a", "n": null, "note": null})
    );
    assert_eq!(frames[1][4]["data"]["record"], json!({"id": 2, "title": "b"}));
    assert_eq!(frames[2][4]["data"]["errors"], json!(["Error 401: Unauthorized"]));
    assert_eq!((frames.len(), all.len()), (3, 3));
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
    let probe = bench.subscribe(&[todos("INSERT")], "anon").await.unwrap();
    bench.sql("insert into todos values (1, 'x'); insert into other values (1)").await;
    // A row is judged by the catalog as it is when the row arrives.
    probe.frames(1).await;
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

//! Messages of the database, against a real PostgreSQL: live, stored, replayed, kept and dropped.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use rowcast::{
    auth::{Claims, Keys},
    broadcast::{
        DatabaseBroadcasts, DatabaseMetrics, Replays, Store,
        persist::PersistError,
        replay::{self, Request},
    },
    hub::{
        Interest, Key, Subscriber,
        outbox::{Item, Outbox},
        topics::Hub,
    },
    postgres::{
        pool::{Client, Pool, PoolConfig},
        session::SessionConfig,
    },
    protocol::{
        Vsn,
        message::{Encoding, Ref, UserBroadcast},
        persist::Persist,
        prepared::Frame,
    },
    replication::{self, Publication, Status},
    runtime::Drain,
    secret::Secret,
    telemetry::Registry,
    tenants::{Caller, Tenant, Terms, janitor, migrations},
    topic::Topic,
};
use serde_json::{Value, json, value::RawValue};

use crate::support::{eventually, postgres::Postgres};

struct Bench {
    server: Postgres,
    client: Client,
    hub: Arc<Hub>,
    replays: Replays,
    store: Store,
    stream: replication::Handle,
    drain: Drain,
}

impl Bench {
    async fn start() -> Self {
        let server = Postgres::start(&[]).await;
        let mut client = server.client().await;
        let options = migrations::Options { create_roles: true, chat: None };
        migrations::run(&mut client, &options).await.unwrap();
        let keys = Keys::new(Some("secret"), None, serde_json::Map::new());
        let tenant = Arc::new(Tenant::new("t", keys, Terms::default()));
        let hub = Arc::new(Hub::new());
        let series = DatabaseMetrics::register(&mut Registry::default()).tenant("t");
        let pool = Pool::new(PoolConfig {
            connect: server.config(),
            size: 3,
            wait: Duration::from_secs(10),
            session: SessionConfig::new("test"),
        });
        let day = Duration::from_secs(86_400);
        let sink = DatabaseBroadcasts::new(tenant, Arc::clone(&hub), day, series.clone());
        let mut readiness = sink.readiness();
        let drain = Drain::new();
        let mut config = replication::Config::new(server.config());
        config.publications.push(Publication::messages());
        let metrics = replication::Metrics::default();
        let stream = replication::Worker::spawn(config, sink, &drain, &metrics);
        readiness.live().await;
        let (replays, store) = (Replays::new(pool.clone(), series), Store::new(pool));
        Self { server, client, hub, replays, store, stream, drain }
    }

    async fn sql(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    async fn value(&self, sql: &str) -> Value {
        let row = self.client.query_one(&format!("select to_jsonb(({sql}))"), &[]).await.unwrap();
        row.get::<_, Option<Value>>(0).unwrap_or_default()
    }

    fn member(&self) -> Arc<Subscriber> {
        let subscriber = Subscriber::new(Vsn::V2, Arc::new(Outbox::new(1 << 20)), Interest::ALL);
        let topic = Topic::from_sub_topic("room").unwrap();
        self.hub.join(&Key { tenant: "t".into(), private: true, topic }, &subscriber);
        subscriber
    }

    async fn replayed(&self, limit: u32, subscriber: &Subscriber) -> Vec<Value> {
        let params = format!(r#"{{"since":0,"limit":{limit}}}"#);
        let request = Request::parse(true, &RawValue::from_string(params).unwrap()).unwrap();
        let found = self.replays.fetch("room", request).await.unwrap();
        let frames = replay::frames(found, subscriber, &Ref::string("1"), "realtime:room");
        frames.iter().map(replay_payload).collect()
    }

    async fn stop(self) {
        assert_eq!(self.drain.finish(Duration::from_secs(10)).await, 0);
    }
}

/// The payload of a replayed message, whose frame is text.
fn replay_payload(frame: &Frame) -> Value {
    match frame {
        Frame::Text(text) => {
            let frame: Value = serde_json::from_slice(text).unwrap();
            assert_eq!(frame[4]["meta"]["replayed"], true);
            frame[4]["payload"].clone()
        }
        Frame::Binary(bytes) => json!(bytes.last()),
    }
}

/// Payloads of live messages, waiting for `count` of them.
async fn live(subscriber: &Subscriber, count: usize) -> Vec<Value> {
    let mut items = Vec::new();
    eventually(&format!("{count} messages"), async || {
        subscriber.outbox.drain(&mut items);
        (items.len() >= count).then_some(())
    })
    .await;
    items.iter().map(live_payload).collect()
}

fn live_payload(item: &Item) -> Value {
    let Item::Frame(Frame::Binary(bytes)) = item else { panic!("{item:?}") };
    let header: usize = [1, 2, 3].iter().map(|&at| usize::from(bytes[at])).sum();
    serde_json::from_slice(&bytes[5 + header..]).unwrap()
}

fn numbers(range: std::ops::RangeInclusive<u32>) -> Vec<Value> {
    range.map(|n| json!({ "n": n })).collect()
}

fn strip(payloads: Vec<Value>) -> Vec<Value> {
    payloads.into_iter().map(|payload| json!({ "n": payload["n"] })).collect()
}

#[tokio::test]
async fn messages_of_one_transaction_keep_their_order_live_and_replayed() {
    let bench = Bench::start().await;
    let member = bench.member();
    // A hole low in the table, so that later rows do not lie in order of insertion.
    bench
        .sql(
            "begin; insert into realtime.messages (topic, extension, event, private, payload) \
               select 'other', 'broadcast', 'e', true, to_jsonb(repeat('x', 500)) \
               from generate_series(1, 100); rollback",
        )
        .await;
    bench.sql("vacuum realtime.messages").await;
    bench.sql("select realtime.send('{\"n\":1}', 'e', 'room')").await;
    bench
        .sql(
            "begin; \
             do $$ begin for n in 2..20 loop \
               perform realtime.send(jsonb_build_object('n', n), 'e', 'room'); end loop; end $$; \
             insert into realtime.messages (topic, extension, event, private, payload) \
               values ('room', 'broadcast', 'e', true, '{\"n\":21}'), \
                      ('room', 'broadcast', 'e', true, '{\"n\":22}'); \
             commit; \
             begin; select realtime.send('{\"n\":99}', 'e', 'room'); rollback",
        )
        .await;
    bench
        .sql(
            "select realtime.send('{\"n\":98}', 'e', 'room', false); \
             select realtime.send('[1]', 'e', 'room'); \
             insert into realtime.messages (topic, extension, event, private, payload) \
               values ('room', 'presence', 'e', true, '{\"n\":23}')",
        )
        .await;
    assert_eq!(strip(live(&member, 23).await), numbers(1..=23));
    assert_eq!(strip(bench.replayed(25, &member).await), numbers(1..=22));
    assert_eq!(strip(bench.replayed(3, &member).await), numbers(20..=22));

    // What committed while the server was away comes too, unless it was replayed.
    let late = bench.member();
    late.seen.replay_begins();
    bench.sql("select pg_terminate_backend(active_pid) from pg_replication_slots").await;
    bench.sql("select realtime.send('{\"n\":24}', 'e', 'room')").await;
    assert_eq!(strip(live(&member, 1).await), numbers(24..=24));
    assert_eq!(strip(live(&late, 1).await), numbers(24..=24));
    assert_eq!(strip(bench.replayed(2, &late).await), numbers(22..=22));
    bench.stop().await;
}

#[tokio::test]
async fn a_stored_broadcast_obeys_the_policies_and_comes_once() {
    let bench = Bench::start().await;
    bench
        .sql(
            "create policy p on realtime.messages for insert to authenticated \
             with check (realtime.topic() = 'room' and auth.uid() is not null \
               and topic = realtime.topic() and extension = 'broadcast')",
        )
        .await;
    let (sender, other) = (bench.member(), bench.member());
    let sub = "3f1d2f4e-0000-4000-8000-000000000001";
    let claims = json!({ "role": "authenticated", "exp": 9_999_999_999_u64, "sub": sub });
    let user = Claims::parse(&claims.to_string(), 1).unwrap();
    let anon = Claims::parse(r#"{"role":"anon","exp":9999999999}"#, 1).unwrap();
    let message = |n: u32| UserBroadcast {
        event: "it's".to_owned(),
        encoding: Encoding::Json,
        payload: Bytes::from(format!(r#"{{"n":{n}}}"#)),
    };
    let store = async |claims: &Claims, topic: &str, n: u32, persist| {
        let from = Caller { topic, claims, headers: &Secret::new("{}") };
        bench.store.store(from, &message(n), persist, Some(&sender)).await
    };
    for (claims, topic) in [(&anon, "room"), (&user, "elsewhere")] {
        let refused = store(claims, topic, 9, Persist::Retention).await.unwrap_err();
        assert!(matches!(refused, PersistError::Denied), "{refused:?}");
    }
    let refused = store(&user, "room", 9, Persist::Unreadable).await.unwrap_err();
    assert!(matches!(refused, PersistError::Ttl));
    store(&user, "room", 1, Persist::Retention).await.unwrap();
    store(&user, "room", 2, Persist::Seconds(1)).await.unwrap();
    assert_eq!(live(&other, 2).await, numbers(1..=2));
    bench.sql("select realtime.send('{\"n\":3}', 'e', 'room')").await;
    assert_eq!(strip(live(&sender, 1).await), numbers(3..=3), "its own do not come back");

    eventually("the second message expires", async || {
        let replayed = bench.replayed(2, &other).await;
        (strip(replayed) == [json!({ "n": 1 }), json!({ "n": 3 })]).then_some(())
    })
    .await;
    bench.stop().await;
}

#[tokio::test]
async fn the_janitor_keeps_the_partitions_that_are_needed() {
    let bench = Bench::start().await;
    bench
        .sql(
            "do $$ declare day date := (now() at time zone 'utc')::date; begin \
               for n in 2..5 loop \
                 execute format('create table realtime.%I partition of realtime.messages \
                   for values from (%L) to (%L)', \
                   'messages_' || to_char(day - n, 'YYYY_MM_DD'), day - n, day - n + 1); \
               end loop; \
               execute format('drop table realtime.%I', 'messages_' || to_char(day, 'YYYY_MM_DD')); \
             end $$; \
             insert into realtime.rowcast_expiries values (gen_random_uuid(), now() - interval '1 s')",
        )
        .await;
    let names = "select json_agg((now() at time zone 'utc')::date \
                   - to_date(substr(relname, 10), 'YYYY_MM_DD') order by relname desc) \
                 from pg_inherits join pg_class on pg_class.oid = inhrelid \
                 where inhparent = 'realtime.messages'::regclass";
    assert_eq!(bench.value(names).await, json!([-3, -2, -1, 1, 2, 3, 4, 5]));
    let config = janitor::Config {
        connect: bench.server.config(),
        tenant: "t".to_owned(),
        retention: Duration::from_secs(72 * 3600),
        first: Duration::ZERO,
        interval: Duration::from_secs(3600),
        jitter: Duration::ZERO,
    };
    let metrics = janitor::Metrics::default();
    // Two at once, as on two nodes.
    let (first, second) = (janitor::Handle::default(), janitor::Handle::default());
    janitor::spawn(config.clone(), &first, &bench.drain, &metrics);
    janitor::spawn(config, &second, &bench.drain, &metrics);
    let wanted = json!([-3, -2, -1, 0, 1, 2, 3]);
    eventually("order", async || (bench.value(names).await == wanted).then_some(())).await;
    eventually("expired messages go", async || {
        let left = bench.value("select count(*) from realtime.rowcast_expiries").await;
        (left == json!(0)).then_some(())
    })
    .await;
    // Messages still flow after a partition was made anew.
    let member = bench.member();
    bench.sql("select realtime.send('{\"n\":1}', 'e', 'room')").await;
    assert_eq!(strip(live(&member, 1).await), numbers(1..=1));
    let today = "select to_char(now() at time zone 'utc', '\"messages_\"YYYY_MM_DD')";
    let today = bench.value(today).await;
    bench.sql(&format!("drop table realtime.{}", today.as_str().unwrap())).await;
    first.partition_is_missing();
    eventually("a new partition", async || (bench.value(names).await == wanted).then_some(()))
        .await;
    bench.stop().await;
}

#[tokio::test]
async fn a_publication_with_other_tables_is_mended_without_a_gap() {
    let bench = Bench::start().await;
    let member = bench.member();
    let name = "supabase_realtime_messages_publication";
    let tables = "select string_agg(distinct substr(tablename, 1, 8), ',') from pg_publication_tables \
                  where pubname = 'supabase_realtime_messages_publication'";
    bench.sql("create table secret (id int)").await;
    let epoch = bench.stream.status().epoch();
    for (n, change) in [
        (1, format!("alter publication {name} add table secret")),
        (2, format!("alter publication {name} set table secret")),
        (3, format!("drop publication {name}; create publication {name} for all tables")),
    ] {
        // In one transaction, as a careful user would: the name stays known to the log.
        bench.sql(&format!("begin; {change}; commit")).await;
        bench.sql("select pg_terminate_backend(active_pid) from pg_replication_slots").await;
        eventually("the publication is mended", async || {
            (bench.value(tables).await == json!("messages")).then_some(())
        })
        .await;
        bench.sql(&format!("select realtime.send('{{\"n\":{n}}}', 'e', 'room')")).await;
        assert_eq!(strip(live(&member, 1).await), numbers(n..=n));
    }
    assert_eq!(bench.stream.status().epoch(), epoch, "no gap");

    // Without the privilege the statement that helps is named.
    bench.sql("create role app login replication; grant create on database postgres to app").await;
    let mut config = replication::Config::new(bench.server.config());
    config.connect.user = "app".to_owned();
    config.slot_name = "another".to_owned();
    config.publications = vec![Publication::of_table("theirs", "realtime", "messages")];
    let metrics = replication::Metrics::default();
    let sink = crate::support::Nowhere;
    let handle = replication::Worker::spawn(config.clone(), sink, &bench.drain, &metrics);
    let reason = failure(&handle).await;
    let remedy =
        r#"run `CREATE PUBLICATION "theirs" FOR TABLE "realtime"."messages"` as a superuser"#;
    assert!(reason.contains(remedy), "{reason}");
    config.publications = vec![Publication::of_table("theirs", "nowhere", "messages")];
    let handle = replication::Worker::spawn(config, sink, &bench.drain, &metrics);
    assert!(failure(&handle).await.contains("rowcast migrate"));
    bench.stop().await;
}

async fn failure(handle: &replication::Handle) -> String {
    eventually("the stream fails", async || match handle.status() {
        Status::Failed { reason, .. } => Some(reason.to_string()),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn the_sql_functions_judge_rows_filters_and_operators_as_the_original_does() {
    let bench = Bench::start().await;
    bench
        .sql(
            "create table public.todos (id int primary key, owner uuid, title text, done boolean); \
             grant select on public.todos to authenticated; \
             alter table public.todos enable row level security; \
             create policy mine on public.todos for select to authenticated using (owner = auth.uid()); \
             insert into public.todos values (1, '3f1d2f4e-0000-4000-8000-000000000001', 'a', null); \
             insert into realtime.subscription (subscription_id, entity, claims, filters) values \
               ('00000000-0000-4000-8000-000000000001', 'public.todos', \
                '{\"role\":\"authenticated\",\"sub\":\"3f1d2f4e-0000-4000-8000-000000000001\"}', \
                array[('title', 'in', '{b,a}', null), ('id', 'eq', '1', null)]::realtime.user_defined_filter[]), \
               ('00000000-0000-4000-8000-000000000002', 'public.todos', \
                '{\"role\":\"authenticated\",\"sub\":\"3f1d2f4e-0000-4000-8000-000000000002\"}', '{}')",
        )
        .await;
    let wal = json!({
        "action": "I", "schema": "public", "table": "todos", "timestamp": "2026-01-02 03:04:05.678+00",
        "pk": [{ "name": "id", "type": "integer" }],
        "columns": [
            { "name": "id", "typeoid": 23, "value": 1 },
            { "name": "owner", "typeoid": 2950, "value": "3f1d2f4e-0000-4000-8000-000000000001" },
            { "name": "title", "typeoid": 25, "value": "a" },
            { "name": "done", "typeoid": 16, "value": null },
        ],
    });
    let seen = bench.value(&format!("select json_agg(r) from realtime.apply_rls('{wal}') r")).await;
    assert_eq!(seen[0]["subscription_ids"], json!(["00000000-0000-4000-8000-000000000001"]));
    assert_eq!(seen.as_array().unwrap().len(), 1, "the other may not see the row");
    let change = &seen[0]["wal"];
    assert_eq!(change["commit_timestamp"], "2026-01-02T03:04:05.678Z");
    assert_eq!(change["record"]["done"], Value::Null);
    assert_eq!(change["columns"][1], json!({ "name": "owner", "type": "uuid" }));
    assert_eq!(bench.value("select current_setting('role')").await, "none");
    let sorted = "select filters[1].column_name from realtime.subscription order by 1 limit 1";
    assert_eq!(bench.value(sorted).await, "id");

    for (filter, text) in [
        ("('nope', 'eq', '1', null)", "invalid column for filter nope"),
        (
            "('id', 'like', 'x', null)",
            "operator like requires a text-compatible column type, got integer",
        ),
        ("('id', 'is', 'true', null)", "is true filter requires a boolean column, got integer"),
        (
            "('id', 'is', 'x', null)",
            "invalid value for is filter: must be null, true, false, or unknown",
        ),
        ("('id', 'eq', 'hey', null)", "invalid input syntax for type integer: \"hey\""),
    ] {
        let sql = format!(
            "insert into realtime.subscription (subscription_id, entity, claims, filters) values \
             (gen_random_uuid(), 'public.todos', '{{\"role\":\"authenticated\"}}', \
              array[{filter}]::realtime.user_defined_filter[])"
        );
        let error = bench.client.batch_execute(&sql).await.unwrap_err();
        assert_eq!(error.as_db_error().unwrap().message(), text);
    }

    for (op, column, filter, negate, visible) in [
        ("eq", Some("5"), "5", false, json!(true)),
        ("eq", Some("5"), "5", true, json!(false)),
        ("lt", Some("10"), "9", false, json!(false)),
        ("in", Some("2"), "{1,2}", false, json!(true)),
        ("eq", None, "5", true, json!(null)),
        ("is", None, "null", false, json!(true)),
        ("is", None, "null", true, json!(false)),
        ("isdistinct", None, "5", false, json!(true)),
        ("isdistinct", Some("5"), "5", true, json!(true)),
    ] {
        let column = column.map_or("null".to_owned(), |text| format!("'{text}'"));
        let sql = format!(
            "select realtime.check_equality_op('{op}', 'int', {column}, '{filter}', {negate})"
        );
        assert_eq!(bench.value(&sql).await, visible, "{sql}");
    }
    assert_eq!(
        bench.value(r"select realtime.wal2json_escape_identifier('a.b \c')").await,
        r"a\.b\ \\c"
    );
    assert_eq!(bench.value("select realtime.quote_wal2json('public.todos')").await, "public.todos");
    assert_eq!(bench.value(r"select realtime.cast('\x01', 'bytea')").await, r"\x01");
    bench.stop().await;
}

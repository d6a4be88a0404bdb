//! Tables, publications and keys that change while somebody listens.

use std::time::Duration;

use rowcast::postgres_changes::Config;
use serde_json::{Value, json};

use super::{Bench, filtered, parsed, todos};
use crate::support::eventually;

/// What the frames say in short: rows as `type record old_record`, messages as `status text`.
fn told(frames: &[Value]) -> Vec<String> {
    let one = |frame: &Value| {
        let (event, payload) = (&frame[3], &frame[4]);
        if event == "system" {
            let text = payload["message"].as_str().unwrap();
            return format!("{}: {text}", payload["status"].as_str().unwrap());
        }
        let data = &payload["data"];
        let part = |name: &str| {
            data.get(name)
                .map_or_else(String::new, |row| format!(" {}", row.to_string().replace('"', "")))
        };
        let errors = &data["errors"];
        let errors = if errors.is_null() { String::new() } else { format!(" {errors}") };
        let table = data["table"].as_str().unwrap();
        format!(
            "{table} {}{}{}{errors}",
            data["type"].as_str().unwrap(),
            part("record"),
            part("old_record")
        )
    };
    frames.iter().map(one).collect()
}

fn table(name: &str) -> Value {
    json!({"event": "*", "schema": "public", "table": name})
}

const GONE: &str = "error: Changes of public.todos are no longer delivered: the table is gone or not published any more";
const CHANGED: &str = "error: Changes of public.todos are no longer delivered: its columns, privileges or row security changed. Please subscribe again";

/// Looks at the publication several times a second.
fn watchful() -> Config {
    Config { publication_check: Duration::from_millis(200), ..Config::default() }
}

#[tokio::test]
async fn columns_come_go_and_change_within_and_between_transactions() {
    let bench = Bench::start("").await;
    let room = bench.subscribe(&[todos("*")], "anon").await.unwrap();
    let filtered = bench.subscribe(&[filtered("note=eq.x")], "anon").await.unwrap();
    for sql in [
        "alter table todos drop column n; insert into todos values (1, 'a', 'x')",
        "begin; alter table todos add done boolean default true; insert into todos values (2, 'b', 'x');
         alter table todos rename title to name; insert into todos values (3, 'c', 'x', false); commit",
        "begin; alter table todos alter id type bigint; insert into todos values (4); rollback",
        "alter table todos alter id type bigint; insert into todos values (5000000000)",
        "alter table todos drop column note; insert into todos values (6)",
    ] {
        bench.sql(sql).await;
    }
    assert_eq!(
        told(&room.frames(5).await),
        [
            "todos INSERT {id:1,title:a,note:x}",
            "todos INSERT {id:2,name:b,note:x,done:true}",
            "todos INSERT {id:3,name:c,note:x,done:false}",
            "todos INSERT {id:5000000000,name:null,note:null,done:true}",
            "todos INSERT {id:6,name:null,done:true}",
        ]
    );
    let frames = told(&filtered.frames(4).await);
    assert_eq!((frames.len(), &*frames[3]), (4, CHANGED));
    bench.end().await;
}

#[tokio::test]
async fn a_table_or_schema_is_what_it_is_called_now() {
    let bench = Bench::start("create schema s; grant usage on schema s to anon").await;
    let room = bench.subscribe(&[todos("*")], "anon").await.unwrap();
    let all = bench.subscribe(&[json!({"schema": "*"})], "anon").await.unwrap();
    for sql in [
        "insert into todos values (1)",
        "alter table todos rename to tasks; insert into tasks values (2)",
        "alter table tasks set schema s; insert into s.tasks values (3)",
        "alter schema s rename to t; insert into t.tasks values (4)",
        "alter table t.tasks set schema public; alter table tasks rename to todos; insert into todos values (5)",
    ] {
        bench.sql(sql).await;
    }
    let ids: Vec<_> =
        all.frames(5).await.iter().map(|f| f[4]["data"]["record"]["id"].clone()).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5]);
    let frames = told(&room.frames(4).await);
    let row = |id| format!("todos INSERT {{id:{id},title:null,n:null,note:null}}");
    assert_eq!(
        frames,
        [row(1), GONE.to_owned(), "ok: Subscribed to PostgreSQL".to_owned(), row(5)]
    );
    bench.end().await;
}

#[tokio::test]
async fn a_table_made_anew_is_followed() {
    let bench = Bench::with(watchful(), "").await;
    let room = bench.subscribe(&[todos("*")], "anon").await.unwrap();
    bench.sql("insert into todos values (1); drop table todos").await;
    let mut frames = room.frames(2).await;
    bench
        .sql(
            "create table todos (id int primary key, title text); grant select on todos to anon;
              insert into todos values (2); alter publication supabase_realtime add table todos;
              insert into todos values (3, 'new')",
        )
        .await;
    frames.extend(room.frames(2).await);
    assert_eq!(
        told(&frames),
        [
            "todos INSERT {id:1,title:null,n:null,note:null}",
            GONE,
            "ok: Subscribed to PostgreSQL",
            "todos INSERT {id:3,title:new}",
        ]
    );
    bench.end().await;
}

#[tokio::test]
async fn publications_come_and_go() {
    let bench = Bench::with(
        watchful(),
        "create table other (id int primary key); grant select on other to anon",
    )
    .await;
    let room = bench.subscribe(&[todos("*")], "anon").await.unwrap();
    let all = bench.subscribe(&[json!({"schema": "public"})], "anon").await.unwrap();
    assert!(bench.refused(table("other"), "anon").await.contains("Realtime is enabled"));
    bench
        .sql("alter publication supabase_realtime add table other; insert into other values (1)")
        .await;
    assert_eq!(told(&all.frames(1).await), ["other INSERT {id:1}"]);
    assert!(bench.subscribe(&[table("other")], "anon").await.is_ok());
    bench.sql("alter publication supabase_realtime drop table todos").await;
    assert_eq!(told(&room.frames(1).await), [GONE]);
    bench.sql("drop publication supabase_realtime; insert into todos values (2)").await;
    bench
        .sql("create publication supabase_realtime for table todos; insert into todos values (3, 'x')")
        .await;
    let row = "todos INSERT {id:3,title:x,n:null,note:null}";
    assert_eq!(told(&room.frames(2).await), ["ok: Subscribed to PostgreSQL", row]);
    assert_eq!(told(&all.frames(1).await), [row]);
    bench.end().await;
}

#[tokio::test]
async fn lists_and_row_filters_of_a_publication_hold() {
    let bench = Bench::start(
        "create publication narrow for table todos (id, title) where (id > 10);
         drop publication supabase_realtime; alter publication narrow rename to supabase_realtime",
    )
    .await;
    let room = bench.subscribe(&[todos("*")], "anon").await.unwrap();
    let on_note = bench.subscribe(&[filtered("note=eq.x")], "anon").await;
    bench.sql("insert into todos values (1, 'low', 1, 'x'), (11, 'high', 1, 'x')").await;
    bench.sql("update todos set id = 12 where id = 1; update todos set id = 2 where id = 11").await;
    assert_eq!(
        told(&room.frames(3).await),
        [
            "todos INSERT {id:11,title:high}",
            "todos INSERT {id:12,title:low}",
            "todos DELETE {id:11}",
        ]
    );
    // A column that is not published is not there to filter by.
    assert!(on_note.is_err());
    bench.end().await;
}

#[tokio::test]
async fn identities_and_keys_change() {
    let bench = Bench::start("").await;
    let room = bench.subscribe(&[todos("*")], "anon").await.unwrap();
    for sql in [
        "insert into todos values (1, 'a', 1, 'x')",
        "update todos set note = 'y'",
        "alter table todos replica identity full; update todos set note = 'z'",
        "alter table todos alter title set not null; create unique index by_title on todos (title);
         alter table todos replica identity using index by_title; update todos set title = 'b'",
        "alter table todos replica identity nothing; insert into todos values (2, 'c')",
        "alter table todos replica identity default; update todos set id = 3 where id = 2",
        "alter table todos drop constraint todos_pkey; insert into todos values (4, 'd')",
        "alter table todos add primary key (id, title); update todos set title = 'e' where id = 4",
        "truncate todos; insert into todos values (5, 'f')",
        "delete from todos",
    ] {
        bench.sql(sql).await;
    }
    assert_eq!(
        told(&room.frames(10).await),
        [
            "todos INSERT {id:1,title:a,n:1,note:x}",
            "todos UPDATE {id:1,title:a,n:1,note:y} {id:1}",
            "todos UPDATE {id:1,title:a,n:1,note:z} {id:1,title:a,n:1,note:y}",
            "todos UPDATE {id:1,title:b,n:1,note:z} {title:a}",
            "todos INSERT {id:2,title:c,n:null,note:null}",
            "todos UPDATE {id:3,title:c,n:null,note:null} {id:2}",
            "todos INSERT {} [\"Error 400: Bad Request, no primary key\"]",
            "todos UPDATE {id:4,title:e,n:null,note:null} {id:4,title:d}",
            "todos INSERT {id:5,title:f,n:null,note:null}",
            "todos DELETE {id:5,title:f}",
        ]
    );
    bench.end().await;
}

#[tokio::test]
async fn partitions_are_leaves_or_their_root_as_the_publication_says() {
    let bench = Bench::start(
        "create table root (id int primary key, note text) partition by range (id);
         create table low partition of root for values from (0) to (10);
         grant select on root, low to anon; alter publication supabase_realtime add table root;",
    )
    .await;
    let leaf = bench.subscribe(&[table("low")], "anon").await.unwrap();
    bench.sql("insert into root values (1, 'leaf')").await;
    assert_eq!(told(&leaf.frames(1).await), ["low INSERT {id:1,note:leaf}"]);
    bench.sql("alter publication supabase_realtime set (publish_via_partition_root = true)").await;
    let root = bench.subscribe(&[table("root")], "anon").await.unwrap();
    assert!(bench.refused(table("low"), "anon").await.contains("Realtime is enabled"));
    bench
        .sql("create table high partition of root for values from (10) to (20); insert into root values (2, 'x');
              update root set id = 12 where id = 2; alter table root detach partition low; delete from root")
        .await;
    let frames = told(&root.frames(4).await);
    assert_eq!(
        frames,
        [
            "root INSERT {id:2,note:x}",
            "root DELETE {id:2}",
            "root INSERT {id:12,note:x}",
            "root DELETE {id:12}",
        ]
    );
    bench.end().await;
}

#[tokio::test]
async fn nothing_of_an_aborted_transaction_is_sent_and_order_is_commit_order() {
    let bench = Bench::start("").await;
    let room = bench.subscribe(&[todos("INSERT")], "anon").await.unwrap();
    bench.sql("begin; insert into todos values (1); savepoint a; insert into todos values (2); rollback to a; insert into todos values (3); commit").await;
    bench.sql("begin; alter table todos add x int; insert into todos values (4); rollback; insert into todos values (5, 'end')").await;
    assert_eq!(room.until_end().await, ["INSERT 1", "INSERT 3"]);
    bench.end().await;
}

#[tokio::test]
async fn a_filter_follows_its_column_to_a_new_type() {
    let bench = Bench::start("").await;
    let by_id = bench.subscribe(&[filtered("id=eq.7")], "anon").await.unwrap();
    bench.sql("insert into todos values (7)").await;
    bench.sql("alter table todos alter id type numeric; insert into todos values (7.5), (8)").await;
    bench
        .sql("alter table todos alter id type text using '7'; insert into todos values ('end')")
        .await;
    let mut frames = Vec::new();
    eventually("a message", async || {
        by_id.outbox.drain(&mut frames);
        frames.iter().any(|frame| parsed(frame)[3] == "system").then_some(())
    })
    .await;
    assert_eq!(frames.len(), 2);
    bench.end().await;
}

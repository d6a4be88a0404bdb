//! Tables, publications and keys that change while somebody listens.

use std::time::Duration;

use rowcast::postgres_changes::Config;
use serde_json::{Value, json};

use super::{Bench, filtered, parsed, todos};
use crate::support::{eventually, postgres::major};

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
const CHANGED: &str = "error: Changes of public.todos are no longer delivered: its columns or privileges changed. Please subscribe again";

/// Looks at the publication several times a second.
fn watchful() -> Config {
    Config { publication_check: Duration::from_millis(200), ..Config::default() }
}

#[tokio::test]
async fn a_generated_value_that_cannot_be_computed_costs_no_other() {
    let bench = Bench::start(
        "create function tenfold(n int) returns int language plpgsql immutable as
           $$ begin if n = 2 and current_setting('app.calm', true) is distinct from 'on'
              then raise exception 'no twos'; end if; return n * 10; end $$;
         create table made (id int primary key, title text,
           ten int generated always as (tenfold(id)) stored,
           more int generated always as (id + 1) stored);
         grant select on made to anon; alter publication supabase_realtime add table made;",
    )
    .await;
    let item = json!({ "event": "*", "schema": "public", "table": "made" });
    let room = bench.subscribe(&[item], "anon").await.unwrap();
    bench.sql("set app.calm = 'on'; insert into made values (1), (2), (3)").await;
    let frames = room.frames(3).await;
    let records: Vec<_> = frames.iter().map(|frame| &frame[4]["data"]["record"]).collect();
    assert_eq!((&records[0]["ten"], &records[0]["more"]), (&json!(10), &json!(2)));
    assert_eq!((records[1].get("ten"), &records[1]["more"]), (None, &json!(3)));
    assert_eq!((&records[2]["ten"], &records[2]["more"]), (&json!(30), &json!(4)));
    bench.end().await;
}

#[tokio::test]
async fn columns_come_go_and_change_within_and_between_transactions() {
    let bench = Bench::start("").await;
    let room = bench.subscribe(&[todos("*")], "anon").await.unwrap();
    let filtered = bench.subscribe(&[filtered("note=eq.x")], "anon").await.unwrap();
    // The catalog is read when a row arrives: what it had before a later
    // rename in the same transaction has no name that can be looked up.
    for (sql, expected) in [
        (
            "alter table todos drop column n; insert into todos values (1, 'a', 'x')",
            vec!["todos INSERT {id:1,note:x,title:a}"],
        ),
        (
            "begin; alter table todos add done boolean default true; insert into todos values (2, 'b', 'x');
             alter table todos rename title to name; insert into todos values (3, 'c', 'x', false); commit",
            vec!["todos INSERT {done:true,id:2,note:x}", "todos INSERT {done:false,id:3,name:c,note:x}"],
        ),
        (
            "begin; alter table todos alter id type bigint; insert into todos values (4); rollback;
             alter table todos alter id type bigint; insert into todos values (5000000000)",
            vec!["todos INSERT {done:true,id:5000000000,name:null,note:null}"],
        ),
        (
            "alter table todos drop column note; insert into todos values (6)",
            vec!["todos INSERT {done:true,id:6,name:null}"],
        ),
    ] {
        bench.sql(sql).await;
        assert_eq!(told(&room.frames(expected.len()).await), expected);
    }
    let frames = told(&filtered.frames(4).await);
    assert_eq!((frames.len(), &*frames[3]), (4, CHANGED));
    bench.end().await;
}

#[tokio::test]
async fn a_table_or_schema_is_what_it_is_called_now() {
    let bench = Bench::start("create schema s; grant usage on schema s to anon").await;
    let room = bench.subscribe(&[todos("*")], "anon").await.unwrap();
    let all = bench.subscribe(&[json!({"schema": "*"})], "anon").await.unwrap();
    for (sql, id) in [
        ("insert into todos values (1)", 1),
        ("alter table todos rename to tasks; insert into tasks values (2)", 2),
        ("alter table tasks set schema s; insert into s.tasks values (3)", 3),
        ("alter schema s rename to t; insert into t.tasks values (4)", 4),
        (
            "alter table t.tasks set schema public; alter table tasks rename to todos; insert into todos values (5)",
            5,
        ),
    ] {
        bench.sql(sql).await;
        assert_eq!(all.frames(1).await[0][4]["data"]["record"]["id"], id);
    }
    let frames = told(&room.frames(4).await);
    let row = |id| format!("todos INSERT {{id:{id},n:null,note:null,title:null}}");
    assert_eq!(
        frames,
        [row(1), GONE.to_owned(), "ok: Subscribed to PostgreSQL".to_owned(), row(5)]
    );
    bench.end().await;
}

#[tokio::test]
async fn a_table_made_anew_is_followed() {
    let bench = Bench::configured(watchful(), "").await;
    let room = bench.subscribe(&[todos("*")], "anon").await.unwrap();
    bench.sql("insert into todos values (1)").await;
    let mut frames = room.frames(1).await;
    bench.sql("drop table todos").await;
    frames.extend(room.frames(1).await);
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
            "todos INSERT {id:1,n:null,note:null,title:null}",
            GONE,
            "ok: Subscribed to PostgreSQL",
            "todos INSERT {id:3,title:new}",
        ]
    );
    bench.end().await;
}

#[tokio::test]
async fn publications_come_and_go() {
    let bench = Bench::configured(
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
    // The stream may have put an empty one in its place.
    bench
        .sql("drop publication if exists supabase_realtime; create publication supabase_realtime for table todos")
        .await;
    let mut id = 10;
    for channel in [&room, &all] {
        let mut frames = Vec::new();
        eventually("a row", async || {
            id += 1;
            bench.sql(&format!("insert into todos values ({id})")).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            channel.outbox.drain(&mut frames);
            frames.iter().any(|frame| parsed(frame)[4]["data"]["type"] == "INSERT").then_some(())
        })
        .await;
    }
    bench.end().await;
}

#[tokio::test]
async fn lists_and_row_filters_of_a_publication_hold() {
    if major() < 15 {
        return;
    }
    let bench = Bench::start(
        "create publication narrow for table todos (id, title) where (id > 10);
         drop publication supabase_realtime; alter publication narrow rename to supabase_realtime",
    )
    .await;
    let room = bench.subscribe(&[todos("*")], "anon").await.unwrap();
    // A column that is not published is not there to filter by.
    let told_note = bench.refused(filtered("note=eq.x"), "anon").await;
    assert!(told_note.ends_with("invalid column for filter note"), "{told_note}");
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
    bench.end().await;
}

#[tokio::test]
async fn identities_and_keys_change() {
    let bench = Bench::start("").await;
    let room = bench.subscribe(&[todos("*")], "anon").await.unwrap();
    for (sql, expected) in [
        ("insert into todos values (1, 'a', 1, 'x')", "INSERT {id:1,n:1,note:x,title:a}"),
        ("update todos set note = 'y'", "UPDATE {id:1,n:1,note:y,title:a} {id:1}"),
        (
            "alter table todos replica identity full; update todos set note = 'z'",
            "UPDATE {id:1,n:1,note:z,title:a} {id:1,n:1,note:y,title:a}",
        ),
        (
            "alter table todos alter title set not null; create unique index by_title on todos (title);
             alter table todos replica identity using index by_title; update todos set title = 'b'",
            "UPDATE {id:1,n:1,note:z,title:b} {title:a}",
        ),
        (
            "alter table todos replica identity nothing; insert into todos values (2, 'c')",
            "INSERT {id:2,n:null,note:null,title:c}",
        ),
        (
            "alter table todos replica identity default; update todos set id = 3 where id = 2",
            "UPDATE {id:3,n:null,note:null,title:c} {id:2}",
        ),
        (
            "alter table todos drop constraint todos_pkey; insert into todos values (4, 'd')",
            "INSERT {} [\"Error 400: Bad Request, no primary key\"]",
        ),
        (
            "alter table todos add primary key (id, title); update todos set title = 'e' where id = 4",
            "UPDATE {id:4,n:null,note:null,title:e} {id:4,title:d}",
        ),
        ("truncate todos; insert into todos values (5, 'f')", "INSERT {id:5,n:null,note:null,title:f}"),
        ("delete from todos", "DELETE {id:5,title:f}"),
    ] {
        bench.sql(sql).await;
        assert_eq!(told(&room.frames(1).await), [format!("todos {expected}")]);
    }
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
async fn a_filter_follows_its_column_to_a_new_type_where_its_value_can() {
    let bench = Bench::start("").await;
    let by_id = bench.subscribe(&[filtered("id=eq.7")], "anon").await.unwrap();
    for (sql, expected) in [
        ("insert into todos values (7), (8)", "todos INSERT {id:7,n:null,note:null,title:null}"),
        (
            "truncate todos; alter table todos alter id type numeric; insert into todos values (7.5), (7.0)",
            "todos INSERT {id:7.0,n:null,note:null,title:null}",
        ),
        (
            "truncate todos; alter table todos alter id type text; insert into todos values ('7.0'), ('7')",
            "todos INSERT {id:7,n:null,note:null,title:null}",
        ),
        (
            "truncate todos; alter table todos alter id type date using null; insert into todos values ('2024-01-07')",
            CHANGED,
        ),
    ] {
        bench.sql(sql).await;
        assert_eq!(told(&by_id.frames(1).await), [expected]);
    }
    bench.end().await;
}

#[tokio::test]
async fn generated_columns_are_computed_and_can_be_filtered_by() {
    let bench = Bench::start(
        "create table lines (id int primary key, price numeric(8,2), \"how many\" int, note text,
           total numeric generated always as (price * \"how many\") stored,
           loud text generated always as (upper(note)) stored);
         alter table lines alter note set storage external;
         grant select on lines to anon; alter publication supabase_realtime add table lines;",
    )
    .await;
    let all = bench.subscribe(&[table("lines")], "anon").await.unwrap();
    let dear = json!({"schema": "public", "table": "lines", "filter": "total=gt.10"});
    let dear = bench.subscribe(&[dear], "anon").await.unwrap();
    bench
        .sql("insert into lines values (1, 2.5, 2, 'a'), (2, 5, 5, null); update lines set price = 7 where id = 1")
        .await;
    assert_eq!(
        told(&all.frames(3).await),
        [
            "lines INSERT {how many:2,id:1,loud:A,note:a,price:2.5,total:5.0}",
            "lines INSERT {how many:5,id:2,loud:null,note:null,price:5.0,total:25.0}",
            "lines UPDATE {how many:2,id:1,loud:A,note:a,price:7.0,total:14.0} {id:1}",
        ]
    );
    let frames = dear.frames(2).await;
    assert_eq!((frames.len(), &frames[0][4]["data"]["columns"][4]["name"]), (2, &json!("total")));
    // A large value that did not change is not in the log, nor what is made of it.
    bench.sql("insert into lines values (3, 1, 1, repeat('x', 9000))").await;
    all.frames(1).await;
    bench.sql("update lines set price = 2 where id = 3").await;
    let frames = told(&all.frames(1).await);
    assert_eq!(frames, ["lines UPDATE {how many:1,id:3,price:2.0,total:2.0} {id:3}"]);
    // From 18 on such columns of an identity must be published.
    if major() >= 18 {
        bench
            .sql("alter publication supabase_realtime set (publish_generated_columns = stored)")
            .await;
    }
    bench
        .sql("alter table lines replica identity full; update lines set price = 3 where id = 1")
        .await;
    let frames = all.frames(1).await;
    assert_eq!(frames[0][4]["data"]["old_record"]["total"], 14.0);
    assert_eq!(frames[0][4]["data"]["old_record"]["loud"], "A");
    bench.end().await;
}

#[tokio::test]
async fn a_commit_that_is_not_visible_yet_is_waited_for() {
    let bench = Bench::start("").await;
    let all = bench.subscribe(&[json!({"schema": "public"})], "anon").await.unwrap();
    let writer = bench.server.client().await;
    // Such a commit is in the log, but waits for a standby before others see it.
    bench.sql("alter system set synchronous_standby_names = 'nobody'").await;
    bench.sql("select pg_reload_conf()").await;
    let waiting = async || {
        let sql = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'";
        bench.client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0)
    };
    // The setting counts once a process of the server's own has read it.
    let mut probe: Option<tokio::task::JoinHandle<_>> = None;
    eventually("commits wait", async || {
        if waiting().await > 0 {
            return Some(());
        }
        if probe.as_ref().is_none_or(tokio::task::JoinHandle::is_finished) {
            let client = bench.server.client().await;
            probe = Some(rowcast::runtime::spawn("probe", async move {
                client.batch_execute("select pg_logical_emit_message(true, 'probe', '')").await
            }));
        }
        None
    })
    .await;
    let write = rowcast::runtime::spawn("writer", async move {
        writer
            .batch_execute(
                "create table late (id int primary key); grant select on late to anon;
                 alter publication supabase_realtime add table late; insert into late values (1)",
            )
            .await
    });
    eventually("the write waits", async || (waiting().await > 1).then_some(())).await;
    assert!(!write.is_finished());
    bench.sql("alter system reset synchronous_standby_names").await;
    bench.sql("select pg_reload_conf()").await;
    write.await.unwrap().unwrap();
    assert_eq!(told(&all.frames(1).await), ["late INSERT {id:1}"]);
    bench.end().await;
}

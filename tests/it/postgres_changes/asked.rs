//! Filters that only PostgreSQL can judge.

use rowcast::hub::outbox::Item;
use serde_json::{Value, json};

use super::{Bench, filtered, parsed};
use crate::support::{eventually, postgres::major};

fn of(table: &str, filter: &str) -> Value {
    json!({"event": "*", "schema": "public", "table": table, "filter": filter})
}

fn id(item: &Item) -> Option<i64> {
    parsed(item)[4]["data"]["record"]["id"].as_i64()
}

#[tokio::test]
async fn what_only_postgresql_can_compare_it_compares() {
    let bench = Bench::start(
        "create collation german (provider = icu, locale = 'de-DE');
         create collation numbered (provider = icu, locale = 'en-u-kn');
         create collation nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         create type mood as enum ('sad', 'ok'); create type spot as (x int, y int);
         create table odd (id int primary key, title text, j jsonb, i interval, g text collate german,
           n text collate numbered, c text collate nocase, b box, m mood, s spot, r int4range, a numeric[], cash money);
         grant select on odd to anon; alter publication supabase_realtime add table odd;",
    )
    .await;
    let cases = [
        (r#"j=eq.{"a": 1}"#, vec![1]),
        (r#"j=neq."{\"a\":1.0}""#, vec![2]),
        (r#"j=in.("{\"b\": [2]}","{}")"#, vec![2]),
        (r#"j=isdistinct.{"a":1}"#, vec![2, 3]),
        ("i=eq.24:00:00", vec![1]),
        ("i=gt.1 day", vec![2]),
        ("i=not.gt.1 day", vec![1]),
        ("g=lt.z", vec![1, 2]),
        ("g=gt.ä", vec![2]),
        ("n=lt.item 10", vec![1]),
        ("c=eq.HELLO", vec![1]),
        ("c=not.in.(HELLO,x)", vec![2]),
        ("b=eq.\"(2,2),(0,0)\"", vec![1]),
        ("m=gt.sad", vec![2]),
        ("m=lte.sad", vec![1]),
        ("s=lt.(1,9)", vec![1]),
        ("r=gt.\"[1,3)\"", vec![2]),
        ("a=eq.{1.0}", vec![1]),
        ("cash=gte.2", vec![2]),
        ("g=ilike.Ä", vec![1]),
        ("g=imatch.^Ä", vec![1]),
        (r"title=match.^\w+ \d$", vec![2]),
        ("id=gt.1,i=gt.1 hour,m=eq.ok", vec![2]),
    ];
    let mut rooms = Vec::new();
    for (filter, expected) in cases {
        let room = bench.subscribe(&[of("odd", filter), of("odd", "id=eq.100")], "anon").await;
        rooms.push((filter, room.unwrap(), expected));
    }
    bench
        .sql(
            r#"insert into odd values
          (1, 'été', '{"a": 1}', '1 day', 'ä', 'item 9', 'hello', '(1,1),(-1,-1)', 'sad', '(1,2)', '[1,3)', '{1.00}', 1),
          (2, 'word 1', '{"b":[2]}', '25 hours', 'b', 'item 11', 'other', '(9,9),(0,0)', 'ok', '(2,0)', '[1,4)', '{2}', 2);
          insert into odd (id) values (3), (100)"#,
        )
        .await;
    for (filter, room, expected) in rooms {
        let mut frames = Vec::new();
        eventually("the last row", async || {
            room.outbox.drain(&mut frames);
            (frames.last().and_then(id) == Some(100)).then_some(())
        })
        .await;
        let ids: Vec<_> = frames.iter().filter_map(id).filter(|id| *id != 100).collect();
        assert_eq!(ids, expected, "{filter}");
    }
    bench.end().await;
}

#[tokio::test]
async fn a_new_label_is_compared_too() {
    let bench = Bench::start(
        "create type level as enum ('low', 'high');
         create table levels (id int primary key, title text, l level); grant select on levels to anon;
         alter publication supabase_realtime add table levels;",
    )
    .await;
    let room = bench.subscribe(&[of("levels", "l=gt.low")], "anon").await.unwrap();
    bench.sql("insert into levels values (1, '', 'low'), (2, '', 'high')").await;
    bench.sql("alter type level add value 'mid' before 'high'").await;
    bench.sql("alter type level add value 'none' before 'low'").await;
    bench
        .sql("insert into levels values (3, '', 'mid'), (4, '', 'none'), (5, 'end', 'high')")
        .await;
    assert_eq!(room.until_end().await, ["INSERT 2", "INSERT 3"]);
    bench.end().await;
}

#[tokio::test]
async fn what_postgresql_cannot_compare_is_told_at_the_join() {
    let bench = Bench::start(
        "create collation nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         create table odd (id int primary key, p point, x xml, j json, c text collate nocase); grant select on odd to anon;
         alter publication supabase_realtime add table odd;",
    )
    .await;
    for (filter, operator) in [
        ("p=lt.\"(1,2)\"", "point pg_catalog.< point"),
        ("x=neq.<a/>", "xml pg_catalog.<> xml"),
        ("j=in.(\"{}\")", "json pg_catalog.= json"),
    ] {
        let told = bench.refused(of("odd", filter), "anon").await;
        let words = format!("42883 (undefined_function) operator does not exist: {operator}");
        assert!(told.ends_with(&words), "{told}");
    }
    let told = bench.refused(filtered(r"title=like.a\"), "anon").await;
    assert!(told.ends_with("LIKE pattern must not end with escape character"), "{told}");
    let like = of("odd", "c=like.a%");
    if major() < 18 {
        let told = bench.refused(like, "anon").await;
        assert!(told.ends_with("nondeterministic collations are not supported for LIKE"), "{told}");
    } else {
        let room = bench.subscribe(&[like], "anon").await.unwrap();
        bench.sql("insert into odd (id, c) values (1, 'b'), (2, 'Ab')").await;
        assert_eq!(room.frames(1).await[0][4]["data"]["record"]["id"], 2);
    }
    // These need no operator of the type.
    assert!(bench.subscribe(&[of("odd", "p=is.null,x=not.is.null")], "anon").await.is_ok());
    bench.end().await;
}

#[tokio::test]
async fn a_filter_that_cannot_be_evaluated_costs_nobody_else_a_row() {
    let bench = Bench::start(
        "create schema odd; create type odd.thing;
         create function odd.thing_in(cstring) returns odd.thing language internal immutable strict as 'int4in';
         create function odd.thing_out(odd.thing) returns cstring language internal immutable strict as 'int4out';
         create type odd.thing (input = odd.thing_in, output = odd.thing_out, like = int4);
         create cast (odd.thing as int4) without function;
         create function odd.same(a odd.thing, b odd.thing) returns boolean language plpgsql as
           $$ begin if a::int4 = 2 then raise exception 'no twos'; end if; return a::int4 = b::int4; end $$;
         create operator odd.= (leftarg = odd.thing, rightarg = odd.thing, function = odd.same);
         create collation german (provider = icu, locale = 'de-DE');
         create table things (id int primary key, title text collate german, t odd.thing); grant select on things to anon;
         grant usage on schema odd to anon; alter publication supabase_realtime add table things;",
    )
    .await;
    let mut rooms = Vec::new();
    bench.sql("create role exempt nologin bypassrls; grant usage on schema odd to exempt; grant select on things to exempt").await;
    for filter in ["t=eq.1", "title=ilike.É%", "title=eq.end"] {
        rooms.push(bench.subscribe(&[of("things", filter)], "anon").await.unwrap());
    }
    bench.sql("insert into things values (1, 'É', '1')").await;
    bench
        .sql("insert into things values (2, 'éa', '2'), (3, 'éb', '1'); insert into things values (4, 'end', '1')")
        .await;
    // Rows beside the one that fails still come; the message may come before them.
    let told = rooms[0].frames(2).await;
    let (messages, rows): (Vec<_>, Vec<_>) = told.iter().partition(|frame| frame[3] == "system");
    assert_eq!((messages.len(), &messages[0][4]["status"]), (1, &json!("error")));
    let message = messages[0][4]["message"].as_str().unwrap();
    assert!(message.ends_with("ERROR P0001 (raise_exception)"), "no words about a row: {message}");
    assert_eq!(rows[0][4]["data"]["record"]["id"], 1);
    let others = rooms[1].frames(3).await;
    let ids: Vec<_> = others.iter().map(|f| &f[4]["data"]["record"]["id"]).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(rooms[2].frames(1).await[0][4]["data"]["record"]["id"], 4);
    // Who subscribes later is told too, but only of rows that no policy hides.
    bench
        .sql(
            "alter table things enable row level security;
              create policy p on things for select to anon using (id <> 5)",
        )
        .await;
    let hidden = bench.subscribe(&[of("things", "t=eq.1")], "anon").await.unwrap();
    let seen = bench.subscribe(&[of("things", "t=eq.1")], "exempt").await.unwrap();
    bench.sql("insert into things values (5, '', '2')").await;
    assert_eq!(seen.frames(1).await[0][3], "system");
    bench.sql("insert into things values (6, 'end', '1')").await;
    assert_eq!(rooms[2].frames(1).await[0][4]["data"]["record"]["id"], 6);
    let mut frames = Vec::new();
    hidden.outbox.drain(&mut frames);
    assert!(frames.is_empty(), "whether there is such a row is not for it to know");
    bench.end().await;
}

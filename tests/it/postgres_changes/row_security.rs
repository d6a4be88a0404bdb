//! Row security, judged on the rows in the log.

use serde_json::{Value, json};

use super::{Bench, Channel, filtered, todos};
use rowcast::postgres_changes::DeleteVisibility;

/// Helpers as Supabase has them, and a table whose rows have owners.
const OWNED: &str = "
    create schema auth; grant usage on schema auth to public;
    create function auth.uid() returns text language sql stable as
      $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub' $$;
    create function auth.jwt() returns jsonb language sql stable as
      $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $$;
    alter table todos add owner text; alter table todos enable row level security;";

const OWN: &str =
    "create policy own on todos for select to authenticated using (owner = auth.uid());";

async fn start(sql: &str) -> Bench {
    Bench::start(&format!("{OWNED} {sql}")).await
}

async fn user(bench: &Bench, name: &str) -> Channel {
    bench.user(&todos("*"), "authenticated", &json!({"sub": name}), None).await
}

/// Runs a script that makes one row, and waits until that was dealt with.
async fn step(bench: &Bench, watch: &Channel, sql: &str) {
    bench.sql(sql).await;
    assert_eq!(watch.frames(1).await.len(), 1);
}

/// What a channel gets until the row with the title `end`.
async fn gets(channel: &Channel, expected: &[&str]) {
    assert_eq!(channel.until_end().await, expected);
}

#[tokio::test]
async fn users_get_the_rows_that_policies_let_them_see() {
    let bench = start(&format!(
        "{OWN} create policy public_too on todos for select using (title = 'for all');
         create policy writing on todos for insert to authenticated with check (true);
         create policy others on todos for select to anon using (true)"
    ))
    .await;
    let (ann, bob) = (user(&bench, "ann").await, user(&bench, "bob").await);
    let ann_too = user(&bench, "ann").await;
    let (service, anon) = (
        bench.subscribe(&[todos("*")], "service_role").await.unwrap(),
        bench.subscribe(&[todos("*")], "anon").await.unwrap(),
    );
    let filtered =
        bench.user(&filtered("id=eq.2"), "authenticated", &json!({"sub": "bob"}), None).await;
    bench.sql("insert into todos (id, owner) values (1, 'ann'), (2, 'bob'), (3, null)").await;
    bench.sql("insert into todos (id, title) values (4, 'for all')").await;
    bench.sql("update todos set note = 'n' where id <= 2; update todos set owner = 'bob' where id = 1; insert into todos (id, title, owner) values (5, 'end', 'ann'), (6, 'end', 'bob')").await;
    let ann_gets = ["INSERT 1", "INSERT 4", "UPDATE 1"];
    gets(&ann, &ann_gets).await;
    gets(&ann_too, &ann_gets).await;
    gets(&bob, &["INSERT 2", "INSERT 4", "UPDATE 2", "UPDATE 1"]).await;
    let all = ["INSERT 1", "INSERT 2", "INSERT 3", "INSERT 4", "UPDATE 1", "UPDATE 2", "UPDATE 1"];
    gets(&service, &all).await;
    gets(&anon, &all).await;
    assert_eq!(filtered.frames(2).await.len(), 2);
    bench.end().await;
}

/// Finding: the original asks for the row as it is when it looks.
#[tokio::test]
async fn the_row_as_it_was_committed_decides() {
    let bench = start(OWN).await;
    let (ann, bob) = (user(&bench, "ann").await, user(&bench, "bob").await);
    bench
        .sql(
            "begin; insert into todos (id, title, owner) values (1, 'secret', 'ann');
             update todos set owner = 'bob', title = 'given';
             insert into todos (id, owner) values (2, 'ann'); delete from todos where id = 2; commit",
        )
        .await;
    bench
        .sql("insert into todos (id, title, owner) values (8, 'end', 'ann'), (9, 'end', 'bob')")
        .await;
    gets(&ann, &["INSERT 1", "INSERT 2", "DELETE 2"]).await;
    let frames = bob.frames(3).await;
    assert_eq!(frames[0][4]["data"]["type"], "UPDATE");
    assert_eq!(frames[0][4]["data"]["record"]["title"], "given");
    assert!(!frames.iter().any(|frame| frame.to_string().contains("secret")));
    bench.end().await;
}

#[tokio::test]
async fn restrictive_policies_membership_and_sub_selects() {
    let bench = start(
        "create role team nologin; create role member nologin in role team inherit;
         create role outsider nologin; grant select on todos to member, outsider, team;
         create table rooms (id int, who text); grant select on rooms to member, outsider, team;
         alter table rooms enable row level security;
         create policy r on rooms to member, team, outsider using (who = auth.uid());
         create policy sub on todos for select to team
           using (exists (select from rooms where rooms.id = todos.n and rooms.who = auth.uid()));
         create policy late on todos as restrictive for select using (title <> 'hidden');
         create policy nobody on todos as restrictive for select to anon using (false);
         insert into rooms values (1, 'ann'), (2, 'bob'), (2, 'ann')",
    )
    .await;
    let ann = bench.user(&todos("INSERT"), "member", &json!({"sub": "ann"}), None).await;
    let bob = bench.user(&todos("INSERT"), "member", &json!({"sub": "bob"}), None).await;
    let out = bench.user(&todos("INSERT"), "outsider", &json!({"sub": "ann"}), None).await;
    let watch = bench.subscribe(&[todos("*")], "service_role").await.unwrap();
    bench.sql("insert into todos (id, title, n) values (1, 'a', 1), (2, 'hidden', 1), (3, 'b', 2), (4, null, 1), (5, 'c', 3)").await;
    watch.frames(5).await;
    bench.sql("insert into rooms values (3, 'bob'); insert into todos (id, title, n) values (6, 'd', 3), (7, 'end', 2)").await;
    gets(&ann, &["INSERT 1", "INSERT 3"]).await;
    gets(&bob, &["INSERT 3", "INSERT 6"]).await;
    assert_eq!(out.frames(0).await, Vec::<Value>::new());
    bench.end().await;
}

#[tokio::test]
async fn owners_are_exempt_unless_forced_and_exemptions_are_not_for_ever() {
    let bench = start(
        "create role owner nologin; alter table todos owner to owner;
         create role late nologin; grant select on todos to late",
    )
    .await;
    let owner = bench.subscribe(&[todos("*")], "owner").await.unwrap();
    let late = bench.subscribe(&[todos("*")], "late").await.unwrap();
    let service = bench.subscribe(&[todos("*")], "service_role").await.unwrap();
    bench.sql("create role watch nologin bypassrls; grant select on todos to watch").await;
    let watch = bench.subscribe(&[todos("*")], "watch").await.unwrap();
    step(&bench, &watch, "insert into todos (id) values (1)").await;
    step(
        &bench,
        &watch,
        "alter table todos force row level security; insert into todos (id) values (2)",
    )
    .await;
    // Roles change without a word in the log, and count within seconds.
    step(&bench, &watch, "alter role late bypassrls; insert into todos (id) values (3)").await;
    bench.sql("alter role service_role nobypassrls").await;
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    step(&bench, &watch, "insert into todos (id) values (4)").await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    step(&bench, &watch, "insert into todos (id) values (5)").await;
    bench.sql("alter table todos no force row level security; insert into todos (id, title) values (6, 'end')").await;
    gets(&owner, &["INSERT 1"]).await;
    gets(&late, &["INSERT 3", "INSERT 4", "INSERT 5"]).await;
    let seen: Vec<_> = service.frames(3).await;
    let seen: Vec<_> = seen.iter().map(|frame| frame[4]["data"]["record"]["id"].clone()).collect();
    assert!(seen.starts_with(&[json!(1), json!(2), json!(3)]) && seen.len() <= 4, "{seen:?}");
    assert!(!seen.contains(&json!(5)), "{seen:?}");
    bench.end().await;
}

#[tokio::test]
async fn a_policy_that_raises_or_dawdles_costs_nobody_else_a_row() {
    let bench = start(
        "create table other (id int primary key, title text); grant select on other to anon;
         alter publication supabase_realtime add table other;
         create function dawdle() returns boolean language plpgsql as
           $$ begin if auth.uid() = 'slow' then perform pg_sleep(30); end if;
              assert auth.uid() <> 'assert';
              if auth.uid() = 'breaks' then perform die(); end if; return true; end $$;
         create function die() returns boolean language sql security definer as
           $$ select pg_terminate_backend(pg_backend_pid()) $$;
         create policy p on todos for select to authenticated
           using (dawdle() and 1 / (id - 100 - coalesce((auth.jwt() ->> 'off')::int, 0)) is not null)",
    )
    .await;
    let ann = user(&bench, "ann").await;
    let off =
        bench.user(&todos("*"), "authenticated", &json!({"sub": "off", "off": 1}), None).await;
    let (slow, assert) = (user(&bench, "slow").await, user(&bench, "assert").await);
    let breaks = user(&bench, "breaks").await;
    let other = json!({"schema": "public", "table": "other"});
    let other = bench.subscribe(&[other], "anon").await.unwrap();
    bench
        .sql(
            "begin; insert into other values (1); insert into todos (id) values (99), (100), (101), (102);
             insert into other values (2, 'end'); insert into todos (id, title) values (103, 'end'); commit",
        )
        .await;
    gets(&ann, &["INSERT 99", "INSERT 101", "INSERT 102"]).await;
    gets(&off, &["INSERT 99", "INSERT 100", "INSERT 102"]).await;
    gets(&other, &["INSERT 1"]).await;
    assert!(slow.frames(0).await.is_empty() && assert.frames(0).await.is_empty());
    assert!(breaks.frames(0).await.is_empty());
    drop(breaks);
    // Who was slow is left alone for a while, so the next rows do not wait.
    let begun = tokio::time::Instant::now();
    bench.sql("insert into todos (id, title) values (104, 'end')").await;
    gets(&ann, &[]).await;
    assert!(begun.elapsed() < std::time::Duration::from_millis(900));
    bench.end().await;
}

#[tokio::test]
async fn policies_and_switches_count_from_the_first_row_after_them() {
    let bench = start("").await;
    let (ann, watch) =
        (user(&bench, "ann").await, bench.subscribe(&[todos("*")], "service_role").await.unwrap());
    for (id, sql) in [
        (1, ""),
        (2, OWN),
        (3, "alter policy own on todos using (owner = 'x')"),
        (4, "alter policy own on todos using (title is null)"),
        (5, "drop policy own on todos"),
        (6, "alter table todos disable row level security"),
        (7, "alter table todos enable row level security"),
        (8, OWN),
        (9, "revoke select on todos from authenticated"),
        (10, "grant select on todos to authenticated"),
        (11, "revoke execute on function auth.uid() from public"),
    ] {
        bench.sql(sql).await;
        let insert = format!("insert into todos (id, owner) values ({id}, 'ann')");
        step(&bench, &watch, &insert).await;
    }
    bench.sql("grant execute on function auth.uid() to public; insert into todos (id, title, owner) values (12, 'end', 'ann')").await;
    let frames = ann.frames(7).await;
    let ids: Vec<_> = frames.iter().map(|frame| &frame[4]["data"]["record"]["id"]).collect();
    // Without a privilege there is an error instead.
    assert_eq!(
        ids,
        [&json!(2), &json!(4), &json!(6), &json!(8), &Value::Null, &json!(10), &json!(12)]
    );
    bench.end().await;
}

#[tokio::test]
async fn deletes_and_old_rows_by_what_the_log_has() {
    for deletes in [DeleteVisibility::Strict, DeleteVisibility::Compatible] {
        let bench = Bench::with(&format!("{OWNED} {OWN}"), deletes).await;
        let (ann, bob) = (user(&bench, "ann").await, user(&bench, "bob").await);
        bench
            .sql("insert into todos (id, owner, title) values (1, 'ann', 'a'); delete from todos")
            .await;
        bench.sql("alter table todos replica identity full; insert into todos (id, owner, title) values (2, 'ann', 'a')").await;
        bench.sql("update todos set owner = 'bob', title = 'b'; delete from todos").await;
        bench
            .sql("insert into todos (id, title, owner) values (8, 'end', 'ann'), (9, 'end', 'bob')")
            .await;
        let strict = deletes == DeleteVisibility::Strict;
        let ann_gets = ["INSERT 1", "DELETE 1", "INSERT 2", "DELETE 2"];
        gets(&ann, &ann_gets[..if strict { 3 } else { 4 }]).await;
        let frames = bob.frames(4).await;
        let data = |at: usize| &frames[at][4]["data"];
        assert_eq!(
            (&data(0)["type"], &data(0)["old_record"]),
            (&json!("DELETE"), &json!({"id": 1}))
        );
        assert_eq!(data(1)["record"]["title"], "b");
        let old = if strict {
            json!({"id": 2})
        } else {
            json!({"id": 2, "title": "a", "n": null, "note": null, "owner": "ann"})
        };
        assert_eq!(data(1)["old_record"], old);
        assert_eq!(
            (&data(2)["type"], &data(2)["old_record"]),
            (&json!("DELETE"), &json!({"id": 2}))
        );
        bench.end().await;
    }
}

#[tokio::test]
async fn a_new_token_neither_misses_nor_doubles_a_row() {
    let bench = start(OWN).await;
    let mut room = user(&bench, "ann").await;
    let mut ids = Vec::new();
    let writer = bench.server.client().await;
    let write = rowcast::runtime::spawn("writer", async move {
        for id in 0..600 {
            let sql = format!("insert into todos (id, owner) values ({id}, 'ann')");
            writer.batch_execute(&sql).await.unwrap();
        }
    });
    let mut turn = 0;
    while !write.is_finished() {
        turn += 1;
        let claims = json!({"sub": "ann", "iat": turn});
        let next = bench.user(&todos("*"), "authenticated", &claims, Some(&room)).await;
        ids.extend(room.frames(0).await);
        room = next;
    }
    write.await.unwrap();
    ids.extend(room.frames(600 - ids.len()).await);
    let ids: Vec<_> = ids.iter().map(|f| f[4]["data"]["record"]["id"].as_i64().unwrap()).collect();
    assert!(turn > 2 && ids == (0..600).collect::<Vec<_>>(), "{turn} {ids:?}");
    bench.end().await;
}

/// Values of many types, read by a policy: they must come back as they were.
#[tokio::test]
async fn every_column_reaches_the_policy_as_it_was() {
    let bench = start(
        r#"create type mood as enum ('sad', 'ok'); create domain positive as int check (value > 0);
         create domain doc as jsonb; create type spot as (x int, label text);
         create table "Odd name" (id int primary key, gone int, "a ""b" text, m mood, ms mood[], p positive, s spot,
           ss spot[], a int[], b bytea, j json, jb jsonb, d doc, t timestamptz, i interval, c char(4), v varchar(3), q "char",
           f float8, r int4range, bits bit(3), x xml, twice int generated always as (id * 2) stored);
         alter table "Odd name" drop column gone;
         create table kept as select * from "Odd name";
         grant select on "Odd name" to authenticated; grant select on kept to authenticated;
         alter table "Odd name" enable row level security;
         create function same(given "Odd name") returns boolean language sql stable as
           $$ select exists (select from kept where kept.id = given.id
                and (to_jsonb(kept) - 'twice') = (to_jsonb(given) - 'twice') and kept.j::text = given.j::text and kept.c::text = given.c::text) $$;
         create policy whole on "Odd name" for select to authenticated using (auth.uid() = 'whole' and same("Odd name".*));
         create policy parts on "Odd name" for select to authenticated
           using (auth.uid() = 'parts' and (select (kept.j::text, kept.jb, kept.d, kept.s, kept.ss, kept.ms, kept.b, kept.i, kept.q, kept."a ""b", kept.r, kept.x::text)
              is not distinct from ("Odd name".j::text, "Odd name".jb, "Odd name".d, "Odd name".s, "Odd name".ss, "Odd name".ms, "Odd name".b, "Odd name".i, "Odd name".q, "Odd name"."a ""b", "Odd name".r, "Odd name".x::text) from kept where kept.id = "Odd name".id));
         create policy made on "Odd name" for select to authenticated using (auth.uid() = 'made' and twice > 0);
         alter publication supabase_realtime add table "Odd name""#,
    )
    .await;
    let odd = json!({"schema": "public", "table": "Odd name"});
    let parts = bench.user(&odd, "authenticated", &json!({"sub": "parts"}), None).await;
    let whole = bench.user(&odd, "authenticated", &json!({"sub": "whole"}), None).await;
    let made = bench.user(&odd, "authenticated", &json!({"sub": "made"}), None).await;
    let row = r#"(1, E'é "q" \\ \n, (1)', 'ok', '{ok,null}', 5, '(1,"a, ""b""")', array['(2,x)'::spot, null], '[0:1]={1,2}', '\x01ff', '{"b": 1,  "a": [1, 2.50]}', '{"b": 1}', '{"x": "é"}', '2024-05-06 07:08:09.123456+02', '1 year -2 days 03:04:05', 'ab', 'abc', 'z', 0.1, '[1,5)', '101', '<a>x</a>')"#;
    bench
        .sql(&format!(r#"insert into kept values {row}; insert into "Odd name" values {row}"#))
        .await;
    bench.sql(r#"insert into kept (id) values (2); insert into "Odd name" (id) values (2)"#).await;
    assert_eq!(parts.frames(2).await.len(), 2);
    // A generated column is computed over the row, so it can be judged as well.
    let ids = |frames: Vec<Value>| -> Vec<Value> {
        frames.iter().map(|frame| frame[4]["data"]["record"]["id"].clone()).collect()
    };
    assert_eq!(ids(made.frames(2).await), [json!(1), json!(2)]);
    assert_eq!(ids(whole.frames(1).await), [json!(1)]);
    bench.sql(r#"drop policy made on "Odd name"; alter table "Odd name" drop column twice; insert into "Odd name" (id) values (3)"#).await;
    let row = row.replacen("(1,", "(4,", 1);
    bench
        .sql(&format!(r#"insert into kept values {row}; insert into "Odd name" values {row}"#))
        .await;
    assert_eq!(whole.frames(1).await[0][4]["data"]["record"]["id"], 4);
    bench.end().await;
}

/// PostgreSQL resolved a policy's names when it was made.
#[tokio::test]
async fn a_role_needs_no_usage_of_the_schemas_that_policies_refer_to() {
    let bench = start(
        "create schema private;
         create function private.may(text) returns boolean language sql stable security definer as
           $$ select $1 = auth.uid() $$;
         create function private.kept() returns boolean language plpgsql as
           $$ begin
                -- Remembers the first who asked, as functions do to save time.
                if coalesce(current_setting('app.uid', true), '') = '' then
                  perform set_config('app.uid', auth.uid(), true);
                end if;
                return current_setting('app.uid') = auth.uid();
              end $$;
         create function private.folded() returns text language sql immutable as
           $$ select current_setting('request.jwt.claims')::jsonb ->> 'sub' $$;
         create policy p on todos for select to authenticated
           using (private.may(owner) and private.kept() and private.folded() = owner);
         create function public.array_length(int[], int) returns int language sql as 'select 1'",
    )
    .await;
    let (ann, bob) = (user(&bench, "ann").await, user(&bench, "bob").await);
    bench.sql("insert into todos (id, owner) values (1, 'ann'), (2, 'bob'), (3, 'ann'); insert into todos (id, title, owner) values (8, 'end', 'ann'), (9, 'end', 'bob')").await;
    gets(&ann, &["INSERT 1", "INSERT 3"]).await;
    gets(&bob, &["INSERT 2"]).await;
    let watch = bench.subscribe(&[todos("*")], "service_role").await.unwrap();
    step(&bench, &watch, "revoke execute on function private.may(text) from public; insert into todos (id, owner) values (4, 'ann')").await;
    bench.sql("grant execute on function private.may(text) to public; insert into todos (id, title, owner) values (5, 'end', 'ann')").await;
    gets(&ann, &[]).await;
    bench.end().await;
}

#[tokio::test]
async fn the_server_need_not_be_a_superuser() {
    let sql = format!(
        "{OWNED} create role plain login; grant anon, authenticated, service_role to plain;
         create table rooms (id int, who text); grant select on rooms to authenticated;
         alter table rooms enable row level security;
         create policy r on rooms for select to authenticated using (who = auth.uid());
         create schema private; grant usage on schema private to plain;
         create function private.me() returns text language sql stable as 'select auth.uid()';
         create policy p on todos for select to authenticated
           using (exists (select from rooms where rooms.id = n and private.me() = who) or ctid is null);
         create policy q on todos for select to authenticated using (owner = auth.uid());
         insert into rooms values (1, 'ann')"
    );
    let bench = Bench::judged_by("plain", super::config(DeleteVisibility::Strict), &sql).await;
    let (ann, bob) = (user(&bench, "ann").await, user(&bench, "bob").await);
    // A system column is not in the log: such a policy allows nothing.
    bench.sql("insert into todos (id, n, owner) values (1, 1, 'bob')").await;
    let watch = bench.subscribe(&[todos("*")], "service_role").await.unwrap();
    step(&bench, &watch, "insert into todos (id) values (2)").await;
    bench.sql("alter policy p on todos using (exists (select from rooms where rooms.id = n and private.me() = who))").await;
    bench.sql("insert into todos (id, n, owner) values (3, 1, 'bob'), (4, 2, 'ann'); insert into todos (id, title, n, owner) values (5, 'end', 1, 'bob')").await;
    gets(&ann, &["INSERT 3", "INSERT 4"]).await;
    gets(&bob, &["INSERT 1", "INSERT 3"]).await;
    bench.end().await;
}

#[tokio::test]
async fn large_values_that_an_update_left_alone() {
    let bench = start(
        "create policy own on todos for select to authenticated using (owner = auth.uid());
         create policy noted on todos for select to authenticated using (note like 'x%')",
    )
    .await;
    let (ann, bob) = (user(&bench, "ann").await, user(&bench, "bob").await);
    bench.sql("alter table todos alter note set storage external; insert into todos (id, owner, note) values (1, 'ann', repeat('x', 20000))").await;
    bench.sql("update todos set title = 't'; alter table todos replica identity full; update todos set title = 'u'; insert into todos (id, title, note, owner) values (9, 'end', 'x', 'ann')").await;
    gets(&ann, &["INSERT 1", "UPDATE 1", "UPDATE 1"]).await;
    gets(&bob, &["INSERT 1", "UPDATE 1"]).await;
    bench.end().await;
}

#[tokio::test]
async fn many_users_and_rows_at_once() {
    let bench = start(OWN).await;
    let mut rooms = Vec::new();
    for n in 0..150 {
        rooms.push(user(&bench, &format!("u{n}")).await);
    }
    bench.sql("insert into todos (id, owner) select g, 'u' || g % 150 from generate_series(1, 3000) g; insert into todos (id, title, owner) select 10000 + g, 'end', 'u' || g from generate_series(0, 149) g").await;
    for (n, room) in rooms.iter().enumerate() {
        let expected: Vec<_> =
            (1..=3000).filter(|id| id % 150 == n).map(|id| format!("INSERT {id}")).collect();
        assert_eq!(room.until_end().await, expected);
    }
    bench.end().await;
}

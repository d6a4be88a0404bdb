//! Random policies, users and rows, judged by what PostgreSQL shows each user
//! in the transaction that made the row: no leak, no miss.
//!
//! Each round makes a table with policies drawn from a small grammar and
//! subscribes some users. After each change, and before it where the old row
//! matters, every user asks for the row with `select`, within the transaction.
//! `ROWCAST_ORACLE_CASES` sets the number of cases, `ROWCAST_ORACLE_SEED` the seed.

use std::{
    fmt::Write as _,
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
};

use rowcast::{
    config::env::{Env, Strings as _},
    postgres_changes::Binding,
    protocol::Vsn,
};
use serde_json::{Value, json};

use super::{Bench, Channel};
use crate::support::{dice::Dice, eventually};

const SETUP: &str = "
    create schema auth; grant usage on schema auth to public;
    create function auth.uid() returns text language sql stable as
      $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub' $$;
    create function auth.jwt() returns jsonb language sql stable as
      $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $$;
    create role team nologin; create role member nologin in role team inherit;
    create role holder nologin; create role loner nologin in role team noinherit;
    create table members (room int, who text);
    insert into members values (0, 'ann'), (1, 'ann'), (2, 'bob'), (3, 'cid'), (4, null), (5, 'dot');
    create table guarded (room int, who text); insert into guarded select * from members;
    alter table guarded enable row level security;
    create policy own on guarded using (who = auth.uid());
    create table closed (x int);
    create table fence (id int primary key);
    grant select on members, guarded, fence to anon, authenticated, service_role, member, holder, loner, team;
    alter publication supabase_realtime add table fence;
    create schema private;
    create function private.knows(text) returns boolean language sql stable security definer as
      $$ select exists (select from members where who = auth.uid() and $1 is not null) $$;
    create function private.strict_half(int) returns boolean language plpgsql as
      $$ begin if $1 % 2 = 0 then raise exception 'even'; end if; return $1 > 2; end $$;
    create function shown(target text, key int, users json) returns text language plpgsql as $$
    declare one json; found boolean; answer text := '';
    begin
      for one in select * from json_array_elements(users) loop
        begin
          perform set_config('request.jwt.claims', one ->> 1, true),
            set_config('request.jwt.claim.sub', one -> 1 ->> 'sub', true),
            set_config('request.jwt.claim.role', one ->> 0, true),
            set_config('role', one ->> 0, true);
          execute format('select exists (select from %I where id = %s)', target, key) into found;
          answer := answer || case when found then 't' else 'f' end;
          perform set_config('role', 'none', true);
        exception when others then
          -- A statement that fails shows nothing.
          answer := answer || 'f';
        end;
      end loop;
      return answer;
    end $$;";

const ROLES: &[&str] =
    &["authenticated", "authenticated", "anon", "service_role", "member", "holder", "loner"];

impl Dice {
    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.roll(choices.len())]
    }

    fn happens(&mut self, percent: usize) -> bool {
        self.roll(100) < percent
    }

    /// A condition over the columns of `table` and the claims.
    fn condition(&mut self, table: &str, depth: usize) -> String {
        if depth > 0 && self.happens(55) {
            let (one, two) = (self.condition(table, depth - 1), self.condition(table, depth - 1));
            return match self.roll(6) {
                0 | 1 => format!("({one} and {two})"),
                2 | 3 => format!("({one} or {two})"),
                4 => format!("not {one}"),
                _ => format!("case when {one} then {two} else {} end", self.condition(table, 0)),
            };
        }
        let op = self.of(&["=", "<", ">", "<=", ">=", "<>"]);
        let n = self.roll(7);
        match self.roll(24) {
            0 => "owner = auth.uid()".to_owned(),
            1 => "owner = (select auth.uid())".to_owned(),
            2 => format!("n {op} {n}"),
            3 => format!("n {op} (auth.jwt() ->> 'level')::int"),
            4 => "flag".to_owned(),
            5 => "flag is not true".to_owned(),
            6 => "note like 'a%'".to_owned(),
            7 => "note = auth.jwt() ->> 'team'".to_owned(),
            8 => "auth.jwt() ->> 'team' = any (tags)".to_owned(),
            9 => format!(
                "exists (select from members m where m.room = {table}.n and m.who = auth.uid())"
            ),
            10 => "n in (select room from guarded)".to_owned(),
            11 => format!("exists (select from guarded g where g.who = {table}.owner)"),
            12 => "current_user = 'anon'".to_owned(),
            13 => "current_setting('request.jwt.claim.sub', true) = owner".to_owned(),
            14 => format!("10 / n {op} 3"),
            15 => format!("12 / (n - (auth.jwt() ->> 'level')::int) {op} 2"),
            16 => "private.knows(owner)".to_owned(),
            17 => "private.strict_half(n)".to_owned(),
            18 => format!("whole({table}.*)"),
            19 => "pg_has_role('team', 'usage')".to_owned(),
            20 => format!("(data ->> 'n')::int {op} n"),
            21 => "n <> all (array(select room from members where who = auth.uid()))".to_owned(),
            22 => self.of(&["true", "true", "false", "exists (select from closed)"]).to_owned(),
            _ => format!("id % 2 {op} {}", n % 2),
        }
    }

    fn row(&mut self) -> String {
        let owner = self.of(&["'ann'", "'bob'", "'cid'", "'dot'", "null"]);
        let n = self.of(&["0", "1", "2", "3", "4", "5", "6", "null"]);
        let flag = self.of(&["true", "false", "null"]);
        let note = self.of(&["'a red'", "'red'", "'blue'", "''", "null", r#"E'q\'\\\"\n'"#]);
        let tags = self.of(&["'{red,blue}'", "'{\"a \\\"b\"}'", "'{}'", "null"]);
        let data = self.of(&["'{\"n\": 3}'", "'{\"n\": \"x\"}'", "'[]'", "null"]);
        format!("{owner}, {n}, {flag}, {note}, {tags}, {data}")
    }

    fn claims(&mut self) -> Value {
        let mut claims = json!({});
        if self.happens(90) {
            claims["sub"] = json!(self.of(&["ann", "bob", "cid", "dot"]));
        }
        if self.happens(80) {
            claims["level"] = json!(self.roll(6));
        }
        if self.happens(70) {
            claims["team"] = json!(self.of(&["red", "blue", "a \"b"]));
        }
        claims
    }
}

/// A table with its policies, as a script.
fn table(dice: &mut Dice, name: &str) -> (String, bool, bool) {
    let mut sql = format!(
        "create table {name} (id int primary key, gone int, owner text, n int, flag boolean, note text, tags text[], data jsonb);
         alter table {name} drop column gone;
         grant select on {name} to public; alter publication supabase_realtime add table {name};
         create or replace function whole({name}) returns boolean language sql stable
           as $$ select $1.n > 2 or $1.owner = auth.uid() $$;"
    );
    let (is_secured, is_full) = (dice.happens(93), dice.happens(40));
    if is_secured {
        write!(sql, "alter table {name} enable row level security;").unwrap();
    }
    if is_full {
        write!(sql, "alter table {name} replica identity full;").unwrap();
    }
    if dice.happens(25) {
        write!(sql, "alter table {name} owner to holder;").unwrap();
    }
    if dice.happens(25) {
        write!(sql, "alter table {name} force row level security;").unwrap();
    }
    for number in 0..1 + dice.roll(4) {
        let kind = if dice.happens(22) { "as restrictive" } else { "" };
        let command = dice.of(&["select", "select", "select", "all", "update"]);
        let roles = dice.of(&[
            "public",
            "public",
            "authenticated",
            "anon",
            "team",
            "authenticated, anon",
            "holder, member",
        ]);
        let condition = dice.condition(name, 2);
        let order = dice.roll(10);
        write!(
            sql,
            "create policy p{order}_{number} on {name} {kind} for {command} to {roles} using ({condition});"
        )
        .unwrap();
    }
    (sql, is_secured, is_full)
}

struct User {
    role: &'static str,
    claims: Value,
    channel: Channel,
    expected: Vec<String>,
}

/// Rows there are, and how many there ever were.
#[derive(Default)]
struct Ids {
    live: Vec<usize>,
    made: usize,
}

/// Makes one transaction of changes; what each user is to get joins its list.
async fn transaction(
    bench: &Bench,
    dice: &mut Dice,
    name: &str,
    (is_secured, is_full): (bool, bool),
    ids: &mut Ids,
    users: &mut [User],
) -> usize {
    let list: Vec<_> = users.iter().map(|user| json!([user.role, user.claims])).collect();
    let list = json!(list).to_string().replace('\'', "''");
    let shown = |id: usize| format!("select shown('{name}', {id}, '{list}');");
    let mut sql = "begin;".to_owned();
    let mut changes = Vec::new();
    for _ in 0..1 + dice.roll(4) {
        let known = ids.live.len();
        match dice.roll(10) {
            0..=4 => {
                ids.made += 1;
                let id = ids.made;
                write!(sql, "insert into {name} values ({id}, {});{}", dice.row(), shown(id))
                    .unwrap();
                ids.live.push(id);
                changes.push(("INSERT", id));
            }
            5..=7 if known > 0 => {
                let id = ids.live[dice.roll(known)];
                let row = dice.row();
                let update = format!(
                    "update {name} set (owner, n, flag, note, tags, data) = row ({row}) where id = {id};"
                );
                write!(sql, "{}{update}{}", shown(id), shown(id)).unwrap();
                changes.push(("UPDATE", id));
            }
            8 if known > 0 => {
                let id = ids.live.swap_remove(dice.roll(known));
                write!(sql, "{}delete from {name} where id = {id};", shown(id)).unwrap();
                changes.push(("DELETE", id));
            }
            _ => {}
        }
    }
    sql.push_str("commit");
    let messages = bench.client.simple_query(&sql).await.expect(&sql);
    let mut answers = messages.iter().filter_map(|message| match message {
        rowcast::postgres::pool::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    let mut cases = 0;
    for (kind, id) in changes {
        let first = answers.next().unwrap();
        let second = if kind == "UPDATE" { answers.next().unwrap() } else { first.clone() };
        for (at, user) in users.iter_mut().enumerate() {
            cases += 1;
            let sees = |answer: &str| answer.as_bytes()[at] == b't';
            let is_shown = sees(&second) || kind == "DELETE" && !is_full;
            if is_shown {
                let is_whole = match kind {
                    "UPDATE" => is_full && (!is_secured || sees(&first)),
                    "DELETE" => is_full && !is_secured,
                    _ => false,
                };
                user.expected
                    .push(format!("{kind} {id} {}", if is_whole { "whole" } else { "key" }));
            }
        }
    }
    cases
}

/// What a user got up to the fence.
async fn got(user: &User) -> Vec<String> {
    let mut frames = Vec::new();
    eventually("the fence", async || {
        user.channel.outbox.drain(&mut frames);
        let last = frames.last().map(super::parsed)?;
        (last[4]["data"]["table"] == "fence").then_some(())
    })
    .await;
    frames.pop();
    let summary = |frame| {
        let data = super::parsed(frame)[4]["data"].clone();
        let row = if data["record"].is_object() { &data["record"] } else { &data["old_record"] };
        let is_whole = data["old_record"].as_object().is_some_and(|old| old.len() > 1);
        let kind = data["type"].as_str().unwrap_or_default();
        format!("{kind} {} {}", row["id"], if is_whole { "whole" } else { "key" })
    };
    frames.iter().map(summary).collect()
}

fn number(name: &str) -> Option<u64> {
    Env.value(name).and_then(|text| text.parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everyone_gets_what_select_shows_and_nothing_else() {
    let wanted = number("ROWCAST_ORACLE_CASES").unwrap_or(4_000);
    let seed = number("ROWCAST_ORACLE_SEED").unwrap_or_else(|| RandomState::new().hash_one(1));
    eprintln!("oracle: seed {seed}, {wanted} cases");
    let mut dice = Dice(seed);
    let bench = Bench::start(SETUP).await;
    let (mut cases, mut deliveries, mut round) = (0, 0, 0);
    while cases < wanted {
        round += 1;
        let name = format!("t{round}");
        let (sql, is_secured, is_full) = table(&mut dice, &name);
        bench.client.batch_execute(&sql).await.expect(&sql);
        let mut users = Vec::new();
        for _ in 0..4 + dice.roll(5) {
            let (role, claims) = (dice.of(ROLES), dice.claims());
            let items = [
                json!({"schema": "public", "table": name}),
                json!({"schema": "public", "table": "fence"}),
            ];
            let bindings = items.map(|item| Binding::parse(&item.to_string()).unwrap()).to_vec();
            let text = Arc::from(claims.to_string());
            let channel = bench.request(bindings, role, Vsn::V2, false, text, None).await.unwrap();
            users.push(User { role, claims, channel, expected: Vec::new() });
        }
        let mut ids = Ids::default();
        for _ in 0..12 {
            let kind = (is_secured, is_full);
            let made = transaction(&bench, &mut dice, &name, kind, &mut ids, &mut users).await;
            cases += u64::try_from(made).unwrap();
        }
        bench.sql(&format!("insert into fence values ({round})")).await;
        for user in &users {
            let got = got(user).await;
            deliveries += got.len();
            assert!(
                got == user.expected,
                "seed {seed}, round {round}: {} {}\ngot      {got:?}\nexpected {:?}\n{sql}",
                user.role,
                user.claims,
                user.expected
            );
        }
        drop(users);
        bench.sql(&format!("drop table {name} cascade")).await;
    }
    eprintln!("oracle: {cases} cases, {deliveries} rows delivered, {round} sets of policies");
    bench.end().await;
}

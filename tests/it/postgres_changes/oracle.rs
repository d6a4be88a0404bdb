//! Random policies, users and rows: who gets a row is who could select it.
//!
//! PostgreSQL itself is asked, in the transaction that writes the row, whether
//! each user sees it then. `ROWCAST_ORACLE_CASES` makes the run longer,
//! `ROWCAST_ORACLE_SEED` repeats one.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, RandomState},
};

use rowcast::config::env::{Env, Strings as _};
use serde_json::json;

use super::{Bench, todos};

const USERS: usize = 8;
const WRITES: usize = 30;

const SETUP: &str = "
    create schema auth; grant usage on schema auth to public;
    create function auth.uid() returns text language sql stable as
      $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub' $$;
    create function auth.jwt() returns jsonb language sql stable as
      $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $$;
    alter table todos add owner text;
    alter table todos enable row level security;
    create table members (owner text, n int); grant select on members to authenticated;
    insert into members select 'u' || (g % 8), g % 5 from generate_series(1, 20) g;
    create table people (name text, claims text);
    create function who_sees(wanted int) returns text[] language plpgsql as $$
      declare person record; seen text[] := '{}'; sees boolean;
      begin
        for person in select * from people loop
          begin
            perform set_config('request.jwt.claims', person.claims, true),
              set_config('role', 'authenticated', true);
            execute 'select exists (select from todos where id = $1)' into sees using wanted;
            perform set_config('role', 'none', true);
            if sees then seen := seen || person.name; end if;
          exception when others then null;
          end;
        end loop;
        return seen;
      end $$;";

/// Small, seeded, good enough to choose with.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn atom(&mut self) -> String {
        let k = self.roll(5);
        match self.roll(11) {
            0 => "owner = auth.uid()".to_owned(),
            1 => format!("n > {k}"),
            2 => format!("n % 3 = {}", k % 3),
            3 => format!("title = 't{k}'"),
            4 => "auth.jwt() ->> 'team' = title".to_owned(),
            5 => "exists (select from members m where m.owner = auth.uid() and m.n = todos.n)"
                .to_owned(),
            6 => "n is null".to_owned(),
            7 => "(auth.jwt() ->> 'level')::int >= n".to_owned(),
            8 => "current_setting('request.jwt.claims', true)::jsonb ->> 'sub' <> owner".to_owned(),
            9 => "owner like 'u' || (auth.jwt() ->> 'level') || '%'".to_owned(),
            _ => "n in (select members.n from members where owner = todos.owner)".to_owned(),
        }
    }

    fn expression(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.atom();
        }
        let (left, right) = (self.expression(depth - 1), self.expression(depth - 1));
        match self.roll(4) {
            0 => format!("({left} and {right})"),
            1 => format!("({left} or {right})"),
            2 => format!("(not ({left}))"),
            _ => left,
        }
    }

    /// Policies of one round. One that raises stands alone: which of several
    /// is asked first is not promised.
    fn policies(&mut self) -> String {
        if self.roll(4) == 0 {
            return "create policy p on todos for select to authenticated using (10 / n > 1 and owner = auth.uid());".to_owned();
        }
        let mut sql = String::new();
        for number in 0..=self.roll(3) {
            let kind = if number > 0 && self.roll(3) == 0 { "as restrictive" } else { "" };
            let role = ["authenticated", "public", "anon"][self.roll(3)];
            let command = ["select", "all"][self.roll(2)];
            let depth = self.roll(3);
            let using = self.expression(depth);
            sql.push_str(&format!(
                "create policy p{number} on todos {kind} for {command} to {role} using ({using});"
            ));
        }
        sql
    }

    fn values(&mut self) -> (String, String, String) {
        let n = match self.roll(6) {
            5 => "null".to_owned(),
            n => n.to_string(),
        };
        (n, format!("'t{}'", self.roll(4)), format!("'u{}'", self.roll(USERS)))
    }
}

#[tokio::test]
async fn who_gets_a_row_is_who_could_select_it_when_it_was_written() {
    let number = |name: &str| Env.value(name).and_then(|text| text.parse::<u64>().ok());
    let seed = number("ROWCAST_ORACLE_SEED").unwrap_or_else(|| RandomState::new().hash_one(1)) | 1;
    let cases = usize::try_from(number("ROWCAST_ORACLE_CASES").unwrap_or(3_000)).unwrap();
    eprintln!("seed {seed}");
    let mut dice = Dice(seed);

    let bench = Bench::start(SETUP).await;
    let service = bench.subscribe(&[todos("*")], "service_role").await.unwrap();
    let mut people = Vec::new();
    for user in 0..USERS {
        let (name, team) = (format!("u{user}"), format!("t{}", user % 4));
        let claims = json!({ "sub": name, "team": team, "level": user % 5 });
        bench.sql(&format!("insert into people values ('{name}', '{claims}')")).await;
        let channel = bench.user(&todos("*"), "authenticated", &claims, None).await;
        people.push((name, channel));
    }
    let client = bench.server.client().await;

    let (mut asked, mut granted, mut id) = (0, 0, 0);
    while asked < cases {
        let policies = dice.policies();
        bench.sql("delete from todos").await;
        let drop = "do $$ declare p record; begin for p in select policyname from pg_policies where tablename = 'todos' loop execute format('drop policy %I on todos', p.policyname); end loop; end $$;";
        bench.sql(&format!("{drop} {policies}")).await;
        let mut expected = BTreeSet::new();
        let first = id;
        for write in 0..WRITES {
            let (n, title, owner) = dice.values();
            let update = id > first && dice.roll(3) == 0;
            let row = if update { first + 1 + dice.roll(id - first) } else { id + 1 };
            id = id.max(row);
            let note = format!("{first}.{write}");
            let sql = match update {
                true => format!(
                    "update todos set n = {n}, title = {title}, owner = {owner}, note = '{note}' where id = {row}"
                ),
                false => format!(
                    "insert into todos (id, n, title, owner, note) values ({row}, {n}, {title}, {owner}, '{note}')"
                ),
            };
            client.batch_execute(&format!("begin; {sql}")).await.unwrap();
            let row = i32::try_from(row).unwrap();
            let seen = client.query_one("select who_sees($1)", &[&row]).await.unwrap();
            client.batch_execute("commit").await.unwrap();
            let seen: Vec<String> = seen.get(0);
            granted += seen.len();
            expected.extend(seen.into_iter().map(|name| (name, note.clone())));
            asked += USERS;
        }
        id += 1;
        bench.sql(&format!("insert into todos (id, title) values ({id}, 'end')")).await;
        service.until_end().await;
        let mut got = BTreeSet::new();
        for (name, channel) in &people {
            for frame in channel.frames(0).await {
                let data = &frame[4]["data"];
                // Of a delete everybody is told the key; the marker's note is null.
                if let Some(note) = data["record"]["note"].as_str() {
                    assert!(got.insert((name.clone(), note.to_owned())), "twice: {name} {note}");
                }
            }
        }
        let leaked: Vec<_> = got.difference(&expected).collect();
        let missed: Vec<_> = expected.difference(&got).collect();
        assert!(
            leaked.is_empty() && missed.is_empty(),
            "seed {seed}\n{policies}\nleaked {leaked:?}\nmissed {missed:?}"
        );
    }
    eprintln!("{asked} cases, {granted} granted");
    assert!(granted > asked / 50, "the policies grant something now and then");
    bench.end().await;
}

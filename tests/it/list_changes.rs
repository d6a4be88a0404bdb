//! `realtime.list_changes`, which tools may call, with the real wal2json.

use rowcast::{
    config::env::{Env, Strings as _},
    postgres::pool::Client,
    tenants::migrations,
};
use serde_json::{Value, json};

use crate::support::postgres::Postgres;

const MINE: &str = "3f1d2f4e-0000-4000-8000-000000000001";
const OTHER: &str = "3f1d2f4e-0000-4000-8000-000000000002";

async fn value(client: &Client, sql: &str) -> Value {
    let row = client.query_one(&format!("select to_jsonb(({sql}))"), &[]).await.unwrap();
    row.get::<_, Option<Value>>(0).unwrap_or_default()
}

async fn listed(client: &Client) -> Value {
    let sql = "select json_agg(r) from realtime.list_changes('listed', 'polled', 100, 1048576) r";
    value(client, sql).await
}

/// Set where the server has no wal2json, which is a package of its own: these
/// tests then pass without it. `tests/run` sets it and says so.
const WITHOUT: &str = "ROWCAST_TESTS_WITHOUT_WAL2JSON";

/// A table with row security, one subscription of its owner, one of somebody
/// else, and a slot. None where there may be no wal2json and is none.
async fn prepared(server: &Postgres) -> Option<Client> {
    let mut client = server.client().await;
    migrations::run(&mut client, &migrations::Options { create_roles: true, chat: None })
        .await
        .unwrap();
    let slot = "select pg_create_logical_replication_slot('polled', 'wal2json')";
    if let Err(error) = client.batch_execute(slot).await {
        let message = error.as_db_error().unwrap().message().to_owned();
        assert!(message.contains("wal2json"), "{message}");
        let may_be_missing = Env.value(WITHOUT).is_some_and(|value| value == "1");
        assert!(may_be_missing, "{message}; install wal2json, or set {WITHOUT}=1");
        return None;
    }
    let subscription = |sub: &str| {
        format!(
            "insert into realtime.subscription (subscription_id, entity, claims, filters) values \
             ('{sub}', 'public.todos', '{{\"role\":\"authenticated\",\"sub\":\"{sub}\"}}', '{{}}');"
        )
    };
    let sql = format!(
        "create table public.todos (id int primary key, owner uuid, title text); \
         create publication listed for table public.todos; \
         grant select on public.todos to authenticated; \
         alter table public.todos enable row level security; \
         create policy mine on public.todos for select to authenticated using (owner = auth.uid()); {}{}",
        subscription(MINE),
        subscription(OTHER)
    );
    client.batch_execute(&sql).await.unwrap();
    Some(client)
}

#[tokio::test]
async fn a_change_is_listed_for_those_who_may_see_the_row() {
    let server = Postgres::start(&[]).await;
    let Some(client) = prepared(&server).await else { return };
    let insert = format!("insert into public.todos values (1, '{MINE}', 'a\"b')");
    client.batch_execute(&insert).await.unwrap();
    let changes = listed(&client).await;
    let [change] = changes.as_array().unwrap().as_slice() else { panic!("{changes}") };
    assert_eq!(change["wal"]["type"], "INSERT");
    assert_eq!(change["wal"]["record"], json!({ "id": 1, "owner": MINE, "title": "a\"b" }));
    assert_eq!(change["subscription_ids"], json!([MINE]));
    assert_eq!((&change["is_rls_enabled"], &change["errors"]), (&json!(true), &json!([])));
    assert_eq!(change["slot_changes_count"], 1);
    assert_eq!(listed(&client).await, Value::Null, "what was listed is off the slot");
}

#[tokio::test]
async fn what_nobody_may_see_is_only_counted() {
    let server = Postgres::start(&[]).await;
    let Some(client) = prepared(&server).await else { return };
    let insert = "insert into public.todos select n, null, 'x' from generate_series(1, 3) n";
    client.batch_execute(insert).await.unwrap();
    let changes = listed(&client).await;
    let [change] = changes.as_array().unwrap().as_slice() else { panic!("{changes}") };
    assert_eq!((&change["wal"], &change["subscription_ids"]), (&Value::Null, &Value::Null));
    assert_eq!(change["slot_changes_count"], 3);
}

#[tokio::test]
async fn a_deleted_row_shows_its_key_only() {
    let server = Postgres::start(&[]).await;
    let Some(client) = prepared(&server).await else { return };
    let sql = format!(
        "alter table public.todos replica identity full; \
         insert into public.todos values (1, '{MINE}', 'secret'); \
         delete from public.todos"
    );
    client.batch_execute(&sql).await.unwrap();
    let changes = listed(&client).await;
    let last = changes.as_array().unwrap().last().unwrap();
    assert_eq!(last["wal"]["type"], "DELETE");
    assert_eq!(last["wal"]["old_record"], json!({ "id": 1 }));
}

//! Everything works for a user who has what `deploy/postgres/least-privilege.sql`
//! grants and nothing else.

use rowcast::protocol::Vsn;
use serde_json::json;

use crate::support::{
    client::{Client, user_broadcast},
    eventually,
    postgres::Postgres,
    server::Server,
    tokens::signed,
};

const SCRIPT: &str = include_str!("../../deploy/postgres/least-privilege.sql");

const TABLES: &str = "
    create table notes (id int primary key, owner uuid not null, body text);
    alter table notes enable row level security;
    create policy own on notes for select to authenticated using (owner = (select auth.uid()));
    grant select on notes to authenticated;
    alter publication supabase_realtime add table notes;";

const POLICIES: &str = "
    create policy listen on realtime.messages for select to authenticated
      using (realtime.topic() = 'lobby');
    create policy talk on realtime.messages for insert to authenticated
      with check (realtime.topic() = 'lobby');";

const ANN: &str = "11111111-1111-4111-8111-111111111111";
const BEN: &str = "22222222-2222-4222-8222-222222222222";

async fn client(server: &Server, sub: &str) -> Client {
    let claims = json!({ "role": "authenticated", "sub": sub, "exp": 4_000_000_000_u32 });
    Client::connect_as(server, Vsn::V2, &signed(claims)).await
}

#[tokio::test]
async fn a_user_without_further_rights_serves_everything() {
    let postgres = Postgres::start(&[]).await;
    let sql = postgres.client().await;
    for _ in 0..2 {
        sql.batch_execute(SCRIPT).await.unwrap();
    }
    sql.batch_execute(TABLES).await.unwrap();
    let url = format!("postgres://rowcast@127.0.0.1:{}/postgres", postgres.config().port);
    let server = Server::start(&postgres, &[("DATABASE_URL", &url)]).await;
    sql.batch_execute(POLICIES).await.unwrap();
    let attributes = "select rolsuper or rolcreatedb or rolcreaterole or rolbypassrls or rolinherit \
         or has_database_privilege(oid, current_database(), 'create') \
         or has_schema_privilege(oid, 'public', 'create') and current_setting('server_version_num')::int >= 150000 \
         or has_table_privilege(oid, 'notes', 'select') \
         from pg_roles where rolname = 'rowcast'";
    let too_much: bool = sql.query_one(attributes, &[]).await.unwrap().get(0);
    assert!(!too_much);

    let (mut ann, mut ben) = (client(&server, ANN).await, client(&server, BEN).await);
    // Changes, as the policies of the table judge them.
    for client in [&mut ann, &mut ben] {
        let binding = json!([{ "event": "*", "schema": "public", "table": "notes" }]);
        client.subscribe("realtime:notes", binding).await;
    }
    let insert = format!("insert into notes values (1, '{ANN}', 'a'), (2, '{BEN}', 'b')");
    sql.batch_execute(&insert).await.unwrap();
    assert_eq!(ann.change("realtime:notes").await["record"]["id"], 1);
    assert_eq!(ben.change("realtime:notes").await["record"]["id"], 2);

    // A private channel with presence, and another that no policy allows.
    let config = json!({
        "private": true, "broadcast": { "ack": true }, "presence": { "enabled": true, "key": "x" },
    });
    for client in [&mut ann, &mut ben] {
        client.join("realtime:lobby", config.clone()).await;
        client.event("realtime:lobby", "presence_state").await;
    }
    let refused = ann.ask_join("realtime:cellar", json!({ "private": true })).await;
    assert!(refused.reason().starts_with("Unauthorized"), "{}", refused.reason());
    ann.send(user_broadcast("realtime:lobby", "e", &json!({ "n": 1 }))).await;
    assert_eq!(ben.event("realtime:lobby", "broadcast").await["payload"]["n"], 1);
    let track = json!({ "event": "track", "payload": { "name": "Ann" } });
    assert!(ann.ask("realtime:lobby", "presence", track).await.is_ok());
    let diff = ben.event("realtime:lobby", "presence_diff").await;
    assert_eq!(diff["joins"]["x"]["metas"][0]["name"], "Ann", "{diff}");

    // Messages of the database, and the partitions they are kept in.
    ben.join("realtime:lobby", json!({ "private": true })).await;
    let mut sent = 0;
    eventually("a message of the database comes", async || {
        sent += 1;
        let send = format!("select realtime.send('{{\"n\": {sent}}}', 'stored', 'lobby', true)");
        sql.batch_execute(&send).await.unwrap();
        let heard = ben.event("realtime:lobby", "broadcast").await;
        (heard["event"] == "stored").then_some(())
    })
    .await;
    let log = server.log();
    for word in ["denied", "lacks", "cannot"] {
        assert!(!log.contains(word), "{word}: {log}");
    }
}

//! Installing: what is made, what is refused, and what plain clients then see.

use rowcast::{
    protocol::Vsn,
    tenants::migrations::{self, MigrateError, Options},
};
use serde_json::json;

use super::{Bench, ROOM, everything, install};
use crate::support::{
    client::Client,
    postgres::Postgres,
    server::Server,
    tokens::{signed, token},
};

const GENERAL: &str = "00000000-0000-4000-8000-000000000001";

#[tokio::test]
async fn installing_twice_changes_nothing() {
    let bench = Bench::start().await;
    let published = "select jsonb_agg(tablename order by tablename) from pg_publication_tables
        where pubname = 'supabase_realtime'";
    let tables = json!(["closings", "message_reactions", "messages", "room_members"]);
    assert_eq!(bench.value(published).await, tables);
    // Who takes a table out of the publication has reasons.
    bench.sql("alter publication supabase_realtime drop table message_reactions").await;
    let mut client = bench.server.client().await;
    assert!(install(&mut client).await.unwrap().is_unchanged());
    assert_eq!(bench.value(published).await, json!(["closings", "messages", "room_members"]));
    assert_eq!(bench.value("select count(*) from rooms").await, 1);
}

#[tokio::test]
async fn a_foreign_table_is_left_alone() {
    let server = Postgres::start(&[]).await;
    let mut client = server.client().await;
    client.batch_execute("create table public.messages (id int)").await.unwrap();
    let refused = install(&mut client).await.unwrap_err();
    assert!(
        matches!(&refused, MigrateError::Refused(reason) if reason.contains("named messages")),
        "{refused}"
    );
    let made = "select count(*) from pg_class where relnamespace::regnamespace::text in ('public', 'chat', 'realtime')";
    assert_eq!(super::value(&client, made).await.unwrap(), 1);
    let roles = "select count(*) from pg_roles where rolname = 'anon'";
    assert_eq!(super::value(&client, roles).await.unwrap(), 0);

    client
        .batch_execute("drop table public.messages; create schema chat; create table chat.x ()")
        .await
        .unwrap();
    let refused = install(&mut client).await.unwrap_err().to_string();
    assert!(refused.contains("schema chat"), "{refused}");
    client.batch_execute("drop schema chat cascade").await.unwrap();
    let without_roles = Options { create_roles: false, ..everything() };
    let refused = migrations::run(&mut client, &without_roles).await.unwrap_err().to_string();
    assert!(refused.contains("--create-roles"), "{refused}");
}

/// The snippet of the README: no membership, no token but the public key.
#[tokio::test]
async fn anybody_sees_a_public_room_through_postgres_changes() {
    let bench = Bench::with_room(&["bob"]).await;
    let server = Server::start(&bench.server, &[]).await;
    let mut anon = Client::connect_as(&server, Vsn::V2, &token("anon")).await;
    let mut member = Client::connect_as(
        &server,
        Vsn::V2,
        &signed(
            json!({"role": "authenticated", "sub": super::person("bob"), "exp": 4_000_000_000_u64}),
        ),
    )
    .await;
    let all = json!([{"event": "*", "schema": "public", "table": "messages"}]);
    let general = json!([{"event": "*", "schema": "public", "table": "messages",
        "filter": format!("room_id=eq.{GENERAL}")}]);
    anon.subscribe("realtime:all", all.clone()).await;
    anon.subscribe("realtime:general", general).await;
    member.subscribe("realtime:all", all).await;
    let insert = |room: &str, content: &str| {
        format!(
            "insert into messages (room_id, sender_id, content) values ('{room}', gen_random_uuid(), '{content}')"
        )
    };
    bench.sql(&insert(ROOM, "between us")).await;
    bench.sql(&insert(GENERAL, "hello")).await;
    bench.sql(&format!("update messages set deleted_at = now() where room_id = '{GENERAL}'")).await;
    for topic in ["realtime:all", "realtime:general"] {
        assert_eq!(anon.change(topic).await["record"]["content"], "hello");
        let deleted = anon.change(topic).await;
        assert_eq!(deleted["record"]["content"], json!(null));
        assert!(!deleted.to_string().contains("hello"), "{deleted}");
    }
    assert_eq!(member.change("realtime:all").await["record"]["content"], "between us");
    assert_eq!(member.change("realtime:all").await["record"]["content"], "hello");

    // The private channel of a room: readers may listen, nobody else.
    let private = json!({"private": true});
    let topic = |room: &str| format!("realtime:room:{room}");
    assert!(anon.ask_join(&topic(GENERAL), private.clone()).await.is_ok());
    assert!(!anon.ask_join(&topic(ROOM), private.clone()).await.is_ok());
    assert!(member.ask_join(&topic(ROOM), private.clone()).await.is_ok());
    assert!(!member.ask_join("realtime:room:nonsense", private).await.is_ok());
}

#[tokio::test]
async fn the_page_about_it_is_true() {
    let bench = Bench::start().await;
    let page = include_str!("../../../docs/chat.md");
    let blocks = page.split("```sql").skip(1).map(|rest| rest.split("```").next().unwrap());
    for block in blocks {
        bench.sql(block).await;
    }
    let deleted = "select count(*) from messages where deleted_at is not null";
    assert_eq!(bench.value(deleted).await, 1);
}

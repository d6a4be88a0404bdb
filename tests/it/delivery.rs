//! Row changes, from a commit to a client.

use rowcast::protocol::Vsn;
use serde_json::{Value, json};

use crate::support::{client::Client, server::World, tokens::token};

const ROOM: &str = "realtime:room";

/// Two published tables that `anon` may read, and one that is not published.
const TABLES: &str = "create table todos (id int primary key, body text, done bool default false); \
     create table notes (id uuid primary key, n int8); \
     create table unpublished (id int primary key); \
     grant select on todos, notes, unpublished to anon, authenticated, service_role; \
     alter publication supabase_realtime add table todos, notes;";

fn on(event: &str, table: &str) -> Value {
    json!({ "event": event, "schema": "public", "table": table })
}

fn filtered(event: &str, table: &str, filter: &str) -> Value {
    json!({ "event": event, "schema": "public", "table": table, "filter": filter })
}

/// The values of a column in the records of the next changes.
async fn records(client: &mut Client, column: &str, count: usize) -> Vec<Value> {
    let mut values = Vec::new();
    for _ in 0..count {
        values.push(client.change(ROOM).await["record"][column].clone());
    }
    values
}

#[tokio::test]
async fn insert_update_and_delete_arrive_as_they_committed() {
    let world = World::start(TABLES).await;
    for vsn in [Vsn::V1, Vsn::V2] {
        let mut client = Client::connect_as(&world.server, vsn, &token("anon")).await;
        let ids = client.subscribe(ROOM, json!([on("*", "todos")])).await;
        assert!(ids.iter().all(|id| (1..=i64::from(i32::MAX)).contains(id)), "{ids:?}");
        world
            .run(&[
                "insert into todos values (1, 'a')",
                "update todos set body = 'b'",
                "delete from todos",
            ])
            .await;
        let payload = client.event(ROOM, "postgres_changes").await;
        assert_eq!(payload["ids"], json!(ids));
        let insert = &payload["data"];
        assert_eq!(insert["type"], "INSERT");
        assert_eq!((&insert["schema"], &insert["table"]), (&json!("public"), &json!("todos")));
        assert_eq!(insert["record"], json!({ "id": 1, "body": "a", "done": false }));
        assert_eq!(
            insert["columns"],
            json!([{ "name": "id", "type": "int4" }, { "name": "body", "type": "text" },
                   { "name": "done", "type": "bool" }])
        );
        assert_eq!(insert["errors"], Value::Null);
        assert!(insert.get("old_record").is_none(), "{insert}");
        let at = insert["commit_timestamp"].as_str().unwrap();
        assert!(at.len() == 24 && at.ends_with('Z'), "{at}");
        let update = client.change(ROOM).await;
        assert_eq!(update["type"], "UPDATE");
        assert_eq!(update["record"], json!({ "id": 1, "body": "b", "done": false }));
        assert_eq!(update["old_record"], json!({ "id": 1 }));
        let delete = client.change(ROOM).await;
        assert_eq!(delete["type"], "DELETE");
        assert_eq!(delete["old_record"], json!({ "id": 1 }));
        assert!(delete.get("record").is_none(), "{delete}");
    }
}

#[tokio::test]
async fn what_was_rolled_back_or_came_before_does_not_arrive() {
    let world = World::start(TABLES).await;
    world.run(&["insert into todos values (1)"]).await;
    let mut client = world.client().await;
    client.subscribe(ROOM, json!([on("*", "todos")])).await;
    world
        .run(&["begin; insert into todos values (2); rollback", "insert into todos values (3)"])
        .await;
    assert_eq!(records(&mut client, "id", 1).await, [json!(3)]);
    assert!(client.settled().await.is_empty(), "{:?}", client.backlog);
}

#[tokio::test]
async fn events_choose_among_changes() {
    let world = World::start(TABLES).await;
    let mut client = world.client().await;
    let ids = client.subscribe(ROOM, json!([on("INSERT", "todos"), on("DELETE", "todos")])).await;
    world
        .run(&["insert into todos values (1)", "update todos set body = 'x'", "delete from todos"])
        .await;
    for (id, kind) in ids.iter().zip(["INSERT", "DELETE"]) {
        let payload = client.event(ROOM, "postgres_changes").await;
        assert_eq!(payload["data"]["type"], kind);
        assert_eq!(payload["ids"], json!([id]));
    }
}

#[tokio::test]
async fn filters_choose_among_rows() {
    let world = World::start(TABLES).await;
    let cases = [
        ("id=eq.3", json!([3])),
        ("id=neq.3", json!([1, 2, 4])),
        ("id=lt.2", json!([1])),
        ("id=lte.2", json!([1, 2])),
        ("id=gt.3", json!([4])),
        ("id=gte.3", json!([3, 4])),
        ("id=in.(1,4)", json!([1, 4])),
        ("body=eq.two", json!([2])),
        ("body=in.(one,two)", json!([1, 2])),
        ("done=eq.true", json!([4])),
    ];
    for (filter, expected) in cases {
        let mut client = world.client().await;
        client.subscribe(ROOM, json!([filtered("INSERT", "todos", filter)])).await;
        // The last one shows that nothing more comes: every client gets it.
        client.subscribe("realtime:end", json!([filtered("INSERT", "todos", "id=eq.100")])).await;
        world
            .run(&[
                "delete from todos",
                "insert into todos values (1, 'one', false), \
                 (2, 'two', false), (3, null, false), (4, 'four', true)",
                "insert into todos (id, body, done) values (100, null, null)",
            ])
            .await;
        client.change("realtime:end").await;
        let seen: Vec<Value> = client
            .backlog
            .iter()
            .filter(|message| message.topic == ROOM)
            .map(|message| message.payload["data"]["record"]["id"].clone())
            .filter(|id| *id != 100)
            .collect();
        assert_eq!(json!(seen), expected, "{filter}");
    }
}

#[tokio::test]
async fn an_update_is_judged_by_its_new_row() {
    let world = World::start(TABLES).await;
    let mut client = world.client().await;
    client.subscribe(ROOM, json!([filtered("UPDATE", "todos", "body=eq.yes")])).await;
    world
        .run(&[
            "insert into todos values (1, 'yes')",
            "update todos set body = 'no'",
            "update todos set body = 'yes', done = true",
        ])
        .await;
    assert_eq!(client.change(ROOM).await["record"]["done"], true);
    assert!(client.settled().await.is_empty(), "{:?}", client.backlog);
}

#[tokio::test]
async fn wildcards_cover_tables_and_one_row_is_one_message() {
    let world = World::start(TABLES).await;
    let mut client = world.client().await;
    let ids = client
        .subscribe(ROOM, json!([on("*", "*"), on("INSERT", "todos"), on("*", "notes")]))
        .await;
    world
        .run(&[
            "insert into todos values (1)",
            "insert into notes values ('00000000-0000-4000-8000-000000000001', 9223372036854775807)",
        ])
        .await;
    let sorted = |value: &Value| {
        let mut ids: Vec<i64> =
            value.as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect();
        ids.sort_unstable();
        ids
    };
    let mut expected = vec![ids[0], ids[1]];
    expected.sort_unstable();
    let first = client.event(ROOM, "postgres_changes").await;
    assert_eq!(sorted(&first["ids"]), expected);
    let mut expected = vec![ids[0], ids[2]];
    expected.sort_unstable();
    let second = client.event(ROOM, "postgres_changes").await;
    assert_eq!(sorted(&second["ids"]), expected);
    assert_eq!(second["data"]["record"]["n"], json!(i64::MAX));
    assert!(client.settled().await.is_empty(), "{:?}", client.backlog);
}

#[tokio::test]
async fn a_subscription_that_makes_no_sense_is_refused_and_the_channel_stays() {
    let world = World::start(TABLES).await;
    let mut client = world.client().await;
    let cases = [
        (on("*", "nowhere"), "Please check Realtime is enabled for the given connect parameters"),
        (on("*", "unpublished"), "Please check Realtime is enabled"),
        (filtered("*", "todos", "missing=eq.1"), "invalid column for filter missing"),
        (filtered("*", "notes", "id=eq.1"), "invalid input syntax for type uuid"),
        (filtered("*", "todos", "id"), "Error parsing `filter` params: [\"id\"]"),
    ];
    for (n, (binding, expected)) in cases.into_iter().enumerate() {
        let topic = format!("realtime:case{n}");
        let broadcast = json!({ "ack": true });
        client.join(&topic, json!({ "postgres_changes": [binding], "broadcast": broadcast })).await;
        let system = client.event(&topic, "system").await;
        assert_eq!(system["status"], "error", "{system}");
        assert_eq!(system["extension"], "postgres_changes", "{system}");
        let message = system["message"].as_str().unwrap();
        assert!(message.contains(expected), "{message}");
        client.expect_joined(&topic).await;
    }
}

#[tokio::test]
async fn columns_that_a_role_may_not_read_are_left_out() {
    let world = World::start(
        "create table people (id int primary key, name text, salary int); \
         grant select (id, name) on people to anon; \
         grant select on people to authenticated; \
         alter publication supabase_realtime add table people",
    )
    .await;
    let mut anon = world.client().await;
    let key = token("authenticated");
    let mut user = Client::connect_as(&world.server, Vsn::V2, &key).await;
    anon.subscribe(ROOM, json!([on("*", "people")])).await;
    user.subscribe(ROOM, json!([on("*", "people")])).await;
    world.run(&["insert into people values (1, 'ann', 100)"]).await;
    let seen = anon.change(ROOM).await;
    assert_eq!(seen["record"], json!({ "id": 1, "name": "ann" }));
    assert!(!seen.to_string().contains("salary"), "{seen}");
    assert_eq!(user.change(ROOM).await["record"]["salary"], 100);
}

#[tokio::test]
async fn a_policy_decides_who_gets_a_row() {
    let world = World::start(&format!(
        "{TABLES} alter table notes enable row level security; \
         create policy even on notes for select using (n % 2 = 0)"
    ))
    .await;
    let mut client = world.client().await;
    client.subscribe(ROOM, json!([on("*", "notes")])).await;
    client.subscribe("realtime:all", json!([on("INSERT", "*")])).await;
    world
        .run(&[
            "insert into notes values ('00000000-0000-4000-8000-000000000001', 1)",
            "insert into notes values ('00000000-0000-4000-8000-000000000002', 2)",
            "insert into todos values (1)",
        ])
        .await;
    assert_eq!(client.change(ROOM).await["record"]["n"], 2);
    assert_eq!(client.change("realtime:all").await["record"]["n"], 2);
    assert_eq!(client.change("realtime:all").await["table"], "todos");
    assert!(client.settled().await.is_empty(), "{:?}", client.backlog);
}

#[tokio::test]
async fn a_role_that_passes_by_row_security_gets_the_rows() {
    let world =
        World::start(&format!("{TABLES} alter table todos enable row level security")).await;
    let key = token("service_role");
    let mut client = Client::connect_as(&world.server, Vsn::V2, &key).await;
    client.subscribe(ROOM, json!([on("*", "todos")])).await;
    world.run(&["insert into todos values (1, 'a')"]).await;
    assert_eq!(records(&mut client, "body", 1).await, [json!("a")]);
}

#[tokio::test]
async fn row_security_switched_on_stops_delivery_with_the_next_row() {
    let world = World::start(TABLES).await;
    let mut client = world.client().await;
    client.subscribe(ROOM, json!([on("*", "todos")])).await;
    client.subscribe("realtime:notes", json!([on("*", "notes")])).await;
    world.run(&["insert into todos values (1)"]).await;
    client.change(ROOM).await;
    world
        .run(&[
            "alter table todos enable row level security",
            "insert into todos values (2)",
            "update todos set body = 'hidden'",
            "delete from todos",
            "insert into notes values ('00000000-0000-4000-8000-000000000001', 1)",
        ])
        .await;
    client.change("realtime:notes").await;
    // Of a delete the log has the key only, which everybody is told.
    let leaked: Vec<_> = client
        .backlog
        .iter()
        .filter(|message| message.event == "postgres_changes")
        .map(|message| &message.payload["data"])
        .filter(|data| {
            data["type"] != "DELETE"
                || data["old_record"]
                    .as_object()
                    .is_none_or(|row| row.keys().any(|key| key != "id"))
        })
        .collect();
    assert!(leaked.is_empty(), "{leaked:?}");
}

#[tokio::test]
async fn a_revoked_privilege_takes_effect_with_the_next_row() {
    let world = World::start(TABLES).await;
    let mut client = world.client().await;
    client.subscribe(ROOM, json!([on("*", "todos")])).await;
    client.subscribe("realtime:notes", json!([on("*", "notes")])).await;
    world
        .run(&[
            "revoke select on todos from anon",
            "insert into todos values (1, 'hidden')",
            "insert into notes values ('00000000-0000-4000-8000-000000000001', 1)",
        ])
        .await;
    client.change("realtime:notes").await;
    let leaked =
        client.backlog.iter().any(|message| message.payload.to_string().contains("hidden"));
    assert!(!leaked, "{:?}", client.backlog);
}

#[tokio::test]
async fn a_table_may_change_its_columns_mid_stream() {
    let world = World::start(TABLES).await;
    let mut client = world.client().await;
    client.subscribe(ROOM, json!([on("*", "todos")])).await;
    world.run(&["insert into todos values (1, 'a')"]).await;
    let first = client.change(ROOM).await;
    assert_eq!(first["record"], json!({ "id": 1, "body": "a", "done": false }));
    world
        .run(&[
            "alter table todos add column extra jsonb, drop column done",
            "insert into todos values (2, 'b', '{\"x\": [1]}')",
        ])
        .await;
    let second = client.change(ROOM).await;
    assert_eq!(second["record"], json!({ "id": 2, "body": "b", "extra": { "x": [1] } }));
    world
        .run(&[
            "alter table todos rename column body to title",
            "update todos set title = 'c' where id = 2",
        ])
        .await;
    let third = client.change(ROOM).await;
    assert_eq!(third["record"], json!({ "id": 2, "title": "c", "extra": { "x": [1] } }));
}

#[tokio::test]
async fn an_unchanged_toasted_value_does_not_damage_the_record() {
    let world = World::start(&format!(
        "{TABLES} alter table todos alter body set storage external; \
         create table whole (id int primary key, body text, n int); \
         alter table whole alter body set storage external; \
         alter table whole replica identity full; \
         grant select on whole to anon; alter publication supabase_realtime add table whole"
    ))
    .await;
    let mut client = world.client().await;
    client.subscribe(ROOM, json!([on("UPDATE", "*")])).await;
    world
        .run(&[
            "insert into todos values (1, repeat('x', 5000))",
            "insert into whole values (1, repeat('x', 5000), 1)",
            "update todos set done = true",
            "update whole set n = 2",
        ])
        .await;
    let update = client.change(ROOM).await;
    assert_eq!(update["record"]["done"], true);
    assert_eq!(update["record"], json!({ "id": 1, "done": true }), "not in the log");
    let update = client.change(ROOM).await;
    assert_eq!(update["record"]["n"], 2);
    assert_eq!(update["record"]["body"], "x".repeat(5000), "the old row has it");
}

#[tokio::test]
async fn a_large_transaction_arrives_whole_and_in_order() {
    let world = World::start(TABLES).await;
    let mut client = world.client().await;
    client.subscribe(ROOM, json!([on("INSERT", "todos")])).await;
    world.run(&["insert into todos select n, 'x' from generate_series(1, 5000) n"]).await;
    let mut at = None;
    for n in 1..=5000 {
        let change = client.change(ROOM).await;
        assert_eq!(change["record"]["id"], n);
        let time = change["commit_timestamp"].clone();
        assert_eq!(*at.get_or_insert_with(|| time.clone()), time, "one commit, one time");
    }
}

#[tokio::test]
async fn a_channel_that_left_gets_nothing_more() {
    let world = World::start(TABLES).await;
    let mut client = world.client().await;
    client.subscribe(ROOM, json!([on("*", "todos")])).await;
    client.subscribe("realtime:stays", json!([on("*", "todos")])).await;
    assert!(client.ask(ROOM, "phx_leave", json!({})).await.is_ok());
    world.run(&["insert into todos values (1)"]).await;
    client.change("realtime:stays").await;
    client.settled().await;
    assert!(client.backlog.iter().all(|message| message.event != "postgres_changes"));
}

#[tokio::test]
async fn a_new_token_subscribes_anew_as_its_role() {
    let world = World::start(
        "create table people (id int primary key, salary int); \
         grant select (id) on people to anon; grant select on people to authenticated; \
         alter publication supabase_realtime add table people",
    )
    .await;
    let mut client = world.client().await;
    client.subscribe(ROOM, json!([on("*", "people")])).await;
    client.push(ROOM, "access_token", json!({ "access_token": token("authenticated") })).await;
    assert_eq!(client.event(ROOM, "system").await["message"], "Subscribed to PostgreSQL");
    world.run(&["insert into people values (1, 100)"]).await;
    assert_eq!(records(&mut client, "salary", 1).await, [json!(100)]);
}

#[tokio::test]
async fn a_join_without_configuration_reads_its_topic() {
    let world = World::start(TABLES).await;
    let mut client = world.client().await;
    let topic = "realtime:public:todos:id=eq.2";
    assert!(client.ask(topic, "phx_join", json!({})).await.is_ok());
    assert_eq!(client.event(topic, "system").await["message"], "Subscribed to PostgreSQL");
    world.run(&["insert into todos values (1), (2)"]).await;
    let data = client.event(topic, "INSERT").await;
    assert_eq!(data["record"]["id"], 2, "{data}");
}

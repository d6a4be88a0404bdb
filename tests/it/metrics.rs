//! `/metrics` and the signs of life.

use serde_json::json;

use crate::support::{
    eventually,
    server::World,
    tokens::{signed, signed_with, token},
};

#[tokio::test]
async fn metrics_are_for_holders_of_the_token() {
    let world = World::start("").await;
    let get = async |key: Option<String>| {
        let value = key.map(|key| format!("Bearer {key}"));
        let headers: Vec<(&str, &str)> =
            value.iter().map(|value| ("Authorization", value.as_str())).collect();
        world.server.get("/metrics", &headers).await.unwrap()
    };
    assert_eq!(get(None).await.status, 403);
    assert_eq!(get(Some("nonsense".to_owned())).await.status, 403);
    assert_eq!(get(Some(signed_with(json!({}), "another"))).await.status, 403);
    assert_eq!(get(Some(signed(json!({ "exp": 1 })))).await.status, 403);
    // The keys of clients are signed with the same secret, and are public.
    assert_eq!(get(Some(token("anon"))).await.status, 403);
    assert_eq!(get(Some(token("authenticated"))).await.status, 403);
    let answer = get(Some(signed(json!({})))).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.trim_end().ends_with("# EOF"), "{}", answer.body);
}

#[tokio::test]
async fn metrics_count_what_happens() {
    let world = World::start(
        "create table t (id int primary key); grant select on t to anon; \
         alter publication supabase_realtime add table t",
    )
    .await;
    let mut client = world.client().await;
    client.subscribe("realtime:room", json!([{ "event": "*", "schema": "public" }])).await;
    world.run(&["insert into t values (1)"]).await;
    client.change("realtime:room").await;
    let refused = client.ask_join("realtime:private", json!({ "private": true })).await;
    assert_eq!(refused.payload["status"], "error");
    let authorization = format!("Bearer {}", signed(json!({})));
    let expected = [
        "realtime_connections_connected{tenant=\"realtime-dev\"} 1",
        "realtime_channel_joins{tenant=\"realtime-dev\"} 1",
        "realtime_channel_error{tenant=\"realtime-dev\",code=\"Unauthorized\"} 1",
        "realtime_replication_up{tenant=\"realtime-dev\"} 1",
        "realtime_replication_changes_total{tenant=\"realtime-dev\"} 1",
    ];
    eventually("the numbers are there", async || {
        let page = world.server.get("/metrics", &[("Authorization", &authorization)]).await?.body;
        let lines: Vec<&str> = page.lines().collect();
        let missing: Vec<&&str> = expected.iter().filter(|line| !lines.contains(line)).collect();
        if missing.is_empty() {
            return Some(());
        }
        eprintln!("missing: {missing:?}");
        None
    })
    .await;
}

#[tokio::test]
async fn health_and_ping_answer_at_both_addresses() {
    let world = World::start("").await;
    let status = async |path: &str| world.server.get(path, &[]).await.unwrap().status;
    assert_eq!(status("/healthcheck").await, 200);
    assert_eq!(status("/api/ping").await, 200);
    assert_eq!(status("/realtime/v1/api/ping").await, 200);
    assert_eq!(status("/nowhere").await, 404);
}

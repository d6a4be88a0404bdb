//! Operators change a tenant while it is served.

use serde_json::{Value, json};

use crate::support::{
    client::Client,
    server::{Answer, World},
    tokens::{signed, token},
};

const TENANT: &str = "/api/tenants/realtime-dev";

async fn admin(world: &World, method: &str, path: &str, body: &Value) -> Answer {
    let authorization = format!("Bearer {}", signed(json!({})));
    let headers = [("Authorization", authorization.as_str())];
    world.server.call(method, path, &headers, body.to_string().as_bytes()).await.unwrap()
}

async fn change(world: &World, fields: Value) -> Value {
    let answer = admin(world, "PUT", TENANT, &json!({ "tenant": fields })).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["data"].clone()
}

#[tokio::test]
async fn only_operators_may_look() {
    let world = World::start("").await;
    assert_eq!(world.server.get(TENANT, &[]).await.unwrap().status, 403);
    let get = async |key: &str| {
        let authorization = format!("Bearer {key}");
        world.server.get(TENANT, &[("Authorization", &authorization)]).await.unwrap().status
    };
    assert_eq!(get(&token("anon")).await, 403, "a key of clients");
    assert_eq!(get(&token("service_role")).await, 200);
    let answer = admin(&world, "GET", TENANT, &Value::Null).await;
    assert_eq!(
        (answer.status, answer.json()["data"]["external_id"].as_str()),
        (200, Some("realtime-dev"))
    );
    let answer = admin(&world, "GET", "/api/tenants/nobody", &Value::Null).await;
    assert_eq!((answer.status, answer.json()), (404, json!({ "message": "not found" })));
    let health = admin(&world, "GET", &format!("{TENANT}/health"), &Value::Null).await.json();
    assert_eq!(health["data"]["db_connected"], true);

    // A container's health check has the public key, and asks for no body.
    let health = async |tenant: &str, key: &str| {
        let (path, key) = (format!("/api/tenants/{tenant}/health"), format!("Bearer {key}"));
        world.server.call("HEAD", &path, &[("Authorization", &key)], &[]).await.unwrap().status
    };
    assert_eq!(health("realtime-dev", &token("anon")).await, 200);
    assert_eq!(health("realtime-dev", "nonsense").await, 403);
    assert_eq!(health("nobody", &token("anon")).await, 403, "who is there is for operators");
    assert_eq!(health("nobody", &signed(json!({}))).await, 404);
}

#[tokio::test]
async fn a_refused_token_is_refused_however_it_is_spelled() {
    let (lost, kept) = (signed(json!({ "n": 1 })), signed(json!({ "n": 2 })));
    let world = World::start_with("", &[("API_TOKEN_BLOCKLIST", &lost)]).await;
    let get = async |key: &str| {
        let authorization = format!("Bearer {key}");
        world.server.get(TENANT, &[("Authorization", &authorization)]).await.unwrap().status
    };
    assert_eq!(get(&kept).await, 200);
    assert_eq!(get(&format!(" {kept}")).await, 200);
    let escaped = format!("%{:02x}{}", lost.as_bytes()[0], &lost[1..]);
    for spelling in [lost.clone(), format!(" {lost}"), format!("{lost} "), escaped] {
        assert_eq!(get(&spelling).await, 403, "{spelling:?}");
    }
}

#[tokio::test]
async fn limits_change_at_once_and_quietly() {
    let world = World::start("").await;
    let mut client = world.client().await;
    client.join("realtime:a", json!({})).await;
    let tenant = change(&world, json!({ "max_channels_per_client": 1 })).await;
    assert_eq!(tenant["max_channels_per_client"], 1);
    let refused = client.ask_join("realtime:b", json!({})).await;
    assert_eq!(refused.reason(), "ChannelRateLimitReached: Too many channels");
    change(&world, json!({ "max_channels_per_client": null })).await;
    client.join("realtime:b", json!({})).await;
    change(&world, json!({ "max_events_per_second": 0 })).await;
    let answer = world.server.get("/api/ping", &[]).await.unwrap();
    assert_eq!((answer.status, answer.json()), (429, json!({ "message": "Too many requests" })));
    assert_eq!(answer.header("x-rate-limit"), Some("0"));
}

#[tokio::test]
async fn a_suspended_tenant_is_closed_to_everybody() {
    let world = World::start("").await;
    let mut client = world.client().await;
    client.join("realtime:a", json!({})).await;
    change(&world, json!({ "suspend": true })).await;
    let message = "Server requested disconnect";
    let expected = json!({ "extension": "system", "status": "ok", "message": message });
    assert_eq!(client.event("realtime:a", "system").await, expected);
    assert_eq!(client.closed().await, Some(1012));
    let key = token("anon");
    let (status, text) = Client::refused(&world.server, &format!("vsn=2.0.0&apikey={key}")).await;
    assert_eq!(status.as_u16(), 403, "{text}");
    let key = [("apikey", key.as_str())];
    let call = world.server.call("POST", "/api/broadcast", &key, b"").await.unwrap();
    assert_eq!((call.status, call.json()), (403, json!({ "message": "Tenant is suspended" })));
    change(&world, json!({ "suspend": false })).await;
    world.client().await.join("realtime:a", json!({})).await;
}

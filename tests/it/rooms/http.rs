//! The same over HTTP.

use serde_json::{Value, json};
use tokio::process::Command;
use uuid::Uuid;

use super::{World, user};
use crate::support::{
    postgres::Postgres,
    tokens::{SECRET, signed},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_room_lives_over_http() {
    let world = World::start().await;
    let (ada, bob) = (user("Ada"), user("Bob"));
    let room = world.room(&[&ada, &bob]).await;
    let mut at_bob = world.enter(&bob, room).await;
    let messages = format!("/rooms/{room}/messages");
    let id = Uuid::new_v4();
    let message = json!({ "id": id, "content": "hello" });
    let sent = world.ask(&ada, "POST", &messages, message.clone()).await;
    assert_eq!(sent.status, 201);
    assert_eq!(at_bob.hears("message").await["message"], sent.json());
    assert_eq!(world.done(&ada, "POST", &messages, message).await["duplicate"], true);
    let one = format!("{messages}/{id}");
    let edited = world.done(&ada, "PATCH", &one, json!({ "content": "Hi", "version": 1 })).await;
    assert_eq!(edited["version"], 2);
    world.done(&bob, "PUT", &format!("{one}/reactions/%F0%9F%8D%B5"), Value::Null).await;
    let page = world.done(&ada, "GET", &messages, Value::Null).await;
    assert_eq!(page["messages"][0]["reactions"][0]["emoji"], "🍵", "{page}");
    assert_eq!(page["head"]["seq"], 1);
    world.done(&bob, "DELETE", &format!("{one}/reactions/%F0%9F%8D%B5"), Value::Null).await;
    let rooms = world.done(&bob, "GET", "/rooms", Value::Null).await;
    assert_eq!(rooms["rooms"][0]["unread_count"], 1, "{rooms}");
    let read = json!({ "read_seq": 1 });
    world.done(&bob, "POST", &format!("/rooms/{room}/read"), read).await;
    let shown = world.done(&bob, "GET", &format!("/rooms/{room}"), Value::Null).await;
    assert_eq!((&shown["unread_count"], &shown["name"]), (&json!(0), &json!("Tea")), "{shown}");
    let path = format!("/rooms/{room}/members?prefix=ad");
    let members = world.done(&bob, "GET", &path, Value::Null).await;
    assert_eq!(members["members"][0]["user_id"], json!(ada.id));
    assert_eq!(
        world.done(&ada, "DELETE", &format!("{one}?version=2"), Value::Null).await["content"],
        Value::Null
    );
    world.done(&ada, "DELETE", &format!("/rooms/{room}/members/{}", bob.id), Value::Null).await;
    let key = format!("Bearer {}", signed(json!({})));
    let metrics = world.server.get("/metrics", &[("Authorization", &*key)]).await.unwrap().body;
    for series in [
        r#"realtime_chat_verbs_total{tenant="realtime-dev",verb="send",outcome="ok"} 2"#,
        r#"realtime_chat_pushes_total{tenant="realtime-dev",event="chat:message"} 1"#,
    ] {
        assert!(metrics.contains(series), "{series}\n{metrics}");
    }
    let gone = world.ask(&bob, "GET", &messages, Value::Null).await;
    assert_eq!((gone.status, &gone.json()["code"]), (404, &json!("not_found")));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_a_status_a_code_and_a_sentence() {
    let world = World::start_with(&[("ROWCAST_MAX_BODY_BYTES", "2000")]).await;
    let (ada, bob) = (user("Ada"), user("Bob"));
    let room = world.room(&[&ada, &bob]).await;
    let messages = format!("/rooms/{room}/messages");
    let id = Uuid::new_v4();
    world.done(&ada, "POST", &messages, json!({ "id": id, "content": "x" })).await;
    let (edit, one) = (json!({ "content": "y", "version": 9 }), format!("{messages}/{id}"));
    let long = json!({ "id": Uuid::new_v4(), "content": "x".repeat(3000) });
    for (who, method, path, body, status, code) in [
        (&ada, "PATCH", &*one, edit.clone(), 409, "conflict"),
        (&bob, "PATCH", &*one, edit, 403, "forbidden"),
        (&bob, "POST", &*messages, json!({ "id": id, "content": "x" }), 409, "conflict"),
        (&ada, "POST", &*messages, json!([]), 400, "bad_request"),
        (&ada, "POST", "/rooms", json!({ "name": "a\u{0}b" }), 400, "bad_request"),
        (&ada, "POST", &*messages, long, 413, "too_large"),
        (&ada, "GET", &*format!("{messages}?before=x"), Value::Null, 400, "bad_request"),
        (&ada, "GET", "/rooms/x", Value::Null, 400, "bad_request"),
        (&ada, "GET", &*format!("/rooms/{}", Uuid::new_v4()), Value::Null, 404, "not_found"),
        (&ada, "GET", "/nowhere", Value::Null, 404, "not_found"),
        (&ada, "PUT", "/rooms", Value::Null, 405, "bad_request"),
    ] {
        let answer = world.ask(who, method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        let body = answer.json();
        assert_eq!(body["code"], code, "{method} {path}");
        assert!(body["message"].as_str().unwrap().ends_with('.'), "{body}");
    }
    let answer = world.server.get("/chat/v1/rooms", &[]).await.unwrap();
    assert_eq!((answer.status, &answer.json()["code"]), (401, &json!("unauthorized")));
    let headers = [("Origin", "https://a.example"), ("Access-Control-Request-Method", "PATCH")];
    let preflight = world.server.call("OPTIONS", "/chat/v1/rooms", &headers, b"").await.unwrap();
    assert_eq!(preflight.header("access-control-allow-methods"), Some("PATCH"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documentation_names_every_route() {
    let world = World::start().await;
    let api = world.server.get("/api/openapi", &[]).await.unwrap().json();
    let page = include_str!("../../../docs/chat.md");
    let paths = api["paths"].as_object().unwrap().keys();
    let routes: Vec<_> = paths.filter_map(|path| path.strip_prefix("/chat/v1")).collect();
    assert_eq!(routes.len(), 13);
    for route in routes {
        let route =
            [("{room}", ":id"), ("{message}", ":mid"), ("{user}", ":user"), ("{emoji}", ":emoji")]
                .into_iter()
                .fold(route.to_owned(), |route, (from, to)| route.replace(from, to));
        let last = route.trim_start_matches("/rooms/:id");
        assert!(page.contains(&route) || page.contains(&format!("`{last}`")), "{route}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_must_be_there_and_is_not_stops_the_start() {
    let postgres = Postgres::start(&[]).await;
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", postgres.config().port);
    let env = [
        ("PORT", "0"),
        ("DATABASE_URL", &*url),
        ("API_JWT_SECRET", SECRET),
        ("ROWCAST_CREATE_ROLES", "true"),
        ("ROWCAST_CHAT", "on"),
    ];
    let output = Command::new(env!("CARGO_BIN_EXE_rowcast"))
        .arg("serve")
        .env_clear()
        .envs(env)
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("rowcast migrate --chat"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_gives_no_tokens_away() {
    let world = World::start().await;
    let answer = world.server.get("/dev/token?name=Ada", &[]).await.unwrap();
    assert_eq!(answer.status, 404);
}

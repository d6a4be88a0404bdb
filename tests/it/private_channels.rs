//! Private channels under the policies of the guide, whose SQL runs here as it stands.

use std::time::Duration;

use futures_util::future::join_all;
use rowcast::{
    auth::Claims,
    authorization::{Authorizer, Caller, Config},
    postgres::{
        pool::{Pool, PoolConfig},
        session::SessionConfig,
    },
    protocol::Vsn,
    secret::Secret,
};
use serde_json::json;

use crate::support::{
    client::Client,
    server::World,
    tokens::{signed, token},
};

const ANN: &str = "11111111-1111-4111-8111-111111111111";
const BOB: &str = "22222222-2222-4222-8222-222222222222";
const ROOM: &str = "33333333-3333-4333-8333-333333333333";

/// All statements of the guide.
fn guide() -> String {
    let page = include_str!("../../docs/channels.md");
    let mut sql = String::new();
    let mut inside = false;
    for line in page.lines() {
        match line {
            "```sql" => inside = true,
            "```" => inside = false,
            line if inside => {
                sql.push_str(line);
                sql.push('\n');
            }
            _ => {}
        }
    }
    assert!(sql.contains("members talk"), "the guide has its statements");
    sql
}

async fn world() -> World {
    let world = World::start_with("", &[("ROWCAST_CREATE_ROLES", "true")]).await;
    let member = format!("insert into room_members values ('{ROOM}', '{ANN}')");
    world.run(&[&guide(), &member]).await;
    world
}

async fn user(world: &World, sub: &str) -> Client {
    let claims = json!({ "role": "authenticated", "sub": sub, "exp": 4_000_000_000_u32 });
    Client::connect_as(&world.server, Vsn::V2, &signed(claims)).await
}

fn private() -> serde_json::Value {
    json!({ "private": true, "broadcast": { "ack": true, "self": true } })
}

#[tokio::test]
async fn members_hear_each_other_and_strangers_stay_out() {
    let world = world().await;
    let topic = format!("realtime:room:{ROOM}");
    let mut ann = user(&world, ANN).await;
    let mut bob = user(&world, BOB).await;
    ann.join(&topic, private()).await;
    let refused = bob.ask_join(&topic, private()).await;
    let reason = format!(
        "Unauthorized: You do not have permissions to read from this Channel topic: room:{ROOM}"
    );
    assert_eq!(refused.reason(), reason);
    let message = json!({ "type": "broadcast", "event": "hi", "payload": {} });
    assert!(ann.ask(&topic, "broadcast", message.clone()).await.is_ok());
    assert_eq!(ann.event(&topic, "broadcast").await, message);
}

#[tokio::test]
async fn who_may_listen_but_not_talk_is_not_heard() {
    let world = world().await;
    let inbox = format!("realtime:inbox:{ANN}");
    let mut phone = user(&world, ANN).await;
    let mut laptop = user(&world, ANN).await;
    phone.join(&inbox, json!({ "private": true })).await;
    laptop.join(&inbox, json!({ "private": true })).await;
    phone.push(&inbox, "broadcast", json!({ "event": "denied" })).await;
    // The same socket is answered elsewhere, so the denied message was dealt with.
    phone.join("realtime:lobby", private()).await;
    assert!(phone.ask("realtime:lobby", "broadcast", json!({ "event": "e" })).await.is_ok());
    // Who may talk is heard first and alone.
    let authorization = format!("Bearer {}", token("service_role"));
    let path = format!("/api/broadcast/inbox:{ANN}/events/allowed?private=true");
    let headers = [("Authorization", authorization.as_str())];
    let answer = world.server.call("POST", &path, &headers, b"{}").await.unwrap();
    assert_eq!(answer.status, 202);
    assert_eq!(laptop.event(&inbox, "broadcast").await["event"], "allowed");
    assert!(laptop.settled().await.is_empty(), "{:?}", laptop.backlog);
}

#[tokio::test]
async fn presence_may_be_granted_without_broadcasts() {
    let world = world().await;
    let mut guest = Client::connect_as(&world.server, Vsn::V2, &token("anon")).await;
    let hall = "realtime:hall";
    let wants = json!({ "private": true, "presence": { "enabled": true } });
    guest.join(hall, wants).await;
    assert_eq!(guest.event(hall, "presence_state").await, json!({}));
    let refused = guest.ask_join("realtime:hall", json!({ "private": true })).await;
    assert!(refused.reason().starts_with("Unauthorized"), "presence alone was not asked for");
}

#[tokio::test]
async fn a_refresh_that_loses_the_topic_closes_the_channel() {
    let world = world().await;
    let inbox = format!("realtime:inbox:{ANN}");
    let mut ann = user(&world, ANN).await;
    ann.join(&inbox, json!({ "private": true })).await;
    let other = signed(json!({ "role": "authenticated", "sub": BOB, "exp": 4_000_000_000_u32 }));
    ann.push(&inbox, "access_token", json!({ "access_token": other })).await;
    let told = ann.event(&inbox, "system").await;
    assert_eq!(told["status"], "error");
    ann.event(&inbox, "phx_close").await;
}

#[tokio::test]
async fn many_joins_at_once_are_all_answered() {
    let world = world().await;
    let mut clients = Vec::new();
    for n in 0..40 {
        let sub = if n % 2 == 0 { ANN } else { BOB };
        clients.push(user(&world, sub).await);
    }
    let topic = format!("realtime:room:{ROOM}");
    for client in &mut clients {
        client.push(&topic, "phx_join", json!({ "config": { "private": true } })).await;
    }
    for (n, client) in clients.iter_mut().enumerate() {
        let reply = client.event(&topic, "phx_reply").await;
        let expected = if n % 2 == 0 { "ok" } else { "error" };
        assert_eq!(reply["status"], expected, "client {n}");
    }
}

#[tokio::test]
async fn the_login_itself_is_no_role() {
    let world = world().await;
    for role in ["none", "None", "NONE"] {
        let key = signed(json!({ "role": role, "sub": ANN, "exp": 4_000_000_000_u32 }));
        let mut client = Client::connect_as(&world.server, Vsn::V2, &key).await;
        let refused = client.ask_join(&format!("realtime:room:{ROOM}"), private()).await;
        assert!(refused.reason().starts_with("Unauthorized"), "{role}: {}", refused.reason());
    }
}

#[tokio::test]
async fn a_question_that_fails_its_batch_costs_nobody_else_an_answer() {
    let world = world().await;
    let pool = Pool::new(PoolConfig {
        connect: world.postgres.config(),
        size: 5,
        wait: Duration::from_secs(10),
        session: SessionConfig::new("test"),
    });
    let authorizer = Authorizer::new(pool, Config { connections: 1, ..Config::default() });
    let caller = |topic: String| {
        let claims = json!({ "role": "authenticated", "sub": ANN, "exp": 4_000_000_000_u32 });
        let claims = Claims::parse(&claims.to_string(), 1).unwrap();
        Caller { topic: topic.into(), claims, headers: Secret::new("{}") }
    };
    // No topic of a client has a zero byte, on which PostgreSQL refuses the whole list.
    let topics = ["lobby".to_owned(), "\0".to_owned(), format!("room:{ROOM}"), "?".to_owned()];
    let asked = topics.map(|topic| authorizer.read(caller(topic)));
    let answers = join_all(asked).await;
    let allowed: Vec<_> =
        answers.iter().map(|answer| answer.as_ref().ok().map(|rights| rights.broadcast)).collect();
    assert_eq!(allowed, [Some(true), None, Some(true), Some(false)], "{answers:?}");
}

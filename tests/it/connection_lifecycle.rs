//! From the upgrade to the end of a socket.

use rowcast::protocol::Vsn;
use serde_json::json;
use tokio_tungstenite::tungstenite::{Message as Frame, http::StatusCode};

use crate::support::{
    client::Client,
    eventually,
    server::World,
    tokens::{expiring, signed_with, token},
};

const ROOM: &str = "realtime:room";

#[tokio::test]
async fn an_upgrade_without_a_good_key_or_version_is_refused() {
    let world = World::start("").await;
    let refused = async |query: &str| Client::refused(&world.server, query).await;
    let (status, body) = refused("vsn=2.0.0").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(body.contains("API key is missing"), "{body}");
    let (status, body) = refused("vsn=2.0.0&apikey=nonsense").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(body.contains("not a valid JWT"), "{body}");
    let forged = signed_with(json!({ "role": "anon", "exp": 4_000_000_000_u64 }), "another");
    assert_eq!(refused(&format!("apikey={forged}")).await.0, StatusCode::UNAUTHORIZED);
    let stale = expiring("anon", -10);
    assert_eq!(refused(&format!("apikey={stale}")).await.0, StatusCode::UNAUTHORIZED);
    let good = token("anon");
    let (status, body) = refused(&format!("vsn=3.0.0&apikey={good}")).await;
    assert_eq!((status, body.as_str()), (StatusCode::FORBIDDEN, ""));
}

#[tokio::test]
async fn a_channel_is_joined_left_and_joined_again_in_both_versions() {
    let world = World::start("").await;
    for vsn in [Vsn::V1, Vsn::V2] {
        let mut client = Client::connect_as(&world.server, vsn, &token("anon")).await;
        let response = client.join(ROOM, json!({})).await;
        assert_eq!(response, json!({ "postgres_changes": [] }));
        let reply = client.ask(ROOM, "phx_leave", json!({})).await;
        assert!(reply.is_ok(), "{reply:?}");
        client.event(ROOM, "phx_close").await;
        client.join(ROOM, json!({})).await;
    }
}

#[tokio::test]
async fn heartbeats_are_answered_and_unknown_topics_do_not_end_the_socket() {
    let world = World::start("").await;
    let mut client = world.client().await;
    client.settled().await;
    let reply = client.ask("realtime:never-joined", "broadcast", json!({})).await;
    assert_eq!(reply.reason(), "unmatched topic");
    let reply = client.ask("nonsense", "phx_join", json!({})).await;
    assert_eq!(reply.reason(), "unmatched topic");
    client.settled().await;
}

#[tokio::test]
async fn frames_that_make_no_sense_are_dropped_and_the_socket_lives() {
    let world = World::start("").await;
    for vsn in [Vsn::V1, Vsn::V2] {
        let mut client = Client::connect_as(&world.server, vsn, &token("anon")).await;
        for text in ["", "{", "[]", "{}", "null", "[1,2,3]", r#"["1","1","realtime:a"]"#] {
            client.send(Frame::text(text)).await;
        }
        for bytes in [vec![], vec![9], vec![3, 255, 255, 255, 255, 255, 1], vec![0, 9]] {
            client.send(Frame::binary(bytes)).await;
        }
        assert!(client.settled().await.is_empty(), "{:?}", client.backlog);
    }
}

#[tokio::test]
async fn a_second_join_of_a_topic_replaces_the_first() {
    let world = World::start("").await;
    let mut client = world.client().await;
    client.join(ROOM, json!({})).await;
    client.join(ROOM, json!({ "broadcast": { "ack": true } })).await;
    let close = client.wait("the close", |message| message.event == "phx_close").await;
    assert_eq!(close.join_ref, "1", "of the first");
    client.expect_joined(ROOM).await;
}

#[tokio::test]
async fn a_refused_join_does_not_hold_up_another_topic() {
    let world = World::start_with("", &[("CHANNEL_ERROR_BACKOFF_MS", "3000")]).await;
    let mut client = world.client().await;
    let refused = client.push("realtime:", "phx_join", json!({})).await;
    client.join(ROOM, json!({})).await;
    assert!(client.backlog.iter().all(|message| message.reference != refused));
    let reply = client.wait("the refusal", |message| message.reference == refused).await;
    assert_eq!(reply.reason(), "TopicNameRequired: You must provide a topic name");
}

#[tokio::test]
async fn limits_refuse_what_is_too_much() {
    let world = World::start_with(
        "",
        &[("TENANT_MAX_CHANNELS_PER_CLIENT", "1"), ("TENANT_MAX_CONCURRENT_USERS", "1")],
    )
    .await;
    let mut client = world.client().await;
    client.join(ROOM, json!({})).await;
    let reply = client.ask_join("realtime:second", json!({})).await;
    assert_eq!(reply.reason(), "ChannelRateLimitReached: Too many channels");
    let query = format!("apikey={}&vsn=2.0.0", token("anon"));
    let (status, _) = Client::refused(&world.server, &query).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    // Whoever leaves makes room.
    drop(client);
    eventually("a free place", async || Client::try_connect(&world.server, &query).await.ok())
        .await;
}

#[tokio::test]
async fn a_private_channel_is_refused() {
    let world = World::start("").await;
    let mut client = world.client().await;
    let reply = client.ask_join(ROOM, json!({ "private": true })).await;
    assert_eq!(
        reply.reason(),
        "Unauthorized: You do not have permissions to read from this Channel topic: room"
    );
    client.settled().await;
}

#[tokio::test]
async fn a_stopping_server_closes_its_sockets_and_ends_well() {
    let mut world = World::start("").await;
    let mut client = world.client().await;
    client.join(ROOM, json!({})).await;
    world.server.terminate();
    assert_eq!(client.closed().await, Some(1012));
    let status = world.server.wait_exit().await;
    assert_eq!(status.code(), Some(0), "{status:?}");
}

#[tokio::test]
async fn a_leave_of_an_older_join_is_ignored() {
    let world = World::start("").await;
    let mut client = world.client().await;
    client.join(ROOM, json!({})).await;
    client.join(ROOM, json!({ "broadcast": { "ack": true } })).await;
    let stale = json!(["1", "99", ROOM, "phx_leave", {}]).to_string();
    client.send(Frame::text(stale)).await;
    client.expect_joined(ROOM).await;
    assert!(client.backlog.iter().all(|message| message.reference != "99"));
}

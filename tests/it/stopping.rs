//! A server that is asked to stop: nobody new, everybody served until the end.

use std::{collections::BTreeSet, time::Duration};

use rowcast::runtime;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message as Frame;

use crate::support::{
    client::Client,
    eventually,
    server::{Server, World},
    tokens::token,
};

/// Enough for a window of four seconds.
const CROWD: usize = 400;
const ROOM: &str = "realtime:room";
const TABLE: &str = "create table t (id int primary key); grant select on t to anon; \
                     alter publication supabase_realtime add table t;";

/// Sockets of no use but to be closed; says with which code each was.
pub struct Crowd {
    closings: mpsc::Receiver<Option<u16>>,
}

impl Crowd {
    /// So many sockets.
    pub async fn of(server: &Server, sockets: usize) -> Self {
        let (closed, closings) = mpsc::channel(sockets);
        for _ in 0..sockets {
            let (mut client, closed) = (Client::connect(server).await, closed.clone());
            runtime::spawn("client", async move {
                let _ = closed.send(client.closed().await).await;
            });
        }
        Self { closings }
    }

    /// Waits until the next one is closed; none if all are.
    pub async fn next(&mut self) -> Option<Option<u16>> {
        self.closings.recv().await
    }

    /// How many have been closed by now and were not asked for.
    fn more(&mut self) -> usize {
        let more: Vec<_> = std::iter::from_fn(|| self.closings.try_recv().ok()).collect();
        assert!(more.iter().all(|code| *code == Some(1012)), "{more:?}");
        more.len()
    }
}

async fn subscribed(world: &World) -> Client {
    let mut client = world.client().await;
    client.subscribe(ROOM, json!([{ "event": "INSERT", "schema": "public", "table": "t" }])).await;
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_work_until_they_are_closed_one_after_the_other() {
    let mut world = World::start(TABLE).await;
    let mut crowd = Crowd::of(&world.server, CROWD).await;
    // Those who came last are the last to go.
    let (mut ann, mut bob) = (subscribed(&world).await, subscribed(&world).await);
    world.server.terminate();
    assert_eq!(crowd.next().await, Some(Some(1012)));

    let ready = world.server.get("/ready", &[]).await.unwrap();
    assert_eq!((ready.status, ready.body.as_str()), (503, "stopping"));
    let path = format!("/socket/websocket?apikey={}&vsn=2.0.0", token("anon"));
    let upgrade = world.server.get(&path, &[]).await.unwrap();
    assert_eq!((upgrade.status, upgrade.header("Retry-After")), (503, Some("1")));
    let reason = "RealtimeRestarting: Realtime is restarting, please standby";
    assert_eq!(ann.ask_join("realtime:other", json!({})).await.reason(), reason);
    let message = json!({ "type": "broadcast", "event": "e", "payload": { "n": 1 } });
    ann.push(ROOM, "broadcast", message.clone()).await;
    assert_eq!(bob.event(ROOM, "broadcast").await, message);
    world.run(&["insert into t values (1)"]).await;
    assert_eq!(ann.change(ROOM).await["record"]["id"], 1);
    assert_eq!(bob.change(ROOM).await["record"]["id"], 1);

    // If all closed in one moment there would be no answers in between.
    let (mut closed, mut counts) = (1 + crowd.more(), BTreeSet::new());
    while closed < CROWD / 2 {
        ann.settled().await;
        closed += crowd.more();
        counts.insert(closed);
    }
    assert!(counts.len() > 10, "{counts:?}");
    while let Some(code) = crowd.next().await {
        assert_eq!(code, Some(1012));
    }
    assert_eq!((ann.closed().await, bob.closed().await), (Some(1012), Some(1012)));
    assert_eq!(world.server.wait_exit().await.code(), Some(0));
}

/// A server of which a client waits, for its message to be stored.
async fn storing() -> (World, Client) {
    let world = World::start_with("", &[("ROWCAST_CREATE_ROLES", "true")]).await;
    let policy = "create policy p on realtime.messages to anon using (true) with check (true)";
    world.run(&[policy]).await;
    let mut client = world.client().await;
    client.join(ROOM, json!({ "private": true, "broadcast": { "ack": true } })).await;
    let message = json!({ "type": "broadcast", "event": "e", "payload": {} });
    assert!(client.ask(ROOM, "broadcast", message).await.is_ok(), "its rights are known");
    world.run(&["begin", "lock table realtime.messages in exclusive mode"]).await;
    client.send(persisted("n1", "e")).await;
    eventually("the message waits for the lock", async || {
        let sql = "select exists (select from pg_locks where not granted)";
        let client = world.postgres.client().await;
        client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0).then_some(())
    })
    .await;
    (world, client)
}

async fn stops(world: &World) {
    eventually("the server stops", async || {
        (world.server.get("/ready", &[]).await?.status == 503).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_being_stored_is_acknowledged_before_the_socket_closes() {
    let (mut world, mut client) = storing().await;
    // Passed on by whatever started it, a signal may come twice: that is one wish.
    world.server.terminate();
    world.server.terminate();
    stops(&world).await;
    world.run(&["rollback"]).await;
    let reply = client.wait("the acknowledgement", |message| message.reference == "n1").await;
    assert!(reply.is_ok(), "{reply:?}");
    assert_eq!(client.closed().await, Some(1012));
    assert_eq!(world.server.wait_exit().await.code(), Some(0));
    let stored = "select count(*) from realtime.messages where event = 'e'";
    assert_eq!(world.sql.query_one(stored, &[]).await.unwrap().get::<_, i64>(0), 1);
}

/// A message for [`ROOM`] that is to be stored.
fn persisted(reference: &str, event: &str) -> Frame {
    let metadata = r#"{"persist":true}"#;
    let parts = ["", reference, ROOM, event, metadata];
    let lengths = parts.iter().map(|part| u8::try_from(part.len()).unwrap());
    let mut bytes: Vec<u8> = [3].into_iter().chain(lengths).chain([1]).collect();
    bytes.extend(parts.concat().as_bytes());
    bytes.extend(b"{}");
    Frame::binary(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_server_at_once() {
    let (mut world, mut client) = storing().await;
    world.server.terminate();
    stops(&world).await;
    // So much later that it is another wish.
    tokio::time::sleep(Duration::from_millis(400)).await;
    world.server.terminate();
    assert_eq!(world.server.wait_exit().await.code(), Some(1));
    assert_eq!(client.closed().await, None, "there was no time for a goodbye");
}

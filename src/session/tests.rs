//! A socket over a pair of queues, with paused time.

mod bounds;

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{Instant, advance, timeout},
};

use crate::{
    auth::{Keys, jwt::sign},
    authorization::{self, Authorizer},
    broadcast::{Broadcasts, DatabaseBroadcasts, DatabaseMetrics, Messages, Replays, Store},
    chat::{self, Chat, Shards},
    hub::topics::Hub,
    postgres::{
        connect::{ConnectConfig, SslMode},
        pool::{Pool, PoolConfig},
        session::SessionConfig,
    },
    postgres_changes::{self, PostgresChanges},
    presence::Tracker,
    protocol::{Received, Vsn, prepared::Frame},
    runtime::{self, Drain, clock},
    secret::Secret,
    telemetry::{Registry, series::Payloads},
    tenants::{Limits, Tenant, Terms, janitor},
};

use super::{
    Config, Credentials, Metrics, Policies, Services, Socket, TenantMetrics, Waves,
    transport::{Gone, Incoming, Transport},
};

const SECRET: &str = "secret";

/// The client's side of a socket.
struct Client {
    to_server: mpsc::Sender<Incoming>,
    from_server: mpsc::Receiver<Output>,
}

#[derive(Debug)]
enum Output {
    Frame(Frame),
    Closed(u16),
}

/// The server's side. Stops taking frames while nobody reads the other end.
struct Queues {
    incoming: mpsc::Receiver<Incoming>,
    outgoing: mpsc::Sender<Output>,
}

impl Transport for Queues {
    async fn receive(&mut self) -> Incoming {
        self.incoming.recv().await.unwrap_or(Incoming::Gone)
    }

    async fn send(&mut self, frames: &mut Vec<Frame>) -> Result<(), Gone> {
        for frame in frames.drain(..) {
            self.outgoing.send(Output::Frame(frame)).await.map_err(|_| Gone)?;
        }
        Ok(())
    }

    async fn close(&mut self, code: u16, _reason: &'static str) {
        let _ = self.outgoing.try_send(Output::Closed(code));
    }
}

impl Client {
    async fn send(&mut self, message: Value) {
        let text = Received::Text(message.to_string().into());
        self.to_server.send(Incoming::Message(text)).await.unwrap();
    }

    async fn join(&mut self, reference: &str, topic: &str, payload: Value) {
        self.send(json!([reference, reference, topic, "phx_join", payload])).await;
    }

    /// The next frame as JSON, or `{"closed": code}`.
    async fn next(&mut self) -> Value {
        let output = timeout(Duration::from_secs(400), self.from_server.recv()).await;
        match output.expect("a frame in time") {
            Some(Output::Frame(Frame::Text(text))) => serde_json::from_slice(&text).unwrap(),
            Some(Output::Frame(Frame::Binary(_))) => json!("binary"),
            Some(Output::Closed(code)) => json!({"closed": code}),
            None => json!("gone"),
        }
    }
}

fn services(limits: Limits, config: Config) -> Arc<Services> {
    let terms = Terms { limits, ..Terms::default() };
    let tenant =
        Arc::new(Tenant::new("t", Keys::new(Some(SECRET), None, serde_json::Map::new()), terms));
    let hub = Arc::new(Hub::new());
    let series = DatabaseMetrics::register(&mut Registry::default()).tenant("t");
    let day = Duration::from_secs(86_400);
    let from_database =
        DatabaseBroadcasts::new(Arc::clone(&tenant), Arc::clone(&hub), day, series.clone());
    Arc::new(Services {
        policies: Policies::new(
            Authorizer::new(no_pool(), authorization::Config::default()),
            Vec::new(),
            no_chat(&hub, &tenant),
            metrics(),
        ),
        broadcasts: Broadcasts::new(Arc::clone(&tenant), Arc::clone(&hub)),
        messages: Messages {
            readiness: Some(from_database.readiness()),
            replays: Replays::new(no_pool(), series),
            store: Store::new(no_pool()),
            janitor: janitor::Handle::default(),
        },
        presence: Arc::new(Tracker::new(Arc::clone(&hub))),
        chat: no_chat(&hub, &tenant),
        changes: no_changes(),
        metrics: metrics(),
        drain: Drain::new(),
        sockets: Drain::new(),
        waves: Arc::new(Waves::new(Duration::from_secs(5))),
        config,
        hub,
        tenant,
    })
}

fn metrics() -> TenantMetrics {
    Metrics::register(&mut Registry::default(), &Payloads::default()).tenant("t")
}

fn no_chat(hub: &Arc<Hub>, tenant: &Arc<Tenant>) -> Chat {
    let config = chat::Config { mode: chat::Mode::Off, ..chat::Config::default() };
    let series = chat::Metrics::register(&mut Registry::default()).tenant("t");
    Chat::new(
        config,
        Shards::one(no_pool()),
        Arc::clone(hub),
        Arc::clone(tenant),
        Drain::new(),
        series,
        Arc::new(chat::Status::new(&config, Arc::clone(&tenant.name), None)),
    )
}

/// Database changes of a database that is never asked.
fn no_changes() -> PostgresChanges {
    let config = postgres_changes::Config { publication: "p".into(), ..Default::default() };
    PostgresChanges::new(config, no_pool(), no_pool())
}

fn no_pool() -> Pool {
    let connect = ConnectConfig {
        host: "127.0.0.1".to_owned(),
        port: 1,
        user: "nobody".to_owned(),
        password: None,
        database: "none".to_owned(),
        ssl_mode: SslMode::Disable,
        ssl_root_cert: None,
    };
    let session = SessionConfig::new("test");
    let wait = Duration::from_secs(1);
    Pool::new(PoolConfig { connect, size: 1, wait, session })
}

fn token(seconds: i64) -> String {
    let claims = json!({"role": "anon", "exp": clock::unix_seconds() + seconds});
    let Value::Object(claims) = claims else { unreachable!() };
    sign(&claims, SECRET).unwrap()
}

/// Opens a socket; what the server sends waits in a queue of `room` frames.
fn connect(services: &Arc<Services>, room: usize) -> Client {
    let token = token(3600);
    services.tenant.verify(&token).unwrap();
    connect_as(services, room, token)
}

fn connect_as(services: &Arc<Services>, room: usize, token: String) -> Client {
    let (to_server, incoming) = mpsc::channel(100);
    let (outgoing, from_server) = mpsc::channel(room);
    let credentials = Credentials { token: Secret::new(token), headers: Secret::new("{}") };
    let socket = Socket::new(Arc::clone(services), Vsn::V2, credentials);
    runtime::spawn("socket", socket.run(Queues { incoming, outgoing }));
    Client { to_server, from_server }
}

fn open() -> (Arc<Services>, Client) {
    let services = services(Limits::default(), Config::default());
    let client = connect(&services, 1000);
    (services, client)
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_sends_nothing_for_a_minute_is_closed() {
    let (_services, mut client) = open();
    let opened = Instant::now();
    client.send(json!([null, "1", "phoenix", "heartbeat", {}])).await;
    assert_eq!(client.next().await[3], "phx_reply");
    assert_eq!(client.next().await, json!({"closed": 1000}));
    assert!(opened.elapsed() >= Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn heartbeats_keep_a_socket_open() {
    let (_services, mut client) = open();
    for _ in 0..10 {
        client.send(json!([null, "1", "phoenix", "heartbeat", {}])).await;
        assert_eq!(client.next().await[3], "phx_reply");
        advance(Duration::from_secs(50)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_lost_its_last_channel_is_closed_in_time() {
    let config = Config { idle_timeout: Duration::from_secs(100_000), ..Config::default() };
    let services = services(Limits::default(), config);
    let mut client = connect(&services, 1000);
    client.join("1", "realtime:a", json!({"config": {}})).await;
    assert_eq!(client.next().await[4]["status"], "ok");
    advance(Duration::from_secs(700)).await;
    client.send(json!(["1", "2", "realtime:a", "phx_leave", {}])).await;
    assert_eq!(client.next().await[3], "phx_reply");
    assert_eq!(client.next().await[3], "phx_close");
    advance(Duration::from_secs(590)).await;
    client.send(json!([null, "3", "phoenix", "heartbeat", {}])).await;
    assert_eq!(client.next().await[3], "phx_reply");
    assert_eq!(client.next().await, json!({"closed": 1000}));
}

#[tokio::test(start_paused = true)]
async fn a_refused_join_is_told_later_and_other_topics_do_not_wait() {
    let (_services, mut client) = open();
    let started = Instant::now();
    client.join("1", "realtime:a", json!({"config": {}, "access_token": "abc"})).await;
    client.join("2", "realtime:b", json!({"config": {}})).await;
    assert_eq!(client.next().await[2], "realtime:b");
    assert_eq!(started.elapsed(), Duration::ZERO);
    let refused = client.next().await;
    assert_eq!(refused[2], "realtime:a");
    let reason = "MalformedJWT: The token provided is not a valid JWT";
    assert_eq!(refused[4], json!({"status": "error", "response": {"reason": reason}}));
    assert_eq!(started.elapsed(), Config::default().channel_error_backoff);
}

#[tokio::test(start_paused = true)]
async fn the_channel_limit_refuses_one_join_and_keeps_the_rest() {
    let limits = Limits { max_channels_per_client: 1, ..Limits::default() };
    let services = services(limits, Config::default());
    let mut client = connect(&services, 1000);
    client.join("1", "realtime:a", json!({"config": {}})).await;
    client.join("2", "realtime:b", json!({"config": {}})).await;
    client.join("3", "realtime:a", json!({"config": {}})).await;
    assert_eq!(client.next().await[4]["status"], "ok");
    assert_eq!(client.next().await[4]["status"], "ok", "a rejoin takes no second place");
    assert_eq!(client.next().await[3], "phx_close");
    let reason = "ChannelRateLimitReached: Too many channels";
    assert_eq!(client.next().await[4]["response"]["reason"], reason);
}

#[tokio::test(start_paused = true)]
async fn users_count_from_their_first_join_until_they_leave() {
    let limits = Limits { max_concurrent_users: 1, ..Limits::default() };
    let services = services(limits, Config::default());
    let (mut one, mut two) = (connect(&services, 1000), connect(&services, 1000));
    one.join("1", "realtime:a", json!({"config": {}})).await;
    assert_eq!(one.next().await[4]["status"], "ok");
    one.join("2", "realtime:b", json!({"config": {}})).await;
    assert_eq!(one.next().await[4]["status"], "ok", "two channels are one user");
    two.join("1", "realtime:a", json!({"config": {}})).await;
    let reason = "ConnectionRateLimitReached: Too many connected users";
    assert_eq!(two.next().await[4]["response"]["reason"], reason);
    drop(one);
    tokio::task::yield_now().await;
    advance(Duration::from_millis(1)).await;
    two.join("2", "realtime:a", json!({"config": {}})).await;
    assert_eq!(two.next().await[4]["status"], "ok");
}

#[tokio::test(start_paused = true)]
async fn too_many_joins_close_the_socket_after_the_answer() {
    let limits = Limits { max_joins_per_second: 1, ..Limits::default() };
    let services = services(limits, Config::default());
    let mut client = connect(&services, 1000);
    services.tenant.meters.joins.record(1000);
    advance(Duration::from_secs(6)).await;
    client.join("1", "realtime:a", json!({"config": {}})).await;
    let reason = "ClientJoinRateLimitReached: Too many joins per second";
    assert_eq!(client.next().await[4]["response"]["reason"], reason);
    assert_eq!(client.next().await, json!({"closed": 1001}));
}

#[tokio::test(start_paused = true)]
async fn too_many_events_shut_the_receiving_channels_down() {
    let limits = Limits { max_events_per_second: 1, ..Limits::default() };
    let services = services(limits, Config::default());
    let (mut sender, mut receiver) = (connect(&services, 1000), connect(&services, 1000));
    for client in [&mut sender, &mut receiver] {
        client.join("1", "realtime:a", json!({"config": {}})).await;
        assert_eq!(client.next().await[4]["status"], "ok");
    }
    services.tenant.meters.events.record(1000);
    advance(Duration::from_secs(6)).await;
    sender.send(json!(["1", "2", "realtime:a", "broadcast", {}])).await;
    let system = receiver.next().await;
    assert_eq!(system[4]["message"], "Too many messages per second");
    assert_eq!(receiver.next().await[3], "phx_close");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_reading_is_closed_and_disturbs_nobody() {
    let config = Config { outbox_bytes: 20_000, ..Config::default() };
    let limits = Limits { max_events_per_second: 1_000_000, ..Limits::default() };
    let services = services(limits, config);
    let (mut sender, mut reader) = (connect(&services, 1000), connect(&services, 1000));
    let mut stalled = connect(&services, 1);
    for client in [&mut sender, &mut reader, &mut stalled] {
        client.join("1", "realtime:a", json!({"config": {}})).await;
        assert_eq!(client.next().await[4]["status"], "ok");
    }
    let text = "x".repeat(1000);
    for n in 0..50 {
        sender.send(json!(["1", null, "realtime:a", "broadcast", {"n": n, "text": text}])).await;
        assert_eq!(reader.next().await[4]["n"], n);
    }
    let mut received = 0;
    while let Value::Array(_) = stalled.next().await {
        received += 1;
    }
    assert!(received < 30, "{received} frames went to a client that did not read");
    assert_eq!(services.metrics.slow.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_suspended_tenant_sends_its_sockets_away() {
    let (services, mut client) = open();
    client.join("1", "realtime:a", json!({"config": {}})).await;
    assert_eq!(client.next().await[4]["status"], "ok");
    services.tenant.change(Terms { suspended: true, ..services.tenant.terms() });
    let message =
        json!({"extension": "system", "status": "ok", "message": "Server requested disconnect"});
    assert_eq!(client.next().await, json!([null, null, "realtime:a", "system", message]));
    assert_eq!(client.next().await, json!({"closed": 1012}));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_says_so() {
    let (services, mut client) = open();
    client.join("1", "realtime:a", json!({"config": {}})).await;
    assert_eq!(client.next().await[4]["status"], "ok");
    services.drain.start();
    assert_eq!(client.next().await, json!({"closed": 1012}));
}

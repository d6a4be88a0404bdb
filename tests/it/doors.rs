//! Who may come in, and how long they may take: origins, ports, TLS, slow clients.

use std::{fs, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{
    PATIENCE, eventually,
    postgres::Postgres,
    redis::tls::Certificates,
    server::{Answer, Server, World, exchange},
    tokens::{signed, token},
};

/// An upgrade with a further header.
fn upgrade(header: &str) -> String {
    format!(
        "GET /socket/websocket?vsn=2.0.0&apikey={} HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{header}\r\n",
        token("anon")
    )
}

/// The first line of the answer.
async fn first_line(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n") {
        answer.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
    }
    String::from_utf8(answer).unwrap().trim().to_owned()
}

#[tokio::test]
async fn only_pages_of_the_list_may_call() {
    let list = "https://app.test, https://*.team.test";
    let world = World::start_with("", &[("ROWCAST_ALLOWED_ORIGINS", list)]).await;
    let open = async |header: &str| {
        let mut stream = TcpStream::connect(world.server.address()).await.unwrap();
        first_line(&mut stream, &upgrade(header)).await
    };
    for good in ["", "Origin: https://app.test\r\n", "Origin: https://a.team.test\r\n"] {
        assert!(open(good).await.contains(" 101 "), "{good}");
    }
    for bad in
        ["Origin: https://evil.test\r\n", "Origin: null\r\n", "Origin: https://team.test\r\n"]
    {
        assert!(open(bad).await.contains(" 403 "), "{bad}");
    }

    let preflight = async |origin: &str| {
        let headers = [("Origin", origin), ("Access-Control-Request-Method", "POST")];
        world.server.call("OPTIONS", "/api/broadcast", &headers, b"").await.unwrap()
    };
    let answer = preflight("https://app.test").await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.test"));
    assert_eq!(answer.header("vary"), Some("origin"));
    let refused = preflight("https://evil.test").await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (403, None));
    let headers = [("Origin", "https://evil.test")];
    assert_eq!(world.server.get("/api/ping", &headers).await.unwrap().status, 403);
    assert_eq!(world.server.get("/api/ping", &[]).await.unwrap().status, 200);
}

#[tokio::test]
async fn operators_have_a_port_of_their_own() {
    let world = World::start_with("", &[("ROWCAST_ADMIN_ADDRESS", "127.0.0.1:0")]).await;
    let log = world.server.log();
    let (_, rest) = log.split_once("Operators are served on ").unwrap();
    let admin = rest.lines().next().unwrap();
    let bearer = format!("Bearer {}", signed(json!({})));
    let headers = [("Authorization", &*bearer)];
    let there = async |path: &str| exchange(admin, "GET", path, &headers, b"").await.unwrap();
    let here = async |path: &str| world.server.get(path, &headers).await.unwrap().status;
    for path in ["/metrics", "/api/tenants", "/api/tenants/realtime-dev/health"] {
        assert_eq!((there(path).await.status, here(path).await), (200, 404), "{path}");
    }
    for path in ["/healthcheck", "/ready"] {
        assert_eq!((there(path).await.status, here(path).await), (200, 200), "{path}");
    }
    for path in ["/", "/socket/websocket", "/api/ping", "/chat/v1/rooms"] {
        assert_eq!(there(path).await.status, 404, "{path}");
    }
    assert!(there("/metrics").await.body.contains("phoenix_connections_active"));
    let stranger = exchange(admin, "GET", "/metrics", &[], b"").await.unwrap();
    assert_eq!(stranger.status, 403);
}

/// A connection that trusts `authority`.
async fn dial(server: &Server, authority: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(server.address()).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

#[tokio::test]
async fn certificates_are_renewed_while_the_server_runs() {
    let (one, two) = (Certificates::new(), Certificates::new());
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let [certificate, key] = ["server.crt", "server.key"].map(|name| folder.path().join(name));
    let put = |from: &Certificates| {
        fs::copy(from.file("server.key"), &key).unwrap();
        fs::copy(from.file("server.crt"), &certificate).unwrap();
    };
    put(&one);
    let [first, second] = [&one, &two].map(|made| fs::read(made.file("ca.crt")).unwrap());
    let postgres = Postgres::start(&[]).await;
    let env = [
        ("ROWCAST_TLS_CERT", certificate.to_str().unwrap()),
        ("ROWCAST_TLS_KEY", key.to_str().unwrap()),
        ("ROWCAST_HANDSHAKE_TIMEOUT_MS", "2000"),
    ];
    let server = Server::start_without_looking(&postgres, &env).await;
    let hangup = || server.signal("-HUP");
    let mut old =
        eventually("the first certificate is shown", async || dial(&server, &first).await.ok())
            .await;
    assert!(first_line(&mut old, &upgrade("")).await.contains(" 101 "), "a socket over TLS");
    assert!(dial(&server, &second).await.is_err(), "it is not the other one");
    // Plain text is no greeting, and silence is not waited for.
    assert!(server.get("/healthcheck", &[]).await.is_none_or(|answer| answer.status != 200));
    let begun = Instant::now();
    let mut silent = TcpStream::connect(server.address()).await.unwrap();
    assert_eq!(timeout(PATIENCE, silent.read(&mut [0])).await.unwrap().unwrap_or(0), 0);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());

    // What cannot be used changes nothing.
    fs::write(&certificate, "nonsense").unwrap();
    hangup();
    eventually("the fault is told", async || {
        server.log().contains("the old one stays").then_some(())
    })
    .await;
    dial(&server, &first).await.unwrap();

    put(&two);
    hangup();
    eventually("the second certificate is shown", async || dial(&server, &second).await.ok()).await;
    // Without a signal it takes some seconds.
    put(&one);
    let mut last =
        eventually("the first one again", async || dial(&server, &first).await.ok()).await;
    let answer = first_line(&mut last, "GET /healthcheck HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.contains(" 200 "), "{answer}");
    // The old socket is still there.
    old.write_all(&[0x89, 0x80, 0, 0, 0, 0]).await.unwrap();
    let mut rest = [0; 512];
    assert!(timeout(PATIENCE, old.read(&mut rest)).await.unwrap().unwrap() > 0);
}

#[tokio::test]
async fn slow_clients_are_not_waited_for() {
    let env = [("ROWCAST_HANDSHAKE_TIMEOUT_MS", "700"), ("ROWCAST_BODY_TIMEOUT_MS", "700")];
    let world = World::start_with("", &env).await;
    let connect = async || TcpStream::connect(world.server.address()).await.unwrap();
    let until_closed = async |stream: &mut TcpStream| {
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        String::from_utf8(answer).unwrap()
    };
    // A head that never ends.
    let mut slow = connect().await;
    slow.write_all(b"GET /healthcheck HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    until_closed(&mut slow).await;
    // A connection that stays open and asks nothing more.
    let mut idle = connect().await;
    idle.write_all(b"GET /healthcheck HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(until_closed(&mut idle).await.starts_with("HTTP/1.1 200"));
    // A body that never ends.
    let mut slow = connect().await;
    let head = format!(
        "POST /api/broadcast HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{",
        token("anon")
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    assert!(until_closed(&mut slow).await.starts_with("HTTP/1.1 408"));
    // Many heads that never end take no more than their time.
    let mut crowd = Vec::new();
    for _ in 0..50 {
        let mut stream = connect().await;
        stream.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
        crowd.push(stream);
    }
    assert_eq!(world.server.get("/healthcheck", &[]).await.unwrap().status, 200);
    for stream in &mut crowd {
        until_closed(stream).await;
    }
}

#[tokio::test]
async fn heads_and_bodies_have_a_largest_size() {
    let env = [("MAX_HEADER_LENGTH", "16384"), ("ROWCAST_MAX_BODY_BYTES", "2000")];
    let world = World::start_with("", &env).await;
    let head = async |bytes: usize| {
        let value = "x".repeat(bytes);
        let answer = world.server.get("/healthcheck", &[("X-Large", &value)]).await;
        answer.map(|answer| answer.status)
    };
    assert_eq!(head(12_000).await, Some(200));
    assert!(matches!(head(40_000).await, None | Some(431)));
    let bearer = format!("Bearer {}", token("anon"));
    let headers = [("Authorization", &*bearer), ("Content-Type", "application/json")];
    let post = async |bytes: usize| -> Answer {
        let body = format!("[{}]", " ".repeat(bytes));
        world.server.call("POST", "/api/broadcast", &headers, body.as_bytes()).await.unwrap()
    };
    assert_eq!((post(1000).await.status, post(3000).await.status), (422, 413));
}

#[tokio::test]
async fn tokens_name_only_roles_that_are_allowed() {
    let world = World::start("").await;
    let open = async |server: &Server, role: &str| {
        let token = token(role);
        let request = upgrade("").replace(&self::token("anon"), &token);
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        first_line(&mut stream, &request).await
    };
    for role in ["anon", "service_role", "somebody_else"] {
        assert!(open(&world.server, role).await.contains(" 101 "), "{role}");
    }
    for role in ["postgres", "supabase_admin", "pg_write_all_data"] {
        assert!(open(&world.server, role).await.contains(" 500 "), "{role}");
    }
    let env = [("ROWCAST_ALLOWED_ROLES", "anon, app_user"), ("SLOT_NAME_SUFFIX", "b")];
    let strict = Server::start(&world.postgres, &env).await;
    assert!(open(&strict, "app_user").await.contains(" 101 "));
    assert!(open(&strict, "service_role").await.contains(" 500 "));
    let bearer = format!("Bearer {}", token("service_role"));
    let headers = [("Authorization", &*bearer), ("Content-Type", "application/json")];
    let answer = strict.call("POST", "/api/broadcast", &headers, b"{}").await.unwrap();
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn pages_cannot_be_framed_or_taken_for_something_else() {
    let world = World::start("").await;
    for path in ["/", "/swaggerui/"] {
        let page = world.server.get(path, &[]).await.unwrap();
        assert_eq!(page.status, 200, "{path}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert!(page.header("x-frame-options").is_some(), "{path}");
        assert!(page.header("referrer-policy").is_some(), "{path}");
    }
}

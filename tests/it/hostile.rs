//! A server that lies costs a connection and nothing else.

use std::time::Duration;

use rowcast::postgres::{
    connect::{ConnectConfig, SslMode},
    pgoutput::StatusUpdate,
    wire::{Connection, Mode, Startup, WireError},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// Authentication ok and ready for query.
const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";

/// What the liar does after its answer.
#[derive(Debug, Clone, Copy, PartialEq)]
enum After {
    /// Waits for the client to hang up, so that no error is but the answer's own.
    Waits,
    HangsUp,
}

/// Accepts one client, lets it in with `welcome`, and answers its first query
/// with `answer`, one byte at a time.
async fn lie(
    welcome: &'static [u8],
    answer: &'static [u8],
    after: After,
) -> Result<Connection, WireError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    rowcast::runtime::spawn("liar", async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        let mut buffer = [0; 1024];
        assert!(socket.read(&mut buffer).await.unwrap() > 0);
        socket.write_all(welcome).await.unwrap();
        // Nothing if the welcome was refused.
        if socket.read(&mut buffer).await.unwrap_or(0) == 0 {
            return;
        }
        for byte in answer {
            // The client may have had enough before the end.
            let _ = socket.write_all(&[*byte]).await;
            tokio::task::yield_now().await;
        }
        while after == After::Waits && socket.read(&mut buffer).await.unwrap_or(0) > 0 {}
    });
    let config = ConnectConfig {
        host: "127.0.0.1".to_owned(),
        port,
        user: "u".to_owned(),
        password: None,
        database: "d".to_owned(),
        ssl_mode: SslMode::Disable,
        ssl_root_cert: None,
    };
    let startup = Startup {
        application_name: "test".to_owned(),
        mode: Mode::Replication,
        timeout: Duration::from_secs(60),
    };
    soon(Connection::open(&config, &startup)).await
}

/// Long before anything times out.
async fn soon<T>(answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), answer).await.expect("not to be waited for")
}

#[tokio::test]
async fn broken_answers_are_errors() {
    use After::{HangsUp, Waits};
    for (answer, after) in [
        // A row that claims more columns, a longer value, or has something behind.
        (&b"D\0\0\0\x06\xFF\xFF"[..], Waits),
        (b"D\0\0\0\x0A\0\x01\x7F\xFF\xFF\xFF", Waits),
        (b"D\0\0\0\x07\0\0x", Waits),
        // A length over the limit, under the least, and never filled.
        (b"D\x7F\xFF\xFF\xFF", Waits),
        (b"D\0\0\0\x03", Waits),
        (b"D\x3F\xFF\xFF\xFFabc", HangsUp),
        // An error without its end, and a message of the wrong kind.
        (b"E\0\0\0\x06CX", Waits),
        (b"W\0\0\0\x04", Waits),
        (b"", HangsUp),
    ] {
        let mut connection = lie(WELCOME, answer, after).await.unwrap();
        let error = soon(connection.query("SELECT 1")).await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
    }
}

#[tokio::test]
async fn a_login_that_makes_no_sense_is_refused() {
    // Kerberos, an unknown method, SCRAM without a mechanism we have, a password
    // we do not have, and no PostgreSQL at all.
    for welcome in [
        &b"R\0\0\0\x08\0\0\0\x02"[..],
        b"R\0\0\0\x08\0\0\0\x63",
        b"R\0\0\0\x0A\0\0\0\x0AX\0",
        b"R\0\0\0\x08\0\0\0\x03",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ] {
        lie(welcome, b"", After::Waits).await.unwrap_err();
    }
}

#[tokio::test]
async fn frames_that_are_none_end_the_stream() {
    for frames in [
        &b"W\0\0\0\x07\0\0\0d\0\0\0\x04"[..],
        b"W\0\0\0\x07\0\0\0d\0\0\0\x06wx",
        b"W\0\0\0\x07\0\0\0d\0\0\0\x05?",
        b"W\0\0\0\x07\0\0\0X\0\0\0\x04",
        b"W\0\0\0\x07\0\0\0c\0\0\0\x04",
    ] {
        let connection = lie(WELCOME, frames, After::Waits).await.unwrap();
        let mut stream = connection.start_replication("START_REPLICATION").await.unwrap();
        let status = StatusUpdate { flushed: 0, now: 0, reply: false };
        stream.send_status(status).await.unwrap();
        let error = soon(stream.next()).await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
    }
}

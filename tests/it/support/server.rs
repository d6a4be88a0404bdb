//! The real binary, serving a database of a private PostgreSQL.

use std::{
    io::{BufRead as _, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use rowcast::postgres::pool;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{PATIENCE, client::Client, eventually, postgres::Postgres, tokens::SECRET};

/// `rowcast serve`; killed when dropped. What it wrote is shown if the test fails.
pub struct Server {
    child: Option<Child>,
    address: String,
    env: Vec<(String, String)>,
    lines: Arc<Mutex<Vec<String>>>,
    /// Those who read its output into `lines`.
    readers: Vec<thread::JoinHandle<()>>,
}

/// An answer to an HTTP request.
pub struct Answer {
    pub status: u16,
    pub body: String,
    head: String,
}

impl Answer {
    /// The value of a header, if the answer has it.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

impl Server {
    /// Serves the database `postgres` with these settings beside the usual ones.
    pub async fn start(postgres: &Postgres, env: &[(&str, &str)]) -> Self {
        let mut server = Self::with(postgres, env);
        server.resume().await;
        server
    }

    /// The same for a server that does not answer plain requests.
    pub async fn start_without_looking(postgres: &Postgres, env: &[(&str, &str)]) -> Self {
        let mut server = Self::with(postgres, env);
        server.spawn().await;
        server
    }

    fn with(postgres: &Postgres, env: &[(&str, &str)]) -> Self {
        let port = postgres.config().port;
        let usual = [
            ("PORT", "0"),
            ("ROWCAST_BIND", "127.0.0.1"),
            ("DATABASE_URL", &format!("postgres://postgres@127.0.0.1:{port}/postgres")),
            ("API_JWT_SECRET", SECRET),
            ("CHANNEL_ERROR_BACKOFF_MS", "50"),
            ("CONNECT_ERROR_BACKOFF_MS", "50"),
            ("TENANT_MAX_EVENTS_PER_SECOND", "100000"),
            ("ROWCAST_LOG_FORMAT", "json"),
            ("LOG_LEVEL", "info"),
        ];
        let mut all: Vec<(String, String)> = Vec::new();
        for (name, value) in usual.iter().chain(env) {
            all.retain(|(known, _)| known != name);
            all.push(((*name).to_owned(), (*value).to_owned()));
        }
        Self {
            child: None,
            address: String::new(),
            env: all,
            lines: Arc::default(),
            readers: Vec::new(),
        }
    }

    /// Starts it again on the same port after [`Server::kill9`] or [`Server::stop`].
    pub async fn resume(&mut self) {
        self.spawn().await;
        eventually("the server is healthy", async || {
            (self.get("/healthcheck", &[]).await?.status == 200).then_some(())
        })
        .await;
    }

    async fn spawn(&mut self) {
        assert!(self.child.is_none(), "already running");
        let before = self.lines.lock().unwrap().len();
        let mut command = Command::new(env!("CARGO_BIN_EXE_rowcast"));
        command.arg("serve").env_clear().envs(self.env.iter().cloned());
        if let Some((_, port)) = self.address.split_once(':') {
            command.env("PORT", port);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        self.readers = vec![self.collect(stdout), self.collect(stderr)];
        self.child = Some(child);
        self.address = eventually("the server listens", async || {
            let status = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(status.is_none(), "the server ended: {status:?}");
            let lines = self.lines.lock().unwrap();
            lines.iter().skip(before).find_map(|line| {
                let (_, address) = line.split_once("Listening on ")?;
                Some(address.trim().to_owned())
            })
        })
        .await;
    }

    fn collect(&self, stream: impl Read + Send + 'static) -> thread::JoinHandle<()> {
        let lines = Arc::clone(&self.lines);
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        })
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Of its process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Everything it wrote until now.
    pub fn log(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Ends it as a crash would.
    pub async fn kill9(&mut self) {
        self.child.as_mut().unwrap().kill().unwrap();
        self.wait_exit().await;
    }

    /// Asks it to end, as a service manager does.
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Stops it in the middle of whatever it does, or lets it go on.
    pub fn hang(&self, hang: bool) {
        self.signal(if hang { "-STOP" } else { "-CONT" });
    }

    /// Sends it a signal, such as `-HUP`.
    pub fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Waits until it is gone and all that it wrote is read.
    pub async fn wait_exit(&mut self) -> ExitStatus {
        let child = self.child.as_mut().unwrap();
        let status = eventually("the server exits", async || child.try_wait().unwrap()).await;
        self.child = None;
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        status
    }

    /// `GET path`; none if nobody answers.
    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Option<Answer> {
        self.call("GET", path, headers, b"").await
    }

    /// Any request; none if nobody answers.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Answer> {
        let answer = timeout(PATIENCE, exchange(&self.address, method, path, headers, body)).await;
        answer.unwrap_or_else(|_| panic!("no end of the answer to {method} {path}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            eprintln!("--- the server wrote:\n{}\n---", self.log());
        }
    }
}

/// One request to a server that may be gone; none if nobody answers.
pub async fn exchange(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    // Version 1.0 asks for a plain body that ends with the connection.
    let mut request = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    stream.write_all(request.as_bytes()).await.ok()?;
    stream.write_all(body).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned(), head: head.to_owned() })
}

/// A database, a server on it, and somebody who changes rows.
pub struct World {
    // In this order, so that the server goes before its database.
    pub server: Server,
    pub sql: pool::Client,
    pub postgres: Postgres,
}

impl World {
    /// The usual roles, then `sql`, then the server.
    pub async fn start(sql: &str) -> Self {
        Self::start_with(sql, &[]).await
    }

    /// As [`World::start`], with settings of the server.
    pub async fn start_with(sql: &str, env: &[(&str, &str)]) -> Self {
        Self::on(Postgres::start(&[]).await, sql, env).await
    }

    /// The same in a database that is there.
    pub async fn on(postgres: Postgres, sql: &str, env: &[(&str, &str)]) -> Self {
        let client = postgres.client().await;
        client
            .batch_execute(
                "create role anon nologin; create role authenticated nologin; \
                 create role service_role nologin bypassrls; \
                 create publication supabase_realtime;",
            )
            .await
            .unwrap();
        client.batch_execute(sql).await.unwrap();
        let server = Server::start(&postgres, env).await;
        Self { server, sql: client, postgres }
    }

    /// Runs statements, each in its own transaction.
    pub async fn run(&self, statements: &[&str]) {
        for statement in statements {
            self.sql.batch_execute(statement).await.unwrap();
        }
    }

    /// A socket of the role `anon`, version 2.
    pub async fn client(&self) -> Client {
        Client::connect(&self.server).await
    }
}

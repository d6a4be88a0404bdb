//! A private Redis for one test: own folder, own port, gone afterwards.

mod cluster;
mod sentinel;
pub mod tls;

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::eventually;

pub use self::sentinel::Sentinels;

pub struct Redis {
    dir: TempDir,
    port: u16,
    settings: Vec<String>,
    child: Option<Child>,
}

impl Redis {
    /// A running server with these settings beside (`--name`, `value`); `{port}`
    /// and `{dir}` in them are its port and folder.
    pub async fn start(settings: &[&str]) -> Self {
        let usual = ["--port", "{port}", "--save", "", "--appendonly", "no"];
        let dir = tempfile::Builder::new().prefix("rowcast-redis-").tempdir_in("/tmp").unwrap();
        Self::start_in(dir, &[&usual, settings].concat()).await
    }

    /// One that runs in a folder with what is there, with these settings alone.
    async fn start_in(dir: TempDir, settings: &[&str]) -> Self {
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        let mut server = Self { dir, port: 0, settings, child: None };
        // Between the choice of a port and its use somebody else may take it.
        for _ in 0..10 {
            server.port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
            if server.try_start().await {
                return server;
            }
        }
        panic!("redis does not start: {}", server.log());
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts it on its port after [`Redis::kill9`].
    pub async fn resume(&mut self) {
        assert!(self.try_start().await, "redis does not start: {}", self.log());
    }

    /// Ends it as a crash would.
    pub fn kill9(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Stops it in the middle of whatever it does, or lets it go on.
    pub fn hang(&self, hang: bool) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        let signal = if hang { "-STOP" } else { "-CONT" };
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Logins that it has refused, asked by somebody who knows its password.
    pub async fn refused_logins(&self, password: &str) -> u64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let commands = format!("AUTH {password}\r\nACL LOG\r\nQUIT\r\n");
        stream.write_all(commands.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        // One entry for each kind: `count`, a number, `reason`, `auth` and more, a line each.
        let lines: Vec<&str> = answer.lines().collect();
        let counts = lines.windows(6).filter(|lines| lines[0] == "count" && lines[5] == "auth");
        counts.map(|lines| lines[1].trim_start_matches(':').parse::<u64>().unwrap()).sum()
    }

    /// Has it do something, as an administrator would. What it answers.
    pub fn command(&self, words: &[&str]) -> String {
        self.try_command(words).unwrap()
    }

    /// The same for a server that may hang up, and why it did.
    pub fn try_command(&self, words: &[&str]) -> Result<String, String> {
        let port = self.port.to_string();
        let done = Command::new("redis-cli").args(["-p", &port]).args(words).output().unwrap();
        if !done.status.success() {
            return Err(String::from_utf8(done.stderr).unwrap());
        }
        Ok(String::from_utf8(done.stdout).unwrap())
    }

    /// False if the server ended rather than come up.
    async fn try_start(&mut self) -> bool {
        let log = fs::File::create(self.dir.path().join("log")).unwrap();
        let port = self.port.to_string();
        let dir = self.dir.path().to_str().unwrap();
        let fill = |text: &String| text.replace("{port}", &port).replace("{dir}", dir);
        let child = Command::new("redis-server")
            .args(self.settings.iter().map(fill))
            .args(["--bind", "127.0.0.1"])
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("redis-server: Debian's package of that name has it");
        self.child = Some(child);
        let is_up = eventually("redis starts or exits", async || {
            if self.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                return Some(false);
            }
            TcpStream::connect(("127.0.0.1", self.port)).await.ok().map(|_| true)
        })
        .await;
        if !is_up {
            self.child = None;
        }
        is_up
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

//! A private PostgreSQL for one test: own folder, own port, gone afterwards.
//!
//! The binaries come from `PG_BIN` or from Debian's folder, newest first.
//! PostgreSQL refuses to run as root, so under root it runs as `postgres`.

use std::{
    fs,
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rowcast::postgres::{
    connect::{ConnectConfig, SslMode},
    pool::Client,
    session::{SessionConfig, connect},
};
use tempfile::TempDir;

use super::eventually;

pub struct Postgres {
    dir: TempDir,
    bin: PathBuf,
    port: u16,
    settings: Vec<String>,
    child: Option<Child>,
}

impl Postgres {
    /// A running server with logical replication and these settings beside
    /// (`name=value`).
    pub async fn start(settings: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("rowcast-pg-").tempdir_in("/tmp").unwrap();
        if let Some((user, group)) = unprivileged() {
            chown(dir.path(), Some(user), Some(group)).unwrap();
        }
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        let mut server = Self { dir, bin: binaries(), port: 0, settings, child: None };
        server.initialise();
        // Between the choice of a port and its use somebody else may take it.
        for _ in 0..10 {
            server.port = free_port();
            if server.try_start().await {
                return server;
            }
        }
        panic!("postgres does not start: {}", server.log());
    }

    /// Makes the data folder: a copy of one that is made once for each version
    /// and owner and kept in `/tmp`, because `initdb` takes longer than most tests.
    fn initialise(&self) {
        let owner = unprivileged().map_or_else(user, |(user, _)| user);
        let version = self.command("postgres").arg("--version").output().unwrap().stdout;
        // `postgres (PostgreSQL) 15.8 (Debian 15.8-1)`
        let version = String::from_utf8(version).unwrap();
        let version = version.split(' ').nth(2).expect("a version").trim();
        let template = PathBuf::from(format!("/tmp/rowcast-pg-template-{version}-{owner}"));
        if !template.exists() {
            let initdb = self
                .command("initdb")
                .args(["--no-sync", "--no-instructions", "--auth=trust", "--username=postgres"])
                .args(["--encoding=UTF8", "--locale=C", "--pgdata"])
                .arg(self.data())
                .output()
                .unwrap();
            assert!(initdb.status.success(), "{}", String::from_utf8_lossy(&initdb.stderr));
            // Under its own name first: whoever sees the template sees all of it.
            let copy = self.dir.path().join("template");
            copy_folder(&self.data(), &copy);
            // Fails if another test was faster, and then theirs is as good.
            let _ = fs::rename(copy, template);
            return;
        }
        copy_folder(&template, &self.data());
    }

    /// Starts the server on its port after [`Postgres::stop`] or [`Postgres::kill9`].
    pub async fn resume(&mut self) {
        // After a kill the old processes need a moment to notice and go.
        for _ in 0..100 {
            if self.try_start().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("postgres does not start: {}", self.log());
    }

    /// False if the server ended rather than come up.
    async fn try_start(&mut self) -> bool {
        assert!(self.child.is_none(), "already running");
        self.child = Some(self.spawn());
        let is_up = eventually("postgres starts or exits", async || {
            if self.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                return Some(false);
            }
            // In our own folder nobody but ours answers, whoever has the port.
            self.try_client_over_socket().await.map(|_| true)
        })
        .await;
        if !is_up {
            self.child = None;
        }
        is_up
    }

    fn spawn(&self) -> Child {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))
            .unwrap();
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data());
        let own = [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", self.port),
            format!("unix_socket_directories={}", self.dir.path().display()),
            "wal_level=logical".to_owned(),
            "fsync=off".to_owned(),
            "max_wal_senders=10".to_owned(),
            "shared_buffers=16MB".to_owned(),
            "max_connections=30".to_owned(),
        ];
        for setting in own.iter().chain(&self.settings) {
            command.arg("-c").arg(setting);
        }
        command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    /// Stops the server as `pg_ctl stop -m immediate` would not: in order.
    pub async fn stop(&mut self) {
        self.signal("INT");
        self.wait_gone().await;
    }

    /// Kills the server's main process; the others follow.
    pub async fn kill9(&mut self) {
        self.child.as_mut().unwrap().kill().unwrap();
        self.wait_gone().await;
    }

    /// Kills all its processes, whatever they are doing.
    pub async fn kill9_all(&mut self) {
        let main = self.child.as_mut().unwrap();
        let others = children(main.id());
        main.kill().unwrap();
        for pid in others {
            let _ = Command::new("kill").args(["-KILL", &pid]).stderr(Stdio::null()).status();
        }
        self.wait_gone().await;
    }

    async fn wait_gone(&mut self) {
        let mut child = self.child.take().unwrap();
        eventually("postgres exits", async || child.try_wait().unwrap()).await;
    }

    fn signal(&self, signal: &str) {
        if let Some(child) = &self.child {
            let pid = child.id().to_string();
            let _ = Command::new("kill").args([&format!("-{signal}"), &pid]).status();
        }
    }

    /// How to reach it as the superuser.
    pub fn config(&self) -> ConnectConfig {
        ConnectConfig {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            user: "postgres".to_owned(),
            password: None,
            database: "postgres".to_owned(),
            ssl_mode: SslMode::Prefer,
            ssl_root_cert: None,
        }
    }

    /// The folder with its socket and data.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The folder of its data.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Copies the data of a stopped server, for [`Postgres::put_back`].
    pub fn copy_data(&self) -> PathBuf {
        let copy = self.dir.path().join("copy");
        copy_folder(&self.data(), &copy);
        copy
    }

    /// Makes a stopped server what it was when `copy` was made.
    pub fn put_back(&self, copy: PathBuf) {
        fs::remove_dir_all(self.data()).unwrap();
        fs::rename(copy, self.data()).unwrap();
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// An SQL connection of the superuser.
    pub async fn client(&self) -> Client {
        connect(&self.config(), &SessionConfig::new("test")).await.unwrap()
    }

    /// Replaces `pg_hba.conf` and makes the server read it.
    pub async fn authenticate(&self, rules: &str) {
        let path = self.data().join("pg_hba.conf");
        fs::write(path, rules).unwrap();
        let reload = self.client_over_socket().await;
        reload.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    }

    /// An SQL connection of the superuser that [`Postgres::authenticate`] may
    /// have left open to tests alone, since the server's own come over TCP.
    pub async fn client_over_socket(&self) -> Client {
        self.try_client_over_socket().await.unwrap()
    }

    /// The same if it has a connection left.
    pub async fn try_client_over_socket(&self) -> Option<Client> {
        let host = self.dir.path().to_str().unwrap().to_owned();
        let config = ConnectConfig { host, ..self.config() };
        connect(&config, &SessionConfig::new("test")).await.ok()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        if let Some((user, group)) = unprivileged() {
            command.uid(user).gid(group);
        }
        command.current_dir(self.dir.path());
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.signal("QUIT");
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }
}

/// A port that nobody listens on now, below those that the system gives to
/// outgoing connections, so that it is still free after a restart.
fn free_port() -> u16 {
    // Tests run in processes side by side; each starts to look somewhere else.
    let start = std::process::id().wrapping_mul(97) % 20_000;
    (0..20_000)
        .map(|step| u16::try_from(10_000 + (start + step) % 20_000).unwrap())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

/// The processes that this one has started.
fn children(of: u32) -> Vec<String> {
    let path = format!("/proc/{of}/task/{of}/children");
    let list = fs::read_to_string(path).expect("the kernel lists a process's children");
    list.split_whitespace().map(str::to_owned).collect()
}

/// The user that we are.
fn user() -> u32 {
    fs::metadata("/proc/self").unwrap().uid()
}

/// The user to run as, when we are root.
fn unprivileged() -> Option<(u32, u32)> {
    if user() != 0 {
        return None;
    }
    let id = |flag: &str| -> Option<u32> {
        let output = Command::new("id").args([flag, "postgres"]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    // 65534 is nobody.
    Some((id("-u").unwrap_or(65534), id("-g").unwrap_or(65534)))
}

fn copy_folder(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success(), "copies {}", from.display());
}

/// The major version of the server that tests run, for what is newer than the
/// oldest that is supported.
pub fn major() -> u32 {
    let output = Command::new(binaries().join("postgres")).arg("--version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let version = text.split_whitespace().find_map(|word| word.split('.').next()?.parse().ok());
    version.unwrap_or_else(|| panic!("no version in {text}"))
}

fn binaries() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "the tests have no config module")]
    if let Ok(path) = std::env::var("PG_BIN") {
        return path.into();
    }
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .expect("PostgreSQL is installed or PG_BIN is set")
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((path.file_name()?.to_str()?.parse().ok()?, path.join("bin")))
        })
        .collect();
    versions.sort();
    versions.pop().expect("a version of PostgreSQL is installed").1
}

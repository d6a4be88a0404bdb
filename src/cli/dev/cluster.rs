//! The private database cluster: made, started, stopped.
//!
//! It listens on the loopback address only, asks for a random password, and
//! has no Unix socket, whose path could be too long. The server program is a
//! child of this process. Dropping a running [`Cluster`] stops it, so that a
//! panic or a failure half-way leaves nothing behind; the next start takes
//! over what a killed process left running.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{process::Child, time::Instant};

use super::{
    super::{Failure, connect::connect, screen},
    binaries::Binaries,
    folder::{cannot_write, random, remembered, write},
    owner::Owner,
    postmaster::Postmaster,
};
use crate::postgres::connect::{ConnectConfig, SslMode};

/// The first port that is tried; unlikely to be used by anything else.
const PORT: u16 = 54_329;
/// A start after a crash replays WAL and may take a while.
const START: Duration = Duration::from_secs(120);

/// A running cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    binaries: Binaries,
    owner: Owner,
    place: Place,
    /// How to connect to it as its superuser.
    pub(super) connect: ConnectConfig,
    /// `None` if it was found running.
    child: Option<Child>,
    running: bool,
}

/// Where a cluster's files are.
#[derive(Debug, Clone)]
pub(super) struct Place {
    folder: PathBuf,
}

impl Place {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("postgres.log")
    }

    /// The major version that made the cluster, if there is one.
    pub(super) fn version(&self) -> Result<Option<u32>, Failure> {
        match fs::read_to_string(self.data().join("PG_VERSION")) {
            Ok(text) => text.trim().parse().map(Some).map_err(|_| self.broken()),
            Err(_) if self.data().exists() => Err(self.broken()),
            Err(_) => Ok(None),
        }
    }

    fn broken(&self) -> Failure {
        Failure::new(
            format!("{} is not a database cluster of PostgreSQL.", self.data().display()),
            "rowcast dev --reset makes a new one; what is in it is lost.",
        )
    }

    /// Stops what runs here and removes the cluster.
    pub(super) async fn remove(&self, binaries: &Binaries, owner: &Owner) -> Result<(), Failure> {
        let data = self.data();
        if Postmaster::find(&data).await.is_some() {
            let _ = pg_ctl(binaries, owner, &data, "immediate").output().await;
        }
        match fs::remove_dir_all(&data) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(cannot_write(&data, &error))
            }
            _ => Ok(()),
        }
    }
}

impl Cluster {
    /// Starts the cluster in `place`, which is made if it is missing.
    pub(super) async fn start(
        binaries: Binaries,
        owner: Owner,
        place: Place,
    ) -> Result<Self, Failure> {
        let password = remembered(&place.folder.join("password"), || random(1))?;
        if place.version()?.is_none() {
            create(&binaries, &owner, &place, &password).await?;
        }
        let running = Postmaster::find(&place.data()).await;
        let port = match &running {
            Some(postmaster) => postmaster.port,
            None => choose_port(&place.folder.join("port"))?,
        };
        let mut cluster = Self {
            binaries,
            owner,
            connect: ConnectConfig {
                host: Ipv4Addr::LOCALHOST.to_string(),
                port,
                user: "postgres".to_owned(),
                password: Some(password),
                database: "postgres".to_owned(),
                ssl_mode: SslMode::Disable,
                ssl_root_cert: None,
            },
            place,
            child: None,
            running: true,
        };
        if running.is_none() {
            cluster.spawn()?;
        }
        cluster.wait().await?;
        Ok(cluster)
    }

    /// In which version it runs.
    pub(super) fn describe(&self) -> String {
        format!("PostgreSQL {} in {}", self.binaries.version, self.place.folder.display())
    }

    /// Completes when the database ends by itself.
    pub(super) async fn ended(&mut self) -> Failure {
        match &mut self.child {
            Some(child) => {
                let _ = child.wait().await;
                self.running = false;
                self.stopped_by_itself()
            }
            None => std::future::pending().await,
        }
    }

    /// Stops it: sessions are cut off, data is safe.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        if !self.running {
            return Ok(());
        }
        let stop = pg_ctl(&self.binaries, &self.owner, &self.place.data(), "fast").output().await;
        if let Some(child) = &mut self.child {
            let _ = tokio::time::timeout(Duration::from_secs(5), child.wait()).await;
        }
        self.running = !stop.is_ok_and(|output| output.status.success());
        if self.running {
            return Err(Failure::plain(format!(
                "The database did not stop; see {}.",
                self.place.log().display()
            )));
        }
        Ok(())
    }

    fn spawn(&mut self) -> Result<(), Failure> {
        let data = self.place.data();
        let log = File::create(self.place.log())
            .and_then(|log| Ok((log.try_clone()?, log)))
            .map_err(|error| cannot_write(&self.place.log(), &error))?;
        let mut command = self.owner.command(&self.binaries.program("postgres"));
        command.arg("-D").arg(&data).args(["-p", &self.connect.port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "wal_level=logical",
            "max_wal_senders=10",
            "max_replication_slots=10",
            "timezone=UTC",
            "log_timezone=UTC",
            "lc_messages=C",
            "cluster_name=rowcast",
        ] {
            command.args(["-c", setting]);
        }
        // Killing the server program outright would mean a recovery at the
        // next start; Drop asks it to stop instead.
        command.kill_on_drop(false).current_dir(&data);
        command.stdout(Stdio::from(log.0)).stderr(Stdio::from(log.1));
        let child = command.spawn().map_err(|error| {
            Failure::plain(format!("PostgreSQL could not be started: {error}."))
        })?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until it takes connections.
    async fn wait(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + START;
        loop {
            // Asking before it is ready would only fill its log.
            let ready = Postmaster::read(&self.place.data()).is_some_and(|found| found.ready);
            if ready && connect(&self.connect).await.is_ok() {
                return Ok(());
            }
            let ended = match &mut self.child {
                Some(child) => child.try_wait().is_ok_and(|status| status.is_some()),
                None => false,
            };
            if ended {
                self.running = false;
                return Err(self.stopped_by_itself());
            }
            // One that was found running but does not let us in is not ours.
            let patience = if self.child.is_some() { deadline } else { deadline - START / 2 };
            if Instant::now() > patience {
                return Err(Failure::new(
                    format!("The database does not answer on port {}.", self.connect.port),
                    format!(
                        "look at {}; rowcast dev --reset makes a new one.",
                        self.place.log().display()
                    ),
                ));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn stopped_by_itself(&self) -> Failure {
        let log = fs::read_to_string(self.place.log()).unwrap_or_default();
        let reason = reason(&log).unwrap_or("it gave no reason");
        Failure::new(
            format!("The database stopped by itself: {reason}."),
            format!("look at {}; rowcast dev --reset makes a new one.", self.place.log().display()),
        )
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.running {
            // Blocking, because nothing can be awaited here; it takes a moment.
            let mut command =
                pg_ctl(&self.binaries, &self.owner, &self.place.data(), "fast").into_std();
            let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

/// Why the server program ended, from its log: the first line that is neither
/// routine nor about a single connection.
fn reason(log: &str) -> Option<&str> {
    let told = |mark: &str| {
        let mut lines = log.lines().filter_map(|line| Some(line.split_once(mark)?.1.trim()));
        lines.find(|text| !text.starts_with("the database system is"))
    };
    told("FATAL:").or_else(|| told("PANIC:")).or_else(|| told("postgres: "))
}

/// `pg_ctl stop` in a mode.
fn pg_ctl(binaries: &Binaries, owner: &Owner, data: &Path, mode: &str) -> tokio::process::Command {
    let mut command = owner.command(&binaries.program("pg_ctl"));
    command.args(["stop", "-w", "-t", "30", "-m", mode, "-D"]).arg(data);
    command.current_dir("/");
    command
}

/// Makes a new cluster, under another name until it is complete.
async fn create(
    binaries: &Binaries,
    owner: &Owner,
    place: &Place,
    password: &str,
) -> Result<(), Failure> {
    screen::progress(format!("Creating a database with PostgreSQL {} …", binaries.version));
    let unfinished = place.folder.join("data.new");
    let file = place.folder.join("initdb.password");
    let _ = fs::remove_dir_all(&unfinished);
    write(&file, password)
        .and_then(|()| owner.own(&file))
        .map_err(|error| cannot_write(&file, &error))?;
    // C.UTF-8 knows upper and lower case beyond ASCII; not every system has it.
    let mut result = initdb(binaries, owner, &unfinished, &file, "C.UTF-8").await;
    if result.is_err() {
        let _ = fs::remove_dir_all(&unfinished);
        result = initdb(binaries, owner, &unfinished, &file, "C").await;
    }
    let _ = fs::remove_file(&file);
    result.map_err(|reason| {
        Failure::new(
            format!("The database could not be created: {reason}"),
            "try another PostgreSQL with --pg-bin, or --fetch.",
        )
    })?;
    fs::rename(&unfinished, place.data()).map_err(|error| cannot_write(&place.data(), &error))
}

async fn initdb(
    binaries: &Binaries,
    owner: &Owner,
    data: &Path,
    password: &Path,
    locale: &str,
) -> Result<(), String> {
    let mut command = owner.command(&binaries.program("initdb"));
    command.arg("-D").arg(data).arg("--pwfile").arg(password).current_dir("/");
    command.args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8"]);
    command.args(["--no-instructions", "--no-sync"]).arg(format!("--locale={locale}"));
    let output = command.output().await.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().find(|line| line.contains("error:") || line.contains("FATAL"));
    Err(line.or_else(|| said.lines().last()).unwrap_or("initdb failed").to_owned())
}

/// The port of the last start if it is free, or else a free one, remembered.
fn choose_port(file: &Path) -> Result<u16, Failure> {
    let last = fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok());
    let wanted: u16 = last.unwrap_or(PORT);
    let any = || free(0);
    let port =
        (wanted..wanted.saturating_add(20)).find_map(free).or_else(any).ok_or_else(|| {
            Failure::plain("There is no free port on the loopback address for the database.")
        })?;
    write(file, &port.to_string()).map_err(|error| cannot_write(file, &error))?;
    Ok(port)
}

fn free(port: u16) -> Option<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
    Some(listener.local_addr().ok()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_port_is_passed_over_and_the_choice_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("port");
        let busy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = busy.local_addr().unwrap().port();
        write(&file, &taken.to_string()).unwrap();
        let chosen = choose_port(&file).unwrap();
        assert_ne!(chosen, taken);
        assert_eq!(choose_port(&file).unwrap(), chosen);
    }

    #[test]
    fn the_reason_is_found_in_the_log() {
        let log = "x LOG:  starting\nx FATAL:  the database system is starting up\n\
                   x FATAL:  could not map shared memory\n";
        assert_eq!(reason(log), Some("could not map shared memory"));
        let log = "postgres: could not find the database system\nExpected to find it\n";
        assert_eq!(reason(log), Some("could not find the database system"));
        assert_eq!(reason("x LOG:  received fast shutdown request\n"), None);
    }

    #[test]
    fn a_folder_that_is_no_cluster_is_called_broken() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path().to_owned());
        assert_eq!(place.version().unwrap(), None);
        fs::create_dir(place.data()).unwrap();
        assert!(place.version().is_err());
        fs::write(place.data().join("PG_VERSION"), "16\n").unwrap();
        assert_eq!(place.version().unwrap(), Some(16));
    }
}

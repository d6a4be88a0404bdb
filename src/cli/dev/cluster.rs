//! The private database cluster: made, started, stopped.
//!
//! It listens on the loopback address only, asks for a random password, and
//! has no Unix socket, whose path could be too long. The server program is a
//! child of this process. Dropping a running [`Cluster`] stops it, so that a
//! panic or a failure half-way leaves nothing behind; the next start takes
//! over what a killed process left running.

use std::{
    fs::{self, File},
    path::Path,
    process::Stdio,
    time::Duration,
};

use tokio::{process::Child, time::Instant};

use super::{
    super::{Failure, connect::connect},
    HOST,
    binaries::Binaries,
    folder::{cannot_write, random, remembered},
    owner::Owner,
    place::{Place, choose_port, create},
    postmaster::Postmaster,
};
use crate::postgres::connect::{ConnectConfig, SslMode};

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
                host: HOST.to_string(),
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
            return Err(Failure::new(
                "The database did not stop.",
                format!(
                    "look at {}; the next rowcast dev goes on with it.",
                    self.place.log().display()
                ),
            ));
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
            Failure::new(
                format!("PostgreSQL could not be started: {error}."),
                "try another PostgreSQL with --pg-bin, or --fetch.",
            )
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
pub(super) fn pg_ctl(
    binaries: &Binaries,
    owner: &Owner,
    data: &Path,
    mode: &str,
) -> tokio::process::Command {
    let mut command = owner.command(&binaries.program("pg_ctl"));
    command.args(["stop", "-w", "-t", "30", "-m", mode, "-D"]).arg(data);
    command.current_dir("/");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_found_in_the_log() {
        let log = "x LOG:  starting\nx FATAL:  the database system is starting up\n\
                   x FATAL:  could not map shared memory\n";
        assert_eq!(reason(log), Some("could not map shared memory"));
        let log = "postgres: could not find the database system\nExpected to find it\n";
        assert_eq!(reason(log), Some("could not find the database system"));
        assert_eq!(reason("x LOG:  received fast shutdown request\n"), None);
    }
}

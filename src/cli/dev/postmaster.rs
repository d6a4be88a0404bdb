//! What `postmaster.pid` tells about a cluster that may be running.

use std::{fs, path::Path, time::Duration};

use tokio::process::Command;

/// A running server program.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Postmaster {
    pid: u32,
    /// Where it listens.
    pub(super) port: u16,
    /// Whether it takes connections.
    pub(super) ready: bool,
}

/// What a process number stands for now.
enum Process {
    Postgres,
    /// Something else, or a dead process that nobody has collected.
    Other,
    Gone,
}

impl Postmaster {
    /// The server program that runs on the cluster `data`.
    ///
    /// After a crash the file may name a process that is gone, which
    /// PostgreSQL finds out by itself, or one that is something else by now,
    /// over which it would refuse to start: then the file is removed, after a
    /// moment in which the children of a killed server program end.
    pub(super) async fn find(data: &Path) -> Option<Self> {
        let found = Self::read(data)?;
        match process(found.pid).await {
            Process::Postgres => Some(found),
            Process::Gone => None,
            Process::Other => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let _ = fs::remove_file(data.join("postmaster.pid"));
                None
            }
        }
    }

    /// What the file says, true or not.
    pub(super) fn read(data: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(data.join("postmaster.pid")).ok()?)
    }

    /// The first line is the process, the fourth the port, the eighth the
    /// state.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let pid = lines.next()?.trim().parse().ok()?;
        let port = lines.nth(2)?.trim().parse().ok()?;
        let ready = lines.nth(3).is_some_and(|state| state.trim() == "ready");
        Some(Self { pid, port, ready })
    }
}

async fn process(pid: u32) -> Process {
    // Slim containers have no ps, but Linux tells by a file. That of a dead
    // process nobody has collected is empty.
    let program = if Path::new("/proc/self/cmdline").exists() {
        match fs::read_to_string(format!("/proc/{pid}/cmdline")) {
            Ok(line) => line.split('\0').next().unwrap_or_default().to_owned(),
            Err(_) => return Process::Gone,
        }
    } else {
        let ps = Command::new("ps").args(["-p", &pid.to_string(), "-o", "comm="]).output().await;
        match ps {
            Ok(ps) if ps.status.success() => String::from_utf8_lossy(&ps.stdout).into_owned(),
            _ => return Process::Gone,
        }
    };
    let program = program.trim();
    if program.ends_with("postgres") || program.ends_with("postmaster") {
        Process::Postgres
    } else {
        Process::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read() {
        let text = "4711\n/data\n1700000000\n54329\n\n127.0.0.1\n  54329001\nready   \n";
        let found = Postmaster { pid: 4711, port: 54329, ready: true };
        assert_eq!(Postmaster::parse(text), Some(found));
        assert!(!Postmaster::parse("4711\n/data\n1\n54329\n").unwrap().ready);
        assert_eq!(Postmaster::parse("4711\n"), None);
        assert_eq!(Postmaster::parse(""), None);
    }

    #[tokio::test]
    async fn a_file_of_another_process_is_removed() {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("postmaster.pid");
        fs::write(&file, format!("{}\n/data\n1\n54329\n", std::process::id())).unwrap();
        assert_eq!(Postmaster::find(data.path()).await, None);
        assert!(!file.exists());
    }
}

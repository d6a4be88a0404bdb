//! What `postmaster.pid` tells about a cluster that may be running.

use std::{fs, path::Path};

use tokio::process::Command;

/// A running server program.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Postmaster {
    pid: u32,
    /// Where it listens.
    pub(super) port: u16,
}

impl Postmaster {
    /// The server program that runs on the cluster `data`. After a crash or a
    /// restart of the machine the file may name a process that is gone, or
    /// one that is something else by now; such a file is removed, because
    /// PostgreSQL itself would refuse to start over the latter.
    pub(super) async fn find(data: &Path) -> Option<Self> {
        let file = data.join("postmaster.pid");
        let text = fs::read_to_string(&file).ok()?;
        match Self::parse(&text) {
            Some(found) if is_postgres(found.pid).await => Some(found),
            _ => {
                let _ = fs::remove_file(file);
                None
            }
        }
    }

    /// The first line is the process, the fourth the port.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let pid = lines.next()?.trim().parse().ok()?;
        let port = lines.nth(2)?.trim().parse().ok()?;
        Some(Self { pid, port })
    }
}

/// Whether that process runs a program called postgres or postmaster.
async fn is_postgres(pid: u32) -> bool {
    // Without ps, as in slim containers, Linux tells by a file.
    let name = match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => name,
        Err(_) => {
            let output =
                Command::new("ps").args(["-p", &pid.to_string(), "-o", "comm="]).output().await;
            output
                .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
                .unwrap_or_default()
        }
    };
    let name = name.trim();
    name.ends_with("postgres") || name.ends_with("postmaster")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read() {
        let text = "4711\n/data\n1700000000\n54329\n\n127.0.0.1\n  54329001\nready   \n";
        assert_eq!(Postmaster::parse(text), Some(Postmaster { pid: 4711, port: 54329 }));
        assert_eq!(Postmaster::parse("4711\n"), None);
        assert_eq!(Postmaster::parse(""), None);
    }

    #[tokio::test]
    async fn a_file_of_another_process_is_removed() {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("postmaster.pid");
        let text = format!("{}\n/data\n1\n54329\n", std::process::id());
        fs::write(&file, text).unwrap();
        assert_eq!(Postmaster::find(data.path()).await, None);
        assert!(!file.exists());
    }
}

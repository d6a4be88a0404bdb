//! The user that the database runs as.
//!
//! PostgreSQL refuses to run as root. When `rowcast dev` is root, as in most
//! containers, the database runs as another user and its files belong to it.

use std::{io, os::unix::fs::chown, path::Path, process::Stdio};

use tokio::process::Command;

use super::super::Failure;

/// A user for PostgreSQL's programs.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    /// User and group, when they are not those of this process.
    other: Option<(u32, u32)>,
    /// Its name, for messages.
    pub(super) name: String,
}

impl Owner {
    /// This process's user or, if that is root, `postgres` or else `nobody`.
    pub(super) async fn choose() -> Result<Self, Failure> {
        if id("-u", None).await != Some(0) {
            return Ok(Self { other: None, name: "you".to_owned() });
        }
        for name in ["postgres", "nobody"] {
            if let (Some(user), Some(group)) =
                (id("-u", Some(name)).await, id("-g", Some(name)).await)
            {
                return Ok(Self { other: Some((user, group)), name: name.to_owned() });
            }
        }
        Err(Failure::new(
            "PostgreSQL does not run as root, and there is no user postgres or nobody.",
            "run rowcast dev as an ordinary user.",
        ))
    }

    /// A command that will run as this user, quiet and in its own process
    /// group: a Ctrl-C on the terminal is for Rowcast alone, which then stops
    /// the database after the server.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("LC_ALL", "C");
        for name in ["PGDATA", "PGPORT", "PGHOST", "PGOPTIONS", "PGDATABASE", "PGUSER"] {
            command.env_remove(name);
        }
        if let Some((user, group)) = self.other {
            command.uid(user).gid(group);
        }
        command
    }

    /// Whether this user can work in `folder`.
    pub(super) async fn reaches(&self, folder: &Path) -> bool {
        let mut command = self.command(Path::new("/bin/sh"));
        command.args(["-c", "true"]).current_dir(folder);
        command.status().await.is_ok_and(|status| status.success())
    }

    /// Makes `path` belong to this user.
    pub(super) fn own(&self, path: &Path) -> io::Result<()> {
        match self.other {
            Some((user, group)) => chown(path, Some(user), Some(group)),
            None => Ok(()),
        }
    }
}

/// What `id` says: the number of a user or its group.
async fn id(flag: &str, user: Option<&str>) -> Option<u32> {
    let output = Command::new("id").arg(flag).args(user).stderr(Stdio::null()).output().await;
    std::str::from_utf8(&output.ok()?.stdout).ok()?.trim().parse().ok()
}

//! Where a cluster's files are, and how they are made.
//!
//! A new cluster is made under another name and renamed when complete, so that
//! an interrupted first start leaves no half cluster.

use std::{
    fs, io,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
};

use super::{
    super::{Failure, screen},
    binaries::Binaries,
    cluster::pg_ctl,
    folder::{cannot_write, write},
    owner::Owner,
    postmaster::Postmaster,
};

/// The first port that is tried; unlikely to be used by anything else.
const PORT: u16 = 54_329;

/// Where a cluster's files are.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) folder: PathBuf,
}

impl Place {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(super) fn log(&self) -> PathBuf {
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

/// Makes a new cluster.
pub(super) async fn create(
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
pub(super) fn choose_port(file: &Path) -> Result<u16, Failure> {
    let last = fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok());
    let wanted: u16 = last.unwrap_or(PORT);
    let any = || free(0);
    let port =
        (wanted..wanted.saturating_add(20)).find_map(free).or_else(any).ok_or_else(|| {
            Failure::new(
                "There is no free port on the loopback address for the database.",
                "end programs that listen there, or use a database of yours with --db-url.",
            )
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

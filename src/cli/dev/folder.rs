//! The folder of `rowcast dev`: what it remembers between two starts.
//!
//! The secrets are random, made once and readable by nobody else.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::{
    super::{Failure, screen},
    owner::Owner,
};
use crate::secret::Secret;

/// The name of the file with the JWT secret.
pub(super) const SECRET: &str = "jwt_secret";

/// The name of the file with the address of the database.
pub(super) const URL: &str = "database_url";

/// An open data folder, locked against a second `rowcast dev`.
#[derive(Debug)]
pub(super) struct Folder {
    /// The folder itself, absolute.
    pub(super) home: PathBuf,
    _lock: File,
}

impl Folder {
    /// Opens or creates the folder.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        // Others may pass through, as the database's user must when this is
        // root; every secret in it is a file of mode 0600.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(path)
            .and_then(|()| fs::canonicalize(path))
            .and_then(|home| Ok((File::create(home.join("lock"))?, home)))
            .map_err(|error| cannot_write(path, &error))
            .and_then(|(lock, home)| match lock.try_lock() {
                Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { home, _lock: lock }),
                Err(TryLockError::WouldBlock) => Err(Failure::new(
                    format!("Another rowcast dev runs in {}.", path.display()),
                    "stop it, or choose another folder with --data-dir.",
                )),
            })
    }

    /// The secret for tokens, made at the first start.
    pub(super) fn jwt_secret(&self) -> Result<Secret, Failure> {
        remembered(&self.home.join(SECRET), || random(2)).map(Secret::new)
    }

    /// When that secret was made, in Unix time.
    pub(super) fn secret_made(&self) -> Result<u64, Failure> {
        let path = self.home.join(SECRET);
        let facts = fs::metadata(&path).map_err(|error| cannot_write(&path, &error))?;
        Ok(u64::try_from(facts.mtime()).unwrap_or(0))
    }

    /// Keeps the address of the database for `rowcast sql`.
    pub(super) fn remember_url(&self, url: &str) -> Result<(), Failure> {
        let path = self.home.join(URL);
        write(&path, url).map_err(|error| cannot_write(&path, &error))
    }

    /// The folder for the database's own files, which belongs to `owner`.
    pub(super) async fn database(&self, owner: &Owner) -> Result<PathBuf, Failure> {
        let base = self.base(owner).await?;
        let path = base.join("database");
        if base != self.home {
            screen::progress(format!(
                "The user {} cannot reach {}, so the database is in {}.",
                owner.name,
                self.home.display(),
                path.display()
            ));
        }
        make(&path, 0o700)?;
        owner.own(&path).map_err(|error| cannot_write(&path, &error))?;
        Ok(path)
    }

    /// The folder for a fetched PostgreSQL, which `owner` can reach.
    pub(super) async fn programs(&self, owner: &Owner) -> Result<PathBuf, Failure> {
        let path = self.base(owner).await?.join("postgres");
        make(&path, 0o755)?;
        Ok(path)
    }

    /// This folder or, if `owner` cannot reach it, one in the system's folder
    /// for temporary files, named after this one.
    async fn base(&self, owner: &Owner) -> Result<PathBuf, Failure> {
        if owner.reaches(&self.home).await {
            return Ok(self.home.clone());
        }
        let name = BuildHasherDefault::<DefaultHasher>::new().hash_one(&self.home);
        let path = Path::new("/tmp").join(format!("rowcast-{name:016x}"));
        make(&path, 0o711)?;
        // Anybody may create folders there, and a foreign one could be a trap.
        // Only root runs the database as somebody else, so it must be root's.
        let mine =
            fs::symlink_metadata(&path).is_ok_and(|facts| facts.is_dir() && facts.uid() == 0);
        if mine {
            return Ok(path);
        }
        Err(Failure::new(
            format!("The folder {} belongs to somebody else.", path.display()),
            "remove it, or choose another folder with --data-dir.",
        ))
    }
}

/// Creates a folder unless it is there.
fn make(path: &Path, mode: u32) -> Result<(), Failure> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(cannot_write(path, &error))
        }
        _ => Ok(()),
    }
}

/// What a folder that `rowcast dev` has used before remembers.
pub(super) fn stored(home: &Path, name: &str) -> Option<Secret> {
    let text = fs::read_to_string(home.join(name)).ok()?;
    Some(Secret::new(text.trim()))
}

/// The content of a private file, which is made if it is missing.
pub(super) fn remembered(path: &Path, make: impl FnOnce() -> String) -> Result<String, Failure> {
    match fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(cannot_write(path, &error)),
    }
    let text = make();
    write(path, &text).map_err(|error| cannot_write(path, &error))?;
    Ok(text)
}

/// Writes a file that only this user may read.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(text.as_bytes())
}

/// Random letters and digits: `count` times 122 bits.
pub(super) fn random(count: usize) -> String {
    (0..count).map(|_| uuid::Uuid::new_v4().simple().to_string()).collect()
}

/// A file or folder that cannot be used.
pub(super) fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        format!("Cannot use {}: {error}.", path.display()),
        "choose another folder with --data-dir.",
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_secret_is_private_and_stays() {
        let temporary = tempfile::tempdir().unwrap();
        let home = temporary.path().join("data");
        let first = Folder::open(&home).unwrap().jwt_secret().unwrap();
        let again = Folder::open(&home).unwrap().jwt_secret().unwrap();
        assert_eq!(first, again);
        assert_eq!(stored(&home, SECRET), Some(first));
        let mode = fs::metadata(home.join(SECRET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_folder_is_used_once_at_a_time() {
        let temporary = tempfile::tempdir().unwrap();
        let open = Folder::open(temporary.path()).unwrap();
        assert!(Folder::open(temporary.path()).is_err());
        drop(open);
        assert!(Folder::open(temporary.path()).is_ok());
    }
}

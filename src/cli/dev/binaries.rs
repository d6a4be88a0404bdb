//! Finds PostgreSQL's server programs on this machine.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{super::Failure, owner::Owner, version::Version};
use crate::config::env::Strings;

/// The programs that are needed.
const PROGRAMS: [&str; 3] = ["postgres", "initdb", "pg_ctl"];

/// Where distributions put them; a star stands for any text in one name.
const USUAL: &[&str] = &[
    "/usr/lib/postgresql/*/bin",         // Debian, Ubuntu
    "/usr/pgsql-*/bin",                  // RPM packages of the project
    "/usr/libexec/postgresql*",          // Alpine
    "/usr/lib/postgresql*/bin",          // SUSE
    "/usr/lib64/postgresql-*/bin",       // Gentoo
    "/opt/homebrew/opt/postgresql*/bin", // Homebrew
    "/usr/local/opt/postgresql*/bin",    // Homebrew on Intel
    "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/Library/PostgreSQL/*/bin",      // EDB installer
    "/opt/local/lib/postgresql*/bin", // MacPorts
    "/usr/local/pgsql/bin",           // built from source
];

/// A folder with the programs, and their version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) folder: PathBuf,
    pub(super) version: Version,
}

impl Binaries {
    /// One of the programs.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// The programs in `folder`, which the user named.
pub(super) async fn named(folder: &Path, owner: &Owner) -> Result<Binaries, Failure> {
    let next = "name the folder that holds postgres, initdb and pg_ctl.";
    if !is_complete(folder) {
        let what = format!("{} does not hold PostgreSQL's server programs.", folder.display());
        return Err(Failure::new(what, next));
    }
    let Some(version) = version(folder, owner).await else {
        let what =
            format!("The programs in {} do not run as the user {}.", folder.display(), owner.name);
        return Err(Failure::new(what, next));
    };
    if !version.is_supported() {
        let what = format!("PostgreSQL {version} in {} is too old.", folder.display());
        return Err(Failure::new(
            what,
            format!("version {} is the oldest that works.", Version::OLDEST),
        ));
    }
    Ok(Binaries { folder: folder.to_owned(), version })
}

/// All usable installations, the newest first.
pub(super) async fn installed(strings: &impl Strings, owner: &Owner) -> Vec<Binaries> {
    let path = strings.value("PATH").unwrap_or_default();
    let mut found = Vec::new();
    for folder in candidates(&path, USUAL) {
        if let Some(version) = version(&folder, owner).await.filter(|v| v.is_supported()) {
            found.push(Binaries { folder, version });
        }
    }
    // Stable, so that of two equals the one in PATH comes first.
    found.sort_by_key(|binaries| std::cmp::Reverse(binaries.version));
    found
}

/// Folders that hold all programs: those of `path`, then the usual ones.
fn candidates(path: &str, usual: &[&str]) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::split_paths(path).collect();
    folders.extend(usual.iter().flat_map(|pattern| expand(pattern)));
    let mut found: Vec<PathBuf> = Vec::new();
    for folder in folders {
        if is_complete(&folder) && !found.contains(&folder) {
            found.push(folder);
        }
    }
    found
}

fn is_complete(folder: &Path) -> bool {
    PROGRAMS.iter().all(|program| folder.join(program).is_file())
}

/// The folders that match a pattern with at most one star.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![PathBuf::from(pattern)];
    };
    let (parent, start) = before.rsplit_once('/').unwrap_or(("", before));
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(start))
        .map(|entry| entry.path().join(after.trim_start_matches('/')))
        .collect()
}

/// What the server program says, run as the user that will run it.
async fn version(folder: &Path, owner: &Owner) -> Option<Version> {
    let output = owner.command(&folder.join("postgres")).arg("--version").output().await.ok()?;
    Version::parse(std::str::from_utf8(&output.stdout).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(root: &Path, folder: &str, programs: &[&str]) {
        let folder = root.join(folder);
        fs::create_dir_all(&folder).unwrap();
        for program in programs {
            fs::write(folder.join(program), "").unwrap();
        }
    }

    #[test]
    fn only_complete_folders_count_and_path_comes_first() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        install(root, "lib/15/bin", &PROGRAMS);
        install(root, "lib/16/bin", &["psql"]);
        install(root, "pgsql-17/bin", &PROGRAMS);
        install(root, "own", &PROGRAMS);
        let patterns =
            [format!("{}/lib/*/bin", root.display()), format!("{}/pgsql-*/bin", root.display())];
        let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
        let path = format!("/nowhere:{}", root.join("own").display());
        assert_eq!(
            candidates(&path, &patterns),
            [root.join("own"), root.join("lib/15/bin"), root.join("pgsql-17/bin")]
        );
    }
}

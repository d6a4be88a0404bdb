//! Keeps the house in order: layers, module docs, sizes of files.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Each module's layer. A module may use modules of strictly lower layers only,
/// so the module graph cannot have a cycle.
const LAYERS: &[(&str, u8)] = &[
    ("topic", 0),
    ("error_code", 0),
    ("secret", 0),
    ("runtime", 0),
    ("telemetry", 1),
    ("protocol", 2),
    ("postgres", 2),
    ("auth", 2),
    ("cluster", 2),
    ("tenants", 3),
    ("hub", 3),
    ("replication", 3),
    ("authorization", 4),
    ("broadcast", 4),
    ("presence", 4),
    ("postgres_changes", 4),
    ("chat", 4),
    ("session", 5),
    ("http", 6),
    ("config", 7),
    ("app", 8),
    ("cli", 9),
    ("fuzzing", 9),
    ("lib", 10),
    ("main", 10),
];

/// Files that may be longer than [`MOST_LINES`], and why.
const LONG_FILES: &[(&str, &str)] = &[("postgres_changes/state_tests.rs", "the tests of that")];

/// A file longer than this has more than one subject.
const MOST_LINES: usize = 400;

#[test]
fn modules_use_lower_layers_only() {
    let layers: BTreeMap<&str, u8> = LAYERS.iter().copied().collect();
    let mut faults = Vec::new();
    for file in sources() {
        let module = top_module(&file);
        let Some(layer) = layers.get(module.as_str()) else {
            faults.push(format!("{}: module `{module}` has no layer", file.display()));
            continue;
        };
        for used in crate_paths(&strip_comments(&fs::read_to_string(&file).unwrap())) {
            match layers.get(used.as_str()) {
                _ if used == module => {}
                Some(below) if below < layer => {}
                Some(other) => faults.push(format!(
                    "{}: `{module}` (layer {layer}) uses `{used}` (layer {other})",
                    file.display()
                )),
                None => faults.push(format!("{}: unknown module `{used}`", file.display())),
            }
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn every_module_starts_with_a_doc() {
    let faults: Vec<String> = sources()
        .into_iter()
        .filter(|file| !fs::read_to_string(file).unwrap().starts_with("//! "))
        .map(|file| file.display().to_string())
        .collect();
    assert!(faults.is_empty(), "no module doc:\n{}\n", faults.join("\n"));
}

#[test]
fn files_stay_short_or_say_why_not() {
    let mut faults = Vec::new();
    let mut long = Vec::new();
    for file in sources() {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        if lines <= MOST_LINES {
            continue;
        }
        let name = file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        if LONG_FILES.iter().all(|&(known, _)| known != name) {
            faults.push(format!("src/{name}: {lines} lines; split it, or list it with a reason"));
        }
        long.push(name);
    }
    for (known, _) in LONG_FILES {
        if !long.iter().any(|name| name == known) {
            faults.push(format!("src/{known}: listed as long, and is not"));
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn warnings_and_errors_have_a_code() {
    let mut faults = Vec::new();
    for file in sources() {
        let text = strip_comments(&fs::read_to_string(&file).unwrap());
        let program = text.split("#[cfg(test)]\nmod ").next().unwrap();
        for level in ["tracing::warn!(", "tracing::error!("] {
            for (at, start) in program.match_indices(level) {
                let rest = &program[at + start.len()..];
                let call = rest.split("\"").next().unwrap();
                if !call.contains("code") {
                    let line = rest.lines().next().unwrap();
                    faults.push(format!("{}: {line}", file.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "no code for runbooks:\n{}\n", faults.join("\n"));
}

#[test]
fn test_files_start_with_a_doc_too() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let faults: Vec<String> =
        rust_files(&["it", "bench", "fuzz/fuzz_targets"].map(|dir| tests.join(dir)))
            .into_iter()
            .filter(|file| !fs::read_to_string(file).unwrap().starts_with("//! "))
            .map(|file| file.display().to_string())
            .collect();
    assert!(faults.is_empty(), "no module doc:\n{}\n", faults.join("\n"));
}

#[test]
fn crate_paths_reads_plain_and_grouped_imports() {
    let text = "use crate::topic::Topic; use crate::{hub::{self, Route}, protocol::Frame,}; \
                fn f() { crate::runtime::spawn(); }";
    let mut found = crate_paths(text);
    found.sort();
    assert_eq!(found, ["hub", "protocol", "runtime", "topic"]);
}

/// Every `.rs` file under `src/`.
fn sources() -> Vec<PathBuf> {
    rust_files(&[root()])
}

/// Every `.rs` file under some folders.
fn rust_files(dirs: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = dirs.to_vec();
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                found.push(path);
            }
        }
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The top-level module that a file belongs to.
fn top_module(file: &Path) -> String {
    let inside = file.strip_prefix(root()).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

fn strip_comments(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The first segment after each `crate::`, grouped imports included.
fn crate_paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, key) in text.match_indices("crate::") {
        let rest = &text[at + key.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.push(ident(rest));
            continue;
        };
        let mut depth = 1;
        let mut expects_name = true;
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 1 => break,
                '}' => depth -= 1,
                ',' if depth == 1 => expects_name = true,
                c if depth == 1 && expects_name && (c.is_alphabetic() || c == '_') => {
                    found.push(ident(&group[i..]));
                    expects_name = false;
                }
                _ => {}
            }
        }
    }
    found
}

fn ident(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

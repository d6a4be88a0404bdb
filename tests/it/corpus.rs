//! Replays the fuzzers' corpus, so that what was once found stays fixed.

use std::{fs, path::Path};

use rowcast::fuzzing;

type Target = fn(&[u8]);

/// Every target, by the name of its file and of its corpus.
const TARGETS: &[(&str, Target)] = &[
    ("filter", fuzzing::filter),
    ("jwt", fuzzing::jwt),
    ("pgoutput_message", fuzzing::pgoutput_message),
    ("v1_text", fuzzing::v1_text),
    ("v2_binary", fuzzing::v2_binary),
    ("v2_text", fuzzing::v2_text),
    ("value_text", fuzzing::value_text),
    ("wire_frame", fuzzing::wire_frame),
];

#[test]
fn every_input_of_the_corpus_is_survived() {
    for (name, target) in TARGETS {
        let mut count = 0;
        for entry in fs::read_dir(folder().join("corpus").join(name)).unwrap() {
            let input = fs::read(entry.unwrap().path()).unwrap();
            target(&input);
            // Cut short and with one bit turned, an input reaches other corners.
            for end in 0..input.len() {
                target(&input[..end]);
                let mut turned = input.clone();
                turned[end] ^= 1 << (end % 8);
                target(&turned);
            }
            count += 1;
        }
        assert!(count > 0, "no corpus for {name}");
    }
}

#[test]
fn every_target_is_replayed() {
    let listed: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    let mut files: Vec<String> = fs::read_dir(folder().join("fuzz_targets"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    files.sort();
    assert_eq!(files, listed);
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

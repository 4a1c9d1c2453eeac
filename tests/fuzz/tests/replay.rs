//! Replays the corpus of each fuzz target, and changed inputs of it.

use fastrand::Rng;
use fuzz::{TARGETS, Target};
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

/// The number of changed inputs for each target.
const CHANGED_INPUTS: usize = 2_000;
/// The largest input that is changed: large modules take long in the interpreter.
const MAX_CHANGED_BYTES: usize = 4 << 10;

/// Returns the name and content of each file in the target's corpus.
fn corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let files = fs::read_dir(&directory).unwrap_or_else(|why| panic!("{}: {why}", directory.display()));
    let mut files: Vec<_> = files.map(|file| file.expect("the corpus can be read").path()).collect();
    files.sort();
    let read = |path: &std::path::PathBuf| (path.display().to_string(), fs::read(path).expect("the file can be read"));
    files.iter().map(read).collect()
}

/// Runs one input. Names it if it is a finding.
fn run(target: &Target, about: &str, data: &[u8]) {
    if panic::catch_unwind(AssertUnwindSafe(|| (target.run)(data))).is_err() {
        panic!("{}: {about} is a finding: {}", target.name, data.escape_ascii());
    }
}

/// Changes a few bytes, or joins the input with another one.
fn changed(rng: &mut Rng, inputs: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut data = inputs[rng.usize(..inputs.len())].1.clone();
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(..=data.len());
        match rng.u8(..5) {
            0 => data.insert(at, rng.u8(..)),
            1 => drop(data.drain(at..(at + rng.usize(..8)).min(data.len()))),
            2 => data.truncate(at),
            3 => {
                let other = &inputs[rng.usize(..inputs.len())].1;
                let from = rng.usize(..=other.len());
                data.splice(at..at, other[from..].iter().copied().take(32));
            }
            _ => {
                if let Some(byte) = data.get_mut(at) {
                    *byte = rng.u8(..);
                }
            }
        }
    }
    data
}

#[test]
fn corpus_has_no_findings() {
    for target in &TARGETS {
        let corpus = corpus(target);
        assert!(corpus.len() >= 10, "the corpus of {} has {} inputs", target.name, corpus.len());
        for (name, data) in &corpus {
            run(target, name, data);
        }
    }
}

#[test]
fn changed_corpus_has_no_findings() {
    for target in &TARGETS {
        let mut corpus = corpus(target);
        corpus.retain(|(_, data)| data.len() <= MAX_CHANGED_BYTES);
        for seed in 0..CHANGED_INPUTS {
            let data = changed(&mut Rng::with_seed(seed as u64), &corpus);
            run(target, &format!("seed {seed}"), &data);
        }
    }
}

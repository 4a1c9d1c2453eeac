//! Runs all examples as the README describes.

use std::path::Path;
use std::process::Command;

#[test]
fn every_example_runs_and_is_in_the_readme() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = std::fs::read_dir(examples).expect("a directory").map(|file| file.expect("a file").path());
    let mut names: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .map(|file| file.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert!(names.len() > 1, "there are examples: {names:?}");
    for name in names {
        let linked = include_str!("../README.md").contains(&format!("](examples/{name}.rs)"));
        assert!(linked, "the README does not link to the example {name}");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["run", "--quiet", "-p", "host-sim", "--example", &name]);
        let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo");
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "the example {name}: {stdout}{stderr}");
        assert!(!stdout.is_empty(), "the example {name} prints nothing");
    }
}

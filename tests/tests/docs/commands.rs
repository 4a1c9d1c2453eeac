//! Each command that a page shows is run: by this test, if it needs only the files of `./build.sh build`; else by the
//! test in [`ELSEWHERE`].

use crate::page::{Block, Page, repository};
use e2e::guide::Guide;
use e2e::scratch::Scratch;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// Commands that this test runs, by their beginnings.
const RUN_HERE: [&str; 6] = ["cat ", "cp ", "dist/traffic-split ", "mkdir ", "mv ", "ls "];

/// Commands that another test runs: the beginning of the command, the file of the test, and a text of that file.
const ELSEWHERE: [(&str, &str, &str); 20] = [
    ("./build.sh bench", "tests/bench/tests/quick.rs", "fn quick_run_verifies_and_measures_all_variants"),
    ("./build.sh build", "build.sh", "\n  build\n  build_guests\n"),
    // The demo prints the results of this test.
    ("./build.sh demo", "tests/tests/envoy/guide.rs", "fn weights_change_under_load_without_failed_requests"),
    ("./build.sh mesh --keep", "tests/tests/mesh/keep.rs", "fn kept_mesh_prints_commands_that_work"),
    ("./build.sh package", "tests/mesh/tools/image_test.go", "func TestThePackagedManifestsNameBothImagesByDigest"),
    ("./build.sh test", ".ci/run", "exec ./build.sh test"),
    (
        "cargo build --release --target wasm32-wasip1",
        "build.sh",
        "cargo build --release --target wasm32-wasip1 -p probe -p example-filters",
    ),
    ("cargo clippy --all-targets", "build.sh", "cargo clippy --quiet --all-targets"),
    ("cargo fmt --all --check", "build.sh", "cargo fmt --all --check"),
    (
        "curl -s 'localhost:15000/stats?filter=version_text'",
        "tests/tests/envoy/wiring.rs",
        "fn envoy_shows_the_version_of_the_written_file",
    ),
    (
        "curl -s localhost:15000/config_dump | dist/traffic-split check",
        "tests/tests/envoy/wiring.rs",
        "fn config_dump_of_the_rendered_bootstrap_has_no_finding",
    ),
    ("curl -s localhost:15000/stats | grep ext", "tests/src/envoy.rs", "extension_config_discovery"),
    (
        "curl -s localhost:15000/stats/prometheus",
        "tests/tests/envoy/guide.rs",
        "fn prometheus_shows_requests_by_split_backend_and_reason",
    ),
    (
        "dist/traffic-split-controller uninstall",
        "tests/tests/mesh/controller.rs",
        "fn uninstall_returns_traffic_to_the_root_without_failed_requests",
    ),
    (
        "kubectl apply -f envoy/examples/guide/",
        "tests/tests/mesh/controller.rs",
        "fn guide_applies_without_failed_requests_or_listener_changes",
    ),
    (
        "kubectl apply -k dist/manifests",
        "tests/tests/mesh/objects.rs",
        "fn manifests_create_the_envoyfilter_and_the_controller_fills_it",
    ),
    (
        "kubectl get trafficsplit",
        "tests/tests/mesh/controller.rs",
        "fn split_above_the_size_limit_is_reported_and_excluded_until_it_fits",
    ),
    (
        "kubectl exec deploy/curl",
        "tests/tests/envoy/wiring.rs",
        "fn config_dump_of_the_rendered_bootstrap_has_no_finding",
    ),
    ("skopeo copy", "tests/mesh/tools/image_test.go", "func TestIstiosAgentFetchesTheFilterThatIsRendered"),
    ("traffic-split check canary.yaml", "filter/core/tests/budget.rs", "together have"),
];

#[test]
fn every_command_runs_as_its_page_shows() {
    let mut runs = 0;
    for page in Page::all() {
        let checkout = Checkout::new();
        for block in page.blocks() {
            let place = format!("{}:{}", page.path, block.line);
            match block.language {
                "yaml" => checkout.write_named_file(&block),
                "sh" | "console" => {
                    for step in steps(&block) {
                        if RUN_HERE.iter().any(|beginning| step.command.starts_with(beginning)) {
                            runs += 1;
                            checkout.run(&place, &step);
                        } else {
                            assert_has_other_test(&place, &step.command);
                        }
                    }
                }
                _ => {}
            }
        }
    }
    assert!(runs >= 15, "only {runs} commands were run");
}

#[test]
fn commands_tested_elsewhere_name_existing_tests() {
    for (command, file, text) in ELSEWHERE {
        let source = fs::read_to_string(repository().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(source.contains(text), "{file}, which runs `{command}`, does not contain {text:?}");
    }
}

/// A command and its output, if the page shows it.
struct Step {
    command: String,
    output: Option<Vec<String>>,
}

/// Returns the commands of a block. In `console`, a command follows `$ ` and its output follows the command. In `sh`, each
/// line is a command; `\`, `|` and `&&` at its end continue it.
fn steps(block: &Block<'_>) -> Vec<Step> {
    let is_console = block.language == "console";
    let mut steps: Vec<Step> = Vec::new();
    let mut continues = false;
    for line in &block.lines {
        let is_open = line.ends_with('\\') || line.ends_with('|') || line.ends_with("&&") || line.ends_with("<<'EOF'");
        if continues {
            let step = steps.last_mut().expect("a command to continue");
            step.command += &format!("\n{line}");
            continues = is_open;
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| is_console) {
            steps.push(Step { command: command.to_owned(), output: Some(Vec::new()) });
            continues = is_open;
        } else if is_console {
            let step =
                steps.last_mut().unwrap_or_else(|| panic!("line {}: a console block begins with `$ `", block.line));
            step.output.get_or_insert_default().push((*line).to_owned());
        } else if !line.is_empty() && !line.starts_with('#') {
            let command = line.split("  #").next().unwrap_or(line).trim_end();
            steps.push(Step { command: command.to_owned(), output: None });
            continues = is_open;
        }
    }
    steps
}

fn assert_has_other_test(place: &str, command: &str) {
    let known = ELSEWHERE.iter().any(|(beginning, ..)| command.starts_with(beginning));
    assert!(known, "{place}: no test runs `{command}`: add it to RUN_HERE or ELSEWHERE");
}

/// A directory that looks like the root of the repository after `./build.sh build`.
struct Checkout(Scratch);

impl Checkout {
    fn new() -> Self {
        let scratch = Scratch::new().expect("a scratch directory");
        let guide = Guide::built().expect("the files of ./build.sh build");
        fs::create_dir_all(scratch.join("dist")).expect("a directory");
        fs::create_dir_all(scratch.join("etc")).expect("a directory");
        symlink(guide.command, scratch.join("dist/traffic-split")).expect("a link to the command");
        symlink(guide.wasm, scratch.join("dist/traffic-split.wasm")).expect("a link to the filter");
        symlink(repository().join("envoy"), scratch.join("envoy")).expect("a link to envoy/");
        Self(scratch)
    }

    /// Writes a block whose first line is `# NAME.yaml` to that file.
    fn write_named_file(&self, block: &Block<'_>) {
        let name = block.lines.first().and_then(|line| line.strip_prefix("# ")).unwrap_or_default();
        if !name.contains(' ') && Path::new(name).extension().is_some_and(|extension| extension == "yaml") {
            fs::write(self.0.join(name), block.lines.join("\n") + "\n").expect("a file");
        }
    }

    /// Runs a command. Compares its output, or expects success if the page shows none.
    fn run(&self, place: &str, step: &Step) {
        let etc = self.0.join("etc").display().to_string();
        let script = step.command.replace(" /etc/", &format!(" {etc}/"));
        let output = Command::new("sh")
            .args(["-ec", &format!("exec 2>&1\n{script}")])
            .current_dir(self.0.path())
            .output()
            .expect("a shell");
        let text = String::from_utf8_lossy(&output.stdout).replace(&etc, "/etc");
        match &step.output {
            None => assert!(output.status.success(), "{place}: {}\n{text}", step.command),
            Some(expected) => {
                let printed: Vec<_> = text.trim_end().lines().collect();
                let expected: Vec<_> = expected.iter().map(String::as_str).collect();
                assert!(
                    fits(&expected, &printed),
                    "{place}: {}\nprints\n{text}\nnot\n{}",
                    step.command,
                    expected.join("\n")
                );
            }
        }
    }
}

/// Reports whether the output is as shown; a line `…` stands for any lines, and `…` in a line for any text.
fn fits(expected: &[&str], printed: &[&str]) -> bool {
    match (expected, printed) {
        ([], []) => true,
        (["…", expected @ ..], _) => (0..=printed.len()).any(|skipped| fits(expected, &printed[skipped..])),
        ([line, expected @ ..], [printed_line, printed @ ..]) => {
            line_fits(line, printed_line.trim_end()) && fits(expected, printed)
        }
        _ => false,
    }
}

fn line_fits(expected: &str, printed: &str) -> bool {
    let mut pieces = expected.split('…');
    let Some(mut rest) = pieces.next().and_then(|first| printed.strip_prefix(first)) else { return false };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.is_empty() || expected.ends_with('…')
}

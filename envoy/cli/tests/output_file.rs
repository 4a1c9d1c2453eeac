//! The options `--output`, `--watch` and `--bootstrap` of `render`, and `check --bootstrap`.
#![cfg(unix)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use support::Ran;
use support::files::Files;

const OBJECTS: &str = "apiVersion: split.smi-spec.io/v1alpha2
kind: TrafficSplit
metadata: {name: split, namespace: shop}
spec: {service: web, backends: [{service: web-v1, weight: 50}]}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: web-v1, namespace: shop}, spec: {ports: [{port: 80}]}}
";

const TARGETS: [&str; 5] = ["ecds", "envoy", "envoyfilter", "wasmplugin", "plugin-config"];

impl Files {
    /// Creates a directory with `objects.yaml`.
    fn with_objects() -> Self {
        Self::new(&[("objects.yaml", OBJECTS)])
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o7777
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.directory())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Returns the version in a rendered file.
fn version(text: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix("version_info: ")).unwrap();
    line.trim_matches('"').to_owned()
}

#[test]
fn output_replaces_the_file_and_reports_its_version() {
    let files = Files::with_objects();
    for target in TARGETS {
        let printed = files.run(&["render", target, "objects.yaml"]).stdout;
        let ran = files.run(&["render", target, "objects.yaml", "--output", "out"]);
        let suffix = if target == "ecds" { format!(", version {}", version(&printed)) } else { String::new() };
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""));
        assert_eq!(ran.stderr, format!("wrote out{suffix}\n"));
        assert_eq!(files.text("out"), printed);
        assert_eq!(files.mode("out"), 0o644);
        fs::remove_file(files.path("out")).unwrap();
    }
    files.write("out", "old");
    fs::set_permissions(files.path("out"), fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(files.run(&["render", "ecds", "objects.yaml", "-o", "out"]).code, Some(0));
    assert_eq!(files.mode("out"), 0o640);
    assert_ne!(files.text("out"), "old");
    assert_eq!(files.names(), ["objects.yaml", "out"]);
}

#[test]
fn failed_output_keeps_the_old_file() {
    let files = Files::with_objects();
    files.write("out", "old");
    files.write("invalid.yaml", &OBJECTS.replace("50", "-5"));
    for target in TARGETS {
        let ran = files.run(&["render", target, "invalid.yaml", "-o", "out"]);
        assert_eq!((ran.code, files.text("out").as_str()), (Some(1), "old"), "{target}");
        // No file may grow, as on a full disk.
        let program = env!("CARGO_BIN_EXE_traffic-split");
        let script = format!("trap '' XFSZ; ulimit -f 0; '{program}' render {target} objects.yaml -o out");
        let ran = Ran::new(Command::new("sh").args(["-c", &script]).current_dir(files.directory()).output().unwrap());
        let is_full =
            ran.stderr == "error: out: cannot be written: File too large (os error 27); the old file is unchanged\n";
        assert!(ran.code == Some(1) && (is_full || ran.stderr.is_empty()), "{target}: {}", ran.stderr);
        assert_eq!(files.text("out"), "old", "{target}");
    }
    assert_eq!(files.names(), ["invalid.yaml", "objects.yaml", "out"]);
}

#[test]
fn output_that_is_no_regular_file_is_refused() {
    let files = Files::with_objects();
    fs::create_dir(files.path("directory")).unwrap();
    symlink("/dev/null", files.path("null")).unwrap();
    for (output, message) in [
        ("directory", "error: directory: is a directory; pass a file\n"),
        ("null", "error: null: is not a regular file; omit --output to write to standard output\n"),
        ("missing/out", "error: missing/out: the directory `missing` does not exist; create it\n"),
    ] {
        let ran = files.run(&["render", "ecds", "objects.yaml", "-o", output]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), message));
    }
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

/// `render ecds --watch`, with the lines of its standard error.
struct Watching {
    child: Child,
    lines: Receiver<String>,
}

impl Watching {
    fn start(files: &Files, more: &[&str]) -> Self {
        let arguments = [&["render", "ecds", "--watch", "--output", "ecds.yaml"], more].concat();
        let mut child = files.command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    #[track_caller]
    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(60)).unwrap()
    }

    /// Returns the version after a line that reports a write.
    #[track_caller]
    fn written(&self) -> String {
        let line = self.line();
        line.strip_prefix("wrote ecds.yaml, version ").unwrap_or_else(|| panic!("{line}")).to_owned()
    }

    /// Asserts that the program prints nothing in the time of several reads.
    #[track_caller]
    fn is_silent(&self) {
        let line = self.lines.recv_timeout(Duration::from_millis(1600));
        assert!(line.is_err(), "{line:?}");
    }

    fn stop(mut self, signal: &str) -> Option<i32> {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

#[test]
fn watch_renders_each_change_and_keeps_the_last_valid_file() {
    let files = Files::with_objects();
    let watching = Watching::start(&files, &["objects.yaml"]);
    let first = watching.written();
    assert_eq!(version(&files.text("ecds.yaml")), first);
    watching.is_silent();

    files.write("objects.yaml", &OBJECTS.replace("50", "-5"));
    assert_eq!(
        watching.line(),
        "error: objects.yaml:4:59: TrafficSplit shop/split: spec.backends[0].weight: -5 is negative; use 0 or more"
    );
    watching.is_silent();
    assert_eq!(version(&files.text("ecds.yaml")), first);
    fs::remove_file(files.path("objects.yaml")).unwrap();
    assert!(watching.line().starts_with("error: objects.yaml: "));

    // An editor renames a new file over the old one.
    files.write("new.yaml", &OBJECTS.replace("50", "60"));
    fs::rename(files.path("new.yaml"), files.path("objects.yaml")).unwrap();
    assert_eq!(watching.line(), "the input is valid again");
    let second = watching.written();
    assert_ne!(first, second);
    assert_eq!(version(&files.text("ecds.yaml")), second);
    // The same configuration in other words is not written.
    files.write("objects.yaml", &format!("# comment\n{}", OBJECTS.replace("50", "60")));
    watching.is_silent();
    assert_eq!(watching.stop("-TERM"), Some(0));
    assert_eq!(files.names(), ["ecds.yaml", "objects.yaml"]);
}

#[test]
fn watch_notices_the_links_of_a_config_map_and_a_replaced_filter() {
    let files = Files::with_objects();
    for (directory, weight) in [("..1", "50"), ("..2", "60")] {
        fs::create_dir(files.path(directory)).unwrap();
        files.write(&format!("{directory}/split.yaml"), &OBJECTS.replace("50", weight));
    }
    symlink("..1", files.path("..data")).unwrap();
    symlink("..data/split.yaml", files.path("split.yaml")).unwrap();
    files.write("filter.wasm", "\0asm1");
    let watching = Watching::start(&files, &["--wasm", "filter.wasm", "split.yaml"]);
    let first = watching.written();
    symlink("..2", files.path("..new")).unwrap();
    fs::rename(files.path("..new"), files.path("..data")).unwrap();
    let second = watching.written();
    files.write("filter.wasm", "\0asm2");
    let third = watching.written();
    assert!(first != second && second != third && first != third);
    assert_eq!(watching.stop("-INT"), Some(0));
}

#[test]
fn watch_restores_a_file_that_another_program_changes_or_removes() {
    let files = Files::with_objects();
    let watching = Watching::start(&files, &["objects.yaml"]);
    let version = watching.written();
    let text = files.text("ecds.yaml");
    let restored = || {
        assert_eq!(watching.line(), "ecds.yaml: another program changed or removed the file");
        assert_eq!(watching.written(), version);
        assert_eq!(files.text("ecds.yaml"), text);
        watching.is_silent();
    };
    fs::remove_file(files.path("ecds.yaml")).unwrap();
    restored();
    files.write("ecds.yaml", "resources: []");
    restored();
    // While the input is invalid, the last valid file is restored.
    files.write("objects.yaml", "kind: [");
    assert!(watching.line().starts_with("error: objects.yaml:1:7: "));
    fs::remove_file(files.path("ecds.yaml")).unwrap();
    restored();
    assert_eq!(watching.stop("-TERM"), Some(0));
}

#[test]
fn output_is_a_file_or_standard_output_and_no_format() {
    let files = Files::with_objects();
    let printed = files.run(&["render", "plugin-config", "objects.yaml"]).stdout;
    for target in TARGETS {
        let ran = files.run(&["render", target, "objects.yaml", "-o", "-"]);
        assert_eq!((ran.code, ran.stdout.is_empty()), (Some(0), false), "{target}");
        for format in ["json", "yaml", "text", "github"] {
            let ran = files.run(&["render", target, "objects.yaml", "-o", format]);
            assert_eq!(ran.code, Some(2), "{target}");
            let message =
                format!("`{format}` is a format, but --output names a file; omit the option, or write `./{format}`");
            assert!(ran.stderr.contains(&message), "{}", ran.stderr);
        }
    }
    assert_eq!(files.names(), ["objects.yaml"]);
    assert_eq!(files.run(&["render", "plugin-config", "objects.yaml", "-o", "./json"]).code, Some(0));
    assert_eq!(files.text("json"), printed);
    assert_eq!(files.run(&["render", "ecds", "objects.yaml", "-o", "-", "--watch"]).code, Some(2));
}

#[test]
fn wasm_file_must_be_a_module_if_it_exists_here() {
    let files = Files::with_objects();
    files.write("filter.wasm", "\0asm\u{1}\0\0\0");
    fs::create_dir(files.path("directory")).unwrap();
    for (target, severity) in [("ecds", "warning"), ("envoyfilter", "note"), ("wasmplugin", "note")] {
        let run = |wasm: &str| files.run(&["render", target, "objects.yaml", "--wasm", wasm]);
        let missing = format!("{severity}: none.wasm: --wasm: the file does not exist here");
        for (wasm, code, message) in [
            ("filter.wasm", 0, ""),
            ("none.wasm", 0, missing.as_str()),
            ("objects.yaml", 1, "error: objects.yaml: --wasm: is not a WebAssembly module; pass the compiled filter\n"),
            ("directory", 1, "error: directory: --wasm: is a directory; pass the compiled filter\n"),
        ] {
            let ran = run(wasm);
            assert_eq!((ran.code, ran.stdout.is_empty()), (Some(code), code == 1), "{target} {wasm}");
            assert!(ran.stderr.starts_with(message), "{target} {wasm}: {}", ran.stderr);
            assert!(!message.is_empty() || ran.stderr.is_empty(), "{target} {wasm}: {}", ran.stderr);
        }
    }
}

#[test]
fn watch_reports_a_failing_write_once_and_repeats_it() {
    let files = Files::with_objects();
    fs::create_dir(files.path("ecds.yaml")).unwrap();
    let watching = Watching::start(&files, &["objects.yaml"]);
    assert_eq!(watching.line(), "error: ecds.yaml: is a directory; pass a file; retrying");
    watching.is_silent();
    fs::remove_dir(files.path("ecds.yaml")).unwrap();
    assert_eq!(watching.written(), version(&files.text("ecds.yaml")));
    assert_eq!(watching.stop("-TERM"), Some(0));
}

#[test]
fn output_warns_about_a_bootstrap_that_does_not_watch_it() {
    let files = Files::with_objects();
    let bootstrap = files.run(&["render", "envoy", "--ecds", "guide/ecds.yaml", "objects.yaml", "-o", "envoy.yaml"]);
    assert_eq!(bootstrap.code, Some(0));
    fs::create_dir(files.path("guide")).unwrap();
    let render = |output: &str| {
        files.run(&["render", "ecds", "objects.yaml", "--bootstrap", "envoy.yaml", "--output", output]).stderr
    };
    let stderr = render("guide/ecds.yaml");
    assert!(stderr.starts_with("wrote guide/ecds.yaml, version ") && stderr.lines().count() == 1, "{stderr}");
    let stderr = render("other.yaml");
    let warning = "warning: envoy.yaml: path_config_source.path: Envoy reads the filter's configuration from `guide/ecds.yaml`, not from `/";
    assert!(stderr.starts_with(warning) && stderr.contains("\nwrote other.yaml, version "), "{stderr}");
    let text = files.text("envoy.yaml").replace("path: guide\n", "path: /etc\n");
    files.write("envoy.yaml", &text);
    let stderr = render("guide/ecds.yaml");
    assert!(
        stderr.contains("watched_directory: is `/etc`, but the file is in `guide`, so Envoy misses every change"),
        "{stderr}"
    );
}

#[test]
fn check_reads_a_bootstrap_with_or_without_objects() {
    let files = Files::with_objects();
    files.run(&["render", "envoy", "objects.yaml", "-o", "envoy.yaml"]);
    let ran = files.run(&["check", "--bootstrap", "envoy.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(ran.stdout.starts_with("envoy.yaml: 1 connection manager with the filter, fine\n"), "{}", ran.stdout);
    let stdin = Ran::with_input(&mut files.command(&["check", "--bootstrap", "-"]), &files.text("envoy.yaml"));
    assert_eq!((stdin.code, stdin.stdout), (Some(0), ran.stdout.replace("envoy.yaml", "stdin")));
    let ran = files.run(&["check", "--bootstrap", "envoy.yaml", "objects.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(ran.stdout.contains("objects.yaml: 1 TrafficSplit, 2 Services, fine\n"), "{}", ran.stdout);

    files.write(
        "envoy.yaml",
        &files
            .text("envoy.yaml")
            .replace("- name: traffic-split\n            config_disc", "- name: other\n            config_disc"),
    );
    let message = "error: envoy.yaml: listener outbound: http_filters[other]: the filter has the name `other`, but the resource in its file \
        is `traffic-split`, so Envoy rejects the file and the root Services serve every request without an error; rename the filter to \
        `traffic-split`\n";
    for objects in [&[][..], &["objects.yaml"]] {
        let ran = files.run(&[&["check", "--bootstrap", "envoy.yaml"], objects].concat());
        assert_eq!(ran.code, Some(1));
        assert!(ran.stderr.starts_with(message), "{}", ran.stderr);
    }
    let ran = files.run(&["check", "--bootstrap", "objects.yaml"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.starts_with("error: objects.yaml: has Kubernetes objects; pass an Envoy bootstrap"),
        "{}",
        ran.stderr
    );
    assert_eq!(files.run(&["check", "--bootstrap", "none.yaml"]).code, Some(1));
}

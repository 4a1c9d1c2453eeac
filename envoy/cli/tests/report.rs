//! Runs `traffic-split check` and reads its reports: text, JSON and workflow commands.

mod support;

use serde_json::{Value, json};
use std::process::Command;
use support::Ran;

const SPLIT: &str = "apiVersion: split.smi-spec.io/v1alpha2
kind: TrafficSplit
metadata: {name: http-split, namespace: httpbin}
spec:
  service: httpbin
  backends:
  - {service: httpbin-v1, weight: 50}
  - {service: httpbin-v2, weight: -5}
";

/// Runs a command in a directory with a file for each text: `a.yaml`, `b.yaml` and so on.
#[track_caller]
fn run(texts: &[&str], arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_traffic-split"));
    command.args(arguments).current_dir(&directory).envs(environment.iter().copied());
    for (text, letter) in texts.iter().zip('a'..) {
        let name = format!("{letter}.yaml");
        std::fs::write(directory.path().join(&name), text).unwrap();
        command.arg(name);
    }
    Ran::with_input(&mut command, "")
}

fn valid() -> String {
    SPLIT.replace("-5", "50")
}

/// A split with the error -5 and the warning that its root is unknown, and a second error.
fn invalid() -> String {
    format!("{}---\nkind: 3\n", SPLIT.replace("{service: httpbin-v1, weight: 50}", "{service: httpbin-v1}"))
}

#[test]
fn summary_counts_errors_warnings_and_files() {
    let warning = "warning: a.yaml:5:12: TrafficSplit httpbin/http-split: spec.service: the ports of the Service \
        httpbin/httpbin are unknown, so the filter uses the port in `Host`, or else the connection's port; add the Service to the input";
    let ran = run(&[&valid()], &["check"], &[]);
    assert_eq!(ran.stderr.lines().collect::<Vec<_>>(), [warning, "1 warning in 1 file"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "a.yaml: 1 TrafficSplit, 1 warning\n"));

    let ran = run(&[&invalid(), "]", "kind: Pod\n"], &["check"], &[]);
    assert_eq!(
        ran.stderr.lines().collect::<Vec<_>>(),
        [
            "error: a.yaml:8:35: TrafficSplit httpbin/http-split: spec.backends[1].weight: -5 is negative; use 0 or more",
            "error: a.yaml:10:7: document 2: kind: must be a string",
            "error: b.yaml:1:1: the closing bracket has no opening bracket; remove one, or put the value in single quotes",
            "3 errors in 2 files",
        ]
    );
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
}

#[test]
fn strict_refuses_warnings() {
    let ran = run(&[&valid()], &["check", "--strict"], &[]);
    assert_eq!(ran.stderr.lines().last(), Some("1 warning in 1 file; --strict treats warnings as errors"));
    assert_eq!(ran.code, Some(1));
    let service = "kind: Service\nmetadata: {name: httpbin, namespace: httpbin}\nspec: {ports: [{port: 80}]}\n";
    let services: String = ["httpbin", "httpbin-v1", "httpbin-v2"]
        .map(|name| format!("---\n{}", service.replacen("httpbin", name, 1)))
        .concat();
    let ran = run(&[&valid(), &services], &["check", "--strict"], &[]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert_eq!(ran.stdout, "a.yaml: 1 TrafficSplit, fine\nb.yaml: 3 Services, fine\n");
}

#[test]
fn json_report_is_one_document() {
    let report = |texts: &[&str]| {
        let ran = run(texts, &["check", "-o", "json"], &[]);
        assert_eq!(ran.stderr, "");
        (ran.code, serde_json::from_str::<Value>(&ran.stdout).unwrap())
    };
    let (code, json) = report(&[&invalid(), "["]);
    assert_eq!(code, Some(1));
    assert_eq!(
        json["problems"][0],
        json!({
            "severity": "error",
            "file": "a.yaml",
            "line": 8,
            "column": 35,
            "object": "TrafficSplit httpbin/http-split",
            "field": "spec.backends[1].weight",
            "message": "-5 is negative; use 0 or more",
        })
    );
    assert_eq!(json["summary"], json!({"errors": 3, "warnings": 0, "files": 2}));
    assert_eq!(json["files"][1], json!({"file": "b.yaml", "content": null, "errors": 1, "warnings": 0}));
    let (code, json) = report(&[&valid()]);
    assert_eq!(code, Some(0));
    assert_eq!(json["problems"][0]["severity"], "warning");
    assert_eq!(json["files"], json!([{"file": "a.yaml", "content": "1 TrafficSplit", "errors": 0, "warnings": 1}]));
}

#[test]
fn github_report_has_workflow_commands() {
    let ran = run(&[SPLIT], &["check", "--output=github"], &[]);
    assert_eq!(
        ran.stdout,
        "::error file=a.yaml,line=8,col=35,title=TrafficSplit httpbin/http-split::\
         TrafficSplit httpbin/http-split: spec.backends[1].weight: -5 is negative; use 0 or more\n"
    );
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), "1 error in 1 file\n"));
}

#[test]
fn only_terminals_get_colours() {
    let colour = |environment: &[(&str, &str)]| run(&["]"], &["check"], environment).stderr.starts_with("\u{1b}[");
    assert!(!colour(&[]));
    assert!(colour(&[("CLICOLOR_FORCE", "1")]));
}

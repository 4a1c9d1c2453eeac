//! `traffic-split explain`: its text and its JSON for each kind of request.

mod support;

use fixtures::FixedRandom;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::Ran;
use traffic_split::{Decision, RootReason, Rules};
use traffic_split_cli::input::read;
use traffic_split_envoy::{RequestDescription, explain, load};

const EXAMPLES: [&str; 4] = ["ab-test.yaml", "sticky.yaml", "mirror.yaml", "override.yaml"];
const SERVICES: &str = "guide/services.yaml";

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// Runs the command in the directory of the examples. The shell splits `words`.
fn run(words: &str, input: &str) -> Ran {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("\"$0\" {words}"), env!("CARGO_BIN_EXE_traffic-split")]);
    Ran::with_input(command.current_dir(examples()), input)
}

/// Returns the lines that `explain` prints.
#[track_caller]
fn lines(words: &str, input: &str) -> Vec<String> {
    let ran = run(&format!("explain {words}"), input);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    ran.stdout.lines().map(str::to_owned).collect()
}

#[track_caller]
fn assert_lines(words: &str, expected: &[&str]) {
    assert_eq!(lines(words, ""), expected);
}

/// Returns the text after a label in each line that has the label.
#[track_caller]
fn labelled(words: &str, input: &str, label: &str) -> Vec<String> {
    let labelled = format!("{label:8}  ");
    lines(words, input).iter().filter_map(|line| Some(line.strip_prefix(&labelled)?.to_owned())).collect()
}

#[track_caller]
fn json_of(words: &str, input: &str) -> Value {
    let ran = run(&format!("explain --json {words}"), input);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn random_pick_prints_the_shares() {
    assert_lines(
        "guide/trafficsplit-50-50.yaml guide/services.yaml --config guide/config.yaml \
         --host HTTPBIN.httpbin:14001 --path '/json?a=b' --namespace curl",
        &[
            "GET /json?a=b at HTTPBIN.httpbin:14001, from namespace curl",
            "split     httpbin/http-split, in guide/trafficsplit-50-50.yaml",
            "port      14001: the port in Host",
            "decided   by weight (random)",
            "goes to   one backend, picked at random by share",
            "shares    backend     weight  share  cluster",
            "          httpbin-v1      50   50 %  httpbin/httpbin-v1|14001",
            "          httpbin-v2      50   50 %  httpbin/httpbin-v2|14001",
        ],
    );
}

#[test]
fn only_backend_with_a_weight_is_certain_and_may_have_a_mirror() {
    assert_lines(
        "mirror.yaml --host httpbin.httpbin:14001 --method POST",
        &[
            "POST / at httpbin.httpbin:14001",
            "split     httpbin/http-split, in mirror.yaml",
            "port      14001: the port in Host",
            "decided   by weight (random)",
            "goes to   httpbin-v1, cluster outbound|14001||httpbin-v1.httpbin.svc.cluster.local",
            "mirror    10 % of these requests are copied to httpbin-v2, \
             cluster outbound|14001||httpbin-v2.httpbin.svc.cluster.local",
            "shares    backend     weight  share  cluster",
            "          httpbin-v1     100  100 %  outbound|14001||httpbin-v1.httpbin.svc.cluster.local",
            "          httpbin-v2       0    0 %  outbound|14001||httpbin-v2.httpbin.svc.cluster.local",
        ],
    );
}

#[test]
fn mirror_receives_no_copy_of_requests_that_it_serves() {
    let split = std::fs::read_to_string(examples().join("mirror.yaml")).unwrap();
    let mirror = |weights: [&str; 2], percent: &str| {
        let split = split.replace("weight: 0", weights[1]).replace("weight: 100", weights[0]);
        split.replace("v2=10", &format!("v2={percent}"))
    };
    let words = "- --host httpbin.httpbin:14001";
    let v2 = "copied to httpbin-v2, cluster outbound|14001||httpbin-v2.httpbin.svc.cluster.local";
    let both = mirror(["weight: 1", "weight: 2"], "0.5");
    assert_eq!(labelled(words, &both, "mirror"), [format!("0.5 % of the requests that other backends serve are {v2}")]);
    let itself = mirror(["weight: 0", "weight: 1"], "10");
    // With an override, another backend may serve, so `load` has no warning.
    let itself =
        itself.replace("traffic-split/mirror", "traffic-split/override-header: x-to\n    traffic-split/mirror");
    assert_eq!(labelled(words, &itself, "mirror"), [""; 0]);
    assert_eq!(
        labelled(words, &itself, "note"),
        ["the mirror backend httpbin-v2 serves these requests itself and receives no copies"]
    );
}

#[test]
fn match_that_holds_is_named() {
    let words = "ab-test.yaml --host httpbin.httpbin:14001 --header 'User-Agent: Mozilla/5.0 (Linux; Android 14)' \
                 --header 'Cookie: a=b; type=insider' --header 'cookie:type=outsider'";
    assert_eq!(labelled(words, "", "split"), ["httpbin/insiders, in ab-test.yaml"]);
    assert_eq!(labelled(words, "", "match"), ["insiders/android-insiders"]);
    assert_eq!(labelled(words, "", "skipped"), [""; 0]);
    let words = "ab-test.yaml --host httpbin.httpbin:14001 --path /preview/new";
    assert_eq!(labelled(words, "", "match"), ["insiders/preview"]);
}

#[test]
fn skipped_split_explains_each_failed_match() {
    let words = "ab-test.yaml --host httpbin.httpbin:14001 --header 'user-agent: curl' --path '/cart?x' \
                 --header 'cookie: type=insider'";
    assert_eq!(
        lines(words, "")[8..],
        [
            "skipped   httpbin/insiders, in ab-test.yaml: no match holds",
            "          insiders/android-insiders: the header user-agent: curl does not match .*Android.*",
            "          insiders/preview: the path /cart does not begin with /preview/",
        ]
    );
    let lines = lines("ab-test.yaml --host httpbin.httpbin:14001 --method PUT", "");
    assert_eq!(
        lines[9..],
        [
            "          insiders/android-insiders: the header cookie is missing; \
             it must match (.*; *)?type=insider(;.*)?",
            "          insiders/preview: the method PUT is not GET",
        ]
    );
}

#[test]
fn request_without_a_match_goes_to_the_root() {
    let all = std::fs::read_to_string(examples().join("ab-test.yaml")).unwrap();
    let end = all.rfind("---").unwrap();
    assert_eq!(
        lines("- --host httpbin.httpbin --port 14001", &all[..end]),
        [
            "GET / at httpbin.httpbin, to port 14001",
            "port      14001: Host has no port; the connection's destination port",
            "goes to   the root, httpbin.httpbin, as if there were no split: \
             no match of the root's splits accepts the request",
            "skipped   httpbin/insiders, in stdin: no match holds",
            "          insiders/android-insiders: the header cookie is missing; \
             it must match (.*; *)?type=insider(;.*)?",
            "          insiders/preview: the path / does not begin with /preview/",
        ]
    );
}

#[test]
fn sticky_header_decides_and_its_value_is_printed() {
    let words = "sticky.yaml --host httpbin.httpbin:14001 --header 'X-User:  alice ' --header 'cookie: canary=bob'";
    assert_eq!(labelled(words, "", "decided"), ["by the header x-user: alice (sticky)"]);
    assert_eq!(labelled(words, "", "response"), [""; 0]);
    let v1 = "httpbin-v1, cluster outbound|14001||httpbin-v1.httpbin.svc.cluster.local";
    assert_eq!(labelled(words, "", "goes to"), [v1]);
}

#[test]
fn sticky_cookie_decides_or_is_set_by_the_response() {
    let words = "sticky.yaml --host httpbin.httpbin:14001 --header 'x-user:'";
    let with = format!("{words} --header 'cookie: a=b; canary=\"bob\"'");
    assert_eq!(labelled(&with, "", "decided"), ["by the cookie canary: bob (sticky)"]);
    assert_eq!(labelled(&with, "", "response"), [""; 0]);
    let without = format!("{words} --header 'cookie: a=b'");
    assert_eq!(labelled(&without, "", "decided"), ["by weight, because the request has no cookie canary (sticky)"]);
    assert_eq!(labelled(&without, "", "goes to"), ["one backend, picked at random by share"]);
    let set = "sets the cookie canary=VALUE; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax";
    assert_eq!(labelled(&without, "", "response"), [set]);
}

#[test]
fn override_reaches_weight_0_and_is_ignored_if_it_names_no_backend() {
    let words = "override.yaml --host httpbin.httpbin:14001";
    let to = |service: &str| format!("{service}, cluster outbound|14001||{service}.httpbin.svc.cluster.local");
    let v2 = format!("{words} --header 'x-version: httpbin-v2'");
    assert_eq!(labelled(&v2, "", "decided"), ["by the header x-version: httpbin-v2 (override)"]);
    assert_eq!(labelled(&v2, "", "goes to"), [to("httpbin-v2")]);
    let v3 = format!("{words} --header 'x-version: v3'");
    assert_eq!(labelled(&v3, "", "decided"), ["by weight (random)"]);
    assert_eq!(labelled(&v3, "", "goes to"), [to("httpbin-v1")]);
    let note = "the override header x-version: v3 is ignored, because it names no backend with this port";
    assert_eq!(labelled(&v3, "", "note"), [note]);
}

#[test]
fn host_that_is_no_root_is_not_split() {
    let nowhere = "the destination without the filter: no split has this host as its root";
    for (host, note) in [
        ("example.com", "no root has the host example.com; the roots: httpbin.httpbin"),
        ("httpbin.other:14001", "no root has the host httpbin.other; did you mean `httpbin.httpbin`?"),
        ("httpbin.htpbin.", "no root has the host httpbin.htpbin; did you mean `httpbin.httpbin`?"),
        ("10.0.0.1", "no root has the host 10.0.0.1; the roots: httpbin.httpbin"),
    ] {
        assert_lines(
            &format!("guide/trafficsplit-v1.yaml --host {host}"),
            &[&format!("GET / at {host}"), &format!("goes to   {nowhere}"), &format!("note      {note}")],
        );
    }
}

#[test]
fn bare_name_is_a_root_only_in_its_namespace() {
    let words = "guide/trafficsplit-v1.yaml --host httpbin:14001";
    assert_eq!(labelled(&format!("{words} --namespace httpbin"), "", "split").len(), 1);
    assert_eq!(labelled(&format!("{words} --namespace curl"), "", "split").len(), 0);
    assert_eq!(
        labelled(words, "", "note"),
        ["a bare Service name is a root only for clients in its namespace; set --namespace to the client's namespace"]
    );
}

/// A plugin configuration beside the guide's split.
fn config(name: &str, text: &str) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("explain-{}-{name}.yaml", std::process::id()));
    std::fs::write(&path, text).unwrap();
    format!("guide/trafficsplit-50-50.yaml --config '{}'", path.display())
}

#[test]
fn excluded_namespace_is_not_split() {
    let words = config("excluded", "excludedNamespaces: [batch]\n");
    assert_eq!(
        labelled(&format!("{words} --host httpbin.httpbin --namespace batch"), "", "goes to"),
        ["the destination without the filter: the client's namespace is excluded"]
    );
    assert_eq!(labelled(&format!("{words} --host httpbin.httpbin:80 --namespace curl"), "", "split").len(), 1);
    // `namespace` of the configuration is the client's namespace.
    let words = config("own", "{excludedNamespaces: [batch], namespace: batch}\n");
    assert_eq!(
        lines(&format!("{words} --host httpbin.httpbin"), "")[0],
        "GET / at httpbin.httpbin, from namespace batch"
    );
    let ran = run(&format!("explain {words} --host httpbin.httpbin --namespace curl"), "");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert!(ran.stderr.contains("--namespace `curl` differs from `namespace` in --config, `batch`"), "{}", ran.stderr);
}

#[test]
fn port_is_printed_with_the_rule_that_determines_it() {
    let words = config(
        "ports",
        "services: {httpbin/httpbin: {ports: [80, 443, 14001]}, httpbin/httpbin-v1: {}, httpbin/httpbin-v2: {}}\n\
         hosts: {shop.example.com: httpbin/httpbin, api.example.com: {service: httpbin/httpbin, port: 14001}}\n",
    );
    for (request, expected) in [
        ("--host httpbin.httpbin:80", "80: the port in Host"),
        ("--host httpbin.httpbin --port 14001", "14001: Host has no port; the connection's destination port"),
        (
            "--host httpbin.httpbin:81 --port 80",
            "80: httpbin.httpbin has no port 81; the connection's destination port",
        ),
        ("--host httpbin.httpbin", "80: Host has no port; default of http"),
        ("--host httpbin.httpbin --port 8080", "80: Host has no port; default of http"),
        ("--host httpbin.httpbin:81", "80: httpbin.httpbin has no port 81; default of http"),
        ("--host httpbin.httpbin --header 'x-forwarded-proto: https'", "443: Host has no port; default of https"),
        ("--host shop.example.com:14001 --port 8080", "80: hosts sets no port for this host; default of http"),
        ("--host api.example.com:80 --port 8080", "14001: the port of this host in hosts"),
    ] {
        assert_eq!(labelled(&format!("{words} {request}"), "", "port"), [expected], "{request}");
    }
    let explanation = json_of(&format!("{words} --host httpbin.httpbin --port 8080"), "");
    assert_eq!(explanation["port"], 80);
    assert_eq!(explanation["portReason"], json!({"code": "httpDefault", "why": "Host has no port; default of http"}));
    let only = config(
        "only-port",
        "services: {httpbin/httpbin: {ports: [14001]}, httpbin/httpbin-v1: {}, httpbin/httpbin-v2: {}}\n",
    );
    let line = labelled(&format!("{only} --host httpbin.httpbin"), "", "port");
    assert_eq!(line, ["14001: Host has no port; the only port of the root"]);
}

#[test]
fn request_without_a_port_of_the_root_says_why() {
    let words = config(
        "no-port",
        "services: {httpbin/httpbin: {ports: [8080, 14001]}, httpbin/httpbin-v1: {}, httpbin/httpbin-v2: {}}\n\
         hosts: {shop.example.com: httpbin/httpbin, api.example.com: {service: httpbin/httpbin, port: 81}}\n",
    );
    let lacks = "and httpbin.httpbin lacks the default port (80 for http, 443 for https)";
    let unknown = "--port is not set";
    for (request, why) in [
        ("--host httpbin.httpbin", format!("Host has no port, {unknown}, {lacks}")),
        (
            "--host httpbin.httpbin --port 90",
            format!("Host has no port, the connection's destination port 90 is not a port of httpbin.httpbin, {lacks}"),
        ),
        ("--host httpbin.httpbin:81", format!("httpbin.httpbin has no port 81, {unknown}, {lacks}")),
        ("--host shop.example.com:8080", format!("hosts sets no port for this host, {unknown}, {lacks}")),
        ("--host httpbin.httpbin:x --port 8080", "the port in Host is not a number from 1 to 65535".to_owned()),
        ("--host api.example.com", "httpbin.httpbin has no port 81, which hosts sets for this host".to_owned()),
    ] {
        let words = format!("{words} {request}");
        let root = format!("the root, httpbin.httpbin, as if there were no split: {why}");
        assert_eq!(run(&format!("explain {words}"), "").stdout.lines().nth(1).unwrap(), format!("goes to   {root}"));
        assert_eq!(json_of(&words, "")["root"], json!({"code": "noPort", "why": why}));
        assert_eq!(json_of(&words, "")["portReason"], Value::Null);
        assert_eq!(json_of(&words, "")["notes"], json!(["httpbin.httpbin has the ports 8080, 14001"]));
    }
    let none = config("zero-ports", "services: {httpbin/httpbin: {ports: []}}\n");
    let ran = run(&format!("explain {none} --host httpbin.httpbin:80"), "");
    assert!(ran.stdout.contains("as if there were no split: httpbin.httpbin has no ports"), "{}", ran.stdout);
    assert!(
        ran.stderr.contains("the Service httpbin has no ports, so requests to it are never split"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        labelled("guide/trafficsplit-v1.yaml --host httpbin.httpbin", "", "note"),
        [
            "port 80 is assumed, because the ports of httpbin.httpbin are unknown; add the Service to the input, or set --port"
        ]
    );
}

#[test]
fn repeated_headers_are_joined_or_the_first_counts_as_in_envoy() {
    let sticky = "sticky.yaml --host httpbin.httpbin:14001";
    let first = json_of(&format!("{sticky} --header 'x-user: alice' --header 'x-user: bob'"), "");
    assert_eq!(first["decidedBy"]["value"], "alice");
    assert_eq!(first["notes"], json!(["the filter reads only the first of the 2 x-user headers: alice"]));
    let agent = "ab-test.yaml --host httpbin.httpbin:14001 --header 'cookie: type=insider' --header 'user-agent: curl' \
                 --header 'User-Agent: Android'";
    let joined = json_of(agent, "");
    assert_eq!(joined["match"], "insiders/android-insiders");
    assert_eq!(joined["notes"], json!(["Envoy joins the 2 user-agent headers: curl,Android"]));
    let cookies = format!("{sticky} --header 'cookie: a=b' --header 'cookie: canary=alice'");
    let http1 = json_of(&cookies, "");
    assert_eq!(http1["decidedBy"], Value::Null);
    assert_eq!(http1["notes"], json!(["the filter reads only the first of the 2 cookie headers: a=b"]));
    let http2 = json_of(&format!("{cookies} --http2"), "");
    assert_eq!(http2["decidedBy"], json!({"kind": "cookie", "name": "canary", "value": "alice"}));
    assert_eq!(http2["notes"], json!(["Envoy joins the 2 cookie headers: a=b; canary=alice"]));
    let removed = json_of(&format!("{sticky} --header 'connection: keep-alive'"), "");
    assert_eq!(removed["notes"], json!(["Envoy removes the header connection before the filter runs"]));
}

#[test]
fn backends_without_the_port_are_left_out_until_the_root_serves() {
    let words = config(
        "left-out",
        "services: {httpbin/httpbin: {ports: [80, 81, 82]}, httpbin/httpbin-v1: {ports: [80]}, \
         httpbin/httpbin-v2: {ports: [80, 81]}}\n",
    );
    let lines = |words: &str, input: &str| {
        let ran = run(&format!("explain {words}"), input);
        let file = "warning: guide/trafficsplit-50-50.yaml";
        let field = "TrafficSplit httpbin/http-split: spec.backends";
        let own = "it receives requests to its own ports only; add the port to the Service";
        assert_eq!(
            ran.stderr.lines().collect::<Vec<_>>(),
            [
                format!(
                    "{file}:9:3: {field}: no backend with a weight above 0 has port 82; the root httpbin serves these requests"
                ),
                format!("{file}:10:14: {field}[0].service: Service httpbin-v1 has no port 81, 82; {own}"),
                format!("{file}:12:14: {field}[1].service: Service httpbin-v2 has no port 82; {own}"),
            ]
        );
        ran.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        lines(&format!("{words} --host httpbin.httpbin:81"), "")[3..],
        [
            "decided   by weight (random)",
            "goes to   httpbin-v2, cluster outbound|81||httpbin-v2.httpbin.svc.cluster.local",
            "shares    backend     weight  share  cluster",
            "          httpbin-v2      50  100 %  outbound|81||httpbin-v2.httpbin.svc.cluster.local",
            "          httpbin-v1      50      -  none: the Service has only the port 80, not 81",
        ]
    );
    assert_eq!(
        lines(&format!("{words} --host httpbin.httpbin:82"), "")[1..],
        [
            "split     httpbin/http-split, in guide/trafficsplit-50-50.yaml",
            "port      82: the port in Host",
            "goes to   the root, httpbin.httpbin, as if there were no split: no backend with a weight above 0 has the request's port",
            "shares    backend     weight  share  cluster",
            "          httpbin-v1      50      -  none: the Service has only the port 80, not 82",
            "          httpbin-v2      50      -  none: the Service has the ports 80, 81, not 82",
        ]
    );
}

#[test]
fn json_always_has_the_same_keys() {
    let cluster = "outbound|14001||httpbin-v1.httpbin.svc.cluster.local";
    let v2 = "outbound|14001||httpbin-v2.httpbin.svc.cluster.local";
    let explanation = json_of("sticky.yaml --host httpbin.httpbin:14001 --header 'X-User: alice' --namespace curl", "");
    assert_eq!(
        explanation,
        json!({
            "request": {
                "method": "GET", "path": "/", "host": "httpbin.httpbin:14001", "port": null, "namespace": "curl",
                "headers": [{"name": "x-user", "value": "alice"}], "http2": false,
            },
            "rootService": "httpbin.httpbin",
            "skipped": [],
            "split": {"name": "httpbin/http-split", "file": "sticky.yaml"},
            "match": null,
            "port": 14001,
            "portReason": {"code": "host", "why": "the port in Host"},
            "reason": "sticky",
            "decidedBy": {"kind": "header", "name": "x-user", "value": "alice"},
            "backend": {"service": "httpbin-v1", "cluster": cluster},
            "root": null,
            "shares": [
                {"service": "httpbin-v1", "cluster": cluster, "weight": 90, "share": 0.9},
                {"service": "httpbin-v2", "cluster": v2, "weight": 10, "share": 0.1},
            ],
            "leftOut": [],
            "setCookie": null,
            "mirror": null,
            "notes": [],
        })
    );
    let fresh = json_of("sticky.yaml --host httpbin.httpbin:14001", "");
    assert_eq!((&fresh["backend"], &fresh["root"], &fresh["reason"]), (&Value::Null, &Value::Null, &json!("sticky")));
    let attributes = "Path=/; Max-Age=86400; HttpOnly; SameSite=Lax";
    assert_eq!(fresh["setCookie"], json!({"name": "canary", "attributes": attributes}));
    let mirrored = json_of("mirror.yaml --host httpbin.httpbin:14001", "");
    assert_eq!(mirrored["mirror"], json!({"service": "httpbin-v2", "cluster": v2, "percent": 10.0}));
    let skipped =
        json_of("ab-test.yaml --host httpbin.httpbin:14001 --method PUT --header 'cookie: type=insiders'", "");
    assert_eq!(
        skipped["skipped"],
        json!([{"name": "httpbin/insiders", "file": "ab-test.yaml", "matches": [
            {"name": "insiders/android-insiders",
             "why": "the header cookie: type=insiders does not match (.*; *)?type=insider(;.*)?"},
            {"name": "insiders/preview", "why": "the method PUT is not GET"},
        ]}])
    );
    let nowhere = json_of("sticky.yaml --host example.com", "");
    assert_eq!(nowhere["root"], json!({"code": "noSplit", "why": "no split has this host as its root"}));
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&nowhere), keys(&explanation));
}

#[test]
fn usage_errors_exit_with_2_and_a_reason() {
    for (words, why) in [
        ("sticky.yaml", "--host"),
        ("--host httpbin.httpbin", "FILE"),
        ("sticky.yaml --host ''", "the host is empty"),
        ("sticky.yaml --host http://httpbin.httpbin/json", "not a URL"),
        ("sticky.yaml --host 'a b'", "not a URL"),
        ("sticky.yaml --host a --method ''", "not a valid HTTP method"),
        ("sticky.yaml --host a --method 'GET /'", "not a valid HTTP method"),
        ("sticky.yaml --host a --path json", "a path begins with `/` and contains no spaces"),
        ("sticky.yaml --host a --path '/a b'", "a path begins with `/` and contains no spaces"),
        ("sticky.yaml --host a --port 0", "0 is not in 1..=65535"),
        ("sticky.yaml --host a --namespace 'a b'", "a namespace is a DNS label"),
        ("sticky.yaml --host a --header x-user", "a header is `NAME: VALUE`"),
        ("sticky.yaml --host a --header ': x'", "pseudo-headers have options of their own"),
        ("sticky.yaml --host a --header ':path: /'", "pseudo-headers have options of their own"),
        ("sticky.yaml --host a --header 'Host: b'", "the host has an option of its own; use --host"),
        ("sticky.yaml --host a --header 'x user: b'", "`x user` is not a valid HTTP header name"),
        ("sticky.yaml --host a --header 'x: a\nb: c'", "the value contains a control character"),
        (
            "sticky.yaml --host a --header 'X-Traffic-Split-Cluster: c'",
            "Envoy removes this header from client requests",
        ),
        ("- --config - --host a", "`-` is duplicated"),
    ] {
        let ran = run(&format!("explain {words}"), "");
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{words}: {}", ran.stderr);
        assert!(ran.stderr.contains(why), "{words}: {}", ran.stderr);
    }
}

#[test]
fn invalid_input_exits_with_1_and_the_messages_of_check() {
    let split = std::fs::read_to_string(examples().join("sticky.yaml")).unwrap().replace("weight: 90", "weight: -1");
    let ran = run("explain - none.yaml --host httpbin.httpbin", &split);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert_eq!(ran.stderr + "2 errors in 2 files\n", run("check - none.yaml", &split).stderr);
    let ran = run("explain guide/services.yaml --host httpbin.httpbin", "");
    assert_eq!((ran.code, ran.stderr.contains("note: the input has no TrafficSplit")), (Some(0), true));
}

#[test]
fn examples_are_valid() {
    for example in EXAMPLES {
        let ran = run(&format!("check {example} {SERVICES}"), "");
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{example}");
        let text = std::fs::read_to_string(examples().join(example)).unwrap();
        assert!(text.starts_with("# "), "{example} begins with what it does");
    }
}

#[test]
fn explanation_agrees_with_the_filter_for_all_random_numbers() {
    let headers = [
        "x-user: alice",
        "x-user: bob",
        "x-version: httpbin-v1",
        "x-version: httpbin-v2",
        "x-version: v3",
        "cookie: canary=alice",
        "cookie: canary=",
        "cookie: type=insider",
        "user-agent: Android",
        "a: b",
    ];
    let mut seen = [0; 3];
    for example in EXAMPLES {
        for files in [&[example][..], &[example, SERVICES]] {
            let files: Vec<_> = files.iter().map(|file| read(&examples().join(file))).collect();
            let input = load(&files, None, &traffic_split_envoy::LoadOptions::default()).unwrap();
            let rules = Rules::new(&input.configuration, Some("httpbin"));
            for host in ["httpbin", "httpbin.httpbin:14001", "httpbin.httpbin:9", "httpbin.httpbin:x", "example.com"] {
                for path in ["/", "/preview/1"] {
                    for (index, header) in headers.iter().enumerate() {
                        let request = RequestDescription {
                            method: "GET".into(),
                            path: path.into(),
                            host: host.into(),
                            headers: [header, headers[(index * 7 + 3) % 10]].map(|text| text.parse().unwrap()).into(),
                            http2: index % 2 == 0,
                            port: None,
                            namespace: Some("httpbin".into()),
                        };
                        let explanation = serde_json::to_value(explain(&input, &request)).unwrap();
                        let decide = |number: u64| {
                            rules
                                .decide(&request, &mut FixedRandom::always(number).id(u128::from(number).to_le_bytes()))
                        };
                        let decided: Vec<_> = (0..64).map(|n| decide(n << 58)).collect();
                        seen[agreed(&explanation, &decided)] += 1;
                    }
                }
            }
        }
    }
    assert!(seen.iter().all(|count| *count > 50), "{seen:?}");
}

/// Asserts that an explanation agrees with decisions. Returns 0 for the root, 1 for one backend, 2 for several.
#[track_caller]
fn agreed(explanation: &Value, decided: &[Decision<'_>]) -> usize {
    let mut backends: Vec<Value> = Vec::new();
    for decision in decided {
        match decision {
            // The explanation names the ports.
            Decision::Root(RootReason::NoPort) => assert_eq!(explanation["root"]["code"], "noPort", "{explanation}"),
            Decision::Root(why) => assert_eq!(explanation["root"]["why"], why.to_string(), "{explanation}"),
            Decision::Backend(pick) => {
                assert_eq!(explanation["root"], Value::Null, "{explanation}");
                assert_eq!(explanation["split"]["name"], pick.split);
                assert_eq!(explanation["reason"], pick.reason.as_str());
                assert_eq!(explanation["setCookie"].is_null(), pick.set_cookie.is_none(), "{explanation}");
                backends.push(json!({"service": pick.backend, "cluster": pick.cluster}));
            }
        }
    }
    backends.sort_by_key(Value::to_string);
    backends.dedup();
    match &*backends {
        [] => 0,
        [only] => {
            assert_eq!(explanation["backend"], *only, "{explanation}");
            1
        }
        several => {
            assert_eq!(explanation["backend"], Value::Null, "{explanation}");
            let shares = explanation["shares"].as_array().unwrap();
            let weighted = shares.iter().filter(|share| share["share"].as_f64().unwrap() > 0.0);
            let named: Vec<_> =
                weighted.map(|share| json!({"service": share["service"], "cluster": share["cluster"]})).collect();
            assert_eq!(named, several, "{explanation}");
            2
        }
    }
}

//! Runs the `traffic-split` command as users do: its output, messages and exit codes.

mod support;

use serde_json::Value;
use std::process::Command;
use support::Ran;
use support::files::Files;
use traffic_split::Configuration;

const SPLIT: &str = "apiVersion: split.smi-spec.io/v1alpha2
kind: TrafficSplit
metadata: {name: http-split, namespace: httpbin}
spec:
  service: httpbin
  backends:
  - {service: httpbin-v1, weight: 50}
  - {service: httpbin-v2, weight: WEIGHT}
";

const SERVICE: &str = "apiVersion: v1
kind: Service
metadata: {name: httpbin, namespace: httpbin}
spec: {ports: [{name: http, port: 14001}, {name: dns, protocol: UDP, port: 53}]}
";

fn split(weight: &str) -> String {
    SPLIT.replace("WEIGHT", weight)
}

impl Files {
    /// Runs a shell script as at the root of the repository after `./build.sh build`.
    fn run_at_root(&self, script: &str) -> Ran {
        let link = |to: &str, from: &str| std::os::unix::fs::symlink(to, self.path(from));
        if !self.path("envoy").exists() {
            std::fs::create_dir(self.path("dist")).unwrap();
            link(env!("CARGO_BIN_EXE_traffic-split"), "dist/traffic-split").unwrap();
            link(concat!(env!("CARGO_MANIFEST_DIR"), "/.."), "envoy").unwrap();
        }
        let script = format!("set -e\n{script}");
        Ran::new(Command::new("sh").args(["-c", &script]).current_dir(self.directory()).output().unwrap())
    }

    fn run_with_input(&self, arguments: &[&str], input: &str) -> Ran {
        Ran::with_input(&mut self.command(arguments), input)
    }
}

impl Ran {
    #[track_caller]
    fn printed(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout
    }

    /// Asserts that the command reported invalid input with exactly these messages and printed nothing.
    #[track_caller]
    fn refused_with(self, messages: &[&str]) {
        assert_eq!(self.code, Some(1), "{}", self.stderr);
        assert_eq!(self.stderr.lines().collect::<Vec<_>>(), messages);
        assert_eq!(self.stdout, "");
    }
}

/// Asserts that `check`, every `render` and `explain` report the same messages.
#[track_caller]
fn all_refuse(files: &Files, names: &[&str], messages: &[&str]) {
    for command in [
        &["check"][..],
        &["render", "plugin-config"],
        &["render", "ecds"],
        &["render", "envoy"],
        &["render", "envoyfilter"],
        &["render", "wasmplugin"],
        &["explain", "--host", "httpbin.httpbin"],
    ] {
        let mut ran = files.run(&[command, names].concat());
        if command == ["check"] {
            let summary = ran.stderr.lines().last().unwrap_or_default().to_owned();
            assert!(summary.starts_with(&format!("{} error", messages.len())), "{summary}");
            ran.stderr.truncate(ran.stderr.len() - summary.len() - 1);
        }
        ran.refused_with(messages);
    }
}

#[track_caller]
fn refused(text: &str, messages: &[&str]) {
    all_refuse(&Files::new(&[("guide.yaml", text)]), &["guide.yaml"], messages);
}

#[test]
fn check_counts_the_objects_of_each_valid_file() {
    let files = Files::new(&[("guide.yaml", &*split("50")), ("services.yaml", SERVICE)]);
    let printed = files.run(&["check", "guide.yaml", "services.yaml"]).printed();
    assert_eq!(printed, "guide.yaml: 1 TrafficSplit, 1 warning\nservices.yaml: 1 Service, fine\n");
}

#[test]
fn missing_file_is_reported() {
    all_refuse(&Files::new::<&str>(&[]), &["guide.yaml"], &["error: guide.yaml: file not found"]);
}

#[test]
fn directory_is_no_configuration() {
    let files = Files::new(&[("guide.yaml", &split("50"))]);
    all_refuse(&files, &["--config", ".", "guide.yaml"], &["error: .: is a directory; pass a file"]);
}

#[test]
fn empty_file_is_an_error() {
    for text in ["", "\n", "# nothing\n", "---\n---\n"] {
        refused(text, &["error: guide.yaml: is empty; write at least one object"]);
    }
}

#[test]
fn yaml_errors_have_line_and_column() {
    refused(
        "kind: TrafficSplit\nspec: [\n",
        &[
            "error: guide.yaml:2:7: the bracket is not closed; add the closing bracket, or put the value in single quotes",
        ],
    );
}

#[test]
fn duplicated_key_is_an_error() {
    refused(
        "kind: TrafficSplit\nkind: TrafficSplit\n",
        &[
            "error: guide.yaml:2:1: the key `kind` is duplicated; if another object begins here, insert a line `---` before line 2, \
            else remove one",
        ],
    );
}

#[test]
fn weight_that_is_not_finite_is_an_error() {
    for weight in [".nan", ".inf", "-.inf", "1e999"] {
        let message = format!("error: guide.yaml:8:35: {weight} is not a finite number");
        refused(&split(weight), &[&message]);
    }
}

#[test]
fn negative_weight_is_reported_with_object_and_field() {
    let message = "error: guide.yaml:8:35: TrafficSplit httpbin/http-split: spec.backends[1].weight: -5 is negative; use 0 or more";
    refused(&split("-5"), &[message]);
}

#[test]
fn weights_with_the_sum_0_are_an_error() {
    let message = "error: guide.yaml:6:3: TrafficSplit httpbin/http-split: spec.backends: the weights sum to 0; give at least one backend a weight above 0";
    refused(&split("0").replace("weight: 50", "weight: 0"), &[message]);
}

#[test]
fn document_that_is_not_a_kubernetes_object_is_an_error() {
    refused("spec: {}\n", &["error: guide.yaml:1:1: document 1: is not a Kubernetes object; add a `kind`"]);
    for text in ["3\n", "hello\n", "- kind: TrafficSplit\n"] {
        refused(text, &["error: guide.yaml:1:1: document 1: is not a Kubernetes object; write a map with a `kind`"]);
    }
    refused("kind: 3\n", &["error: guide.yaml:1:7: document 1: kind: must be a string"]);
    refused(
        "kind: List\nitems: [3]\n",
        &["error: guide.yaml:2:9: document 1: items[0]: is not a Kubernetes object; write a map with a `kind`"],
    );
}

#[test]
fn misspelled_smi_kind_is_an_error() {
    let message = "error: guide.yaml:2:7: TrafficSplit httpbin/http-split: kind: unknown kind `TrafficSpilt`; did you mean `TrafficSplit`?";
    refused(&split("50").replace("kind: TrafficSplit", "kind: TrafficSpilt"), &[message]);
}

const GROUP: &str = "apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: paths, namespace: httpbin}
spec: {matches: [{name: api, pathRegex: PATTERN}]}
";

#[test]
fn problems_of_matches_and_annotations_have_object_and_field() {
    let annotated = split("50").replace("httpbin}", "httpbin, annotations: {traffic-split/mirror: MIRROR, a: b}}");
    let matched = annotated.replace("spec:\n", "spec:\n  matches: [{kind: HTTPRouteGroup, name: paths}]\n");
    let both = |mirror: &str, pattern: &str| {
        format!("{}---\n{}", matched.replace("MIRROR", mirror), GROUP.replace("PATTERN", pattern))
    };
    let files = Files::new(&[("guide.yaml", &both("httpbin-v2=10", "/api"))]);
    let printed = files.run(&["check", "guide.yaml"]).printed();
    assert_eq!(printed, "guide.yaml: 1 TrafficSplit, 1 HTTPRouteGroup, 1 warning\n");
    let rendered = files.run(&["render", "plugin-config", "guide.yaml"]).printed();
    for text in ["\"traffic-split/mirror\": \"httpbin-v2=10\"", "\"pathRegex\": \"/api\""] {
        assert!(rendered.contains(text), "{rendered}");
    }

    let object = "TrafficSplit httpbin/http-split";
    let mirror = format!(
        "error: guide.yaml:3:86: {object}: metadata.annotations[\"traffic-split/mirror\"]: \"v3\" is not a backend of the split; use a Service of spec.backends"
    );
    refused(&annotated.replace("MIRROR", "v3=10"), &[&mirror]);
    let missing = format!(
        "error: guide.yaml:5:42: {object}: spec.matches[0].name: there is no HTTPRouteGroup \"paths\" in the namespace \"httpbin\""
    );
    refused(&matched.replace("MIRROR", "httpbin-v2=10"), &[&missing]);
    let ran = Files::new(&[("guide.yaml", &both("httpbin-v2=10", "'('"))]).run(&["check", "guide.yaml"]);
    let start = "error: guide.yaml:14:41: HTTPRouteGroup httpbin/paths: spec.matches[0] \"api\".pathRegex: \
        \"(\" is not a supported regular expression";
    assert_eq!((ran.code, ran.stderr.starts_with(start)), (Some(1), true), "{}", ran.stderr);
}

#[test]
fn two_splits_of_one_root_without_matches_are_an_error() {
    let files = Files::new(&[("a.yaml", &split("50")), ("b.yaml", &split("50").replace("http-split", "b"))]);
    let message = "error: b.yaml:5:12: TrafficSplit httpbin/b: spec.service: \
        the root httpbin already has the split httpbin/http-split without matches; add matches to one of them";
    all_refuse(&files, &["a.yaml", "b.yaml"], &[message]);
}

#[test]
fn duplicated_object_is_reported_with_the_file_of_the_first() {
    let files =
        Files::new(&[("a.yaml", &split("50")), ("b.yaml", &format!("{}---\n{SERVICE}---\n{SERVICE}", split("40")))]);
    let messages = [
        "error: b.yaml:1:1: TrafficSplit httpbin/http-split: is duplicated, first defined in a.yaml:1:1; remove one",
        "error: b.yaml:15:1: Service httpbin/httpbin: is duplicated, first defined in b.yaml:10:1; remove one",
    ];
    all_refuse(&files, &["a.yaml", "b.yaml"], &messages);
    // Without a namespace, the objects may be different.
    let text = "kind: TrafficSplit\napiVersion: split.smi-spec.io/v1alpha4\nmetadata: {name: a}\n";
    let messages = [
        "error: guide.yaml:1:1: TrafficSplit a: spec: is missing; add it",
        "error: guide.yaml:3:11: TrafficSplit a: metadata.namespace: is missing; add the namespace, or set a default namespace with `-n NAMESPACE`",
        "error: guide.yaml:5:1: TrafficSplit a: spec: is missing; add it",
        "error: guide.yaml:7:11: TrafficSplit a: metadata.namespace: is missing; add the namespace, or set a default namespace with `-n NAMESPACE`",
    ];
    refused(&format!("{text}---\n{text}"), &messages);
}

#[test]
fn ten_thousand_splits_are_read() {
    let splits: String =
        (0..10_000).map(|n| format!("---\n{}", split("50").replace("httpbin", &format!("s{n}")))).collect();
    let printed = Files::new(&[("splits.yaml", &splits)]).run(&["check", "splits.yaml"]).printed();
    assert_eq!(printed, "splits.yaml: 10000 TrafficSplits, 10000 warnings\n");
}

#[test]
fn exponential_aliases_are_an_error_and_take_no_memory() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let alias = format!("*a{}", n - 1);
        text.push_str(&format!("a{n}: &a{n} [{}]\n", [alias.as_str(); 8].join(", ")));
    }
    let ran = Files::new(&[("guide.yaml", &text)]).run(&["check", "guide.yaml"]);
    assert_eq!((ran.code, ran.stderr.lines().last()), (Some(1), Some("1 error in 1 file")), "{}", ran.stderr);
}

#[test]
fn deep_nesting_is_an_error() {
    let yaml = (0..2000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>();
    for text in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(50_000), yaml] {
        let ran = Files::new(&[("guide.yaml", &text)]).run(&["check", "guide.yaml"]);
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    }
}

#[test]
fn file_that_is_not_utf8_is_an_error() {
    let files = Files::new(&[("guide.yaml", b"kind: \xff")]);
    all_refuse(&files, &["guide.yaml"], &["error: guide.yaml: is not UTF-8; save the file as UTF-8"]);
}

#[test]
fn unknown_key_of_the_plugin_configuration_is_reported_with_its_file() {
    let files = Files::new(&[("guide.yaml", &*split("50")), ("config.yaml", "clusterHeadr: x-c\n")]);
    let ran = files.run(&["check", "--config", "config.yaml", "guide.yaml"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.starts_with("error: config.yaml:1:1: configuration: clusterHeadr: unknown field `clusterHeadr`"),
        "{}",
        ran.stderr
    );
}

#[test]
fn all_problems_are_reported_each_with_its_file() {
    let config = r#"{"trafficSplits": [{"apiVersion": "split.smi-spec.io/v1alpha2", "kind": "TrafficSplit",
        "metadata": {"name": "other", "namespace": "shop"}, "spec": {"service": "shop", "backends": []}}]}"#;
    let second = split("-1").replace("http-split", "b");
    let third = split("x").replace("http-split", "c").replace("service: httpbin\n", "service: web\n");
    let files = Files::new(&[
        ("config.json", config),
        ("a.yaml", &split("-5")),
        ("bc.yaml", &format!("{second}---\n{third}")),
        ("broken.yaml", "]"),
    ]);
    let ran = files.run(&["check", "--config", "config.json", "a.yaml", "bc.yaml", "broken.yaml", "none.yaml"]);
    assert_eq!(ran.code, Some(1));
    for start in [
        "error: config.json:2:101: trafficSplits[0] shop/other: spec.backends: is empty",
        "error: a.yaml:8:35: TrafficSplit httpbin/http-split: spec.backends[1].weight: -5 is negative; use 0 or more",
        "error: bc.yaml:8:35: TrafficSplit httpbin/b: spec.backends[1].weight: -1 is negative; use 0 or more",
        "error: bc.yaml:17:35: TrafficSplit httpbin/c: spec.backends[1].weight: ",
        "error: broken.yaml:1:1: ",
        "error: none.yaml: file not found",
    ] {
        assert!(ran.stderr.lines().any(|line| line.starts_with(start)), "{start}\n{}", ran.stderr);
    }
    assert_eq!(ran.stderr.lines().nth(6), Some("6 errors in 5 files"), "{}", ran.stderr);
}

#[test]
fn invalid_service_port_is_an_error() {
    for (port, message) in [("0", "0 is not a port (1–65535)"), ("http", "\"http\" is not a port (1–65535)")] {
        let text = SERVICE.replace("14001", port);
        refused(&text, &[&format!("error: guide.yaml:4:35: Service httpbin/httpbin: spec.ports[0].port: {message}")]);
    }
}

#[test]
fn lists_json_and_standard_input_are_read() {
    let files = Files::new(&[("guide.yaml", &format!("{}---\n{SERVICE}", split("50")))]);
    let expected = files.run(&["render", "plugin-config", "guide.yaml"]).printed();
    let list = r#"{
	"apiVersion": "v1", "kind": "List", "items": [
	{"apiVersion": "split.smi-spec.io/v1alpha2", "kind": "TrafficSplitList", "items": [
	  {"metadata": {"name": "http-split", "namespace": "httpbin"},
	   "spec": {"service": "httpbin", "backends": [
	     {"service": "httpbin-v1", "weight": 50}, {"service": "httpbin-v2", "weight": 50}]}}]},
	{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "httpbin", "namespace": "httpbin"},
	 "spec": {"ports": [{"port": 14001}]}}
]}"#;
    let printed = files.run_with_input(&["render", "plugin-config", "-"], list).printed();
    assert_eq!(printed, expected);
    assert!(
        files
            .run_with_input(&["check", "-"], list)
            .printed()
            .starts_with("stdin: 1 TrafficSplit, 1 Service, 1 warning\n")
    );
}

#[test]
fn other_kinds_are_ignored_with_a_note() {
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\n";
    let ran = Files::new(&[("app.yaml", text)]).run(&["render", "plugin-config", "app.yaml"]);
    assert!(ran.stderr.contains("note: app.yaml: ignored: Deployment shop/web\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("note: the input has no TrafficSplit"), "{}", ran.stderr);
    let configuration = Configuration::from_json(ran.printed().as_bytes()).unwrap();
    assert_eq!(configuration, Configuration::default());
}

#[test]
fn missing_weight_is_a_warning() {
    let text = split("50").replace(", weight: 50}\n  - {service: httpbin-v2", "}\n  - {service: httpbin-v2");
    let ran = Files::new(&[("guide.yaml", &text)]).run(&["check", "guide.yaml"]);
    let start = "warning: guide.yaml:7:5: TrafficSplit httpbin/http-split: spec.backends[0].weight: ";
    assert!(ran.stderr.lines().any(|line| line.starts_with(start)), "{}", ran.stderr);
    ran.printed();
}

#[test]
fn objects_are_added_to_the_given_configuration() {
    let config = "cluster: '{namespace}/{service}|{port}'\nclusterDomain: example.org\n\
        services: {httpbin/httpbin: {cluster: root}}\nhosts: {shop.example.com: httpbin/httpbin}\n";
    let files = Files::new(&[("config.yaml", config), ("guide.yaml", &format!("{}---\n{SERVICE}", split("50")))]);
    let printed = files.run(&["render", "plugin-config", "--config", "config.yaml", "guide.yaml"]).printed();
    let configuration = Configuration::from_json(printed.as_bytes()).unwrap();
    assert_eq!(configuration.cluster_name("httpbin-v1", "httpbin", 14001), "httpbin/httpbin-v1|14001");
    assert_eq!(configuration.cluster_name("httpbin", "httpbin", 14001), "root");
    let ports = configuration.services["httpbin/httpbin"].ports.as_ref().unwrap();
    assert_eq!(ports.keys().copied().collect::<Vec<_>>(), [14001]);
    assert_eq!(configuration.hosts["shop.example.com"].service, "httpbin/httpbin");
}

#[test]
fn ecds_file_holds_the_configuration_as_one_string() {
    let files = Files::new(&[("guide.yaml", &format!("{}---\n{SERVICE}", split("50")))]);
    let printed =
        files.run(&["render", "ecds", "guide.yaml", "--wasm", "/f.wasm", "--failure-policy", "open"]).printed();
    let response: Value = serde_saphyr::from_str(&printed).unwrap();
    let config = response.pointer("/resources/0/typed_config/config").unwrap();
    assert_eq!(config["failure_policy"], "FAIL_OPEN");
    assert_eq!(config.pointer("/vm_config/code/local/filename").unwrap(), "/f.wasm");
    let text = config.pointer("/configuration/value").unwrap().as_str().unwrap();
    let written = Configuration::from_json(text.as_bytes()).unwrap();
    let plain = files.run(&["render", "plugin-config", "guide.yaml"]).printed();
    let mut expected = Configuration::from_json(plain.as_bytes()).unwrap();
    // The bootstrap removes the headers.
    expected.headers_stripped = Some(true);
    assert_eq!(written, expected);
}

#[test]
fn ecds_version_depends_only_on_the_configuration() {
    let version = |weight: &str| {
        let files = Files::new(&[("guide.yaml", &split(weight))]);
        let printed = files.run(&["render", "ecds", "guide.yaml"]).printed();
        let response: Value = serde_saphyr::from_str(&printed).unwrap();
        response["version_info"].as_str().unwrap().to_owned()
    };
    assert_eq!(version("50"), version("50"));
    assert_ne!(version("50"), version("49"));
}

#[test]
fn same_objects_render_the_same_bytes_in_any_order_of_files() {
    let other = SERVICE.replace("name: httpbin", "name: httpbin-v1");
    let files = Files::new(&[("split.yaml", &*split("50")), ("services.yaml", SERVICE), ("v1.yaml", &other)]);
    for target in ["plugin-config", "ecds", "envoy", "envoyfilter", "wasmplugin"] {
        let render = |names: [&str; 3]| files.run(&[&["render", target][..], &names].concat()).printed();
        let first = render(["split.yaml", "services.yaml", "v1.yaml"]);
        assert_eq!(first, render(["split.yaml", "services.yaml", "v1.yaml"]));
        assert_eq!(first, render(["v1.yaml", "services.yaml", "split.yaml"]));
    }
}

#[test]
fn examples_of_help_run_as_written() {
    let files = Files::new::<&str>(&[]);
    for (command, examples) in [
        ("", 4),
        ("check", 5),
        ("render ecds", 2),
        ("render envoy", 1),
        ("render envoyfilter", 2),
        ("render wasmplugin", 1),
        ("render plugin-config", 2),
        ("explain", 3),
    ] {
        let help = files.run_at_root(&format!("dist/traffic-split {command} --help")).printed();
        let (_, script) = help.split_once("after ./build.sh build:\n").unwrap();
        assert_eq!(script.matches("dist/traffic-split ").count(), examples);
        let ran = files.run_at_root(script);
        // `--output` reports the written file. The compiled filter is in another directory.
        let is_expected = |line: &str| {
            line.starts_with("wrote dist/guide/ecds.yaml, version ")
                || line.contains(": --wasm: the file does not exist here")
        };
        assert!(ran.stderr.lines().all(is_expected), "{}", ran.stderr);
        ran.printed();
    }
    for written in ["dist/guide.yaml", "dist/guide/ecds.yaml", "dist/envoyfilter.yaml", "dist/wasmplugin.yaml"] {
        assert!(std::fs::read_to_string(files.path(written)).unwrap().starts_with("# "));
    }
}

#[test]
fn rendered_examples_equal_the_output_of_the_command_in_their_header() {
    for (written, begin) in [
        (include_str!("../../examples/guide/envoy.yaml"), "# A bare Envoy"),
        (include_str!("../../examples/guide/envoyfilter.yaml"), "# Loads the filter"),
    ] {
        let start = written.find(begin).unwrap();
        let lines = written[..start].lines().skip(1);
        let script: String = lines.map(|line| format!("{}\n", line.strip_prefix("# ").unwrap())).collect();
        assert_eq!(written[start..], Files::new::<&str>(&[]).run_at_root(&script).printed());
    }
}

#[test]
#[cfg(target_os = "linux")] // for /dev/full
fn closed_output_is_no_panic() {
    let files = Files::new(&[("guide.yaml", &format!("{}\n---\n{SERVICE}", split("50")))]);
    for script in [
        "dist/traffic-split render envoy guide.yaml 2>/dev/null | true",
        "dist/traffic-split render envoy guide.yaml 2>&1 >&- | cat >&2",
        "dist/traffic-split check nothing.yaml 2>/dev/full || test $? = 1",
    ] {
        files.run_at_root(script).printed();
    }
    let ran = files.run_at_root("dist/traffic-split render plugin-config guide.yaml >/dev/full");
    assert_eq!((ran.code, ran.stderr.contains("error: standard output: cannot be written: ")), (Some(1), true));
}

#[test]
fn usage_errors_exit_with_2() {
    let files = Files::new(&[("guide.yaml", &*split("50")), ("config.yaml", "namespace: curl\n")]);
    for arguments in [
        &[][..],
        &["check"],
        &["render"],
        &["render", "guide.yaml"],
        &["render", "ecds"],
        &["render", "nginx", "guide.yaml"],
        &["render", "ecds", "--listen", "127.0.0.1:1", "guide.yaml"],
        &["render", "envoy", "--wasm", "f.wasm", "guide.yaml"],
        &["render", "ecds", "--failure-policy", "closed", "guide.yaml"],
        &["render", "envoy", "--endpoint", "httpbin=127.0.0.1:1", "guide.yaml"],
        &["render", "envoy", "--endpoint", "httpbin.httpbin=127.0.0.1", "guide.yaml"],
        &["render", "envoy", "--host", "a b=127.0.0.1:1", "guide.yaml"],
        &["render", "envoy", "--namespace", "shop", "--config", "config.yaml", "guide.yaml"],
        &["render", "envoy", "--namespace", "a b", "guide.yaml"],
        // The port of the root would be 0.
        &["render", "envoy", "--listen", "127.0.0.1:0", "guide.yaml"],
        &["render", "envoy", "--ecds", "", "guide.yaml"],
        &["check", "-", "-"],
        &["render", "ecds", "--config", "-", "-"],
        &["render", "ecds", "--timeout", "15s", "guide.yaml"],
        // These options need --output, and files that can be read again.
        &["render", "ecds", "--watch", "guide.yaml"],
        &["render", "ecds", "--bootstrap", "guide.yaml", "guide.yaml"],
        &["render", "ecds", "--watch", "--output", "ecds.yaml", "-"],
        &["render", "envoy", "--output", "guide.yaml", "guide.yaml"],
        &["render", "ecds", "--output", "./config.yaml", "--config", "config.yaml", "guide.yaml"],
        &["render", "ecds", "--output", "new.yaml", "."],
        &["check", "--bootstrap", "-", "-"],
        &["render", "ecds", "--wasm", "oci://r/f", "guide.yaml"],
        &["render", "ecds", "--ecds", "ecds.yaml", "guide.yaml"],
        &["check", "-n", "a b", "guide.yaml"],
        &["explain", "--object-namespace", "", "--host", "a", "guide.yaml"],
        &["render", "envoy", "--context", "both", "guide.yaml"],
        &["render", "envoyfilter", "--listen", "127.0.0.1:1", "guide.yaml"],
        &["render", "envoyfilter", "--wasm", "http://r/f.wasm", "guide.yaml"],
        &["render", "envoyfilter", "--wasm", "oci://", "guide.yaml"],
        // Fetched code needs a SHA-256.
        &["render", "envoyfilter", "--wasm", "https://r/f.wasm", "guide.yaml"],
        &["render", "envoyfilter", "--wasm", "https://r/f.wasm", "--wasm-sha256", "ab", "guide.yaml"],
        &["render", "envoyfilter", "--wasm", "/f.wasm", "--wasm-sha256", &"a".repeat(64), "guide.yaml"],
        &["render", "envoyfilter", "--wasm", "oci://r/f:1", "guide.yaml"],
        &["render", "wasmplugin", "--wasm", "oci://r/f@sha256:ab", "guide.yaml"],
        &["render", "envoyfilter", "--wasm", &format!("oci://r/f@sha256:{}", "A".repeat(64)), "guide.yaml"],
        &["render", "envoyfilter", "--wasm", &format!("oci://r/f@sha512:{}", "a".repeat(64)), "guide.yaml"],
        &["render", "envoyfilter", "--namespace", "a", "--root-namespace", "b", "guide.yaml"],
        &["render", "envoyfilter", "--selector", "app", "guide.yaml"],
        &["render", "envoyfilter", "--selector", "app=a", "--selector", "app=b", "guide.yaml"],
        &["render", "envoyfilter", "--gateway-port", "8080", "guide.yaml"],
        &["render", "envoyfilter", "--gateway-port", "8080", "--context", "sidecar", "guide.yaml"],
        &["render", "envoyfilter", "--response-header", "Set-Cookie", "guide.yaml"],
        &["render", "envoy", "--timeout", "10001years", "guide.yaml"],
        &["render", "envoy", "--admin", "127.0.0.1:14001", "guide.yaml"],
        &["render", "envoy", "--admin", "0.0.0.0:15001", "--listen", "127.0.0.1:15001", "guide.yaml"],
        &["render", "envoyfilter", "--timeout", "soon", "guide.yaml"],
        &["render", "envoyfilter", "--hash-header", "a b", "guide.yaml"],
    ] {
        let ran = files.run(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.is_empty());
        assert_eq!(ran.stdout, "");
    }
}

#[test]
fn option_of_another_subcommand_is_refused_with_the_subcommands_that_have_it() {
    let files = Files::new(&[("guide.yaml", &split("50"))]);
    // Each option of `render`, a value, and the subcommands that have it.
    let plugin = &["ecds", "envoyfilter", "wasmplugin"][..];
    let route = &["envoy", "envoyfilter", "wasmplugin"][..];
    let (istio, envoy) = (&["envoyfilter", "wasmplugin"][..], &["envoy"][..]);
    let all = &["ecds", "envoy", "envoyfilter", "wasmplugin", "plugin-config"][..];
    let sha256 = "a".repeat(64);
    let options = [
        ("--wasm", "/f.wasm", plugin),
        ("--wasm-sha256", &sha256, istio),
        ("--failure-policy", "open", plugin),
        ("--bootstrap", "envoy.yaml", &["ecds"]),
        ("--vm-epoch", "1", &["ecds", "envoyfilter"]),
        ("--namespace", "curl", all),
        ("--object-namespace", "curl", all),
        ("--timeout", "15s", route),
        ("--retry", "1", route),
        ("--hash-header", "x-user", route),
        ("--response-header", "x-served-by", route),
        ("--root-namespace", "istio", istio),
        ("--selector", "app=curl", istio),
        ("--context", "both", istio),
        ("--gateway-port", "8080", istio),
        ("--listen", "127.0.0.1:1", envoy),
        ("--admin", "127.0.0.1:2", envoy),
        ("--port", "80", envoy),
        ("--ecds", "ecds.yaml", envoy),
        ("--endpoint", "httpbin.httpbin=127.0.0.1:1", envoy),
        ("--host", "example.com=127.0.0.1:1", envoy),
    ];
    for (option, value, owners) in options {
        for target in ["ecds", "envoy", "envoyfilter", "wasmplugin", "plugin-config"] {
            let ran = files.run(&["render", target, option, value, "guide.yaml"]);
            if owners.contains(&target) {
                // A SHA-256 is only for a URL, which is another error.
                assert!(!ran.stderr.contains("unexpected argument"), "{target} {option}: {}", ran.stderr);
                continue;
            }
            assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{target} {option}");
            assert!(
                ran.stderr.starts_with(&format!("error: unexpected argument '{option}' found\n")),
                "{}",
                ran.stderr
            );
            assert!(ran.stderr.contains(&format!("  tip: '{option}' is an option of '")), "{}", ran.stderr);
            for owner in owners {
                assert!(ran.stderr.contains(&format!("'traffic-split render {owner}'")), "{owner}: {}", ran.stderr);
            }
            assert!(ran.stderr.contains(&format!("Usage: traffic-split render {target} ")), "{}", ran.stderr);
        }
    }
}

#[test]
fn render_to_names_the_new_form() {
    let files = Files::new(&[("guide.yaml", &split("50"))]);
    for arguments in [
        &["render", "--to", "ecds", "guide.yaml"][..],
        &["render", "--to=ecds", "guide.yaml"],
        &["render", "guide.yaml", "--to", "ecds"],
        &["render", "ecds", "guide.yaml", "--to", "ecds"],
    ] {
        let ran = files.run(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        let tip = "  tip: the target is a subcommand: write 'traffic-split render ecds' instead of '--to ecds'\n";
        assert!(ran.stderr.contains(tip), "{arguments:?}: {}", ran.stderr);
    }
    let ran = files.run(&["render", "--wasm", "/f.wasm", "ecds", "guide.yaml"]);
    let tip = "  tip: write options after the target, as in 'traffic-split render ecds --wasm'\n";
    assert!(ran.code == Some(2) && ran.stderr.contains(tip), "{}", ran.stderr);
}

#[test]
fn requests_that_are_never_split_are_a_warning() {
    let services = "services: {httpbin/httpbin: {ports: [8080, 9090]}}\nhosts: {shop.example.com: httpbin/httpbin}\n";
    let none = "services: {httpbin/httpbin: {ports: []}}\n";
    let files = Files::new(&[("guide.yaml", &*split("50")), ("config.yaml", services), ("none.yaml", none)]);
    let host = "httpbin/httpbin has several ports (8080, 9090), but neither port 80 nor port 443, so requests to this host are split only \
                on a listener with one of these ports";
    let ran = files.run(&["check", "guide.yaml", "--config", "config.yaml"]);
    assert!(ran.code == Some(0) && ran.stderr.contains(host), "{}", ran.stderr);
    let ran = files.run(&["render", "envoy", "guide.yaml", "--config", "config.yaml"]);
    let service_name = "warning: requests to httpbin.httpbin without a port in `Host` go to port 8080 and are not split, because \
                        the Service has neither the listener's port 14001 nor port 80; set --listen to one of its ports: \
                        8080, 9090\n";
    assert!(ran.code == Some(0) && ran.stderr.contains(host) && ran.stderr.contains(service_name), "{}", ran.stderr);
    let ran = files.run(&["render", "envoy", "guide.yaml", "--config", "config.yaml", "--listen", "127.0.0.1:9090"]);
    assert!(!ran.stderr.contains("without a port in `Host`"), "{}", ran.stderr);
    let ran = files.run(&["check", "guide.yaml", "--config", "none.yaml"]);
    assert!(
        ran.stderr.contains("the Service httpbin has no ports, so requests to it are never split"),
        "{}",
        ran.stderr
    );
}

#[test]
fn image_needs_a_digest() {
    let files = Files::new(&[("guide.yaml", &format!("{}\n---\n{SERVICE}", split("50")))]);
    let render = |more: &[&str]| files.run(&[&["render", "envoyfilter", "guide.yaml", "--wasm"], more].concat());
    let digest = "0123456789abcdef".repeat(4);
    let by_digest = format!("oci://r/f@sha256:{digest}");
    for wasm in [
        &["oci://r/f:1", "--wasm-sha256", &digest][..],
        &[&by_digest],
        &[&by_digest, "--wasm-sha256", &digest],
        &[&by_digest, "--wasm-sha256", &digest.to_uppercase()],
    ] {
        let printed = render(wasm).printed();
        assert!(printed.contains(&format!("uri: {}\n", wasm[0])), "{printed}");
        assert!(printed.contains(&format!("sha256: {digest}\n")), "{printed}");
    }
    let refused = render(&["oci://r/f:1"]).stderr;
    let what = "--wasm `oci://r/f:1` has no digest";
    assert!(refused.contains(what) && refused.contains("append `@sha256:DIGEST`"), "{refused}");
    let refused = render(&[&by_digest, "--wasm-sha256", &"a".repeat(64)]).stderr;
    assert!(refused.contains("the digest differs from --wasm-sha256"), "{refused}");
}

#[test]
fn controller_subcommands_name_the_controllers_own_command() {
    for (old, new) in [("controller", "run"), ("uninstall", "uninstall")] {
        let ran = Files::new::<&str>(&[]).run(&[old, "--wasm", "x", "--help"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
        let wanted = format!("is now `traffic-split-controller {new}`");
        assert!(ran.stderr.contains(&wanted) && ran.stderr.contains("./build.sh build --controller"), "{}", ran.stderr);
    }
}

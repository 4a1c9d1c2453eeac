//! Runs `traffic-split` on the files that people write: other formats, unknown fields, missing namespaces, objects of other tools.

mod support;

use support::Ran;
use support::files::Files;

const SPLIT: &str = "apiVersion: split.smi-spec.io/v1alpha2
kind: TrafficSplit
metadata: {name: web, namespace: shop}
spec:
  service: web
  backends: [{service: web-v1, weight: 90}, {service: web-v2, weight: 10}]
";

const SERVICE: &str = "apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
";

const GROUP: &str = "apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: paths, namespace: shop}
spec: {matches: [{name: api, pathRegex: /api}]}
";

/// All commands that read objects.
const COMMANDS: [&[&str]; 7] = [
    &["check"],
    &["render", "plugin-config"],
    &["render", "ecds"],
    &["render", "envoy"],
    &["render", "envoyfilter"],
    &["render", "wasmplugin"],
    &["explain", "--host", "web.shop"],
];

impl Files {
    /// Runs `render plugin-config`, which must succeed without a message.
    #[track_caller]
    fn rendered(&self, arguments: &[&str]) -> String {
        let ran = self.run(&[&["render", "plugin-config"], arguments].concat());
        // The input lacks Services of backends, or all Services.
        let expected = ["the ports of the Service", "the input has no Service of a backend", "does not exist"];
        let is_expected = |line: &&str| expected.iter().any(|expected| line.contains(expected));
        let warnings: Vec<_> = ran.stderr.lines().filter(|line| !is_expected(line)).collect();
        assert_eq!((ran.code, warnings), (Some(0), Vec::<&str>::new()), "{arguments:?}");
        ran.stdout
    }

    /// Asserts that every command reports these errors, without the prefix `error: ` and the summary.
    #[track_caller]
    fn refused(&self, arguments: &[&str], messages: &[&str]) {
        for command in COMMANDS {
            let ran = self.run(&[command, arguments].concat());
            assert_eq!(errors(&ran), messages, "{command:?}");
            assert_eq!(ran.code, Some(1), "{command:?}");
        }
    }
}

fn errors(ran: &Ran) -> Vec<&str> {
    ran.stderr.lines().filter_map(|line| line.strip_prefix("error: ")).collect()
}

#[track_caller]
fn refused(text: &str, messages: &[&str]) {
    Files::new(&[("web.yaml", text.as_bytes())]).refused(&["web.yaml"], messages);
}

fn fixed(text: &str, replacements: &[(&str, &str)]) -> String {
    replacements.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    })
}

// === Unknown fields ===

#[test]
fn unknown_fields_are_errors_with_a_suggestion() {
    let annotated =
        |annotation: &str| fixed(SPLIT, &[("shop}", &format!("shop, annotations: {{{annotation}: x-user}}}}"))]);
    for (text, message) in [
        (
            fixed(SPLIT, &[("  backends:", "  mathces: [{name: paths}]\n  backends:")]),
            "web.yaml:6:3: TrafficSplit shop/web: spec.mathces: unknown field `mathces`; did you mean `matches`?",
        ),
        (
            fixed(SPLIT, &[("weight: 10", "wieght: 10")]),
            "web.yaml:6:63: TrafficSplit shop/web: spec.backends[1].wieght: unknown field `wieght`; did you mean `weight`?",
        ),
        (
            fixed(SPLIT, &[("shop}", "shop, anotations: {}}")]),
            "web.yaml:3:40: TrafficSplit shop/web: metadata.anotations: unknown field `anotations`; did you mean `annotations`?",
        ),
        (
            annotated("trafficsplit/sticky-header"),
            "web.yaml:3:54: TrafficSplit shop/web: metadata.annotations[\"trafficsplit/sticky-header\"]: \
             unknown annotation `trafficsplit/sticky-header`; did you mean `traffic-split/sticky-header`?",
        ),
        (
            annotated("traffic-split/stiky-header"),
            "web.yaml:3:54: TrafficSplit shop/web: metadata.annotations[\"traffic-split/stiky-header\"]: \
             unknown annotation `traffic-split/stiky-header`; did you mean `traffic-split/sticky-header`?",
        ),
        (
            fixed(SERVICE, &[("ports", "prots")]),
            "web.yaml:4:8: Service shop/web: spec.prots: unknown field `prots`; did you mean `ports`?",
        ),
    ] {
        refused(&text, &[message]);
        // The option makes each error a warning.
        let files = Files::new(&[("web.yaml", text.as_bytes())]);
        for command in COMMANDS {
            let ran = files.run(&[command, &["--allow-unknown-fields", "web.yaml"]].concat());
            assert_eq!(ran.code, Some(0), "{command:?}: {}", ran.stderr);
            assert!(ran.stderr.contains(&format!("warning: {message}\n")), "{command:?}: {}", ran.stderr);
        }
    }
}

#[test]
fn unknown_condition_of_a_match_is_an_error() {
    let split = fixed(SPLIT, &[("spec:\n", "spec:\n  matches: [{kind: HTTPRouteGroup, name: paths}]\n")]);
    let group = fixed(GROUP, &[("pathRegex", "path")]);
    let message = "web.yaml:12:30: HTTPRouteGroup shop/paths: spec.matches[0].path: unknown field `path`; did you mean `pathRegex`?";
    refused(&format!("{split}---\n{group}"), &[message]);
}

#[test]
fn unknown_keys_of_a_configuration_are_errors_with_a_suggestion() {
    let config =
        "clusterHeadr: x-c\nservices: {shop/web: {prots: [80]}}\nhosts: {a.example.com: {servcie: shop/web}}\n";
    let files = Files::new(&[("web.yaml", SPLIT.as_bytes()), ("config.yaml", config.as_bytes())]);
    let arguments = ["--config", "config.yaml", "web.yaml"];
    let found = files.run(&[&["check"], &arguments[..]].concat());
    for message in [
        "config.yaml:1:1: configuration: clusterHeadr: unknown field `clusterHeadr`; did you mean `clusterHeader`?",
        "config.yaml:2:23: configuration: services[\"shop/web\"].prots: unknown field `prots`; did you mean `ports`?",
        "config.yaml:3:25: configuration: hosts[\"a.example.com\"].servcie: unknown field `servcie`; did you mean `service`?",
    ] {
        assert!(errors(&found).contains(&message), "{}", found.stderr);
    }
    let config = "clusterHeadr: x-c\nservices: {shop/web: {prots: [80]}}\n";
    let files = Files::new(&[("web.yaml", SPLIT.as_bytes()), ("config.yaml", config.as_bytes())]);
    let ran = files.run(&[&["check", "--allow-unknown-fields"], &arguments[..]].concat());
    assert_eq!((ran.code, ran.stderr.matches("unknown field").count()), (Some(0), 2), "{}", ran.stderr);
}

#[test]
fn fields_of_kubernetes_tools_are_no_errors() {
    let text = fixed(
        SPLIT,
        &[(
            "shop}",
            "shop, uid: a, resourceVersion: '1', generation: 1, creationTimestamp: null, managedFields: [{manager: kubectl}], \
             labels: {app.kubernetes.io/name: web}, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{}'}}\n\
             status: {state: pending, conditions: []}",
        )],
    );
    let plain = Files::new(&[("web.yaml", SPLIT.as_bytes())]).rendered(&["web.yaml"]);
    assert_eq!(Files::new(&[("web.yaml", text.as_bytes())]).rendered(&["web.yaml"]), plain);
}

#[test]
fn misspelled_kinds_and_versions_are_errors() {
    for (from, to, message) in [
        ("Service", "Servcie", "web.yaml:2:7: Service shop/web: kind: unknown kind `Servcie`; did you mean `Service`?"),
        ("v1", "vl", "web.yaml:1:13: Service shop/web: apiVersion: unknown version `vl`; did you mean `v1`?"),
    ] {
        refused(&fixed(SERVICE, &[(from, to)]), &[message]);
    }
    for (from, to, message) in [
        (
            "TrafficSplit",
            "trafficsplit",
            "web.yaml:2:7: TrafficSplit shop/web: kind: unknown kind `trafficsplit`; did you mean `TrafficSplit`?",
        ),
        (
            "v1alpha2",
            "v1alpha5",
            "web.yaml:1:13: TrafficSplit shop/web: apiVersion: unknown version `split.smi-spec.io/v1alpha5`; did you mean `split.smi-spec.io/v1alpha4`?",
        ),
        (
            "smi-spec.io/v1alpha2",
            "smi.io/v1alpha4",
            "web.yaml:1:13: TrafficSplit shop/web: apiVersion: unknown version `split.smi.io/v1alpha4`; did you mean `split.smi-spec.io/v1alpha4`?",
        ),
    ] {
        refused(&fixed(SPLIT, &[(from, to)]), &[message]);
    }
}

// === Namespaces ===

const NO_NAMESPACE: &str =
    "metadata.namespace: is missing; add the namespace, or set a default namespace with `-n NAMESPACE`";

#[test]
fn namespace_option_applies_to_objects_without_a_namespace() {
    let text = format!("{SPLIT}---\n{SERVICE}");
    let expected = Files::new(&[("web.yaml", text.as_bytes())]).rendered(&["web.yaml"]);
    for namespace in ["", ", namespace: null", ", namespace: ''"] {
        let bare = text.replace(", namespace: shop", namespace);
        let files = Files::new(&[("web.yaml", bare.as_bytes())]);
        for option in ["-n", "--namespace", "--object-namespace"] {
            assert_eq!(files.rendered(&[option, "shop", "web.yaml"]), expected);
        }
        for command in COMMANDS {
            let ran = files.run(&[command, &["-n", "shop", "web.yaml"]].concat());
            assert_eq!(ran.code, Some(0), "{command:?}: {}", ran.stderr);
        }
        let messages = [
            format!("web.yaml:3:11: TrafficSplit web: {NO_NAMESPACE}"),
            format!("web.yaml:10:11: Service web: {NO_NAMESPACE}"),
        ];
        let ran = files.run(&["check", "web.yaml"]);
        let found: Vec<_> = errors(&ran).into_iter().map(|line| line.split_once(": ").unwrap().1).collect();
        assert_eq!(found, messages.each_ref().map(|message| message.split_once(": ").unwrap().1));
    }
    // Objects keep their own namespace.
    let files = Files::new(&[("web.yaml", text.as_bytes())]);
    assert_eq!(files.rendered(&["-n", "other", "web.yaml"]), expected);
}

// === Formats ===

#[test]
fn json_documents_need_no_separator() {
    let expected = Files::new(&[("web.yaml", format!("{SPLIT}---\n{SERVICE}").as_bytes())]).rendered(&["web.yaml"]);
    let split = r#"{"apiVersion": "split.smi-spec.io/v1alpha2", "kind": "TrafficSplit",
 "metadata": {"name": "web", "namespace": "shop"},
 "spec": {"service": "web", "backends": [{"service": "web-v1", "weight": 90}, {"service": "web-v2", "weight": 10}]}}"#;
    let service = r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
 "spec": {"ports": [{"port": 80}]}}"#;
    for separator in ["", "\n", "\n\n", " ", "\r\n", "\n---\n"] {
        let text = format!("{split}{separator}{service}\n");
        assert_eq!(Files::new(&[("web.json", text.as_bytes())]).rendered(&["web.json"]), expected, "{separator:?}");
    }
    // Positions are those of the whole file.
    let text = format!("{split}{}", service.replace("80", "\"http\""));
    let found = Files::new(&[("web.json", text.as_bytes())]).run(&["check", "web.json"]);
    assert!(
        found.stderr.starts_with("error: web.json:4:30: Service shop/web: spec.ports[0].port: "),
        "{}",
        found.stderr
    );
    let text = format!("{split}\n{service}{{\"a\": ]");
    let found = Files::new(&[("web.json", text.as_bytes())]).run(&["check", "web.json"]);
    assert!(found.stderr.starts_with("error: web.json:5:"), "{}", found.stderr);
}

#[test]
fn other_encodings_and_formats_are_recognized() {
    let utf16: Vec<u8> = format!("\u{feff}{SPLIT}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    for content in [&utf16[..], &utf16[2..]] {
        Files::new(&[("web.yaml", content)]).refused(
            &["web.yaml"],
            &["web.yaml: is UTF-16, the default encoding of Windows PowerShell; save the file as UTF-8"],
        );
    }
    let expected = Files::new(&[("web.yaml", SPLIT.as_bytes())]).rendered(&["web.yaml"]);
    let marked = format!("\u{feff}{SPLIT}");
    assert_eq!(Files::new(&[("web.yaml", marked.as_bytes())]).rendered(&["web.yaml"]), expected);
    for (text, message) in [
        ("\u{1f}", "web.yaml:1:1: "),
        ("<!DOCTYPE html>\n<html></html>\n", "web.yaml: is an HTML page; download the raw YAML file"),
        (
            "NAME   SERVICE\nweb    web\n",
            "web.yaml: is a table that kubectl printed; add `-o yaml` to the kubectl command",
        ),
        (
            "# Split\n\n```yaml\nkind: TrafficSplit\n```\n",
            "web.yaml:3:1: is Markdown; copy only the lines between the fences into a file",
        ),
        (
            "kind: TrafficSplit\nspec:\n  service: {{ .Values.service }}\n",
            "web.yaml:3:12: is a template, not YAML; render the template first, for example with `helm template`, and pass its output",
        ),
    ] {
        let found = Files::new(&[("web.yaml", text.as_bytes())]).run(&["check", "web.yaml"]);
        assert!(errors(&found).first().is_some_and(|error| error.starts_with(message)), "{}", found.stderr);
    }
}

#[test]
fn templates_in_valid_yaml_are_errors() {
    let text = fixed(SPLIT, &[("weight: 90", "weight: \"{{ .Values.weight }}\"")]);
    let message = "web.yaml:6:40: TrafficSplit shop/web: spec.backends[0].weight: contains the template `{{ .Values.weight }}`; \
        render the template first, for example with `helm template`";
    refused(&text, &[message]);
    // Objects of other kinds and other annotations may have templates.
    let other = "kind: PrometheusRule\nmetadata: {name: a}\nspec: {summary: '{{ $labels.pod }}'}\n";
    let text = format!("{}---\n{other}", fixed(SPLIT, &[("shop}", "shop, annotations: {example.com/a: '{{ x }}'}}")]));
    let ran = Files::new(&[("web.yaml", text.as_bytes())]).run(&["check", "web.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn documents_without_a_separator_have_a_remedy() {
    let message = "web.yaml:7:1: the key `apiVersion` is duplicated; \
        if another object begins here, insert a line `---` before line 7, else remove one";
    refused(&format!("{SPLIT}{SERVICE}"), &[message]);
}

#[test]
fn configuration_in_place_of_objects_has_a_remedy() {
    for config in [
        "clusterHeader: x-c\n",
        "hosts: {a.example.com: shop/web}\n",
        "backendHeader: x\nnamespace: shop\n",
        "{\"trafficSplits\": []}",
    ] {
        refused(
            config,
            &[
                "web.yaml:1:1: document 1: is a plugin configuration, not a Kubernetes object; pass the file to --config",
            ],
        );
    }
    let files = Files::new(&[("web.yaml", SPLIT.as_bytes())]);
    let message = "web.yaml:1:1: is a Kubernetes object (TrafficSplit), not a plugin configuration; pass the file without --config";
    let service = Files::new(&[("web.yaml", SPLIT.as_bytes()), ("service.yaml", SERVICE.as_bytes())]);
    service.refused(&["--config", "web.yaml", "service.yaml"], &[message]);
    let found = files.run(&["check", "--config", "web.yaml", "web.yaml"]);
    assert_eq!(errors(&found), [message]);
}

#[test]
fn directory_is_its_yaml_and_json_files() {
    let files = Files::new(&[
        ("shop/b.yaml", SPLIT.as_bytes()),
        ("shop/a.yml", SERVICE.as_bytes()),
        ("shop/c.json", b"{\"kind\": \"Namespace\", \"apiVersion\": \"v1\", \"metadata\": {\"name\": \"shop\"}}"),
        ("shop/README.md", b"# Not an object"),
        ("shop/more.yaml/d.yaml", b"["),
        ("empty/README.md", b"# Not an object"),
    ]);
    let ran = files.run(&["check", "shop"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let lines: Vec<_> = ran.stdout.lines().take(3).collect();
    let starts = ["shop/a.yml: 1 Service", "shop/b.yaml: 1 TrafficSplit", "shop/c.json: no TrafficSplit"];
    assert!(lines.iter().zip(starts).all(|(line, start)| line.starts_with(start)), "{}", ran.stdout);
    files.refused(
        &["empty"],
        &["empty: has no *.yaml, *.yml or *.json files; pass a directory that contains such files"],
    );
}

#[test]
fn lists_are_checked() {
    for (text, message) in [
        (
            "kind: List\n",
            "web.yaml:1:1: document 1: items: is missing; add the objects, or write `items: []` for an empty list",
        ),
        ("kind: List\nitmes: []\n", "web.yaml:2:8: document 1: itmes: unknown field `itmes`; did you mean `items`?"),
        ("kind: List\nitems: {}\n", "web.yaml:2:8: document 1: items: must be a list"),
        ("kind: list\nitems: []\n", "web.yaml:1:7: document 1: kind: unknown kind `list`; did you mean `List`?"),
        ("Kind: List\nitems: []\n", "web.yaml:1:7: document 1: Kind: unknown field `Kind`; did you mean `kind`?"),
        (
            "kind: List\nitems: [{kind: List, items: [{}]}]\n",
            "web.yaml:2:30: document 1: items[0].items[0]: is not a Kubernetes object; add a `kind`",
        ),
    ] {
        refused(text, &[message]);
    }
    let nested =
        format!("kind: List\nitems:\n- kind: List\n  items:\n  - {}", SPLIT.trim_end().replace('\n', "\n    "));
    let expected = Files::new(&[("web.yaml", SPLIT.as_bytes())]).rendered(&["web.yaml"]);
    assert_eq!(Files::new(&[("web.yaml", nested.as_bytes())]).rendered(&["web.yaml"]), expected);
}

// === Numbers ===

#[test]
fn numbers_with_two_readings_are_errors() {
    for (weight, octal, decimal) in [("010", 8, 10), ("0777", 511, 777), ("+010", 8, 10)] {
        let message = format!(
            "web.yaml:6:40: TrafficSplit shop/web: spec.backends[0].weight: {weight} is ambiguous: \
             kubectl reads {octal}, YAML 1.2 reads {decimal}; write {octal} or {decimal}"
        );
        refused(&fixed(SPLIT, &[("90", weight)]), &[&message]);
    }
    let message = "web.yaml:4:35: Service shop/web: spec.ports[0].port: 0100 is ambiguous: \
        kubectl reads 64, YAML 1.2 reads 100; write 64 or 100";
    refused(&fixed(SERVICE, &[("port: 80", "port: 0100")]), &[message]);
    // Only fields that the configuration needs count.
    let text = format!(
        "{SPLIT}---\nkind: Deployment\napiVersion: apps/v1\nmetadata: {{name: web}}\nspec: {{defaultMode: 0644}}\n---\n{}",
        fixed(SERVICE, &[("port: 80", "port: 80, targetPort: 0100")])
    );
    let ran = Files::new(&[("web.yaml", text.as_bytes())]).run(&["check", "web.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let config = "services: {shop/web: {ports: [0100]}}\n";
    let ran = Files::new(&[("web.yaml", SPLIT.as_bytes()), ("config.yaml", config.as_bytes())]).run(&[
        "check",
        "--config",
        "config.yaml",
        "web.yaml",
    ]);
    let message = "config.yaml:1:31: services shop/web: ports[0]: 0100 is ambiguous: \
        kubectl reads 64, YAML 1.2 reads 100; write 64 or 100";
    assert_eq!(errors(&ran), [message]);
}

#[test]
fn weights_that_are_no_numbers_have_a_remedy() {
    for (weight, message) in [
        ("50%", "\"50%\" is a percentage, but weights are relative to each other; write 50"),
        ("\"50 %\"", "\"50 %\" is a percentage, but weights are relative to each other; write 50"),
        ("1/2", "\"1/2\" is a ratio, but each backend has its own weight; write an integer for each backend"),
        ("0.5", "0.5 is a fraction; write \"500m\", or multiply the split's weights to get integers"),
    ] {
        let message = format!("web.yaml:6:40: TrafficSplit shop/web: spec.backends[0].weight: {message}");
        refused(&fixed(SPLIT, &[("90", weight)]), &[&message]);
    }
}

// === HTTPRouteGroups ===

#[test]
fn group_that_no_split_references_never_fails_the_run() {
    let plain = Files::new(&[("web.yaml", SPLIT.as_bytes())]).rendered(&["web.yaml"]);
    let v1alpha1 = fixed(GROUP, &[("specs.smi-spec.io/v1alpha4", "specs.smi-spec.io/v1alpha1")]);
    let no_namespace = fixed(GROUP, &[(", namespace: shop", "")]);
    for (group, warning) in [
        (GROUP.to_owned(), None),
        (v1alpha1, Some("apiVersion: unknown version `specs.smi-spec.io/v1alpha1`")),
        (fixed(GROUP, &[("/api", "'/\\p{L}+'")]), Some("pathRegex: ")),
        (
            fixed(GROUP, &[("pathRegex", "path")]),
            Some("spec.matches[0].path: unknown field `path`; did you mean `pathRegex`?"),
        ),
        (no_namespace, Some("metadata.namespace: is missing")),
        (format!("{GROUP}---\n{GROUP}"), None),
        (fixed(GROUP, &[("/api", "'{{ .Values.path }}'")]), Some("contains the template `{{ .Values.path }}`")),
    ] {
        let files = Files::new(&[("web.yaml", format!("{SPLIT}---\n{group}").as_bytes())]);
        for command in COMMANDS {
            let ran = files.run(&[command, &["web.yaml"]].concat());
            assert_eq!((ran.code, errors(&ran)), (Some(0), vec![]), "{command:?}");
            let note = " (no TrafficSplit references this group)";
            assert!(ran.stderr.contains(note), "{}", ran.stderr);
            if let Some(warning) = warning {
                let is_warning = |line: &str| line.starts_with("warning: web.yaml:") && line.contains(warning);
                assert!(ran.stderr.lines().any(is_warning), "{warning}: {}", ran.stderr);
            }
        }
        assert_eq!(files.run(&["render", "plugin-config", "web.yaml"]).stdout, plain);
    }
}

#[test]
fn group_that_a_split_references_keeps_its_errors() {
    let split = fixed(SPLIT, &[("spec:\n", "spec:\n  matches: [{kind: HTTPRouteGroup, name: paths}]\n")]);
    let group = fixed(GROUP, &[("/api", "'('")]);
    let files = Files::new(&[("split.yaml", split.as_bytes()), ("group.yaml", group.as_bytes())]);
    for names in [["split.yaml", "group.yaml"], ["group.yaml", "split.yaml"]] {
        let ran = files.run(&[&["check"], &names[..]].concat());
        let error = "group.yaml:4:41: HTTPRouteGroup shop/paths: spec.matches[0] \"api\".pathRegex: ";
        assert!(errors(&ran).len() == 1 && errors(&ran)[0].starts_with(error), "{}", ran.stderr);
        assert_eq!(ran.code, Some(1));
    }
}

#[test]
fn empty_file_is_an_error_only_if_all_files_are_empty() {
    let files = Files::new(&[
        ("web.yaml", WEB),
        ("off.yaml", b"---\n# Source: shop/templates/off.yaml\n"),
        ("empty.yaml", b""),
    ]);
    let ran = files.run(&["check", "--strict", "web.yaml", "off.yaml", "empty.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for file in ["off.yaml", "empty.yaml"] {
        assert!(ran.stderr.contains(&format!("note: {file}: is empty\n")), "{}", ran.stderr);
    }
    files.refused(
        &["off.yaml", "empty.yaml"],
        &["off.yaml: is empty; write at least one object", "empty.yaml: is empty; write at least one object"],
    );
}

#[test]
fn file_that_is_passed_twice_is_read_once() {
    let files = Files::new(&[("dir/web.yaml", WEB)]);
    let ran = files.run(&["check", "dir", "dir/web.yaml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.starts_with("note: dir/web.yaml: is passed twice; the file is read once\n"), "{}", ran.stderr);
}

#[test]
fn directory_names_the_entries_that_are_probably_meant() {
    let files = Files::new(&[
        ("dir/web.yaml", WEB),
        ("dir/sub/b.yaml", WEB),
        ("dir/c.YAML", WEB),
        ("dir/e.yamll", WEB),
        ("dir/README.md", b""),
        ("dir/docs/x.md", b""),
        ("dir/.hidden/x.yaml", WEB),
    ]);
    let ran = files.run(&["check", "dir"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let note = "note: dir: ignored: c.YAML, e.yamll, sub; only the *.yaml, *.yml and *.json files of the directory itself are read\n";
    assert!(ran.stderr.starts_with(note), "{}", ran.stderr);
}

/// A split with its Services.
const WEB: &[u8] = b"apiVersion: split.smi-spec.io/v1alpha2
kind: TrafficSplit
metadata: {name: split, namespace: shop}
spec: {service: web, backends: [{service: web-v1, weight: 50}]}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: web-v1, namespace: shop}, spec: {ports: [{port: 80}]}}
";

//! HTTPRouteGroups and `spec.matches`: which requests a split accepts, in every version of SMI.

use fixtures::{FakeRequest, FixedRandom, TrafficSplit, route_group};
use serde_json::{Value, json};
use traffic_split::{Configuration, Decision, FailedMatch, MatchCondition, RootReason, RoutingTrace, Rules};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn request(method: &str, path: &[u8], headers: &[(&str, &[u8])]) -> FakeRequest {
    FakeRequest::to("root.ns:80").header(":method", method).header(":path", path).headers(headers)
}

fn split(name: &str, backend: &str, groups: &[&str]) -> Value {
    groups.iter().fold(TrafficSplit::new(name, "root").backend(backend, 1), |split, group| split.matches(group)).build()
}

fn group(name: &str, matches: Value) -> Value {
    route_group("ns", name, matches)
}

fn read(value: &Value) -> Result<Configuration, Vec<String>> {
    Configuration::from_value(value).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn rules(value: Value) -> Rules {
    Rules::new(&read(&value).unwrap_or_else(|problems| panic!("{problems:#?}")), None)
}

/// Returns rules with one split, whose only group has these matches.
fn matching(matches: Value) -> Rules {
    rules(json!({"trafficSplits": [split("s", "v1", &["g"])], "httpRouteGroups": [group("g", matches)]}))
}

#[track_caller]
fn assert_problems(value: Value, expected: &[&str]) {
    assert_eq!(read(&value).expect_err("problems"), expected);
}

fn backend<'r>(rules: &'r Rules, request: &FakeRequest) -> Option<&'r str> {
    match rules.decide(request, &mut FixedRandom::always(0)) {
        Decision::Backend(pick) => Some(pick.backend),
        Decision::Root(why) => {
            assert_eq!(why, RootReason::NoMatch);
            None
        }
    }
}

#[test]
fn examples_of_the_smi_specification_match_as_specified() {
    let iphone = json!({"name": "iphone-users", "pathRegex": "/api/.*", "methods": ["GET", "HEAD"], "headers": {"user-agent": ".*iPhone.*"}});
    let android = json!({"name": "android-insiders", "headers": {"user-agent": ".*Android.*", "cookie": "^(.*?;)?(type=insider)(;.*)?$"}});
    let rules = matching(json!([iphone, android]));
    let iphone: (&str, &[u8]) = ("user-agent", b"Mozilla/5.0 (iPhone)");
    let android: (&str, &[u8]) = ("user-agent", b"Mozilla/5.0 (Android)");
    let insider: (&str, &[u8]) = ("cookie", b"a=b;type=insider");
    for (method, path, headers, accepted) in [
        ("GET", &b"/api/v1"[..], &[iphone][..], true),
        ("HEAD", b"/api/v1", &[iphone], true),
        ("POST", b"/api/v1", &[iphone], false),
        ("GET", b"/other", &[iphone], false),
        ("GET", b"/x/api/v1", &[iphone], false),
        ("GET", b"/api/v1", &[], false),
        ("POST", b"/other", &[android, insider], true),
        ("POST", b"/other", &[android], false),
        ("POST", b"/other", &[insider], false),
    ] {
        let accepts = backend(&rules, &request(method, path, headers)).is_some();
        assert_eq!(accepts, accepted, "{method} {} {headers:?}", path.escape_ascii());
    }
}

#[test]
fn match_without_conditions_or_with_stars_accepts_every_request() {
    for everything in [
        json!({}),
        json!({"name": "all"}),
        json!({"pathRegex": "*", "methods": ["*"]}),
        json!({"pathRegex": ".*", "methods": ["*"]}),
        json!({"pathRegex": "", "methods": [], "headers": {}}),
        json!({"pathRegex": null, "methods": null, "headers": null}),
        json!({"methods": ["GET", "*"], "headers": []}),
    ] {
        let rules = matching(json!([everything]));
        for request in [request("GET", b"/", &[]), request("PURGE", b"", &[]), request("POST", b"*", &[("x", b"\xff")])]
        {
            assert_eq!(backend(&rules, &request), Some("v1"), "{everything}");
        }
    }
}

#[test]
fn path_is_matched_without_its_query() {
    let rules = matching(json!([{"pathRegex": "/a$"}]));
    assert_eq!(backend(&rules, &request("GET", b"/a?b=c", &[])), Some("v1"));
    assert_eq!(backend(&rules, &request("GET", b"/a/b", &[])), None);
    assert_eq!(backend(&rules, &request("GET", b"/?/a", &[])), None);
}

#[test]
fn header_name_ignores_case_and_pattern_matches_whole_first_value() {
    let rules = matching(json!([{"headers": {"X-User": "al"}}]));
    assert_eq!(backend(&rules, &request("GET", b"/", &[("x-user", b"al")])), Some("v1"));
    assert_eq!(backend(&rules, &request("GET", b"/", &[("x-user", b"alice")])), None);
    assert_eq!(backend(&rules, &request("GET", b"/", &[("x-user", b"bob"), ("x-user", b"al")])), None);
    assert_eq!(backend(&matching(json!([{"headers": {"x-user": ".*"}}])), &request("GET", b"/", &[])), None);
    assert_eq!(backend(&matching(json!([{"headers": {"host": "root.*"}}])), &request("GET", b"/", &[])), Some("v1"));
}

#[test]
fn value_that_is_not_utf_8_matches_no_pattern() {
    let all = matching(json!([{"headers": {"x-user": "(?s).*"}}]));
    assert_eq!(backend(&all, &request("GET", b"/", &[("x-user", b"\xff")])), None);
    let path = matching(json!([{"pathRegex": "/"}]));
    assert_eq!(backend(&path, &request("GET", b"/\xff", &[])), None);
    assert_eq!(backend(&path, &request("GET", b"/?\xff", &[])), Some("v1"), "the query is not matched");
}

#[test]
fn all_versions_accept_matches_at_top_level_and_under_spec() {
    for version in 2..=4 {
        for headers in [json!({"a": "1", "b": "2"}), json!([{"a": "1"}, {"b": "2"}]), json!([{"a": "1", "b": "2"}])] {
            for place in ["top", "spec"] {
                let matches = json!([{"name": "m", "headers": headers}]);
                let mut group = group("g", matches.clone());
                group["apiVersion"] = json!(format!("specs.smi-spec.io/v1alpha{version}"));
                group["metadata"]["managedFields"] = json!([{}]);
                if place == "top" {
                    group["spec"] = Value::Null;
                    group["matches"] = matches;
                }
                let configuration = json!({"trafficSplits": [split("s", "v1", &["g"])], "httpRouteGroups": [group]});
                let read_back = read(&configuration).expect("a configuration");
                let written = serde_json::to_value(&read_back).expect("JSON");
                assert_eq!(read(&written), Ok(read_back), "the written configuration parses back to an equal value");
                let rules = rules(configuration);
                assert_eq!(backend(&rules, &request("GET", b"/", &[("a", b"1"), ("b", b"2")])), Some("v1"));
                assert_eq!(backend(&rules, &request("GET", b"/", &[("a", b"1")])), None);
            }
        }
    }
    let twice = matching(json!([{"headers": [{"a": "x.*"}, {"A": ".*y"}]}]));
    assert_eq!(backend(&twice, &request("GET", b"/", &[("a", b"xy")])), Some("v1"), "one header, two patterns");
    assert_eq!(backend(&twice, &request("GET", b"/", &[("a", b"xx")])), None);
}

#[test]
fn matches_of_all_groups_are_alternatives() {
    let rules = rules(json!({
        "trafficSplits": [split("s", "v1", &["g", "h"])],
        "httpRouteGroups": [
            group("g", json!([{"pathRegex": "/a"}, {"pathRegex": "/b"}])),
            group("h", json!([{"pathRegex": "/c"}])),
            // No split names this group.
            group("i", json!([{}])),
        ],
    }));
    for (path, accepted) in [(&b"/a"[..], true), (b"/b", true), (b"/c", true), (b"/d", false)] {
        assert_eq!(backend(&rules, &request("GET", path, &[])).is_some(), accepted, "{}", path.escape_ascii());
    }
}

#[test]
fn first_split_whose_matches_accept_the_request_decides() {
    let configuration = |last: bool| {
        let mut splits = vec![split("one", "v1", &["a"]), split("two", "v2", &["b"])];
        if last {
            splits.push(split("rest", "v3", &[]));
        }
        let groups = [group("a", json!([{"pathRegex": "/a"}])), group("b", json!([{"pathRegex": "/"}]))];
        let groups_of_others = json!({
            "apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "HTTPRouteGroup",
            "metadata": {"name": "a", "namespace": "other"}, "spec": {"matches": [{}]},
        });
        rules(json!({"trafficSplits": splits, "httpRouteGroups": [groups_of_others, groups[0], groups[1]]}))
    };
    for last in [true, false] {
        let rules = configuration(last);
        assert_eq!(backend(&rules, &request("GET", b"/a", &[])), Some("v1"));
        assert_eq!(backend(&rules, &request("GET", b"/b", &[])), Some("v2"));
        assert_eq!(backend(&rules, &request("GET", b"*", &[])), last.then_some("v3"));
    }
    let three = configuration(true);
    let Decision::Backend(pick) = three.decide(&request("GET", b"*", &[]), &mut FixedRandom::always(0)) else {
        panic!("no backend")
    };
    assert_eq!(pick.split, "ns/rest");
}

#[test]
fn each_deciding_header_is_read_once_and_no_other() {
    let rules = matching(json!([
        {"methods": ["POST"], "headers": {"x-a": "1"}},
        {"pathRegex": "/b", "headers": {"x-b": "1"}},
        {"pathRegex": "/", "headers": {"x-b": "2", "x-c": "3"}},
        {"methods": ["GET"], "pathRegex": "/", "headers": {"x-b": "."}},
    ]));
    let request = request("GET", b"/", &[("x-b", b"3")]);
    assert_eq!(backend(&rules, &request), Some("v1"));
    assert_eq!(request.headers_read(), [":authority", ":method", ":path", "x-b"]);
}

#[test]
fn reference_must_name_a_group_in_the_splits_namespace() {
    let mut elsewhere = group("g", json!([{}]));
    elsewhere["metadata"]["namespace"] = json!("other");
    assert_problems(
        json!({"trafficSplits": [split("s", "v1", &["g"])], "httpRouteGroups": [elsewhere]}),
        &["trafficSplits[0] ns/s: spec.matches[0].name: there is no HTTPRouteGroup \"g\" in the namespace \"ns\""],
    );
    let mut tcp = split("s", "v1", &["g", "h"]);
    tcp["spec"]["matches"][0]["kind"] = json!("TCPRoute");
    tcp["spec"]["matches"][1] = json!({"kind": "HTTPRouteGroup"});
    assert_problems(
        json!({"trafficSplits": [tcp], "httpRouteGroups": [group("g", json!([{}]))]}),
        &[
            "trafficSplits[0] ns/s: spec.matches[0].kind: \"TCPRoute\" is not supported; use HTTPRouteGroup",
            "trafficSplits[0] ns/s: spec.matches[1].name: is missing; add it",
        ],
    );
    assert_problems(
        json!({"trafficSplits": [split("s", "v1", &["g", "g"])], "httpRouteGroups": [group("g", json!([{}]))]}),
        &["trafficSplits[0] ns/s: spec.matches: the HTTPRouteGroup \"g\" is duplicated; remove one of them"],
    );
    // An invalid group exists: the split that names it has no second problem.
    assert_problems(
        json!({"trafficSplits": [split("s", "v1", &["g"])], "httpRouteGroups": [group("g", json!([]))]}),
        &["httpRouteGroups[0] ns/g: spec.matches: is empty, so the group accepts no request; add a match"],
    );
}

#[test]
fn unreachable_or_duplicate_split_is_an_error_that_names_both() {
    let groups = json!([group("g", json!([{}]))]);
    let (all, some) = (split("all", "v1", &[]), split("some", "v2", &["g"]));
    assert_problems(
        json!({"trafficSplits": [all, some], "httpRouteGroups": groups}),
        &[
            "trafficSplits[1] ns/some: spec.service: no request reaches this split: ns/all has no matches and receives all requests to the root root; put ns/all last",
        ],
    );
    assert_problems(
        json!({"trafficSplits": [some, all, split("more", "v1", &[])], "httpRouteGroups": groups}),
        &[
            "trafficSplits[2] ns/more: spec.service: the root root already has the split ns/all without matches; add matches to one of them",
        ],
    );
    assert_problems(
        json!({"trafficSplits": [some, some], "httpRouteGroups": [group("g", json!([{}])), group("g", json!([{}]))]}),
        &[
            "httpRouteGroups[1] ns/g: metadata.name: is duplicated; rename or remove one of them",
            "trafficSplits[1] ns/some: metadata.name: is duplicated; rename or remove one of them",
        ],
    );
}

#[test]
fn problem_of_a_group_names_match_and_header() {
    let broken = json!([
        {"name": "a", "pathRegex": "(", "methods": ["get", "", 5], "headers": {"x y": "a", "x-a": "[", "x-b": 1}},
        {"headers": "x-a"},
        {"headers": [{"x-a": "a{2,1}"}, 7], "pathRegex": 1, "name": 2},
        8,
    ]);
    let problems = read(&json!({"httpRouteGroups": [group("g", broken)]})).expect_err("problems");
    let expected = [
        "httpRouteGroups[0] ns/g: spec.matches[0] \"a\".pathRegex: \"(\" is not a supported regular expression: ",
        "httpRouteGroups[0] ns/g: spec.matches[0] \"a\".methods[0]: \"get\" matches no request; write methods in upper case",
        "httpRouteGroups[0] ns/g: spec.matches[0] \"a\".methods[1]: \"\" is not an HTTP method such as GET, or *",
        "httpRouteGroups[0] ns/g: spec.matches[0] \"a\".methods[2]: is a number, but must be a string",
        "httpRouteGroups[0] ns/g: spec.matches[0] \"a\".headers[\"x y\"]: is not the name of an HTTP header (an RFC 9110 token)",
        "httpRouteGroups[0] ns/g: spec.matches[0] \"a\".headers[\"x-a\"]: \"[\" is not a supported regular expression: ",
        "httpRouteGroups[0] ns/g: spec.matches[0] \"a\".headers[\"x-b\"]: is a number, but must be a string",
        "httpRouteGroups[0] ns/g: spec.matches[1].headers: is a string, but must be a map of header names to patterns",
        "httpRouteGroups[0] ns/g: spec.matches[2].name: is a number, but must be a string",
        "httpRouteGroups[0] ns/g: spec.matches[2].pathRegex: is a number, but must be a string",
        "httpRouteGroups[0] ns/g: spec.matches[2].headers[0][\"x-a\"]: \"a{2,1}\" is not a supported regular expression: ",
        "httpRouteGroups[0] ns/g: spec.matches[2].headers[1]: is a number, but must be an object",
        "httpRouteGroups[0] ns/g: spec.matches[3]: is a number, but must be an object",
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.starts_with(expected), "{problem}\n{expected}");
    }
    let mut old = group("g", json!([{}]));
    old["apiVersion"] = json!("specs.smi-spec.io/v1alpha1");
    old["kind"] = json!("TCPRoute");
    old["matches"] = json!([{}]);
    let mut without = group("h", json!(null));
    without["apiVersion"] = json!("");
    assert_problems(
        json!({"httpRouteGroups": [old, without, 3]}),
        &[
            "httpRouteGroups[0] ns/g: apiVersion: \"specs.smi-spec.io/v1alpha1\" is not supported; use specs.smi-spec.io/v1alpha2 to v1alpha4",
            "httpRouteGroups[0] ns/g: kind: \"TCPRoute\" is not supported; use HTTPRouteGroup",
            "httpRouteGroups[0] ns/g: matches: is present at the top level and under spec; remove one of them",
            "httpRouteGroups[1] ns/h: apiVersion: \"\" is not supported; use specs.smi-spec.io/v1alpha2 to v1alpha4",
            "httpRouteGroups[1] ns/h: spec.matches: is missing; add it",
            "httpRouteGroups[2]: is a number, but must be an object",
        ],
    );
}

#[test]
fn trace_records_root_port_split_and_failed_conditions() {
    let rules = rules(json!({
        "trafficSplits": [split("a", "v1", &["g", "h"]), split("b", "v2", &["h"]), split("c", "v3", &[])],
        "httpRouteGroups": [
            group("g", json!([{"name": "write", "methods": ["PUT"]}, {"pathRegex": "/api"}])),
            group("h", json!([{"name": "beta", "methods": ["GET"], "headers": {"x-beta": "yes"}}])),
        ],
        "services": {"ns/root": {"ports": [80]}},
    }));
    let skipped = |trace: &RoutingTrace<'_>| {
        let describe = |failed: &[FailedMatch<'_>]| {
            let lines = failed.iter().map(|failed| match failed.condition {
                MatchCondition::Method(methods) => format!("{} {methods:?}", failed.name),
                MatchCondition::Path(pattern) => format!("{} path {pattern}", failed.name),
                MatchCondition::Header(header, pattern) => format!("{} {header} {pattern}", failed.name),
                _ => String::new(),
            });
            lines.collect::<Vec<_>>().join(", ")
        };
        let lines = trace.skipped.iter().map(|(split, failed)| format!("{split}: {}", describe(failed)));
        lines.collect::<Vec<_>>()
    };
    let a = "ns/a: g/write [\"PUT\"], g/matches[1] path /api, h/beta x-beta yes";
    let beta: (&str, &[u8]) = ("x-beta", b"yes");

    let plain = request("GET", b"/", &[]);
    let trace = rules.explain(&plain);
    assert_eq!((trace.root, trace.port), (Some("root.ns"), Some(80)));
    assert_eq!((trace.split, trace.matched), (Some("ns/c"), None));
    assert_eq!(skipped(&trace), [a, "ns/b: h/beta x-beta yes"]);

    let trace = rules.explain(&request("GET", b"/", &[beta]));
    assert_eq!((trace.split, trace.matched, trace.skipped), (Some("ns/a"), Some("h/beta"), vec![]));

    let explain =
        |authority: &str| rules.explain(&FakeRequest::to(authority).header(":method", "GET").header(":path", "/"));
    let trace = explain("root.ns:x");
    assert_eq!((trace.root, trace.port, trace.split, trace.skipped), (Some("root.ns"), None, None, vec![]));
    assert_eq!(trace.root_reason, Some(RootReason::NoPort));
    let trace = explain("other.ns");
    assert_eq!((trace.root, trace.port, trace.skipped, trace.split), (None, None, vec![], None));
    assert_eq!(trace.root_reason, Some(RootReason::NoSplit));
}

/// A thousand splits that name a group of a thousand matches take the memory of one group, not of a million matches.
#[test]
fn splits_that_name_the_same_group_share_it() {
    let matches: Vec<_> = (0..1000).map(|n| json!({"pathRegex": format!("/{n}/")})).collect();
    let splits: Vec<_> = (0..1000)
        .map(|n| {
            let mut split = split(&format!("s{n}"), "v1", &["g"]);
            split["spec"]["service"] = json!(format!("root{n}"));
            split
        })
        .collect();
    let mut splits = splits;
    splits[7]["spec"]["service"] = json!("root");
    let rules = rules(json!({"trafficSplits": splits, "httpRouteGroups": [group("g", json!(matches))]}));
    assert_eq!(backend(&rules, &request("GET", b"/999/", &[])), Some("v1"));
    assert_eq!(backend(&rules, &request("GET", b"/1000/", &[])), None);
}

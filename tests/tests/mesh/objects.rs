//! Our CustomResourceDefinitions in a real Kubernetes API server: accepted objects, rejected objects, and the returned
//! versions.

use e2e::Result;
use e2e::mesh::{Mesh, manifests};
use fixtures::TrafficSplit;
use serde_json::{Value, json};

fn split(version: &'static str, backends: Value) -> Value {
    let mut split = TrafficSplit::new("http-split", "httpbin").version(version).namespace("default").build();
    split["spec"]["backends"] = backends;
    split
}

fn group(version: &str, pointer: &str, matches: Value) -> Value {
    let mut group = json!({
        "apiVersion": format!("specs.smi-spec.io/{version}"),
        "kind": "HTTPRouteGroup",
        "metadata": {"name": "beta", "namespace": "default"},
    });
    match pointer {
        "matches" => group["matches"] = matches,
        _ => group["spec"] = json!({"matches": matches}),
    }
    group
}

#[track_caller]
fn assert_rejected(mesh: &Mesh, object: &Value, why: &str) {
    match mesh.apply(&object.to_string()) {
        Ok(output) => panic!("{object} was accepted: {output}"),
        Err(error) => assert!(error.to_string().contains(why), "{object} was rejected with: {error}"),
    }
}

#[test]
fn api_server_accepts_smi_objects_and_rejects_invalid_ones() -> Result<()> {
    let mesh = Mesh::start()?;
    let weights = |v1: Value, v2: Value| json!([{"service": "v1", "weight": v1}, {"service": "v2", "weight": v2}]);

    // Any version is accepted, and any other version returns the object as written.
    for (written, backends) in [
        ("v1alpha1", weights(json!("90"), json!("10"))),
        ("v1alpha1", weights(json!("500m"), json!("1k"))),
        ("v1alpha2", weights(json!(90), json!(0))),
        ("v1alpha3", weights(json!(90), json!(10))),
        ("v1alpha4", json!([{"service": "v1"}])),
    ] {
        mesh.apply(&split(written, backends.clone()).to_string())?;
        for read in ["v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4"] {
            let kind = format!("trafficsplits.{read}.split.smi-spec.io");
            let found = mesh.get(&kind, "default", "http-split")?;
            assert_eq!(found["apiVersion"], format!("split.smi-spec.io/{read}"));
            assert_eq!(found["spec"]["backends"], backends, "written in {written}, read in {read}");
        }
    }

    for (backends, why) in [
        (weights(json!(-1), json!(1)), "negative"),
        (weights(json!("-1"), json!(1)), "negative"),
        (weights(json!(1.5), json!(1)), "spec.backends[0].weight"),
        (weights(json!(true), json!(1)), "spec.backends[0].weight"),
        (json!([]), "spec.backends"),
        (json!([{"service": "v1", "weight": 1}, {"service": "v1", "weight": 2}]), "Duplicate value"),
        (json!([{"weight": 1}]), "spec.backends[0].service"),
        (json!([{"service": "", "weight": 1}]), "spec.backends[0].service"),
    ] {
        for version in ["v1alpha1", "v1alpha4"] {
            assert_rejected(&mesh, &split(version, backends.clone()), why);
        }
    }
    let mut other = split("v1alpha4", weights(json!(1), json!(1)));
    other["spec"]["matches"] = json!([{"kind": "HTTPRouteGroup", "name": "beta"}]);
    mesh.apply(&other.to_string())?;
    other["spec"]["matches"] = json!([{"kind": "UDPRoute", "name": "beta"}]);
    assert_rejected(&mesh, &other, "spec.matches[0].kind");

    // Flagger writes whole objects by PUT, without a status.
    let status = json!({"status": {"state": "Programmed", "backends": "v1 1"}}).to_string();
    let patch = ["patch", "trafficsplit", "http-split", "--subresource=status", "--type=merge", "-p", &status];
    mesh.kubectl(&patch)?;
    mesh.kubectl_with_input(&["replace", "-f", "-"], &split("v1alpha2", weights(json!(1), json!(0))).to_string())?;
    let found = mesh.get("trafficsplit", "default", "http-split")?;
    assert_eq!((&found["status"]["state"], &found["spec"]["backends"][1]["weight"]), (&json!("Programmed"), &json!(0)));
    let listed = mesh.kubectl(&["get", "trafficsplits"])?;
    for word in ["ROOT", "BACKENDS", "STATE", "httpbin", "v1 1", "Programmed"] {
        assert!(listed.contains(word), "{word} is missing in\n{listed}");
    }

    // The place of matches depends on the version; headers are a map or a list of maps.
    let matches = json!([{
        "name": "one", "pathRegex": "/beta", "methods": ["GET"], "headers": [{"user-agent": ".*Android.*"}],
    }]);
    mesh.apply(&group("v1alpha2", "matches", matches.clone()).to_string())?;
    assert_eq!(mesh.get("httproutegroups.v1alpha4.specs.smi-spec.io", "default", "beta")?["matches"], matches);
    mesh.kubectl(&["delete", "httproutegroup", "beta"])?;
    let map = json!([{"headers": {"user-agent": ".*Android.*"}}]);
    mesh.apply(&group("v1alpha4", "spec", map.clone()).to_string())?;
    assert_eq!(mesh.get("httproutegroups.v1alpha3.specs.smi-spec.io", "default", "beta")?["spec"]["matches"], map);
    assert_rejected(&mesh, &group("v1alpha4", "spec", json!([])), "matches");
    Ok(())
}

/// Nests `value` under `depth` keys.
fn nested(depth: usize, value: Value) -> Value {
    (0..depth).fold(value, |value, _| json!({"a": value}))
}

/// Applies all objects at once, and returns how many exist afterwards.
fn count_accepted(mesh: &Mesh, kind: &str, objects: impl IntoIterator<Item = Value>) -> Result<usize> {
    let named = objects.into_iter().enumerate().map(|(n, mut object)| {
        object["metadata"]["name"] = json!(format!("object-{n}"));
        object
    });
    let list = json!({"apiVersion": "v1", "kind": "List", "items": named.collect::<Vec<_>>()});
    // kubectl continues after a rejected object.
    _ = mesh.apply(&list.to_string());
    let taken = mesh.kubectl(&["get", kind, "-o", "name"])?.lines().count();
    mesh.kubectl(&["delete", kind, "--all"])?;
    Ok(taken)
}

#[test]
fn schema_limits_headers_and_service_names() -> Result<()> {
    let mesh = Mesh::start()?;
    let many = |count: usize| (0..count).map(|n| (format!("x-{n}"), json!("1"))).collect::<Value>();
    let taken = |headers: &[Value]| {
        let versions = [("v1alpha4", "spec"), ("v1alpha3", "spec"), ("v1alpha2", "matches")];
        let groups = versions.into_iter().flat_map(|(version, pointer)| {
            headers.iter().map(move |headers| group(version, pointer, json!([{"name": "one", "headers": headers}])))
        });
        count_accepted(&mesh, "httproutegroups", groups)
    };
    let good = [
        json!({}),
        json!([]),
        json!(null),
        json!({":authority": "shop", "cookie": "a".repeat(4096)}),
        json!([{"cookie": "a"}, {"cookie": "b", "user-agent": "c"}]),
        many(100),
        json!(vec![json!({"cookie": "a"}); 100]),
    ];
    assert_eq!(taken(&good)?, 3 * good.len());
    let bad = [
        nested(2, json!("a")),
        nested(121, json!("a")),
        json!([nested(2, json!("a"))]),
        json!([[{"cookie": "a"}]]),
        json!({"cookie": 1}),
        json!({"cookie": true}),
        json!([{"cookie": 1}]),
        json!(["cookie"]),
        json!([null]),
        many(101),
        json!([many(101)]),
        json!(vec![json!({"cookie": "a"}); 101]),
        json!({"cookie": "a".repeat(4097)}),
        json!("cookie"),
        json!(""),
        json!(0),
        json!(1.5),
        json!(true),
        json!(false),
    ];
    assert_eq!(taken(&bad)?, 0);

    let with_root = |version: &'static str, root: &str, backend: &str| {
        let mut object = split(version, json!([{"service": backend, "weight": 1}]));
        object["spec"]["service"] = json!(root);
        object
    };
    let longest = format!("{}.default.svc.{}", "a".repeat(63), vec!["b"; 88].join("."));
    let names = [
        "web",
        "0",
        "web.default",
        "web.default.svc",
        "web.default.svc.cluster",
        "web.default.svc.k8s.example.com",
        "web.",
        "web.default.svc.k8s.example.com.",
        &longest,
    ];
    let versions = ["v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4"];
    let good: Vec<_> = versions
        .into_iter()
        .flat_map(|version| names.map(|name| with_root(version, &format!("{name}:65535"), name)))
        .chain(names.map(|name| with_root("v1alpha4", name, name)))
        .collect();
    let count = good.len();
    assert_eq!(count_accepted(&mesh, "trafficsplits", good)?, count);
    let label = "a".repeat(64);
    let wrong = [
        "",
        "-web",
        "web-",
        "Web",
        "web_1",
        "web..",
        ".web",
        "web.default.pod",
        "web.default.svc..",
        "web/80",
        "web ",
        "w\nb",
        "web:",
        "web:http",
        "web:123456",
        &label,
    ];
    let roots = wrong.map(|name| with_root("v1alpha4", name, "v1"));
    // A backend name has no port.
    let backends = wrong.into_iter().chain(["web:80"]).map(|name| with_root("v1alpha4", "web", name));
    assert_eq!(count_accepted(&mesh, "trafficsplits", roots.into_iter().chain(backends))?, 0);
    Ok(())
}

#[test]
fn manifests_create_the_envoyfilter_and_the_controller_fills_it() -> Result<()> {
    let mesh = Mesh::start()?;
    let read = || mesh.get("envoyfilter", "istio-system", "traffic-split");
    assert_eq!(read()?["spec"], Value::Null);

    let controller = mesh.kubeconfig("controller").display().to_string();
    let as_controller = |arguments: &[&str], input: &str| {
        mesh.kubectl_with_input(&[&["--kubeconfig", &controller, "-n", "istio-system"], arguments].concat(), input)
    };
    let named = |name: &str| {
        json!({
            "apiVersion": "networking.istio.io/v1alpha3",
            "kind": "EnvoyFilter",
            "metadata": {"name": name, "namespace": "istio-system"},
            "spec": {"configPatches": [{
                "applyTo": "HTTP_FILTER",
                "match": {"context": "SIDECAR_OUTBOUND"},
                "patch": {"operation": "INSERT_BEFORE", "value": {"name": "traffic-split"}},
            }]},
        })
        .to_string()
    };
    let apply = ["apply", "--server-side", "--force-conflicts", "--field-manager=traffic-split-controller", "-f", "-"];
    let own = "--field-selector=metadata.name=traffic-split";
    assert!(as_controller(&["get", "envoyfilters", own], "")?.contains("traffic-split"));
    as_controller(&["replace", "-f", "-"], &named("traffic-split"))?;
    for (arguments, input) in [
        (&["get", "envoyfilters"][..], String::new()),
        (&["get", "envoyfilters", "--field-selector=metadata.name=other"], String::new()),
        (&["create", "-f", "-"], named("other")),
        (&["replace", "-f", "-"], named("other")),
        (&apply, named("traffic-split")),
        (&["delete", "envoyfilter", "traffic-split"], String::new()),
    ] {
        let answer = as_controller(arguments, &input);
        assert!(
            answer.as_ref().is_err_and(|error| error.to_string().contains("forbidden")),
            "{arguments:?}: {answer:?}"
        );
    }

    let written = read()?["spec"].clone();
    let directory = manifests().display().to_string();
    for mode in [&[][..], &["--server-side", "--force-conflicts"], &["--server-side"], &[]] {
        mesh.kubectl(&[&["apply", "-k", &directory], mode].concat())?;
        assert_eq!(read()?["spec"], written, "kubectl apply {mode:?}");
    }
    Ok(())
}

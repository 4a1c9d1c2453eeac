//! Our resource definitions in a real Kubernetes API server: what it takes, what it refuses, and in which version it hands
//! it out.

use journeys::Result;
use journeys::mesh::Mesh;
use serde_json::{Value, json};

fn split(version: &str, backends: Value) -> Value {
    json!({
        "apiVersion": format!("split.smi-spec.io/{version}"),
        "kind": "TrafficSplit",
        "metadata": {"name": "http-split", "namespace": "default"},
        "spec": {"service": "httpbin", "backends": backends},
    })
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
fn refused(mesh: &Mesh, object: &Value, why: &str) {
    match mesh.apply(&object.to_string()) {
        Ok(said) => panic!("{object} was taken: {said}"),
        Err(said) => assert!(said.to_string().contains(why), "{object} was refused with: {said}"),
    }
}

#[test]
fn the_api_server_takes_what_smi_says_and_refuses_what_it_doesn_t() -> Result<()> {
    let mesh = Mesh::start()?;
    let weights = |v1: Value, v2: Value| json!([{"service": "v1", "weight": v1}, {"service": "v2", "weight": v2}]);

    // Any version is taken, and read in any other as it was written.
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
            refused(&mesh, &split(version, backends.clone()), why);
        }
    }
    let mut other = split("v1alpha4", weights(json!(1), json!(1)));
    other["spec"]["matches"] = json!([{"kind": "HTTPRouteGroup", "name": "beta"}]);
    mesh.apply(&other.to_string())?;
    other["spec"]["matches"] = json!([{"kind": "UDPRoute", "name": "beta"}]);
    refused(&mesh, &other, "spec.matches[0].kind");

    // Flagger PUTs whole objects, and knows no status.
    let status = json!({"status": {"state": "Programmed", "backends": "v1 1"}}).to_string();
    let patch = ["patch", "trafficsplit", "http-split", "--subresource=status", "--type=merge", "-p", &status];
    mesh.kubectl(&patch)?;
    mesh.kubectl_with_input(&["replace", "-f", "-"], &split("v1alpha2", weights(json!(1), json!(0))).to_string())?;
    let found = mesh.get("trafficsplit", "default", "http-split")?;
    assert_eq!((&found["status"]["state"], &found["spec"]["backends"][1]["weight"]), (&json!("Programmed"), &json!(0)));
    let listed = mesh.kubectl(&["get", "trafficsplits"])?;
    for word in ["ROOT", "BACKENDS", "STATE", "httpbin", "v1 1", "Programmed"] {
        assert!(listed.contains(word), "{word} isn't in\n{listed}");
    }

    // Groups have their matches where their version has them, their headers as a map or a list of maps.
    let matches = json!([{
        "name": "one", "pathRegex": "/beta", "methods": ["GET"], "headers": [{"user-agent": ".*Android.*"}],
    }]);
    mesh.apply(&group("v1alpha2", "matches", matches.clone()).to_string())?;
    assert_eq!(mesh.get("httproutegroups.v1alpha4.specs.smi-spec.io", "default", "beta")?["matches"], matches);
    mesh.kubectl(&["delete", "httproutegroup", "beta"])?;
    let map = json!([{"headers": {"user-agent": ".*Android.*"}}]);
    mesh.apply(&group("v1alpha4", "spec", map.clone()).to_string())?;
    assert_eq!(mesh.get("httproutegroups.v1alpha3.specs.smi-spec.io", "default", "beta")?["spec"]["matches"], map);
    refused(&mesh, &group("v1alpha4", "spec", json!([])), "matches");
    Ok(())
}

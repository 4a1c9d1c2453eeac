//! The controller on a real mesh with faults: unusual objects that pass the schema, a lost lease, and an unknown
//! second controller.

use e2e::client::Load;
use e2e::httpbin::ROOT;
use e2e::mesh::{PORT, manifests, split, start_with_guide, version_at};
use e2e::{Result, wait_for};
use serde_json::{Value, json};

fn service(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "httpbin"}, "spec": spec})
}

#[test]
fn unusual_objects_fail_no_request_and_are_reported() -> Result<()> {
    let (guide, _httpbin, mesh) = start_with_guide()?;
    let controller = mesh.controller(&guide, "controller-1")?;
    let _sidecar = mesh.sidecar("curl")?;

    // Istio creates no cluster for it.
    let spec =
        json!({"type": "ExternalName", "externalName": "example.com", "ports": [{"port": PORT, "name": "http"}]});
    mesh.apply(&service("elsewhere", spec).to_string())?;
    mesh.apply(&split("http-split", "httpbin", &[("httpbin-v1", 1), ("elsewhere", 1)]))?;
    let condition = mesh.wait_for_condition("httpbin", "http-split", "ResolvedRefs", ("False", "RefNotFound"))?;
    assert_eq!(condition["message"], "Service elsewhere is of type ExternalName; it receives no requests");
    wait_for("v1 to answer", || Ok((version_at(PORT, ROOT)? == "httpbin-v1").then_some(())))?;
    let load = Load::start(PORT, ROOT, 1);
    load.more(200)?;
    assert_eq!(load.stop().failed, 0);

    // The full message would exceed the maximum length of a condition message.
    let ports = |range: std::ops::Range<u16>| {
        let ports = range.map(|port| json!({"name": format!("p{port}"), "port": port}));
        json!({"ports": ports.collect::<Vec<_>>()})
    };
    let names: Vec<_> = (0..100).map(|number| format!("{}-{number}", "b".repeat(59))).collect();
    let services = names.iter().map(|name| service(name, ports(1..2)));
    let services: Vec<_> = services.chain([service("root", ports(1000..1100))]).collect();
    mesh.kubectl_with_input(
        &["create", "-f", "-"],
        &json!({"apiVersion": "v1", "kind": "List", "items": services}).to_string(),
    )?;
    let backends: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
    mesh.apply(&split("long", "root", &backends))?;
    mesh.wait_for_condition("httpbin", "long", "ResolvedRefs", ("False", "RefNotFound"))?;

    // The same reason twice with different messages.
    for (root, word) in [("other", "sum to 0"), ("other.elsewhere", "is not in the TrafficSplit's namespace")] {
        mesh.apply(&split("wrong", root, &[("httpbin-v1", 0)]))?;
        wait_for(&format!("an event with {word}"), || {
            let described = mesh.kubectl(&["describe", "trafficsplit", "-n", "httpbin", "wrong"])?;
            Ok(described.split_once("Events:").filter(|(_, events)| events.contains(word)).map(|_| ()))
        })?;
    }

    // A manual addition of fields that server-side apply does not remove; with it, no proxy would load the filter.
    let added = json!({"spec": {"priority": 5, "workloadSelector": {"labels": {"app": "none"}}}}).to_string();
    mesh.kubectl(&["patch", "envoyfilter", "-n", "istio-system", "traffic-split", "--type=merge", "-p", &added])?;
    wait_for("the addition to be removed", || {
        let filter = mesh.get("envoyfilter", "istio-system", "traffic-split")?;
        Ok((filter["spec"].as_object().map(|spec| spec.len()) == Some(1)).then_some(()))
    })?;
    let failures = || controller.metric("traffic_split_controller_failures_total");
    assert_eq!(failures()?, 0.0);

    // A foreign CustomResourceDefinition without the status subresource: the controller counts a failure and still serves.
    let no_status = r#"[{"op": "remove", "path": "/spec/versions/0/subresources"}]"#;
    mesh.kubectl(&["patch", "crd", "trafficsplits.split.smi-spec.io", "--type=json", "-p", no_status])?;
    let tried = ["patch", "trafficsplit", "-n", "httpbin", "http-split", "--subresource=status", "--dry-run=server"];
    let tried = [&tried[..], &["--type=merge", "-p", r#"{"status": {"state": "tried"}}"#]].concat();
    wait_for("the status subresource to be removed", || Ok(mesh.kubectl(&tried).is_err().then_some(())))?;
    mesh.apply(&split("http-split", "httpbin", &[("httpbin-v2", 1)]))?;
    wait_for("v2 to answer", || Ok((version_at(PORT, ROOT)? == "httpbin-v2").then_some(())))?;
    wait_for("a failed status write", || Ok((failures()? > 0.0).then_some(())))?;
    Ok(())
}

/// An admission policy or missing permissions reject the write: the change is not served, and the condition says why.
#[test]
fn rejected_envoyfilter_write_is_reported_and_fails_no_request() -> Result<()> {
    let (guide, _httpbin, mesh) = start_with_guide()?;
    let controller = mesh.controller(&guide, "controller-1")?;
    let _sidecar = mesh.sidecar("curl")?;
    let versions = |v1, v2| [("httpbin-v1", v1), ("httpbin-v2", v2)];
    mesh.apply(&split("http-split", "httpbin", &versions(1, 0)))?;
    wait_for("v1 to answer", || Ok((version_at(PORT, ROOT)? == "httpbin-v1").then_some(())))?;
    let load = Load::start(PORT, ROOT, 1);

    let policy = |kind: &str, spec: Value| json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "frozen"}, "spec": spec});
    let rules = json!([{
        "apiGroups": ["networking.istio.io"], "apiVersions": ["*"], "operations": ["*"], "resources": ["envoyfilters"],
    }]);
    let validations = json!([{"expression": "false", "message": "no changes before the holidays"}]);
    let frozen = [
        policy(
            "ValidatingAdmissionPolicy",
            json!({"matchConstraints": {"resourceRules": rules}, "validations": validations}),
        ),
        policy("ValidatingAdmissionPolicyBinding", json!({"policyName": "frozen", "validationActions": ["Deny"]})),
    ];
    let frozen = json!({"apiVersion": "v1", "kind": "List", "items": frozen}).to_string();
    mesh.apply(&frozen)?;
    // The API server applies the policy after a delay.
    let tried = ["annotate", "envoyfilter", "-n", "istio-system", "traffic-split", "--dry-run=server", "tried=1"];
    wait_for("the API server to reject EnvoyFilters", || Ok(mesh.kubectl(&tried).is_err().then_some(())))?;

    mesh.apply(&split("http-split", "httpbin", &versions(0, 1)))?;
    mesh.apply(&split("other-split", "other", &versions(0, 1)))?;
    for (name, keep) in
        [("http-split", "sidecars keep the version that they have"), ("other-split", "this split is not served")]
    {
        let status = wait_for(&format!("{name} to have the state Refused"), || {
            let status = mesh.get("trafficsplit", "httpbin", name)?["status"].take();
            Ok((status["state"] == "Refused").then_some(status))
        })?;
        let programmed = &status["conditions"][1];
        assert_eq!((&programmed["type"], &programmed["status"]), (&json!("Programmed"), &json!("False")));
        let message = programmed["message"].as_str().unwrap_or_default();
        assert!(message.contains("no changes before the holidays") && message.ends_with(keep), "{message}");
    }
    assert_eq!(load.more(100)?.of("httpbin-v2"), 0);
    assert!(controller.metric("traffic_split_controller_failures_total")? > 0.0);

    mesh.kubectl_with_input(&["delete", "-f", "-"], &frozen)?;
    for name in ["http-split", "other-split"] {
        mesh.wait_for_condition("httpbin", name, "Programmed", ("True", "Programmed"))?;
    }
    wait_for("v2 to answer", || Ok((version_at(PORT, ROOT)? == "httpbin-v2").then_some(())))?;

    // A controller without read permission still reports the served version.
    mesh.kubectl(&["delete", "rolebinding", "-n", "istio-system", "traffic-split-controller"])?;
    mesh.apply(&split("http-split", "httpbin", &versions(1, 0)))?;
    wait_for("the missing permission to be reported", || {
        let status = mesh.get("trafficsplit", "httpbin", "http-split")?["status"].take();
        let served = status["backends"] == "httpbin-v1 0, httpbin-v2 1";
        Ok((status["state"] == "Refused" && served).then_some(()))
    })?;
    mesh.kubectl(&["apply", "-k", &manifests().display().to_string()])?;
    mesh.wait_for_condition("httpbin", "http-split", "Programmed", ("True", "Programmed"))?;
    wait_for("v1 to answer", || Ok((version_at(PORT, ROOT)? == "httpbin-v1").then_some(())))?;
    assert_eq!(load.stop().failed, 0);
    Ok(())
}

/// A paused or partitioned leader learns late that another replica leads. It must not write in that time. A deleted
/// Lease is recreated.
#[test]
fn replica_without_the_lease_writes_nothing_and_a_deleted_lease_is_recreated() -> Result<()> {
    let (guide, _httpbin, mesh) = start_with_guide()?;
    let controller = mesh.controller(&guide, "controller-1")?;
    let standby = mesh.controller(&guide, "controller-2")?;
    mesh.wait_for_envoy_filter()?;
    let writes = || controller.metric("traffic_split_controller_envoyfilter_writes_total");
    let (_process, mut api) = mesh.api()?;
    let path = "/apis/coordination.k8s.io/v1/namespaces/traffic-split-system/leases/traffic-split-controller";
    let one = |backend| split("http-split", "httpbin", &[(backend, 1)]);
    let other = json!({"spec": {"holderIdentity": "another", "leaseDurationSeconds": 20}}).to_string();
    api.send_body("PATCH", path, "application/merge-patch+json", &other)?;
    let splits = "/apis/split.smi-spec.io/v1alpha2/namespaces/httpbin/trafficsplits";
    api.send_body("POST", splits, "application/json", &one("httpbin-v1"))?;
    wait_for("the controller to see the other holder", || {
        let log = controller.process.log();
        Ok((log.contains("another replica holds the Lease") || log.contains("stopped leading")).then_some(()))
    })?;
    assert_eq!((writes()?, standby.metric("traffic_split_controller_leader")?), (1.0, 0.0));
    assert_eq!(mesh.get("trafficsplit", "httpbin", "http-split")?["status"], Value::Null);
    // The other holder is gone, and one of the replicas leads.
    mesh.wait_for_condition("httpbin", "http-split", "Programmed", ("True", "Programmed"))?;

    mesh.kubectl(&["delete", "lease", "-n", "traffic-split-system", "traffic-split-controller"])?;
    wait_for("a Lease with a holder", || {
        let lease = mesh.get("lease", "traffic-split-system", "traffic-split-controller").ok();
        Ok(lease.filter(|lease| lease["spec"]["holderIdentity"].as_str().is_some_and(|holder| !holder.is_empty())))
    })?;
    mesh.apply(&one("httpbin-v2"))?;
    mesh.wait_for_condition("httpbin", "http-split", "Programmed", ("True", "Programmed"))?;
    wait_for("one replica to lead", || {
        let leads = [&controller, &standby].map(|one| one.metric("traffic_split_controller_leader"));
        Ok((leads.into_iter().sum::<Result<f64>>()? == 1.0).then_some(()))
    })?;
    Ok(())
}

/// A running controller would restore the removed objects.
#[test]
fn uninstall_removes_nothing_while_another_controller_runs() -> Result<()> {
    let (guide, _httpbin, mesh) = start_with_guide()?;
    let controller = mesh.controller(&guide, "controller-1")?;
    mesh.wait_for_envoy_filter()?;
    let refused = mesh.uninstall(&guide).expect_err("the controller runs").to_string();
    assert!(refused.contains("controller-1") && refused.contains("still runs"), "{refused}");
    assert_eq!(controller.metric("traffic_split_controller_envoyfilter_writes_total")?, 1.0);
    // As in a node failure, the lease is not released.
    drop(controller);
    mesh.uninstall(&guide)?;
    assert!(mesh.get("envoyfilter", "istio-system", "traffic-split").is_err());
    Ok(())
}

//! Measures the cost of the patches that enable the filter, for Istiod and for a sidecar: `./build.sh mesh --measure`.

use e2e::envoy::Envoy;
use e2e::guide::Guide;
use e2e::mesh::{Mesh, PORT, split};
use e2e::{Error, Result, wait_for};
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};

/// The number of hosts without a split in the sidecar's route configuration.
const OTHER_HOSTS: usize = 1000;
/// The number of pushes of which the mean is printed.
const PUSHES: u64 = 5;

/// The conditions of the patches of one root.
#[derive(Clone, Copy, Debug)]
enum Form {
    Domain,
    ServicePort,
    Both,
}

fn host(number: usize) -> String {
    format!("root-{number}.measured.svc.cluster.local")
}

/// Creates hosts of Istio. A ServiceEntry has at most 256.
fn add_hosts(mesh: &Mesh, name: &str, hosts: &[String]) -> Result<()> {
    for (number, hosts) in hosts.chunks(256).enumerate() {
        add_entry(mesh, &format!("{name}-{number}"), hosts)?;
    }
    Ok(())
}

fn add_entry(mesh: &Mesh, name: &str, hosts: &[String]) -> Result<()> {
    let entry = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": "curl"},
        "spec": {
            "hosts": hosts,
            "ports": [{"number": PORT, "name": "http", "protocol": "HTTP"}],
            "resolution": "STATIC",
            "location": "MESH_INTERNAL",
            "endpoints": [{"address": "127.0.0.1", "ports": {"http": 9}}],
        },
    });
    mesh.kubectl_with_input(&["apply", "--server-side", "-f", "-"], &entry.to_string()).map(|_| ())
}

/// Returns the EnvoyFilter of one root with the patches of many roots. `version` makes each EnvoyFilter another one.
fn with_roots(rendered: &Value, roots: usize, form: Form, version: u64) -> Value {
    let mut filter = rendered.clone();
    let patches = filter["spec"]["configPatches"].as_array_mut().expect("patches");
    let enabling = patches.iter().find(|patch| patch["applyTo"] == "VIRTUAL_HOST").expect("an enabling patch").clone();
    patches.retain(|patch| patch["applyTo"] != "VIRTUAL_HOST");
    patches[3]["patch"]["value"]["metadata"] = json!({"filter_metadata": {"measured": {"version": version}}});
    for number in 0..roots {
        let domain = json!({"domainName": host(number)});
        let port = json!({"name": format!("{}:{PORT}", host(number))});
        let conditions = match form {
            Form::Domain => vec![domain],
            Form::ServicePort => vec![port],
            Form::Both => vec![domain, port],
        };
        for condition in conditions {
            let mut patch = enabling.clone();
            patch["match"]["routeConfiguration"]["vhost"] = condition;
            patches.push(patch);
        }
    }
    filter
}

/// Returns the sum in seconds and the number of Istiod's pushes of routes.
fn pushes(mesh: &Mesh) -> Result<(f64, f64)> {
    let metrics = mesh.istiod_metrics()?;
    let value = |name: &str| {
        let line =
            metrics.lines().find_map(|line| line.strip_prefix(&format!("pilot_xds_push_time_{name}{{type=\"rds\"}} ")));
        line.and_then(|value| value.parse::<f64>().ok()).unwrap_or_default()
    };
    Ok((value("sum"), value("count")))
}

fn routes(sidecar: &Envoy) -> Result<String> {
    sidecar.admin("/config_dump?resource=dynamic_route_configs")
}

#[test]
#[ignore = "a measurement: ./build.sh mesh --measure"]
fn cost_of_patches_for_istiod_and_a_sidecar() -> Result<()> {
    let (guide, mesh) = (Guide::built()?, Mesh::start()?);
    mesh.kubectl(&["create", "namespace", "curl"])?;
    let split_file = mesh.scratch.join("split.json");
    fs::write(&split_file, split("first", "httpbin", &[("httpbin-v1", 1)]))?;
    let wasm = ["--wasm".into(), fs::canonicalize(&guide.wasm)?.into()];
    let rendered = mesh.kubectl_with_input(
        &["create", "--dry-run=client", "-o", "json", "-f", "-"],
        &guide.render("envoyfilter", &wasm, &split_file)?,
    )?;
    let rendered: Value = serde_json::from_str(&rendered).map_err(|error| Error(error.to_string()))?;
    add_hosts(
        &mesh,
        "others",
        &(0..OTHER_HOSTS).map(|n| format!("other-{n}.measured.svc.cluster.local")).collect::<Vec<_>>(),
    )?;
    add_hosts(&mesh, "roots", &(0..OTHER_HOSTS).map(host).collect::<Vec<_>>())?;
    let sidecar = mesh.sidecar("curl")?;
    wait_for("all hosts", || Ok(routes(&sidecar)?.contains(&host(OTHER_HOSTS - 1)).then_some(())))?;
    let mut version = 0;
    println!("roots form EnvoyFilter_bytes push_ms apply_to_envoy_ms sidecar_allocated_MB");
    for (roots, form) in [
        (0, Form::Domain),
        (10, Form::Domain),
        (100, Form::Domain),
        (1000, Form::Domain),
        (10, Form::ServicePort),
        (100, Form::ServicePort),
        (1000, Form::ServicePort),
        (10, Form::Both),
        (100, Form::Both),
        (1000, Form::Both),
        (0, Form::Domain),
    ] {
        let (mut bytes, mut delay) = (0, Duration::ZERO);
        let mut before = (0.0, 0.0);
        // The first push is not counted.
        for push in 0..=PUSHES {
            version += 1;
            let filter = with_roots(&rendered, roots, form, version).to_string();
            bytes = filter.len();
            if push == 1 {
                before = pushes(&mesh)?;
                delay = Duration::ZERO;
            }
            let begun = Instant::now();
            mesh.kubectl_with_input(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &filter)?;
            let marker = format!("\"version\": {version}");
            wait_for("the push", || Ok(routes(&sidecar)?.contains(&marker).then_some(())))?;
            delay += begun.elapsed();
        }
        let after = pushes(&mesh)?;
        let count = after.1 - before.1;
        assert!(count >= 1.0, "Istiod reports no push of routes");
        #[allow(clippy::cast_precision_loss, reason = "small numbers")]
        let megabytes = sidecar.memory_allocated()? as f64 / 1e6;
        println!(
            "{roots} {form:?} {bytes} {:.1} {} {megabytes:.1}",
            (after.0 - before.0) * 1000.0 / count,
            (delay / u32::try_from(PUSHES).unwrap_or(1)).as_millis(),
        );
    }
    Ok(())
}

//! The canary guide on a real mesh: Kubernetes' API, Istiod, and the sidecar that it configures.

use journeys::client::{Client, Load};
use journeys::guide::Guide;
use journeys::mesh::{Mesh, PORT};
use journeys::world::{OTHER, ROOT, World};
use journeys::{Result, is_share, wait_for};
use std::fs;

/// What `traffic-split render --to envoyfilter` prints does what it says, applied as it stands.
#[test]
fn a_rendered_envoy_filter_splits_and_changes_without_a_listener() -> Result<()> {
    let (guide, world, mesh) = (Guide::built()?, World::start()?, Mesh::start()?);
    mesh.apply_guide(&guide, &world)?;
    let sidecar = mesh.sidecar("curl")?;
    assert_eq!(Client::new(PORT).get(ROOT, "/json", &[])?.version(), "httpbin");

    let wasm = fs::canonicalize(&guide.wasm)?;
    let options = ["--wasm".into(), wasm.into(), "--response-header".into(), "x-served-by".into()];
    let apply = |v1, v2| {
        let split = guide.traffic_split(&mesh.scratch, v1, v2)?;
        mesh.apply(&guide.render("envoyfilter", &options, &split)?)
    };
    apply(100, 0)?;
    wait_for("v1 to answer", || {
        Ok((Client::new(PORT).get(ROOT, "/json", &[])?.version() == "httpbin-v1").then_some(()))
    })?;
    let modified = sidecar.stat("listener_manager.listener_modified")?;

    let load = Load::start(PORT, ROOT, 2);
    load.more(200)?;
    apply(50, 50)?;
    load.wait_until("v2 to answer", |tally| tally.of("httpbin-v2") > 0)?;
    let halves = load.more(1000)?;
    let tally = load.stop();
    assert_eq!(tally.total() - tally.of("httpbin-v1") - tally.of("httpbin-v2"), 0, "{tally:?}");
    assert!(is_share(halves.of("httpbin-v2"), halves.total(), 0.5, 5.0), "{halves:?}");
    assert_eq!(sidecar.stat("listener_manager.listener_modified")?, modified);
    assert_eq!(Client::new(PORT).get(OTHER, "/json", &[])?.version(), "other");
    Ok(())
}

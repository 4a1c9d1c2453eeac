//! The canary guide in the simulator: the command renders, and the filter selects.

use e2e::guide::Guide;
use e2e::httpbin::{OTHER, ROOT};
use e2e::scratch::Scratch;
use e2e::{Result, is_share};
use host_sim::{Module, Simulator};

/// Returns the cluster of a request; `None` if the filter does not change the request.
fn ask(simulator: &mut Simulator, authority: &str) -> Option<&'static str> {
    let request = simulator.request().get(&format!("http://{authority}/json")).destination_port(14001);
    let outcome = request.send();
    let cluster = outcome.request_header("x-traffic-split-cluster")?;
    Some(match cluster {
        b"outbound|14001||httpbin-v1.httpbin.svc.cluster.local" => "v1",
        b"outbound|14001||httpbin-v2.httpbin.svc.cluster.local" => "v2",
        other => panic!("no cluster of the guide: {}", other.escape_ascii()),
    })
}

#[test]
fn canary_guide_routes_as_documented() -> Result<()> {
    let (guide, scratch) = (Guide::built()?, Scratch::new()?);
    let render = |v1, v2| guide.render("plugin-config", &[], &guide.traffic_split(&scratch, v1, v2)?);
    let module = Module::from_file(&guide.wasm).expect("a module");
    let mut simulator = Simulator::builder(&module)
        .node_metadata("NAMESPACE", "curl")
        .configuration(render(100, 0)?)
        .start()
        .expect("a start");

    for _ in 0..10 {
        assert_eq!(ask(&mut simulator, ROOT), Some("v1"));
    }
    for (v1, v2) in [(50, 50), (90, 10), (0, 100), (100, 0)] {
        simulator.reconfigure(render(v1, v2)?).expect("a good configuration");
        let of_v1 = (0..4000).filter(|_| ask(&mut simulator, ROOT) == Some("v1")).count() as u64;
        assert!(is_share(of_v1, 4000, f64::from(v1) / 100.0, 4.0), "{of_v1} of 4000 at {v1}/{v2}");
        assert_eq!(ask(&mut simulator, OTHER), None);
    }
    assert_eq!(simulator.root_contexts(), 1);
    Ok(())
}

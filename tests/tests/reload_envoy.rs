//! Reloads of a large configuration, in a real Envoy: what they leave behind.

use journeys::Result;
use journeys::client::Client;
use journeys::guide::{Guide, Sidecar};
use journeys::scratch::replace;
use serde_json::json;

const SPLITS: usize = 500;

/// The extension configuration of 500 splits of one share, all with the backends v1 and v2: in odd turns only v1 has
/// weight, in even ones only v2, and it's another weight each turn.
fn ecds(guide: &Guide, sidecar: &Sidecar, turn: usize) -> Result<String> {
    let (v1, v2) = if turn % 2 == 1 { (turn, 0) } else { (0, turn) };
    let splits = (0..SPLITS).map(|number| {
        json!({
            "apiVersion": "split.smi-spec.io/v1alpha2",
            "kind": "TrafficSplit",
            "metadata": {"name": format!("split-{number}"), "namespace": "httpbin"},
            "spec": {
                "service": format!("web-{number}"),
                "backends": [{"service": "httpbin-v1", "weight": v1}, {"service": "httpbin-v2", "weight": v2}],
            },
        })
    });
    let splits = json!({"apiVersion": "v1", "kind": "List", "items": splits.collect::<Vec<_>>()});
    let file = sidecar.scratch.join("splits.json");
    replace(&file, &splits.to_string())?;
    guide.ecds(&file)
}

/// Reloads, and after each asks 200 of the 500 hosts, each always over the same connection, hence the same worker.
fn reload(guide: &Guide, sidecar: &Sidecar, clients: &mut [Client; 8], turn: usize) -> Result<()> {
    sidecar.replace(&ecds(guide, sidecar, turn)?)?;
    let version = if turn % 2 == 1 { "httpbin-v1" } else { "httpbin-v2" };
    for split in (0..200).map(|number| (turn / 2 * 200 + number) % SPLITS) {
        let answer = clients[split % 8].get(format!("web-{split}.httpbin:14001"), "/json", &[])?;
        assert_eq!((answer.status, answer.version().as_str()), (200, version), "turn {turn}: {}", answer.text());
    }
    Ok(())
}

#[test]
fn three_hundred_reloads_of_500_splits_leave_memory_where_it_was() -> Result<()> {
    let guide = Guide::built()?;
    let sidecar = Sidecar::start(&guide, 100, 0)?;
    let mut clients = [(); 8].map(|()| Client::new(sidecar.port));
    // After these each host has been asked in odd and in even turns: every counter is there.
    for turn in 1..=20 {
        reload(&guide, &sidecar, &mut clients, turn)?;
    }
    let (allocated, resident) = (sidecar.envoy.memory_allocated()?, sidecar.envoy.memory_resident());
    for turn in 21..=320 {
        reload(&guide, &sidecar, &mut clients, turn)?;
    }
    assert_eq!(sidecar.extension_stat("update_success")?, 321, "each was another configuration");
    assert!(clients.iter().all(|client| client.connections() == 1), "no connection was closed");

    // Any reload of any extension costs Envoy itself 1 kB: 0.3 MB. Counters defined again would be 2 MB more.
    let grown = sidecar.envoy.memory_allocated()?.saturating_sub(allocated);
    assert!(grown < 1_000_000, "{grown} bytes more are allocated, after {allocated}");
    // The VMs' own memory is only in this. A configuration that stayed would be 100 kB each time and VM.
    if let (Some(before), Some(after)) = (resident, sidecar.envoy.memory_resident()) {
        assert!(after < before + 10_000_000, "{after} bytes are resident, after {before}");
    }
    println!("{grown} bytes more are allocated; resident: {:?}, after {resident:?}", sidecar.envoy.memory_resident());
    Ok(())
}

//! Memory and counters after many reloads of a large configuration in a real Envoy.

use e2e::Result;
use e2e::client::Client;
use e2e::guide::{Guide, Sidecar};
use e2e::scratch::replace;
use serde_json::json;
use std::io::Write;
use std::net::{TcpListener, TcpStream};

const SPLITS: usize = 500;

/// Returns the extension configuration of 500 splits with the backends v1 and v2. Only v1 has a weight in odd turns,
/// only v2 in even ones, and the weight differs in each turn.
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

/// Reloads, and sends a request to 200 of the 500 hosts after each reload. A host always uses the same connection,
/// and so the same worker.
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
fn three_hundred_reloads_of_500_splits_do_not_grow_memory() -> Result<()> {
    let guide = Guide::built()?;
    let sidecar = Sidecar::start_on_all_hosts(&guide, 100, 0)?;
    let mut clients = [(); 8].map(|()| Client::new(sidecar.port));
    // Each host has now had requests in odd and in even turns, so every counter exists.
    for turn in 1..=20 {
        reload(&guide, &sidecar, &mut clients, turn)?;
    }
    let (allocated, wasm) = (sidecar.envoy.memory_allocated()?, sidecar.envoy.wasm_memory_resident());
    for turn in 21..=320 {
        reload(&guide, &sidecar, &mut clients, turn)?;
    }
    assert_eq!(sidecar.extension_stat("update_success")?, 321, "each was another configuration");
    assert!(clients.iter().all(|client| client.connections() == 1), "no connection was closed");

    // Any reload of an extension costs Envoy itself 1 kB: 0.3 MB. Counters defined again would cost another 2 MB.
    let grown = sidecar.envoy.memory_allocated()?.saturating_sub(allocated);
    assert!(grown < 1_000_000, "{grown} bytes more are allocated, after {allocated}");
    // A leaked configuration would cost 100 kB for each reload and VM.
    let wasm_after = sidecar.envoy.wasm_memory_resident();
    println!("{grown} bytes more are allocated; linear memories: {wasm:?}, after {wasm_after:?}");
    assert!(wasm_after.unwrap_or_default() < wasm.unwrap_or_default() + 3_000_000);
    Ok(())
}

/// Returns `count` splits, a split `slow` whose only backend never answers, and a split `changes` with this weight.
fn many_splits(number: usize, weight: usize) -> String {
    let split = |root: &str, backend: &str, weight: usize| {
        json!({
            "apiVersion": "split.smi-spec.io/v1alpha2",
            "kind": "TrafficSplit",
            "metadata": {"name": root, "namespace": "httpbin"},
            "spec": {"service": root, "backends": [{"service": backend, "weight": weight}]},
        })
    };
    let service = |name: &str| {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": "httpbin"},
            "spec": {"ports": [{"name": "http", "port": 14001}]},
        })
    };
    let mut items: Vec<_> = (0..number).map(|number| split(&format!("web-{number}"), "httpbin-v1", 1)).collect();
    items.extend([split("changes", "httpbin-v2", weight), split("slow", "slow-v1", 1)]);
    items.extend(["changes", "slow", "slow-v1"].map(service));
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// A stream keeps the configuration of its start, as gRPC streams and WebSockets do for days. `TRAFFIC_SPLIT_CASES`
/// sets the number of configurations.
#[test]
fn stream_per_configuration_holds_the_memory_of_two() -> Result<()> {
    let configurations = std::env::var("TRAFFIC_SPLIT_CASES").map_or(Ok(150), |number| number.parse::<usize>());
    let configurations = configurations.map_err(|error| format!("TRAFFIC_SPLIT_CASES: {error}"))?;
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let address = silent.local_addr()?;
    let accepted = std::thread::spawn(move || -> Vec<_> { silent.incoming().take(configurations).collect() });
    let guide = Guide::built()?;
    // Only these Services get clusters; thousands of further stats would slow each stats request.
    let sidecar = Sidecar::start_with(&guide, &many_splits(0, 1), &[("slow-v1.httpbin", address)])?;
    let memory = || sidecar.envoy.wasm_memory_resident().unwrap_or_default();
    let empty = memory();
    assert!(empty > 0 || !cfg!(target_os = "linux"), "no linear memory was found");

    let file = sidecar.scratch.join("splits.json");
    replace(&file, &many_splits(1000, 424_242))?;
    let ecds = guide.ecds(&file)?;
    assert_eq!(ecds.matches("424242").count(), 1);
    let mut client = Client::new(sidecar.port);
    let mut change = |weight: usize| -> Result<()> {
        sidecar.replace(&ecds.replace("424242", &weight.to_string()))?;
        assert_eq!(client.get("changes.httpbin:14001", "/json", &[])?.version(), "httpbin-v2");
        Ok(())
    };
    change(1)?;
    let one = memory();
    println!("linear memories of all VMs: {empty} bytes before, {one} with 1,000 splits");
    let mut streams = Vec::new();
    for weight in 2..2 + configurations {
        let mut stream = TcpStream::connect(("127.0.0.1", sidecar.port))?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: slow.httpbin:14001\r\n\r\n")?;
        streams.push(stream);
        let begun = streams.len() as u64;
        let requests = "cluster.outbound|14001||slow-v1.httpbin.svc.cluster.local.upstream_rq_active";
        sidecar.envoy.wait_for_stat(requests, |active| active == begun)?;
        change(weight)?;
        if begun.is_power_of_two() || begun.is_multiple_of(100) {
            println!("after {begun} configurations: {} bytes", memory());
        }
    }
    assert_eq!(accepted.join().map_err(|_| "accept failed")?.len(), configurations);
    let after = memory();
    assert!(after <= empty + 2 * (one - empty), "{after} bytes");
    Ok(())
}

//! An Envoy that denies the filter one capability after another (`capability_restriction_config`): Envoy's host function
//! then returns a status, as it does where a proxy's operator restricts the filter.

use crate::safety::{Bare, weights};
use e2e::Result;
use e2e::bootstrap::Wasm;
use e2e::client::Client;
use e2e::guide::Guide;
use e2e::httpbin::{OTHER, ROOT};
use host_sim::Module;

/// Returns the version that serves requests of the root without a capability, or the log message with which the filter
/// refuses the configuration.
fn version_without(capability: &str) -> std::result::Result<&'static str, &'static str> {
    match capability {
        "proxy_get_buffer_bytes" => Err("could not read the configuration: the host returned status 10"),
        "random_get" => Err("random_get failed (OS Error: 76); allow this function"),
        // The authority cannot be read, or the cluster cannot be written.
        "proxy_get_header_map_value" | "proxy_replace_header_map_value" => Ok("httpbin"),
        _ => Ok("httpbin-v1"),
    }
}

#[test]
fn restricted_capability_fails_no_vm_and_no_request() -> Result<()> {
    let guide = Guide::built()?;
    let module = Module::from_file(&guide.wasm).map_err(|error| error.to_string())?;
    let imports: Vec<_> =
        module.imports().iter().filter_map(|name| Some(name.rsplit_once('.')?.1.to_owned())).collect();
    assert!(imports.len() > 10, "{imports:?}");
    for denied in &imports {
        let allowed = imports.iter().filter(|name| *name != denied).cloned().chain(module.exports());
        let wasm =
            Wasm { capabilities: Some(allowed.collect()), ..Wasm::new(&guide.wasm, &weights(100, 0).to_string()) };
        let started = Bare::start(wasm);
        let version = match version_without(denied) {
            Ok(version) => version,
            Err(message) => {
                let error = started.err().expect("Envoy refuses the configuration").to_string();
                assert!(error.contains(message), "{denied}: {error}");
                continue;
            }
        };
        let bare = started?;
        let mut client = Client::new(bare.port);
        for _ in 0..3 {
            for (host, version) in [(ROOT, version), (OTHER, "other")] {
                let answer = client.get(host, "/json", &[])?;
                assert_eq!((answer.status, answer.version().as_str()), (200, version), "{denied}: {host}");
                // A client's cluster has no effect; without the removal, Envoy refuses the request.
                let forged = client.get(host, "/json", &[("x-traffic-split-cluster", crate::safety::V2.as_bytes())])?;
                let expected = match (denied.as_str(), host) {
                    ("proxy_remove_header_map_value", OTHER) => (503, ""),
                    _ => (200, version),
                };
                assert_eq!((forged.status, forged.version().as_str()), expected, "{denied}: {host}");
            }
        }
        assert_eq!(bare.envoy.vm_failures()?, Vec::<String>::new(), "{denied}");
        assert_eq!((client.connections(), bare.httpbin.v2.requests()), (1, 0), "{denied}");
    }
    Ok(())
}

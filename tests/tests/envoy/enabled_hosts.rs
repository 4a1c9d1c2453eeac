//! The filter runs only for hosts of roots.

use e2e::bootstrap::TRAPPING;
use e2e::client::Client;
use e2e::guide::{Guide, Sidecar};
use e2e::httpbin::{OTHER, ROOT};
use e2e::{Error, Result};
use std::fs;

/// The filter that traps proves that Envoy does not run it for the other hosts.
#[test]
fn filter_that_traps_at_every_request_affects_no_host_without_a_split() -> Result<()> {
    let guide = Guide::built()?;
    let sidecar = Sidecar::start(&guide, 100, 0)?;
    let trapping = sidecar.scratch.join("trapping.wasm");
    let module = wat::parse_str(TRAPPING).map_err(|error| Error(error.to_string()))?;
    fs::write(&trapping, module).map_err(|error| Error(error.to_string()))?;
    let split = guide.traffic_split(&sidecar.scratch, 100, 0)?;
    sidecar.replace(&guide.render("ecds", &["--wasm".into(), trapping.into()], &split)?)?;

    // Each new connection may reach another worker.
    for _ in 0..20 {
        for (host, version) in [(OTHER, "other"), ("httpbin-v1.httpbin:14001", "httpbin-v1")] {
            let answer = Client::new(sidecar.port).get(host, "/json", &[])?;
            assert_eq!((answer.status, answer.version().as_str()), (200, version), "{host}");
        }
    }
    assert!(!sidecar.envoy.log().contains("unreachable"), "no request has reached the filter");
    assert_eq!(Client::new(sidecar.port).get(ROOT, "/json", &[])?.status, 503);
    sidecar.envoy.wait_for_log("unreachable")?;
    assert_eq!(Client::new(sidecar.port).get(OTHER, "/json", &[])?.version(), "other");
    Ok(())
}

#[test]
fn forged_headers_have_no_effect_where_the_filter_is_disabled() -> Result<()> {
    let sidecar = Sidecar::start(&Guide::built()?, 100, 0)?;
    let v2: &[u8] = b"outbound|14001||httpbin-v2.httpbin.svc.cluster.local";
    let forged: [(&str, &[u8]); 4] = [
        ("x-traffic-split-cluster", v2),
        ("x-traffic-split-mirror", v2),
        ("x-traffic-split-backend", b"forged"),
        ("x-traffic-split-set-cookie", b"forged=1"),
    ];
    for (host, version) in [(OTHER, "other"), ("httpbin-v1.httpbin:14001", "httpbin-v1")] {
        let answer = Client::new(sidecar.port).get(host, "/json", &forged)?;
        assert_eq!((answer.status, answer.version().as_str()), (200, version), "{host}");
        for (header, _) in forged {
            assert_eq!(answer.received(header), Vec::<String>::new(), "{host}: {header}");
        }
        assert_eq!((answer.header("set-cookie"), answer.header("x-served-by")), (None, None), "{host}");
    }
    assert_eq!(sidecar.httpbin.v2.requests(), 0, "neither called nor mirrored to");
    Ok(())
}

//! The table of cases, in a real Envoy: one for each suite.

use journeys::bootstrap::{Bootstrap, ROOT_CLUSTER, SERVED_BY, Wasm};
use journeys::cases::{Case, PORTS, SUITES, Suite};
use journeys::client::Client;
use journeys::envoy::Envoy;
use journeys::guide::Guide;
use journeys::pod::Pod;
use journeys::scratch::Scratch;
use journeys::{Error, Result};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

/// An address of this process and suite alone: the filter reads the port that was connected to, so the table's ports
/// are the ones to listen on, whatever else listens on them elsewhere.
fn address(suite: usize) -> Ipv4Addr {
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high, low, suite as u8 + 1)
}

/// The cluster that serves the case.
fn served_by(address: Ipv4Addr, case: &Case) -> Result<String> {
    let answer = Client::of((address, case.port).into()).get(case.authority, "/json", &[])?;
    // Envoy itself refuses an authority that isn't ASCII, before any filter: of the table, `httpbin.httpbin\xff` and
    // `\xffhttpbin.httpbin:14001`. All others, the empty one too, are answered by a cluster.
    if !case.authority.is_ascii() && case.cluster.is_none() && answer.status == 400 && answer.pod().is_empty() {
        return Ok(ROOT_CLUSTER.to_owned());
    }
    match answer.header(SERVED_BY) {
        Some(cluster) if answer.status == 200 => Ok(cluster),
        cluster => Err(format!("{} {} of {cluster:?}", answer.status, answer.text()).into()),
    }
}

/// What doesn't go where the table says.
fn mismatches(index: usize, suite: &Suite, pod: &Pod) -> Result<Vec<String>> {
    let (scratch, address) = (Scratch::new()?, address(index));
    let names: BTreeSet<&str> = suite.cases.iter().filter_map(|case| case.cluster).chain([ROOT_CLUSTER]).collect();
    let bootstrap = Bootstrap {
        namespace: suite.namespace,
        listeners: PORTS.map(|port| SocketAddr::from((address, port))).into(),
        clusters: names.into_iter().map(|name| (name.to_owned(), pod.address())).collect(),
        hosts: vec![],
        strips: true,
        wasm: Wasm::new(&Guide::built()?.wasm, suite.configuration),
    };
    let _envoy = Envoy::start(&bootstrap.text(), scratch.path())?;
    let wrong = suite.cases.iter().filter_map(|case| {
        let (expected, served) = (case.cluster.unwrap_or(ROOT_CLUSTER), served_by(address, case));
        (served.as_deref() != Ok(expected)).then(|| {
            let authority = case.authority.escape_ascii();
            format!("{}: {authority} on {}: {served:?}, not {expected}", suite.about, case.port)
        })
    });
    Ok(wrong.collect())
}

#[test]
fn every_case_goes_where_the_table_says() -> Result<()> {
    let pod = Pod::start("httpbin")?;
    let mut wrong = Vec::new();
    for (index, suite) in SUITES.iter().enumerate() {
        let found = mismatches(index, suite, &pod);
        wrong.extend(found.map_err(|error| Error(format!("{}: {error}", suite.about)))?);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

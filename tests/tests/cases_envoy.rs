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

/// What came of a case, in the table's words.
#[derive(Debug, PartialEq)]
struct Served {
    cluster: String,
    mirror: Option<String>,
    sets_cookie: bool,
}

impl Served {
    /// What the table expects.
    fn expected(case: &Case) -> Served {
        Served {
            cluster: case.cluster.unwrap_or(ROOT_CLUSTER).to_owned(),
            mirror: case.mirror.map(str::to_owned),
            sets_cookie: case.sets_cookie,
        }
    }

    /// What Envoy does.
    fn by_envoy(address: Ipv4Addr, case: &Case) -> Result<Served> {
        let path = str::from_utf8(case.path).map_err(|_| Error("a path that Envoy refuses by itself".into()))?;
        let mut client = Client::of((address, case.port).into());
        let answer = client.request(case.method, case.authority, path, case.headers)?;
        // Envoy itself refuses an authority that isn't ASCII, before any filter: of the table, `httpbin.httpbin\xff`
        // and `\xffhttpbin.httpbin:14001`. All others, the empty one too, are answered by a cluster.
        if !case.authority.is_ascii() && case.cluster.is_none() && answer.status == 400 && answer.pod().is_empty() {
            return Ok(Served::expected(case));
        }
        let cluster = match answer.header(SERVED_BY) {
            Some(cluster) if answer.status == 200 => cluster,
            cluster => return Err(format!("{} {} of {cluster:?}", answer.status, answer.text()).into()),
        };
        // The answer to a HEAD has no body that says what reached the pod.
        if case.method == "HEAD" {
            return Ok(Served { cluster, ..Served::expected(case) });
        }
        let mirror = answer.received("x-traffic-split-mirror").pop();
        Ok(Served { cluster, mirror, sets_cookie: !answer.received("x-traffic-split-set-cookie").is_empty() })
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
        let (expected, served) = (Served::expected(case), Served::by_envoy(address, case));
        (served.as_ref() != Ok(&expected))
            .then(|| format!("{}: {}: {served:?}, not {expected:?}", suite.about, case.describe()))
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

//! The table of cases in a real Envoy, one Envoy for each suite.

use e2e::bootstrap::{Bootstrap, ROOT_CLUSTER, SERVED_BY, Wasm};
use e2e::cases::{Case, PORTS, SUITES, Suite};
use e2e::client::Client;
use e2e::envoy::{Envoy, free_port};
use e2e::guide::Guide;
use e2e::pod::Pod;
use e2e::scratch::Scratch;
use e2e::{Error, Result};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Unused ports that replace those of the table: another program may use the guide's ports, and the filter reads the
/// port of the connection. They have the same number of digits, so the meaning of the table stays the same.
struct Ports([u16; PORTS.len()]);

impl Ports {
    fn free() -> Result<Ports> {
        let mut ports = [0; PORTS.len()];
        for port in &mut ports {
            *port = free_port()?;
        }
        Ok(Ports(ports))
    }

    /// Replaces the ports in a text of the table.
    fn text(&self, text: &str) -> String {
        PORTS
            .iter()
            .zip(self.0)
            .fold(text.to_owned(), |text, (old, new)| text.replace(&old.to_string(), &new.to_string()))
    }

    /// Replaces a port of the table.
    fn port(&self, port: u16) -> u16 {
        PORTS.iter().position(|old| *old == port).map_or(port, |place| self.0[place])
    }

    /// Replaces the port in an authority of the table.
    fn authority(&self, authority: &[u8]) -> Vec<u8> {
        str::from_utf8(authority).map_or_else(|_| authority.to_vec(), |text| self.text(text).into_bytes())
    }
}

/// The outcome of a case, in the terms of the table.
#[derive(Debug, PartialEq)]
struct Served {
    cluster: String,
    mirror: Option<String>,
    sets_cookie: bool,
}

impl Served {
    /// Returns the expected outcome.
    fn expected(case: &Case, ports: &Ports) -> Served {
        Served {
            cluster: ports.text(case.cluster.unwrap_or(ROOT_CLUSTER)),
            mirror: case.mirror.map(|mirror| ports.text(mirror)),
            sets_cookie: case.sets_cookie,
        }
    }

    /// Returns the outcome in Envoy.
    fn by_envoy(case: &Case, ports: &Ports) -> Result<Served> {
        let path = str::from_utf8(case.path).map_err(|_| Error("a path that Envoy refuses by itself".into()))?;
        let mut client = Client::new(ports.port(case.port));
        let answer = client.request(case.method, ports.authority(case.authority), path, case.headers)?;
        // Envoy itself rejects an authority that is not ASCII before any filter: `httpbin.httpbin\xff` and
        // `\xffhttpbin.httpbin:14001` in the table. A cluster serves all others, including the empty one.
        if !case.authority.is_ascii() && case.cluster.is_none() && answer.status == 400 && answer.pod().is_empty() {
            return Ok(Served::expected(case, ports));
        }
        let cluster = match answer.header(SERVED_BY) {
            Some(cluster) if answer.status == 200 => cluster,
            cluster => return Err(format!("{} {} of {cluster:?}", answer.status, answer.text()).into()),
        };
        // The response to HEAD has no body that describes the received request.
        if case.method == "HEAD" {
            return Ok(Served { cluster, ..Served::expected(case, ports) });
        }
        let mirror = answer.received("x-traffic-split-mirror").pop();
        Ok(Served { cluster, mirror, sets_cookie: !answer.received("x-traffic-split-set-cookie").is_empty() })
    }
}

/// Returns the cases with another outcome than in the table.
fn mismatches(suite: &Suite, pod: &Pod) -> Result<Vec<String>> {
    let (scratch, ports) = (Scratch::new()?, Ports::free()?);
    let names: BTreeSet<&str> = suite.cases.iter().filter_map(|case| case.cluster).chain([ROOT_CLUSTER]).collect();
    let bootstrap = Bootstrap {
        namespace: suite.namespace,
        listeners: ports.0.map(|port| SocketAddr::from(([127, 0, 0, 1], port))).into(),
        clusters: names.into_iter().map(|name| (ports.text(name), pod.address())).collect(),
        hosts: vec![],
        strips: true,
        wasm: Wasm::new(&Guide::built()?.wasm, &ports.text(suite.configuration)),
    };
    let _envoy = Envoy::start(&bootstrap.text(), scratch.path())?;
    let wrong = suite.cases.iter().filter_map(|case| {
        let (expected, served) = (Served::expected(case, &ports), Served::by_envoy(case, &ports));
        (served.as_ref() != Ok(&expected))
            .then(|| format!("{}: {}: {served:?}, not {expected:?}", suite.about, case.describe()))
    });
    Ok(wrong.collect())
}

#[test]
fn every_case_goes_where_the_table_says() -> Result<()> {
    let pod = Pod::start("httpbin")?;
    let mut wrong = Vec::new();
    for suite in SUITES {
        let found = mismatches(suite, &pod);
        wrong.extend(found.map_err(|error| Error(format!("{}: {error}", suite.about)))?);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

//! The table of cases, in a real Envoy: one for each suite.

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

/// Ports that are free, in place of the table's: the filter reads the one that was connected to, and somebody else may
/// listen on the guide's. As text they are as long, so that the table means the same by them.
struct Ports([u16; PORTS.len()]);

impl Ports {
    fn free() -> Result<Ports> {
        let mut ports = [0; PORTS.len()];
        for port in &mut ports {
            *port = free_port()?;
        }
        Ok(Ports(ports))
    }

    /// A text of the table's.
    fn text(&self, text: &str) -> String {
        PORTS
            .iter()
            .zip(self.0)
            .fold(text.to_owned(), |text, (old, new)| text.replace(&old.to_string(), &new.to_string()))
    }

    /// A port of the table's.
    fn port(&self, port: u16) -> u16 {
        PORTS.iter().position(|old| *old == port).map_or(port, |place| self.0[place])
    }

    /// An authority of the table's.
    fn authority(&self, authority: &[u8]) -> Vec<u8> {
        str::from_utf8(authority).map_or_else(|_| authority.to_vec(), |text| self.text(text).into_bytes())
    }
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
    fn expected(case: &Case, ports: &Ports) -> Served {
        Served {
            cluster: ports.text(case.cluster.unwrap_or(ROOT_CLUSTER)),
            mirror: case.mirror.map(|mirror| ports.text(mirror)),
            sets_cookie: case.sets_cookie,
        }
    }

    /// What Envoy does.
    fn by_envoy(case: &Case, ports: &Ports) -> Result<Served> {
        let path = str::from_utf8(case.path).map_err(|_| Error("a path that Envoy refuses by itself".into()))?;
        let mut client = Client::new(ports.port(case.port));
        let answer = client.request(case.method, ports.authority(case.authority), path, case.headers)?;
        // Envoy itself refuses an authority that isn't ASCII, before any filter: of the table, `httpbin.httpbin\xff`
        // and `\xffhttpbin.httpbin:14001`. All others, the empty one too, are answered by a cluster.
        if !case.authority.is_ascii() && case.cluster.is_none() && answer.status == 400 && answer.pod().is_empty() {
            return Ok(Served::expected(case, ports));
        }
        let cluster = match answer.header(SERVED_BY) {
            Some(cluster) if answer.status == 200 => cluster,
            cluster => return Err(format!("{} {} of {cluster:?}", answer.status, answer.text()).into()),
        };
        // The answer to a HEAD has no body that says what reached the pod.
        if case.method == "HEAD" {
            return Ok(Served { cluster, ..Served::expected(case, ports) });
        }
        let mirror = answer.received("x-traffic-split-mirror").pop();
        Ok(Served { cluster, mirror, sets_cookie: !answer.received("x-traffic-split-set-cookie").is_empty() })
    }
}

/// What doesn't go where the table says.
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

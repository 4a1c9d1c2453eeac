//! The route table and its builder: which virtual host and route a request selects.

use super::clusters::Clusters;
use super::request_headers::{first, without_port};
use super::selected_route::SelectedRoute;
use super::virtual_host::VirtualHost;
use crate::http::headers::Headers;
use std::collections::{BTreeMap, BTreeSet};

/// A route configuration: virtual hosts, each with an ordered list of routes.
///
/// ```
/// use host_sim::{Headers, HeaderMatch, Mirror, Route, RouteTable, VirtualHost};
///
/// let table = RouteTable::builder()
///     .ignore_port_in_host_matching()
///     .virtual_host(
///         VirtualHost::new("httpbin", ["httpbin.httpbin", "httpbin.httpbin.svc.cluster.local"])
///             .route(
///                 Route::to_cluster_header("x-cluster")
///                     .header(HeaderMatch::present("x-cluster"))
///                     .remove_request_header("x-cluster")
///                     .add_response_header("x-served-by", "%REQ(x-backend)%")
///                     .mirror(Mirror::to_cluster_header("x-mirror")),
///             )
///             .route(Route::to_cluster("root")),
///     )
///     .build()?;
///
/// let request = |more: &[(&str, &str)]| -> Headers {
///     let pairs = [&[(":authority", "httpbin.httpbin:14001"), (":path", "/json")], more].concat();
///     pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
/// };
/// let selected = table.select(&request(&[("x-cluster", "v2")]), 0).expect("a route");
/// assert_eq!(selected.cluster(), Some(&b"v2"[..]));
/// // Without the header, the next route matches.
/// assert_eq!(table.select(&request(&[]), 0).expect("a route").cluster(), Some(&b"root"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RouteTable {
    virtual_hosts: Vec<VirtualHost>,
    ignore_port: bool,
    clusters: Clusters,
    /// Indices of virtual hosts by lower-case domain.
    exact: BTreeMap<Vec<u8>, usize>,
    /// Wildcard domains without their `*`, longest first.
    suffixes: Vec<(Vec<u8>, usize)>,
    prefixes: Vec<(Vec<u8>, usize)>,
    any: Option<usize>,
}

/// Builds a [`RouteTable`].
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is checked before `build`"]
pub struct RouteTableBuilder {
    virtual_hosts: Vec<VirtualHost>,
    ignore_port: bool,
    clusters: Clusters,
}

/// A route configuration that Envoy rejects, with every problem found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid route configuration: {}", problems.join("; "))]
pub struct InvalidRoutes {
    /// The problems: `<where>: <what is wrong>`.
    pub problems: Vec<String>,
}

// === impl RouteTable ===

impl RouteTable {
    /// Returns a builder without virtual hosts.
    pub fn builder() -> RouteTableBuilder {
        RouteTableBuilder::default()
    }

    /// Returns the route that matches a request, or `None` if no route matches. Envoy then responds 404 with the
    /// response flag `NR`.
    ///
    /// The virtual host is the one whose domain matches `:authority`, case-insensitively: exact domains first, then
    /// `*suffix`, then `prefix*`, then `*`; the longest wildcard wins. If that virtual host has no matching route, no
    /// other virtual host is tried. A request without `:authority` matches only if `*` is the only domain.
    ///
    /// `random` is the stream's random number. Envoy uses it for weighted clusters and for mirror fractions alike: with
    /// weights 50 and 50 and a mirror fraction of 10 %, all copied requests go to the first cluster. Pass the same
    /// number to [`SelectedRoute::mirrors`].
    #[must_use]
    pub fn select(&self, headers: &Headers, random: u64) -> Option<SelectedRoute<'_>> {
        let virtual_host = self.virtual_hosts.get(self.virtual_host_index(headers)?)?;
        let route = virtual_host.routes().iter().find(|route| route.matches(headers))?;
        let cluster = route.cluster(headers, random);
        Some(SelectedRoute::new(&self.clusters, virtual_host.name(), route, cluster))
    }

    fn virtual_host_index(&self, headers: &Headers) -> Option<usize> {
        if self.exact.is_empty() && self.suffixes.is_empty() && self.prefixes.is_empty() {
            return self.any;
        }
        let authority = first(headers, ":authority")?;
        let host = if self.ignore_port { without_port(authority) } else { authority }.to_ascii_lowercase();
        // `*` matches at least one byte: `*.x` does not match `.x`.
        let wildcard = |domains: &[(Vec<u8>, usize)], matches: fn(&[u8], &[u8]) -> bool| {
            let found = domains.iter().find(|(domain, _)| domain.len() < host.len() && matches(&host, domain));
            found.map(|(_, index)| *index)
        };
        let exact = self.exact.get(&host).copied();
        exact
            .or_else(|| wildcard(&self.suffixes, |host, domain| host.ends_with(domain)))
            .or_else(|| wildcard(&self.prefixes, |host, domain| host.starts_with(domain)))
            .or(self.any)
    }
}

// === impl RouteTableBuilder ===

impl RouteTableBuilder {
    /// Adds a virtual host.
    pub fn virtual_host(mut self, virtual_host: VirtualHost) -> Self {
        self.virtual_hosts.push(virtual_host);
        self
    }

    /// Ignores the port of `:authority` when domains are compared (`ignore_port_in_host_matching`). The port is
    /// everything after the last colon, even if it is not a number, except within the brackets of an IPv6 address.
    pub fn ignore_port_in_host_matching(mut self) -> Self {
        self.ignore_port = true;
        self
    }

    /// Adds known clusters; may be called again. All other clusters are then unknown. By default, every non-empty name
    /// is a known cluster.
    pub fn clusters<N: AsRef<[u8]>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        let names = names.into_iter().map(|name| name.as_ref().to_vec());
        self.clusters.extend(names);
        self
    }

    /// Builds the table.
    ///
    /// # Errors
    /// [`InvalidRoutes`] for everything that Envoy rejects: a duplicate domain, a virtual host without a name or
    /// domains, an empty cluster name, weights whose sum is 0 or exceeds 2³² − 1, a direct response status outside 200
    /// to 599, an operation on `host` or on a pseudo-header, a malformed `%` command, a fraction whose denominator is
    /// not 100, 10,000 or 1,000,000. `%REQ(…)%` is the only supported command.
    pub fn build(self) -> Result<RouteTable, InvalidRoutes> {
        let RouteTableBuilder { virtual_hosts, ignore_port, clusters } = self;
        let mut table = RouteTable {
            virtual_hosts: Vec::new(),
            ignore_port,
            clusters,
            exact: BTreeMap::new(),
            suffixes: Vec::new(),
            prefixes: Vec::new(),
            any: None,
        };
        let mut problems = Vec::new();
        let mut domains = BTreeSet::new();
        for (index, virtual_host) in virtual_hosts.iter().enumerate() {
            let name = virtual_host.name();
            if name.is_empty() {
                problems.push(format!("virtual host {}: the name is empty", index + 1));
            }
            if virtual_host.domains().is_empty() {
                problems.push(format!("virtual host {name}: domains are missing"));
            }
            for domain in virtual_host.domains() {
                let domain = domain.to_ascii_lowercase();
                if !domains.insert(domain.clone()) {
                    problems.push(format!("virtual host {name}: the domain {domain} is duplicated"));
                } else if domain == "*" {
                    table.any = Some(index);
                } else if let Some(suffix) = domain.strip_prefix('*') {
                    table.suffixes.push((suffix.into(), index));
                } else if let Some(prefix) = domain.strip_suffix('*') {
                    table.prefixes.push((prefix.into(), index));
                } else {
                    table.exact.insert(domain.into(), index);
                }
            }
            for (number, route) in virtual_host.routes().iter().enumerate() {
                problems
                    .extend(route.problems().map(|why| format!("virtual host {name}, route {}: {why}", number + 1)));
            }
        }
        if !problems.is_empty() {
            return Err(InvalidRoutes { problems });
        }
        for wildcards in [&mut table.suffixes, &mut table.prefixes] {
            wildcards.sort_by_key(|(domain, _)| std::cmp::Reverse(domain.len()));
        }
        table.virtual_hosts = virtual_hosts;
        Ok(table)
    }
}

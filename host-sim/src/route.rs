//! Where Envoy sends a request: virtual hosts, routes, clusters, and what a route does to headers.
//!
//! No VM is needed for any of it. The rules are those of Envoy's `RouteMatcher`, `RouteEntryImplBase`, `HeaderParser`
//! and router filter. `safe_regex`, redirects, rewrites, retries and header operations of virtual hosts or single
//! weighted clusters are left out.

use crate::headers::Headers;
use std::collections::{BTreeMap, BTreeSet};

/// A route configuration: virtual hosts, each with its routes in order.
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
/// let picked = table.pick(&request(&[("x-cluster", "v2")]), 0).expect("a route");
/// assert_eq!(picked.cluster(), Some(&b"v2"[..]));
/// // Without the header the request falls through to the next route.
/// assert_eq!(table.pick(&request(&[]), 0).expect("a route").cluster(), Some(&b"root"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RouteTable {
    virtual_hosts: Vec<VirtualHost>,
    ignore_port: bool,
    /// The clusters there are; `None`: all.
    clusters: Option<BTreeSet<Vec<u8>>>,
    /// Indices of virtual hosts, by domain in lower case.
    exact: BTreeMap<Vec<u8>, usize>,
    /// Domains without their `*`, the longest first.
    suffixes: Vec<(Vec<u8>, usize)>,
    prefixes: Vec<(Vec<u8>, usize)>,
    any: Option<usize>,
}

/// A [`RouteTable`] that isn't built yet.
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is checked before `build`"]
pub struct RouteTableBuilder {
    virtual_hosts: Vec<VirtualHost>,
    ignore_port: bool,
    clusters: Option<BTreeSet<Vec<u8>>>,
}

/// Why Envoy wouldn't take a route configuration: each problem, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a route configuration: {}", problems.join("; "))]
pub struct InvalidRoutes {
    /// What is wrong, one sentence each.
    pub problems: Vec<String>,
}

/// The hosts that share a list of routes.
#[derive(Clone, Debug)]
#[must_use = "a virtual host belongs into a route table"]
pub struct VirtualHost {
    name: String,
    domains: Vec<String>,
    routes: Vec<Route>,
}

/// A route: which requests it takes, and what becomes of them. Without a path it takes all (prefix `/`).
#[derive(Clone, Debug)]
#[must_use = "a route belongs into a virtual host"]
pub struct Route {
    name: String,
    path: PathMatch,
    headers: Vec<HeaderMatch>,
    action: Action,
    not_found: u16,
    request: Operations,
    response: Operations,
    mirrors: Vec<Mirror>,
    problems: Vec<String>,
}

#[derive(Clone, Debug)]
enum PathMatch {
    Prefix(Vec<u8>),
    SeparatedPrefix(Vec<u8>),
    Exact(Vec<u8>),
}

#[derive(Clone, Debug)]
enum Action {
    Cluster(Vec<u8>),
    ClusterHeader(String),
    WeightedClusters(Vec<(Vec<u8>, u32)>),
    DirectResponse { status: u16, body: Vec<u8> },
}

/// What a header of the request must be like (`HeaderMatcher`).
///
/// If a header is there more than once, one fitting value is enough, and an inverted matcher wants that none fits. (So
/// Envoy has it since 1.39; before, it compared the values joined by commas.) A header that isn't there fits no matcher
/// of values, inverted or not.
#[derive(Clone, Debug)]
pub struct HeaderMatch {
    name: String,
    kind: HeaderMatchKind,
    invert: bool,
    missing_as_empty: bool,
}

#[derive(Clone, Debug)]
enum HeaderMatchKind {
    Present(bool),
    Exact(Vec<u8>),
    Prefix(Vec<u8>),
    Suffix(Vec<u8>),
    Contains(Vec<u8>),
}

/// What becomes of a header that a route adds, when there is one of that name (`HeaderAppendAction`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AppendAction {
    /// It is added behind. Envoy's default.
    #[default]
    AppendIfExistsOrAdd,
    /// It is added only if there is none.
    AddIfAbsent,
    /// It replaces all of that name.
    OverwriteIfExistsOrAdd,
    /// It replaces all of that name; if there is none, nothing is added.
    OverwriteIfExists,
}

/// Where copies of requests go (`RequestMirrorPolicy`): all of them, unless a fraction is given.
#[derive(Clone, Debug)]
#[must_use = "a mirror belongs to a route"]
pub struct Mirror {
    target: MirrorTarget,
    numerator: u32,
    denominator: u32,
    keep_host: bool,
}

#[derive(Clone, Debug)]
enum MirrorTarget {
    Cluster(Vec<u8>),
    ClusterHeader(String),
}

/// The route of a request. Its cluster is settled: headers that change later don't move the request, until a filter
/// clears the route cache and the table is asked again.
#[derive(Clone, Debug)]
pub struct Picked<'a> {
    table: &'a RouteTable,
    virtual_host: &'a VirtualHost,
    route: &'a Route,
    cluster: Option<Vec<u8>>,
}

/// An answer of Envoy's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteResponse {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    /// Envoy's response flag: `NC` no cluster, empty for a direct response. (No route is 404 with `NR`.)
    pub flag: &'static str,
}

/// A copy of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrored {
    /// The cluster that it goes to.
    pub cluster: Vec<u8>,
    /// Its headers.
    pub headers: Headers,
}

/// Headers that a route removes and adds.
#[derive(Clone, Debug, Default)]
struct Operations {
    remove: Vec<String>,
    add: Vec<Addition>,
}

#[derive(Clone, Debug)]
struct Addition {
    name: String,
    format: Vec<Piece>,
    action: AppendAction,
}

/// A part of a header's value as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// `%REQ(name?alternative):size%`
    Request {
        name: String,
        alternative: Option<String>,
        size: Option<usize>,
    },
}

// === impl RouteTable ===

impl RouteTable {
    /// An empty table to add virtual hosts to.
    pub fn builder() -> RouteTableBuilder {
        RouteTableBuilder::default()
    }

    /// The route of a request with these headers; `None` is Envoy's answer 404 with the flag `NR`.
    ///
    /// The virtual host is that of the longest domain which fits `:authority`, in any case: first exact domains, then
    /// `*suffix`, then `prefix*`, then `*`. If it has no route for the request, no other virtual host is asked. A
    /// request without `:authority` has none, unless `*` is the only domain there is.
    ///
    /// `random` is the stream's random number, from which weighted clusters and the fraction of mirrors follow. Envoy
    /// takes the same number for both: with weights of 50 and 50 and a mirror of 10 of 100, all copies are of requests
    /// that go to the first cluster. A caller passes it to [`Picked::mirrors`] too.
    #[must_use]
    pub fn pick(&self, headers: &Headers, random: u64) -> Option<Picked<'_>> {
        let virtual_host = self.virtual_hosts.get(self.host_of(headers)?)?;
        let route = virtual_host.routes.iter().find(|route| route.takes(headers))?;
        let cluster = match &route.action {
            Action::Cluster(name) => Some(name.clone()),
            // The client may have sent it twice; only the first counts. None is an empty name, which no cluster has.
            Action::ClusterHeader(header) => Some(first(headers, header).unwrap_or_default().to_vec()),
            Action::WeightedClusters(clusters) => Some(by_weight(clusters, random).to_vec()),
            Action::DirectResponse { .. } => None,
        };
        Some(Picked { table: self, virtual_host, route, cluster })
    }

    fn host_of(&self, headers: &Headers) -> Option<usize> {
        if self.exact.is_empty() && self.suffixes.is_empty() && self.prefixes.is_empty() {
            return self.any;
        }
        let authority = first(headers, ":authority")?;
        let host = if self.ignore_port { without_port(authority) } else { authority }.to_ascii_lowercase();
        // `*.x` isn't `.x`: the star stands for at least one byte.
        let wild = |domains: &[(Vec<u8>, usize)], fits: fn(&[u8], &[u8]) -> bool| {
            let found = domains.iter().find(|(domain, _)| domain.len() < host.len() && fits(&host, domain));
            found.map(|(_, index)| *index)
        };
        let exact = self.exact.get(&host).copied();
        exact
            .or_else(|| wild(&self.suffixes, |host, domain| host.ends_with(domain)))
            .or_else(|| wild(&self.prefixes, |host, domain| host.starts_with(domain)))
            .or(self.any)
    }

    fn has_cluster(&self, name: &[u8]) -> bool {
        !name.is_empty() && self.clusters.as_ref().is_none_or(|clusters| clusters.contains(name))
    }
}

// === impl RouteTableBuilder ===

impl RouteTableBuilder {
    /// Adds a virtual host.
    pub fn virtual_host(mut self, virtual_host: VirtualHost) -> Self {
        self.virtual_hosts.push(virtual_host);
        self
    }

    /// Compares domains with `:authority` without its port, as `ignore_port_in_host_matching` does: what stands behind
    /// the last colon, be it a number or not, but not within the brackets of an IPv6 address.
    pub fn ignore_port_in_host_matching(mut self) -> Self {
        self.ignore_port = true;
        self
    }

    /// Names clusters that there are; may be called again. All others are unknown then. Unless it is called, there is
    /// one of every name but the empty one.
    pub fn clusters<N: AsRef<[u8]>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        let names = names.into_iter().map(|name| name.as_ref().to_vec());
        self.clusters.get_or_insert_default().extend(names);
        self
    }

    /// The table.
    ///
    /// # Errors
    /// What Envoy refuses: a domain twice, a virtual host without a name or domains, an empty cluster, weights whose
    /// sum is 0 or more than 2³² − 1, a direct response that isn't 200 to 599, an operation on `host` or on a header
    /// that begins with a colon, an odd `%`, a fraction that isn't of 100, 10,000 or 1,000,000. Of the commands in
    /// headers, only `%REQ(…)%` is known here.
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
            let name = &virtual_host.name;
            if name.is_empty() {
                problems.push(format!("virtual host {} has no name", index + 1));
            }
            if virtual_host.domains.is_empty() {
                problems.push(format!("virtual host {name} has no domains"));
            }
            for domain in &virtual_host.domains {
                let domain = domain.to_ascii_lowercase();
                if !domains.insert(domain.clone()) {
                    problems.push(format!("virtual host {name}: the domain {domain} is there twice"));
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
            for (number, route) in virtual_host.routes.iter().enumerate() {
                let route_problems =
                    route.problems.iter().cloned().chain(route.action_problem()).chain(route.path_problem());
                problems.extend(route_problems.map(|why| format!("virtual host {name}, route {}: {why}", number + 1)));
            }
        }
        if !problems.is_empty() {
            return Err(InvalidRoutes { problems });
        }
        for wild in [&mut table.suffixes, &mut table.prefixes] {
            wild.sort_by_key(|(domain, _)| std::cmp::Reverse(domain.len()));
        }
        table.virtual_hosts = virtual_hosts;
        Ok(table)
    }
}

// === impl VirtualHost ===

impl VirtualHost {
    /// A virtual host of this name for these domains: `a.b` (which isn't `a.b:80`), `*.b` or `*-a.b`, `a.*`, or `*`.
    pub fn new<D: Into<String>>(name: impl Into<String>, domains: impl IntoIterator<Item = D>) -> Self {
        let domains = domains.into_iter().map(Into::into).collect();
        VirtualHost { name: name.into(), domains, routes: Vec::new() }
    }

    /// Adds a route behind the others; the first that takes a request has it.
    pub fn route(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

// === impl Route ===

impl Route {
    fn new(action: Action) -> Self {
        Route {
            name: String::new(),
            path: PathMatch::Prefix(b"/".into()),
            headers: Vec::new(),
            action,
            not_found: 503,
            request: Operations::default(),
            response: Operations::default(),
            mirrors: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// A route to one cluster.
    pub fn to_cluster(name: impl AsRef<[u8]>) -> Self {
        Route::new(Action::Cluster(name.as_ref().into()))
    }

    /// A route to the cluster that a request header names, by its first value. Without the header, or with an empty
    /// one, Envoy finds no cluster: 503 with `NC`.
    pub fn to_cluster_header(header: impl Into<String>) -> Self {
        Route::new(Action::ClusterHeader(header.into()))
    }

    /// A route to one of several clusters. The stream's random number modulo the sum of weights falls into the first
    /// cluster's weight, or the second's, and so on. One of weight 0 gets nothing.
    pub fn to_weighted_clusters<N: AsRef<[u8]>>(clusters: impl IntoIterator<Item = (N, u32)>) -> Self {
        let clusters = clusters.into_iter().map(|(name, weight)| (name.as_ref().to_vec(), weight));
        Route::new(Action::WeightedClusters(clusters.collect()))
    }

    /// A route that Envoy answers itself.
    pub fn to_direct_response(status: u16, body: impl AsRef<[u8]>) -> Self {
        Route::new(Action::DirectResponse { status, body: body.as_ref().into() })
    }

    /// Gives it a name.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Takes paths that begin so; the empty prefix takes all. Like all of path matching, without what follows `?` or
    /// `#`, and minding case.
    pub fn prefix(self, prefix: impl AsRef<[u8]>) -> Self {
        self.path_match(PathMatch::Prefix(prefix.as_ref().into()))
    }

    /// Takes this path, and all below it (`path_separated_prefix`): `/a` is for `/a` and `/a/b`, not for `/ab`.
    pub fn path_separated_prefix(self, prefix: impl AsRef<[u8]>) -> Self {
        self.path_match(PathMatch::SeparatedPrefix(prefix.as_ref().into()))
    }

    /// Takes this path only.
    pub fn path(self, path: impl AsRef<[u8]>) -> Self {
        self.path_match(PathMatch::Exact(path.as_ref().into()))
    }

    fn path_match(mut self, path: PathMatch) -> Self {
        self.path = path;
        self
    }

    /// Takes only requests with such a header; may be called again, and all must fit.
    pub fn header(mut self, header: HeaderMatch) -> Self {
        if header.name.is_empty() || is_broken(&header.name) {
            self.problems.push(format!("{:?} is no header's name to match", header.name));
        }
        self.headers.push(header);
        self
    }

    /// What is answered if there is no such cluster (`cluster_not_found_response_code`): 503 unless told, or 404 or
    /// 500.
    pub fn cluster_not_found_response_code(mut self, status: u16) -> Self {
        if ![404, 500, 503].contains(&status) {
            self.problems.push(format!("cluster_not_found_response_code is 404, 500 or 503, not {status}"));
        }
        self.not_found = status;
        self
    }

    /// Removes a request header on the way to the upstream, before any are added. Mirrors and `%REQ(…)%` in response
    /// headers don't see it either; the cluster is found before, and stays.
    pub fn remove_request_header(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.problems.extend(name_problem(&name));
        self.request.remove.push(name);
        self
    }

    /// Adds a request header. A value that comes out empty adds nothing.
    pub fn add_request_header(self, name: impl Into<String>, value: &str) -> Self {
        self.set_request_header(name, value, AppendAction::default())
    }

    /// Adds a request header, in this way.
    pub fn set_request_header(mut self, name: impl Into<String>, value: &str, action: AppendAction) -> Self {
        let addition = self.addition(name.into(), value, action);
        self.request.add.extend(addition);
        self
    }

    /// Removes a response header on the way to the client, before any are added.
    pub fn remove_response_header(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.problems.extend(name_problem(&name));
        self.response.remove.push(name);
        self
    }

    /// Adds a response header. `%REQ(name)%` is the first value of a request header as the upstream got it,
    /// `%REQ(name?other)%` that of another if the first isn't there, `%REQ(name):9%` no more than its first 9 bytes,
    /// `%%` a percent sign. A header that isn't there is empty, and a value that comes out empty adds nothing.
    pub fn add_response_header(self, name: impl Into<String>, value: &str) -> Self {
        self.set_response_header(name, value, AppendAction::default())
    }

    /// Adds a response header, in this way.
    pub fn set_response_header(mut self, name: impl Into<String>, value: &str, action: AppendAction) -> Self {
        let addition = self.addition(name.into(), value, action);
        self.response.add.extend(addition);
        self
    }

    fn addition(&mut self, name: String, value: &str, action: AppendAction) -> Option<Addition> {
        self.problems.extend(name_problem(&name));
        if is_broken(value) {
            self.problems.push(format!("header {name}: its value {value:?} has the end of a line in it"));
        }
        match parse(value) {
            Ok(format) => Some(Addition { name, format, action }),
            Err(why) => {
                self.problems.push(format!("header {name}: {why}"));
                None
            }
        }
    }

    /// Copies requests.
    pub fn mirror(mut self, mirror: Mirror) -> Self {
        if ![100, 10_000, 1_000_000].contains(&mirror.denominator) {
            self.problems.push(format!("a fraction is of 100, 10000 or 1000000, not {}", mirror.denominator));
        }
        self.mirrors.push(mirror);
        self
    }

    /// Its name, empty unless it was given one.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn action_problem(&self) -> Option<String> {
        match &self.action {
            Action::WeightedClusters(clusters) => {
                let sum: u64 = clusters.iter().map(|(_, weight)| u64::from(*weight)).sum();
                let fine = sum > 0 && sum <= u64::from(u32::MAX);
                (!fine).then(|| format!("the sum of weights is {sum}, not between 1 and {}", u32::MAX))
            }
            Action::Cluster(name) if name.is_empty() => Some("the cluster's name is empty".to_owned()),
            Action::ClusterHeader(header) if header.is_empty() => Some("the cluster header's name is empty".to_owned()),
            Action::DirectResponse { status, .. } if !(200..600).contains(status) => {
                Some(format!("a direct response is 200 to 599, not {status}"))
            }
            _ => None,
        }
    }

    fn path_problem(&self) -> Option<String> {
        let PathMatch::SeparatedPrefix(prefix) = &self.path else {
            return None;
        };
        let fine = prefix.len() > 1 && !prefix.ends_with(b"/") && !prefix.iter().any(|byte| b"?#".contains(byte));
        let why =
            || format!("the separated prefix {} should be a path without a slash at its end", prefix.escape_ascii());
        (!fine).then(why)
    }

    fn takes(&self, headers: &Headers) -> bool {
        // CONNECT may have none; then only a route for CONNECT would take it.
        let Some(path) = first(headers, ":path") else {
            return false;
        };
        let end = path.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(path.len());
        let path = &path[..end];
        let fits = match &self.path {
            PathMatch::Prefix(prefix) => path.starts_with(prefix),
            PathMatch::SeparatedPrefix(prefix) => {
                path.strip_prefix(&prefix[..]).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
            }
            PathMatch::Exact(exact) => path == exact,
        };
        fits && self.headers.iter().all(|header| header.fits(headers))
    }
}

// === impl HeaderMatch ===

impl HeaderMatch {
    fn new(name: impl Into<String>, kind: HeaderMatchKind) -> Self {
        HeaderMatch { name: name.into(), kind, invert: false, missing_as_empty: false }
    }

    /// The header is there, even if it is empty (`present_match: true`).
    #[must_use]
    pub fn present(name: impl Into<String>) -> Self {
        HeaderMatch::new(name, HeaderMatchKind::Present(true))
    }

    /// The header isn't there (`present_match: false`).
    #[must_use]
    pub fn absent(name: impl Into<String>) -> Self {
        HeaderMatch::new(name, HeaderMatchKind::Present(false))
    }

    /// The header has this value.
    #[must_use]
    pub fn exact(name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        HeaderMatch::new(name, HeaderMatchKind::Exact(value.as_ref().into()))
    }

    /// The header's value begins so.
    #[must_use]
    pub fn prefix(name: impl Into<String>, prefix: impl AsRef<[u8]>) -> Self {
        HeaderMatch::new(name, HeaderMatchKind::Prefix(prefix.as_ref().into()))
    }

    /// The header's value ends so.
    #[must_use]
    pub fn suffix(name: impl Into<String>, suffix: impl AsRef<[u8]>) -> Self {
        HeaderMatch::new(name, HeaderMatchKind::Suffix(suffix.as_ref().into()))
    }

    /// The header's value has this in it.
    #[must_use]
    pub fn contains(name: impl Into<String>, part: impl AsRef<[u8]>) -> Self {
        HeaderMatch::new(name, HeaderMatchKind::Contains(part.as_ref().into()))
    }

    /// The opposite (`invert_match`). A header that isn't there still fits no matcher of values, unless it is
    /// [taken as empty](Self::treat_missing_header_as_empty).
    #[must_use]
    pub fn invert(mut self) -> Self {
        self.invert = true;
        self
    }

    /// Takes a header that isn't there as an empty one.
    #[must_use]
    pub fn treat_missing_header_as_empty(mut self) -> Self {
        self.missing_as_empty = true;
        self
    }

    fn fits(&self, headers: &Headers) -> bool {
        let mut values = values(headers, &self.name);
        if values.is_empty() && self.missing_as_empty {
            values.push(b"");
        }
        let fits = |value: &[u8]| match &self.kind {
            HeaderMatchKind::Present(_) => true,
            HeaderMatchKind::Exact(exact) => value == exact,
            HeaderMatchKind::Prefix(prefix) => value.starts_with(prefix),
            HeaderMatchKind::Suffix(suffix) => value.ends_with(suffix),
            HeaderMatchKind::Contains(part) => {
                part.is_empty() || value.windows(part.len()).any(|window| window == part)
            }
        };
        match self.kind {
            HeaderMatchKind::Present(wanted) => (values.is_empty() != wanted) != self.invert,
            _ if values.is_empty() => false,
            _ => values.into_iter().any(fits) != self.invert,
        }
    }
}

// === impl Mirror ===

impl Mirror {
    fn new(target: MirrorTarget) -> Self {
        Mirror { target, numerator: 100, denominator: 100, keep_host: false }
    }

    /// Copies go to this cluster.
    pub fn to_cluster(name: impl AsRef<[u8]>) -> Self {
        Mirror::new(MirrorTarget::Cluster(name.as_ref().into()))
    }

    /// Copies go to the cluster that a request header names, by its first value; if it isn't there or empty, there is
    /// no copy.
    pub fn to_cluster_header(header: impl Into<String>) -> Self {
        Mirror::new(MirrorTarget::ClusterHeader(header.into()))
    }

    /// Copies only this part of requests (`runtime_fraction`): those whose random number modulo the denominator is
    /// less than the numerator. The denominator is 100, 10,000 or 1,000,000.
    pub fn fraction(mut self, numerator: u32, denominator: u32) -> Self {
        (self.numerator, self.denominator) = (numerator, denominator);
        self
    }

    /// Leaves the host as it is (`disable_shadow_host_suffix_append`).
    pub fn keep_host(mut self) -> Self {
        self.keep_host = true;
        self
    }
}

// === impl Picked ===

impl<'a> Picked<'a> {
    /// The virtual host's name.
    #[must_use]
    pub fn virtual_host(&self) -> &'a str {
        &self.virtual_host.name
    }

    /// The route.
    pub fn route(&self) -> &'a Route {
        self.route
    }

    /// The cluster that the request goes to; `None` if Envoy answers itself, as there is no such cluster or the route
    /// is a direct response.
    #[must_use]
    pub fn cluster(&self) -> Option<&[u8]> {
        self.cluster.as_deref().filter(|name| self.table.has_cluster(name))
    }

    /// What Envoy answers itself, if it does.
    #[must_use]
    pub fn local_response(&self) -> Option<RouteResponse> {
        match (&self.route.action, self.cluster()) {
            (Action::DirectResponse { status, body }, _) => {
                Some(RouteResponse { status: *status, body: body.clone(), flag: "" })
            }
            (_, None) => Some(RouteResponse { status: self.route.not_found, body: Vec::new(), flag: "NC" }),
            _ => None,
        }
    }

    /// Does to the request what the route says, as the router filter does once it has found the cluster: headers are
    /// removed; then all values to add are worked out, from what is left; then those that overwrite are written, then
    /// the others added. A request that Envoy answers itself isn't touched.
    pub fn finalize_request(&self, headers: &mut Headers) {
        if self.cluster().is_some() {
            self.route.request.remove(headers);
            let request = headers.clone();
            self.route.request.add(headers, &request);
        }
    }

    /// Does to a response what the route says, be it the upstream's or Envoy's own, as for an unknown cluster.
    /// `request` is the request as [`finalize_request`](Self::finalize_request) left it: what it removed is in no
    /// `%REQ(…)%`.
    pub fn finalize_response(&self, request: &Headers, response: &mut Headers) {
        self.route.response.remove(response);
        self.route.response.add(response, request);
    }

    /// The copies that are made of a request, in the order of the route's mirrors. `request` is the request as
    /// [`finalize_request`](Self::finalize_request) left it: a header that it removed names no cluster. A cluster that
    /// isn't known gets no copy, and nobody is told; a CONNECT is never copied, nor what Envoy answers itself.
    ///
    /// A copy's host has `-shadow` before its port. For `random` see [`RouteTable::pick`].
    #[must_use]
    pub fn mirrors(&self, request: &Headers, random: u64) -> Vec<Mirrored> {
        if self.cluster().is_none() || request.get(":method") == Some(b"CONNECT") {
            return Vec::new();
        }
        let chosen = self.route.mirrors.iter().filter(|mirror| {
            let denominator = u64::from(mirror.denominator).max(1);
            random % denominator < u64::from(mirror.numerator)
        });
        let copy = |mirror: &Mirror| {
            let cluster = match &mirror.target {
                MirrorTarget::Cluster(name) => name,
                MirrorTarget::ClusterHeader(header) => first(request, header)?,
            };
            let mut headers = request.clone();
            if let (Some(host), false) = (request.get(":authority"), mirror.keep_host) {
                headers.replace(b":authority", shadow(host));
            }
            self.table.has_cluster(cluster).then(|| Mirrored { cluster: cluster.to_vec(), headers })
        };
        chosen.filter_map(copy).collect()
    }
}

// === impl Operations ===

impl Operations {
    fn remove(&self, headers: &mut Headers) {
        self.remove.iter().for_each(|name| headers.remove(name.as_bytes()));
    }

    fn add(&self, headers: &mut Headers, request: &Headers) {
        let mut overwrites = Vec::new();
        let mut adds = Vec::new();
        for Addition { name, format, action } in &self.add {
            let value: Vec<u8> = format.iter().flat_map(|piece| piece.value(request).iter().copied()).collect();
            if value.is_empty() {
                continue;
            }
            let there = !values(headers, name).is_empty();
            match action {
                AppendAction::AppendIfExistsOrAdd => adds.push((name, value)),
                AppendAction::AddIfAbsent if !there => adds.push((name, value)),
                AppendAction::OverwriteIfExistsOrAdd => overwrites.push((name, value)),
                AppendAction::OverwriteIfExists if there => overwrites.push((name, value)),
                _ => {}
            }
        }
        overwrites.into_iter().for_each(|(name, value)| headers.replace(name.as_bytes(), value));
        adds.into_iter().for_each(|(name, value)| headers.add(name.as_bytes(), value));
    }
}

// === impl Piece ===

impl Piece {
    fn value<'v>(&'v self, request: &'v Headers) -> &'v [u8] {
        match self {
            Piece::Text(text) => text.as_bytes(),
            Piece::Request { name, alternative, size } => {
                let other = || alternative.as_ref().and_then(|name| first(request, name));
                let value = first(request, name).or_else(other).unwrap_or_default();
                &value[..size.unwrap_or(value.len()).min(value.len())]
            }
        }
    }
}

/// The parts of a header's value, as Envoy's substitution formatter reads them.
fn parse(value: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('%') {
        text += before;
        if let Some(after) = after.strip_prefix('%') {
            text.push('%');
            rest = after;
            continue;
        }
        let (piece, after) = command(after).ok_or_else(|| {
            format!("only %REQ(name)%, %REQ(name?other)%, %REQ(name):SIZE% and %% are known, not {value}")
        })?;
        if !text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
        }
        pieces.push(piece);
        rest = after;
    }
    text += rest;
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

/// What follows a `%`: a command, and what is behind it.
fn command(text: &str) -> Option<(Piece, &str)> {
    let (names, rest) = text.strip_prefix("REQ(")?.split_once(')')?;
    let (size, rest) = rest.split_once('%')?;
    let size = match size.strip_prefix(':') {
        Some(size) if size.bytes().all(|byte| byte.is_ascii_digit()) => Some(size.parse().ok()?),
        None if size.is_empty() => None,
        _ => return None,
    };
    let mut names = names.split('?');
    let (name, alternative) = (names.next()?, names.next());
    // Envoy takes no more than one alternative.
    if (name.is_empty() && alternative.is_none()) || names.next().is_some() {
        return None;
    }
    Some((Piece::Request { name: name.to_owned(), alternative: alternative.map(str::to_owned), size }, rest))
}

/// What Envoy has against an operation on this header.
fn name_problem(name: &str) -> Option<String> {
    match name {
        "" => Some("a header has no name".to_owned()),
        name if name.starts_with(':') || name.eq_ignore_ascii_case("host") => {
            Some(format!("{name} can't be added or removed by a route"))
        }
        name if is_broken(name) => Some(format!("the header's name {name:?} has the end of a line in it")),
        _ => None,
    }
}

/// What Envoy refuses in names and values of headers.
fn is_broken(text: &str) -> bool {
    text.contains(['\0', '\r', '\n'])
}

/// The values of a request header; `host` is `:authority`, as in Envoy.
fn values<'h>(headers: &'h Headers, name: &str) -> Vec<&'h [u8]> {
    headers.get_all(if name.eq_ignore_ascii_case("host") { ":authority" } else { name }).collect()
}

/// The first of [`values`].
fn first<'h>(headers: &'h Headers, name: &str) -> Option<&'h [u8]> {
    headers.get(if name.eq_ignore_ascii_case("host") { ":authority" } else { name })
}

/// Where the colon before a port is: the last one, unless it is within the brackets of an IPv6 address.
fn port_start(host: &[u8]) -> Option<usize> {
    let colon = host.iter().rposition(|byte| *byte == b':')?;
    (!host[colon..].contains(&b']')).then_some(colon)
}

fn without_port(host: &[u8]) -> &[u8] {
    &host[..port_start(host).unwrap_or(host.len())]
}

/// The host of a copy.
fn shadow(host: &[u8]) -> Vec<u8> {
    let (name, port) = host.split_at(port_start(host).unwrap_or(host.len()));
    [name, b"-shadow", port].concat()
}

/// The cluster whose part of the weights a number falls into. The sum isn't 0: that was refused.
fn by_weight(clusters: &[(Vec<u8>, u32)], random: u64) -> &[u8] {
    let sum: u64 = clusters.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let mut left = random % sum.max(1);
    for (name, weight) in clusters {
        match left.checked_sub(u64::from(*weight)) {
            Some(rest) => left = rest,
            None => return name,
        }
    }
    b""
}

#[cfg(test)]
mod tests {
    use super::{AppendAction, HeaderMatch, Mirror, Picked, Route, RouteTable, VirtualHost};
    use crate::headers::Headers;

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    fn headers(pairs: Pairs<'_>) -> Headers {
        pairs.iter().map(|(name, value)| (Vec::from(*name), Vec::from(*value))).collect()
    }

    /// A GET of this host and path with more headers.
    fn get(host: &str, path: &str, more: Pairs<'_>) -> Headers {
        headers(&[&[(":method", "GET"), (":authority", host), (":path", path)], more].concat())
    }

    /// A table of one virtual host for all, with these routes.
    fn table(routes: impl IntoIterator<Item = Route>) -> RouteTable {
        let any = routes.into_iter().fold(VirtualHost::new("any", ["*"]), VirtualHost::route);
        RouteTable::builder().virtual_host(any).build().expect("a table")
    }

    /// A table of virtual hosts of one domain each, which is their cluster too.
    fn hosts(domains: &[&str], ignore_port: bool) -> RouteTable {
        let mut builder = RouteTable::builder();
        if ignore_port {
            builder = builder.ignore_port_in_host_matching();
        }
        for domain in domains {
            builder = builder.virtual_host(VirtualHost::new(*domain, [*domain]).route(Route::to_cluster(domain)));
        }
        builder.build().expect("a table")
    }

    /// The cluster of a request, as text; empty if there is none.
    fn cluster(table: &RouteTable, request: &Headers) -> String {
        let picked = table.pick(request, 0);
        let cluster = picked.as_ref().and_then(Picked::cluster).unwrap_or_default();
        String::from_utf8_lossy(cluster).into_owned()
    }

    #[track_caller]
    fn refused(routes: impl IntoIterator<Item = Route>, why: &str) {
        let any = routes.into_iter().fold(VirtualHost::new("any", ["*"]), VirtualHost::route);
        let problems = RouteTable::builder().virtual_host(any).build().expect_err("an error").to_string();
        assert!(problems.contains(why), "{problems}");
    }

    // Virtual hosts.

    #[test]
    fn exact_domains_come_before_suffixes_before_prefixes_before_all() {
        let table =
            hosts(&["*", "shop.*", "*.com", "*.example.com", "*-eu.example.com", "shop.eu.*", "shop.com"], false);
        for (host, domain) in [
            ("shop.com", "shop.com"),
            ("SHOP.Com", "shop.com"),
            ("a.com", "*.com"),
            ("a.example.com", "*.example.com"),
            ("a-eu.example.com", "*-eu.example.com"),
            ("shop.example.com", "*.example.com"),
            ("shop.org", "shop.*"),
            ("shop.eu.org", "shop.eu.*"),
            // The star stands for something.
            (".com", "*"),
            ("shop.", "*"),
            ("elsewhere", "*"),
            ("", "*"),
        ] {
            assert_eq!(cluster(&table, &get(host, "/", &[])), domain, "{host}");
        }
    }

    #[test]
    fn a_port_belongs_to_the_host_unless_it_is_ignored() {
        let domains = ["shop", "shop:80", "[::1]"];
        let minding = hosts(&domains, false);
        let ignoring = hosts(&domains, true);
        for (host, minded, ignored) in [
            ("shop", "shop", "shop"),
            ("shop:80", "shop:80", "shop"),
            ("shop:81", "", "shop"),
            // What is behind the colon isn't looked at.
            ("shop:http", "", "shop"),
            ("shop:", "", "shop"),
            ("[::1]", "[::1]", "[::1]"),
            ("[::1]:80", "", "[::1]"),
        ] {
            let request = get(host, "/", &[]);
            assert_eq!(
                (&cluster(&minding, &request)[..], &cluster(&ignoring, &request)[..]),
                (minded, ignored),
                "{host}"
            );
        }
    }

    #[test]
    fn a_request_without_authority_has_a_virtual_host_only_if_all_have_the_same() {
        let request = headers(&[(":path", "/")]);
        assert_eq!(cluster(&hosts(&["*"], false), &request), "*");
        assert!(hosts(&["*", "shop"], false).pick(&request, 0).is_none());
    }

    #[test]
    fn no_other_virtual_host_is_asked_when_the_first_has_no_route() {
        let shop = VirtualHost::new("shop", ["shop"]).route(Route::to_cluster("cart").path("/cart"));
        let any = VirtualHost::new("any", ["*"]).route(Route::to_cluster("any"));
        let table = RouteTable::builder().virtual_host(shop).virtual_host(any).build().expect("a table");
        assert_eq!(cluster(&table, &get("shop", "/cart", &[])), "cart");
        assert!(table.pick(&get("shop", "/", &[]), 0).is_none());
        assert_eq!(table.pick(&get("bank", "/", &[]), 0).expect("a route").virtual_host(), "any");
    }

    // Matches.

    #[test]
    fn the_first_route_that_fits_is_taken() {
        let table = table([
            Route::to_cluster("a").prefix("/a").named("first"),
            Route::to_cluster("ab").prefix("/ab"),
            Route::to_cluster("rest"),
        ]);
        assert_eq!(table.pick(&get("h", "/abc", &[]), 0).expect("a route").route().name(), "first");
        assert_eq!(cluster(&table, &get("h", "/b", &[])), "rest");
    }

    #[test]
    fn paths_are_compared_without_query_and_fragment_minding_case() {
        let table = table([
            Route::to_cluster("exact").path("/exact"),
            Route::to_cluster("separated").path_separated_prefix("/separated"),
            Route::to_cluster("prefix").prefix("/prefix"),
        ]);
        for (path, found) in [
            ("/exact", "exact"),
            ("/exact?q=/prefix", "exact"),
            ("/exact#top", "exact"),
            ("/exact/", ""),
            ("/Exact", ""),
            ("/separated", "separated"),
            ("/separated?a", "separated"),
            ("/separated/a", "separated"),
            ("/separateda", ""),
            ("/prefixed", "prefix"),
            ("/?/prefix", ""),
        ] {
            assert_eq!(cluster(&table, &get("h", path, &[])), found, "{path}");
        }
    }

    #[test]
    fn a_prefix_that_no_path_begins_with_takes_none_and_the_empty_one_all() {
        assert_eq!(cluster(&table([Route::to_cluster("c").prefix("a")]), &get("h", "/a", &[])), "");
        assert_eq!(cluster(&table([Route::to_cluster("c").prefix("")]), &get("h", "/a", &[])), "c");
    }

    #[test]
    fn a_request_without_a_path_has_no_route() {
        assert!(table([Route::to_cluster("any")]).pick(&headers(&[(":authority", "h")]), 0).is_none());
    }

    #[test]
    fn a_header_fits_as_envoy_says() {
        let one = &[("x-a", "1")][..];
        let both = &[("x-a", "1"), ("x-a", "2")][..];
        let joined = &[("x-a", "1,2")][..];
        let empty = &[("x-a", "")][..];
        let none = &[][..];
        let exact = || HeaderMatch::exact("X-A", "1");
        for (header, fitting, others) in [
            (HeaderMatch::present("x-a"), vec![one, both, empty], vec![none]),
            (HeaderMatch::present("x-a").invert(), vec![none], vec![one, empty]),
            (HeaderMatch::present("x-a").treat_missing_header_as_empty(), vec![one, none], vec![]),
            (HeaderMatch::absent("x-a"), vec![none], vec![one, empty]),
            (HeaderMatch::absent("x-a").invert(), vec![one, empty], vec![none]),
            // Each value counts for itself.
            (exact(), vec![one, both], vec![joined, empty, none]),
            (exact().invert(), vec![joined, empty], vec![one, both, none]),
            (exact().invert().treat_missing_header_as_empty(), vec![joined, empty, none], vec![one, both]),
            (HeaderMatch::exact("x-a", ""), vec![empty], vec![one, none]),
            (HeaderMatch::exact("x-a", "").treat_missing_header_as_empty(), vec![empty, none], vec![one]),
            (HeaderMatch::exact("x-a", "1,2"), vec![joined], vec![both]),
            (HeaderMatch::prefix("x-a", "2"), vec![both], vec![one, joined, none]),
            (HeaderMatch::suffix("x-a", "1"), vec![one, both], vec![joined, none]),
            (HeaderMatch::contains("x-a", ",2"), vec![joined], vec![one, both, none]),
            (HeaderMatch::contains("x-a", ""), vec![one, empty], vec![none]),
            // `Host` is `:authority`.
            (HeaderMatch::exact("Host", "h"), vec![none], vec![]),
        ] {
            let table = table([Route::to_cluster("found").header(header.clone())]);
            let fits = |more| table.pick(&get("h", "/", more), 0).is_some();
            fitting.into_iter().for_each(|more| assert!(fits(more), "{header:?} {more:?}"));
            others.into_iter().for_each(|more| assert!(!fits(more), "{header:?} {more:?}"));
        }
    }

    #[test]
    fn all_headers_must_fit() {
        let table =
            table([Route::to_cluster("c").header(HeaderMatch::present("a")).header(HeaderMatch::exact("b", "1"))]);
        assert!(table.pick(&get("h", "/", &[("a", ""), ("b", "1")]), 0).is_some());
        assert!(table.pick(&get("h", "/", &[("a", ""), ("b", "2")]), 0).is_none());
        assert!(table.pick(&get("h", "/", &[("b", "1")]), 0).is_none());
    }

    // Clusters.

    #[test]
    fn a_cluster_comes_from_the_first_value_of_its_header() {
        let table = table([Route::to_cluster_header("x-cluster")]);
        assert_eq!(cluster(&table, &get("h", "/", &[("x-cluster", "v1"), ("x-cluster", "v2")])), "v1");
    }

    #[test]
    fn a_cluster_that_is_not_there_is_answered_503_nc() {
        let route = || Route::to_cluster_header("x-cluster").remove_request_header("x-cluster");
        let any = VirtualHost::new("any", ["*"])
            .route(Route::to_cluster("v3").path("/404").cluster_not_found_response_code(404))
            .route(route().add_response_header("x-was", "%REQ(x-cluster)%"));
        let builder = RouteTable::builder().virtual_host(any).clusters(["v1"]).clusters(["v2"]);
        let table = builder.build().expect("a table");
        for (more, was) in [(&[][..], ""), (&[("x-cluster", "")], ""), (&[("x-cluster", "v3")], "v3")] {
            let mut request = get("h", "/", more);
            let picked = table.pick(&request, 0).expect("a route");
            let response = picked.local_response().expect("an answer");
            assert_eq!((picked.cluster(), response.status, response.flag), (None, 503, "NC"));
            assert_eq!(response.body, b"");
            // Nothing has been removed yet, but the answer gets the route's headers.
            picked.finalize_request(&mut request);
            assert_eq!(request, get("h", "/", more));
            let mut response = Headers::default();
            picked.finalize_response(&request, &mut response);
            assert_eq!(response.get("x-was").unwrap_or_default(), was.as_bytes());
            assert_eq!(picked.mirrors(&request, 0), []);
        }
        for known in ["v1", "v2"] {
            let request = get("h", "/", &[("x-cluster", known)]);
            assert_eq!(cluster(&table, &request), known);
            assert_eq!(table.pick(&request, 0).and_then(|picked| picked.local_response()), None);
        }
        let response = table.pick(&get("h", "/404", &[]), 0).and_then(|picked| picked.local_response());
        assert_eq!(response.map(|response| response.status), Some(404));
    }

    #[test]
    fn weighted_clusters_share_the_random_numbers() {
        let table = table([Route::to_weighted_clusters([("a", 1), ("none", 0), ("b", 3)])]);
        let picked = |random| table.pick(&get("h", "/", &[]), random).expect("a route").cluster().map(<[u8]>::to_vec);
        let seen: Vec<_> = (0..8).map(|random| picked(random).unwrap_or_default()).collect();
        assert_eq!(seen.concat(), b"abbbabbb");
        // 2⁶⁴ − 1 leaves 3.
        assert_eq!(picked(u64::MAX), Some(b"b".to_vec()));
    }

    #[test]
    fn a_direct_response_is_no_cluster_and_gets_the_routes_headers() {
        let table = table([Route::to_direct_response(418, "tea")
            .remove_request_header("x-a")
            .add_response_header("x-was", "%REQ(x-a)%")]);
        let mut request = get("h", "/", &[("x-a", "1")]);
        let picked = table.pick(&request, 0).expect("a route");
        let response = picked.local_response().expect("an answer");
        assert_eq!((response.status, &response.body[..], response.flag), (418, &b"tea"[..], ""));
        picked.finalize_request(&mut request);
        let mut response = Headers::default();
        picked.finalize_response(&request, &mut response);
        assert_eq!(response, headers(&[("x-was", "1")]));
    }

    #[test]
    fn a_picked_cluster_stays_when_its_header_changes() {
        let table = table([Route::to_cluster_header("x-cluster")]);
        let mut request = get("h", "/", &[("x-cluster", "v1")]);
        let picked = table.pick(&request, 0).expect("a route");
        request.replace(b"x-cluster", "v2");
        assert_eq!(picked.cluster(), Some(&b"v1"[..]));
        assert_eq!(cluster(&table, &request), "v2");
    }

    // Headers.

    /// What becomes of a request that has these headers besides.
    fn finalized(route: Route, more: Pairs<'_>) -> Headers {
        let table = table([route]);
        let mut request = get("h", "/", more);
        table.pick(&request, 0).expect("a route").finalize_request(&mut request);
        request
    }

    #[test]
    fn headers_are_removed_then_values_worked_out_then_overwritten_then_added() {
        let route = Route::to_cluster("c")
            .add_request_header("x-gone", "%REQ(x-gone)%")
            .add_request_header("x-first", "%REQ(x-over)%")
            .set_request_header("x-over", "new", AppendAction::OverwriteIfExistsOrAdd)
            .add_request_header("x-last", "%REQ(x-over)%")
            .remove_request_header("X-Gone");
        let more = &[("x-over", "1"), ("x-gone", "g"), ("x-over", "2"), ("x-first", "0")];
        let expected = get("h", "/", &[("x-over", "new"), ("x-first", "0"), ("x-first", "1"), ("x-last", "1")]);
        assert_eq!(finalized(route, more), expected);
    }

    #[test]
    fn an_append_action_says_what_becomes_of_what_is_there() {
        for (action, there, absent) in [
            (AppendAction::AppendIfExistsOrAdd, &["1", "2", "new"][..], &["new"][..]),
            (AppendAction::AddIfAbsent, &["1", "2"], &["new"]),
            (AppendAction::OverwriteIfExistsOrAdd, &["new"], &["new"]),
            (AppendAction::OverwriteIfExists, &["new"], &[]),
        ] {
            for (more, expected) in [(&[("x-a", "1"), ("x-a", "2")][..], there), (&[], absent)] {
                let request = finalized(Route::to_cluster("c").set_request_header("x-a", "new", action), more);
                let values: Vec<_> = request.get_all("x-a").map(String::from_utf8_lossy).collect();
                assert_eq!(values, expected, "{action:?} {more:?}");
            }
        }
    }

    #[test]
    fn a_value_is_made_of_the_request() {
        let long = "0123456789";
        for (format, value) in [
            ("plain", "plain"),
            ("100%%", "100%"),
            ("%REQ(x-a)%", long),
            ("%REQ(X-A):3%", "012"),
            ("%REQ(x-a):0%", ""),
            ("%REQ(x-a):99%", long),
            ("%REQ(x-none?x-a):2%", "01"),
            ("%REQ(x-empty?x-a)%", ""),
            ("%REQ(x-none?x-empty)%", ""),
            ("%REQ(?x-a):1%", "0"),
            ("%REQ(x-none?)%", ""),
            ("%REQ(x-two)%", "1"),
            ("%REQ(:authority)%%REQ(host)%%REQ(:path)%", "hh/"),
            ("a%%-%REQ(x-none)%-%REQ(x-two)%b", "a%--1b"),
            ("%REQ(x-none)%", ""),
            ("", ""),
        ] {
            let more = [("x-a", long), ("x-empty", ""), ("x-two", "1"), ("x-two", "2")];
            let request = finalized(Route::to_cluster("c").add_request_header("x-new", format), &more);
            // An empty value adds nothing.
            assert_eq!(request.get("x-new"), Some(value.as_bytes()).filter(|value| !value.is_empty()), "{format}");
        }
    }

    #[test]
    fn an_empty_value_overwrites_nothing() {
        let route =
            Route::to_cluster("c").set_request_header("x-a", "%REQ(x-b)%", AppendAction::OverwriteIfExistsOrAdd);
        assert_eq!(finalized(route, &[("x-a", "1")]), get("h", "/", &[("x-a", "1")]));
    }

    #[test]
    fn response_headers_tell_of_the_request_as_the_upstream_got_it() {
        let table = table([Route::to_cluster_header("x-cluster")
            .remove_request_header("x-cluster")
            .add_request_header("x-added", "added")
            .remove_response_header("x-pod")
            .add_response_header("x-cluster", "%REQ(x-cluster)%")
            .add_response_header("x-added", "%REQ(x-added)%")
            .add_response_header("set-cookie", "%REQ(x-set-cookie)%")]);
        let mut request = get("h", "/", &[("x-cluster", "c"), ("x-set-cookie", "a=b")]);
        let picked = table.pick(&request, 0).expect("a route");
        picked.finalize_request(&mut request);
        let mut response = headers(&[(":status", "200"), ("x-pod", "1"), ("set-cookie", "c=d")]);
        picked.finalize_response(&request, &mut response);
        let expected = [(":status", "200"), ("set-cookie", "c=d"), ("x-added", "added"), ("set-cookie", "a=b")];
        assert_eq!(response, headers(&expected));
    }

    // Mirrors.

    /// The clusters and hosts of the copies of a request, with a known cluster `v2` and unknown others.
    fn copies(route: Route, request: Headers, random: u64) -> Vec<(String, String)> {
        let any = VirtualHost::new("any", ["*"]).route(route);
        let table = RouteTable::builder().virtual_host(any).clusters(["v1", "v2"]).build().expect("a table");
        let mut request = request;
        let picked = table.pick(&request, random).expect("a route");
        picked.finalize_request(&mut request);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let copies = picked.mirrors(&request, random);
        copies
            .iter()
            .map(|copy| (text(&copy.cluster), text(copy.headers.get(":authority").unwrap_or_default())))
            .collect()
    }

    #[test]
    fn a_copy_goes_to_the_cluster_its_header_names() {
        let route = || Route::to_cluster("v1").mirror(Mirror::to_cluster_header("x-mirror"));
        let request = |more| get("h", "/", more);
        assert_eq!(copies(route(), request(&[("x-mirror", "v2"), ("x-mirror", "v1")]), 0).len(), 1);
        for none in [&[][..], &[("x-mirror", "")], &[("x-mirror", "unknown")]] {
            assert_eq!(copies(route(), request(none), 0), [], "{none:?}");
        }
        // What the route removes, it mirrors no more.
        assert_eq!(copies(route().remove_request_header("x-mirror"), request(&[("x-mirror", "v2")]), 0), []);
    }

    #[test]
    fn a_copy_is_the_finalized_request_with_another_host() {
        let table = table([Route::to_cluster("v1")
            .remove_request_header("x-a")
            .add_request_header("x-b", "1")
            .mirror(Mirror::to_cluster("v2"))]);
        let mut request = get("h:80", "/", &[("x-a", "1")]);
        let picked = table.pick(&request, 0).expect("a route");
        picked.finalize_request(&mut request);
        assert_eq!(picked.mirrors(&request, 0)[0].headers, get("h-shadow:80", "/", &[("x-b", "1")]));
        for (host, shadow) in [("h", "h-shadow"), ("[::1]:80", "[::1]-shadow:80"), ("[::1]", "[::1]-shadow")] {
            let route = || Route::to_cluster("v1").mirror(Mirror::to_cluster("v2"));
            assert_eq!(copies(route(), get(host, "/", &[]), 0), [("v2".into(), shadow.into())]);
            let kept = Route::to_cluster("v1").mirror(Mirror::to_cluster("v2").keep_host());
            assert_eq!(copies(kept, get(host, "/", &[]), 0), [("v2".into(), host.into())]);
        }
    }

    #[test]
    fn a_fraction_and_a_weight_follow_from_the_same_number() {
        let route =
            || Route::to_weighted_clusters([("v1", 50), ("v2", 50)]).mirror(Mirror::to_cluster("v2").fraction(10, 100));
        let copied: Vec<_> =
            (0..200).filter(|random| !copies(route(), get("h", "/", &[]), *random).is_empty()).collect();
        assert_eq!(copied, [(0..10).collect::<Vec<_>>(), (100..110).collect()].concat());
    }

    #[test]
    fn each_mirror_copies_and_none_copies_a_connect() {
        let route =
            || Route::to_cluster("v1").mirror(Mirror::to_cluster("v2")).mirror(Mirror::to_cluster("v1").keep_host());
        let clusters: Vec<_> = copies(route(), get("h", "/", &[]), 0).into_iter().map(|(cluster, _)| cluster).collect();
        assert_eq!(clusters, ["v2", "v1"]);
        let connect = headers(&[(":method", "CONNECT"), (":authority", "h"), (":path", "/")]);
        assert_eq!(copies(route(), connect, 0), []);
    }

    // What Envoy refuses.

    #[test]
    fn a_table_that_envoy_would_refuse_is_an_error_that_says_where() {
        let c = || Route::to_cluster("c");
        for prefix in ["", "/", "a", "/a/", "/a?b", "/a#b"] {
            let why = format!("virtual host any, route 2: the separated prefix {prefix} should be a path without");
            refused([c(), c().path_separated_prefix(prefix)], &why);
        }
        refused([Route::to_cluster("")], "the cluster's name is empty");
        refused([Route::to_cluster_header("")], "the cluster header's name is empty");
        refused([Route::to_direct_response(199, "")], "not 199");
        refused([Route::to_direct_response(600, "")], "not 600");
        refused([Route::to_weighted_clusters([("a", 0)])], "the sum of weights is 0");
        refused([Route::to_weighted_clusters([("a", u32::MAX), ("b", 1)])], "the sum of weights is 4294967296");
        refused([c().remove_request_header("Host")], "Host can't be added or removed");
        refused([c().add_request_header(":path", "/")], ":path can't be added or removed");
        refused([c().remove_response_header(":status")], ":status can't be added or removed");
        refused([c().add_response_header("", "a")], "a header has no name");
        refused([c().add_request_header("x-a\n", "a")], "the header's name \"x-a\\n\" has the end of a line in it");
        refused([c().add_response_header("x-a", "a\r")], "header x-a: its value \"a\\r\" has the end of a line in it");
        refused([c().header(HeaderMatch::present(""))], "\"\" is no header's name to match");
        refused([c().cluster_not_found_response_code(502)], "not 502");
        refused([c().mirror(Mirror::to_cluster("m").fraction(1, 10))], "not 10");
        for format in
            ["50%", "%REQ(a", "%REQ()%", "%REQ(a?b?c)%", "%REQ%", "%REQ(a):x%", "%REQ(a):%", "%REQ(a)x%", "%PROTOCOL%"]
        {
            refused([c().add_response_header("x-a", format)], "header x-a: only %REQ(name)%, ");
        }
        let builder = || RouteTable::builder().virtual_host(VirtualHost::new("a", ["shop", "*"]));
        for (domains, why) in [
            (vec!["SHOP"], "virtual host b: the domain shop is there twice"),
            (vec!["*"], "virtual host b: the domain * is there twice"),
            (vec![], "virtual host b has no domains"),
        ] {
            let error = builder().virtual_host(VirtualHost::new("b", domains)).build().expect_err("an error");
            assert_eq!(error.problems, [why]);
        }
        let error = builder().virtual_host(VirtualHost::new("", ["b"])).build().expect_err("an error");
        assert_eq!(error.problems, ["virtual host 2 has no name"]);
    }
}

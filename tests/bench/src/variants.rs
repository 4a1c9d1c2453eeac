//! The ways of splitting that are compared.

use fixtures::{TrafficSplit, route_group};
use serde_json::{Value, json};
use std::path::PathBuf;

/// The namespace of the Services.
const NAMESPACE: &str = "httpbin";
/// The root of the split.
const ROOT: &str = "httpbin";
/// The backends of the split.
pub(crate) const BACKENDS: [&str; 2] = ["httpbin-v1", "httpbin-v2"];
/// The port of the Services.
pub(crate) const PORT: u16 = 14001;
/// The `Host` of requests that are split.
pub(crate) const SPLIT_HOST: &str = "httpbin.httpbin:14001";
/// The `Host` of requests that no split selects.
pub(crate) const OTHER_HOST: &str = "other.example.com";
/// Number of matches in the variant with matches.
const MATCHES: usize = 20;

/// The key of the variant whose cost is the cost without splitting.
pub(crate) const PLAIN: &str = "plain";
/// The key of Envoy's own weights.
pub(crate) const NATIVE: &str = "native";
/// The key of the Lua script.
pub(crate) const LUA: &str = "lua";
/// The key of the filter, disabled on the virtual host of the request.
pub(crate) const NO_SPLIT: &str = "no-split";
/// The key of the filter on a host with a split.
pub(crate) const SPLIT: &str = "split";

/// One way of splitting, and the request that is measured.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    /// The name in the results and of the listeners.
    pub(crate) key: String,
    /// The name in tables.
    pub(crate) label: String,
    /// What splits.
    pub(crate) splitter: Splitter,
    /// The request.
    pub(crate) request: Request,
    /// Where the request goes.
    pub(crate) destination: Destination,
    /// Whether the second backend receives a copy of each request.
    pub(crate) is_mirrored: bool,
}

/// What selects the backend.
#[derive(Clone, Debug)]
pub(crate) enum Splitter {
    /// Nothing; the route names the root's cluster.
    Nothing,
    /// The weights of Envoy's route.
    Native,
    /// A Lua script.
    Lua,
    /// The filter.
    Filter(Filter),
}

/// The filter of a variant.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    /// SMI objects.
    pub(crate) splits: Vec<Value>,
    /// HTTPRouteGroups.
    pub(crate) groups: Vec<Value>,
    /// Whether the filter also runs on virtual hosts without a split.
    pub(crate) is_everywhere: bool,
    /// The module, if it is not the one that is measured.
    pub(crate) module: Option<PathBuf>,
}

/// A `GET` request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// `Host`.
    pub(crate) host: &'static str,
    /// Further headers.
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// Where the requests of a variant go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// The route without a split.
    Root,
    /// Both backends, half of the requests each.
    Halves,
    /// One backend, the same for all requests.
    OneBackend,
}

/// Returns all variants, and for each of the modules to compare with, its split host.
pub(crate) fn variants(compared: &[PathBuf]) -> Vec<Variant> {
    let halves = || vec![split().backends(&[(BACKENDS[0], 50), (BACKENDS[1], 50)]).build()];
    let matches: Vec<Value> = (0..MATCHES)
        .map(|number| {
            json!({
                "name": format!("match-{number}"),
                "pathRegex": "/json",
                "headers": [{"x-group": group(number)}],
            })
        })
        .collect();
    let matched = split().backends(&[(BACKENDS[0], 50), (BACKENDS[1], 50)]).matches("groups").build();
    let sticky = |annotation, value| {
        let split = split().backends(&[(BACKENDS[0], 50), (BACKENDS[1], 50)]);
        filter(vec![split.annotation(annotation, value).build()])
    };
    let mirrored =
        split().backends(&[(BACKENDS[0], 100), (BACKENDS[1], 0)]).annotation("mirror", format!("{}=100", BACKENDS[1]));
    let mut variants = vec![
        plain(),
        Variant::new(NATIVE, "Envoy's weights", Splitter::Native),
        Variant::new(LUA, "Lua script", Splitter::Lua),
        Variant::new(NO_SPLIT, "filter, host without a split", filter(halves())).on_other_host(),
        Variant::new("no-split-enabled", "the same, filter enabled everywhere", filter(halves()))
            .on_other_host()
            .everywhere(),
        Variant::new(SPLIT, "filter, host with a split", filter(halves())),
        Variant::new("sticky-header", "with a sticky header", sticky("sticky-header", "x-user"))
            .with_header("x-user", "alice")
            .goes_to(Destination::OneBackend),
        Variant::new("sticky-cookie", "with a sticky cookie", sticky("sticky-cookie", "canary"))
            .with_header("cookie", "session=0123456789abcdef; canary=AAAAAAAAAAAAAAAAAAAAAA")
            .goes_to(Destination::OneBackend),
        Variant::new("matches", "with 20 matches, the last holds", filter_with_groups(vec![matched], matches))
            .with_header("x-group", &group(MATCHES - 1)),
        Variant::new("mirror", "with a mirror of all requests", filter(vec![mirrored.build()]))
            .goes_to(Destination::OneBackend)
            .mirrored(),
    ];
    for (number, module) in compared.iter().enumerate() {
        let label = format!("split host, {}", module.display());
        let mut other = Variant::new(&format!("compared-{number}"), &label, filter(halves()));
        if let Splitter::Filter(filter) = &mut other.splitter {
            filter.module = Some(module.clone());
        }
        variants.push(other);
    }
    variants
}

/// Returns a variant whose filter has this many splits, each with this many backends. The request's split is one of
/// them.
pub(crate) fn grown(splits: usize, backends: usize) -> Variant {
    let label = format!("{splits} splits, {backends} backends each");
    Variant::new(&format!("splits-{splits}-{backends}"), &label, filter(many_splits(splits, backends, 0)))
}

/// Returns the plain route.
pub(crate) fn plain() -> Variant {
    Variant::new(PLAIN, "no splitting", Splitter::Nothing).goes_to(Destination::Root)
}

/// Returns splits in a hundred namespaces, with the root's split in the middle, whose weights depend on `revision`.
pub(crate) fn many_splits(splits: usize, backends: usize, revision: usize) -> Vec<Value> {
    let with_backends = |split: TrafficSplit, revision| {
        (0..backends)
            .fold(split, |split, number| split.backend(&format!("v{number}"), 1 + (number + revision) % 50))
            .build()
    };
    let other = |number: usize| {
        let name = format!("service-{number}");
        with_backends(TrafficSplit::new(&name, &name).namespace(&format!("team-{}", number % 100)), 0)
    };
    let others =
        (0..splits).map(|number| if number == splits / 2 { with_backends(split(), revision) } else { other(number) });
    others.collect()
}

/// Returns the plugin configuration of these objects. The Services have the ports that a bootstrap needs.
pub(crate) fn plugin_configuration(splits: &[Value], groups: &[Value]) -> Value {
    let services =
        [ROOT, BACKENDS[0], BACKENDS[1]].map(|name| (format!("{NAMESPACE}/{name}"), json!({"ports": [PORT]})));
    json!({
        "trafficSplits": splits,
        "httpRouteGroups": groups,
        "services": serde_json::Map::from_iter(services),
    })
}

/// Starts a split of the root.
pub(crate) fn split() -> TrafficSplit {
    TrafficSplit::new("http-split", ROOT).namespace(NAMESPACE)
}

fn filter(splits: Vec<Value>) -> Splitter {
    filter_with_groups(splits, Vec::new())
}

fn filter_with_groups(splits: Vec<Value>, matches: Vec<Value>) -> Splitter {
    let groups = if matches.is_empty() { Vec::new() } else { vec![route_group(NAMESPACE, "groups", matches)] };
    Splitter::Filter(Filter { splits, groups, is_everywhere: false, module: None })
}

fn group(number: usize) -> String {
    format!("tester-{number}")
}

// === impl Variant ===

impl Variant {
    fn new(key: &str, label: &str, splitter: Splitter) -> Variant {
        Variant {
            key: key.to_owned(),
            label: label.to_owned(),
            splitter,
            request: Request { host: SPLIT_HOST, headers: Vec::new() },
            destination: Destination::Halves,
            is_mirrored: false,
        }
    }

    /// Reports whether the variant measures a module to compare with.
    pub(crate) fn is_compared(&self) -> bool {
        matches!(&self.splitter, Splitter::Filter(filter) if filter.module.is_some())
    }

    fn goes_to(mut self, destination: Destination) -> Variant {
        self.destination = destination;
        self
    }

    fn on_other_host(mut self) -> Variant {
        self.request.host = OTHER_HOST;
        self.goes_to(Destination::Root)
    }

    fn everywhere(mut self) -> Variant {
        if let Splitter::Filter(filter) = &mut self.splitter {
            filter.is_everywhere = true;
        }
        self
    }

    fn with_header(mut self, name: &'static str, value: &str) -> Variant {
        self.request.headers.push((name, value.to_owned()));
        self
    }

    fn mirrored(mut self) -> Variant {
        self.is_mirrored = true;
        self
    }
}

// === impl Request ===

impl Request {
    /// Returns the bytes of the request in HTTP/1.1.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("GET /json HTTP/1.1\r\nhost: {}\r\nuser-agent: curl/8.0\r\naccept: */*\r\n", self.host);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

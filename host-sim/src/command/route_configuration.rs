//! Parses Envoy's `RouteConfiguration` (YAML or JSON) into a [`RouteTable`].
//!
//! A field that the table does not support is an error, because its effect in Envoy would be missing here.

use host_sim::{AppendAction, HeaderMatch, Mirror, Route, RouteTable, VirtualHost};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// Parses a route configuration.
///
/// # Errors
/// The problem: a syntax error, an unsupported field, or what Envoy rejects.
pub(crate) fn read(text: &[u8]) -> Result<RouteTable, String> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    let configuration: RouteConfiguration =
        serde_saphyr::from_slice_with_options(text, options).map_err(|why| why.to_string())?;
    let mut table = RouteTable::builder();
    if configuration.ignore_port_in_host_matching {
        table = table.ignore_port_in_host_matching();
    }
    for host in configuration.virtual_hosts {
        let mut virtual_host = VirtualHost::new(&host.name, host.domains);
        for (place, entry) in (1..).zip(host.routes) {
            let route = entry.route().map_err(|why| format!("virtual host {}, route {place}: {why}", host.name))?;
            virtual_host = virtual_host.route(route);
        }
        table = table.virtual_host(virtual_host);
    }
    table.build().map_err(|why| why.to_string())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteConfiguration {
    #[serde(rename = "name")]
    _name: Option<IgnoredAny>,
    #[serde(default)]
    virtual_hosts: Vec<Host>,
    #[serde(default)]
    ignore_port_in_host_matching: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Host {
    name: String,
    domains: Vec<String>,
    #[serde(default)]
    routes: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default)]
    name: String,
    r#match: Match,
    route: Option<Action>,
    direct_response: Option<DirectResponse>,
    #[serde(default)]
    request_headers_to_remove: Vec<String>,
    #[serde(default)]
    request_headers_to_add: Vec<HeaderValueOption>,
    #[serde(default)]
    response_headers_to_remove: Vec<String>,
    #[serde(default)]
    response_headers_to_add: Vec<HeaderValueOption>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Match {
    prefix: Option<String>,
    path: Option<String>,
    path_separated_prefix: Option<String>,
    #[serde(default)]
    headers: Vec<HeaderMatcher>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderMatcher {
    name: String,
    present_match: Option<bool>,
    string_match: Option<StringMatcher>,
    #[serde(default)]
    invert_match: bool,
    #[serde(default)]
    treat_missing_header_as_empty: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum StringMatcher {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Action {
    cluster: Option<String>,
    cluster_header: Option<String>,
    weighted_clusters: Option<WeightedClusters>,
    cluster_not_found_response_code: Option<ResponseCode>,
    #[serde(default)]
    request_mirror_policies: Vec<MirrorPolicy>,
    /// Accepted without an effect: the simulated upstream responds at once.
    #[serde(rename = "timeout")]
    _timeout: Option<IgnoredAny>,
    #[serde(rename = "max_stream_duration")]
    _max_stream_duration: Option<IgnoredAny>,
    #[serde(rename = "max_grpc_timeout")]
    _max_grpc_timeout: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WeightedClusters {
    clusters: Vec<WeightedCluster>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WeightedCluster {
    name: String,
    weight: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ResponseCode {
    ServiceUnavailable,
    NotFound,
    InternalServerError,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MirrorPolicy {
    cluster: Option<String>,
    cluster_header: Option<String>,
    runtime_fraction: Option<RuntimeFraction>,
    #[serde(default)]
    disable_shadow_host_suffix_append: bool,
    #[serde(default)]
    request_headers_mutations: Vec<HeaderMutation>,
    /// Accepted without an effect: the simulator has no tracing.
    #[serde(rename = "trace_sampled")]
    _trace_sampled: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum HeaderMutation {
    Remove(String),
    Append(HeaderValueOption),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuntimeFraction {
    default_value: Fraction,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fraction {
    #[serde(default)]
    numerator: u32,
    #[serde(default)]
    denominator: Denominator,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Denominator {
    #[default]
    Hundred,
    TenThousand,
    Million,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderValueOption {
    header: HeaderValue,
    #[serde(default, with = "HeaderAppendAction")]
    append_action: AppendAction,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderValue {
    key: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
#[serde(remote = "AppendAction", rename_all = "SCREAMING_SNAKE_CASE")]
enum HeaderAppendAction {
    AppendIfExistsOrAdd,
    AddIfAbsent,
    OverwriteIfExistsOrAdd,
    OverwriteIfExists,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DirectResponse {
    status: u16,
    body: Option<DataSource>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DataSource {
    inline_string: String,
}

// === impl Entry ===

impl Entry {
    fn route(self) -> Result<Route, String> {
        let mut route = match (self.route, self.direct_response) {
            (Some(action), None) => action.route()?,
            (None, Some(DirectResponse { status, body })) => {
                Route::to_direct_response(status, body.map(|body| body.inline_string).unwrap_or_default())
            }
            _ => return Err("set exactly one of route and direct_response".to_owned()),
        };
        route = match (self.r#match.prefix, self.r#match.path, self.r#match.path_separated_prefix) {
            (Some(prefix), None, None) => route.prefix(prefix),
            (None, Some(path), None) => route.path(path),
            (None, None, Some(prefix)) => route.path_separated_prefix(prefix),
            _ => return Err("match: set exactly one of prefix, path and path_separated_prefix".to_owned()),
        };
        for header in self.r#match.headers {
            route = route.header(header.header_match()?);
        }
        for name in self.request_headers_to_remove {
            route = route.remove_request_header(name);
        }
        for HeaderValueOption { header, append_action } in self.request_headers_to_add {
            route = route.set_request_header(header.key, &header.value, append_action);
        }
        for name in self.response_headers_to_remove {
            route = route.remove_response_header(name);
        }
        for HeaderValueOption { header, append_action } in self.response_headers_to_add {
            route = route.set_response_header(header.key, &header.value, append_action);
        }
        Ok(route.named(self.name))
    }
}

// === impl HeaderMatcher ===

impl HeaderMatcher {
    fn header_match(self) -> Result<HeaderMatch, String> {
        let name = self.name;
        let mut header = match (self.present_match, self.string_match) {
            (Some(false), None) => HeaderMatch::absent(name),
            // Envoy's default.
            (_, None) => HeaderMatch::present(name),
            (None, Some(StringMatcher::Exact(value))) => HeaderMatch::exact(name, value),
            (None, Some(StringMatcher::Prefix(value))) => HeaderMatch::prefix(name, value),
            (None, Some(StringMatcher::Suffix(value))) => HeaderMatch::suffix(name, value),
            (None, Some(StringMatcher::Contains(value))) => HeaderMatch::contains(name, value),
            (Some(_), Some(_)) => {
                return Err(format!("match: header {name}: set only one of present_match and string_match"));
            }
        };
        if self.invert_match {
            header = header.invert();
        }
        if self.treat_missing_header_as_empty {
            header = header.treat_missing_header_as_empty();
        }
        Ok(header)
    }
}

// === impl Action ===

impl Action {
    fn route(self) -> Result<Route, String> {
        let mut route = match (self.cluster, self.cluster_header, self.weighted_clusters) {
            (Some(cluster), None, None) => Route::to_cluster(cluster),
            (None, Some(header), None) => Route::to_cluster_header(header),
            (None, None, Some(WeightedClusters { clusters })) => {
                Route::to_weighted_clusters(clusters.into_iter().map(|cluster| (cluster.name, cluster.weight)))
            }
            _ => return Err("route: set exactly one of cluster, cluster_header and weighted_clusters".to_owned()),
        };
        if let Some(code) = self.cluster_not_found_response_code {
            route = route.cluster_not_found_response_code(match code {
                ResponseCode::ServiceUnavailable => 503,
                ResponseCode::NotFound => 404,
                ResponseCode::InternalServerError => 500,
            });
        }
        for policy in self.request_mirror_policies {
            route = route.mirror(policy.mirror()?);
        }
        Ok(route)
    }
}

// === impl MirrorPolicy ===

impl MirrorPolicy {
    fn mirror(self) -> Result<Mirror, String> {
        let mut mirror = match (self.cluster, self.cluster_header) {
            (Some(cluster), None) => Mirror::to_cluster(cluster),
            (None, Some(header)) => Mirror::to_cluster_header(header),
            _ => return Err("request_mirror_policies: set exactly one of cluster and cluster_header".to_owned()),
        };
        if let Some(RuntimeFraction { default_value: Fraction { numerator, denominator } }) = self.runtime_fraction {
            mirror = mirror.fraction(
                numerator,
                match denominator {
                    Denominator::Hundred => 100,
                    Denominator::TenThousand => 10_000,
                    Denominator::Million => 1_000_000,
                },
            );
        }
        for mutation in self.request_headers_mutations {
            mirror = match mutation {
                HeaderMutation::Remove(name) => mirror.remove_header(name),
                HeaderMutation::Append(HeaderValueOption { header, append_action }) => {
                    mirror.set_header(header.key, &header.value, append_action)
                }
            };
        }
        Ok(if self.disable_shadow_host_suffix_append { mirror.keep_host() } else { mirror })
    }
}

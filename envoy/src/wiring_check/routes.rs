//! Checks the route of split requests in the virtual hosts that need one.

use super::connection_manager::{ConnectionManager, Routes, is_filter_name};
use super::enabled::{enabled_by, is_refused};
use super::findings::{Findings, PARTS, SILENCE};
use super::values::{list, name, text};
use super::virtual_hosts::{self, Table};
use crate::safe_text::one_line;
use crate::wiring::FILTER;
use serde_json::Value;
use traffic_split::Configuration;

/// Reports mistakes of the routes of a connection manager. `all` contains the route configurations of all checked connection managers.
/// `is_known` tells whether the configuration is that of the filter, and not a default for an unknown one.
pub(super) fn check(
    manager: &ConnectionManager<'_>,
    configuration: &Configuration,
    is_known: bool,
    all: &[Table<'_>],
    findings: &mut Findings,
) {
    let Some((place, table)) = manager.route_configuration() else {
        return check_source(manager, findings);
    };
    let check = RouteCheck { configuration, table, filter: manager.filter().map(|(_, filter)| filter) };
    if !is_known && list(table, "virtual_hosts").all(|host| !check.is_enabled(host)) {
        let message = format!(
            "no virtual host enables the filter, so {SILENCE}; enable the filter in each virtual host that serves a root, as in {PARTS} b"
        );
        findings.error(&place, "virtual_hosts", message);
    }
    for (host, need) in check.needed_hosts(all) {
        let Some(host) = host else {
            let message = format!(
                "no virtual host has the route of split requests, so {SILENCE}; insert the route of {PARTS} c as the first route of \
                 each virtual host that serves a root"
            );
            findings.error(&place, "virtual_hosts", message);
            continue;
        };
        let place = format!("{place}, virtual host {}", one_line(name(host)));
        check.check_host(host, need, &place, findings);
    }
}

fn check_source(manager: &ConnectionManager<'_>, findings: &mut Findings) {
    let place = &manager.place;
    match manager.routes {
        Routes::Rds { name, .. } => {
            let message = format!(
                "the route configuration `{}` is unknown, so its routes are not checked; pass a config dump of a running Envoy",
                one_line(name)
            );
            findings.warning(place, "rds", message);
        }
        Routes::Scoped => {
            findings.warning(
                place,
                "scoped_routes",
                "scoped routes are not checked; compare them with docs/bare-envoy.md",
            );
        }
        Routes::None => {
            findings.error(
                place,
                "route_config",
                format!("there are no routes; add a `route_config` with the route of {PARTS} c"),
            );
        }
        Routes::Inline(_) => {}
    }
}

/// Why a virtual host needs the route of split requests.
#[derive(Clone, Copy, PartialEq)]
enum Need {
    /// It serves the root of a split.
    ServesRoot,
    /// The splits are unknown, so it may serve one.
    MayServeRoot,
    /// It serves no root, but has the route, as all virtual hosts in Istio.
    HasRoute,
}

struct RouteCheck<'a> {
    configuration: &'a Configuration,
    table: &'a Value,
    filter: Option<&'a Value>,
}

// === impl RouteCheck ===

impl<'a> RouteCheck<'a> {
    /// Returns the virtual hosts that need the route; `None` instead of a virtual host if no virtual host has the route.
    fn needed_hosts(&self, all: &[Table<'_>]) -> Vec<(Option<&'a Value>, Need)> {
        let hosts = || list(self.table, "virtual_hosts");
        let splits = &self.configuration.traffic_splits;
        let serving: Vec<_> = splits
            .iter()
            .flat_map(|split| virtual_hosts::of_root(self.table, all, self.configuration, split))
            .collect();
        let is_serving = |host: &Value| serving.iter().any(|serving| std::ptr::eq(*serving, host));
        if !splits.is_empty() {
            let need = |host: &'a Value| match is_serving(host) {
                true => Some((Some(host), Need::ServesRoot)),
                false => self.split_routes(host).next().map(|_| (Some(host), Need::HasRoute)),
            };
            return hosts().filter_map(need).collect();
        }
        if hosts().all(|host| self.split_routes(host).next().is_none()) {
            return vec![(None, Need::MayServeRoot)];
        }
        let forwards = |host: &Value| list(host, "routes").any(|route| route.get("route").is_some());
        let may_serve = hosts().filter(|host| forwards(host) && self.is_enabled(host));
        may_serve.map(|host| (Some(host), Need::MayServeRoot)).collect()
    }

    /// Returns the routes of split requests of a virtual host, with their indexes.
    fn split_routes<'h>(&self, host: &'h Value) -> impl Iterator<Item = (usize, &'h Value)> + use<'h> {
        let header = self.configuration.cluster_header.clone();
        let is_certain = move |route: &Value| {
            name(route) == FILTER
                || text(&route["route"], "cluster_header").is_some_and(|named| named.eq_ignore_ascii_case(&header))
                || header_match(route, &header).is_some()
        };
        let has_certain = list(host, "routes").any(&is_certain);
        // A route for another header is probably meant to be the route of split requests.
        let is_probable = |route: &Value| route.pointer("/route/cluster_header").is_some();
        list(host, "routes")
            .enumerate()
            .filter(move |(_, route)| if has_certain { is_certain(route) } else { is_probable(route) })
    }

    fn check_host(&self, host: &Value, need: Need, place: &str, findings: &mut Findings) {
        if need == Need::ServesRoot {
            self.check_enabled(host, place, findings);
        }
        let routes: Vec<_> = self.split_routes(host).collect();
        let Some((first, _)) = routes.first() else {
            return match need {
                Need::HasRoute => {}
                Need::ServesRoot => {
                    let message = format!(
                        "the route of split requests is missing, so {SILENCE}; insert the route of {PARTS} c as the first route"
                    );
                    findings.error(place, "routes", message);
                }
                Need::MayServeRoot => {
                    let message = format!(
                        "the route of split requests is missing, so requests to this virtual host are never split; if it serves a root, \
                         insert the route of {PARTS} c as the first route"
                    );
                    findings.warning(place, "routes", message);
                }
            };
        };
        self.check_earlier(host, *first, place, findings);
        for (index, route) in routes {
            self.check_route(host, route, place, &format!("routes[{index}]"), findings);
        }
    }

    fn check_enabled(&self, host: &Value, place: &str, findings: &mut Findings) {
        const FIELD: &str = "typed_per_filter_config";
        let Some(filter) = self.filter.map(name) else { return };
        if !self.is_enabled(host) {
            let message =
                format!("the filter is disabled, so {SILENCE}; enable `{}` as in {PARTS} b", one_line(filter));
            return findings.error(place, FIELD, message);
        }
        if [host, self.table].into_iter().any(|scope| is_refused(scope, filter)) {
            let message = "lacks `is_optional: true`, so Envoy refuses the routes; set it to `true`";
            findings.error(place, &format!("{FIELD}[{}]", one_line(filter)), message);
        }
    }

    /// Returns whether the filter is enabled in a virtual host; `true` without a filter.
    fn is_enabled(&self, host: &Value) -> bool {
        let Some(filter) = self.filter else { return true };
        let is_disabled = filter.get("disabled") == Some(&Value::Bool(true));
        let enabled = |name: &str| [host, self.table].into_iter().find_map(|scope| enabled_by(scope, name));
        // The remedy for a wrong name is to rename the filter.
        let renamed = || enabled(FILTER).filter(|_| !is_filter_name(name(filter)));
        enabled(name(filter)).or_else(renamed).unwrap_or(!is_disabled)
    }

    fn check_earlier(&self, host: &Value, first: usize, place: &str, findings: &mut Findings) {
        let field = format!("routes[{first}]");
        let earlier: Vec<_> = list(host, "routes").take(first).collect();
        if let Some(index) = earlier.iter().position(|route| matches_everything(route)) {
            let message = format!(
                "the route of split requests follows routes[{index}], which matches every request, so {SILENCE}; make it the first route"
            );
            findings.error(place, &field, message);
        } else if first > 0 {
            let message = "the route of split requests is not the first, so requests that an earlier route matches are not split; make it \
                           the first route";
            findings.warning(place, &field, message);
        }
    }

    fn check_route(&self, host: &Value, route: &Value, place: &str, field: &str, findings: &mut Findings) {
        let header = &self.configuration.cluster_header;
        self.check_match(route, place, field, findings);
        match text(&route["route"], "cluster_header") {
            Some(named) if named.eq_ignore_ascii_case(header) => {}
            Some(named) => {
                let message = format!(
                    "reads the header `{}`, but the filter writes `{header}`, so split requests get the status 503; write `{header}`",
                    one_line(named)
                );
                findings.error(place, &format!("{field}.route.cluster_header"), message);
            }
            None => {
                let message = format!("is missing, so the weights have no effect; set it to `{header}`");
                findings.error(place, &format!("{field}.route.cluster_header"), message);
            }
        }
        let removed = || {
            [route, host, self.table]
                .into_iter()
                .flat_map(|scope| list(scope, "request_headers_to_remove"))
                .filter_map(Value::as_str)
        };
        let is_removed = |header: &str| removed().any(|removed| removed.eq_ignore_ascii_case(header));
        let removal = format!("{field}.request_headers_to_remove");
        if !is_removed(header) {
            let message = format!(
                "lacks `{header}`, so the backend receives the header, and a proxy of the backend may route by it; add `{header}`"
            );
            findings.error(place, &removal, message);
        }
        for (header, effect) in [
            (&self.configuration.mirror_header, "no request is mirrored"),
            (&self.configuration.set_cookie_header, "no sticky cookie is set"),
        ] {
            if is_removed(header) {
                let message = format!("removes `{header}` before Envoy reads it, so {effect}; remove it from the list");
                findings.error(place, &removal, message);
            }
        }
        self.check_options(route, place, field, findings);
    }

    fn check_match(&self, route: &Value, place: &str, field: &str, findings: &mut Findings) {
        let header = &self.configuration.cluster_header;
        let matcher = route.get("match").unwrap_or(&Value::Null);
        let headers: Vec<_> = list(matcher, "headers").collect();
        let field = format!("{field}.match");
        match header_match(route, header) {
            Some(present) => {
                let is_present = present.get("present_match") == Some(&Value::Bool(true))
                    && present.get("invert_match") != Some(&Value::Bool(true));
                if !is_present {
                    let message = format!(
                        "does not match every value of `{header}`, so other split requests go to the root; write `present_match: true`"
                    );
                    findings.error(place, &format!("{field}.headers"), message);
                }
            }
            None if headers.is_empty() => {
                let message = format!(
                    "matches requests without the header `{header}`, which then get the status 503; add `headers: [{{name: {header}, \
                     present_match: true}}]`"
                );
                findings.error(place, &format!("{field}.headers"), message);
            }
            None => {
                let named = headers
                    .iter()
                    .map(|matcher| name(matcher))
                    .find(|named| !named.starts_with(':'))
                    .unwrap_or_default();
                let message = format!(
                    "matches the header `{}`, but the filter writes `{header}`, so {SILENCE}; write `{header}`",
                    one_line(named)
                );
                findings.error(place, &format!("{field}.headers"), message);
            }
        }
        if text(matcher, "prefix") != Some("/") {
            let message = "does not match every path, so other split requests go to the root; write `prefix: /`";
            findings.warning(place, &field, message);
        }
        // A gateway's route is only for the operator's hosts.
        let is_other =
            |matcher: &&Value| !name(matcher).eq_ignore_ascii_case(header) && !name(matcher).starts_with(':');
        let others = headers.iter().copied().filter(is_other).count();
        if header_match(route, header).is_some() && others > 0 || matcher.get("runtime_fraction").is_some() {
            let message = "does not match every split request, so the others go to the root; match only the header and `prefix: /`";
            findings.warning(place, &field, message);
        }
    }

    /// Reports parts of the route that the splits' annotations need.
    fn check_options(&self, route: &Value, place: &str, field: &str, findings: &mut Findings) {
        let Configuration { mirror_header, set_cookie_header, traffic_splits, .. } = self.configuration;
        let mut annotations = traffic_splits.iter().map(|split| &split.metadata.annotations);
        let policies = list(&route["route"], "request_mirror_policies");
        let mut policies = policies.filter_map(|policy| text(policy, "cluster_header"));
        if annotations.clone().any(|annotations| annotations.mirror.is_some())
            && !policies.any(|named| named.eq_ignore_ascii_case(mirror_header))
        {
            let message = format!(
                "lacks the policy that the annotation `traffic-split/mirror` needs, so no request is mirrored; add `cluster_header: \
                 {mirror_header}`"
            );
            findings.error(place, &format!("{field}.route.request_mirror_policies"), message);
        }
        let mut added = list(route, "response_headers_to_add").filter_map(|option| text(&option["header"], "value"));
        let needed = format!("%REQ({set_cookie_header})%");
        if annotations.any(|annotations| annotations.sticky_cookie.is_some())
            && !added.any(|value| value.eq_ignore_ascii_case(&needed))
        {
            let message = format!(
                "lacks the header that the annotation `traffic-split/sticky-cookie` needs, so no client gets a cookie; add `header: \
                 {{key: set-cookie, value: \"{needed}\"}}`"
            );
            findings.error(place, &format!("{field}.response_headers_to_add"), message);
        }
    }
}

/// Returns the condition of a route for a header.
fn header_match<'v>(route: &'v Value, header: &str) -> Option<&'v Value> {
    list(&route["match"], "headers").find(|matcher| name(matcher).eq_ignore_ascii_case(header))
}

/// Returns whether a route matches every request.
fn matches_everything(route: &Value) -> bool {
    let Some(matcher) = route.get("match").and_then(Value::as_object) else { return false };
    let is_any_path = matcher.iter().all(|(key, value)| match key.as_str() {
        "prefix" => matches!(value.as_str(), Some("/" | "")),
        "safe_regex" => matches!(text(value, "regex"), Some(".*" | "/.*" | "^.*$" | "^/.*$")),
        "case_sensitive" => true,
        _ => value.as_array().is_some_and(Vec::is_empty),
    });
    is_any_path && ["prefix", "safe_regex"].iter().any(|key| matcher.contains_key(*key))
}

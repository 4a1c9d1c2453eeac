//! The outcome of a request, and metrics, as text and as JSON.

use crate::terminal::log_lines;
use host_sim::{Headers, Log, Metric, Outcome, RoutedRequest, Value};
use serde_json::{Map, Value as Json, json};

/// Returns the outcome of the request with this number as lines.
pub(crate) fn outcome_to_lines(n: u32, outcome: &Outcome) -> Vec<String> {
    let message = |indent: &str, headers: &Headers, body: &[u8]| -> Vec<String> {
        let headers = headers.iter().filter(|(name, _)| name != b":status");
        let body = (!body.is_empty()).then(|| format!("{indent}body: {} bytes", body.len()));
        headers.map(|(name, value)| format!("{indent}{}: {}", readable(name), readable(value))).chain(body).collect()
    };
    let mut lines = vec![format!("request {n}: {}", summary(outcome))];
    lines.extend(outcome.route.as_ref().map(route_to_line));
    lines.extend(message("  ", &outcome.request_headers, &outcome.request_body));
    if let Some(status) = outcome.status() {
        lines.push(format!("  response: {status}"));
        lines.extend(message("    ", &outcome.response.headers, &outcome.response.body));
    }
    lines.extend(outcome.logs.iter().flat_map(|log| log_lines("  ", log)));
    lines
}

fn summary(outcome: &Outcome) -> String {
    let summary = match (&outcome.trap, &outcome.local_response) {
        (Some(trap), _) => format!("trap in {trap}"),
        (None, Some(response)) => format!("local response {}", response.status),
        (None, None) if outcome.paused => "paused by the filter".to_owned(),
        (None, None) => "forwarded".to_owned(),
    };
    if outcome.route_cache_cleared { summary + ", route cache cleared" } else { summary }
}

fn route_to_line(routed: &RoutedRequest) -> String {
    let cluster = match &routed.cluster {
        Some(cluster) => format!("cluster {}", readable(cluster)),
        None => "no cluster".to_owned(),
    };
    let mirrors: String =
        routed.mirrors.iter().map(|mirror| format!(", mirrored to {}", readable(&mirror.cluster))).collect();
    let route = if routed.route.is_empty() { "unnamed route" } else { &format!("route {}", routed.route) };
    format!("  routed to {cluster}{mirrors} (virtual host {}, {route})", routed.virtual_host)
}

/// Returns metrics as lines.
pub(crate) fn metrics_to_lines(metrics: Vec<(String, Metric)>) -> impl Iterator<Item = String> {
    metrics.into_iter().map(|(name, metric)| match metric.value {
        Value::Counter(value) | Value::Gauge(value) => format!("{name}: {value}"),
        Value::Histogram(values) => format!("{name}: {values:?}"),
    })
}

/// Returns log messages as JSON objects.
pub(crate) fn logs_to_json(logs: &[Log]) -> Vec<Json> {
    logs.iter().map(|log| json!({"level": log.level.to_string(), "message": log.message})).collect()
}

/// Returns the outcome of a request as a JSON object.
pub(crate) fn outcome_to_json(outcome: &Outcome) -> Json {
    let pairs = |headers: &Headers| -> Vec<_> {
        headers.iter().map(|(name, value)| json!([readable(name), readable(value)])).collect()
    };
    json!({
        "requestHeaders": pairs(&outcome.request_headers),
        "requestBody": readable(&outcome.request_body),
        "routeCacheCleared": outcome.route_cache_cleared,
        "route": outcome.route.as_ref().map(|routed| json!({
            "virtualHost": routed.virtual_host,
            "name": routed.route,
            "cluster": routed.cluster.as_deref().map(readable),
            "mirrors": routed.mirrors.iter().map(|mirror| readable(&mirror.cluster)).collect::<Vec<_>>(),
        })),
        "responseHeaders": pairs(&outcome.response.headers),
        "responseBody": readable(&outcome.response.body),
        "localResponse": outcome.local_response.as_ref().map(|response| json!({
            "status": response.status,
            "details": readable(&response.details),
            "headers": pairs(&response.headers),
            "body": readable(&response.body),
            "grpcStatus": response.grpc_status,
        })),
        "paused": outcome.paused,
        "trap": outcome.trap,
        "logs": logs_to_json(&outcome.logs),
    })
}

/// Returns metrics as a JSON object, by name.
pub(crate) fn metrics_to_json(metrics: Vec<(String, Metric)>) -> Json {
    let metrics: Map<_, _> = metrics
        .into_iter()
        .map(|(name, metric)| {
            let value = match metric.value {
                Value::Counter(value) => json!({"counter": value}),
                Value::Gauge(value) => json!({"gauge": value}),
                Value::Histogram(values) => json!({"histogram": values}),
            };
            (name, value)
        })
        .collect();
    Json::Object(metrics)
}

/// Returns bytes as text. A byte that is not UTF-8 becomes `\xNN`.
fn readable(bytes: &[u8]) -> String {
    bytes.utf8_chunks().map(|chunk| chunk.valid().to_owned() + &chunk.invalid().escape_ascii().to_string()).collect()
}

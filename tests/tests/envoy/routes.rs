//! The simulator's route table and a real Envoy with the same routes and requests: both must select the same cluster
//! and the same headers, and return the same response.

use e2e::client::Client;
use e2e::envoy::Envoy;
use e2e::pod::Pod;
use e2e::scratch::Scratch;
use e2e::{Error, Result, wait_for};
use host_sim::{AppendAction, HeaderMatch, Headers, Mirror, Route, RouteTable, VirtualHost};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;

const CLUSTERS: [&str; 3] = ["root", "v1", "v2"];
const CLUSTER: &str = "x-cluster";

/// Header names and values.
type Pairs<'a> = &'a [(&'a str, &'a [u8])];

/// The routes in the simulator's format.
fn table() -> Result<RouteTable> {
    let exact = || HeaderMatch::exact("x-a", "1");
    let to_v1 = |path: &str, header| Route::to_cluster("v1").path(path).header(header);
    let split = VirtualHost::new("split", ["split"])
        .route(
            Route::to_cluster_header(CLUSTER)
                .header(HeaderMatch::present(CLUSTER))
                .remove_request_header(CLUSTER)
                .remove_request_header("x-gone")
                .add_request_header("x-copied", "%REQ(x-gone)%")
                .add_request_header("x-part", "a%%%REQ(x-none?x-a):3%")
                .set_request_header("x-over", "new", AppendAction::OverwriteIfExistsOrAdd)
                .set_request_header("x-absent", "new", AppendAction::AddIfAbsent)
                .set_request_header("x-exists", "new", AppendAction::OverwriteIfExists)
                .add_request_header("x-before", "%REQ(x-over)%")
                .add_response_header("x-served-by", "%REQ(x-a)%")
                .add_response_header("x-was", "%REQ(x-cluster)%")
                .add_response_header("x-host", "%REQ(host)%")
                .mirror(Mirror::to_cluster_header("x-mirror")),
        )
        .route(Route::to_cluster_header("x-none").path("/none").add_response_header("x-was", "none"))
        .route(Route::to_cluster("root"));
    let matching = VirtualHost::new("match", ["match", "*.match", "pre.*"])
        .route(to_v1("/exact", exact()))
        .route(to_v1("/not", exact().invert()))
        .route(to_v1("/not-even-empty", exact().invert().treat_missing_header_as_empty()))
        .route(to_v1("/joined", HeaderMatch::exact("x-a", "1,2")))
        .route(to_v1("/present", HeaderMatch::present("x-a")))
        .route(to_v1("/absent", HeaderMatch::absent("x-a")))
        .route(to_v1("/host", HeaderMatch::prefix("host", "match")))
        .route(
            Route::to_direct_response(418, "tea")
                .prefix("/direct")
                .remove_request_header("x-a")
                .add_response_header("x-was", "%REQ(x-a)%"),
        )
        .route(Route::to_cluster("v2").path_separated_prefix("/separated"))
        .route(Route::to_cluster("v2").prefix("/prefix"));
    let longer = VirtualHost::new("longer", ["*-x.match"]).route(Route::to_cluster("root"));
    let any = VirtualHost::new("any", ["*"]).route(Route::to_cluster("v2"));
    let builder = RouteTable::builder().ignore_port_in_host_matching().clusters(CLUSTERS);
    let table = [split, matching, longer, any].into_iter().fold(builder, |builder, host| builder.virtual_host(host));
    table.build().map_err(|why| Error(why.to_string()))
}

/// The routes in Envoy's format.
fn virtual_hosts() -> Value {
    let add = |name: &str, value: &str| json!({"header": {"key": name, "value": value}});
    let set = |name: &str, action: &str| json!({"header": {"key": name, "value": "new"}, "append_action": action});
    let to = |cluster: &str, path: &str| json!({"match": {path: "/"}, "route": {"cluster": cluster}});
    let to_v1 =
        |path: &str, header: Value| json!({"match": {"path": path, "headers": [header]}, "route": {"cluster": "v1"}});
    let exact = |value: &str| json!({"name": "x-a", "string_match": {"exact": value}});
    let with = |mut header: Value, keys: &[&str]| {
        keys.iter().for_each(|key| header[*key] = true.into());
        header
    };
    json!([
        {"name": "split", "domains": ["split"], "routes": [
            {
                "match": {"prefix": "/", "headers": [{"name": CLUSTER, "present_match": true}]},
                "route": {"cluster_header": CLUSTER, "request_mirror_policies": [{"cluster_header": "x-mirror"}]},
                "request_headers_to_remove": [CLUSTER, "x-gone"],
                "request_headers_to_add": [
                    add("x-copied", "%REQ(x-gone)%"), add("x-part", "a%%%REQ(x-none?x-a):3%"),
                    set("x-over", "OVERWRITE_IF_EXISTS_OR_ADD"), set("x-absent", "ADD_IF_ABSENT"),
                    set("x-exists", "OVERWRITE_IF_EXISTS"), add("x-before", "%REQ(x-over)%"),
                ],
                "response_headers_to_add": [
                    add("x-served-by", "%REQ(x-a)%"), add("x-was", "%REQ(x-cluster)%"), add("x-host", "%REQ(host)%"),
                ],
            },
            {
                "match": {"path": "/none"},
                "route": {"cluster_header": "x-none"},
                "response_headers_to_add": [add("x-was", "none")],
            },
            to("root", "prefix"),
        ]},
        {"name": "match", "domains": ["match", "*.match", "pre.*"], "routes": [
            to_v1("/exact", exact("1")),
            to_v1("/not", with(exact("1"), &["invert_match"])),
            to_v1("/not-even-empty", with(exact("1"), &["invert_match", "treat_missing_header_as_empty"])),
            to_v1("/joined", exact("1,2")),
            to_v1("/present", json!({"name": "x-a", "present_match": true})),
            to_v1("/absent", json!({"name": "x-a", "present_match": false})),
            to_v1("/host", json!({"name": "host", "string_match": {"prefix": "match"}})),
            {
                "match": {"prefix": "/direct"},
                "direct_response": {"status": 418, "body": {"inline_string": "tea"}},
                "request_headers_to_remove": ["x-a"],
                "response_headers_to_add": [add("x-was", "%REQ(x-a)%")],
            },
            {"match": {"path_separated_prefix": "/separated"}, "route": {"cluster": "v2"}},
            {"match": {"prefix": "/prefix"}, "route": {"cluster": "v2"}},
        ]},
        {"name": "longer", "domains": ["*-x.match"], "routes": [to("root", "prefix")]},
        {"name": "any", "domains": ["*"], "routes": [to("v2", "prefix")]},
    ])
}

fn bootstrap(pods: &BTreeMap<&str, Pod>) -> String {
    let socket =
        |address: SocketAddr| json!({"socket_address": {"address": address.ip(), "port_value": address.port()}});
    let own = socket(SocketAddr::from(([127, 0, 0, 1], 0)));
    let clusters = pods.iter().map(|(name, pod)| {
        let endpoint = json!({"endpoint": {"address": socket(pod.address())}});
        let endpoints = json!({"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]});
        json!({"name": name, "type": "STATIC", "load_assignment": endpoints})
    });
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "routes",
        "route_config": {
            "name": "routes",
            "ignore_port_in_host_matching": true,
            "virtual_hosts": virtual_hosts(),
        },
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
        }],
    });
    json!({
        "admin": {"address": own},
        "static_resources": {
            "listeners": [{
                "name": "routes",
                "address": own,
                "filter_chains": [{"filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": manager,
                }]}],
            }],
            "clusters": clusters.collect::<Vec<_>>(),
        },
    })
    .to_string()
}

/// The compared parts of a request.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: u16,
    /// The cluster, and the test headers that its pod received.
    upstream: Option<(String, Vec<(String, String)>)>,
    /// The test headers that the client received.
    response: Vec<(String, String)>,
    /// The cluster of the copy, and its host.
    copy: Option<(String, String)>,
}

/// Returns the test headers sorted by name; headers of one name keep their order.
fn ours(headers: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let others = ["x-forwarded-proto", "x-forwarded-for", "x-request-id"];
    let ours = |name: &str| name.starts_with("x-") && !name.starts_with("x-envoy-") && !others.contains(&name);
    let mut headers: Vec<_> = headers.filter(|(name, _)| ours(name)).collect();
    headers.sort_by(|(one, _), (other, _)| one.cmp(other));
    headers
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn pairs(headers: &Headers) -> impl Iterator<Item = (String, String)> {
    headers.iter().map(|(name, value)| (text(name), text(value)))
}

fn in_the_table(table: &RouteTable, host: &str, path: &str, more: Pairs<'_>) -> Seen {
    let first = [(":method", &b"GET"[..]), (":authority", host.as_bytes()), (":path", path.as_bytes())];
    let all = first.iter().chain(more);
    let mut request: Headers = all.map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())).collect();
    let Some(selected) = table.select(&request, 0) else {
        return Seen { status: 404, upstream: None, response: Vec::new(), copy: None };
    };
    selected.finalize_request(&mut request);
    let mut response = Headers::default();
    selected.finalize_response(&request, &mut response);
    let copies = selected.mirrors(&request, 0);
    let host = |headers: &Headers| text(headers.get(":authority").unwrap_or_default());
    Seen {
        status: selected.local_response().map_or(200, |response| response.status),
        upstream: selected.cluster().map(|cluster| (text(cluster), ours(pairs(&request)))),
        response: ours(pairs(&response)),
        copy: copies.first().map(|copy| (text(&copy.cluster), host(&copy.headers))),
    }
}

fn in_envoy(
    pods: &BTreeMap<&str, Pod>,
    port: u16,
    host: &str,
    path: &str,
    more: Pairs<'_>,
    copy: Option<&str>,
) -> Result<Seen> {
    let before: BTreeMap<_, _> = pods.iter().map(|(name, pod)| (*name, pod.requests())).collect();
    let answer = Client::new(port).get(host, path, more)?;
    let seen: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let received = |seen: &Value| -> Vec<(String, String)> {
        let headers = seen["headers"].as_array().cloned().unwrap_or_default();
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        headers.iter().map(|pair| (word(&pair[0]), word(&pair[1]))).collect()
    };
    let upstream = (!answer.version().is_empty()).then(|| (answer.version(), ours(received(&seen).into_iter())));
    if let Some(copy) = copy {
        wait_for("the copy to arrive", || Ok((pods[copy].requests() > before[copy]).then_some(())))?;
    }
    // Any other pod that received a request received a copy.
    let of_upstream = |name: &str| u64::from(upstream.as_ref().is_some_and(|(cluster, _)| cluster == name));
    let copied = pods.iter().find(|(name, pod)| pod.requests() - before[*name] > of_upstream(name));
    let copy = copied.map(|(name, pod)| {
        let host = received(&pod.last_request()).into_iter().find(|(name, _)| name == "host");
        ((*name).to_owned(), host.map(|(_, value)| value).unwrap_or_default())
    });
    let response = answer.headers.iter().map(|(name, value)| (name.clone(), text(value)));
    Ok(Seen { status: answer.status, upstream, response: ours(response), copy })
}

#[test]
fn simulated_route_table_answers_like_envoy() -> Result<()> {
    let pods = CLUSTERS.map(|name| Ok((name, Pod::start(name)?))).into_iter().collect::<Result<BTreeMap<_, _>>>()?;
    let scratch = Scratch::new()?;
    let envoy = Envoy::start(&bootstrap(&pods), scratch.path())?;
    let port = envoy.listener_port("routes")?;
    let table = table()?;
    let a = &[("x-a", &b"1"[..])][..];
    let b = &[("x-a", &b"2"[..])][..];
    let both = &[("x-a", &b"1"[..]), ("x-a", b"2")][..];
    let joined = &[("x-a", &b"1,2"[..])][..];
    let empty = &[("x-a", &b""[..])][..];
    let none = &[][..];
    let mut cases: Vec<(&str, &str, Pairs<'_>)> = vec![
        ("split", "/", none),
        ("split:80", "/?q", &[(CLUSTER, b"v1")]),
        (
            "SPLIT:80",
            "/",
            &[(CLUSTER, b"v1"), ("x-a", b"12345"), ("x-gone", b"g"), ("x-exists", b"e"), ("x-absent", b"b")],
        ),
        ("split", "/", &[(CLUSTER, b"v1"), ("x-over", b"1"), ("x-over", b"2"), ("x-exists", b"e"), ("x-exists", b"f")]),
        ("split", "/", &[(CLUSTER, b"v1"), (CLUSTER, b"v2")]),
        ("split", "/", &[(CLUSTER, b""), ("x-a", b"1")]),
        ("split", "/", &[(CLUSTER, b"unknown"), ("x-a", b"1"), ("x-gone", b"g"), ("x-mirror", b"v2")]),
        ("split", "/none", none),
        ("split", "/", &[(CLUSTER, b"v1"), ("x-mirror", b"v2")]),
        ("split:80", "/", &[(CLUSTER, b"v1"), ("x-mirror", b"v2"), ("x-mirror", b"root")]),
        ("split", "/", &[(CLUSTER, b"v1"), ("x-mirror", b"")]),
        ("split", "/", &[(CLUSTER, b"v1"), ("x-mirror", b"unknown")]),
        ("match", "/direct", a),
        ("match", "/separated", none),
        ("match", "/separated/a?q", none),
        ("match", "/separateda", none),
        ("match", "/prefixed", none),
        ("match", "/Prefix", none),
        ("match", "/?/prefix", none),
        ("match", "/host", none),
        ("pre.x", "/host", none),
    ];
    for path in ["/exact", "/not", "/not-even-empty", "/joined", "/present", "/absent"] {
        cases.extend([a, b, both, joined, empty, none].map(|more| ("match", path, more)));
    }
    let hosts =
        ["a.match", ".match", "a-x.match", "-x.match", "pre.", "pre.a", "pre.match", "other", "match:x", "[::1]:80"];
    cases.extend(hosts.map(|host| (host, "/prefix", none)));
    for (host, path, more) in cases {
        let expected = in_the_table(&table, host, path, more);
        let copy = expected.copy.as_ref().map(|(cluster, _)| &cluster[..]);
        let seen = in_envoy(&pods, port, host, path, more, copy)?;
        assert_eq!(expected, seen, "{host} {path} {more:?}: the table says the first");
    }
    Ok(())
}

//! Annotations and matches in a real Envoy with the rendered bootstrap and extension configuration: stickiness,
//! override, mirror, and conditions.

use e2e::client::{Answer, Client};
use e2e::envoy::free_port;
use e2e::guide::{Guide, Sidecar};
use e2e::httpbin::{OTHER, ROOT};
use e2e::pod::version;
use e2e::{Error, Result, is_share, wait_for};
use fixtures::TrafficSplit;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

const V2: &str = "outbound|14001||httpbin-v2.httpbin.svc.cluster.local";
/// The prefix of v2's stats.
const V2_STATS: &str = "cluster.outbound|14001||httpbin-v2.httpbin.svc.cluster.local";
const COOKIE: &str = "version-of";
const ATTRIBUTES: &str = "Path=/; Max-Age=86400; HttpOnly; SameSite=Lax";

/// Header names and values.
type Headers<'a> = &'a [(&'a str, &'a [u8])];

/// Returns the guide's TrafficSplit with these weights and annotations.
fn split(v1: u32, v2: u32, annotations: &[(&str, &str)]) -> Value {
    let split = TrafficSplit::new("http-split", "httpbin").namespace("httpbin");
    let split = split.backends(&[("httpbin-v1", v1), ("httpbin-v2", v2)]);
    annotations.iter().fold(split, |split, (name, value)| split.annotation(name, *value)).build()
}

/// Returns `split` with another name and with matches of this group.
fn matched(mut split: Value, name: &str, group: &str) -> Value {
    split["metadata"]["name"] = name.into();
    split["spec"]["matches"] = json!([{"kind": "HTTPRouteGroup", "name": group}]);
    split
}

/// Returns an HTTPRouteGroup with this name.
fn group(name: &str, matches: Value) -> Value {
    json!({
        "apiVersion": "specs.smi-spec.io/v1alpha4",
        "kind": "HTTPRouteGroup",
        "metadata": {"name": name, "namespace": "httpbin"},
        "spec": {"matches": matches},
    })
}

/// Returns a list of objects as one file.
fn list(objects: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}

fn sticky_cookie(v1: u32, v2: u32, attributes: &str) -> String {
    split(v1, v2, &[("sticky-cookie", COOKIE), ("sticky-cookie-attributes", attributes)]).to_string()
}

/// Returns twelve clients whose connections are distributed over both of Envoy's workers.
fn clients_of_both_workers(sidecar: &Sidecar) -> Result<Vec<Client>> {
    let connections = |worker: u8| -> Result<u64> {
        let stats = sidecar.envoy.admin("/stats?filter=%5Elistener%5C..*worker_.*downstream_cx_total")?;
        let of_worker = stats.lines().filter(|line| line.contains(&format!("worker_{worker}.")));
        Ok(of_worker.filter_map(|line| line.rsplit_once(": ")?.1.parse::<u64>().ok()).sum())
    };
    let mut clients = Vec::new();
    wait_for("both workers to have a connection", || {
        let before = [connections(0)?, connections(1)?];
        clients = (0..12).map(|_| Client::new(sidecar.port)).collect();
        for client in &mut clients {
            served(client.get(OTHER, "/json", &[])?, "other");
        }
        Ok((connections(0)? > before[0] && connections(1)? > before[1]).then_some(()))
    })?;
    Ok(clients)
}

/// Checks the status and the version, and returns the response.
#[track_caller]
fn served(answer: Answer, version: &str) -> Answer {
    assert_eq!((answer.status, answer.version().as_str()), (200, version), "{}", answer.text());
    answer
}

/// Sends a request to the root with these headers.
fn ask(client: &mut Client, headers: Headers<'_>) -> Result<Answer> {
    let answer = client.get(ROOT, "/json", headers)?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    Ok(answer)
}

/// Sends a user's first request and checks that it sets one cookie with these attributes. Returns the cookie's name
/// and value, and the pod that answered.
fn first_visit(client: &mut Client, attributes: &str) -> Result<(String, String)> {
    let answer = ask(client, &[])?;
    let set = answer.headers_named("set-cookie");
    assert_eq!(set.len(), 1, "{set:?}");
    let (pair, rest) = set[0].split_once("; ").ok_or_else(|| Error(format!("without attributes: {set:?}")))?;
    assert_eq!(rest, attributes);
    let id = pair.strip_prefix("version-of=").ok_or_else(|| Error(format!("another cookie: {set:?}")))?;
    // 16 bytes in base64url.
    assert_eq!(id.len(), 22, "{id}");
    assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'), "{id}");
    Ok((pair.to_owned(), answer.pod()))
}

/// Sends a request with this `Cookie` and checks that it sets no cookie. Returns the pod that answered.
fn visit(client: &mut Client, cookie: &[u8]) -> Result<String> {
    let answer = ask(client, &[("cookie", cookie)])?;
    assert!(answer.header("set-cookie").is_none(), "{} {:?}", cookie.escape_ascii(), answer.headers);
    Ok(answer.pod())
}

/// Waits until no request to v2 is open, and returns the number of requests that Envoy sent to v2. Envoy starts a
/// copy before the original is answered, so all copies of answered requests are counted.
fn settled_copies(sidecar: &Sidecar) -> Result<u64> {
    let stat = |name: &str| sidecar.envoy.find_stat(&format!("{V2_STATS}.{name}")).map(|value| value.unwrap_or(0));
    wait_for("all copies to arrive", || {
        let sent = stat("upstream_rq_total")?;
        let under_way = stat("upstream_rq_active")? + stat("upstream_rq_pending_active")?;
        Ok((under_way == 0 && sent == sidecar.httpbin.v2.requests()).then_some(sent))
    })
}

/// Sends ten requests of each user over connections of both workers. Returns each user's version.
///
/// # Errors
/// A user got two versions.
fn versions_by_user(clients: &mut [Client], users: u32) -> Result<Vec<String>> {
    let mut seen = vec![BTreeSet::new(); users as usize];
    for turn in 0..10 {
        for (user, seen) in seen.iter_mut().enumerate() {
            let client = (user + turn) % clients.len();
            let id = format!("user-{user}");
            seen.insert(ask(&mut clients[client], &[("x-user", id.as_bytes())])?.version());
        }
    }
    let one = |(user, seen): (usize, BTreeSet<String>)| match (seen.len(), seen.into_iter().next()) {
        (1, Some(version)) => Ok(version),
        _ => Err(Error(format!("user-{user} saw two versions"))),
    };
    seen.into_iter().enumerate().map(one).collect()
}

#[test]
fn user_never_returns_to_the_old_version_while_the_canary_grows() -> Result<()> {
    let guide = Guide::built()?;
    // The ids and the hash are fixed, so each run has the same result.
    let users = 200;
    let annotations = [("sticky-header", "x-user")];
    let sidecar = Sidecar::start_with(&guide, &split(90, 10, &annotations).to_string(), &[])?;
    let mut clients = clients_of_both_workers(&sidecar)?;
    let mut earlier = vec!["httpbin-v1".to_owned(); users];
    for canary in [10, 50, 90] {
        sidecar.apply_objects(&guide, &split(100 - canary, canary, &annotations).to_string())?;
        let versions = versions_by_user(&mut clients, users as u32)?;
        let on_canary = versions.iter().filter(|version| *version == "httpbin-v2").count();
        assert_eq!(on_canary + versions.iter().filter(|version| *version == "httpbin-v1").count(), users);
        println!("canary at {canary}: {on_canary} of {users} users");
        assert!(is_share(on_canary as u64, users as u64, f64::from(canary) / 100.0, 4.0), "{canary}: {on_canary}");
        let back = earlier.iter().zip(&versions).filter(|(before, now)| *before == "httpbin-v2" && now != before);
        assert_eq!(back.count(), 0, "{canary}");
        earlier = versions;
    }
    // The connections stayed open while the weights changed.
    assert!(clients.iter().all(|client| client.connections() == 1));
    Ok(())
}

#[test]
fn missing_or_empty_sticky_header_selects_by_weight() -> Result<()> {
    let sidecar =
        Sidecar::start_with(&Guide::built()?, &split(50, 50, &[("sticky-header", "x-user")]).to_string(), &[])?;
    let mut client = Client::new(sidecar.port);
    for headers in [&[][..], &[("x-user", &b""[..])]] {
        let versions = (0..60).map(|_| Ok(ask(&mut client, headers)?.version())).collect::<Result<BTreeSet<_>>>()?;
        assert_eq!(versions.len(), 2, "{headers:?}");
    }
    // Bytes that are not UTF-8 are a valid value.
    let pods = (0..20).map(|_| Ok(ask(&mut client, &[("x-user", b"\xff\xfe")])?.pod()));
    assert_eq!(pods.collect::<Result<BTreeSet<_>>>()?.len(), 1);
    Ok(())
}

#[test]
fn sticky_cookie_is_set_once_and_keeps_its_version() -> Result<()> {
    let guide = Guide::built()?;
    let sidecar = Sidecar::start_with(&guide, &sticky_cookie(50, 50, ATTRIBUTES), &[])?;
    let mut clients = clients_of_both_workers(&sidecar)?;
    let mut users = Vec::new();
    for number in 0..60 {
        let client = number % clients.len();
        users.push(first_visit(&mut clients[client], ATTRIBUTES)?);
    }
    assert_eq!(users.iter().map(|(cookie, _)| cookie).collect::<BTreeSet<_>>().len(), users.len(), "no id twice");
    assert_eq!(users.iter().map(|(_, pod)| pod).collect::<BTreeSet<_>>().len(), 2, "new users go to both versions");

    let stay = |clients: &mut [Client]| -> Result<()> {
        for client in clients {
            for (cookie, pod) in &users {
                assert_eq!(visit(client, cookie.as_bytes())?, *pod, "{cookie}");
            }
        }
        Ok(())
    };
    stay(&mut clients)?;
    // Other attributes with the same weights make another configuration.
    sidecar.apply_objects(&guide, &sticky_cookie(50, 50, "Path=/; Secure"))?;
    first_visit(&mut clients[0], "Path=/; Secure")?;
    stay(&mut clients)?;
    // The same ratio with other weights.
    sidecar.apply_objects(&guide, &sticky_cookie(7, 7, ATTRIBUTES))?;
    stay(&mut clients)?;

    // Requests that are not split get no cookie.
    for host in [OTHER, "httpbin-v1.httpbin:14001"] {
        assert!(clients[0].get(host, "/json", &[])?.header("set-cookie").is_none(), "{host}");
    }
    Ok(())
}

#[test]
fn sticky_cookie_is_found_among_other_quoted_and_malformed_cookies() -> Result<()> {
    let sidecar = Sidecar::start_with(&Guide::built()?, &sticky_cookie(50, 50, ATTRIBUTES), &[])?;
    let mut client = Client::new(sidecar.port);
    // With 16 ids, a parsing error cannot stay hidden by chance.
    for number in 0..16 {
        let id = format!("id-{number}").into_bytes();
        let pod = visit(&mut client, &[b"version-of=", &id[..]].concat())?;
        for (before, after) in [
            (&b"theme=dark; version-of="[..], &b""[..]),
            (b"version-of=", b"; theme=dark"),
            (b"a=1;version-of=", b";b=2"),
            (b"version-of=\"", b"\""),
            (b"  version-of = ", b" ; x"),
            (b"\xff\xfe=\x80; =; ;;; version-of=", b"; \xc3\x28"),
            (b"xversion-of=no; VERSION-OF=no; version-of=", b"; version-of=second"),
        ] {
            let cookie = [before, &id[..], after].concat();
            assert_eq!(visit(&mut client, &cookie)?, pod, "{}", cookie.escape_ascii());
        }
    }
    // Any bytes are a value; an empty value and other cookies are ignored.
    visit(&mut client, b"version-of=\xff\x80")?;
    for cookie in [&b"version-of="[..], b"version-of=\"\"", b"theme=dark", b"\xff", b"version-of", b";;"] {
        let answer = ask(&mut client, &[("cookie", cookie)])?;
        assert_eq!(answer.headers_named("set-cookie").len(), 1, "{}", cookie.escape_ascii());
    }
    assert_eq!(client.connections(), 1);
    Ok(())
}

/// Sends `GET /json` to the root over HTTP/2 with these `cookie` fields. Returns the pod, and whether a cookie was
/// set.
async fn over_http2(port: u16, cookies: &[&str]) -> Result<(String, bool)> {
    let failed = |error: hyper::Error| Error(format!("over HTTP/2: {error}"));
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(failed)?;
    let connection = tokio::spawn(connection);
    let request = cookies
        .iter()
        .fold(hyper::Request::get(format!("http://{ROOT}/json")), |request, cookie| request.header("cookie", *cookie));
    let request = request.body(String::new()).map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(failed)?;
    connection.abort();
    let pod = answer.headers().get("pod").and_then(|pod| pod.to_str().ok()).unwrap_or_default();
    Ok((pod.to_owned(), answer.headers().contains_key("set-cookie")))
}

#[test]
fn sticky_cookie_is_found_in_split_http2_cookie_fields() -> Result<()> {
    let sidecar = Sidecar::start_with(&Guide::built()?, &sticky_cookie(50, 50, ATTRIBUTES), &[])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut client = Client::new(sidecar.port);
    for number in 0..16 {
        let cookie = format!("version-of=id-{number}");
        let pod = visit(&mut client, cookie.as_bytes())?;
        let answer = runtime.block_on(over_http2(sidecar.port, &["a=1", "b=2", &cookie, "c=3"]))?;
        assert_eq!(answer, (pod, false), "{cookie}");
    }
    Ok(())
}

#[test]
fn weight_zero_receives_no_traffic_even_when_sticky() -> Result<()> {
    let guide = Guide::built()?;
    let sidecar = Sidecar::start_with(&guide, &sticky_cookie(50, 50, ATTRIBUTES), &[])?;
    let mut clients = clients_of_both_workers(&sidecar)?;
    let cookies: Vec<String> = (0..40).map(|number| format!("version-of=id-{number}")).collect();
    let visit_all = |clients: &mut [Client]| -> Result<Vec<String>> {
        let number = clients.len();
        let turns = cookies.iter().enumerate();
        turns.map(|(turn, cookie)| visit(&mut clients[turn % number], cookie.as_bytes())).collect()
    };
    let before = visit_all(&mut clients)?;
    assert!(before.iter().any(|pod| version(pod) == "httpbin-v2"), "{before:?}");

    // Rollback: each user of v2 moves at the next request.
    sidecar.apply_objects(&guide, &sticky_cookie(100, 0, ATTRIBUTES))?;
    let v2 = sidecar.httpbin.v2.requests();
    assert!(visit_all(&mut clients)?.iter().all(|pod| version(pod) == "httpbin-v1"));
    assert_eq!(sidecar.httpbin.v2.requests(), v2);

    // With the old weights, each user returns to the previous version.
    sidecar.apply_objects(&guide, &sticky_cookie(50, 50, ATTRIBUTES))?;
    assert_eq!(visit_all(&mut clients)?, before);
    Ok(())
}

#[test]
fn backend_cookies_are_kept_beside_the_sticky_cookie() -> Result<()> {
    let sidecar = Sidecar::start_with(&Guide::built()?, &sticky_cookie(100, 0, ATTRIBUTES), &[])?;
    let mut client = Client::new(sidecar.port);
    let mut set = served(client.get(ROOT, "/cookies/set?session=1", &[])?, "httpbin-v1").headers_named("set-cookie");
    set.sort();
    assert!(set.len() == 2 && set[0] == "session=1" && set[1].starts_with("version-of="), "{set:?}");
    // The next response has only the backend's cookie.
    let answer = client.get(ROOT, "/cookies/set?session=2", &[("cookie", b"session=1; version-of=x")])?;
    assert_eq!(served(answer, "httpbin-v1").headers_named("set-cookie"), ["session=2"]);
    Ok(())
}

#[test]
fn override_reaches_weight_zero_and_takes_precedence_over_stickiness() -> Result<()> {
    let annotations = [("override-header", "X-Version"), ("sticky-header", "x-user"), ("sticky-cookie", COOKIE)];
    let sidecar = Sidecar::start_with(&Guide::built()?, &split(100, 0, &annotations).to_string(), &[])?;
    let mut client = Client::new(sidecar.port);
    let others: &[Headers<'_>] = &[
        &[],
        &[("x-user", b"ann")],
        &[("cookie", b"version-of=x")],
        &[("x-user", b"ann"), ("cookie", b"version-of=x")],
    ];
    for headers in others {
        let with = |version: &'static [u8]| [&[("x-version", version)], *headers].concat();
        let answer = served(ask(&mut client, &with(b"httpbin-v2"))?, "httpbin-v2");
        // The override decides, so no cookie is set.
        assert!(answer.header("set-cookie").is_none(), "{headers:?}");
        served(ask(&mut client, &with(b"httpbin-v1"))?, "httpbin-v1");
        served(ask(&mut client, headers)?, "httpbin-v1");
    }
    Ok(())
}

#[test]
fn override_with_unknown_backend_is_ignored() -> Result<()> {
    let objects = split(100, 0, &[("override-header", "x-version")]).to_string();
    let sidecar = Sidecar::start_with(&Guide::built()?, &objects, &[])?;
    let mut client = Client::new(sidecar.port);
    for value in [
        &b""[..],
        b"httpbin",
        b"other",
        b"HTTPBIN-V2",
        b"httpbin-v",
        b"httpbin-v22",
        b"httpbin-v2.httpbin",
        b"httpbin-v2,httpbin-v1",
        b"\"httpbin-v2\"",
        b"httpbin-v2\xff",
        V2.as_bytes(),
    ] {
        served(ask(&mut client, &[("x-version", value)])?, "httpbin-v1");
    }
    assert_eq!((sidecar.httpbin.v2.requests(), sidecar.httpbin.root.requests()), (0, 0));
    // The header has no effect on other hosts.
    served(client.get(OTHER, "/json", &[("x-version", b"httpbin-v2")])?, "other");
    Ok(())
}

#[test]
fn unmatched_request_goes_to_the_root_despite_override_or_stickiness() -> Result<()> {
    let annotations = [("override-header", "x-version"), ("sticky-cookie", COOKIE), ("mirror", "httpbin-v2=100")];
    let objects = [
        matched(split(100, 0, &annotations), "http-split", "json"),
        group("json", json!([{"name": "json", "pathRegex": "/json"}])),
    ];
    let sidecar = Sidecar::start_with(&Guide::built()?, &list(&objects), &[])?;
    let mut client = Client::new(sidecar.port);
    for headers in [&[][..], &[("x-version", &b"httpbin-v2"[..])]] {
        let answer = served(client.get(ROOT, "/headers", headers)?, "httpbin");
        assert!(answer.header("set-cookie").is_none());
    }
    assert_eq!(settled_copies(&sidecar)?, 0, "no copy either");
    served(ask(&mut client, &[("x-version", b"httpbin-v2")])?, "httpbin-v2");
    Ok(())
}

#[test]
fn matches_by_path_method_and_header_decide_which_requests_are_split() -> Result<()> {
    let matches = json!([
        {"name": "api", "pathRegex": "/api/v[0-9]+/", "methods": ["GET", "POST"]},
        {"name": "beta", "headers": {"x-beta": "yes|true"}},
        {"name": "delete", "methods": ["DELETE"], "headers": [{"user-agent": "curl/.*"}]},
    ]);
    let objects = [matched(split(0, 100, &[]), "canary", "of-canary"), group("of-canary", matches)];
    let sidecar = Sidecar::start_with(&Guide::built()?, &list(&objects), &[])?;
    let mut client = Client::new(sidecar.port);
    let curl: (&str, &[u8]) = ("user-agent", b"curl/8.0");
    let cases: &[(&str, &str, Headers<'_>, bool)] = &[
        ("GET", "/api/v1/users", &[], true),
        ("POST", "/api/v22/", &[], true),
        ("GET", "/api/v1/users?id=1", &[], true),
        ("PUT", "/api/v1/users", &[], false),
        ("GET", "/api/v1", &[], false),
        ("GET", "/old/api/v1/users", &[], false),
        ("GET", "/json?next=/api/v1/users", &[], false),
        ("GET", "/json", &[("x-beta", b"yes")], true),
        ("PUT", "/api/v1/users", &[("X-Beta", b"true")], true),
        ("GET", "/json", &[("x-beta", b"yes!")], false),
        ("GET", "/json", &[("x-beta", b"no"), ("x-beta", b"yes")], false),
        ("GET", "/json", &[("x-beta", b"yes\xff")], false),
        ("DELETE", "/json", &[curl], true),
        ("DELETE", "/json", &[("user-agent", b"wget")], false),
        ("DELETE", "/json", &[], false),
        ("GET", "/json", &[curl], false),
    ];
    for (method, path, headers, is_split) in cases {
        let answer = client.request(method, ROOT, path, headers)?;
        let version = if *is_split { "httpbin-v2" } else { "httpbin" };
        assert_eq!((answer.status, answer.version().as_str()), (200, version), "{method} {path} {headers:?}");
    }
    assert_eq!(sidecar.httpbin.v1.requests(), 0);
    Ok(())
}

#[test]
fn first_split_whose_matches_accept_decides() -> Result<()> {
    let guide = Guide::built()?;
    let testers = || matched(split(0, 100, &[]), "testers", "testers");
    let objects = |rest: Value| {
        let group = group("testers", json!([{"name": "testers", "headers": {"x-tester": ".+"}}]));
        list(&[testers(), group, rest])
    };
    let sidecar = Sidecar::start_with(&guide, &objects(split(100, 0, &[])), &[])?;
    let mut client = Client::new(sidecar.port);
    let tester: Headers<'_> = &[("x-tester", b"ann")];
    for _ in 0..20 {
        served(ask(&mut client, tester)?, "httpbin-v2");
        served(ask(&mut client, &[])?, "httpbin-v1");
    }
    // The split of all other users changes; the split of testers does not.
    sidecar.apply_objects(&guide, &objects(split(50, 50, &[])))?;
    let versions = (0..60).map(|_| Ok(ask(&mut client, &[])?.version())).collect::<Result<BTreeSet<_>>>()?;
    assert_eq!(versions.len(), 2);
    for _ in 0..20 {
        served(ask(&mut client, tester)?, "httpbin-v2");
    }
    assert_eq!(sidecar.httpbin.root.requests(), 0);
    Ok(())
}

#[test]
fn mirror_of_10_percent_copies_a_tenth_of_4000_requests() -> Result<()> {
    let objects = split(100, 0, &[("mirror", "httpbin-v2=10")]).to_string();
    let sidecar = Sidecar::start_with(&Guide::built()?, &objects, &[])?;
    let mut clients: Vec<Client> = (0..4).map(|_| Client::new(sidecar.port)).collect();
    for number in 0..4000 {
        served(clients[number % 4].get(ROOT, "/json", &[("x-mark", b"mine")])?, "httpbin-v1");
    }
    let copies = settled_copies(&sidecar)?;
    println!("{copies} copies of 4000 requests");
    // Four standard deviations are 76.
    assert!((320..=480).contains(&copies), "{copies}");
    assert_eq!(sidecar.httpbin.v1.requests(), 4000);

    let copy = sidecar.httpbin.v2.last_request();
    assert_eq!((&copy["method"], &copy["path"]), (&json!("GET"), &json!("/json")));
    let headers = copy["headers"].as_array().cloned().unwrap_or_default();
    assert!(headers.contains(&json!(["host", ROOT])), "{headers:?}");
    assert!(headers.contains(&json!(["x-mark", "mine"])), "{headers:?}");
    assert!(!headers.iter().any(|header| header[0] == "x-traffic-split-cluster"), "{headers:?}");
    Ok(())
}

#[test]
fn serving_backend_gets_no_copy() -> Result<()> {
    let guide = Guide::built()?;
    let mirrored = |v1, v2| split(v1, v2, &[("mirror", "httpbin-v2=100")]).to_string();
    let sidecar = Sidecar::start_with(&guide, &mirrored(0, 100), &[])?;
    let mut client = Client::new(sidecar.port);
    for _ in 0..200 {
        served(client.get(ROOT, "/json", &[])?, "httpbin-v2");
    }
    assert_eq!(settled_copies(&sidecar)?, 200, "only its own requests");

    // v2 gets a copy of each request that v1 serves, so it receives every request once.
    sidecar.apply_objects(&guide, &mirrored(50, 50))?;
    for _ in 0..200 {
        assert_eq!(client.get(ROOT, "/json", &[])?.status, 200);
    }
    assert_eq!(settled_copies(&sidecar)?, 400);
    assert!(sidecar.httpbin.v1.requests() > 0);
    Ok(())
}

/// Sends 240 requests; v1 must answer each one within the client's timeout.
fn served_by_v1(sidecar: &Sidecar) -> Result<()> {
    for mut client in clients_of_both_workers(sidecar)? {
        for _ in 0..20 {
            served(client.get(ROOT, "/json", &[])?, "httpbin-v1");
        }
    }
    Ok(())
}

/// Returns a split in which v1 serves all requests and `mirror` gets a copy of each, and the Service of `mirror`.
fn mirrored_to(mirror: &str) -> String {
    let mut split = split(100, 0, &[("mirror", &format!("{mirror}=100"))]);
    split["spec"]["backends"][1]["service"] = mirror.into();
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": mirror, "namespace": "httpbin"},
        "spec": {"ports": [{"port": 14001}]},
    });
    json!({"apiVersion": "v1", "kind": "List", "items": [split, service]}).to_string()
}

#[test]
fn mirror_without_a_pod_fails_no_request() -> Result<()> {
    // No program listens there, so each copy's connection is refused.
    let unserved = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let endpoints = [("httpbin-v3.httpbin", unserved)];
    let sidecar = Sidecar::start_with(&Guide::built()?, &mirrored_to("httpbin-v3"), &endpoints)?;
    served_by_v1(&sidecar)?;
    let failed = "cluster.outbound|14001||httpbin-v3.httpbin.svc.cluster.local.upstream_cx_connect_fail";
    sidecar.envoy.wait_for_stat(failed, |count| count > 0)?;
    Ok(())
}

#[test]
fn unresponsive_mirror_delays_no_request() -> Result<()> {
    // The server accepts connections and never reads from them.
    let silent = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let endpoints = [("httpbin-v3.httpbin", silent.local_addr()?)];
    let sidecar = Sidecar::start_with(&Guide::built()?, &mirrored_to("httpbin-v3"), &endpoints)?;
    // If a response waited for its copy, the client would time out.
    served_by_v1(&sidecar)
}

/// Envoy reads a body only as fast as its slowest receiver, so only small bodies are copied.
#[test]
fn mirror_that_never_reads_delays_no_upload() -> Result<()> {
    let silent = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let endpoints = [("httpbin-v3.httpbin", silent.local_addr()?)];
    let sidecar = Sidecar::start_with(&Guide::built()?, &mirrored_to("httpbin-v3"), &endpoints)?;
    let mut client = Client::new(sidecar.port);
    for megabytes in [0, 1, 30] {
        let size = megabytes << 20;
        let mut request = format!("POST /json HTTP/1.1\r\nhost: {ROOT}\r\ncontent-length: {size}\r\n\r\n").into_bytes();
        request.resize(request.len() + size, b'x');
        let answer = served(client.send_raw(&request)?, "httpbin-v1");
        let copied = !answer.received("x-traffic-split-mirror").is_empty();
        assert_eq!(copied, megabytes < 2, "{megabytes} MB");
    }
    assert_eq!(client.connections(), 1);
    Ok(())
}

#[test]
fn mirror_without_an_envoy_cluster_fails_no_request() -> Result<()> {
    let guide = Guide::built()?;
    let sidecar = Sidecar::start_with(&guide, &split(100, 0, &[]).to_string(), &[])?;
    // v3 did not exist when Envoy started.
    sidecar.apply_objects(&guide, &mirrored_to("httpbin-v3"))?;
    assert!(!sidecar.envoy.admin("/clusters")?.contains("httpbin-v3"));
    served_by_v1(&sidecar)?;
    assert_eq!(settled_copies(&sidecar)?, 0, "no other backend gets the copies");
    Ok(())
}

#[test]
fn forged_mirror_and_cookie_headers_have_no_effect() -> Result<()> {
    let guide = Guide::built()?;
    let sidecar = Sidecar::start_with(&guide, &split(100, 0, &[]).to_string(), &[])?;
    let mut client = Client::new(sidecar.port);
    let forged: Headers<'_> =
        &[("x-traffic-split-mirror", V2.as_bytes()), ("X-Traffic-Split-Set-Cookie", b"session=forged")];
    let hosts = [(ROOT, "httpbin-v1"), ("httpbin-v1.httpbin:14001", "httpbin-v1"), (OTHER, "other")];
    for (host, version) in hosts {
        let answer = served(client.get(host, "/json", forged)?, version);
        assert!(answer.header("set-cookie").is_none(), "{host}: {:?}", answer.headers);
        assert!(answer.received("x-traffic-split-mirror").is_empty(), "{host}");
        assert!(answer.received("x-traffic-split-set-cookie").is_empty(), "{host}");
    }
    assert_eq!((settled_copies(&sidecar)?, sidecar.httpbin.v2.requests()), (0, 0));

    // The split's own mirror and cookie are used instead of the forged ones.
    let annotations = [("sticky-cookie", COOKIE), ("mirror", "httpbin-v2=100")];
    sidecar.apply_objects(&guide, &split(100, 0, &annotations).to_string())?;
    let other: Headers<'_> =
        &[("x-traffic-split-mirror", b"host|other.httpbin"), ("x-traffic-split-set-cookie", b"session=forged")];
    let seen = sidecar.httpbin.other.requests();
    let set = served(client.get(ROOT, "/json", other)?, "httpbin-v1").headers_named("set-cookie");
    assert!(set.len() == 1 && set[0].starts_with("version-of="), "{set:?}");
    assert_eq!(settled_copies(&sidecar)?, 1);
    assert_eq!(sidecar.httpbin.other.requests(), seen);
    Ok(())
}

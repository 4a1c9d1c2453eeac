use super::header_match::HeaderMatch;
use super::header_operations::AppendAction;
use super::mirror::Mirror;
use super::route::Route;
use super::selected_route::SelectedRoute;
use super::table::RouteTable;
use super::virtual_host::VirtualHost;
use crate::http::headers::Headers;

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn headers(pairs: Pairs<'_>) -> Headers {
    pairs.iter().map(|(name, value)| (Vec::from(*name), Vec::from(*value))).collect()
}

/// Returns the headers of a GET request.
fn get(host: &str, path: &str, more: Pairs<'_>) -> Headers {
    headers(&[&[(":method", "GET"), (":authority", host), (":path", path)], more].concat())
}

/// Returns a table with one virtual host for all domains.
fn table(routes: impl IntoIterator<Item = Route>) -> RouteTable {
    let any = routes.into_iter().fold(VirtualHost::new("any", ["*"]), VirtualHost::route);
    RouteTable::builder().virtual_host(any).build().expect("a table")
}

/// Returns a table with one virtual host per domain; the cluster has the domain's name.
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

/// Returns the cluster of a request, or an empty string.
fn cluster(table: &RouteTable, request: &Headers) -> String {
    let selected = table.select(request, 0);
    let cluster = selected.as_ref().and_then(SelectedRoute::cluster).unwrap_or_default();
    String::from_utf8_lossy(cluster).into_owned()
}

#[track_caller]
fn refused(routes: impl IntoIterator<Item = Route>, why: &str) {
    let any = routes.into_iter().fold(VirtualHost::new("any", ["*"]), VirtualHost::route);
    let problems = RouteTable::builder().virtual_host(any).build().expect_err("an error").to_string();
    assert!(problems.contains(why), "{problems}");
}

// Virtual hosts

#[test]
fn exact_domains_precede_suffixes_then_prefixes_then_any() {
    let table = hosts(&["*", "shop.*", "*.com", "*.example.com", "*-eu.example.com", "shop.eu.*", "shop.com"], false);
    for (host, domain) in [
        ("shop.com", "shop.com"),
        ("SHOP.Com", "shop.com"),
        ("a.com", "*.com"),
        ("a.example.com", "*.example.com"),
        ("a-eu.example.com", "*-eu.example.com"),
        ("shop.example.com", "*.example.com"),
        ("shop.org", "shop.*"),
        ("shop.eu.org", "shop.eu.*"),
        // `*` matches at least one character.
        (".com", "*"),
        ("shop.", "*"),
        ("elsewhere", "*"),
        ("", "*"),
    ] {
        assert_eq!(cluster(&table, &get(host, "/", &[])), domain, "{host}");
    }
}

#[test]
fn a_port_is_part_of_the_host_unless_ignored() {
    let domains = ["shop", "shop:80", "[::1]"];
    let minding = hosts(&domains, false);
    let ignoring = hosts(&domains, true);
    for (host, minded, ignored) in [
        ("shop", "shop", "shop"),
        ("shop:80", "shop:80", "shop"),
        ("shop:81", "", "shop"),
        // The text after the colon is not checked.
        ("shop:http", "", "shop"),
        ("shop:", "", "shop"),
        ("[::1]", "[::1]", "[::1]"),
        ("[::1]:80", "", "[::1]"),
    ] {
        let request = get(host, "/", &[]);
        assert_eq!((&cluster(&minding, &request)[..], &cluster(&ignoring, &request)[..]), (minded, ignored), "{host}");
    }
}

#[test]
fn a_request_without_authority_matches_only_the_any_domain() {
    let request = headers(&[(":path", "/")]);
    assert_eq!(cluster(&hosts(&["*"], false), &request), "*");
    assert!(hosts(&["*", "shop"], false).select(&request, 0).is_none());
}

#[test]
fn no_other_virtual_host_is_tried_when_no_route_matches() {
    let shop = VirtualHost::new("shop", ["shop"]).route(Route::to_cluster("cart").path("/cart"));
    let any = VirtualHost::new("any", ["*"]).route(Route::to_cluster("any"));
    let table = RouteTable::builder().virtual_host(shop).virtual_host(any).build().expect("a table");
    assert_eq!(cluster(&table, &get("shop", "/cart", &[])), "cart");
    assert!(table.select(&get("shop", "/", &[]), 0).is_none());
    assert_eq!(table.select(&get("bank", "/", &[]), 0).expect("a route").virtual_host(), "any");
}

// Matches.

#[test]
fn the_first_matching_route_is_selected() {
    let table = table([
        Route::to_cluster("a").prefix("/a").named("first"),
        Route::to_cluster("ab").prefix("/ab"),
        Route::to_cluster("rest"),
    ]);
    assert_eq!(table.select(&get("h", "/abc", &[]), 0).expect("a route").route().name(), "first");
    assert_eq!(cluster(&table, &get("h", "/b", &[])), "rest");
}

#[test]
fn paths_match_case_sensitively_without_query_and_fragment() {
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
fn the_empty_prefix_matches_all_paths() {
    assert_eq!(cluster(&table([Route::to_cluster("c").prefix("a")]), &get("h", "/a", &[])), "");
    assert_eq!(cluster(&table([Route::to_cluster("c").prefix("")]), &get("h", "/a", &[])), "c");
}

#[test]
fn a_request_without_a_path_has_no_route() {
    assert!(table([Route::to_cluster("any")]).select(&headers(&[(":authority", "h")]), 0).is_none());
}

#[test]
fn header_matchers_behave_as_in_envoy() {
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
        let fits = |more| table.select(&get("h", "/", more), 0).is_some();
        fitting.into_iter().for_each(|more| assert!(fits(more), "{header:?} {more:?}"));
        others.into_iter().for_each(|more| assert!(!fits(more), "{header:?} {more:?}"));
    }
}

#[test]
fn all_header_matchers_must_match() {
    let table = table([Route::to_cluster("c").header(HeaderMatch::present("a")).header(HeaderMatch::exact("b", "1"))]);
    assert!(table.select(&get("h", "/", &[("a", ""), ("b", "1")]), 0).is_some());
    assert!(table.select(&get("h", "/", &[("a", ""), ("b", "2")]), 0).is_none());
    assert!(table.select(&get("h", "/", &[("b", "1")]), 0).is_none());
}

// Clusters.

#[test]
fn the_first_value_of_cluster_header_names_the_cluster() {
    let table = table([Route::to_cluster_header("x-cluster")]);
    assert_eq!(cluster(&table, &get("h", "/", &[("x-cluster", "v1"), ("x-cluster", "v2")])), "v1");
}

#[test]
fn an_unknown_cluster_is_answered_503_nc() {
    let route = || Route::to_cluster_header("x-cluster").remove_request_header("x-cluster");
    let any = VirtualHost::new("any", ["*"])
        .route(Route::to_cluster("v3").path("/404").cluster_not_found_response_code(404))
        .route(route().add_response_header("x-was", "%REQ(x-cluster)%"));
    let builder = RouteTable::builder().virtual_host(any).clusters(["v1"]).clusters(["v2"]);
    let table = builder.build().expect("a table");
    for (more, was) in [(&[][..], ""), (&[("x-cluster", "")], ""), (&[("x-cluster", "v3")], "v3")] {
        let mut request = get("h", "/", more);
        let selected = table.select(&request, 0).expect("a route");
        let response = selected.local_response().expect("an answer");
        assert_eq!((selected.cluster(), response.status, response.flag), (None, 503, "NC"));
        assert_eq!(response.body, b"");
        // No header is removed from the request, but the response gets the route's headers.
        selected.finalize_request(&mut request);
        assert_eq!(request, get("h", "/", more));
        let mut response = Headers::default();
        selected.finalize_response(&request, &mut response);
        assert_eq!(response.get("x-was").unwrap_or_default(), was.as_bytes());
        assert_eq!(selected.mirrors(&request, 0), []);
    }
    for known in ["v1", "v2"] {
        let request = get("h", "/", &[("x-cluster", known)]);
        assert_eq!(cluster(&table, &request), known);
        assert_eq!(table.select(&request, 0).and_then(|selected| selected.local_response()), None);
    }
    let response = table.select(&get("h", "/404", &[]), 0).and_then(|selected| selected.local_response());
    assert_eq!(response.map(|response| response.status), Some(404));
}

#[test]
fn weighted_clusters_share_the_random_numbers() {
    let table = table([Route::to_weighted_clusters([("a", 1), ("none", 0), ("b", 3)])]);
    let selected = |random| table.select(&get("h", "/", &[]), random).expect("a route").cluster().map(<[u8]>::to_vec);
    let seen: Vec<_> = (0..8).map(|random| selected(random).unwrap_or_default()).collect();
    assert_eq!(seen.concat(), b"abbbabbb");
    // 2⁶⁴ − 1 leaves 3.
    assert_eq!(selected(u64::MAX), Some(b"b".to_vec()));
}

#[test]
fn a_direct_response_has_no_cluster_and_gets_response_headers() {
    let table = table([Route::to_direct_response(418, "tea")
        .remove_request_header("x-a")
        .add_response_header("x-was", "%REQ(x-a)%")]);
    let mut request = get("h", "/", &[("x-a", "1")]);
    let selected = table.select(&request, 0).expect("a route");
    let response = selected.local_response().expect("an answer");
    assert_eq!((response.status, &response.body[..], response.flag), (418, &b"tea"[..], ""));
    selected.finalize_request(&mut request);
    let mut response = Headers::default();
    selected.finalize_response(&request, &mut response);
    assert_eq!(response, headers(&[("x-was", "1")]));
}

#[test]
fn a_selected_cluster_stays_when_its_header_changes() {
    let table = table([Route::to_cluster_header("x-cluster")]);
    let mut request = get("h", "/", &[("x-cluster", "v1")]);
    let selected = table.select(&request, 0).expect("a route");
    request.replace(b"x-cluster", "v2");
    assert_eq!(selected.cluster(), Some(&b"v1"[..]));
    assert_eq!(cluster(&table, &request), "v2");
}

// Headers.

/// Returns the headers that the upstream receives if a client also sends these headers.
fn finalized(route: Route, more: Pairs<'_>) -> Headers {
    let table = table([route]);
    let mut request = get("h", "/", more);
    table.select(&request, 0).expect("a route").finalize_request(&mut request);
    request
}

#[test]
fn headers_are_removed_then_computed_then_replaced_then_appended() {
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
fn append_actions_decide_about_existing_headers() {
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
fn values_are_formatted_from_the_request() {
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
fn an_empty_value_replaces_nothing() {
    let route = Route::to_cluster("c").set_request_header("x-a", "%REQ(x-b)%", AppendAction::OverwriteIfExistsOrAdd);
    assert_eq!(finalized(route, &[("x-a", "1")]), get("h", "/", &[("x-a", "1")]));
}

#[test]
fn response_headers_see_the_finalized_request() {
    let table = table([Route::to_cluster_header("x-cluster")
        .remove_request_header("x-cluster")
        .add_request_header("x-added", "added")
        .remove_response_header("x-pod")
        .add_response_header("x-cluster", "%REQ(x-cluster)%")
        .add_response_header("x-added", "%REQ(x-added)%")
        .add_response_header("set-cookie", "%REQ(x-set-cookie)%")]);
    let mut request = get("h", "/", &[("x-cluster", "c"), ("x-set-cookie", "a=b")]);
    let selected = table.select(&request, 0).expect("a route");
    selected.finalize_request(&mut request);
    let mut response = headers(&[(":status", "200"), ("x-pod", "1"), ("set-cookie", "c=d")]);
    selected.finalize_response(&request, &mut response);
    let expected = [(":status", "200"), ("set-cookie", "c=d"), ("x-added", "added"), ("set-cookie", "a=b")];
    assert_eq!(response, headers(&expected));
}

// Mirrors.

/// The clusters and hosts of the copies of a request, with a known cluster `v2` and unknown others.
fn copies(route: Route, request: Headers, random: u64) -> Vec<(String, String)> {
    let any = VirtualHost::new("any", ["*"]).route(route);
    let table = RouteTable::builder().virtual_host(any).clusters(["v1", "v2"]).build().expect("a table");
    let mut request = request;
    let selected = table.select(&request, random).expect("a route");
    selected.finalize_request(&mut request);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let copies = selected.mirrors(&request, random);
    copies.iter().map(|copy| (text(&copy.cluster), text(copy.headers.get(":authority").unwrap_or_default()))).collect()
}

#[test]
fn a_copy_goes_to_the_cluster_that_its_header_names() {
    let route = || Route::to_cluster("v1").mirror(Mirror::to_cluster_header("x-mirror"));
    let request = |more| get("h", "/", more);
    assert_eq!(copies(route(), request(&[("x-mirror", "v2"), ("x-mirror", "v1")]), 0).len(), 1);
    for none in [&[][..], &[("x-mirror", "")], &[("x-mirror", "unknown")]] {
        assert_eq!(copies(route(), request(none), 0), [], "{none:?}");
    }
    // A header that the route removes no longer selects a mirror.
    assert_eq!(copies(route().remove_request_header("x-mirror"), request(&[("x-mirror", "v2")]), 0), []);
}

#[test]
fn a_copy_is_the_finalized_request_with_a_shadow_host() {
    let table = table([Route::to_cluster("v1")
        .remove_request_header("x-a")
        .add_request_header("x-b", "1")
        .mirror(Mirror::to_cluster("v2"))]);
    let mut request = get("h:80", "/", &[("x-a", "1")]);
    let selected = table.select(&request, 0).expect("a route");
    selected.finalize_request(&mut request);
    assert_eq!(selected.mirrors(&request, 0)[0].headers, get("h-shadow:80", "/", &[("x-b", "1")]));
    for (host, shadow) in [("h", "h-shadow"), ("[::1]:80", "[::1]-shadow:80"), ("[::1]", "[::1]-shadow")] {
        let route = || Route::to_cluster("v1").mirror(Mirror::to_cluster("v2"));
        assert_eq!(copies(route(), get(host, "/", &[]), 0), [("v2".into(), shadow.into())]);
        let kept = Route::to_cluster("v1").mirror(Mirror::to_cluster("v2").keep_host());
        assert_eq!(copies(kept, get(host, "/", &[]), 0), [("v2".into(), host.into())]);
    }
}

#[test]
fn mutations_change_only_the_copy_in_order() {
    let overwrite = AppendAction::OverwriteIfExistsOrAdd;
    let mirror = Mirror::to_cluster_header("x-mirror").keep_host();
    let mirror = mirror.set_header("x-was", "%REQ(x-backend)%", overwrite).remove_header("x-backend");
    let mirror = mirror.set_header("x-mirror", "copy", overwrite).set_header("x-none", "%REQ(x-backend)%", overwrite);
    let table = table([Route::to_cluster("v1").mirror(mirror)]);
    let mut request = get("h", "/", &[("x-mirror", "v2"), ("x-backend", "v1")]);
    let selected = table.select(&request, 0).expect("a route");
    selected.finalize_request(&mut request);
    let copies = selected.mirrors(&request, 0);
    assert_eq!(copies[0].cluster, b"v2");
    let header = |name: &str| copies[0].headers.get(name).map(<[u8]>::to_vec);
    assert_eq!([header("x-mirror"), header("x-was")], [Some(b"copy".to_vec()), Some(b"v1".to_vec())]);
    assert_eq!([header("x-backend"), header("x-none")], [None, None]);
    assert_eq!(request.get("x-backend"), Some(&b"v1"[..]));
}

#[test]
fn fractions_and_weights_use_the_same_random_number() {
    let route =
        || Route::to_weighted_clusters([("v1", 50), ("v2", 50)]).mirror(Mirror::to_cluster("v2").fraction(10, 100));
    let copied: Vec<_> = (0..200).filter(|random| !copies(route(), get("h", "/", &[]), *random).is_empty()).collect();
    assert_eq!(copied, [(0..10).collect::<Vec<_>>(), (100..110).collect()].concat());
}

#[test]
fn every_mirror_copies_except_connect_requests() {
    let route =
        || Route::to_cluster("v1").mirror(Mirror::to_cluster("v2")).mirror(Mirror::to_cluster("v1").keep_host());
    let clusters: Vec<_> = copies(route(), get("h", "/", &[]), 0).into_iter().map(|(cluster, _)| cluster).collect();
    assert_eq!(clusters, ["v2", "v1"]);
    let connect = headers(&[(":method", "CONNECT"), (":authority", "h"), (":path", "/")]);
    assert_eq!(copies(route(), connect, 0), []);
}

// Rejected configurations

#[test]
fn routes_that_envoy_rejects_are_errors_with_their_place() {
    let c = || Route::to_cluster("c");
    for prefix in ["", "/", "a", "/a/", "/a?b", "/a#b"] {
        let why = format!("virtual host any, route 2: path_separated_prefix {prefix} is not a path without");
        refused([c(), c().path_separated_prefix(prefix)], &why);
    }
    refused([Route::to_cluster("")], "the cluster name is empty");
    refused([Route::to_cluster_header("")], "the name of the cluster header is empty");
    refused([Route::to_direct_response(199, "")], "the status of the direct response is 199");
    refused([Route::to_direct_response(600, "")], "the status of the direct response is 600");
    refused([Route::to_weighted_clusters([("a", 0)])], "the sum of weights is 0");
    refused([Route::to_weighted_clusters([("a", u32::MAX), ("b", 1)])], "the sum of weights is 4294967296");
    refused([c().remove_request_header("Host")], "header Host: a route cannot add or remove it");
    refused([c().add_request_header(":path", "/")], "header :path: a route cannot add or remove it");
    refused([c().remove_response_header(":status")], "header :status: a route cannot add or remove it");
    refused([c().add_response_header("", "a")], "the header name is empty");
    refused([c().add_request_header("x-a\n", "a")], "the header name \"x-a\\n\" contains a line break or NUL");
    refused([c().add_response_header("x-a", "a\r")], "header x-a: the value \"a\\r\" contains a line break or NUL");
    refused([c().header(HeaderMatch::present(""))], "header matcher: the name \"\" is not a header name");
    refused([c().cluster_not_found_response_code(502)], "cluster_not_found_response_code is 502");
    refused(
        [c().mirror(Mirror::to_cluster("m").fraction(1, 10))],
        "mirror: the denominator of the fraction is 10, not",
    );
    for format in
        ["50%", "%REQ(a", "%REQ()%", "%REQ(a?b?c)%", "%REQ%", "%REQ(a):x%", "%REQ(a):%", "%REQ(a)x%", "%PROTOCOL%"]
    {
        refused(
            [c().add_response_header("x-a", format)],
            &format!("header x-a: the value {format} contains an unknown command"),
        );
    }
    let builder = || RouteTable::builder().virtual_host(VirtualHost::new("a", ["shop", "*"]));
    for (domains, why) in [
        (vec!["SHOP"], "virtual host b: the domain shop is duplicated"),
        (vec!["*"], "virtual host b: the domain * is duplicated"),
        (vec![], "virtual host b: domains are missing"),
    ] {
        let error = builder().virtual_host(VirtualHost::new("b", domains)).build().expect_err("an error");
        assert_eq!(error.problems, [why]);
    }
    let error = builder().virtual_host(VirtualHost::new("", ["b"])).build().expect_err("an error");
    assert_eq!(error.problems, ["virtual host 2: the name is empty"]);
}

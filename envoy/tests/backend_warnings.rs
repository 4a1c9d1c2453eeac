//! The Services of files: which backends receive no requests, and the warnings about them.

use fixtures::TrafficSplit;
use serde_json::{Value, json};
use traffic_split_envoy::{Input, InputFile, LoadOptions, RequestDescription, explain, load};

fn split(root: &str, weights: &[(&str, i32)]) -> Value {
    TrafficSplit::new("web", root).namespace("shop").backends(weights).build()
}

fn annotated(mut split: Value, annotations: Value) -> Value {
    split["metadata"]["annotations"] = annotations;
    split
}

fn service(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"}, "spec": spec})
}

fn with_ports(name: &str, ports: &[u16]) -> Value {
    let ports: Vec<_> = ports.iter().map(|port| json!({"port": port})).collect();
    service(name, json!({"ports": ports}))
}

fn file(name: &str, value: &Value) -> InputFile {
    InputFile { name: name.into(), content: Ok(value.to_string().into_bytes()) }
}

fn loaded(objects: &[Value], config: Option<Value>) -> Input {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    load(
        &[file("shop.json", &list)],
        config.map(|config| file("config.json", &config)).as_ref(),
        &LoadOptions::default(),
    )
    .unwrap()
}

/// Returns field and message of each warning about the split.
fn warnings(input: &Input) -> Vec<String> {
    let warnings = input.warnings.iter();
    let text = warnings.map(|warning| {
        assert_eq!((&*warning.file, &*warning.object), ("shop.json", "TrafficSplit shop/web"));
        format!("{}: {}", warning.field, warning.message)
    });
    text.collect()
}

fn services(input: &Input) -> Value {
    serde_json::to_value(&input.configuration.services).unwrap()
}

#[test]
fn without_services_of_the_namespace_nothing_is_known_and_nothing_is_reported() {
    let other = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "other"},
                       "spec": {"ports": [{"port": 80}]}});
    for objects in [vec![], vec![other]] {
        let input = loaded(&[vec![split("web", &[("v1", 1), ("v2", 1)])], objects].concat(), None);
        assert_eq!(warnings(&input), [""; 0]);
        assert!(!input.configuration.services.contains_key("shop/v1"));
    }
}

/// Users may pass only the root's Service, for its ports: the Services of the backends then may also exist.
#[test]
fn roots_service_alone_leaves_out_no_backend_and_is_reported() {
    let input = loaded(&[split("web", &[("v1", 1), ("v2", 1)]), with_ports("web", &[80])], None);
    assert_eq!(
        warnings(&input),
        [
            "spec.backends: the input has no Service of a backend, such as v1, so it is unknown whether the backends exist; \
          add their Services to the input"
        ]
    );
    assert_eq!(services(&input), json!({"shop/web": {"ports": [80]}}));
    let config = json!({"services": {"shop/v1": {"ports": [80]}, "shop/v2": {"ports": [80]}}});
    let input = loaded(&[split("web", &[("v1", 1), ("v2", 1)]), with_ports("web", &[80])], Some(config));
    assert_eq!(warnings(&input), [""; 0]);
}

#[test]
fn missing_backend_has_no_ports_and_the_nearest_unused_name_is_suggested() {
    let input = loaded(
        &[
            split("web", &[("web-v1", 90), ("web-v3", 10)]),
            with_ports("web", &[80]),
            with_ports("web-v1", &[80]),
            with_ports("web-v2", &[80]),
        ],
        None,
    );
    assert_eq!(
        warnings(&input),
        ["spec.backends[1].service: Service web-v3 does not exist; it receives no requests; did you mean `web-v2`?"]
    );
    assert_eq!(
        services(&input),
        json!({"shop/web": {"ports": [80]}, "shop/web-v1": {"ports": [80]}, "shop/web-v2": {"ports": [80]},
               "shop/web-v3": {"ports": []}})
    );
}

#[test]
fn missing_services_without_a_similar_name_have_a_remedy() {
    let remedy = "add the Service to the input, or correct the name";
    let input = loaded(&[split("shop", &[("stable", 1), ("canary", 1)]), with_ports("stable", &[80])], None);
    assert_eq!(
        warnings(&input),
        [
            format!("spec.service: the root Service shop does not exist; {remedy}"),
            format!("spec.backends[1].service: Service canary does not exist; it receives no requests; {remedy}"),
        ]
    );
    let input = loaded(&[split("wbe", &[("stable", 1)]), with_ports("stable", &[80]), with_ports("web", &[80])], None);
    assert_eq!(warnings(&input), ["spec.service: the root Service wbe does not exist; did you mean `web`?"]);
}

#[test]
fn backend_without_a_cluster_in_istio_has_no_ports() {
    for (spec, why) in [
        (json!({"clusterIP": "None", "ports": [{"port": 80}]}), "is headless"),
        (json!({"clusterIP": "None"}), "is headless"),
        (json!({"type": "ExternalName", "externalName": "a.example.com"}), "is of type ExternalName"),
        (json!({"type": "ExternalName", "ports": [{"port": 80}]}), "is of type ExternalName"),
        (json!({}), "has no ports"),
        (json!({"ports": []}), "has no ports"),
        (json!({"ports": null}), "has no ports"),
        (json!({"ports": [{"port": 80, "protocol": "UDP"}]}), "has no TCP ports"),
    ] {
        let objects = [
            split("web", &[("v1", 1), ("v2", 1)]),
            with_ports("web", &[80]),
            with_ports("v1", &[80]),
            service("v2", spec),
        ];
        let input = loaded(&objects, None);
        assert_eq!(
            warnings(&input),
            [format!(
                "spec.backends[1].service: Service v2 {why}; it receives no requests; \
                 name a Service with a cluster IP and TCP ports"
            )]
        );
        assert_eq!(services(&input)["shop/v2"], json!({"ports": []}));
        // The operator's entry takes precedence.
        let input = loaded(&objects, Some(json!({"services": {"shop/v2": {"ports": [80]}}})));
        assert_eq!(warnings(&input), [""; 0]);
        assert_eq!(services(&input)["shop/v2"], json!({"ports": [80]}));
    }
}

#[test]
fn ports_that_a_backend_lacks_are_listed() {
    let services =
        |ports: &[u16]| vec![with_ports("web", &[80, 443]), with_ports("v1", &[80, 443]), with_ports("v2", ports)];
    let split = split("web", &[("v1", 1), ("v2", 1)]);
    for (ports, message) in [
        (&[443][..], "has no port 80; it receives requests to its own ports only"),
        (&[8080], "has no port 80, 443; it receives no requests"),
        (&[80, 443, 8080], ""),
    ] {
        let input = loaded(&[vec![split.clone()], services(ports)].concat(), None);
        let expected = match message {
            "" => vec![],
            _ => vec![format!("spec.backends[1].service: Service v2 {message}; add the port to the Service")],
        };
        assert_eq!(warnings(&input), expected);
    }
}

#[test]
fn split_without_a_usable_backend_leaves_all_requests_to_the_root() {
    let input =
        loaded(&[split("web", &[("v1", 1), ("v2", 0)]), with_ports("web", &[80]), with_ports("other", &[80])], None);
    assert_eq!(
        warnings(&input)[0],
        "spec.backends: no backend with a weight above 0 can receive requests; the root web serves all requests of the split"
    );
    assert_eq!(warnings(&input).len(), 2, "a backend of weight 0 may come and go");
}

#[test]
fn operators_entries_count_as_services_but_not_as_all_services_of_the_namespace() {
    let splits = || split("web", &[("v1", 1), ("v2", 1)]);
    let config = || Some(json!({"services": {"shop/web": {"ports": [80]}, "shop/v1": {"cluster": "one"}}}));
    assert_eq!(warnings(&loaded(&[splits()], config())), [""; 0], "v2 may exist");
    let input = loaded(&[splits(), with_ports("other", &[80])], config());
    assert_eq!(
        warnings(&input),
        ["spec.backends[1].service: Service v2 does not exist; it receives no requests; \
          add the Service to the input, or correct the name"]
    );
}

#[test]
fn override_or_mirror_to_a_missing_backend_is_reported() {
    let services = [with_ports("web", &[80]), with_ports("v1", &[80])];
    for (annotations, count) in [
        (json!({}), 0),
        (json!({"traffic-split/override-header": "x-version"}), 1),
        (json!({"traffic-split/mirror": "v2=10"}), 1),
        (json!({"traffic-split/mirror": "v1=10"}), 0),
    ] {
        let split = annotated(split("web", &[("v1", 1), ("v2", 0)]), annotations);
        let warnings = warnings(&loaded(&[vec![split], services.to_vec()].concat(), None));
        let missing = warnings.iter().filter(|warning| warning.contains("Service v2 does not exist"));
        assert_eq!(missing.count(), count, "{warnings:?}");
    }
}

#[test]
fn explain_leaves_a_missing_backend_out() {
    let input =
        loaded(&[split("web", &[("v1", 1), ("v2", 1)]), with_ports("web", &[80]), with_ports("v1", &[80])], None);
    let request = RequestDescription {
        method: "GET".into(),
        path: "/".into(),
        host: "web.shop".into(),
        headers: vec![],
        port: None,
        namespace: None,
        http2: false,
    };
    let explanation = explain(&input, &request).to_string();
    assert!(explanation.contains("goes to   v1, cluster"), "{explanation}");
    assert!(explanation.contains("v2            1      -  none: the Service does not exist"), "{explanation}");
}

#[test]
fn service_with_an_invalid_name_is_an_error() {
    let errors = load(&[file("s.json", &with_ports("Web", &[80]))], None, &LoadOptions::default()).unwrap_err();
    let [error] = &errors[..] else { panic!("{errors:?}") };
    assert_eq!(
        error.to_string(),
        "s.json:1:56: Service shop/Web: metadata.name: is not a DNS label; use lower-case letters, digits and `-`, 63 at most"
    );
}

//! The port of a request: the filter, `explain` and the routes of the rendered bootstrap agree.

use fastrand::Rng;
use fixtures::FixedRandom;
use serde_json::{Value, json};
use traffic_split::{Configuration, Decision, Rules};
use traffic_split_envoy::{
    BootstrapOptions, Header, Input, InputFile, LoadOptions, RequestDescription, bootstrap, explain, load,
    unsplit_requests,
};

const ROUTES: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts";

/// Returns an input with the split of `web.shop`, whose cluster names end in the port.
fn input(ports: &[u16], hosts: &Value) -> Input {
    let split = json!({
        "apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"service": "web", "backends": [{"service": "web-v1", "weight": 1}]},
    });
    let services = json!({"shop/web": {"ports": ports}, "shop/web-v1": {"ports": ports}});
    let value = json!({
        "cluster": "{service}:{port}", "trafficSplits": [split], "services": services, "hosts": hosts,
    });
    let config = InputFile { name: "config.yaml".into(), content: Ok(value.to_string().into_bytes()) };
    load(&[], Some(&config), &LoadOptions::default()).unwrap()
}

fn request(host: &str, https: bool, port: u16) -> RequestDescription {
    let headers = if https { vec!["x-forwarded-proto: HTTPS".parse::<Header>().unwrap()] } else { vec![] };
    RequestDescription {
        method: "GET".into(),
        path: "/".into(),
        host: host.into(),
        headers,
        http2: false,
        port: Some(port),
        namespace: None,
    }
}

fn rendered(configuration: &Configuration, listener: u16) -> Value {
    let mut options = BootstrapOptions::default();
    options.listen.set_port(listener);
    serde_saphyr::from_str(&bootstrap(configuration, &options)).unwrap()
}

/// Returns the cluster of a request that the filter does not split, as Envoy selects it from the bootstrap's routes.
fn fall_through(envoy: &Value, host: &str, https: bool) -> String {
    let name = host.split(':').next().unwrap();
    let virtual_hosts = envoy.pointer(ROUTES).unwrap().as_array().unwrap();
    let has_name =
        |virtual_host: &&Value| virtual_host["domains"].as_array().unwrap().iter().any(|domain| domain == name);
    let virtual_host = virtual_hosts.iter().find(has_name).unwrap();
    let matches = |route: &&Value| {
        let headers = route.pointer("/match/headers").and_then(Value::as_array);
        headers.into_iter().flatten().all(|header| match header["name"].as_str().unwrap() {
            ":authority" => host.ends_with(header.pointer("/string_match/suffix").unwrap().as_str().unwrap()),
            "x-forwarded-proto" => https,
            _ => false,
        })
    };
    let route = virtual_host["routes"].as_array().unwrap().iter().find(matches).unwrap();
    route.pointer("/route/cluster").unwrap().as_str().unwrap().to_owned()
}

#[test]
fn filter_explanation_and_bootstrap_select_the_same_port() {
    let mut rng = Rng::with_seed(13);
    let (mut split, mut root) = (0, 0);
    for _ in 0..3000 {
        let mut ports: Vec<u16> =
            (0..1 + rng.usize(..4)).map(|_| *rng.choice(&[80, 443, 8080, 9090, 14001]).unwrap()).collect();
        ports.sort_unstable();
        ports.dedup();
        let listener = *rng.choice(&[80, 443, 8080, 14001, 15001]).unwrap();
        let configured = match rng.choice([80, 443, 8080]) {
            Some(port) if rng.bool() => json!({"service": "shop/web", "port": port}),
            _ => json!("shop/web"),
        };
        let input = input(&ports, &json!({"shop.example.com": configured}));
        let name = *rng.choice(&["web.shop", "web.shop.svc.cluster.local", "shop.example.com"]).unwrap();
        let port = *rng.choice(&["", "", ":80", ":443", ":8080", ":9090", ":7"]).unwrap();
        let (host, https) = (format!("{name}{port}"), rng.bool());
        let about = format!("{host} on {listener}, https: {https}, ports {ports:?}, hosts {configured}");

        let request = request(&host, https, listener);
        let explained = serde_json::to_value(explain(&input, &request)).unwrap();
        let cluster = fall_through(&rendered(&input.configuration, listener), &host, https);
        let rules = Rules::new(&input.configuration, None);
        match rules.decide(&request, &mut FixedRandom::always(0)) {
            Decision::Backend(pick) => {
                let port = pick.cluster.strip_prefix("web-v1:").unwrap().to_owned();
                assert_eq!(explained["port"].to_string(), port, "{about}");
                assert_eq!(cluster, format!("web:{port}"), "{about}");
                split += 1;
            }
            Decision::Root(_) => {
                assert_eq!(explained["root"]["code"], "noPort", "{about}");
                root += 1;
            }
        }
    }
    assert!(split > 1000 && root > 200, "{split} split, {root} not split");
}

/// The port in the `Host` of a gateway's client must not select a port that the operator did not configure.
#[test]
fn port_in_host_selects_no_port_of_a_name_in_hosts() {
    let hosts = json!({"shop.example.com": "shop/web", "api.example.com": {"service": "shop/web", "port": 9090}});
    let envoy = rendered(&input(&[80, 9090], &hosts).configuration, 8080);
    assert_eq!(fall_through(&envoy, "web.shop:9090", false), "web:9090");
    assert_eq!(fall_through(&envoy, "shop.example.com:9090", false), "web:80");
    assert_eq!(fall_through(&envoy, "api.example.com:80", false), "web:9090");
}

#[test]
fn root_without_a_port_for_the_listener_has_a_warning() {
    let warnings = |ports: &[u16], listener| unsplit_requests(&input(ports, &json!({})).configuration, listener);
    assert_eq!(
        warnings(&[8080, 9090], 14001),
        ["requests to web.shop without a port in `Host` go to port 8080 and are not split, because the Service has \
             neither the listener's port 14001 nor port 80; set --listen to one of its ports: 8080, 9090"]
    );
    for (ports, listener) in [(&[80, 9090][..], 14001), (&[8080, 9090], 9090), (&[8080], 14001), (&[], 14001)] {
        assert_eq!(warnings(ports, listener), Vec::<String>::new(), "{ports:?} {listener}");
    }
}

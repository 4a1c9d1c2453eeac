//! The table of cases: which host, under which configuration, goes to which cluster. The core, the filter in the
//! simulator and the filter in a real Envoy all answer the same.
//!
//! The configurations leave one backend to choose, so that a case has one answer; shares are another test's.

/// Cases that share a configuration.
#[derive(Clone, Copy, Debug)]
pub struct Suite {
    /// What the cases are about.
    pub about: &'static str,
    /// The plugin configuration, JSON.
    pub configuration: &'static str,
    /// The client's namespace, as the node's metadata says it.
    pub namespace: &'static str,
    /// The cases.
    pub cases: &'static [Case],
}

/// One request and where it goes.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The `:authority`, byte by byte.
    pub authority: &'static [u8],
    /// The port the client connects to.
    pub port: u16,
    /// The cluster it goes to; `None` is the root, as if there were no split.
    pub cluster: Option<&'static str>,
}

const fn to(authority: &'static str, cluster: &'static str) -> Case {
    Case { authority: authority.as_bytes(), port: 14001, cluster: Some(cluster) }
}

const fn root(authority: &'static str) -> Case {
    Case { authority: authority.as_bytes(), port: 14001, cluster: None }
}

impl Case {
    const fn on(mut self, port: u16) -> Case {
        self.port = port;
        self
    }
}

/// The ports that cases connect to.
pub const PORTS: [u16; 3] = [14001, 14002, 14003];

/// A plugin configuration with splits for `httpbin/httpbin`; the first argument goes before them.
macro_rules! configuration {
    ($keys:literal, $backends:literal) => {
        concat!(
            "{",
            $keys,
            r#""trafficSplits": [{"apiVersion": "split.smi-spec.io/v1alpha2", "kind": "TrafficSplit",
                "metadata": {"name": "http-split", "namespace": "httpbin"},
                "spec": {"service": "httpbin.httpbin.svc.cluster.local", "backends": "#,
            $backends,
            "}}]}"
        )
    };
}

const V1: &str = "outbound|14001||httpbin-v1.httpbin.svc.cluster.local";

/// The table.
pub const SUITES: &[Suite] = &[
    Suite {
        about: "hosts of a root",
        configuration: configuration!("", r#"[{"service": "httpbin-v1", "weight": 100}]"#),
        namespace: "curl",
        cases: &[
            to("httpbin.httpbin", V1),
            to("httpbin.httpbin:14001", V1),
            to("httpbin.httpbin.svc", V1),
            to("httpbin.httpbin.svc:14001", V1),
            to("httpbin.httpbin.svc.cluster", V1),
            to("httpbin.httpbin.svc.cluster.local", V1),
            to("httpbin.httpbin.svc.cluster.local:14001", V1),
            to("HTTPBIN.HTTPBIN:14001", V1),
            to("Httpbin.HttpBin.SVC.Cluster.Local", V1),
            to("httpbin.httpbin.", V1),
            to("httpbin.httpbin.:14001", V1),
            to("httpbin.httpbin.svc.cluster.local.:14001", V1),
            to("httpbin.httpbin:80", "outbound|80||httpbin-v1.httpbin.svc.cluster.local"),
            to("httpbin.httpbin:00080", "outbound|80||httpbin-v1.httpbin.svc.cluster.local"),
            to("httpbin.httpbin:65535", "outbound|65535||httpbin-v1.httpbin.svc.cluster.local"),
            root("other.httpbin:14001"),
            root("httpbin"),
            root("httpbin:14001"),
            root("httpbin.other"),
            root("httpbin-v1.httpbin:14001"),
            root("httpbin.httpbin.svc.example.org"),
            root("httpbin.httpbin.pod"),
            root("httpbin.httpbin.svc.cluster.local.example.org"),
            root("httpbin.httpbin.svcx"),
            root("x.httpbin.httpbin"),
            root("httpbin.httpbin.."),
            root("httpbin..httpbin"),
            root("httpbin.svc"),
            root("10.0.0.1:14001"),
            root("10.0.0.1"),
            root("[::1]:14001"),
            root("httpbin.httpbin:0"),
            root("httpbin.httpbin:65536"),
            root("httpbin.httpbin:014001"),
            root("httpbin.httpbin:99999999999999999999"),
            Case { authority: b"httpbin.httpbin\xff", port: 14001, cluster: None },
            Case { authority: b"\xffhttpbin.httpbin:14001", port: 14001, cluster: None },
        ],
    },
    Suite {
        about: "a client in the root's own namespace",
        configuration: configuration!("", r#"[{"service": "httpbin-v1", "weight": 1}]"#),
        namespace: "httpbin",
        cases: &[
            to("httpbin", V1),
            to("httpbin:14001", V1),
            to("HTTPBIN.", V1),
            to("httpbin.httpbin", V1),
            root("httpbin-v1"),
            root("other"),
        ],
    },
    Suite {
        about: "the configuration's namespace comes before the node's",
        configuration: configuration!(r#""namespace": "httpbin","#, r#"[{"service": "httpbin-v1", "weight": 1}]"#),
        namespace: "curl",
        cases: &[to("httpbin", V1), to("httpbin.httpbin", V1)],
    },
    Suite {
        about: "a root without known ports: the authority's, else the connection's",
        configuration: configuration!("", r#"[{"service": "httpbin-v1", "weight": 1}]"#),
        namespace: "curl",
        cases: &[
            to("httpbin.httpbin", "outbound|14002||httpbin-v1.httpbin.svc.cluster.local").on(14002),
            to("httpbin.httpbin:9999", "outbound|9999||httpbin-v1.httpbin.svc.cluster.local").on(14002),
        ],
    },
    Suite {
        about: "a root with ports: the authority's, else the connection's, if it has them, else its only one",
        configuration: configuration!(
            r#""services": {"httpbin/httpbin": {"ports": [14001, 14002]}},"#,
            r#"[{"service": "httpbin-v1", "weight": 1}]"#
        ),
        namespace: "curl",
        cases: &[
            to("httpbin.httpbin", V1),
            to("httpbin.httpbin:14001", V1).on(14002),
            to("httpbin.httpbin", "outbound|14002||httpbin-v1.httpbin.svc.cluster.local").on(14002),
            to("httpbin.httpbin:9999", "outbound|14002||httpbin-v1.httpbin.svc.cluster.local").on(14002),
            to("httpbin.httpbin:9999", V1),
            root("httpbin.httpbin").on(14003),
            root("httpbin.httpbin:9999").on(14003),
        ],
    },
    Suite {
        about: "a root with one port serves whatever port was asked for",
        configuration: configuration!(
            r#""services": {"httpbin/httpbin": {"ports": [14001]}},"#,
            r#"[{"service": "httpbin-v1", "weight": 1}]"#
        ),
        namespace: "curl",
        cases: &[
            to("httpbin.httpbin", V1).on(14003),
            to("httpbin.httpbin:9999", V1).on(14003),
            root("httpbin.httpbin:0").on(14003),
        ],
    },
    Suite {
        about: "a root that is known to have no port has no split",
        configuration: configuration!(
            r#""services": {"httpbin/httpbin": {"ports": []}},"#,
            r#"[{"service": "httpbin-v1", "weight": 1}]"#
        ),
        namespace: "curl",
        cases: &[root("httpbin.httpbin"), root("httpbin.httpbin:14001")],
    },
    Suite {
        about: "a backend that lacks a port is left out for it, and with nothing left the root serves",
        configuration: configuration!(
            r#""services": {"httpbin/httpbin": {"ports": [14001, 14002, 14003]},
                "httpbin/httpbin-v1": {"ports": {"14001": 8001}}, "httpbin/httpbin-v2": {"ports": [14002]}},"#,
            r#"[{"service": "httpbin-v1", "weight": 1000000}, {"service": "httpbin-v2", "weight": 1}]"#
        ),
        namespace: "curl",
        cases: &[
            to("httpbin.httpbin:14001", "outbound|8001||httpbin-v1.httpbin.svc.cluster.local"),
            to("httpbin.httpbin:14002", "outbound|14002||httpbin-v2.httpbin.svc.cluster.local"),
            root("httpbin.httpbin:14003"),
        ],
    },
    Suite {
        about: "a backend's ports count without the root's too",
        configuration: configuration!(
            r#""services": {"httpbin/httpbin-v1": {"ports": [14001]}},"#,
            r#"[{"service": "httpbin-v1", "weight": 1}, {"service": "httpbin-v2", "weight": 0}]"#
        ),
        namespace: "curl",
        cases: &[to("httpbin.httpbin:14001", V1), root("httpbin.httpbin:14002"), root("httpbin.httpbin:80")],
    },
    Suite {
        about: "weight 0 gets nothing, and a missing weight is 0",
        configuration: configuration!(
            "",
            r#"[{"service": "a", "weight": 0}, {"service": "b"}, {"service": "httpbin-v1", "weight": "1n"}, {"service": "c", "weight": "0"}]"#
        ),
        namespace: "curl",
        cases: &[to("httpbin.httpbin:14001", V1)],
    },
    Suite {
        about: "a root that is its own backend is a leaf",
        configuration: configuration!("", r#"[{"service": "httpbin", "weight": 1}]"#),
        namespace: "curl",
        cases: &[to("httpbin.httpbin:14001", "outbound|14001||httpbin.httpbin.svc.cluster.local")],
    },
    Suite {
        about: "cluster names by another template and in another domain",
        configuration: configuration!(
            r#""cluster": "{namespace}/{service}|{port}", "#,
            r#"[{"service": "httpbin-v1", "weight": 1}]"#
        ),
        namespace: "curl",
        cases: &[to("httpbin.httpbin:14001", "httpbin/httpbin-v1|14001")],
    },
    Suite {
        about: "an explicit cluster comes before the template",
        configuration: configuration!(
            r#""services": {"httpbin/httpbin-v1": {"cluster": "canary{port}"}},"#,
            r#"[{"service": "httpbin-v1", "weight": 1}]"#
        ),
        namespace: "curl",
        cases: &[to("httpbin.httpbin:14001", "canary{port}"), root("httpbin-v1.httpbin:14001")],
    },
    Suite {
        about: "another cluster domain",
        configuration: r#"{"clusterDomain": "example.org", "trafficSplits": [{
            "apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit",
            "metadata": {"name": "s", "namespace": "httpbin"},
            "spec": {"service": "httpbin.httpbin.svc.example.org", "backends": [{"service": "httpbin-v1", "weight": "1"}]}}]}"#,
        namespace: "curl",
        cases: &[
            to("httpbin.httpbin.svc.example.org:14001", "outbound|14001||httpbin-v1.httpbin.svc.example.org"),
            to("httpbin.httpbin.svc.cluster:14001", "outbound|14001||httpbin-v1.httpbin.svc.example.org"),
            to("httpbin.httpbin:14001", "outbound|14001||httpbin-v1.httpbin.svc.example.org"),
            root("httpbin.httpbin.svc.cluster.local:14001"),
        ],
    },
    Suite {
        about: "further hosts of a root",
        configuration: configuration!(
            r#""hosts": {"Shop.Example.com": "httpbin/httpbin", "gone.example.com": "httpbin/gone", "shop": "httpbin/httpbin"},"#,
            r#"[{"service": "httpbin-v1", "weight": 1}]"#
        ),
        namespace: "curl",
        cases: &[
            to("shop.example.com:14001", V1),
            to("SHOP.example.COM.", V1),
            to("shop", V1),
            root("gone.example.com"),
            root("x.shop.example.com"),
            root("shop.example.com:x"),
        ],
    },
    Suite {
        about: "a client in an excluded namespace",
        configuration: configuration!(
            r#""excludedNamespaces": ["kube-system", "curl"],"#,
            r#"[{"service": "httpbin-v1", "weight": 1}]"#
        ),
        namespace: "curl",
        cases: &[root("httpbin.httpbin:14001"), root("httpbin.httpbin")],
    },
    Suite {
        about: "a namespace is excluded for its own clients only",
        configuration: configuration!(
            r#""excludedNamespaces": ["httpbin"],"#,
            r#"[{"service": "httpbin-v1", "weight": 1}]"#
        ),
        namespace: "curl",
        cases: &[to("httpbin.httpbin:14001", V1)],
    },
    Suite {
        about: "no splits",
        configuration: "{}",
        namespace: "curl",
        cases: &[root("httpbin.httpbin:14001"), root("")],
    },
    Suite {
        about: "splits of several roots do not chain and do not mix",
        configuration: r#"{"trafficSplits": [
            {"apiVersion": "split.smi-spec.io/v1alpha1", "kind": "TrafficSplit", "metadata": {"name": "s", "namespace": "a"},
             "spec": {"service": "web", "backends": [{"service": "web-v1", "weight": "1"}]}},
            {"apiVersion": "split.smi-spec.io/v1alpha2", "kind": "TrafficSplit", "metadata": {"name": "s", "namespace": "b"},
             "spec": {"service": "web", "backends": [{"service": "web-v2", "weight": 1}]}},
            {"apiVersion": "split.smi-spec.io/v1alpha3", "kind": "TrafficSplit", "metadata": {"name": "t", "namespace": "a"},
             "spec": {"service": "web-v1", "backends": [{"service": "web-v3", "weight": 1.0}]}}]}"#,
        namespace: "b",
        cases: &[
            to("web.a:14001", "outbound|14001||web-v1.a.svc.cluster.local"),
            to("web.b:14001", "outbound|14001||web-v2.b.svc.cluster.local"),
            to("web:14001", "outbound|14001||web-v2.b.svc.cluster.local"),
            to("web-v1.a:14001", "outbound|14001||web-v3.a.svc.cluster.local"),
            root("web-v1:14001"),
            root("web.c"),
        ],
    },
];

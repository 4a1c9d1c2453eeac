//! The table of cases: the configuration, the request and the expected cluster. The core, the filter in the simulator
//! and the filter in a real Envoy must all give the same result.
//!
//! The configurations select one backend each, so every case has one result. Other tests check the shares.

/// Cases that share a configuration.
#[derive(Clone, Copy, Debug)]
pub struct Suite {
    /// The rule that the cases test.
    pub about: &'static str,
    /// The plugin configuration as JSON.
    pub configuration: &'static str,
    /// The client's namespace in the node's metadata.
    pub namespace: &'static str,
    /// The cases.
    pub cases: &'static [Case],
}

/// A request and its destination.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The `:authority`, as bytes.
    pub authority: &'static [u8],
    /// The port the client connects to.
    pub port: u16,
    /// The method.
    pub method: &'static str,
    /// The path with its query, as bytes.
    pub path: &'static [u8],
    /// Further headers in order.
    pub headers: &'static [(&'static str, &'static [u8])],
    /// The expected cluster; `None` is the root cluster, as without a split.
    pub cluster: Option<&'static str>,
    /// The expected label `reason` of the counter; ignored for the root.
    pub reason: &'static str,
    /// The cluster that gets a copy of the request.
    pub mirror: Option<&'static str>,
    /// Whether the response sets the sticky cookie.
    pub sets_cookie: bool,
}

const fn root(authority: &'static str) -> Case {
    Case {
        authority: authority.as_bytes(),
        port: 14001,
        method: "GET",
        path: b"/json",
        headers: &[],
        cluster: None,
        reason: "random",
        mirror: None,
        sets_cookie: false,
    }
}

const fn to(authority: &'static str, cluster: &'static str) -> Case {
    Case { cluster: Some(cluster), ..root(authority) }
}

/// Returns a request to the guide's root that is split to this cluster.
const fn split(cluster: &'static str) -> Case {
    to("httpbin.httpbin:14001", cluster)
}

/// Returns a request to the guide's root that is routed as without a split.
const fn passed() -> Case {
    root("httpbin.httpbin:14001")
}

impl Case {
    const fn on(self, port: u16) -> Case {
        Case { port, ..self }
    }

    const fn method(self, method: &'static str) -> Case {
        Case { method, ..self }
    }

    const fn path(self, path: &'static [u8]) -> Case {
        Case { path, ..self }
    }

    const fn with(self, headers: &'static [(&'static str, &'static [u8])]) -> Case {
        Case { headers, ..self }
    }

    const fn by(self, reason: &'static str) -> Case {
        Case { reason, ..self }
    }

    const fn mirrored(self, cluster: &'static str) -> Case {
        Case { mirror: Some(cluster), ..self }
    }

    const fn sets_cookie(self) -> Case {
        Case { sets_cookie: true, ..self }
    }

    /// Describes the request in a failure message.
    #[must_use]
    pub fn describe(&self) -> String {
        let headers = self.headers.iter().map(|(name, value)| format!(" {name}: {}", value.escape_ascii()));
        let (authority, path) = (self.authority.escape_ascii(), self.path.escape_ascii());
        format!("{} {path} at {authority} on {}{}", self.method, self.port, headers.collect::<String>())
    }
}

/// The ports that cases connect to.
pub const PORTS: [u16; 3] = [14001, 14002, 14003];

/// Builds a plugin configuration with a split of `httpbin/httpbin`, after the keys in the first argument. With four
/// arguments, the second one is the annotations, and the last one follows the backends, e.g. matches.
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
    ($keys:literal, $annotations:literal, $backends:literal, $more:literal) => {
        concat!(
            "{",
            $keys,
            r#""trafficSplits": [{"apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit",
                "metadata": {"name": "http-split", "namespace": "httpbin", "annotations": {"#,
            $annotations,
            r#"}}, "spec": {"service": "httpbin", "backends": "#,
            $backends,
            $more,
            "}}]}"
        )
    };
}

/// Builds the configuration key of an HTTPRouteGroup `routes` with these matches.
macro_rules! routes {
    ($matches:literal) => {
        concat!(
            r#""httpRouteGroups": [{"apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "HTTPRouteGroup",
                "metadata": {"name": "routes", "namespace": "httpbin"}, "spec": {"matches": "#,
            $matches,
            "}}],"
        )
    };
}

/// Builds a configuration with a split that has these matches; accepted requests go to v1.
macro_rules! matching {
    ($matches:literal) => {
        concat!(
            "{",
            routes!($matches),
            r#""trafficSplits": [{"apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit",
                "metadata": {"name": "http-split", "namespace": "httpbin"},
                "spec": {"service": "httpbin", "backends": [{"service": "httpbin-v1", "weight": 1}],
                    "matches": [{"kind": "HTTPRouteGroup", "name": "routes"}]}}]}"#
        )
    };
}

const V1: &str = "outbound|14001||httpbin-v1.httpbin.svc.cluster.local";
const V2: &str = "outbound|14001||httpbin-v2.httpbin.svc.cluster.local";
const V1_80: &str = "outbound|80||httpbin-v1.httpbin.svc.cluster.local";
const V1_443: &str = "outbound|443||httpbin-v1.httpbin.svc.cluster.local";

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
            Case { authority: b"httpbin.httpbin\xff", ..root("") },
            Case { authority: b"\xffhttpbin.httpbin:14001", ..root("") },
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
        about: "root without known ports: the authority's port, else the connection's",
        configuration: configuration!("", r#"[{"service": "httpbin-v1", "weight": 1}]"#),
        namespace: "curl",
        cases: &[
            to("httpbin.httpbin", "outbound|14002||httpbin-v1.httpbin.svc.cluster.local").on(14002),
            to("httpbin.httpbin:9999", "outbound|9999||httpbin-v1.httpbin.svc.cluster.local").on(14002),
        ],
    },
    Suite {
        about: "root with ports: the authority's port, else the connection's, if the root has it, else its only port",
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
        about: "root with several ports: without a port of the root in Host and connection, the default of the scheme",
        configuration: configuration!(
            r#""services": {"httpbin/httpbin": {"ports": [80, 443, 9090, 14001]}},"#,
            r#"[{"service": "httpbin-v1", "weight": 1}]"#
        ),
        namespace: "curl",
        cases: &[
            to("httpbin.httpbin", V1_80).on(14003),
            to("httpbin.httpbin", V1_80).on(14003).with(&[("x-forwarded-proto", b"http")]),
            to("httpbin.httpbin", V1_443).on(14003).with(&[("x-forwarded-proto", b"https")]),
            to("httpbin.httpbin", V1_443).on(14003).with(&[("X-Forwarded-Proto", b"HTTPS")]),
            to("httpbin.httpbin", V1_80)
                .on(14003)
                .with(&[("x-forwarded-proto", b"http"), ("x-forwarded-proto", b"https")]),
            to("httpbin.httpbin:14003", V1_80).on(14003),
            to("httpbin.httpbin:9999", V1_443).on(14003).with(&[("x-forwarded-proto", b"https")]),
            to("httpbin.httpbin:9090", "outbound|9090||httpbin-v1.httpbin.svc.cluster.local").on(14003),
            to("httpbin.httpbin:80", V1_80).on(14003).with(&[("x-forwarded-proto", b"https")]),
            to("httpbin.httpbin", V1).with(&[("x-forwarded-proto", b"https")]),
            root("httpbin.httpbin:x").on(14003),
        ],
    },
    Suite {
        about: "root with several ports, and without port 443: https requests need a port",
        configuration: configuration!(
            r#""services": {"httpbin/httpbin": {"ports": [80, 9090]}}, "hosts": {"shop.example.com": "httpbin/httpbin"},"#,
            r#"[{"service": "httpbin-v1", "weight": 1}]"#
        ),
        namespace: "curl",
        cases: &[
            to("httpbin.httpbin", V1_80),
            to("httpbin.httpbin:80", V1_80).with(&[("x-forwarded-proto", b"https")]),
            to("shop.example.com", V1_80),
            to("shop.example.com:9090", V1_80),
            to("shop.example.com:14001", V1_80),
            root("httpbin.httpbin").with(&[("x-forwarded-proto", b"https")]),
            root("shop.example.com:80").with(&[("x-forwarded-proto", b"https")]),
            root("shop.example.com:x"),
        ],
    },
    Suite {
        about: "a root with one port serves requests for any port",
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
        about: "a root without any port has no split",
        configuration: configuration!(
            r#""services": {"httpbin/httpbin": {"ports": []}},"#,
            r#"[{"service": "httpbin-v1", "weight": 1}]"#
        ),
        namespace: "curl",
        cases: &[root("httpbin.httpbin"), root("httpbin.httpbin:14001")],
    },
    Suite {
        about: "a backend without the port is skipped; without any backend the root serves",
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
        about: "a backend's ports apply even if the root's are unknown",
        configuration: configuration!(
            r#""services": {"httpbin/httpbin-v1": {"ports": [14001]}},"#,
            r#"[{"service": "httpbin-v1", "weight": 1}, {"service": "httpbin-v2", "weight": 0}]"#
        ),
        namespace: "curl",
        cases: &[to("httpbin.httpbin:14001", V1), root("httpbin.httpbin:14002"), root("httpbin.httpbin:80")],
    },
    Suite {
        about: "weight 0 receives no traffic, and a missing weight is 0",
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
    Suite {
        about: "weights are quantities in every API version",
        configuration: r#"{"trafficSplits": [
            {"apiVersion": "split.smi-spec.io/v1alpha1", "kind": "TrafficSplit", "metadata": {"name": "a", "namespace": "a"},
             "spec": {"service": "a", "backends": [{"service": "no", "weight": "0"}, {"service": "v1", "weight": "5"}]}},
            {"apiVersion": "split.smi-spec.io/v1alpha1", "kind": "TrafficSplit", "metadata": {"name": "b", "namespace": "a"},
             "spec": {"service": "b", "backends": [{"service": "no", "weight": "0m"}, {"service": "v1", "weight": "500m"}]}},
            {"apiVersion": "split.smi-spec.io/v1alpha2", "kind": "TrafficSplit", "metadata": {"name": "c", "namespace": "a"},
             "spec": {"service": "c", "backends": [{"service": "v1", "weight": 50.0}, {"service": "no", "weight": 0.0}]}},
            {"apiVersion": "split.smi-spec.io/v1alpha3", "kind": "TrafficSplit", "metadata": {"name": "d", "namespace": "a"},
             "spec": {"service": "d", "backends": [{"service": "v1", "weight": "1e3"}, {"service": "no"}]}},
            {"apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit", "metadata": {"name": "e", "namespace": "a"},
             "spec": {"service": "e", "backends": [{"service": "v1", "weight": "1k"}, {"service": "no", "weight": "0e3"}]}},
            {"apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit", "metadata": {"name": "f", "namespace": "a"},
             "spec": {"service": "f.a.svc:80", "backends": [{"service": "v1.a.svc.cluster.local", "weight": 1000000000}]}}]}"#,
        namespace: "a",
        cases: &[
            to("a.a:14001", "outbound|14001||v1.a.svc.cluster.local"),
            to("b:14001", "outbound|14001||v1.a.svc.cluster.local"),
            to("c.a.svc:14001", "outbound|14001||v1.a.svc.cluster.local"),
            to("d.a.svc.cluster:14001", "outbound|14001||v1.a.svc.cluster.local"),
            to("e.a.svc.cluster.local:14001", "outbound|14001||v1.a.svc.cluster.local"),
            to("f:14001", "outbound|14001||v1.a.svc.cluster.local"),
            root("v1.a:14001"),
            root("no.a:14001"),
        ],
    },
    Suite {
        about: "objects of Flagger and Argo Rollouts, as the API server returns them",
        configuration: r#"{"trafficSplits": [
            {"apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit",
             "metadata": {"name": "flagger", "namespace": "httpbin", "generation": 7, "uid": "x",
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}, "managedFields": [{"manager": "flagger"}],
                "ownerReferences": [{"kind": "Canary"}]},
             "spec": {"service": "web", "backends": [{"service": "web-canary", "weight": "0"}, {"service": "web-primary", "weight": "100"}]},
             "status": {}},
            {"apiVersion": "split.smi-spec.io/v1alpha1", "kind": "TrafficSplit",
             "metadata": {"name": "argo", "namespace": "httpbin"},
             "spec": {"service": "api-stable", "backends": [{"service": "api-canary", "weight": 100},
                {"service": "api-experiment", "weight": 0}, {"service": "api-stable", "weight": 0}]}}]}"#,
        namespace: "curl",
        cases: &[
            to("web.httpbin:14001", "outbound|14001||web-primary.httpbin.svc.cluster.local"),
            to("api-stable.httpbin:14001", "outbound|14001||api-canary.httpbin.svc.cluster.local"),
            root("api-canary.httpbin:14001"),
        ],
    },
    Suite {
        about: "a path is matched from its start, without the query",
        configuration: matching!(
            r#"[{"name": "api", "pathRegex": "/api/[a-z]+"}, {"name": "exact", "pathRegex": "/exact$"}]"#
        ),
        namespace: "curl",
        cases: &[
            split(V1).path(b"/api/users"),
            split(V1).path(b"/api/users/7"),
            split(V1).path(b"/api/x?y=/z"),
            split(V1).path(b"/exact"),
            split(V1).path(b"/exact?a=b"),
            passed().path(b"/api/7"),
            passed().path(b"/v1/api/users"),
            passed().path(b"/API/users"),
            passed().path(b"/exactly"),
            passed().path(b"/?/api/users"),
            passed().path(b"/"),
        ],
    },
    Suite {
        about: "methods are a list or `*`",
        configuration: matching!(
            r#"[{"methods": ["GET", "HEAD"], "pathRegex": "/read"}, {"methods": ["*"], "pathRegex": "/all"},
            {"methods": ["DELETE"], "pathRegex": "*"}]"#
        ),
        namespace: "curl",
        cases: &[
            split(V1).path(b"/read"),
            split(V1).path(b"/read").method("HEAD"),
            split(V1).path(b"/all").method("PUT"),
            split(V1).path(b"/all").method("PURGE"),
            split(V1).path(b"/anything").method("DELETE"),
            passed().path(b"/read").method("POST"),
            passed().path(b"/anything").method("GET"),
        ],
    },
    Suite {
        about: "headers are matched by their whole first value, and all must match",
        configuration: matching!(
            r#"[{"name": "android-insiders", "headers": {"User-Agent": ".*Android.*", "cookie": "^(.*?;)?(type=insider)(;.*)?$"}},
            {"name": "user", "headers": {"x-user": "al"}}, {"name": "any", "headers": {"x-any": ".*"}}]"#
        ),
        namespace: "curl",
        cases: &[
            split(V1).with(&[("user-agent", b"Mozilla (Android)"), ("cookie", b"a=b;type=insider")]),
            split(V1).with(&[("USER-AGENT", b"Android"), ("Cookie", b"type=insider;c=d")]),
            split(V1).with(&[("x-user", b"al")]),
            split(V1).with(&[("x-user", b"al"), ("x-user", b"bob")]),
            split(V1).with(&[("x-any", b"anything")]),
            split(V1).with(&[("x-any", b"")]),
            passed(),
            passed().with(&[("user-agent", b"Mozilla (Android)")]),
            passed().with(&[("user-agent", b"Mozilla (Android)"), ("cookie", b"type=insiders")]),
            passed().with(&[("x-user", b"alice")]),
            passed().with(&[("x-user", b"bob"), ("x-user", b"al")]),
            passed().with(&[("x-user", b"AL")]),
            passed().with(&[("x-any", b"\xff")]),
        ],
    },
    Suite {
        about: "Envoy joins some repeated headers, removes hop-by-hop headers, and keeps other headers apart",
        configuration: matching!(
            r#"[{"headers": {"user-agent": "curl,Android"}}, {"headers": {"accept": "b"}}, {"headers": {"x-user": "al"}},
            {"headers": {"x-forwarded-for": "10.0.0.1,10.0.0.2"}}, {"headers": {"cookie": "a=1"}}, {"headers": {"keep-alive": ".*"}}]"#
        ),
        namespace: "curl",
        cases: &[
            split(V1).with(&[("user-agent", b"curl"), ("User-Agent", b"Android")]),
            split(V1).with(&[("accept", b""), ("accept", b"b")]),
            split(V1).with(&[("x-user", b"al"), ("x-user", b"bob")]),
            split(V1).with(&[("x-forwarded-for", b"10.0.0.1"), ("x-user", b"bob"), ("x-forwarded-for", b"10.0.0.2")]),
            split(V1).with(&[("cookie", b"a=1"), ("cookie", b"b=2")]),
            passed().with(&[("user-agent", b"Android"), ("user-agent", b"curl")]),
            passed().with(&[("accept", b"b"), ("accept", b"c")]),
            passed().with(&[("x-user", b"bob"), ("x-user", b"al")]),
            passed().with(&[("cookie", b"b=2"), ("cookie", b"a=1")]),
            passed().with(&[("keep-alive", b"timeout=5")]),
        ],
    },
    Suite {
        about: "all conditions of a match must hold, and matches are alternatives",
        configuration: matching!(
            r#"[{"pathRegex": "/a", "methods": ["POST"], "headers": {"x-b": "1"}}, {"headers": [{"x-c": "1.*"}, {"x-c": ".*2"}]}]"#
        ),
        namespace: "curl",
        cases: &[
            split(V1).path(b"/a").method("POST").with(&[("x-b", b"1")]),
            split(V1).with(&[("x-c", b"12")]),
            passed().path(b"/b").method("POST").with(&[("x-b", b"1")]),
            passed().path(b"/a").method("PUT").with(&[("x-b", b"1")]),
            passed().path(b"/a").method("POST").with(&[("x-b", b"2")]),
            passed().path(b"/a").method("POST"),
            passed().with(&[("x-c", b"1")]),
        ],
    },
    Suite {
        about: "groups of all versions, and a match without conditions",
        configuration: r#"{"httpRouteGroups": [
            {"apiVersion": "specs.smi-spec.io/v1alpha2", "kind": "HTTPRouteGroup", "metadata": {"name": "two", "namespace": "a"},
             "matches": [{"name": "m", "headers": [{"x-a": "1"}, {"x-b": "2"}]}]},
            {"apiVersion": "specs.smi-spec.io/v1alpha3", "kind": "HTTPRouteGroup", "metadata": {"name": "three", "namespace": "a"},
             "spec": {"matches": [{"name": "m", "pathRegex": "/three"}]}},
            {"apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "HTTPRouteGroup", "metadata": {"name": "three", "namespace": "b"},
             "matches": [{"name": "all"}]}],
          "trafficSplits": [
            {"apiVersion": "split.smi-spec.io/v1alpha3", "kind": "TrafficSplit", "metadata": {"name": "s", "namespace": "a"},
             "spec": {"service": "web", "backends": [{"service": "v1", "weight": 1}],
                "matches": [{"kind": "HTTPRouteGroup", "name": "two"}, {"kind": "HTTPRouteGroup", "name": "three"}]}},
            {"apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit", "metadata": {"name": "s", "namespace": "b"},
             "spec": {"service": "web", "backends": [{"service": "v1", "weight": 1}], "matches": [{"name": "three"}]}}]}"#,
        namespace: "curl",
        cases: &[
            to("web.a:14001", "outbound|14001||v1.a.svc.cluster.local").with(&[("x-a", b"1"), ("x-b", b"2")]),
            to("web.a:14001", "outbound|14001||v1.a.svc.cluster.local").path(b"/three"),
            to("web.b:14001", "outbound|14001||v1.b.svc.cluster.local"),
            root("web.a:14001").with(&[("x-a", b"1")]),
        ],
    },
    Suite {
        about: "several splits of one root: the first split whose matches accept decides",
        configuration: concat!(
            "{",
            routes!(r#"[{"headers": {"x-user": "insider-.*"}}]"#),
            r#""trafficSplits": [
            {"apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit", "metadata": {"name": "insiders", "namespace": "httpbin"},
             "spec": {"service": "httpbin", "backends": [{"service": "httpbin-v2", "weight": 1}], "matches": [{"kind": "HTTPRouteGroup", "name": "routes"}]}},
            {"apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit", "metadata": {"name": "never", "namespace": "httpbin"},
             "spec": {"service": "httpbin", "backends": [{"service": "httpbin-v3", "weight": 1}], "matches": [{"kind": "HTTPRouteGroup", "name": "routes"}]}},
            {"apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit", "metadata": {"name": "rest", "namespace": "httpbin"},
             "spec": {"service": "httpbin", "backends": [{"service": "httpbin-v1", "weight": 1}]}}]}"#
        ),
        namespace: "curl",
        cases: &[
            split(V2).with(&[("x-user", b"insider-7")]),
            split(V1).with(&[("x-user", b"bob")]),
            split(V1),
            root("other.httpbin:14001").with(&[("x-user", b"insider-7")]),
        ],
    },
    Suite {
        about: "an override names a backend, even one of weight 0; any other value is ignored",
        configuration: configuration!(
            "",
            r#""traffic-split/override-header": "X-Backend""#,
            r#"[{"service": "httpbin-v1", "weight": 1}, {"service": "httpbin-v2", "weight": 0}]"#,
            ""
        ),
        namespace: "curl",
        cases: &[
            split(V2).with(&[("x-backend", b"httpbin-v2")]).by("override"),
            split(V2).with(&[("X-BACKEND", b"httpbin-v2"), ("x-backend", b"httpbin-v1")]).by("override"),
            split(V1).with(&[("x-backend", b"httpbin-v1")]).by("override"),
            split(V1).with(&[("x-backend", b"httpbin-v3")]),
            split(V1).with(&[("x-backend", b"HTTPBIN-V2")]),
            split(V1).with(&[("x-backend", b"httpbin-v2.httpbin")]),
            split(V1).with(&[("x-backend", b"outbound|14001||httpbin-v2.httpbin.svc.cluster.local")]),
            split(V1).with(&[("x-backend", b"")]),
            split(V1).with(&[("x-backend", b"\xff")]),
            root("other.httpbin:14001").with(&[("x-backend", b"httpbin-v2")]),
        ],
    },
    Suite {
        about: "an override requires accepting matches and a backend with the port",
        configuration: configuration!(
            r#""httpRouteGroups": [{"apiVersion": "specs.smi-spec.io/v1alpha4", "kind": "HTTPRouteGroup",
                "metadata": {"name": "routes", "namespace": "httpbin"}, "spec": {"matches": [{"pathRegex": "/api"}]}}],
                "services": {"httpbin/httpbin": {"ports": [14001, 14002]}, "httpbin/httpbin-v2": {"ports": [14001]}},"#,
            r#""traffic-split/override-header": "x-backend""#,
            r#"[{"service": "httpbin-v1", "weight": 1}, {"service": "httpbin-v2", "weight": 0}]"#,
            r#", "matches": [{"kind": "HTTPRouteGroup", "name": "routes"}]"#
        ),
        namespace: "curl",
        cases: &[
            split(V2).path(b"/api").with(&[("x-backend", b"httpbin-v2")]).by("override"),
            passed().path(b"/other").with(&[("x-backend", b"httpbin-v2")]),
            to("httpbin.httpbin:14002", "outbound|14002||httpbin-v1.httpbin.svc.cluster.local")
                .path(b"/api")
                .with(&[("x-backend", b"httpbin-v2")]),
        ],
    },
    Suite {
        about: "the first value of a sticky header selects the backend, byte by byte",
        configuration: configuration!(
            "",
            r#""traffic-split/sticky-header": "X-User""#,
            r#"[{"service": "httpbin-v1", "weight": 50}, {"service": "httpbin-v2", "weight": 50}]"#,
            ""
        ),
        namespace: "curl",
        // The hash decides which value goes to which version: see rendezvous.json.
        cases: &[
            split(V2).with(&[("x-user", b"alice")]).by("sticky"),
            split(V2).with(&[("X-User", b"bob")]).by("sticky"),
            split(V2).with(&[("x-user", b"carol")]).by("sticky"),
            split(V1).with(&[("x-user", b"dave")]).by("sticky"),
            split(V1).with(&[("x-user", b"erin")]).by("sticky"),
            split(V1).with(&[("x-user", b"\xff")]).by("sticky"),
            split(V1).with(&[("x-user", b"Zo\xc3\xab")]).by("sticky"),
            split(V2).with(&[("x-user", b"\"alice\"")]).by("sticky"),
            split(V1).with(&[("x-user", b"dave"), ("x-user", b"alice")]).by("sticky"),
            split(V2).with(&[("x-user", b"alice"), ("x-user", b"dave")]).by("sticky"),
        ],
    },
    Suite {
        about: "users leave the canary only when it shrinks",
        configuration: configuration!(
            "",
            r#""traffic-split/sticky-header": "x-user""#,
            r#"[{"service": "httpbin-v1", "weight": 90}, {"service": "httpbin-v2", "weight": 10}]"#,
            ""
        ),
        namespace: "curl",
        cases: &[
            split(V1).with(&[("x-user", b"alice")]).by("sticky"),
            split(V1).with(&[("x-user", b"bob")]).by("sticky"),
            split(V2).with(&[("x-user", b"carol")]).by("sticky"),
            split(V1).with(&[("x-user", b"dave")]).by("sticky"),
            split(V1).with(&[("x-user", b"erin")]).by("sticky"),
        ],
    },
    Suite {
        about: "another split distributes users differently",
        configuration: r#"{"trafficSplits": [{"apiVersion": "split.smi-spec.io/v1alpha4", "kind": "TrafficSplit",
            "metadata": {"name": "other-split", "namespace": "httpbin", "annotations": {"traffic-split/sticky-header": "x-user"}},
            "spec": {"service": "httpbin", "backends": [{"service": "httpbin-v1", "weight": 50}, {"service": "httpbin-v2", "weight": 50}]}}]}"#,
        namespace: "curl",
        cases: &[
            split(V1).with(&[("x-user", b"alice")]).by("sticky"),
            split(V1).with(&[("x-user", b"bob")]).by("sticky"),
            split(V2).with(&[("x-user", b"erin")]).by("sticky"),
        ],
    },
    Suite {
        about: "weight 0 takes precedence over stickiness, and an empty value is ignored",
        configuration: configuration!(
            "",
            r#""traffic-split/sticky-header": "x-user""#,
            r#"[{"service": "httpbin-v1", "weight": 1}, {"service": "httpbin-v2", "weight": 0}]"#,
            ""
        ),
        namespace: "curl",
        cases: &[
            split(V1).with(&[("x-user", b"alice")]).by("sticky"),
            split(V1).with(&[("x-user", b"carol")]).by("sticky"),
            split(V1).with(&[("x-user", b"")]),
            split(V1),
        ],
    },
    Suite {
        about: "a sticky cookie selects the backend among any other cookies",
        configuration: configuration!(
            "",
            r#""traffic-split/sticky-cookie": "user", "traffic-split/sticky-cookie-attributes": "Path=/; Max-Age=60""#,
            r#"[{"service": "httpbin-v1", "weight": 50}, {"service": "httpbin-v2", "weight": 50}]"#,
            ""
        ),
        namespace: "curl",
        cases: &[
            split(V2).with(&[("cookie", b"user=alice")]).by("sticky"),
            split(V1).with(&[("cookie", b"user=dave")]).by("sticky"),
            split(V1).with(&[("Cookie", b"a=b; user=dave; c=d")]).by("sticky"),
            split(V1).with(&[("cookie", b"a=b;user=dave;c=d")]).by("sticky"),
            split(V2).with(&[("cookie", b"user=\"alice\"")]).by("sticky"),
            split(V1).with(&[("cookie", b"user=dave; user=alice")]).by("sticky"),
            split(V1).with(&[("cookie", b"xuser=alice; USER=alice; user=dave")]).by("sticky"),
            split(V1).with(&[("cookie", b"\xff; =; ;;a; user=dave; \xfe=\xfd")]).by("sticky"),
            split(V1).with(&[("cookie", b"user=\xff")]).by("sticky"),
        ],
    },
    Suite {
        about: "a request without the sticky cookie gets a new one",
        configuration: configuration!(
            "",
            r#""traffic-split/sticky-cookie": "user""#,
            r#"[{"service": "httpbin-v1", "weight": 1}, {"service": "httpbin-v2", "weight": 0}]"#,
            ""
        ),
        namespace: "curl",
        cases: &[
            split(V1).by("sticky").sets_cookie(),
            split(V1).with(&[("cookie", b"a=b")]).by("sticky").sets_cookie(),
            split(V1).with(&[("cookie", b"user=")]).by("sticky").sets_cookie(),
            split(V1).with(&[("cookie", b"user=\"\"")]).by("sticky").sets_cookie(),
            split(V1).with(&[("cookie", b"User=alice")]).by("sticky").sets_cookie(),
            split(V1).with(&[("cookie", b"user=alice")]).by("sticky"),
            root("other.httpbin:14001"),
        ],
    },
    Suite {
        about: "override takes precedence over stickiness, and header over cookie",
        configuration: configuration!(
            "",
            r#""traffic-split/override-header": "x-backend", "traffic-split/sticky-header": "x-user", "traffic-split/sticky-cookie": "user""#,
            r#"[{"service": "httpbin-v1", "weight": 50}, {"service": "httpbin-v2", "weight": 50}]"#,
            ""
        ),
        namespace: "curl",
        cases: &[
            split(V1)
                .with(&[("x-backend", b"httpbin-v1"), ("x-user", b"alice"), ("cookie", b"user=alice")])
                .by("override"),
            split(V2).with(&[("x-backend", b"httpbin-v2"), ("x-user", b"dave")]).by("override"),
            split(V2).with(&[("x-backend", b"none"), ("x-user", b"alice"), ("cookie", b"user=dave")]).by("sticky"),
            split(V1).with(&[("x-user", b"dave"), ("cookie", b"user=alice")]).by("sticky"),
            split(V1).with(&[("x-user", b""), ("cookie", b"user=dave")]).by("sticky"),
        ],
    },
    Suite {
        about: "a mirror gets copies of requests that another backend serves",
        configuration: configuration!(
            r#""services": {"httpbin/httpbin": {"ports": [14001, 14002]}, "httpbin/httpbin-v2": {"ports": [14001]}},"#,
            r#""traffic-split/mirror": "httpbin-v2=100", "traffic-split/override-header": "x-backend""#,
            r#"[{"service": "httpbin-v1", "weight": 1}, {"service": "httpbin-v2", "weight": 0}]"#,
            ""
        ),
        namespace: "curl",
        cases: &[
            split(V1).mirrored(V2),
            split(V1).with(&[("x-backend", b"httpbin-v1")]).by("override").mirrored(V2),
            split(V2).with(&[("x-backend", b"httpbin-v2")]).by("override"),
            to("httpbin.httpbin:14002", "outbound|14002||httpbin-v1.httpbin.svc.cluster.local"),
            root("other.httpbin:14001"),
        ],
    },
    Suite {
        about: "a mirror of 0 percent gets nothing",
        configuration: configuration!(
            "",
            r#""traffic-split/mirror": "httpbin-v2=0""#,
            r#"[{"service": "httpbin-v1", "weight": 1}, {"service": "httpbin-v2", "weight": 0}]"#,
            ""
        ),
        namespace: "curl",
        cases: &[split(V1)],
    },
];

/// Returns the number of cases.
#[must_use]
pub fn count() -> usize {
    SUITES.iter().map(|suite| suite.cases.len()).sum()
}

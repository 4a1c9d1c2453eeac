//! Generated plugin configurations, valid and invalid, including some that only a faulty tool would write.

use fastrand::Rng;
use serde_json::{Map, Value, json};

/// A generator of an endless sequence of configurations, determined by its seed.
#[derive(Debug)]
pub struct Configurations(Rng);

/// Unusual values, which replace expected ones.
const UNUSUAL_VALUES: &[&str] = &[
    "null",
    "true",
    "0",
    "-1",
    "0.5",
    "1e300",
    "-0.0",
    "65536",
    "18446744073709551616",
    "[]",
    "{}",
    "[[]]",
    r#""""#,
    r#"" ""#,
    r#""*""#,
    r#""(""#,
    r#""a)|(b""#,
    r#""(?x)a # b""#,
    r#""[[:alpha:]]{1000}""#,
    r#""\u0000""#,
    r#""\r\nx: y""#,
    r#""ä""#,
    r#""9999999999999999999""#,
    r#""1e9999""#,
    r#""-5""#,
    r#""1Ei""#,
    r#""500m""#,
    r#""v1=101""#,
    r#""v1""#,
    r#""host""#,
    r#"":path""#,
    r#""x-traffic-split-cluster""#,
    r#""{port}""#,
    r#""{service""#,
    r#""a.b.c.d""#,
    r#""Path=/; Max-Age=x""#,
    r#""kube-system""#,
    r#""10.0.0.1""#,
    r#"{"": ""}"#,
    r#"[{"service": "v1", "weight": 1}]"#,
];

// === impl Configurations ===

impl Configurations {
    /// Returns a generator.
    #[must_use]
    pub fn new(seed: u64) -> Configurations {
        Configurations(Rng::with_seed(seed))
    }

    /// Returns the next configuration. A third are valid, a third have some invalid values, and a third also have
    /// damaged text.
    #[must_use]
    pub fn draw(&mut self) -> Vec<u8> {
        let mut configuration = self.valid();
        let kind = self.0.u8(..3);
        if kind > 0 {
            for _ in 0..self.0.usize(1..4) {
                self.spoil(&mut configuration);
            }
        }
        let mut text = configuration.to_string().into_bytes();
        if kind > 1 {
            for _ in 0..self.0.usize(1..4) {
                self.break_text(&mut text);
            }
        }
        text
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.0.usize(..of.len())]
    }

    /// Returns a valid configuration.
    fn valid(&mut self) -> Value {
        let mut configuration = Map::new();
        for (key, values) in [
            ("clusterHeader", &[json!("x-to"), json!("X-To")][..]),
            ("cluster", &[json!("{namespace}/{service}|{port}"), json!("{service}")]),
            ("clusterDomain", &[json!("cluster.local"), json!("example.org")]),
            ("namespace", &[json!("a"), json!("curl"), Value::Null]),
            ("excludedNamespaces", &[json!([]), json!(["kube-system", "b"])]),
            ("backendHeader", &[json!("x-backend")]),
            ("mirrorHeader", &[json!("x-mirror")]),
            ("setCookieHeader", &[json!("x-set-cookie")]),
            ("headersStripped", &[json!(true), json!(false)]),
            ("hosts", &[json!({"shop.example.com": "a/web", "Other.Example.com.": "b/web"})]),
            (
                "services",
                &[
                    json!({"a/web": {"ports": [80, "443"]}, "a/v1": {"ports": {"80": 8080}}, "b/v2": {"cluster": "c"}}),
                    json!({"a/web": {"ports": []}, "a/v1": {}}),
                ],
            ),
        ] {
            if self.0.u8(..4) == 0 {
                configuration.insert(key.into(), self.one(values).clone());
            }
        }
        let groups = ["a", "b"].map(|namespace| self.group(namespace));
        let mut splits = Vec::new();
        for namespace in ["a", "b"] {
            if self.0.bool() {
                splits.push(self.split("some", namespace, true));
            }
            if self.0.bool() {
                splits.push(self.split("all", namespace, false));
            }
        }
        configuration.insert("httpRouteGroups".into(), json!(groups));
        configuration.insert("trafficSplits".into(), json!(splits));
        Value::Object(configuration)
    }

    fn split(&mut self, name: &str, namespace: &str, with_matches: bool) -> Value {
        let weights = [json!(1), json!("1"), json!("500m"), json!(50.0), json!("1e3"), json!(1_000_000_000)];
        let mut backends = vec![json!({"service": "v1", "weight": self.one(&weights)})];
        for service in ["v2", "v3", "web"] {
            match self.0.u8(..4) {
                0 => backends.push(json!({"service": service, "weight": 0})),
                1 => backends.push(json!({"service": format!("{service}.{namespace}"), "weight": self.one(&weights)})),
                2 => backends.push(json!({ "service": service })),
                _ => {}
            }
        }
        let mut annotations = Map::new();
        for (key, value) in [
            ("traffic-split/override-header", "x-override"),
            ("traffic-split/sticky-header", "X-User"),
            ("traffic-split/sticky-cookie", "user"),
            ("traffic-split/mirror", "v1=10"),
            ("example.org/other", "x"),
        ] {
            if self.0.u8(..3) == 0 {
                annotations.insert(key.into(), json!(value));
            }
        }
        if annotations.contains_key("traffic-split/sticky-cookie") && self.0.bool() {
            annotations.insert("traffic-split/sticky-cookie-attributes".into(), json!("Path=/; Secure; SameSite=None"));
        }
        let mut split = json!({
            "apiVersion": format!("split.smi-spec.io/v1alpha{}", self.0.u8(1..=4)), "kind": "TrafficSplit",
            "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
            "spec": {"service": self.one(&["web", "web:80"]), "backends": backends},
        });
        if with_matches {
            split["spec"]["matches"] = json!([{"kind": "HTTPRouteGroup", "name": "routes"}]);
            if self.0.u8(..16) == 0 {
                split["spec"]["matches"] = json!(vec![split["spec"]["matches"][0].clone(); self.0.usize(2..200)]);
            }
        }
        split
    }

    fn group(&mut self, namespace: &str) -> Value {
        let matches = [
            json!({}),
            json!({"name": "path", "pathRegex": "/a(b|c)*[^d]{2,5}"}),
            json!({"pathRegex": "*", "methods": ["*"]}),
            json!({"methods": ["GET", "POST"], "headers": {"x-user": "(?i)alice", "cookie": "^(.*?;)?(a=b)(;.*)?$"}}),
            json!({"headers": [{"x-user": ".+"}, {"host": r"web\..*"}]}),
        ];
        let matches: Vec<_> = (0..self.0.usize(1..4)).map(|_| self.one(&matches).clone()).collect();
        let mut group = json!({
            "apiVersion": format!("specs.smi-spec.io/v1alpha{}", self.0.u8(2..=4)), "kind": "HTTPRouteGroup",
            "metadata": {"name": "routes", "namespace": namespace},
        });
        if self.0.bool() {
            group["matches"] = json!(matches);
        } else {
            group["spec"] = json!({ "matches": matches });
        }
        group
    }

    /// Changes one value somewhere: replaces it, removes it, adds another one, or renames its key.
    fn spoil(&mut self, value: &mut Value) {
        let odd: Value = serde_json::from_str(self.one::<&str>(UNUSUAL_VALUES)).unwrap_or_default();
        match value {
            Value::Object(map) if !map.is_empty() && self.0.u8(..8) > 0 => {
                let keys: Vec<String> = map.keys().cloned().collect();
                let key = self.one(&keys);
                match self.0.u8(..12) {
                    0 => _ = map.remove(key),
                    1 => _ = map.insert(format!("{key}x"), odd),
                    _ => self.spoil(&mut map[key.as_str()]),
                }
            }
            Value::Array(list) if !list.is_empty() && self.0.u8(..8) > 0 => {
                let place = self.0.usize(..list.len());
                match self.0.u8(..8) {
                    0 => _ = list.remove(place),
                    1 => list.push(odd),
                    2 => list.push(list[place].clone()),
                    _ => self.spoil(&mut list[place]),
                }
            }
            value => *value = odd,
        }
    }

    fn break_text(&mut self, text: &mut Vec<u8>) {
        let (at, until) = (self.0.usize(..=text.len()), self.0.usize(..=text.len()));
        let (at, until) = (at.min(until), at.max(until));
        match self.0.u8(..5) {
            0 => text.truncate(at),
            1 => text.insert(at, self.0.u8(..)),
            2 => _ = text.splice(at..at, text[at..until].to_vec()),
            3 => _ = text.drain(at..until),
            _ => {
                if let Some(byte) = text.get_mut(at) {
                    *byte = self.0.u8(..);
                }
            }
        }
    }
}

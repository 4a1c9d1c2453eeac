//! What the filter does with a described request, and why, for people and for programs.
//!
//! Nothing is decided here: [`Rules::explain`] records the filter's own decision. This module adds file names and
//! reasons.

use crate::load::Input;
use crate::yaml::one_line;
use serde::Serialize;
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use traffic_split::{
    Configuration, FailedMatch, MatchCondition, Reason, Request, RootReason, RoutingTrace, Rules, TrafficSplit, Weight,
    is_label, is_token,
};

/// A request, described.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestDescription {
    /// As `GET`.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The authority, as in `Host`, with a port or without.
    pub host: String,
    /// All other headers.
    pub headers: Vec<Header>,
    /// The port that the client connects to.
    pub port: Option<u16>,
    /// The client's namespace; the configuration's own comes before it.
    pub namespace: Option<String>,
}

/// A header of a [`RequestDescription`] request: `NAME: VALUE`, the name in any case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Header {
    /// Lower case, as Envoy makes it.
    pub name: String,
    /// Without the spaces around it.
    pub value: String,
}

/// What the filter does with a request, and why. Displayed for people, on several lines;
/// serialised for programs, where every key is always there.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    request: RequestDescription,
    /// `service.namespace`.
    root_service: Option<String>,
    /// The splits that were tried before and are not for this request.
    skipped: Vec<SkippedSplit>,
    split: Option<SplitReference>,
    #[serde(rename = "match")]
    matched: Option<String>,
    /// The root's port.
    port: Option<u16>,
    /// The metric's `reason`; none for what goes to the root.
    reason: Option<&'static str>,
    decided_by: Option<DecidedBy>,
    /// Where the request goes if that is certain; neither this nor `root` if it is left to chance.
    backend: Option<Destination>,
    /// Why the request goes on as if there were no split.
    root: Option<RootDestination>,
    shares: Vec<BackendShare>,
    left_out: Vec<ExcludedBackend>,
    set_cookie: Option<SetCookie>,
    mirror: Option<MirrorDestination>,
    notes: Vec<String>,
}

/// A split and the file that it stands in.
#[derive(Clone, Debug, Serialize)]
struct SplitReference {
    name: String,
    file: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct SkippedSplit {
    #[serde(flatten)]
    split: SplitReference,
    matches: Vec<FailedMatchReport>,
}

#[derive(Clone, Debug, Serialize)]
struct FailedMatchReport {
    name: String,
    why: String,
}

#[derive(Clone, Debug, Serialize)]
struct DecidedBy {
    /// `header` or `cookie`.
    kind: &'static str,
    name: String,
    value: String,
}

#[derive(Clone, Debug, Serialize)]
struct Destination {
    service: String,
    cluster: String,
}

#[derive(Clone, Debug, Serialize)]
struct RootDestination {
    /// A word for programs.
    code: &'static str,
    why: String,
}

#[derive(Clone, Debug, Serialize)]
struct BackendShare {
    service: String,
    cluster: String,
    weight: Weight,
    /// 0 to 1.
    share: f64,
}

/// A backend that gets nothing of the request's port.
#[derive(Clone, Debug, Serialize)]
struct ExcludedBackend {
    service: String,
    weight: Weight,
    why: String,
}

/// A cookie that the response sets, since the request lacks it.
#[derive(Clone, Debug, Serialize)]
struct SetCookie {
    name: String,
    attributes: String,
}

#[derive(Clone, Debug, Serialize)]
struct MirrorDestination {
    service: String,
    cluster: String,
    /// 0 to 100.
    percent: f64,
}

/// What the filter of a client's sidecar does with `request`, and why.
pub fn explain(input: &Input, request: &RequestDescription) -> Explanation {
    let configuration = &input.configuration;
    let mut request = request.clone();
    if configuration.namespace.is_some() {
        request.namespace.clone_from(&configuration.namespace);
    }
    let rules = Rules::new(configuration, request.namespace.as_deref());
    let trace = rules.explain(&request);
    let named = |name: &str| SplitReference { name: name.into(), file: input.file_of_split(name).map(Into::into) };
    let split = trace.split.and_then(|name| configuration.traffic_splits.iter().find(|split| split.key() == name));
    let mut explanation = Explanation {
        root_service: trace.root.map(Into::into),
        skipped: trace
            .skipped
            .iter()
            .map(|(split, misses)| SkippedSplit {
                split: named(split),
                matches: misses.iter().map(|miss| FailedMatchReport::new(miss, &request)).collect(),
            })
            .collect(),
        split: trace.split.map(named),
        matched: trace.matched.map(Into::into),
        port: trace.port,
        reason: None,
        decided_by: None,
        backend: None,
        root: None,
        shares: Vec::new(),
        left_out: Vec::new(),
        set_cookie: None,
        mirror: None,
        notes: Vec::new(),
        request,
    };
    match trace.root_reason {
        None => explanation.goes_to_backend(&trace, split),
        Some(reason) => explanation.root = Some(RootDestination::new(reason)),
    }
    if let (Some(split), Some(port)) = (split, trace.port) {
        explanation.leave_out(configuration, split, port);
    }
    explanation.add_notes(configuration, &trace, split);
    explanation
}

// === impl RequestDescription ===

impl RequestDescription {
    /// The first value of a header, as the filter gets it.
    fn value(&self, name: &str) -> Option<&str> {
        match name {
            ":authority" | "host" => Some(&self.host),
            ":method" => Some(&self.method),
            ":path" => Some(&self.path),
            _ => self.headers.iter().find(|header| header.name == name).map(|header| &*header.value),
        }
    }
}

impl Request for RequestDescription {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.value(name).map(|value| Cow::Borrowed(value.as_bytes()))
    }

    fn destination_port(&self) -> Option<u16> {
        self.port
    }
}

// === impl Header ===

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with(':') {
            return Err("pseudo-headers have options of their own: --host, --method and --path".into());
        }
        let (name, value) = text.split_once(':').ok_or("it must be 'NAME: VALUE'")?;
        let name = name.to_ascii_lowercase();
        if !is_token(&name) {
            return Err(format!("{name:?} is not the name of an HTTP header"));
        }
        if name == "host" {
            return Err("the host has an option of its own: --host".into());
        }
        let value = value.trim_matches([' ', '\t']);
        if value.contains(|char: char| char.is_control() && char != '\t') {
            return Err("the value has a control character".into());
        }
        Ok(Self { name, value: value.into() })
    }
}

// === impl Explanation ===

impl Explanation {
    fn goes_to_backend(&mut self, trace: &RoutingTrace<'_>, split: Option<&TrafficSplit>) {
        self.shares = trace
            .shares
            .iter()
            .map(|share| BackendShare {
                service: share.backend.into(),
                cluster: share.cluster.to_string(),
                weight: share.weight,
                share: share.share,
            })
            .collect();
        let reason = match (&trace.certain, trace.new_cookie) {
            (Some(certain), _) => {
                self.backend = self.destination(certain.backend);
                self.decided_by = Some(DecidedBy::new(&certain.decided_by));
                certain.reason
            }
            (None, Some(cookie)) => {
                let annotations = split.map(|split| &split.metadata.annotations);
                let attributes = annotations.and_then(|own| own.sticky_cookie_attributes.clone()).unwrap_or_default();
                self.set_cookie = Some(SetCookie { name: cookie.into(), attributes: attributes.to_string() });
                Reason::Sticky
            }
            (None, None) => Reason::Random,
        };
        self.reason = Some(reason.as_str());
        let mut weighted = self.shares.iter().filter(|share| share.weight > Weight::default());
        if self.backend.is_none()
            && let (Some(only), None) = (weighted.next(), weighted.next())
        {
            // There is nothing left to chance.
            self.backend = Some(Destination { service: only.service.clone(), cluster: only.cluster.clone() });
        }
        if let Some((service, percent)) = trace.mirror
            && let Some(Destination { service, cluster }) = self.destination(service)
        {
            match &self.backend {
                Some(backend) if backend.service == service => {
                    self.notes.push(format!("the mirror {service} serves the request itself and gets no copy"));
                }
                _ => {
                    self.mirror =
                        Some(MirrorDestination { service, cluster, percent: percent.billionths() as f64 / 1e9 })
                }
            }
        }
    }

    fn destination(&self, service: &str) -> Option<Destination> {
        let share = self.shares.iter().find(|share| share.service == service)?;
        Some(Destination { service: service.into(), cluster: share.cluster.clone() })
    }

    /// Says which backends get nothing as they lack the port.
    fn leave_out(&mut self, configuration: &Configuration, split: &TrafficSplit, port: u16) {
        for backend in &split.spec.backends {
            let key = format!("{}/{}", split.metadata.namespace, backend.service);
            if let Some(ports) = ports(configuration, &key)
                && !ports.contains(&port)
            {
                self.left_out.push(ExcludedBackend {
                    service: backend.service.clone(),
                    weight: backend.weight.unwrap_or_default(),
                    why: format!("it has no port {port} ({})", say_ports(&ports)),
                });
            }
        }
    }

    /// Says what else may puzzle.
    fn add_notes(&mut self, configuration: &Configuration, trace: &RoutingTrace<'_>, split: Option<&TrafficSplit>) {
        let known = trace.root.and_then(|root| {
            let (service, namespace) = root.split_once('.')?;
            ports(configuration, &format!("{namespace}/{service}"))
        });
        let is_bare = self.request.host.split(':').next().is_some_and(|host| is_label(&host.to_ascii_lowercase()));
        match (trace.root, trace.port, known) {
            (None, ..) if is_bare && self.request.namespace.is_none() => self.notes.push(
                "a bare name means a root only to clients in its namespace; say with --namespace where the client is"
                    .into(),
            ),
            (Some(root), None, Some(known)) => self.notes.push(format!("{root} has {}", say_ports(&known))),
            (Some(root), Some(port), None) if self.request.port.is_none() && !self.request.host.contains(':') => {
                self.notes.push(format!(
                    "{port} is a guess: neither --host nor --port says a port, and the ports of {root} are unknown"
                ));
            }
            _ => {}
        }
        let override_header = split.and_then(|split| split.metadata.annotations.override_header.as_deref());
        if let Some(header) = override_header
            && self.root.is_none()
            && self.reason != Some(Reason::Override.as_str())
            && let Some(value) = self.request.value(header)
        {
            let note = format!("the header {header}: {value} is ignored: it names no backend that has the port");
            self.notes.push(note);
        }
    }

    /// The lines for people: a label and what it is about, on one line or several.
    fn lines(&self) -> Vec<(&'static str, Vec<String>)> {
        let mut lines = Vec::new();
        let mut one = |label: &'static str, text: String| lines.push((label, vec![text]));
        if let Some(split) = &self.split {
            one("split", split.to_string());
        }
        if let Some(matched) = &self.matched {
            one("match", matched.clone());
        }
        if let Some(port) = self.port {
            one("port", port.to_string());
        }
        match (&self.decided_by, &self.set_cookie, self.reason) {
            (Some(DecidedBy { kind, name, value }), _, Some(reason)) => {
                one("decided", format!("by the {kind} {name}: {value} ({reason})"));
            }
            (None, Some(SetCookie { name, .. }), Some(reason)) => one(
                "decided",
                format!("by a fresh value of the cookie {name}, which the request lacks, and by weight ({reason})"),
            ),
            (.., Some(reason)) => one("decided", format!("by weight ({reason})")),
            _ => {}
        }
        one("goes to", self.goes_to());
        if let Some(SetCookie { name, attributes }) = &self.set_cookie {
            let separator = if attributes.is_empty() { "" } else { "; " };
            one("response", format!("sets the cookie {name}=(the value){separator}{attributes}"));
        }
        if let Some(MirrorDestination { service, cluster, percent }) = &self.mirror {
            let others = if self.backend.is_some() { "such requests" } else { "those that others serve" };
            let percent = say_percent(percent / 100.0);
            one("mirror", format!("{percent} of {others} are copied to {service}, cluster {cluster}"));
        }
        if !(self.shares.is_empty() && self.left_out.is_empty()) {
            lines.push(("shares", self.table()));
        }
        for skipped in &self.skipped {
            let mut text = vec![format!("{}: no match holds", skipped.split)];
            text.extend(skipped.matches.iter().map(|FailedMatchReport { name, why }| format!("{name}: {why}")));
            lines.push(("skipped", text));
        }
        lines.extend(self.notes.iter().map(|note| ("note", vec![note.clone()])));
        lines
    }

    fn goes_to(&self) -> String {
        match (&self.root, &self.backend) {
            (Some(RootDestination { why, .. }), _) => match &self.root_service {
                Some(root) => format!("the root, {root}, as if there were no split: {why}"),
                None => format!("where it would go without the filter: {why}"),
            },
            (None, Some(Destination { service, cluster })) => format!("{service}, cluster {cluster}"),
            (None, None) => "one of these, left to chance by their shares".into(),
        }
    }

    fn table(&self) -> Vec<String> {
        let mut rows = vec![["backend", "weight", "share", "cluster"].map(str::to_owned)];
        rows.extend(self.shares.iter().map(|share| {
            [share.service.clone(), share.weight.to_string(), say_percent(share.share), share.cluster.clone()]
        }));
        rows.extend(self.left_out.iter().map(|left_out| {
            let why = format!("none: {}", left_out.why);
            [left_out.service.clone(), left_out.weight.to_string(), "-".into(), why]
        }));
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let (name, weight, share) = (width(0), width(1), width(2));
        let line = |[a, b, c, d]: &[String; 4]| format!("{a:name$}  {b:>weight$}  {c:>share$}  {d}");
        rows.iter().map(line).collect()
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RequestDescription { method, path, host, namespace, port, .. } = &self.request;
        write!(f, "{method} {path} at {host}")?;
        if let Some(port) = port {
            write!(f, ", to port {port}")?;
        }
        if let Some(namespace) = namespace {
            write!(f, ", from namespace {namespace}")?;
        }
        writeln!(f)?;
        for (mut label, lines) in self.lines() {
            for line in lines {
                writeln!(f, "{label:8}  {}", one_line(&line))?;
                label = "";
            }
        }
        Ok(())
    }
}

// === impl SplitReference ===

impl fmt::Display for SplitReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.file.as_ref().map_or(Ok(()), |file| write!(f, ", in {file}"))
    }
}

// === impl FailedMatchReport ===

impl FailedMatchReport {
    fn new(miss: &FailedMatch<'_>, request: &RequestDescription) -> Self {
        let why = match miss.condition {
            MatchCondition::Method(methods) => format!("the method {} is not {}", request.method, methods.join(" or ")),
            MatchCondition::Path(pattern) => {
                let path = request.path.split('?').next().unwrap_or_default();
                format!("the path {path} does not begin with {pattern}")
            }
            MatchCondition::Header(name, pattern) => match request.value(name) {
                Some(value) => format!("the header {name}: {value} does not match {pattern}"),
                None => format!("there is no header {name}, which must match {pattern}"),
            },
            _ => "a condition does not hold".into(),
        };
        let why = match miss.too_long {
            true => format!("{why} (the value is too long to be matched: see docs/limits.md)"),
            false => why,
        };
        Self { name: miss.name.into(), why }
    }
}

// === impl DecidedBy ===

impl DecidedBy {
    fn new(by: &traffic_split::DecidedBy<'_>) -> Self {
        let (kind, name, value) = match by {
            traffic_split::DecidedBy::Header(name, value) => ("header", name, value),
            traffic_split::DecidedBy::Cookie(name, value) => ("cookie", name, value),
        };
        Self { kind, name: (*name).into(), value: String::from_utf8_lossy(value).into() }
    }
}

// === impl RootDestination ===

impl RootDestination {
    fn new(why: RootReason) -> Self {
        let code = match why {
            RootReason::Excluded => "excluded",
            RootReason::NoSplit => "noSplit",
            RootReason::NoPort => "noPort",
            RootReason::NoMatch => "noMatch",
            RootReason::NoBackend => "noBackend",
            _ => "other",
        };
        Self { code, why: why.to_string() }
    }
}

/// The ports of a Service, if they are known.
fn ports(configuration: &Configuration, key: &str) -> Option<Vec<u16>> {
    Some(configuration.services.get(key)?.ports.as_ref()?.keys().copied().collect())
}

fn say_ports(ports: &[u16]) -> String {
    match ports {
        [] => "no port".into(),
        [only] => format!("only {only}"),
        many => many.iter().map(u16::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// With two digits behind the point, where they are needed.
fn say_percent(share: f64) -> String {
    let number = format!("{:.2}", share * 100.0);
    let number = number.trim_end_matches('0').trim_end_matches('.');
    if number == "0" && share > 0.0 { "<0.01 %".into() } else { format!("{number} %") }
}

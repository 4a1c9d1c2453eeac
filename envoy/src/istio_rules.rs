//! Checks a split against Istio's other objects: rules that split requests bypass, and clients that see the root but not a
//! backend. Host patterns are those of Istio's reference for VirtualService, DestinationRule, Sidecar and
//! `networking.istio.io/exportTo`.

use crate::condition::Condition;
use crate::document::{name, text};
use crate::service_facts::{EXPORT_TO, Export, MAX_EXPORTS, ServiceFacts, Services};
use crate::snapshot::ClusterSnapshot;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use traffic_split::TrafficSplit;

/// Istio's objects, indexed once in a pass, since a mesh may have thousands of objects and of splits.
pub(crate) struct IstioRules<'c> {
    services: &'c Services<'c>,
    /// The Kubernetes cluster's DNS domain.
    domain: &'c str,
    /// The rules that split requests bypass: a description and a remedy.
    bypassed: Vec<(String, &'static str)>,
    /// The names of all Sidecars.
    sidecars: Vec<String>,
    /// The different host patterns of all rules and Sidecars.
    patterns: Vec<Pattern<'c>>,
    /// The patterns that are short names, by the rule's namespace.
    short: HashMap<(&'c str, &'c str), usize>,
    /// The patterns that are DNS names.
    full: HashMap<&'c str, usize>,
    suffixes: SuffixIndex,
    namespaces: HashMap<&'c str, usize>,
    /// For each namespace of hosts and each pattern, by their indexes: the index in `lists` of the Sidecars that list them.
    visible: HashMap<(usize, usize), usize>,
    /// Sorted lists of indexes into `sidecars`.
    lists: Vec<Vec<usize>>,
    memo: RefCell<Memo<'c>>,
}

/// A host pattern: a DNS name, a short name, or the suffix of a DNS name.
struct Pattern<'c> {
    text: &'c str,
    /// The sorted indexes in `bypassed` of the rules with this pattern.
    rules: Vec<usize>,
}

/// Finds the suffix patterns of a DNS name in one pass over the name, however many patterns there are.
struct SuffixIndex {
    /// The base of the polynomial hash of a suffix.
    base: u64,
    by_hash: HashMap<u64, usize>,
    /// Whether there is a pattern of each length.
    lengths: [bool; MAX_HOST_BYTES + 1],
}

/// The rules of a root's host and of a backend's host.
type RootAndBackend = (Rc<HostRules>, Rc<HostRules>);

/// Results of this pass that other splits reuse.
#[derive(Default)]
struct Memo<'c> {
    /// The rules of a Service's host, by namespace and name.
    hosts: HashMap<(&'c str, &'c str), Rc<HostRules>>,
    /// The different values of `hosts`.
    distinct: HashMap<Rc<HostRules>, Rc<HostRules>>,
    /// The first [`MAX_LISTED`] Sidecars whose clients see a root but not a backend.
    hidden: HashMap<RootAndBackend, Rc<[usize]>>,
    /// The steps spent on the splits of each namespace.
    steps: HashMap<&'c str, usize>,
}

/// The rules and Sidecars whose patterns match a host.
#[derive(Default, PartialEq, Eq, Hash)]
struct HostRules {
    /// The indexes of the first [`MAX_LISTED`] rules.
    rules: Vec<usize>,
    /// The sorted indexes of the lists of Sidecars whose clients see the host.
    lists: Vec<usize>,
}

/// The error that the splits of a namespace need more than [`MAX_STEPS`].
struct TooManySteps;

/// Maximum number of objects that a message lists. Other tenants may create any number of objects.
const MAX_LISTED: usize = 10;

/// The longest DNS name; a longer pattern matches nothing.
const MAX_HOST_BYTES: usize = 253;

/// Maximum number of steps for the splits of one namespace in one pass, about 50 ms. A host costs one step for each byte; a backend that
/// Sidecars hide costs one step for each Sidecar that sees the root.
const MAX_STEPS: usize = 1_000_000;

// === impl IstioRules ===

impl<'c> IstioRules<'c> {
    /// Indexes the objects of a cluster. `hash_header` is the header that the route of split requests already hashes.
    pub(crate) fn new(
        cluster: &'c ClusterSnapshot,
        services: &'c Services<'c>,
        domain: &'c str,
        hash_header: Option<&str>,
    ) -> Self {
        let mut rules = Self {
            services,
            domain,
            bypassed: Vec::new(),
            sidecars: cluster.sidecars.iter().map(|sidecar| name(sidecar)).collect(),
            patterns: Vec::new(),
            short: HashMap::new(),
            full: HashMap::new(),
            suffixes: SuffixIndex::new(),
            namespaces: HashMap::new(),
            visible: HashMap::new(),
            lists: Vec::new(),
            memo: RefCell::default(),
        };
        for (number, sidecar) in cluster.sidecars.iter().enumerate() {
            rules.add_sidecar(number, sidecar);
        }
        for rule in &cluster.virtual_services {
            let gateways = strings(rule, "/spec/gateways");
            let is_of_mesh = gateways.is_empty() || gateways.contains(&"mesh");
            let has_routes = rule.pointer("/spec/http").and_then(Value::as_array).is_some_and(|http| !http.is_empty());
            if is_of_mesh && has_routes {
                let description = format!("the routes of VirtualService {}", name(rule));
                rules.add((description, ""), rule, strings(rule, "/spec/hosts"));
            }
        }
        for rule in cluster.destination_rules.iter().filter(|rule| hashes(rule, hash_header)) {
            let description = format!("consistentHash of DestinationRule {}", name(rule));
            rules.add((description, " (use --hash-header instead)"), rule, text(rule, "/spec/host"));
        }
        rules
    }

    /// Adds a rule. Hosts are DNS names, short names of the rule's namespace, or the wildcards `*` and `*.DOMAIN`.
    fn add(&mut self, description: (String, &'static str), rule: &'c Value, hosts: impl IntoIterator<Item = &'c str>) {
        let namespace = text(rule, "/metadata/namespace").unwrap_or_default();
        let number = self.bypassed.len();
        for host in hosts.into_iter().filter(|host| host.len() <= MAX_HOST_BYTES) {
            let pattern = match host.contains('.') || host.starts_with('*') {
                true => self.pattern(host),
                false => {
                    let next = self.patterns.len();
                    let pattern = *self.short.entry((namespace, host)).or_insert(next);
                    self.add_pattern(pattern, host);
                    pattern
                }
            };
            let rules = &mut self.patterns[pattern].rules;
            // A rule may repeat a host.
            if rules.last() != Some(&number) {
                rules.push(number);
            }
        }
        self.bypassed.push(description);
    }

    /// Adds the entries `NAMESPACE/HOST` of a Sidecar's egress. A Sidecar without entries hides nothing.
    fn add_sidecar(&mut self, number: usize, sidecar: &'c Value) {
        let own = text(sidecar, "/metadata/namespace").unwrap_or_default();
        let egress = sidecar.pointer("/spec/egress").and_then(Value::as_array);
        let patterns = egress.into_iter().flatten().flat_map(|egress| strings(egress, "/hosts"));
        for (namespace, host) in patterns.filter_map(|pattern| pattern.split_once('/')) {
            if host.len() > MAX_HOST_BYTES {
                continue;
            }
            let next = self.namespaces.len();
            let namespace = *self.namespaces.entry(if namespace == "." { own } else { namespace }).or_insert(next);
            let pattern = self.pattern(host);
            let next = self.lists.len();
            let list = *self.visible.entry((namespace, pattern)).or_insert(next);
            if list == next {
                self.lists.push(Vec::new());
            }
            // A Sidecar may repeat a host.
            if self.lists[list].last() != Some(&number) {
                self.lists[list].push(number);
            }
        }
    }

    /// Returns the index of the pattern of a wildcard or a DNS name.
    fn pattern(&mut self, host: &'c str) -> usize {
        let next = self.patterns.len();
        let (pattern, text) = match host.strip_prefix('*') {
            Some(suffix) => (self.suffixes.add(suffix, &self.patterns), suffix),
            None => (*self.full.entry(host).or_insert(next), host),
        };
        self.add_pattern(pattern, text);
        pattern
    }

    fn add_pattern(&mut self, number: usize, text: &'c str) {
        if number == self.patterns.len() {
            self.patterns.push(Pattern { text, rules: Vec::new() });
        }
    }

    /// Returns the rules and Sidecars that match a Service's host. Splits of the Service's namespace pay the steps.
    fn rules_of_host(
        &self,
        memo: &mut Memo<'c>,
        namespace: &'c str,
        service: &'c str,
    ) -> Result<Rc<HostRules>, TooManySteps> {
        if let Some(host_rules) = memo.hosts.get(&(namespace, service)) {
            return Ok(host_rules.clone());
        }
        let host = format!("{service}.{namespace}.svc.{}", self.domain);
        memo.spend(namespace, host.len())?;
        let full = self.full.get(host.as_str()).copied();
        let suffixes = self.suffixes.of(&host, &self.patterns);
        let rules_of = |pattern: usize| self.patterns[pattern].rules.iter().copied().take(MAX_LISTED);
        let named = self.short.get(&(namespace, service)).copied().into_iter().chain(full);
        let mut rules: Vec<_> = named.flat_map(rules_of).collect();
        rules.sort_unstable();
        rules.dedup();
        rules.extend(suffixes.iter().copied().flat_map(rules_of).take(MAX_LISTED));
        rules.truncate(MAX_LISTED);
        let namespaces = [namespace, "*"].into_iter().filter_map(|namespace| self.namespaces.get(namespace));
        let lists = namespaces.flat_map(|namespace| {
            let patterns = suffixes.iter().copied().chain(full);
            patterns.filter_map(move |pattern| self.visible.get(&(*namespace, pattern)).copied())
        });
        let mut lists: Vec<_> = lists.collect();
        lists.sort_unstable();
        let host_rules = Rc::new(HostRules { rules, lists });
        let host_rules = memo.distinct.entry(host_rules.clone()).or_insert(host_rules).clone();
        memo.hosts.insert((namespace, service), host_rules.clone());
        Ok(host_rules)
    }

    /// Returns the first Sidecars whose clients see the root but not the backend.
    fn hidden(
        &self,
        memo: &mut Memo<'c>,
        namespace: &'c str,
        root: &Rc<HostRules>,
        backend: &Rc<HostRules>,
    ) -> Result<Rc<[usize]>, TooManySteps> {
        memo.spend(namespace, 1)?;
        // The most frequent case: handle it without a cache entry.
        if root.lists == backend.lists {
            return Ok(Rc::new([]));
        }
        let key = (root.clone(), backend.clone());
        if let Some(hidden) = memo.hidden.get(&key) {
            return Ok(hidden.clone());
        }
        let mut hidden = Vec::new();
        // The clients of Sidecars in a list that root and backend share see both.
        for list in root.lists.iter().filter(|list| backend.lists.binary_search(list).is_err()) {
            let mut found = 0;
            for sidecar in &self.lists[*list] {
                memo.spend(namespace, 1 + backend.lists.len())?;
                if !backend.lists.iter().any(|list| self.lists[*list].binary_search(sidecar).is_ok()) {
                    hidden.push(*sidecar);
                    found += 1;
                }
                if found == MAX_LISTED {
                    break;
                }
            }
        }
        hidden.sort_unstable();
        hidden.dedup();
        hidden.truncate(MAX_LISTED);
        let hidden: Rc<[usize]> = hidden.into();
        memo.hidden.insert(key, hidden.clone());
        Ok(hidden)
    }

    /// Returns the condition `RulesApply`: which VirtualServices and DestinationRules do not apply to split requests, because these
    /// have a route of their own.
    pub(crate) fn apply(&self, split: &'c TrafficSplit) -> Condition {
        self.bypassed_by(split).unwrap_or_else(|TooManySteps| not_checked())
    }

    fn bypassed_by(&self, split: &'c TrafficSplit) -> Result<Condition, TooManySteps> {
        let memo = &mut *self.memo.borrow_mut();
        let mut named = BTreeMap::new();
        let services = split.spec.backends.iter().map(|backend| &backend.service);
        for service in [&split.spec.service].into_iter().chain(services) {
            for rule in &self.rules_of_host(memo, &split.metadata.namespace, service)?.rules {
                named.entry(*rule).or_insert(service);
            }
        }
        let bypassed = named.into_iter().take(MAX_LISTED).map(|(rule, service)| {
            let (description, hint) = &self.bypassed[rule];
            format!("{description}, which names {service}{hint}")
        });
        let bypassed: Vec<_> = bypassed.collect();
        if bypassed.is_empty() {
            return Ok(Condition::met("RulesApply"));
        }
        Ok(Condition::unmet("RulesBypassed", format!("split requests bypass {}", bypassed.join(", and "))))
    }

    /// Returns the condition `Reachable`: which clients see the root but not a backend with a weight. Their proxies have no
    /// cluster for the backend and answer 503.
    pub(crate) fn reachable(&self, split: &'c TrafficSplit) -> Condition {
        self.hidden_backends(split).unwrap_or_else(|TooManySteps| not_checked())
    }

    fn hidden_backends(&self, split: &'c TrafficSplit) -> Result<Condition, TooManySteps> {
        let memo = &mut *self.memo.borrow_mut();
        let (namespace, root) = (split.metadata.namespace.as_str(), split.spec.service.as_str());
        let mut hidden = Vec::new();
        let backends = split.spec.backends.iter().filter(|backend| backend.has_weight());
        let backends = backends.map(|backend| backend.service.as_str());
        let of_root = self.rules_of_host(memo, namespace, root)?;
        for backend in backends.clone() {
            let of_backend = self.rules_of_host(memo, namespace, backend)?;
            let sidecars = self.hidden(memo, namespace, &of_root, &of_backend)?;
            let sidecars = sidecars.iter().filter_map(|number| self.sidecars.get(*number));
            hidden.extend(sidecars.map(|sidecar| format!("{backend} from clients of Sidecar {sidecar}")));
            if hidden.len() >= MAX_LISTED {
                break;
            }
        }
        let export = |service| self.services.get(&(namespace, service)).map_or(&Export::All, ServiceFacts::export);
        let of_root = export(root);
        for backend in backends {
            if hidden.len() >= MAX_LISTED {
                break;
            }
            match export(backend) {
                _ if backend == root => {}
                Export::All => {}
                Export::TooMany => hidden.push(format!(
                    "{backend} from some clients, because {EXPORT_TO} has more than {MAX_EXPORTS} entries and is not evaluated"
                )),
                Export::Only(to) if !is_within(of_root, to) => {
                    let mut listed: Vec<_> = to.iter().take(MAX_LISTED).map(String::as_str).collect();
                    if to.len() > MAX_LISTED {
                        listed.push("…");
                    }
                    hidden.push(format!("{backend} from clients outside {} ({EXPORT_TO})", listed.join(", ")));
                }
                Export::Only(_) => {}
            }
        }
        if hidden.is_empty() {
            return Ok(Condition::met("Reachable"));
        }
        hidden.truncate(MAX_LISTED);
        Ok(Condition::unmet(
            "BackendHidden",
            format!("split requests get 503, because backends are hidden: {}", hidden.join("; ")),
        ))
    }
}

/// Returns whether an export is limited to these namespaces. An export list that is not evaluated counts as an export to all.
fn is_within(export: &Export, namespaces: &[String]) -> bool {
    let Export::Only(own) = export else { return false };
    let mut others = namespaces.iter().peekable();
    own == namespaces
        || own.iter().all(|own| {
            while others.next_if(|other| *other < own).is_some() {}
            others.peek() == Some(&own)
        })
}

fn not_checked() -> Condition {
    let message =
        "not checked, because the namespace has too many backends, or too many Sidecars and VirtualServices name them";
    Condition { is_met: true, reason: "NotChecked", message: message.into() }
}

// === impl Memo ===

impl<'c> Memo<'c> {
    fn spend(&mut self, namespace: &'c str, steps: usize) -> Result<(), TooManySteps> {
        let spent = self.steps.entry(namespace).or_default();
        *spent = spent.saturating_add(steps);
        if *spent <= MAX_STEPS { Ok(()) } else { Err(TooManySteps) }
    }
}

// === impl SuffixIndex ===

impl SuffixIndex {
    fn new() -> Self {
        // Random, so that nobody can write patterns whose hashes collide.
        let base = RandomState::new().hash_one(0) | 1;
        Self { base, by_hash: HashMap::new(), lengths: [false; MAX_HOST_BYTES + 1] }
    }

    fn next(&self, hash: u64, byte: u8) -> u64 {
        (hash ^ u64::from(byte)).wrapping_add(1).wrapping_mul(self.base).rotate_left(23)
    }

    /// Returns the index of a suffix's pattern; the next free index if the suffix is new.
    fn add(&mut self, suffix: &str, patterns: &[Pattern<'_>]) -> usize {
        if let Some(length) = self.lengths.get_mut(suffix.len()) {
            *length = true;
        }
        let mut hash = suffix.bytes().rev().fold(0, |hash, byte| self.next(hash, byte));
        loop {
            match self.by_hash.get(&hash) {
                Some(pattern) if patterns[*pattern].text == suffix => return *pattern,
                Some(_) => hash = hash.wrapping_add(1),
                None => {
                    self.by_hash.insert(hash, patterns.len());
                    return patterns.len();
                }
            }
        }
    }

    /// Returns the patterns that are suffixes of a DNS name, the shortest first.
    fn of(&self, host: &str, patterns: &[Pattern<'_>]) -> Vec<usize> {
        let mut found = Vec::new();
        let mut hash = 0;
        for (length, has_length) in self.lengths.iter().enumerate().take(host.len() + 1) {
            if length > 0 {
                hash = self.next(hash, host.as_bytes()[host.len() - length]);
            }
            let mut at = hash;
            while let Some(pattern) = self.by_hash.get(&at).filter(|_| *has_length) {
                if host.get(host.len() - length..) == Some(patterns[*pattern].text) {
                    found.push(*pattern);
                    break;
                }
                at = at.wrapping_add(1);
            }
        }
        found
    }
}

/// Returns whether a DestinationRule hashes, for all ports or for one, by anything but this header.
fn hashes(rule: &Value, header: Option<&str>) -> bool {
    let ports = rule.pointer("/spec/trafficPolicy/portLevelSettings").and_then(Value::as_array);
    let policies = rule.pointer("/spec/trafficPolicy").into_iter().chain(ports.into_iter().flatten());
    let mut hashes = policies.filter_map(|policy| policy.pointer("/loadBalancer/consistentHash"));
    hashes.any(|hash| {
        let by = text(hash, "/httpHeaderName");
        !by.zip(header).is_some_and(|(by, header)| by.eq_ignore_ascii_case(header))
    })
}

fn strings<'v>(value: &'v Value, pointer: &str) -> Vec<&'v str> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

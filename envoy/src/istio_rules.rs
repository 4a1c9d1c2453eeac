//! What else Istio's objects say of a split's Services: rules that a split request bypasses, and clients that see the root
//! but not a backend. The words and patterns are those of Istio's reference for VirtualService, DestinationRule, Sidecar and
//! `networking.istio.io/exportTo`.

use crate::condition::Condition;
use crate::document::{name, text};
use crate::snapshot::{ClusterSnapshot, EXPORT_TO, Export, MAX_EXPORTS, ServiceFacts, Services};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use traffic_split::TrafficSplit;

/// Istio's objects, read once for all splits: a mesh has thousands of either.
pub(crate) struct IstioRules<'c> {
    services: &'c Services<'c>,
    /// The Kubernetes cluster's DNS domain.
    domain: &'c str,
    /// What split requests bypass, and what to do about it.
    bypassed: Vec<(String, &'static str)>,
    /// The names of all Sidecars.
    sidecars: Vec<String>,
    /// The host patterns of all rules and Sidecars, each once.
    patterns: Vec<Pattern<'c>>,
    /// Patterns that are a short name, by the rule's namespace.
    short: HashMap<(&'c str, &'c str), usize>,
    /// Patterns that are a DNS name.
    full: HashMap<&'c str, usize>,
    suffixes: SuffixIndex,
    namespaces: HashMap<&'c str, usize>,
    /// The place in `lists` of the Sidecars that list a pattern, by the number of the hosts' namespace and the pattern.
    visible: HashMap<(usize, usize), usize>,
    /// Lists of Sidecars, sorted.
    lists: Vec<Vec<usize>>,
    memo: RefCell<Memo<'c>>,
}

/// A DNS name, a short name, or a DNS name's end.
struct Pattern<'c> {
    text: &'c str,
    /// The entries of `bypassed` that have the pattern, sorted.
    rules: Vec<usize>,
}

/// Patterns by the DNS name's end: found in one pass over a name, however many lengths there are.
struct SuffixIndex {
    /// The hash of an end is a polynomial in this.
    base: u64,
    by_hash: HashMap<u64, usize>,
    /// Which lengths there are.
    lengths: [bool; MAX_HOST_BYTES + 1],
}

/// The facts of the hosts of a root and of one of its backends.
type RootAndBackend = (Rc<HostRules>, Rc<HostRules>);

/// What has been found out in this pass.
#[derive(Default)]
struct Memo<'c> {
    /// The facts of a Service's host, by namespace and name.
    hosts: HashMap<(&'c str, &'c str), Rc<HostRules>>,
    /// All different facts.
    facts: HashMap<Rc<HostRules>, Rc<HostRules>>,
    /// The Sidecars whose clients see a host but not another, by the lists of both: the first [`MAX_LISTED`].
    hidden: HashMap<RootAndBackend, Rc<[usize]>>,
    /// The steps that splits of a namespace have cost.
    steps: HashMap<&'c str, usize>,
}

/// What is known of a host.
#[derive(Default, PartialEq, Eq, Hash)]
struct HostRules {
    /// The rules that name the host: the first [`MAX_LISTED`].
    rules: Vec<usize>,
    /// The lists of Sidecars whose clients see the host, sorted.
    lists: Vec<usize>,
}

/// The splits of a namespace have cost more than [`MAX_STEPS`].
struct TooManySteps;

/// The most objects that a message lists: other tenants may write any number of them.
const MAX_LISTED: usize = 10;

/// The longest DNS name: no longer pattern can match.
const MAX_HOST_BYTES: usize = 253;

/// The most comparisons with Istio's objects for the splits of one namespace in one pass: about 50 ms. A host costs one for
/// each of its characters; a backend that Sidecars hide costs one for each Sidecar that sees the root.
const MAX_STEPS: usize = 1_000_000;

// === impl IstioRules ===

impl<'c> IstioRules<'c> {
    /// By `hash_header` split requests are hashed already.
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
            rules.add((description, " (--hash-header has its effect)"), rule, text(rule, "/spec/host"));
        }
        rules
    }

    /// Hosts are DNS names, short names by the rule's namespace, or wildcards: `*` or `*.DOMAIN`.
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
            // One rule may list a host any number of times.
            if rules.last() != Some(&number) {
                rules.push(number);
            }
        }
        self.bypassed.push(description);
    }

    /// The entries `NAMESPACE/HOST` of a Sidecar's egress. Without any, it says nothing of what its pods call.
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
            // One Sidecar may list a host any number of times.
            if self.lists[list].last() != Some(&number) {
                self.lists[list].push(number);
            }
        }
    }

    /// The number of a wildcard or a DNS name.
    fn pattern(&mut self, host: &'c str) -> usize {
        let next = self.patterns.len();
        let (pattern, text) = match host.strip_prefix('*') {
            Some(end) => (self.suffixes.add(end, &self.patterns), end),
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

    /// What is known of a Service's host, for a split of the Service's namespace.
    fn facts(&self, memo: &mut Memo<'c>, namespace: &'c str, service: &'c str) -> Result<Rc<HostRules>, TooManySteps> {
        if let Some(facts) = memo.hosts.get(&(namespace, service)) {
            return Ok(facts.clone());
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
        let facts = Rc::new(HostRules { rules, lists });
        let facts = memo.facts.entry(facts.clone()).or_insert(facts).clone();
        memo.hosts.insert((namespace, service), facts.clone());
        Ok(facts)
    }

    /// The first Sidecars whose clients see the root but not the backend.
    fn hidden(
        &self,
        memo: &mut Memo<'c>,
        namespace: &'c str,
        root: &Rc<HostRules>,
        backend: &Rc<HostRules>,
    ) -> Result<Rc<[usize]>, TooManySteps> {
        memo.spend(namespace, 1)?;
        // The same lists, and no memory for it: by far the most frequent case.
        if root.lists == backend.lists {
            return Ok(Rc::new([]));
        }
        let key = (root.clone(), backend.clone());
        if let Some(hidden) = memo.hidden.get(&key) {
            return Ok(hidden.clone());
        }
        let mut hidden = Vec::new();
        // Who is in a list of both sees both.
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

    /// Whether all that Istio's objects say of the root and the backends is so for split requests too. Their route is our
    /// own, and what a VirtualService's or a hashing load balancer's would have said doesn't reach it.
    pub(crate) fn apply(&self, split: &'c TrafficSplit) -> Condition {
        self.bypassed_by(split).unwrap_or_else(|TooManySteps| not_checked())
    }

    fn bypassed_by(&self, split: &'c TrafficSplit) -> Result<Condition, TooManySteps> {
        let memo = &mut *self.memo.borrow_mut();
        let mut named = BTreeMap::new();
        let services = split.spec.backends.iter().map(|backend| &backend.service);
        for service in [&split.spec.service].into_iter().chain(services) {
            for rule in &self.facts(memo, &split.metadata.namespace, service)?.rules {
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

    /// Whether clients that see the root see every backend with weight. A proxy has no cluster of what it doesn't see, and
    /// answers 503.
    pub(crate) fn reachable(&self, split: &'c TrafficSplit) -> Condition {
        self.hidden_backends(split).unwrap_or_else(|TooManySteps| not_checked())
    }

    fn hidden_backends(&self, split: &'c TrafficSplit) -> Result<Condition, TooManySteps> {
        let memo = &mut *self.memo.borrow_mut();
        let (namespace, root) = (split.metadata.namespace.as_str(), split.spec.service.as_str());
        let mut hidden = Vec::new();
        let backends = split.spec.backends.iter().filter(|backend| backend.has_weight());
        let backends = backends.map(|backend| backend.service.as_str());
        let of_root = self.facts(memo, namespace, root)?;
        for backend in backends.clone() {
            let facts = self.facts(memo, namespace, backend)?;
            let blind = self.hidden(memo, namespace, &of_root, &facts)?;
            let blind = blind.iter().filter_map(|number| self.sidecars.get(*number));
            hidden.extend(blind.map(|sidecar| format!("{backend} from clients of Sidecar {sidecar}")));
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
                    "{backend} from some clients, since {EXPORT_TO} has more than {MAX_EXPORTS} entries and is not evaluated"
                )),
                Export::Only(to) if !is_within(of_root, to) => {
                    let mut listed: Vec<_> = to.iter().take(MAX_LISTED).map(String::as_str).collect();
                    if to.len() > MAX_LISTED {
                        listed.push("…");
                    }
                    hidden.push(format!("{backend} from clients outside of {} ({EXPORT_TO})", listed.join(", ")));
                }
                Export::Only(_) => {}
            }
        }
        if hidden.is_empty() {
            return Ok(Condition::met("Reachable"));
        }
        hidden.truncate(MAX_LISTED);
        Ok(Condition::unmet("BackendHidden", format!("503 for split requests: hidden is {}", hidden.join(", and "))))
    }
}

/// Whether a Service with this export is seen in these namespaces only. An export that is not evaluated counts as all.
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
        "not checked: this namespace has too many backends, or too many Sidecars and VirtualServices name them";
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
        // Unknown to those who write patterns.
        let base = RandomState::new().hash_one(0) | 1;
        Self { base, by_hash: HashMap::new(), lengths: [false; MAX_HOST_BYTES + 1] }
    }

    fn next(&self, hash: u64, byte: u8) -> u64 {
        (hash ^ u64::from(byte)).wrapping_add(1).wrapping_mul(self.base).rotate_left(23)
    }

    /// Returns the number of an end's pattern: the next, if the end is new.
    fn add(&mut self, end: &str, patterns: &[Pattern<'_>]) -> usize {
        if let Some(length) = self.lengths.get_mut(end.len()) {
            *length = true;
        }
        let mut hash = end.bytes().rev().fold(0, |hash, byte| self.next(hash, byte));
        loop {
            match self.by_hash.get(&hash) {
                Some(pattern) if patterns[*pattern].text == end => return *pattern,
                Some(_) => hash = hash.wrapping_add(1),
                None => {
                    self.by_hash.insert(hash, patterns.len());
                    return patterns.len();
                }
            }
        }
    }

    /// Returns the patterns that are ends of a DNS name, the shortest first.
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

/// Whether a DestinationRule has a load balancer, for all ports or for one, that hashes by anything but this header.
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

//! What sidecars get of what there is in a Kubernetes cluster, and what is said of each TrafficSplit. One that is wrong
//! never holds up the others.

use crate::document;
use crate::istio::Istio;
use crate::istio_rules::IstioRules;
use crate::wiring;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use traffic_split::{Configuration, HttpRouteGroup, Object, Problem, TrafficSplit};

/// What there is in the cluster: whole objects, as the API server has them.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Cluster {
    /// TrafficSplits of any version.
    pub traffic_splits: Vec<Value>,
    /// HTTPRouteGroups of any version.
    pub http_route_groups: Vec<Value>,
    /// Services.
    pub services: Vec<Value>,
    /// Istio's VirtualServices.
    pub virtual_services: Vec<Value>,
    /// Istio's DestinationRules.
    pub destination_rules: Vec<Value>,
    /// Istio's Sidecars.
    pub sidecars: Vec<Value>,
    /// Namespaces whose clients are left alone.
    pub excluded_namespaces: BTreeSet<String>,
    /// What sidecars have now: where the last good version of a split is, if there is one.
    pub served: Configuration,
}

/// What sidecars get, and what is said of each TrafficSplit.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// What sidecars get: no more than they need.
    pub configuration: Configuration,
    /// By `namespace/name`.
    pub verdicts: BTreeMap<String, Verdict>,
}

/// What is said of a TrafficSplit. The words are those of the Gateway API's conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// Whether the object, as it stands, is one that can be served.
    pub accepted: Said,
    /// Whether sidecars are given it, as it stands.
    pub programmed: Said,
    /// Whether what it names is there.
    pub resolved: Said,
    /// Whether what Istio's objects say of its Services is so for split requests too.
    pub rules_apply: Said,
    /// Whether clients that see the root see all backends.
    pub reachable: Said,
    /// The weights that are served, e.g. `httpbin-v1 50, httpbin-v2 50`; empty if it isn't.
    pub backends: String,
    /// Which version of it is served.
    pub serves: Serves,
}

/// A condition's status, reason and message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Whether it holds.
    pub holds: bool,
    /// One word.
    pub reason: &'static str,
    /// What there is to know, and what to do; may be empty.
    pub message: String,
}

/// Which version of a TrafficSplit is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// The object as it stands.
    Current,
    /// What sidecars have of it since an earlier one.
    LastGood,
    /// None: clients are served as if it weren't there.
    Nothing,
}

/// A split that may be served: as it stands, or as sidecars have it.
#[derive(Clone)]
struct Candidate<'c> {
    /// The object in the cluster, to say which is older.
    object: &'c Value,
    split: TrafficSplit,
    serves: Serves,
    /// What is wrong with the object as it stands.
    problems: String,
    /// Why sidecars aren't given the object as it stands, though it could be served.
    held: Option<Held<'c>>,
}

#[derive(Clone, Copy)]
enum Held<'c> {
    /// There is no room for it.
    TooLarge,
    /// The API server doesn't take the EnvoyFilter, and this is what it says.
    Refused(&'c str),
}

/// What sidecars get of this. `base` is what the operator says of the filter: header names, cluster names and so on. If all
/// would take more than `most_bytes` in an EnvoyFilter, what sidecars have keeps its room, and what is too much on top of that
/// stays as it is served, or out.
///
/// Several splits of one root: those with matches come in the order of their age, then their name; the oldest without
/// matches comes last, and others without are in conflict with it.
#[must_use]
pub fn plan(base: &Configuration, istio: &Istio, cluster: &Cluster, most_bytes: usize) -> Plan {
    let most_bytes = istio.most_bytes(most_bytes);
    let planner = Planner::new(base, istio, cluster);
    let (mut candidates, mut verdicts) = planner.candidates();
    let losers = settle(&mut candidates, &mut verdicts);
    let mut configuration = planner.configuration(&candidates);
    if bytes(&configuration) > most_bytes {
        // Who gave way is served on if there is no room for the other.
        candidates.extend(losers.into_iter().filter(|loser| planner.served_splits.contains_key(&loser.split.key())));
        planner.make_room(&mut candidates, most_bytes);
        settle(&mut candidates, &mut verdicts);
        configuration = planner.configuration(&candidates);
        if bytes(&configuration) > most_bytes.max(bytes(&cluster.served)) {
            // Groups and Services have no room of their own, and have grown.
            return planner.hold(Held::TooLarge);
        }
    }
    planner.plan(&candidates, verdicts, configuration)
}

/// What is to be said if sidecars keep what they have, because the API server refuses another EnvoyFilter and says `why`.
#[must_use]
pub fn plan_if_refused(base: &Configuration, istio: &Istio, cluster: &Cluster, why: &str) -> Plan {
    Planner::new(base, istio, cluster).hold(Held::Refused(why))
}

/// Puts candidates in the order in which they are asked, and takes out those in conflict with an older one that is served,
/// which it gives back.
fn settle<'c>(candidates: &mut Vec<Candidate<'c>>, verdicts: &mut BTreeMap<String, Verdict>) -> Vec<Candidate<'c>> {
    candidates.sort_by_cached_key(|candidate| (candidate.split.spec.matches.is_empty(), candidate.age()));
    let mut oldest = BTreeMap::new();
    for candidate in candidates.iter().filter(|candidate| candidate.serves != Serves::Nothing) {
        if let Some(root) = candidate.root_of_all_requests() {
            oldest.entry(root).or_insert_with(|| candidate.age());
        }
    }
    let losers = candidates.extract_if(.., |candidate| {
        let winner = candidate.root_of_all_requests().and_then(|root| oldest.get(&root));
        let Some(winner) = winner.filter(|winner| **winner < candidate.age()) else { return false };
        let verdict = match candidate.problems.is_empty() {
            true => Verdict::conflict(&candidate.split.spec.service, &winner.1),
            // The conflict is of what sidecars have had of it.
            false => Verdict::invalid(candidate.problems.clone()),
        };
        verdicts.insert(candidate.split.key(), verdict);
        true
    });
    losers.collect()
}

/// What a configuration takes in an EnvoyFilter, where it is a string: its quotation marks and backslashes count twice.
#[must_use]
pub fn bytes(configuration: &Configuration) -> usize {
    let text = serde_json::to_string(configuration).and_then(|text| serde_json::to_string(&text));
    text.map_or(usize::MAX, |text| text.len())
}

struct Planner<'c> {
    base: &'c Configuration,
    istio: &'c Istio,
    cluster: &'c Cluster,
    /// The groups that may be served, by `namespace/name`.
    groups: BTreeMap<String, Group>,
    services: BTreeMap<String, &'c Value>,
    /// What sidecars have, by `namespace/name`.
    served_splits: BTreeMap<String, &'c TrafficSplit>,
    served_groups: BTreeMap<String, &'c HttpRouteGroup>,
}

/// An HTTPRouteGroup that may be served, or why it can't be.
enum Group {
    Good(Value),
    /// It isn't good as it stands, but sidecars have an earlier version.
    LastGood(Value, String),
    Bad(String),
}

// === impl Candidate ===

impl<'c> Candidate<'c> {
    /// Its namespace and root, if it is without matches: only one may be for each.
    fn root_of_all_requests(&self) -> Option<(String, String)> {
        let split = &self.split;
        split.spec.matches.is_empty().then(|| (split.metadata.namespace.clone(), split.spec.service.clone()))
    }

    /// By what the older comes first: its time, then its `namespace/name`.
    fn age(&self) -> (String, String) {
        let created = document::text(self.object, "/metadata/creationTimestamp").unwrap_or_default();
        (created.to_owned(), self.split.key())
    }

    /// To what sidecars have of it, or out.
    fn take_back(&mut self, served: Option<Candidate<'c>>, why: Held<'c>) {
        match served {
            Some(served) => *self = Candidate { problems: std::mem::take(&mut self.problems), ..served },
            None => self.serves = Serves::Nothing,
        }
        self.held = Some(why);
    }
}

// === impl Planner ===

impl<'c> Planner<'c> {
    fn new(base: &'c Configuration, istio: &'c Istio, cluster: &'c Cluster) -> Self {
        let key = |group: &HttpRouteGroup| format!("{}/{}", group.metadata.namespace, group.metadata.name);
        let mut planner = Self {
            base,
            istio,
            cluster,
            groups: BTreeMap::new(),
            services: cluster.services.iter().map(|service| (document::key(service), service)).collect(),
            served_splits: cluster.served.traffic_splits.iter().map(|split| (split.key(), split)).collect(),
            served_groups: cluster.served.http_route_groups.iter().map(|group| (key(group), group)).collect(),
        };
        for object in &cluster.http_route_groups {
            let name = document::key(object);
            let group = match planner.read(&[], std::slice::from_ref(object), Map::new()) {
                Ok(_) => Group::Good(object.clone()),
                Err(problems) => match planner.served_group(&name) {
                    Some(served) => Group::LastGood(served, say(&problems)),
                    None => Group::Bad(say(&problems)),
                },
            };
            planner.groups.insert(name, group);
        }
        planner
    }

    fn served_group(&self, name: &str) -> Option<Value> {
        serde_json::to_value(self.served_groups.get(name)?).ok()
    }

    /// A configuration of these objects, and what the operator says.
    fn read(
        &self,
        splits: &[Value],
        groups: &[Value],
        services: Map<String, Value>,
    ) -> Result<Configuration, Vec<Problem>> {
        let mut whole = serde_json::to_value(self.base).unwrap_or_default();
        whole["trafficSplits"] = splits.into();
        whole["httpRouteGroups"] = groups.into();
        whole["excludedNamespaces"] = json!(self.excluded_namespaces());
        for (key, mut service) in services {
            // What the operator says of it comes first.
            if let Some(Value::Object(known)) = whole.get("services").and_then(|known| known.get(&key)) {
                merge(&mut service, known);
            }
            whole["services"][key] = service;
        }
        Configuration::from_value(&whole)
    }

    fn excluded_namespaces(&self) -> BTreeSet<String> {
        self.base.excluded_namespaces.iter().chain(&self.cluster.excluded_namespaces).cloned().collect()
    }

    /// The groups that these splits name, as far as they may be served. What is gone is served as long as a split that
    /// sidecars have is.
    fn groups_of<'a>(&self, splits: impl IntoIterator<Item = (&'a Value, Serves)>) -> Vec<Value> {
        let mut names = BTreeMap::new();
        for (split, serves) in splits {
            let namespace = document::text(split, "/metadata/namespace").unwrap_or_default();
            for name in group_names(split) {
                *names.entry(format!("{namespace}/{name}")).or_insert(false) |= serves == Serves::LastGood;
            }
        }
        let group = |(name, is_last_good): (&String, &bool)| match self.groups.get(name) {
            Some(Group::Good(group) | Group::LastGood(group, _)) => Some(group.clone()),
            Some(Group::Bad(_)) => None,
            None if *is_last_good => self.served_group(name),
            None => None,
        };
        names.iter().filter_map(group).collect()
    }

    /// What may be served, and what is said of the rest.
    fn candidates(&self) -> (Vec<Candidate<'c>>, BTreeMap<String, Verdict>) {
        let mut verdicts = BTreeMap::new();
        let mut candidates = Vec::new();
        for object in &self.cluster.traffic_splits {
            match self.candidate(object) {
                Ok(candidate) => candidates.push(candidate),
                Err(problems) => _ = verdicts.insert(document::key(object), Verdict::invalid(problems)),
            }
        }
        (candidates, verdicts)
    }

    /// The split of an object as it stands, or as sidecars have it; if neither, what is wrong.
    fn candidate(&self, object: &'c Value) -> Result<Candidate<'c>, String> {
        match self.read_split(object, Serves::Current) {
            Ok(split) => Ok(Candidate { object, split, serves: Serves::Current, problems: String::new(), held: None }),
            Err(problems) => {
                let problems = self.explain(object, &problems);
                let served =
                    self.last_good(object).map(|candidate| Candidate { problems: problems.clone(), ..candidate });
                served.ok_or(problems)
            }
        }
    }

    /// The split of an object as sidecars have it.
    fn last_good(&self, object: &'c Value) -> Option<Candidate<'c>> {
        let served = serde_json::to_value(self.served_splits.get(&document::key(object))?).ok()?;
        let split = self.read_split(&served, Serves::LastGood).ok()?;
        Some(Candidate { object, split, serves: Serves::LastGood, problems: String::new(), held: None })
    }

    fn read_split(&self, split: &Value, serves: Serves) -> Result<TrafficSplit, Vec<Problem>> {
        let groups = self.groups_of([(split, serves)]);
        let mut configuration = self.read(std::slice::from_ref(split), &groups, Map::new())?;
        configuration.traffic_splits.pop().ok_or_else(Vec::new)
    }

    /// Takes back what doesn't fit: to what sidecars have of it, whose room is never given away, or out. The older comes first.
    fn make_room(&self, candidates: &mut [Candidate<'c>], most_bytes: usize) {
        let nothing = bytes(&self.configuration(&[]));
        // With its Services and groups, though others may share them.
        let needed = |candidate: &Candidate<'c>| {
            bytes(&self.configuration(std::slice::from_ref(candidate))).saturating_sub(nothing)
        };
        let served: Vec<_> = candidates.iter().map(|candidate| self.last_good(candidate.object)).collect();
        let rooms: Vec<_> = served.iter().map(|served| served.as_ref().map_or(0, needed)).collect();
        let mut taken = nothing + rooms.iter().sum::<usize>();
        let mut order: Vec<_> = (0..candidates.len()).collect();
        order.sort_by_cached_key(|number| (served[*number].is_none(), candidates[*number].age()));
        for number in order {
            let (candidate, room) = (&mut candidates[number], rooms[number]);
            let needed = needed(candidate);
            if needed <= room || taken - room + needed <= most_bytes {
                taken = taken - room + needed;
                continue;
            }
            candidate.take_back(served[number].clone(), Held::TooLarge);
        }
    }

    /// Sidecars keep what they have: what isn't as they have it is taken back.
    fn hold(&self, why: Held<'c>) -> Plan {
        let is_served = |split: &TrafficSplit| {
            let namespace = &split.metadata.namespace;
            let groups = split.spec.matches.iter().map(|group| format!("{namespace}/{}", group.name));
            self.served_splits.get(&split.key()).is_some_and(|served| *served == split)
                && groups.into_iter().all(|name| match self.groups.get(&name) {
                    Some(Group::Good(group)) => {
                        let read = self.read(&[], std::slice::from_ref(group), Map::new());
                        read.is_ok_and(|read| read.http_route_groups.first() == self.served_groups.get(&name).copied())
                    }
                    Some(Group::LastGood(..) | Group::Bad(_)) | None => true,
                })
        };
        let (mut candidates, mut verdicts) = self.candidates();
        for candidate in candidates.iter_mut().filter(|candidate| !is_served(&candidate.split)) {
            candidate.take_back(self.last_good(candidate.object), why);
        }
        settle(&mut candidates, &mut verdicts);
        let mut configuration = self.cluster.served.clone();
        if matches!(why, Held::TooLarge) {
            // Nobody is split who is said not to be, and what is gone goes, however little room there is.
            let there: BTreeSet<_> = self.cluster.traffic_splits.iter().map(document::key).collect();
            configuration.traffic_splits.retain(|split| there.contains(&split.key()));
            configuration.excluded_namespaces = self.excluded_namespaces().into_iter().collect();
            configuration = wiring::what_the_filter_needs(&configuration);
        }
        self.plan(&candidates, verdicts, configuration)
    }

    /// This configuration, and what is said of each split.
    fn plan(
        &self,
        candidates: &[Candidate<'_>],
        mut verdicts: BTreeMap<String, Verdict>,
        configuration: Configuration,
    ) -> Plan {
        let hash_header = self.istio.route.hash_header.as_deref();
        let rules = IstioRules::new(self.cluster, &self.services, &configuration.cluster_domain, hash_header);
        for candidate in candidates {
            verdicts.insert(candidate.split.key(), self.verdict(candidate, &configuration, &rules));
        }
        Plan { configuration, verdicts }
    }

    /// What is wrong, with what is wrong with the groups that it names.
    fn explain(&self, split: &Value, problems: &[Problem]) -> String {
        let mut text = say(problems);
        let namespace = document::text(split, "/metadata/namespace").unwrap_or_default();
        for name in group_names(split) {
            if let Some(Group::Bad(why)) = self.groups.get(&format!("{namespace}/{name}")) {
                text.push_str(&format!("; HTTPRouteGroup {name}: {why}"));
            }
        }
        text
    }

    /// All that is served of these. The parts are good and no two for one root take all requests, so the whole is.
    fn configuration(&self, candidates: &[Candidate<'_>]) -> Configuration {
        let candidates: Vec<_> = candidates.iter().filter(|candidate| candidate.serves != Serves::Nothing).collect();
        let splits: Vec<_> =
            candidates.iter().filter_map(|candidate| serde_json::to_value(&candidate.split).ok()).collect();
        let groups = self.groups_of(splits.iter().zip(candidates.iter().map(|candidate| candidate.serves)));
        let mut services = Map::new();
        for Candidate { split, .. } in candidates {
            let namespace = &split.metadata.namespace;
            let backends = split.spec.backends.iter().map(|backend| (&backend.service, true));
            for (service, is_backend) in [(&split.spec.service, false)].into_iter().chain(backends) {
                let key = format!("{namespace}/{service}");
                if is_backend && self.gets_nothing(&key).is_some() {
                    services.insert(key, json!({"ports": []}));
                } else if let Some(ports) = self.ports(&key) {
                    services.insert(key, json!({"ports": ports}));
                }
            }
        }
        match self.read(&splits, &groups, services) {
            Ok(configuration) => wiring::what_the_filter_needs(&configuration),
            // Not reached, by the above; what serves stays.
            Err(_) => self.cluster.served.clone(),
        }
    }

    /// The ports that a Service lists, if it does.
    fn ports(&self, key: &str) -> Option<Vec<u16>> {
        document::service_ports(self.services.get(key)?).ok().flatten()
    }

    /// Why a backend gets nothing, in words that follow its name: proxies have no cluster of it to which a split request could
    /// go.
    fn gets_nothing(&self, key: &str) -> Option<&'static str> {
        let Some(service) = self.services.get(key) else { return Some("isn't there") };
        let is = |pointer, value| document::text(service, pointer) == Some(value);
        match self.ports(key) {
            // For Istio it is another name of a host.
            _ if is("/spec/type", "ExternalName") => Some("is an ExternalName"),
            // A request goes where its client has connected to.
            _ if is("/spec/clusterIP", "None") => Some("is headless"),
            None => Some("lists no port"),
            Some(_) => None,
        }
    }

    fn verdict(&self, candidate: &Candidate<'_>, configuration: &Configuration, rules: &IstioRules<'_>) -> Verdict {
        let Candidate { split, serves, problems, held, .. } = candidate;
        let keep = match serves {
            Serves::Nothing => "clients are served as if it weren't there",
            Serves::Current | Serves::LastGood => "sidecars keep what they have of it",
        };
        let programmed = match (held, serves) {
            (Some(Held::TooLarge), _) => {
                Said::no("TooLarge", format!("there is no room for it in the EnvoyFilter (--max-bytes); {keep}"))
            }
            (Some(Held::Refused(why)), _) => {
                Said::no("Refused", format!("the API server doesn't take the EnvoyFilter: {why}; {keep}"))
            }
            (None, Serves::LastGood) => Said::no("LastGoodVersion", "sidecars have its last good version".into()),
            (None, Serves::Current | Serves::Nothing) => Said::yes("Programmed"),
        };
        let accepted = if problems.is_empty() { Said::yes("Accepted") } else { Said::no("Invalid", problems.clone()) };
        let backends: Vec<_> = (split.spec.backends.iter())
            .filter(|_| *serves != Serves::Nothing)
            .map(|backend| format!("{} {}", backend.service, backend.weight.unwrap_or_default()))
            .collect();
        Verdict {
            accepted,
            programmed,
            resolved: self.resolved(split, configuration),
            rules_apply: rules.apply(split),
            reachable: rules.reachable(split),
            backends: backends.join(", "),
            serves: *serves,
        }
    }

    /// What it names, and isn't there.
    fn resolved(&self, split: &TrafficSplit, configuration: &Configuration) -> Said {
        let namespace = &split.metadata.namespace;
        let root = &split.spec.service;
        let mut missing = Vec::new();
        if !self.services.contains_key(&format!("{namespace}/{root}")) {
            missing.push(format!("Service {root}, the root, isn't there"));
        }
        let ports_of = |service: &str| {
            let known = configuration.services.get(&format!("{namespace}/{service}"))?;
            Some(known.ports.as_ref()?.keys().copied().collect::<BTreeSet<_>>())
        };
        let root_ports = ports_of(root).unwrap_or_default();
        // One without weight gets nothing anyway: canary tools delete and make them as they like.
        for backend in split.spec.backends.iter().filter(|backend| backend.has_weight()) {
            let service = &backend.service;
            let ports = ports_of(service).unwrap_or_default();
            // Unless the operator says that it has ports.
            if let Some(why) = self.gets_nothing(&format!("{namespace}/{service}"))
                && ports.is_empty()
            {
                missing.push(format!("Service {service} {why}: it gets nothing"));
                continue;
            }
            let lacks: Vec<_> = root_ports.difference(&ports).map(u16::to_string).collect();
            if !lacks.is_empty() {
                missing.push(format!("Service {service} has no port {}: it gets nothing there", lacks.join(", ")));
            }
        }
        for group in &split.spec.matches {
            match self.groups.get(&format!("{namespace}/{}", group.name)) {
                Some(Group::LastGood(_, why)) => {
                    missing.push(format!("HTTPRouteGroup {}: {why}; sidecars have its last good version", group.name))
                }
                None => missing.push(format!("there is no HTTPRouteGroup {}", group.name)),
                Some(Group::Good(_) | Group::Bad(_)) => {}
            }
        }
        if missing.is_empty() { Said::yes("ResolvedRefs") } else { Said::no("RefNotFound", missing.join("; ")) }
    }
}

/// The names of the groups in a split's matches.
fn group_names(split: &Value) -> impl Iterator<Item = &str> {
    let matches = split.pointer("/spec/matches").and_then(Value::as_array);
    matches.into_iter().flatten().filter_map(|group| document::text(group, "/name"))
}

fn merge(service: &mut Value, known: &Map<String, Value>) {
    for (key, value) in known {
        service[key] = value.clone();
    }
}

/// Problems in one line, each with its field.
fn say(problems: &[Problem]) -> String {
    let one = |problem: &Problem| match (&problem.object, problem.field.as_str()) {
        (Object::Configuration, _) => problem.to_string(),
        (_, "") => problem.message.clone(),
        (_, field) => format!("{field}: {}", problem.message),
    };
    problems.iter().map(one).collect::<Vec<_>>().join("; ")
}

// === impl Verdict ===

impl Verdict {
    fn nothing(accepted: Said) -> Self {
        Self {
            accepted,
            programmed: Said::no("NotServed", "clients are served as if it weren't there".into()),
            resolved: Said::yes("ResolvedRefs"),
            rules_apply: Said::yes("RulesApply"),
            reachable: Said::yes("Reachable"),
            backends: String::new(),
            serves: Serves::Nothing,
        }
    }

    fn invalid(problems: String) -> Self {
        Self::nothing(Said::no("Invalid", problems))
    }

    fn conflict(root: &str, winner: &str) -> Self {
        Self::nothing(Said::no(
            "Conflict",
            format!("the root {root} already has the split {winner}, which is older; only one may be without matches"),
        ))
    }

    /// In a word, for people who list them.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match (&self.accepted, &self.programmed) {
            (accepted, _) if !accepted.holds => accepted.reason,
            (_, programmed) if !programmed.holds => programmed.reason,
            _ if !self.resolved.holds => self.resolved.reason,
            _ if !self.reachable.holds => self.reachable.reason,
            (_, programmed) => programmed.reason,
        }
    }
}

// === impl Said ===

impl Said {
    pub(crate) fn yes(reason: &'static str) -> Self {
        Self { holds: true, reason, message: String::new() }
    }

    pub(crate) fn no(reason: &'static str, mut message: String) -> Self {
        /// A condition's message may have 32,768 bytes; with a longer one the API server takes no status at all.
        const MOST_CHARACTERS: usize = 8000;
        if let Some((end, _)) = message.char_indices().nth(MOST_CHARACTERS) {
            message.truncate(end);
            message.push('…');
        }
        Self { holds: false, reason, message }
    }
}

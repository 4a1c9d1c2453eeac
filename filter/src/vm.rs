//! The state of one VM: the rules of its root contexts, its random numbers and its counters.
//!
//! One VM has several root contexts: one for each listener, and those of old configurations until their requests end.

use crate::host::{self, CurrentRequest};
use fastrand::Rng;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hash::RandomState;
use std::rc::Rc;
use traffic_split::{Configuration, Decision, Pick, Problem, RandomSource, Rules};

thread_local! {
    static VM: RefCell<Vm> = RefCell::new(Vm::new());
}

/// All state of the VM.
pub(crate) struct Vm {
    plugins: BTreeMap<u32, Box<Plugin>>,
    /// Request contexts whose headers are not handled yet, each with its root context. Usually one: Envoy creates the
    /// context when the headers are complete.
    requests: Vec<(u32, u32)>,
    /// `None` until the first configuration.
    rng: Option<Rng>,
    /// The ids of all counters ever defined, by name. Defining a counter again would add a second id for the same counter,
    /// and use memory that Envoy never frees.
    counters: BTreeMap<String, u32>,
    /// The warning of the last configuration. The same warning is not logged again after a change.
    last_warning: String,
}

/// Maximum number of problems of one configuration that are logged.
const MAX_LOG_LINES: usize = 20;

/// A root context with a configuration.
///
/// Envoy keeps a root context until all of its streams end, so a VM may have thousands of root contexts. They share
/// memory; see [`Rules::sharing`].
struct Plugin {
    rules: Rules,
    headers: Rc<Headers>,
}

/// The names of the request headers that the filter writes.
#[derive(PartialEq)]
struct Headers {
    cluster: String,
    backend: Option<String>,
    mirror: String,
    set_cookie: String,
    /// Whether Envoy removes these headers from client requests.
    stripped: bool,
}

/// Random numbers from the VM's own generator, and unpredictable bytes from the host.
struct VmRandom<'a>(&'a mut Rng);

/// Calls `f` with the VM's state. Returns `None` if the state is in use already, which would need a reentrant callback.
pub(crate) fn with<T>(f: impl FnOnce(&mut Vm) -> T) -> Option<T> {
    VM.try_with(|vm| vm.try_borrow_mut().ok().map(|mut vm| f(&mut vm))).ok().flatten()
}

// === impl Vm ===

impl Vm {
    fn new() -> Self {
        Self {
            plugins: BTreeMap::new(),
            requests: Vec::new(),
            rng: None,
            counters: BTreeMap::new(),
            last_warning: String::new(),
        }
    }

    /// Creates the context of a request, or a root context, which has no state before its configuration.
    pub(crate) fn create(&mut self, context_id: u32, parent_id: u32) {
        if parent_id != 0 {
            self.requests.push((context_id, parent_id));
        }
    }

    /// Configures a root context. Returns false if the configuration is invalid; the context then keeps its last valid
    /// configuration.
    pub(crate) fn configure(&mut self, context_id: u32) -> bool {
        self.rng = self.rng.take().or_else(seeded_rng);
        let (Some(_), Some(configuration)) = (&self.rng, host::configuration()) else { return false };
        let configuration = match Configuration::from_json(&configuration) {
            Ok(configuration) => configuration,
            Err(problems) => {
                for line in log_lines(problems, MAX_LOG_LINES) {
                    log::error!("{line}");
                }
                return false;
            }
        };
        let newest_first = || self.plugins.values().rev();
        let others = newest_first().map(|plugin| &plugin.rules);
        let mut rules = Rules::sharing(&configuration, host::node_namespace().as_deref(), others);
        // Log only one line: Envoy validates each configuration in a new VM, which has no `last_warning` and would log
        // all warnings again.
        let warning = log_lines(rules.take_warnings(), 1).join("; ");
        if !warning.is_empty() && warning != self.last_warning {
            log::warn!("{warning}");
        }
        self.last_warning = warning;
        let headers = Headers {
            cluster: configuration.cluster_header,
            backend: configuration.backend_header,
            mirror: configuration.mirror_header,
            set_cookie: configuration.set_cookie_header,
            stripped: configuration.headers_stripped.unwrap_or_default(),
        };
        let known = newest_first().map(|plugin| &plugin.headers).find(|known| ***known == headers).cloned();
        let plugin = Box::new(Plugin { rules, headers: known.unwrap_or_else(|| headers.into()) });
        self.plugins.insert(context_id, plugin);
        true
    }

    /// Handles the headers of a request: writes the selected backend into them and counts the request.
    pub(crate) fn request(&mut self, context_id: u32, end_of_stream: bool) {
        let plugin = self.take_root_context(context_id).and_then(|root| self.plugins.get(&root));
        let (Some(plugin), Some(rng)) = (plugin, &mut self.rng) else { return };
        let request = CurrentRequest { end_of_stream };
        let headers = &*plugin.headers;
        match plugin.rules.decide(&request, &mut VmRandom(rng)) {
            Decision::Root(_) if headers.stripped => {}
            Decision::Root(_) => request.remove_header(&headers.cluster),
            Decision::Backend(pick) => {
                if !request.set_header(&headers.cluster, &pick.cluster) {
                    return;
                }
                if let Some(header) = &headers.backend {
                    _ = request.set_header(header, pick.backend);
                }
                for (header, value) in
                    [(&headers.mirror, pick.mirror.as_deref()), (&headers.set_cookie, pick.set_cookie.as_deref())]
                {
                    match value {
                        Some(value) => _ = request.set_header(header, value),
                        None if headers.stripped => {}
                        // Otherwise the route, which Envoy now selects again, would use the header that the client sent.
                        None => request.remove_header(header),
                    }
                }
                if let Some(counter) = counter(&pick, &mut self.counters) {
                    host::increment(counter);
                }
            }
        }
    }

    pub(crate) fn delete(&mut self, context_id: u32) {
        if self.plugins.remove(&context_id).is_none() {
            // The context may belong to a request whose headers never arrived.
            self.take_root_context(context_id);
        }
    }

    /// Removes a request from `requests` and returns its root context.
    fn take_root_context(&mut self, context_id: u32) -> Option<u32> {
        let index = self.requests.iter().position(|(request, _)| *request == context_id)?;
        Some(self.requests.swap_remove(index).1)
    }
}

// === impl VmRandom ===

impl RandomSource for VmRandom<'_> {
    fn number(&mut self) -> u64 {
        self.0.u64(..)
    }

    fn id(&mut self) -> Option<[u8; 16]> {
        let mut id = [0; 16];
        match getrandom::fill(&mut id) {
            Ok(()) => Some(id),
            Err(why) => {
                log::error!("random_get failed ({why}); no sticky cookie is set");
                None
            }
        }
    }
}

/// Returns the first `max_lines` problems as log lines, and a line with the number of the others.
fn log_lines(problems: Vec<Problem>, max_lines: usize) -> Vec<String> {
    let more = problems.len().saturating_sub(max_lines);
    let mut lines: Vec<_> = problems.iter().take(max_lines).map(ToString::to_string).collect();
    if more > 0 {
        lines.push(format!("and {more} more; run `traffic-split check` to list all"));
    }
    lines
}

/// Returns the id of a pick's counter. Defines the counter if it is not in `counters`.
fn counter(pick: &Pick<'_>, counters: &mut BTreeMap<String, u32>) -> Option<u32> {
    if let Some(id) = pick.counter_id() {
        return Some(id);
    }
    let name = pick.counter();
    let id = match counters.get(&name) {
        Some(&id) => id,
        None => {
            let id = host::define_counter(&name)?;
            counters.insert(name, id);
            id
        }
    };
    pick.set_counter_id(id);
    Some(id)
}

/// Creates the VM's random generator. With it, no request needs a hostcall for a random number. Returns `None`, and logs a
/// failure, if the host has no random bytes.
fn seeded_rng() -> Option<Rng> {
    let mut seed = [0; 8];
    if let Err(why) = getrandom::fill(&mut seed) {
        log::error!("random_get failed ({why}); allow this function, which the filter requires to be configured");
        return None;
    }
    // The standard library panics if it needs random bytes for its first hash table and the host then has none. It keeps
    // these bytes, so a later failure of the host has no effect.
    _ = RandomState::new();
    Some(Rng::with_seed(u64::from_le_bytes(seed)))
}

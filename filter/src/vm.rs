//! What one VM remembers: its root contexts' rules, its random numbers, its counters.
//!
//! Several root contexts live in one VM: a new configuration beside the old one until the old
//! one's requests are done, and those of other listeners.

use crate::host::{self, CurrentRequest};
use fastrand::Rng;
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::rc::Rc;
use traffic_split::{Configuration, Decision, Pick, Problem, RandomSource, Rules};

thread_local! {
    static VM: RefCell<Vm> = RefCell::new(Vm::new());
}

/// All state of the VM.
pub(crate) struct Vm {
    plugins: HashMap<u32, Box<Plugin>>,
    /// Requests between their creation and their headers, with their root contexts: one as a
    /// rule, since Envoy makes a context when the headers are there.
    requests: Vec<(u32, u32)>,
    rng: Rng,
    /// The ids of all counters that were ever defined, by name. Defining one again would be
    /// another id on the same counter, and memory that Envoy never frees.
    counters: HashMap<String, u32>,
    /// The last configuration's warning, so that it is not repeated at every change.
    warned: String,
}

/// The most problems of one configuration that are logged.
const MAX_LOG_LINES: usize = 20;

/// A root context with a configuration.
///
/// Envoy keeps it, and a VM may have thousands, for as long as any stream that began under it
/// lives: what is equal in two of them is shared, [`Rules::sharing`] tells how.
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
    /// Envoy strips them from clients' requests.
    stripped: bool,
}

/// The chance that decisions have: numbers of the VM's own generator, ids from the host.
struct VmRandom<'a>(&'a mut Rng);

/// Calls `f` with the VM's state; `None` if it is in use already, which no host does.
pub(crate) fn with<T>(f: impl FnOnce(&mut Vm) -> T) -> Option<T> {
    VM.try_with(|vm| vm.try_borrow_mut().ok().map(|mut vm| f(&mut vm))).ok().flatten()
}

// === impl Vm ===

impl Vm {
    fn new() -> Self {
        Self {
            plugins: HashMap::new(),
            requests: Vec::new(),
            rng: seeded(),
            counters: HashMap::new(),
            warned: String::new(),
        }
    }

    pub(crate) fn create(&mut self, context_id: u32, parent_id: u32) {
        if parent_id != 0 {
            self.requests.push((context_id, parent_id));
        }
    }

    /// Reads the configuration of a root context; false if it isn't valid. What the context did
    /// before goes on then.
    pub(crate) fn configure(&mut self, context_id: u32) -> bool {
        let configuration = match Configuration::from_json(&host::configuration()) {
            Ok(configuration) => configuration,
            Err(problems) => {
                for line in bounded(problems, MAX_LOG_LINES) {
                    log::error!("{line}");
                }
                return false;
            }
        };
        let mut newest: Vec<_> = self.plugins.iter().collect();
        newest.sort_unstable_by_key(|(id, _)| Reverse(**id));
        let others = newest.iter().map(|(_, plugin)| &plugin.rules);
        let mut rules = Rules::sharing(&configuration, host::node_namespace().as_deref(), others);
        // One line: Envoy configures a new VM for each configuration first, which knows nothing of earlier warnings.
        let warning = bounded(rules.take_warnings(), 1).join("; ");
        if !warning.is_empty() && warning != self.warned {
            log::warn!("{warning}");
        }
        self.warned = warning;
        let headers = Headers {
            cluster: configuration.cluster_header,
            backend: configuration.backend_header,
            mirror: configuration.mirror_header,
            set_cookie: configuration.set_cookie_header,
            stripped: configuration.headers_stripped.unwrap_or_default(),
        };
        let known = newest.iter().map(|(_, plugin)| &plugin.headers).find(|known| ***known == headers).cloned();
        let plugin = Box::new(Plugin { rules, headers: known.unwrap_or_else(|| headers.into()) });
        self.plugins.insert(context_id, plugin);
        true
    }

    pub(crate) fn request(&mut self, context_id: u32, ends: bool) {
        let Some(plugin) = self.parent_of(context_id).and_then(|parent| self.plugins.get(&parent)) else {
            return;
        };
        let request = CurrentRequest { ends };
        let headers = &*plugin.headers;
        match plugin.rules.decide(&request, &mut VmRandom(&mut self.rng)) {
            Decision::Root(_) if headers.stripped => {}
            Decision::Root(_) => request.remove_header(&headers.cluster),
            Decision::Backend(pick) => {
                request.set_header(&headers.cluster, &pick.cluster);
                if let Some(header) = &headers.backend {
                    request.set_header(header, pick.backend);
                }
                for (header, value) in
                    [(&headers.mirror, pick.mirror.as_deref()), (&headers.set_cookie, pick.set_cookie.as_deref())]
                {
                    match value {
                        Some(value) => request.set_header(header, value),
                        None if headers.stripped => {}
                        // A client's own would be obeyed by the route that the request takes now.
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
            // Here still if it ended before it had headers.
            self.parent_of(context_id);
        }
    }

    /// The root context of a request, which is forgotten with this.
    fn parent_of(&mut self, context_id: u32) -> Option<u32> {
        let place = self.requests.iter().position(|(request, _)| *request == context_id)?;
        Some(self.requests.swap_remove(place).1)
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

/// Problems as lines for the log; where there are many, the first ones and the number of the others.
fn bounded(problems: Vec<Problem>, max_lines: usize) -> Vec<String> {
    let more = problems.len().saturating_sub(max_lines);
    let mut lines: Vec<_> = problems.iter().take(max_lines).map(ToString::to_string).collect();
    if more > 0 {
        lines.push(format!("and {more} more; run `traffic-split check` to list all"));
    }
    lines
}

/// The counter of a pick, defined if no configuration of this VM has used it before.
fn counter(pick: &Pick<'_>, of_vm: &mut HashMap<String, u32>) -> Option<u32> {
    if let Some(id) = pick.counter_id() {
        return Some(id);
    }
    let name = pick.counter();
    let id = match of_vm.get(&name) {
        Some(&id) => id,
        None => {
            let id = host::define_counter(&name)?;
            of_vm.insert(name, id);
            id
        }
    };
    pick.set_counter_id(id);
    Some(id)
}

/// A generator of its own for each VM, so that no request costs a host call for randomness.
fn seeded() -> Rng {
    let mut seed = [0; 8];
    if let Err(why) = getrandom::fill(&mut seed) {
        log::warn!("random_get failed ({why}); every worker selects backends in the same order");
    }
    Rng::with_seed(u64::from_le_bytes(seed))
}

//! The life of a plugin: start, configuration, its replacement, and the end of a VM, each as in Envoy.

use crate::error::Error;
use crate::host::log::Log;
use crate::host::metric::{Metric, Metrics};
use crate::host::property;
use crate::module::Module;
use crate::request::RequestBuilder;
use crate::state::{Context, State, Surroundings};
use crate::vm::{Trap, Vm};
use fastrand::Rng;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A worker of an Envoy that has one filter with one configuration.
///
/// Time stands still, and random bytes follow from a seed, so that a run can be repeated.
#[derive(Debug)]
pub struct Simulator {
    module: Module,
    surroundings: Arc<Surroundings>,
    /// The configuration that serves.
    configuration: Arc<[u8]>,
    random: Rng,
    now: u64,
    pub(crate) vm: Vm,
    /// The root context whose configuration serves.
    pub(crate) root: u32,
    logs: Vec<Log>,
}

/// What a [`Simulator`] starts with.
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `start`"]
pub struct Builder {
    module: Module,
    surroundings: Surroundings,
    configuration: Vec<u8>,
    seed: u64,
    now: SystemTime,
}

// === impl Builder ===

impl Builder {
    /// The plugin's configuration: what `on_configure` reads. Empty unless set.
    pub fn configuration(mut self, configuration: impl AsRef<[u8]>) -> Self {
        self.configuration = configuration.as_ref().to_vec();
        self
    }

    /// The VM's configuration: what `on_vm_start` reads. Empty unless set.
    pub fn vm_configuration(mut self, configuration: impl AsRef<[u8]>) -> Self {
        self.surroundings.vm_configuration = configuration.as_ref().to_vec();
        self
    }

    /// A property by its path, in the encoding that Envoy gives it: text as it is, integers as 8 bytes little-endian.
    pub fn property(mut self, path: &[&str], value: impl AsRef<[u8]>) -> Self {
        self.surroundings.properties.insert(property::path(path), value.as_ref().to_vec());
        self
    }

    /// A string in the node's metadata: the property `xds.node.metadata.KEY`.
    pub fn node_metadata(self, key: &str, value: &str) -> Self {
        self.property(&["xds", "node", "metadata", key], value)
    }

    /// An environment variable of the VM. Unlike in Envoy, they keep their order.
    pub fn environment_variable(mut self, name: &str, value: &str) -> Self {
        self.surroundings.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What random bytes follow from; 0 unless set.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// What time it is; the beginning of 2026 (UTC) unless set.
    pub fn time(mut self, now: SystemTime) -> Self {
        self.now = now;
        self
    }

    /// Starts the filter as Envoy does: tries the configuration in a VM that serves nobody, then starts the VM that
    /// serves.
    ///
    /// # Errors
    /// [`Error::Unserved`], [`Error::Invalid`], [`Error::Refused`] or [`Error::Trapped`].
    pub fn start(self) -> Result<Simulator, Error> {
        let Builder { module, surroundings, configuration, seed, now } = self;
        let surroundings = Arc::new(surroundings);
        let configuration = Arc::from(configuration);
        let mut random = Rng::with_seed(seed);
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let state = State::new(Arc::clone(&surroundings), Metrics::default(), random.fork(), now);
        canary(&module, state, &configuration)?;
        let state = State::new(Arc::clone(&surroundings), Metrics::default(), random.fork(), now);
        let mut vm = Vm::start(&module, state)?;
        let root = plug_in(&mut vm, &configuration)?;
        let logs = std::mem::take(&mut vm.state_mut().logs);
        Ok(Simulator { module, surroundings, configuration, random, now, vm, root, logs })
    }
}

// === impl Simulator ===

impl Simulator {
    /// A simulator of this module.
    pub fn builder(module: &Module) -> Builder {
        Builder {
            module: module.clone(),
            surroundings: Surroundings::default(),
            configuration: Vec::new(),
            seed: 0,
            now: UNIX_EPOCH + Duration::from_secs(1_767_225_600),
        }
    }

    /// A request: `GET http://localhost/` unless said otherwise.
    pub fn request(&mut self) -> RequestBuilder<'_> {
        RequestBuilder::new(self)
    }

    /// Replaces the plugin's configuration as Envoy does: tries it in a VM that serves nobody; if it is good, gives it
    /// to a new root context in the VM that serves, then ends the old root context.
    ///
    /// # Errors
    /// [`Error::Refused`] and [`Error::Trapped`]: the old configuration serves on, and the VM has not seen the new one.
    /// [`Error::Dead`] after a trap.
    pub fn reconfigure(&mut self, configuration: impl AsRef<[u8]>) -> Result<(), Error> {
        if let Some(why) = self.vm.dead() {
            return Err(Error::Dead { why: why.to_owned() });
        }
        let configuration: Arc<[u8]> = Arc::from(configuration.as_ref());
        let state = self.new_state(Metrics::default());
        let tried = canary(&self.module, state, &configuration);
        if let Err(Error::Refused { logs, .. } | Error::Trapped { logs, .. }) = &tried {
            self.logs.extend_from_slice(logs);
        }
        tried?;
        let plugged_in = plug_in(&mut self.vm, &configuration);
        if let Ok(root) = plugged_in {
            let old = std::mem::replace(&mut self.root, root);
            self.configuration = configuration;
            // A trap here ends the VM; whoever asks next is told so.
            _ = end(&mut self.vm, old);
        }
        self.take_logs();
        plugged_in.map(|_| ())
    }

    /// Starts a new VM with the configuration that served last, as Envoy does after a trap under `FAIL_RELOAD`.
    ///
    /// # Errors
    /// Those of [`Builder::start`].
    pub fn reload(&mut self) -> Result<(), Error> {
        let metrics = self.vm.state().metrics.clone().for_new_vm();
        let state = self.new_state(metrics);
        let mut vm = Vm::start(&self.module, state)?;
        self.root = plug_in(&mut vm, &self.configuration)?;
        self.vm = vm;
        self.take_logs();
        Ok(())
    }

    /// Whether the VM died by a trap: all requests are answered 503 from then on.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.vm.dead().is_some()
    }

    /// Everything that was logged, oldest first. Of a configuration that is tried before it is used, only what was
    /// logged when it failed.
    #[must_use]
    pub fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// A metric by its name.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics().find(|(other, _)| *other == name).map(|(_, metric)| metric)
    }

    /// All metrics, by name within each type.
    pub fn metrics(&self) -> impl Iterator<Item = (&str, &Metric)> {
        self.vm.state().metrics.iter()
    }

    /// How many root contexts the VM has: one, unless an old one isn't done.
    #[must_use]
    pub fn root_contexts(&self) -> usize {
        self.vm.state().contexts.values().filter(|context| matches!(context, Context::Root)).count()
    }

    /// The size of the VM's memory in bytes. It never shrinks, so that what it grows by in many rounds of the same is a
    /// leak.
    #[must_use]
    pub fn memory_size(&self) -> usize {
        self.vm.memory_size()
    }

    /// Takes what was logged since it was last taken into the list of all logs, and returns it.
    pub(crate) fn take_logs(&mut self) -> Vec<Log> {
        let new = std::mem::take(&mut self.vm.state_mut().logs);
        self.logs.extend_from_slice(&new);
        new
    }

    fn new_state(&mut self, metrics: Metrics) -> State {
        State::new(Arc::clone(&self.surroundings), metrics, self.random.fork(), self.now)
    }
}

/// Tries a configuration in a VM of its own, which is thrown away.
fn canary(module: &Module, state: State, configuration: &Arc<[u8]>) -> Result<(), Error> {
    plug_in(&mut Vm::start(module, state)?, configuration).map(|_| ())
}

/// Makes a root context and gives it a configuration.
fn plug_in(vm: &mut Vm, configuration: &Arc<[u8]>) -> Result<u32, Error> {
    let root = vm.next_context();
    let vm_size = size(&vm.state().surroundings.vm_configuration);
    vm.state_mut().contexts.insert(root, Context::Root);
    // It can be read in all three callbacks, and at no other time.
    vm.state_mut().plugin_configuration = Some(Arc::clone(configuration));
    let mut start = || {
        vm.call(root, |callbacks| callbacks.context_create, (root, 0))?;
        // A module that doesn't export a callback is content.
        if vm.call(root, |callbacks| callbacks.vm_start, (root, vm_size))? == Some(0) {
            return Ok(Some(vm.callbacks.vm_start.name));
        }
        if vm.call(root, |callbacks| callbacks.configure, (root, size(configuration)))? == Some(0) {
            return Ok(Some(vm.callbacks.configure.name));
        }
        Ok(None)
    };
    let started: Result<Option<&'static str>, Trap> = start();
    vm.state_mut().plugin_configuration = None;
    match started {
        Ok(None) => Ok(root),
        Ok(Some(callback)) => {
            _ = end(vm, root);
            Err(Error::Refused { callback, logs: vm.state().logs.clone() })
        }
        Err(Trap { callback, why }) => Err(Error::Trapped { callback, why, logs: vm.state().logs.clone() }),
    }
}

/// Ends a root context, unless it isn't done yet.
fn end(vm: &mut Vm, root: u32) -> Result<(), Trap> {
    if vm.call(root, |callbacks| callbacks.done, root)? != Some(0) {
        vm.call(root, |callbacks| callbacks.delete, root)?;
        vm.state_mut().contexts.remove(&root);
    }
    Ok(())
}

/// A size as the ABI has it.
pub(crate) fn size(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

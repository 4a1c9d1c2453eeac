//! Starts the Envoy that is measured: one process with one worker. Each variant has two listeners: one with direct
//! responses, and one with real upstreams.

use crate::connection_manager::{Answers, ConnectionManager};
use crate::script;
use crate::upstreams::Upstreams;
use crate::variants::{self, BACKENDS, Filter, OTHER_HOST, PORT, SPLIT_HOST, Splitter, Variant};
use e2e::envoy::Envoy;
use e2e::scratch::{Scratch, replace};
use e2e::{Error, Result};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use traffic_split::Configuration;
use traffic_split_envoy::{
    Address, BootstrapOptions, EcdsOptions, Endpoint, ExternalHost, WasmSource, bootstrap, ecds,
};

/// The connection manager in a bootstrap.
const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

/// A running Envoy with the listeners of all variants.
pub(crate) struct Proxy {
    /// The process.
    pub(crate) envoy: Envoy,
    /// The directory of its files.
    scratch: Scratch,
}

// === impl Proxy ===

impl Proxy {
    /// Starts Envoy with this compiled filter. Envoy is `LIVE` when each variant's filter has its configuration.
    pub(crate) fn start(variants: &[Variant], upstreams: &Upstreams, module: &Path) -> Result<Proxy> {
        let scratch = Scratch::new()?;
        let mut listeners = Vec::new();
        for variant in variants {
            let watched = watched_file(&scratch, &variant.key);
            if let Splitter::Filter(filter) = &variant.splitter {
                let module = filter.module.as_deref().unwrap_or(module);
                fs::create_dir(watched.parent().unwrap_or(scratch.path()))?;
                replace(&watched, &render_ecds(&configuration(filter)?, module)?)?;
            }
            for answers in [Answers::Direct, Answers::Upstreams] {
                let manager = connection_manager(&variant.splitter, answers, &watched, upstreams)?;
                listeners.push(listener(&listener_name(&variant.key, answers), &manager));
            }
        }
        let mut rendered = rendered_bootstrap(&base_configuration()?, Path::new("unused"), upstreams)?;
        rendered["static_resources"]["listeners"] = listeners.into();
        let envoy = Envoy::start_with_workers(&rendered.to_string(), scratch.path(), 1)?;
        Ok(Proxy { envoy, scratch })
    }

    /// Returns the address of the listener of a variant.
    pub(crate) fn address(&self, key: &str, answers: Answers) -> Result<SocketAddr> {
        let port = self.envoy.listener_port(&listener_name(key, answers))?;
        Ok(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// Replaces the filter's configuration of a variant, and waits until Envoy has passed it to its worker. Returns how
    /// long that takes from the replacement of the file.
    pub(crate) fn reconfigure(&self, key: &str, configuration: &Configuration, module: &Path) -> Result<Duration> {
        let text = render_ecds(configuration, module)?;
        let before = self.envoy.extension_updates()?;
        let start = Instant::now();
        replace(&watched_file(&self.scratch, key), &text)?;
        self.envoy.wait_for_extension(before)?;
        Ok(start.elapsed())
    }
}

/// Returns the file of a variant's filter. Envoy watches its directory, so each variant has a directory.
fn watched_file(scratch: &Scratch, key: &str) -> PathBuf {
    scratch.join(key).join("ecds.yaml")
}

fn render_ecds(configuration: &Configuration, module: &Path) -> Result<String> {
    let path = fs::canonicalize(module)
        .map_err(|error| Error(format!("{}: {error}; run ./build.sh build", module.display())))?;
    let mut options = EcdsOptions::default();
    options.wasm = WasmSource::File(path.display().to_string());
    Ok(ecds(configuration, &options).text)
}

fn listener_name(key: &str, answers: Answers) -> String {
    match answers {
        Answers::Direct => format!("{key}-direct"),
        Answers::Upstreams => format!("{key}-upstreams"),
    }
}

/// Returns the plugin configuration of a variant's filter.
pub(crate) fn configuration(filter: &Filter) -> Result<Configuration> {
    parse(&variants::plugin_configuration(&filter.splits, &filter.groups))
}

/// Returns the configuration of all bootstraps: the root, its backends and the headers of the filter.
fn base_configuration() -> Result<Configuration> {
    let split = variants::split().backends(&BACKENDS.map(|backend| (backend, 50)));
    parse(&variants::plugin_configuration(&[split.build()], &[]))
}

/// Parses a plugin configuration.
pub(crate) fn parse(value: &Value) -> Result<Configuration> {
    Configuration::from_value(value).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Error(problems.join("\n"))
    })
}

/// Returns the bootstrap that `traffic-split render envoy` writes.
fn rendered_bootstrap(configuration: &Configuration, watched: &Path, upstreams: &Upstreams) -> Result<Value> {
    let address = |address: SocketAddr| Address { host: address.ip().to_string(), port: address.port() };
    let mut options = BootstrapOptions::default();
    options.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    options.admin = SocketAddr::from(([127, 0, 0, 1], 0));
    options.port = Some(PORT);
    options.ecds = watched.display().to_string();
    let services =
        [("httpbin", upstreams.root), (BACKENDS[0], upstreams.backends[0]), (BACKENDS[1], upstreams.backends[1])];
    options.endpoints = services
        .map(|(service, at)| Endpoint {
            service: service.to_owned(),
            namespace: "httpbin".to_owned(),
            port: None,
            address: address(at),
        })
        .into();
    options.hosts = vec![ExternalHost { name: OTHER_HOST.to_owned(), address: address(upstreams.root) }];
    serde_saphyr::from_str(&bootstrap(configuration, &options)).map_err(|error| Error(format!("bootstrap: {error}")))
}

fn listener(name: &str, manager: &Value) -> Value {
    json!({
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}],
    })
}

/// Returns the connection manager of a variant.
fn connection_manager(splitter: &Splitter, answers: Answers, watched: &Path, upstreams: &Upstreams) -> Result<Value> {
    let configuration = base_configuration()?;
    let mut rendered = rendered_bootstrap(&configuration, watched, upstreams)?;
    let manager = rendered.pointer_mut(MANAGER).map(Value::take).ok_or("the bootstrap has no connection manager")?;
    let clusters = BACKENDS.map(|backend| configuration.cluster_name(backend, "httpbin", PORT));
    let mut manager = ConnectionManager(manager);
    match splitter {
        Splitter::Nothing => manager.remove_wiring(),
        Splitter::Native => {
            manager.remove_wiring();
            manager.add_weights(&clusters, answers);
        }
        Splitter::Lua => manager.replace_filter(&script::lua(SPLIT_HOST, &configuration.cluster_header, &clusters)),
        Splitter::Filter(filter) if filter.is_everywhere => manager.enable_everywhere(),
        // The rendered bootstrap enables the filter in the virtual host of the root only.
        Splitter::Filter(_) => {}
    }
    if answers == Answers::Direct {
        manager.answer_directly();
    }
    Ok(manager.0)
}

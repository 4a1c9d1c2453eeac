//! Options that several commands share, the controller among them.

use crate::output::say;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use std::time::Duration;
use traffic_split::{Configuration, is_label, is_token};
use traffic_split_envoy::{
    BACKEND_HEADER, EcdsOptions, FailurePolicy, IstioOptions, PatchContext, SplitRoute, VM_EPOCHS, WasmSource,
    content_version,
};

/// The options of the filter itself.
#[derive(Args)]
pub struct PluginArgs {
    /// The compiled filter: a file on Envoy's host, which must be there before Envoy reads the configuration (render
    /// again when another one has taken its place), or with Istio oci://IMAGE@sha256:DIGEST or https://…
    /// [default: /etc/traffic-split/traffic-split.wasm]
    #[arg(long, value_name = "PATH|URL", value_parser = NonEmptyStringValueParser::new())]
    pub wasm: Option<String>,

    /// The SHA-256 of the file at https://, or of the manifest of an image that oci:// names without @sha256:DIGEST.
    /// Required for these: what is fetched runs in every proxy
    #[arg(long, value_name = "HEX", value_parser = parse_sha256)]
    pub wasm_sha256: Option<String>,

    /// When the filter's VM has died: start a new one (503 for a second at most), or let the
    /// root serve until there is one [default: reload]
    #[arg(long, value_enum, value_name = "POLICY", hide_possible_values = false)]
    pub failure_policy: Option<Failure>,

    /// The filter's VM, from 0 to 7: another number starts a new VM. Give another number than before if Envoy refuses a
    /// good configuration after a trap (see docs/vm-lifecycle.md) [default: by everything but the weights]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(..VM_EPOCHS))]
    pub vm_epoch: Option<u64>,
}

/// The options of the route of split requests.
#[derive(Args)]
pub struct RouteArgs {
    /// The clients' namespace. With Istio: only proxies of this namespace get the filter [default: those of the whole mesh].
    /// With `render --to envoy`: where a Service's bare name means it [default: `namespace` of --config, else curl]
    #[arg(long, value_name = "NAMESPACE", value_parser = parse_namespace)]
    pub namespace: Option<String>,

    /// How long a split request may take until it is answered 504, e.g. 15s [default: as long as it likes]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,

    /// How often a split request is tried again that no backend has begun to work on [default: 2]
    #[arg(long, value_name = "TIMES", value_parser = clap::value_parser!(u32).range(..=100))]
    pub retry: Option<u32>,

    /// The request header by which backends' ring_hash or maglev balancers pick an endpoint for a split request, as
    /// consistentHash of a DestinationRule does for others
    #[arg(long, value_name = "NAME", value_parser = parse_header_name)]
    pub hash_header: Option<String>,

    /// The response header that names the backend that answered; asks for a `backendHeader`
    /// [default: x-served-by if --config has a `backendHeader`, else none]
    #[arg(long, value_name = "NAME", value_parser = parse_header_name)]
    pub response_header: Option<String>,
}

/// The options of the EnvoyFilter.
#[derive(Args)]
pub struct IstioArgs {
    /// Istio's root namespace, whose objects are for the whole mesh [default: istio-system]
    #[arg(long, value_name = "NAMESPACE", value_parser = parse_namespace, conflicts_with = "namespace")]
    pub root_namespace: Option<String>,

    /// A label of the pods whose proxies get the filter; may be repeated [default: all pods]
    #[arg(long = "selector", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub selector: Vec<(String, String)>,

    /// The kind of proxies that get the filter; gateways split the `hosts` of --config, and no others [default: sidecar]
    #[arg(long, value_enum, value_name = "KIND", hide_possible_values = false)]
    pub context: Option<Proxies>,

    /// The port of a gateway's listener that clients write into Host, as in shop.example.com:8080: such requests are split
    /// on this listener only; may be repeated [default: only requests without a port are split at gateways]
    #[arg(long = "gateway-port", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub gateway_ports: Vec<u16>,
}

/// The kind of proxies that get the filter.
#[derive(Clone, Copy, ValueEnum)]
pub enum Proxies {
    /// Sidecars, for the requests of their own pods
    Sidecar,
    /// Gateways, for the `hosts` of --config
    Gateway,
    /// Sidecars and gateways
    Both,
}

/// What Envoy does when the filter's VM has died.
#[derive(Clone, Copy, ValueEnum)]
pub enum Failure {
    /// Start a new VM
    Reload,
    /// Pass requests to the root Service until there is a new VM
    Open,
}

// === impl PluginArgs ===

impl PluginArgs {
    /// Checks `--wasm` and `--wasm-sha256`: what is fetched by URL needs a SHA-256.
    ///
    /// # Errors
    /// If they are not usable together: the message.
    pub fn check_url(&self) -> Result<(), String> {
        let Some(url) = self.wasm.as_deref().filter(|wasm| is_url(wasm)) else {
            return match self.wasm_sha256 {
                Some(_) => Err("--wasm-sha256 is of what --wasm names by https:// or oci://".into()),
                None => Ok(()),
            };
        };
        let is_invalid = |char: char| char.is_whitespace() || char.is_control();
        match url.split_once("://") {
            Some(("https" | "oci", rest)) if !rest.is_empty() && !rest.contains(is_invalid) => {}
            _ => return Err(format!("--wasm {url} is neither a file nor https://… nor oci://…")),
        }
        if url.starts_with("https://") && self.wasm_sha256.is_none() {
            return Err("--wasm https://… needs --wasm-sha256: what is fetched runs in every proxy".into());
        }
        let Some(image) = url.strip_prefix("oci://") else { return Ok(()) };
        match (image.split_once('@'), &self.wasm_sha256) {
            (None, Some(_)) => Ok(()),
            (None, None) => Err(format!(
                "--wasm {url}: the image has no digest, so its registry chooses what runs in every proxy; append \
                 `@sha256:DIGEST`, which `./build.sh package` prints, or set --wasm-sha256"
            )),
            (Some((_, digest)), given) => match oci_digest(digest) {
                None => {
                    Err(format!("--wasm {url}: `{digest}` is not a digest; write `sha256:` and 64 hexadecimal digits"))
                }
                Some(digest) if given.as_ref().is_some_and(|given| given != digest) => {
                    Err(format!("--wasm {url}: its digest differs from --wasm-sha256; omit one"))
                }
                Some(_) => Ok(()),
            },
        }
    }

    /// Returns what `--wasm-sha256` says, or else the digest in the URL of an image.
    fn sha256(&self) -> Option<String> {
        let of_image = || oci_digest(self.wasm.as_deref()?.strip_prefix("oci://")?.split_once('@')?.1);
        self.wasm_sha256.as_deref().or_else(of_image).map(str::to_owned)
    }

    fn wasm(&self) -> WasmSource {
        match &self.wasm {
            None => WasmSource::default(),
            Some(url) if is_url(url) => WasmSource::Remote { url: url.clone(), sha256: self.sha256() },
            Some(path) => WasmSource::File(path.clone()),
        }
    }

    /// Another filter at the same place is another configuration. A file tells where this is Envoy's host.
    fn wasm_version(&self, wasm: &WasmSource) -> Option<String> {
        match wasm {
            WasmSource::File(path) => std::fs::read(path).ok().map(|wasm| content_version(&wasm)),
            WasmSource::Remote { sha256, .. } => sha256.as_ref().map(|sha256| sha256.chars().take(16).collect()),
        }
    }

    fn failure_policy(&self) -> FailurePolicy {
        match self.failure_policy {
            None | Some(Failure::Reload) => FailurePolicy::Reload,
            Some(Failure::Open) => FailurePolicy::Open,
        }
    }

    /// Returns the options for [`ecds`](traffic_split_envoy::ecds()).
    #[must_use]
    pub fn ecds(&self) -> EcdsOptions {
        let mut options = EcdsOptions::default();
        options.wasm = self.wasm();
        options.wasm_version = self.wasm_version(&options.wasm);
        options.failure_policy = self.failure_policy();
        options.vm_epoch = self.vm_epoch;
        options
    }
}

// === impl RouteArgs ===

impl RouteArgs {
    /// Sets `backendHeader` if `--response-header` needs it: the response header copies the request header.
    pub fn ask_for_backend_header(&self, configuration: &mut Configuration) {
        if self.response_header.is_some() {
            configuration.backend_header.get_or_insert_with(|| BACKEND_HEADER.into());
        }
    }

    /// Returns the options for rendering the route.
    #[must_use]
    pub fn options(&self) -> SplitRoute {
        let mut options = SplitRoute::default();
        options.timeout = self.timeout;
        options.retries = self.retry.unwrap_or(options.retries);
        options.hash_header.clone_from(&self.hash_header);
        if let Some(header) = &self.response_header {
            options.response_header.clone_from(header);
        }
        options
    }
}

// === impl IstioArgs ===

impl IstioArgs {
    /// Returns the options for rendering the EnvoyFilter.
    #[must_use]
    pub fn options(&self, plugin: &PluginArgs, route: &RouteArgs, configuration: &Configuration) -> IstioOptions {
        if matches!(self.context, Some(Proxies::Gateway | Proxies::Both)) && configuration.hosts.is_empty() {
            say("note: gateways split the `hosts` of --config, and there are none: nothing is split at gateways");
        }
        let mut options = IstioOptions::default();
        if let Some(namespace) = self.root_namespace.as_ref().or(route.namespace.as_ref()) {
            options.namespace.clone_from(namespace);
        }
        options.selector = self.selector.iter().cloned().collect();
        options.context = match self.context {
            None | Some(Proxies::Sidecar) => PatchContext::Sidecar,
            Some(Proxies::Gateway) => PatchContext::Gateway,
            Some(Proxies::Both) => PatchContext::Both,
        };
        options.gateway_ports.clone_from(&self.gateway_ports);
        options.wasm = plugin.wasm();
        options.wasm_version = plugin.wasm_version(&options.wasm);
        options.failure_policy = plugin.failure_policy();
        options.vm_epoch = plugin.vm_epoch;
        options.route = route.options();
        options
    }
}

/// Parses a namespace.
///
/// # Errors
/// If it is not a DNS label: the message.
pub fn parse_namespace(text: &str) -> Result<String, String> {
    is_label(text).then(|| text.into()).ok_or_else(|| "it must be a DNS label".into())
}

/// A header's name in lower case, as Envoy has it.
fn parse_header_name(text: &str) -> Result<String, String> {
    is_token(text).then(|| text.to_ascii_lowercase()).ok_or_else(|| "it must be the name of a header".into())
}

fn parse_sha256(text: &str) -> Result<String, String> {
    let fine = text.len() == 64 && text.chars().all(|char| char.is_ascii_hexdigit());
    fine.then(|| text.to_ascii_lowercase()).ok_or_else(|| "it must be 64 hexadecimal digits".into())
}

/// The hexadecimal digits of a digest as images have it, which are lower case.
fn oci_digest(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("sha256:")?;
    let is_digit = |char: char| matches!(char, '0'..='9' | 'a'..='f');
    (digits.len() == 64 && digits.chars().all(is_digit)).then_some(digits)
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let fine = |part: &str, more: &str| {
        part.len() <= 63
            && part.chars().all(|char| char.is_ascii_alphanumeric() || "-_.".contains(char) || more.contains(char))
    };
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && fine(key, "/") && fine(value, "") => Ok((key.into(), value.into())),
        _ => Err("it must be a label, as app=shop".into()),
    }
}

/// Whether `--wasm` is a URL, and not a file.
#[must_use]
pub fn is_url(text: &str) -> bool {
    text.contains("://")
}

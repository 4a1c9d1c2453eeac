//! Option groups that several subcommands share, those of the controller among them.

use crate::output::print_stderr;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use std::time::Duration;
use traffic_split::{Configuration, is_label, is_token};
use traffic_split_envoy::{
    BACKEND_HEADER, FailurePolicy, IstioOptions, PatchContext, SplitRoute, VM_EPOCHS, WasmSource, content_version,
};

/// Everything that Istio's proxies need: the filter, the route of split requests, and the proxies to configure.
#[derive(Args)]
pub struct IstioArgs {
    #[command(flatten, next_help_heading = "Filter")]
    source: WasmSourceArgs,

    #[command(flatten, next_help_heading = "Filter")]
    failure_policy: FailurePolicyArgs,

    #[command(flatten, next_help_heading = "Route of split requests")]
    route: RouteArgs,

    #[command(flatten, next_help_heading = "Proxies")]
    proxies: ProxyArgs,
}

/// Where Istio's proxies find the compiled filter.
#[derive(Args)]
struct WasmSourceArgs {
    /// Compiled filter: a file in the proxy's container, oci://IMAGE@sha256:DIGEST, or https://…. Render again after you
    /// replace a file [default: /etc/traffic-split/traffic-split.wasm]
    #[arg(long, value_name = "PATH|URL", value_parser = NonEmptyStringValueParser::new())]
    wasm: Option<String>,

    /// SHA-256 of the file at an https:// URL, or of the manifest of an oci:// image without a digest in its URL. Required in
    /// both cases, because the fetched code runs in every proxy
    #[arg(long, value_name = "HEX", value_parser = parse_sha256)]
    wasm_sha256: Option<String>,
}

/// What Envoy does when the filter's VM fails.
#[derive(Args)]
pub struct FailurePolicyArgs {
    /// What Envoy does after the filter's VM fails [default: reload]
    #[arg(long, value_enum, value_name = "POLICY", hide_possible_values = false)]
    failure_policy: Option<FailurePolicyArg>,
}

/// Which VM of the filter is used.
#[derive(Args)]
pub struct VmEpochArgs {
    /// Number of the filter's VM, 0 to 7. Another number starts a new VM. Change it if Envoy refuses a valid configuration after
    /// a trap (see docs/vm-lifecycle.md) [default: derived from the configuration without its weights]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(..VM_EPOCHS))]
    pub vm_epoch: Option<u64>,
}

/// The route of split requests.
#[derive(Args)]
pub struct RouteArgs {
    /// Timeout of a split request, e.g. 15s; Envoy then answers 504 [default: none]
    #[arg(long, value_name = "TIME", value_parser = parse_timeout)]
    timeout: Option<Duration>,

    /// Number of retries of a split request that no backend has started to process [default: 2]
    #[arg(long, value_name = "TIMES", value_parser = clap::value_parser!(u32).range(..=100))]
    retry: Option<u32>,

    /// Request header that the backends' ring_hash and maglev load balancers hash for split requests; use it instead of
    /// `consistentHash` of a DestinationRule
    #[arg(long, value_name = "NAME", value_parser = parse_header_name)]
    hash_header: Option<String>,

    /// Response header that names the picked backend. Sets `backendHeader` if --config does not
    /// [default: x-served-by if --config has a `backendHeader`, else none]
    #[arg(long, value_name = "NAME", value_parser = parse_response_header)]
    response_header: Option<String>,
}

/// Which of Istio's proxies get the filter.
#[derive(Args)]
struct ProxyArgs {
    /// Configure only the proxies of this namespace [default: the proxies of the whole mesh]
    #[arg(long, value_name = "NAMESPACE", value_parser = parse_namespace)]
    namespace: Option<String>,

    /// Istio's root namespace, whose objects apply to the whole mesh [default: istio-system]
    #[arg(long, value_name = "NAMESPACE", value_parser = parse_namespace, conflicts_with = "namespace")]
    root_namespace: Option<String>,

    /// Configure only pods with this label; may be repeated [default: all pods]
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label)]
    selector: Vec<(String, String)>,

    /// Kind of proxies to configure. Gateways split only the `hosts` of --config [default: sidecar]
    #[arg(long, value_enum, value_name = "KIND", hide_possible_values = false)]
    context: Option<ProxyKind>,

    /// Also split gateway requests with this port in `Host`, as in shop.example.com:8080, on the listener of this port only;
    /// may be repeated [default: gateways split only requests without a port in `Host`]
    #[arg(long = "gateway-port", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    gateway_ports: Vec<u16>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ProxyKind {
    /// Sidecars, for the requests of their own pods
    Sidecar,
    /// Gateways, for the `hosts` of --config
    Gateway,
    /// Sidecars and gateways
    Both,
}

#[derive(Clone, Copy, ValueEnum)]
enum FailurePolicyArg {
    /// Start a new VM; requests get 503 for at most one second
    Reload,
    /// Let the root Services serve until a new VM starts
    Open,
}

// === impl IstioArgs ===

impl IstioArgs {
    /// Checks the options that depend on each other: code that is fetched by URL needs a SHA-256, and gateway ports need gateways.
    ///
    /// # Errors
    /// If options cannot be used together: the message.
    pub fn check(&self) -> Result<(), String> {
        self.source.check()?;
        self.proxies.check()
    }

    /// Returns the file of `--wasm`, if the option is given and is not a URL.
    #[must_use]
    pub fn wasm_file(&self) -> Option<&str> {
        self.source.wasm.as_deref().filter(|wasm| !is_url(wasm))
    }

    /// Sets `backendHeader` if `--response-header` needs it.
    pub fn ask_for_backend_header(&self, configuration: &mut Configuration) {
        self.route.ask_for_backend_header(configuration);
    }

    /// Returns the options for rendering the EnvoyFilter or the WasmPlugin.
    #[must_use]
    pub fn options(&self, configuration: &Configuration) -> IstioOptions {
        let ProxyArgs { namespace, root_namespace, selector, context, gateway_ports } = &self.proxies;
        if matches!(context, Some(ProxyKind::Gateway | ProxyKind::Both)) && configuration.hosts.is_empty() {
            print_stderr("note: gateways split no requests, because --config has no `hosts`");
        }
        let mut options = IstioOptions::default();
        if namespace.as_ref() == Some(&options.namespace) {
            print_stderr(format_args!(
                "warning: --namespace {0}: {0} is Istio's root namespace, whose objects apply to the whole mesh; omit --namespace, \
                 or name the namespace of the proxies",
                options.namespace
            ));
        }
        if let Some(namespace) = root_namespace.as_ref().or(namespace.as_ref()) {
            options.namespace.clone_from(namespace);
        }
        options.selector = selector.iter().cloned().collect();
        options.context = match context {
            None | Some(ProxyKind::Sidecar) => PatchContext::Sidecar,
            Some(ProxyKind::Gateway) => PatchContext::Gateway,
            Some(ProxyKind::Both) => PatchContext::Both,
        };
        options.gateway_ports.clone_from(gateway_ports);
        options.wasm = self.source.source();
        options.wasm_version = match &options.wasm {
            WasmSource::Remote { sha256, .. } => sha256.as_ref().map(|sha256| sha256.chars().take(16).collect()),
            WasmSource::File(_) => file_version(&options.wasm),
        };
        options.failure_policy = self.failure_policy.policy();
        options.route = self.route.options();
        options
    }
}

// === impl WasmSourceArgs ===

impl WasmSourceArgs {
    fn check(&self) -> Result<(), String> {
        let Some(url) = self.wasm.as_deref().filter(|wasm| is_url(wasm)) else {
            return match self.wasm_sha256 {
                Some(_) => Err("--wasm-sha256 needs an https:// or oci:// URL in --wasm".into()),
                None => Ok(()),
            };
        };
        let is_invalid = |char: char| char.is_whitespace() || char.is_control();
        match url.split_once("://") {
            Some(("https" | "oci", rest)) if !rest.is_empty() && !rest.contains(is_invalid) => {}
            _ => return Err(format!("--wasm `{url}` is invalid; give a file, an https:// URL or an oci:// URL")),
        }
        if url.starts_with("https://") && self.wasm_sha256.is_none() {
            return Err(format!("--wasm `{url}` needs --wasm-sha256, because the fetched code runs in every proxy"));
        }
        let Some(image) = url.strip_prefix("oci://") else { return Ok(()) };
        match (image.split_once('@'), &self.wasm_sha256) {
            (None, Some(_)) => Ok(()),
            (None, None) => Err(format!(
                "--wasm `{url}` has no digest, so the registry chooses what runs in every proxy; append \
                 `@sha256:DIGEST`, which `./build.sh package` prints, or set --wasm-sha256"
            )),
            (Some((_, digest)), given) => match oci_digest(digest) {
                None => Err(format!(
                    "--wasm `{url}`: `{digest}` is not a digest; write `sha256:` and 64 lower-case hexadecimal digits"
                )),
                Some(digest) if given.as_ref().is_some_and(|given| given != digest) => {
                    Err(format!("--wasm `{url}`: the digest differs from --wasm-sha256; omit one of them"))
                }
                Some(_) => Ok(()),
            },
        }
    }

    /// Returns `--wasm-sha256`, else the digest in the image's URL.
    fn sha256(&self) -> Option<String> {
        let of_image = || oci_digest(self.wasm.as_deref()?.strip_prefix("oci://")?.split_once('@')?.1);
        self.wasm_sha256.as_deref().or_else(of_image).map(str::to_owned)
    }

    fn source(&self) -> WasmSource {
        match &self.wasm {
            None => WasmSource::default(),
            Some(url) if is_url(url) => WasmSource::Remote { url: url.clone(), sha256: self.sha256() },
            Some(path) => WasmSource::File(path.clone()),
        }
    }
}

// === impl ProxyArgs ===

impl ProxyArgs {
    fn check(&self) -> Result<(), String> {
        for (index, (key, _)) in self.selector.iter().enumerate() {
            if self.selector.iter().take(index).any(|(other, _)| other == key) {
                return Err(format!(
                    "--selector `{key}` has two values, but a pod has one value of each label; omit one"
                ));
            }
        }
        match self.context {
            None | Some(ProxyKind::Sidecar) if !self.gateway_ports.is_empty() => {
                Err("--gateway-port needs `--context gateway` or `--context both`".into())
            }
            _ => Ok(()),
        }
    }
}

// === impl FailurePolicyArgs ===

impl FailurePolicyArgs {
    /// Returns the failure policy.
    #[must_use]
    pub fn policy(&self) -> FailurePolicy {
        match self.failure_policy {
            None | Some(FailurePolicyArg::Reload) => FailurePolicy::Reload,
            Some(FailurePolicyArg::Open) => FailurePolicy::Open,
        }
    }
}

// === impl RouteArgs ===

impl RouteArgs {
    /// Sets `backendHeader` if `--response-header` needs it: the response header copies that request header.
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

/// Returns the version of a filter that is a file, if the file can be read here. Another filter at the same path must result in
/// another configuration: otherwise, Envoy keeps the old filter.
#[must_use]
pub fn file_version(wasm: &WasmSource) -> Option<String> {
    match wasm {
        WasmSource::File(path) => std::fs::read(path).ok().map(|wasm| content_version(&wasm)),
        WasmSource::Remote { .. } => None,
    }
}

/// Parses a namespace.
///
/// # Errors
/// If the text is not a DNS label: the message.
pub fn parse_namespace(text: &str) -> Result<String, String> {
    is_label(text).then(|| text.into()).ok_or_else(|| "a namespace is a DNS label".into())
}

/// Parses a header name and returns it in lower case, as Envoy does.
fn parse_header_name(text: &str) -> Result<String, String> {
    is_token(text).then(|| text.to_ascii_lowercase()).ok_or_else(|| "not a valid HTTP header name".into())
}

/// Parses the name of a response header that Envoy may set to the name of a backend.
fn parse_response_header(text: &str) -> Result<String, String> {
    const OF_HTTP: [&str; 7] = [
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "location",
        "set-cookie",
        "transfer-encoding",
    ];
    let name = parse_header_name(text)?;
    match OF_HTTP.contains(&name.as_str()) {
        true => Err(format!("`{name}` has another meaning in HTTP; use a header of your own, such as `x-served-by`")),
        false => Ok(name),
    }
}

/// Parses a time that a protobuf `Duration` can hold.
fn parse_timeout(text: &str) -> Result<Duration, String> {
    const MAX_SECONDS: u64 = 315_576_000_000;
    let time = humantime::parse_duration(text).map_err(|why| why.to_string())?;
    match time.as_secs() < MAX_SECONDS {
        true => Ok(time),
        false => Err("Envoy accepts at most 10000 years; omit the option for no timeout".into()),
    }
}

fn parse_sha256(text: &str) -> Result<String, String> {
    let is_valid = text.len() == 64 && text.chars().all(|char| char.is_ascii_hexdigit());
    is_valid.then(|| text.to_ascii_lowercase()).ok_or_else(|| "a SHA-256 has 64 hexadecimal digits".into())
}

/// Returns the hexadecimal digits of an image's digest. Digests are lower case.
fn oci_digest(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("sha256:")?;
    let is_digit = |char: char| matches!(char, '0'..='9' | 'a'..='f');
    (digits.len() == 64 && digits.chars().all(is_digit)).then_some(digits)
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let is_valid = |part: &str, more: &str| {
        part.len() <= 63
            && part.chars().all(|char| char.is_ascii_alphanumeric() || "-_.".contains(char) || more.contains(char))
    };
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && is_valid(key, "/") && is_valid(value, "") => {
            Ok((key.into(), value.into()))
        }
        _ => Err("a label is KEY=VALUE, e.g. app=shop".into()),
    }
}

/// Returns whether the value of `--wasm` is a URL and not a file.
#[must_use]
pub fn is_url(text: &str) -> bool {
    text.contains("://")
}

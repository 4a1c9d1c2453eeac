//! The output of `traffic-split render` in a real Envoy: Envoy accepts it, and routes as documented.

use e2e::client::{Client, TIMEOUT};
use e2e::envoy::{Envoy, available};
use e2e::guide::Guide;
use e2e::httpbin::{HttpbinFixture, OTHER, ROOT};
use e2e::scratch::Scratch;
use e2e::{Result, wait_for};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

/// An Envoy with a rendered bootstrap and the guide's pods. The pod `other` serves port 80 of the root Service.
pub(crate) struct Rendered {
    guide: Guide,
    config: PathBuf,
    objects: PathBuf,
    scratch: Scratch,
    pub(crate) httpbin: HttpbinFixture,
    pub(crate) envoy: Envoy,
    pub(crate) port: u16,
}

impl Rendered {
    /// Starts Envoy with an empty configuration of the filter. All requests to the root will go to v1.
    fn start(config: &str, options: &[&str]) -> Result<Rendered> {
        Rendered::start_with(config, options, |guide, scratch| guide.traffic_split(scratch, 100, 0))
    }

    /// Starts Envoy with an empty configuration of the filter and with the file that `objects` returns in place of the guide's
    /// TrafficSplit.
    pub(crate) fn start_with(
        config: &str,
        options: &[&str],
        objects: impl FnOnce(&Guide, &Scratch) -> Result<PathBuf>,
    ) -> Result<Rendered> {
        let (guide, httpbin, scratch) = (Guide::built()?, HttpbinFixture::start()?, Scratch::new()?);
        fs::create_dir(scratch.join("watched"))?;
        let ecds = scratch.join("watched/ecds.yaml");
        fs::write(&ecds, "")?;
        let path = scratch.join("config.yaml");
        fs::write(&path, config)?;
        let mut all: Vec<OsString> = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"].map(OsString::from).into();
        all.extend(["--ecds".into(), ecds.into(), "--config".into(), path.clone().into()]);
        let mut add = |option: &str, value: String| all.extend([option.into(), value.into()]);
        for (service, address) in httpbin.endpoints() {
            add("--endpoint", format!("{service}:14001={address}"));
        }
        add("--endpoint", format!("httpbin.httpbin:80={}", httpbin.other.address()));
        add("--endpoint", format!("httpbin-v1.httpbin:80={}", httpbin.v1.address()));
        add("--host", format!("other.httpbin={}", httpbin.other.address()));
        all.extend(options.iter().map(OsString::from));
        let objects = objects(&guide, &scratch)?;
        let envoy = Envoy::start(&guide.render("envoy", &all, &objects)?, scratch.path())?;
        let port = envoy.listener_port("outbound")?;
        Ok(Rendered { guide, config: path, objects, scratch, httpbin, envoy, port })
    }

    /// Applies the configuration of the filter, and waits until Envoy has loaded it.
    pub(crate) fn load_filter(&self) -> Result<()> {
        let wasm = fs::canonicalize(&self.guide.wasm)?;
        let options = ["--config".into(), self.config.clone().into(), "--wasm".into(), wasm.into()];
        let ecds = self.guide.render("ecds", &options, &self.objects)?;
        self.envoy.replace_extension(&self.scratch.join("watched/ecds.yaml"), &ecds)
    }

    /// Applies the configuration of the filter, and waits until v1 serves the root.
    pub(crate) fn configure(&self) -> Result<()> {
        self.load_filter()?;
        wait_for("the split to be in force", || {
            let answer = Client::new(self.port).get(ROOT, "/json", &[])?;
            assert_eq!(answer.status, 200, "{}", answer.text());
            Ok((answer.version() == "httpbin-v1").then_some(()))
        })
    }
}

/// Returns the guide's `config.yaml`.
pub(crate) fn config() -> Result<String> {
    Ok(fs::read_to_string(Guide::built()?.objects.join("config.yaml"))?)
}

/// Checks a bootstrap with Envoy's validate mode.
fn validate(bootstrap: &Path) -> Result<()> {
    let output =
        Command::new(available()?).args(["--mode", "validate", "-l", "warning", "-c"]).arg(bootstrap).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", bootstrap.display());
    // Warnings, for example about deprecated fields, also fail the test.
    assert_eq!(errors, "", "{}", bootstrap.display());
    Ok(())
}

#[test]
fn envoy_accepts_example_and_default_bootstraps() -> Result<()> {
    let (guide, scratch) = (Guide::built()?, Scratch::new()?);
    fs::write(scratch.join("ecds.yaml"), "")?;
    let example = fs::read_to_string(guide.objects.join("envoy.yaml"))?;
    let plain = guide.render("envoy", &[], &guide.traffic_split(&scratch, 50, 50)?)?;
    for (name, text) in [("example.yaml", example), ("plain.yaml", plain)] {
        let here = scratch.path().display().to_string();
        assert_eq!(text.matches("path: /etc/traffic-split").count(), 2, "{name}");
        let bootstrap: PathBuf = scratch.join(name);
        fs::write(&bootstrap, text.replace("/etc/traffic-split", &here))?;
        validate(&bootstrap)?;
    }
    Ok(())
}

#[test]
fn roots_and_other_hosts_are_served_without_a_filter_configuration() -> Result<()> {
    let rendered = Rendered::start(&config()?, &[])?;
    let mut client = Client::new(rendered.port);
    for host in
        ["httpbin.httpbin", "httpbin.httpbin:14001", "HTTPBIN.httpbin.svc.cluster.local.", "httpbin.httpbin.svc:9"]
    {
        let answer = client.get(host, "/json", &[])?;
        assert_eq!((answer.status, answer.version().as_str()), (200, "httpbin"), "{host}");
    }
    assert_eq!(client.get(OTHER, "/json", &[])?.version(), "other");
    for host in ["nobody.httpbin", "httpbin"] {
        assert_eq!(client.get(host, "/json", &[])?.status, 404, "{host}");
    }
    // Without the filter, only the bootstrap removes the filter's headers.
    let forged: &[(&str, &[u8])] = &[
        ("x-traffic-split-cluster", b"httpbin/httpbin-v2|14001"),
        ("x-traffic-split-mirror", b"httpbin/httpbin-v2|14001"),
        ("x-traffic-split-backend", b"forged"),
        ("x-traffic-split-set-cookie", b"forged=1"),
    ];
    let answer = client.get(ROOT, "/json", forged)?;
    assert_eq!(answer.version(), "httpbin");
    for (header, _) in forged {
        assert_eq!(answer.received(header), Vec::<String>::new(), "{header}");
    }
    assert_eq!((answer.header("x-served-by"), answer.header("set-cookie")), (None, None));

    rendered.configure()?;
    let answer = client.get(ROOT, "/json", forged)?;
    assert_eq!(answer.version(), "httpbin-v1");
    assert_eq!(answer.headers_named("x-served-by"), ["httpbin-v1"]);
    assert_eq!(answer.header("set-cookie"), None);
    assert_eq!(answer.received("x-traffic-split-cluster"), Vec::<String>::new());
    assert_eq!(client.get(OTHER, "/json", forged)?.version(), "other");
    assert_eq!(rendered.httpbin.v2.requests(), 0, "neither called nor mirrored to");
    assert_eq!(client.connections(), 1);

    let metrics = rendered.envoy.admin("/stats/prometheus")?;
    let counter = metrics.lines().find(|line| line.starts_with("traffic_split_requests{"));
    let counter = counter.expect("the filter's counter").to_owned();
    for label in [r#"split="httpbin/http-split""#, r#"backend="httpbin-v1""#, r#"reason="random""#] {
        assert!(counter.contains(label), "{counter}");
    }
    assert!(rendered.envoy.admin("/config_dump")?.contains("FAIL_RELOAD"));
    Ok(())
}

#[test]
fn short_service_name_resolves_only_in_its_own_namespace() -> Result<()> {
    let rendered = Rendered::start(&config()?, &["--namespace", "httpbin"])?;
    let mut client = Client::new(rendered.port);
    assert_eq!(client.get("httpbin", "/json", &[])?.version(), "httpbin");
    rendered.configure()?;
    assert_eq!(client.get("httpbin", "/json", &[])?.version(), "httpbin-v1");
    Ok(())
}

#[test]
fn all_root_ports_are_served_and_only_backend_ports_are_split() -> Result<()> {
    let rendered = Rendered::start("services: {httpbin/httpbin: {ports: [80, 14001]}}", &["--port", "14001"])?;
    let mut client = Client::new(rendered.port);
    let mut ask = |host: &str| client.get(host, "/json", &[]).map(|answer| answer.version());
    assert_eq!((ask("httpbin.httpbin:80")?, ask(ROOT)?), ("other".into(), "httpbin".into()));
    rendered.configure()?;
    assert_eq!((ask("httpbin.httpbin:80")?, ask(ROOT)?), ("other".into(), "httpbin-v1".into()));
    Ok(())
}

/// A backend whose Service is missing, headless, an ExternalName, or without the root's port receives no share of the requests.
#[test]
fn backend_that_cannot_serve_costs_no_request() -> Result<()> {
    let service = |name: &str, spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "httpbin"}, "spec": spec});
    let backend = |name: &str| json!({"service": name, "weight": 100});
    let backends = ["httpbin-v1", "missing", "headless", "external", "other-port"].map(backend);
    let objects = [
        json!({
            "apiVersion": "split.smi-spec.io/v1alpha2", "kind": "TrafficSplit",
            "metadata": {"name": "http-split", "namespace": "httpbin"},
            "spec": {"service": "httpbin", "backends": backends},
        }),
        service("headless", json!({"clusterIP": "None", "ports": [{"port": 14001}]})),
        service("external", json!({"type": "ExternalName", "externalName": "example.com", "ports": [{"port": 14001}]})),
        service("other-port", json!({"ports": [{"port": 8080}]})),
    ];
    let rendered = Rendered::start_with(&config()?, &[], |_, scratch| {
        let path = scratch.join("objects.json");
        fs::write(&path, objects.map(|object| object.to_string()).concat())?;
        Ok(path)
    })?;
    rendered.configure()?;
    let mut client = Client::new(rendered.port);
    // A backend with a fifth of the weight would miss 100 requests with a probability of 10^-10.
    for _ in 0..100 {
        let answer = client.get(ROOT, "/json", &[])?;
        assert_eq!((answer.status, answer.version().as_str()), (200, "httpbin-v1"), "{}", answer.text());
    }
    Ok(())
}

/// A second port of a Service, such as one for metrics, does not switch off its split.
#[test]
fn request_without_a_port_uses_the_default_port_of_its_scheme() -> Result<()> {
    let ports = "{ports: [80, 9090]}";
    let services = format!("services: {{httpbin/httpbin: {ports}, httpbin/httpbin-v1: {ports}}}\n");
    let rendered = Rendered::start(&format!("{services}hosts: {{shop.example.com: httpbin/httpbin}}\n"), &[])?;
    let mut client = Client::new(rendered.port);
    let hosts =
        ["httpbin.httpbin", "httpbin.httpbin:80", "httpbin.httpbin:8080", "shop.example.com", "shop.example.com:9090"];
    for host in hosts {
        assert_eq!(client.get(host, "/json", &[])?.version(), "other", "{host}: port 80 of the root");
    }
    rendered.configure()?;
    for host in hosts {
        assert_eq!(client.get(host, "/json", &[])?.version(), "httpbin-v1", "{host}");
    }
    let https: &[(&str, &[u8])] = &[("x-forwarded-proto", b"https")];
    assert_eq!(client.get("httpbin.httpbin", "/json", https)?.version(), "other", "the root has no port 443");
    assert_eq!(client.get("httpbin.httpbin:80", "/json", https)?.version(), "httpbin-v1");
    Ok(())
}

/// Serves one connection: accepts any upgrade, then echoes five bytes.
fn echo_after_upgrade(listener: &TcpListener) -> std::io::Result<()> {
    let mut stream = BufReader::new(listener.accept()?.0);
    let mut line = String::new();
    while stream.read_line(&mut line)? > 2 {
        line.clear();
    }
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    stream.get_mut().write_all(switch)?;
    let mut heard = [0; 5];
    stream.read_exact(&mut heard)?;
    stream.get_mut().write_all(&heard)
}

#[test]
fn websocket_connection_passes() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let host = format!("socket.example={}", listener.local_addr()?);
    let rendered = Rendered::start(&config()?, &["--host", &host])?;
    rendered.configure()?;
    let server = std::thread::spawn(move || echo_after_upgrade(&listener));
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", rendered.port))?);
    stream.get_ref().set_read_timeout(Some(TIMEOUT))?;
    stream.get_mut().write_all(
        b"GET / HTTP/1.1\r\nhost: socket.example\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
          sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )?;
    let mut line = String::new();
    stream.read_line(&mut line)?;
    assert_eq!(line, "HTTP/1.1 101 Switching Protocols\r\n");
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line)?;
    }
    stream.get_mut().write_all(b"hello")?;
    let mut heard = [0; 5];
    stream.read_exact(&mut heard)?;
    assert_eq!(&heard, b"hello");
    Ok(server.join().expect("the server")?)
}

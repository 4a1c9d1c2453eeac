//! A real mesh on one machine, without containers: etcd, a Kubernetes API server, Istiod, and the client's sidecar,
//! an Envoy that Istiod configures. No other part of Kubernetes runs: there are no pods, and a ServiceEntry gives the
//! address of each Service.

use crate::bootstrap::stats_tags;
use crate::client::Client;
use crate::envoy::{Envoy, free_port};
use crate::guide::Guide;
use crate::httpbin::HttpbinFixture;
use crate::process::Process;
use crate::relay::Relay;
use crate::scratch::Scratch;
use crate::{Error, Result, wait_for};
use fixtures::TrafficSplit;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The port of the guide's Services. Istio binds it on 127.0.0.1 for the client's sidecar, so a machine can run one
/// mesh at a time.
pub const PORT: u16 = 14001;

/// The user name of the controller's ServiceAccount in the API server.
pub const CONTROLLER: &str = "system:serviceaccount:traffic-split-system:traffic-split-controller";

/// The mesh. All its programs end when this value is dropped.
#[derive(Debug)]
pub struct Mesh {
    istiod: Option<Process>,
    api: Option<Process>,
    _etcd: Process,
    /// The directory of its files.
    pub scratch: Scratch,
    programs: PathBuf,
    ports: Ports,
}

/// A replica of the controller.
#[derive(Debug)]
pub struct Controller {
    /// The process.
    pub process: Process,
    port: u16,
}

#[derive(Debug)]
struct Ports {
    etcd: u16,
    etcd_peers: u16,
    api: u16,
    xds: u16,
    istiod: u16,
    monitoring: u16,
}

/// Returns the directory of the programs that `./build.sh mesh` built.
///
/// # Errors
/// A program is missing; the message says how to build it.
pub fn programs() -> Result<PathBuf> {
    let workspace = crate::workspace();
    let directory = std::env::var_os("MESH_PROGRAMS").map_or_else(|| workspace.join("target/mesh"), PathBuf::from);
    for program in ["etcd", "kube-apiserver", "kubectl", "pilot-discovery", "istio-crds.yaml"] {
        if !directory.join(program).exists() {
            return Err(format!("{program} is not in {}: run ./build.sh mesh", directory.display()).into());
        }
    }
    Ok(directory)
}

// === impl Mesh ===

impl Mesh {
    /// Starts the mesh, installs Istio's CustomResourceDefinitions and our manifests, and waits until Istiod is ready.
    pub fn start() -> Result<Mesh> {
        let programs = programs()?;
        let scratch = Scratch::new()?;
        let ports = Ports {
            etcd: free_port()?,
            etcd_peers: free_port()?,
            api: free_port()?,
            xds: free_port()?,
            istiod: free_port()?,
            monitoring: free_port()?,
        };
        let etcd = start_etcd(&programs, &scratch, &ports)?;
        let mut mesh = Mesh { istiod: None, api: None, _etcd: etcd, scratch, programs, ports };
        mesh.prepare_api()?;
        mesh.start_api()?;
        mesh.kubectl(&["apply", "--server-side", "-f", &mesh.programs.join("istio-crds.yaml").display().to_string()])?;
        mesh.kubectl(&["create", "namespace", "istio-system"])?;
        mesh.kubectl(&["apply", "-k", &manifests().display().to_string()])?;
        mesh.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"])?;
        mesh.start_istiod()?;
        Ok(mesh)
    }

    fn prepare_api(&self) -> Result<()> {
        let key = self.scratch.join("service-account.key");
        let made = Command::new("openssl")
            .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out"])
            .arg(&key)
            .stderr(Stdio::null())
            .status()
            .map_err(|error| format!("openssl, which makes the key for service accounts' tokens: {error}"))?;
        if !made.success() {
            return Err(format!("openssl genpkey: {made}").into());
        }
        fs::write(
            self.scratch.join("tokens.csv"),
            format!(
                "admin,admin,1,\"system:masters\"\n\
                 controller,{CONTROLLER},2,\"system:serviceaccounts,system:serviceaccounts:traffic-split-system\"\n"
            ),
        )?;
        for user in ["admin", "controller"] {
            fs::write(self.kubeconfig(user), self.kubeconfig_of(user, self.ports.api).to_string())?;
        }
        Ok(())
    }

    /// Returns the kubeconfig of a user: `admin`, who has all permissions, or `controller`.
    #[must_use]
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.scratch.join(&format!("{user}.kubeconfig"))
    }

    /// Connects the controllers that start after this call through a relay to the API server.
    pub fn relay_api(&self) -> Result<Relay> {
        let relay = Relay::start(([127, 0, 0, 1], self.ports.api).into())?;
        let kubeconfig = self.kubeconfig_of("controller", relay.address().port());
        fs::write(self.kubeconfig("controller"), kubeconfig.to_string())?;
        Ok(relay)
    }

    fn kubeconfig_of(&self, user: &str, port: u16) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "mesh",
            "clusters": [{"name": "mesh", "cluster": {
                "server": format!("https://127.0.0.1:{port}"),
                // The API server signs its own certificate at each start.
                "insecure-skip-tls-verify": true,
            }}],
            "users": [{"name": user, "user": {"token": user}}],
            "contexts": [{"name": "mesh", "context": {"cluster": "mesh", "user": user}}],
        })
    }

    /// Returns the directory of its programs, e.g. kubectl.
    #[must_use]
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// Starts the API server with the data in etcd, and waits until it is ready.
    pub fn start_api(&mut self) -> Result<()> {
        let key = self.scratch.join("service-account.key").display().to_string();
        let mut command = Command::new(self.programs.join("kube-apiserver"));
        command
            .arg(format!("--etcd-servers=http://127.0.0.1:{}", self.ports.etcd))
            .arg(format!("--service-account-key-file={key}"))
            .arg(format!("--service-account-signing-key-file={key}"))
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(format!("--token-auth-file={}", self.scratch.join("tokens.csv").display()))
            .args(["--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/16"])
            .arg(format!("--cert-dir={}", self.scratch.join("certificates").display()))
            .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
            .arg(format!("--secure-port={}", self.ports.api))
            // No controller creates service accounts in new namespaces.
            .arg("--disable-admission-plugins=ServiceAccount");
        let mut api = Process::start("kube-apiserver", &mut command, &self.scratch.join("kube-apiserver.log"))?;
        let ready = wait_for("the Kubernetes API to be ready", || {
            api.check_running()?;
            Ok(self.kubectl(&["get", "--raw", "/readyz"]).ok())
        });
        ready.map_err(|error| Error(format!("{error}\n{}", api.tail())))?;
        self.api = Some(api);
        Ok(())
    }

    /// Kills the API server. etcd keeps its data.
    pub fn stop_api(&mut self) {
        self.api = None;
    }

    /// Stops or continues the API server. A stopped one keeps its connections and answers no request.
    pub fn halt_api(&self, halted: bool) -> Result<()> {
        let api = self.api.as_ref().ok_or("the API server doesn't run")?;
        api.signal(if halted { "STOP" } else { "CONT" })
    }

    /// Compacts etcd: a watch from an earlier resourceVersion then fails and must list again.
    pub fn compact_etcd(&self) -> Result<()> {
        let mut etcd = Client::new(self.ports.etcd);
        let mut ask = |path: &str, body: &Value| {
            let answer = etcd.send_body("POST", path, "application/json", &body.to_string())?;
            serde_json::from_slice::<Value>(&answer.body).map_err(|error| Error(format!("etcd {path}: {error}")))
        };
        let revision = ask("/v3/kv/range", &json!({"key": "AA=="}))?["header"]["revision"].clone();
        ask("/v3/kv/compaction", &json!({"revision": revision, "physical": true})).map(|_| ())
    }

    fn start_istiod(&mut self) -> Result<()> {
        let mesh = self.scratch.join("mesh.yaml");
        // With mTLS, clusters would wait for certificates that no program issues here.
        fs::write(&mesh, "enableAutoMtls: false\ndefaultProviders: {}\nenablePrometheusMerge: false\n")?;
        let ports = &self.ports;
        let mut command = Command::new(self.programs.join("pilot-discovery"));
        command
            .arg("discovery")
            .arg("--kubeconfig")
            .arg(self.kubeconfig("admin"))
            .arg("--meshConfig")
            .arg(&mesh)
            .args(["--httpsAddr=", "--secureGRPCAddr=", "--ctrlz_port=0", "--domain=cluster.local"])
            .arg(format!("--grpcAddr=127.0.0.1:{}", ports.xds))
            .arg(format!("--httpAddr=127.0.0.1:{}", ports.istiod))
            .arg(format!("--monitoringAddr=127.0.0.1:{}", ports.monitoring))
            // Only Istio's build of Envoy has these filters.
            .env("PILOT_ENABLE_METADATA_EXCHANGE", "false")
            .env("PILOT_ENABLE_ALPN_FILTER", "false")
            .env("ENABLE_CA_SERVER", "false")
            .env("PILOT_CERT_PROVIDER", "none")
            .current_dir(self.scratch.path());
        let mut istiod = Process::start("Istiod", &mut command, &self.scratch.join("istiod.log"))?;
        let ready = wait_for("Istiod to be ready", || {
            istiod.check_running()?;
            let answer = Client::new(ports.istiod).get("localhost", "/ready", &[]);
            Ok(answer.ok().filter(|answer| answer.status == 200).map(|_| ()))
        });
        ready.map_err(|error| Error(format!("{error}\n{}", istiod.tail())))?;
        self.istiod = Some(istiod);
        Ok(())
    }

    /// Starts a replica of the controller with the permissions of our manifests, and waits until it is ready. `name`
    /// is the name of its pod.
    pub fn controller(&self, guide: &Guide, name: &str) -> Result<Controller> {
        self.controller_with(guide, name, &[])
    }

    /// Starts a replica of the controller with further options.
    pub fn controller_with(&self, guide: &Guide, name: &str, options: &[&str]) -> Result<Controller> {
        let command = guide.command.with_file_name("traffic-split-controller");
        let port = free_port()?;
        // Use the arguments of the Deployment, except the path of the filter and the address of the metrics server.
        let deployment = self.get("deployment", "traffic-split-system", "traffic-split-controller")?;
        let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array();
        let arguments = arguments.into_iter().flatten().filter_map(Value::as_str);
        let mut started = Command::new(&command);
        started
            .args(arguments.filter(|argument| !argument.starts_with("--wasm=")))
            .arg("--wasm")
            .arg(fs::canonicalize(&guide.wasm)?)
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(options)
            .env("KUBECONFIG", self.kubeconfig("controller"))
            .env("POD_NAME", name);
        let mut process = Process::start(name, &mut started, &self.scratch.join(&format!("{name}.log")))?;
        wait_for(&format!("{name} to be ready"), || {
            process.check_running()?;
            let answer = Client::new(port).get("localhost", "/readyz", &[]);
            Ok(answer.ok().filter(|answer| answer.status == 200).map(|_| ()))
        })
        .map_err(|error| Error(format!("{error}\n{}", process.tail())))?;
        Ok(Controller { process, port })
    }

    /// Runs `traffic-split-controller uninstall` as the administrator.
    pub fn uninstall(&self, guide: &Guide) -> Result<()> {
        let command = guide.command.with_file_name("traffic-split-controller");
        let log = self.scratch.join("uninstall.log");
        let mut child = Command::new(command)
            .args(["uninstall", "--wait", "2s"])
            .env("KUBECONFIG", self.kubeconfig("admin"))
            .stderr(fs::File::create(&log)?)
            .spawn()?;
        let ended = wait_for("uninstall to end", || {
            // Kubernetes' garbage collector does not run here, so remove the finalizer of the Deployment.
            let deployment = self.get("deployment", "traffic-split-system", "traffic-split-controller");
            if deployment.is_ok_and(|deployment| deployment["metadata"]["finalizers"][0] == "foregroundDeletion") {
                let patch = ["--type=merge", "-p", r#"{"metadata": {"finalizers": null}}"#];
                let named = ["patch", "deployment", "-n", "traffic-split-system", "traffic-split-controller"];
                self.kubectl(&[&named[..], &patch].concat())?;
            }
            Ok(child.try_wait()?)
        });
        let log = fs::read_to_string(&log)?;
        match ended {
            Ok(status) if status.success() => Ok(()),
            ended => Err(format!("uninstall: {ended:?}\n{log}").into()),
        }
    }

    /// Waits until the controller has filled the EnvoyFilter of our manifests, and returns it.
    pub fn wait_for_envoy_filter(&self) -> Result<Value> {
        wait_for("the EnvoyFilter", || {
            let filter = self.get("envoyfilter", "istio-system", "traffic-split").ok();
            Ok(filter.filter(|filter| filter["spec"]["configPatches"].is_array()))
        })
    }

    /// Returns the metrics of Istiod, in the text format of Prometheus.
    pub fn istiod_metrics(&self) -> Result<String> {
        Ok(Client::new(self.ports.monitoring).get("localhost", "/metrics", &[])?.text())
    }

    /// Waits until the TrafficSplit has this condition for its current generation. `wanted` is the status (`True` or
    /// `False`) and the reason.
    pub fn wait_for_condition(&self, namespace: &str, name: &str, kind: &str, wanted: (&str, &str)) -> Result<Value> {
        let mut last = Value::Null;
        wait_for(&format!("{namespace}/{name} to be {kind} {wanted:?}"), || {
            last = self.get("trafficsplit", namespace, name)?;
            let conditions = last["status"]["conditions"].as_array();
            let found = conditions.into_iter().flatten().find(|condition| condition["type"] == kind);
            let is_so = |condition: &&Value| {
                condition["status"] == wanted.0
                    && condition["reason"] == wanted.1
                    && condition["observedGeneration"] == last["metadata"]["generation"]
            };
            Ok(found.filter(is_so).cloned())
        })
        .map_err(|error| Error(format!("{error}; the status is {}", last["status"])))
    }

    /// Returns the log of Istiod so far.
    #[must_use]
    pub fn istiod_log(&self) -> String {
        self.istiod.as_ref().map(Process::log).unwrap_or_default()
    }

    /// Runs kubectl as the administrator and returns its output.
    ///
    /// # Errors
    /// The exit status is not 0; the message is the output.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_with_input(arguments, "")
    }

    /// Runs kubectl with this standard input.
    pub fn kubectl_with_input(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut child = Command::new(self.programs.join("kubectl"))
            .arg("--kubeconfig")
            .arg(self.kubeconfig("admin"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(format!("kubectl {}: {}", arguments.join(" "), said.trim()).into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Returns a client of the API server as the administrator, for writes at a higher rate than kubectl's. The API
    /// is served until the returned process is dropped.
    pub fn api(&self) -> Result<(Process, Client)> {
        let port = free_port()?;
        let mut command = Command::new(self.programs.join("kubectl"));
        command.arg("--kubeconfig").arg(self.kubeconfig("admin")).args(["proxy", &format!("--port={port}")]);
        let mut process = Process::start("kubectl proxy", &mut command, &self.scratch.join("kubectl-proxy.log"))?;
        wait_for("kubectl proxy to be ready", || {
            process.check_running()?;
            Ok(Client::new(port).get("localhost", "/readyz", &[]).ok().filter(|answer| answer.status == 200))
        })?;
        Ok((process, Client::new(port)))
    }

    /// Runs `kubectl apply` on objects in YAML or JSON.
    pub fn apply(&self, objects: &str) -> Result<String> {
        self.kubectl_with_input(&["apply", "-f", "-"], objects)
    }

    /// Returns an object as JSON.
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Result<Value> {
        let json = self.kubectl(&["get", kind, "-n", namespace, name, "-o", "json"])?;
        serde_json::from_str(&json).map_err(|error| Error(format!("{kind} {namespace}/{name}: {error}")))
    }

    /// Creates the namespaces and Services of the guide, and sets their addresses.
    pub fn apply_guide(&self, guide: &Guide, httpbin: &HttpbinFixture) -> Result<()> {
        for namespace in ["curl", "httpbin"] {
            self.kubectl(&["create", "namespace", namespace])?;
        }
        self.kubectl(&["apply", "-f", &guide.services().display().to_string()])?;
        for (service, address) in httpbin.endpoints() {
            self.set_address(service, address)?;
        }
        self.apply(&service("other", "httpbin").to_string())?;
        self.set_address("other.httpbin", httpbin.other.address())
    }

    /// Sets the address of the Service `SERVICE.NAMESPACE`. Istio accepts loopback addresses, which Kubernetes
    /// rejects as endpoints.
    pub fn set_address(&self, service: &str, address: SocketAddr) -> Result<()> {
        let (name, namespace) = service.split_once('.').ok_or_else(|| Error(format!("{service} has no namespace")))?;
        let entry = json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "ServiceEntry",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "hosts": [format!("{name}.{namespace}.svc.cluster.local")],
                "ports": [{"number": PORT, "name": "http", "protocol": "HTTP"}],
                "resolution": "STATIC",
                "location": "MESH_INTERNAL",
                "endpoints": [{"address": address.ip(), "ports": {"http": address.port()}}],
            },
        });
        self.apply(&entry.to_string()).map(|_| ())
    }

    /// Starts the sidecar of a client in this namespace, and waits until it has the Services' listener.
    pub fn sidecar(&self, namespace: &str) -> Result<Envoy> {
        self.sidecar_of(namespace, "curl")
    }

    /// Starts the sidecar of a client whose pod has the label `app` with this value.
    pub fn sidecar_of(&self, namespace: &str, app: &str) -> Result<Envoy> {
        self.proxy("sidecar", namespace, app, PORT)
    }

    /// Starts a gateway whose pod has the label `app` with this value, and waits for the listener of this port.
    pub fn gateway(&self, namespace: &str, app: &str, port: u16) -> Result<Envoy> {
        self.proxy("router", namespace, app, port)
    }

    fn proxy(&self, kind: &str, namespace: &str, app: &str, port: u16) -> Result<Envoy> {
        let directory = self.scratch.join(&format!("{kind}-{namespace}-{app}"));
        fs::create_dir_all(&directory)?;
        let envoy = Envoy::start(&self.bootstrap(kind, namespace, app).to_string(), &directory)?;
        wait_for(&format!("the {kind} to get its listeners"), || {
            let listeners = envoy.admin("/listeners")?;
            Ok(listeners.contains(&format!("127.0.0.1:{port}")).then_some(()))
        })?;
        Ok(envoy)
    }

    /// Starts Envoy as Istio's agent does, without traffic redirection: Istio binds the Services' ports on 127.0.0.1.
    fn bootstrap(&self, kind: &str, namespace: &str, app: &str) -> Value {
        let socket = |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
        json!({
            "node": {
                "id": format!("{kind}~127.0.0.1~{app}-1.{namespace}~{namespace}.svc.cluster.local"),
                "cluster": format!("{app}.{namespace}"),
                "metadata": {
                    "NAMESPACE": namespace,
                    "CLUSTER_ID": "Kubernetes",
                    "ISTIO_VERSION": "1.31.0",
                    "INTERCEPTION_MODE": "NONE",
                    "LABELS": {"app": app},
                },
            },
            "admin": {"address": socket(0)},
            "stats_config": {"stats_tags": stats_tags()},
            "dynamic_resources": {
                "ads_config": {
                    "api_type": "GRPC",
                    "transport_api_version": "V3",
                    "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
                },
                "lds_config": {"ads": {}, "resource_api_version": "V3"},
                "cds_config": {"ads": {}, "resource_api_version": "V3"},
            },
            "static_resources": {"clusters": [{
                "name": "xds",
                "type": "STATIC",
                "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": {"http2_protocol_options": {}},
                }},
                "load_assignment": {
                    "cluster_name": "xds",
                    "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(self.ports.xds)}}]}],
                },
            }]},
        })
    }
}

// === impl Controller ===

impl Controller {
    /// Returns the value of one of its metrics.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let text = Client::new(self.port).get("localhost", "/metrics", &[])?.text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.ok_or_else(|| Error(format!("no metric {name} among\n{text}")))
    }
}

/// Starts the guide's pods and a mesh with its Services, without a controller or a sidecar.
pub fn start_with_guide() -> Result<(Guide, HttpbinFixture, Mesh)> {
    let (guide, httpbin, mesh) = (Guide::built()?, HttpbinFixture::start()?, Mesh::start()?);
    mesh.apply_guide(&guide, &httpbin)?;
    Ok((guide, httpbin, mesh))
}

/// Returns a TrafficSplit in the guide's namespace, as JSON.
#[must_use]
pub fn split(name: &str, root: &str, backends: &[(&str, u32)]) -> String {
    TrafficSplit::new(name, root).version("v1alpha2").namespace("httpbin").backends(backends).build().to_string()
}

/// Waits until the filter of the proxy has a configuration.
pub fn wait_for_filter(proxy: &Envoy) -> Result<()> {
    wait_for("the filter to be configured", || {
        Ok(proxy.extension_stat("config_reload").ok().filter(|reloads| *reloads > 0))
    })
    .map(|_| ())
}

/// Returns the version that answers a client of the proxy at this port, e.g. `httpbin-v1`.
pub fn version_at(port: u16, host: &str) -> Result<String> {
    Ok(Client::new(port).get(host, "/json", &[])?.version())
}

/// Waits until `holds` is true twenty times in a row. Envoy's threads apply a change one after another, and each owns
/// some of the connections.
pub fn wait_for_all_threads(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    wait_for(what, || {
        for _ in 0..20 {
            if !holds()? {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
}

/// Returns the directory of our manifests.
#[must_use]
pub fn manifests() -> PathBuf {
    crate::workspace().join("envoy/manifests")
}

/// Returns a Service with the port [`PORT`].
#[must_use]
pub fn service(name: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"ports": [{"name": "http", "port": PORT}]},
    })
}

fn start_etcd(programs: &Path, scratch: &Scratch, ports: &Ports) -> Result<Process> {
    let clients = format!("http://127.0.0.1:{}", ports.etcd);
    let peers = format!("http://127.0.0.1:{}", ports.etcd_peers);
    let mut command = Command::new(programs.join("etcd"));
    command
        .arg("--data-dir")
        .arg(scratch.join("etcd"))
        .args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients])
        .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
        .arg(format!("--initial-cluster=default={peers}"))
        // Durability is not needed.
        .args(["--unsafe-no-fsync", "--log-level", "warn"]);
    Process::start("etcd", &mut command, &scratch.join("etcd.log"))
}

//! `mesh`: runs a mesh on this machine for the canary guide, prints the commands, and waits until it is interrupted.

use e2e::Error;
use e2e::mesh::{PORT, start_with_guide, wait_for_filter};
use std::future::poll_fn;
use std::process::ExitCode;
use std::task::Poll;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mesh: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    eprintln!("starting etcd, the Kubernetes API and Istiod, and installing envoy/manifests");
    let (guide, _httpbin, mesh) = start_with_guide()?;
    eprintln!("starting two replicas of the controller, and the client's sidecar");
    let _replicas = [mesh.controller(&guide, "controller-1")?, mesh.controller(&guide, "controller-2")?];
    mesh.wait_for_envoy_filter()?;
    let sidecar = mesh.sidecar("curl")?;
    wait_for_filter(&sidecar)?;
    let (kubeconfig, programs) = (mesh.kubeconfig("admin"), mesh.programs());
    let (kubeconfig, programs, objects) = (kubeconfig.display(), programs.display(), guide.objects.display());
    let (logs, admin) = (mesh.scratch.path().display(), sidecar.admin_port());
    println!(
        "
The mesh is up. The client's sidecar is at localhost:{PORT}; the Services httpbin, httpbin-v1, httpbin-v2 and other are in the
namespace httpbin. In another terminal:

  export KUBECONFIG={kubeconfig} PATH=\"{programs}:$PATH\"

  # Who answers?
  ask() {{ curl -si -H 'host: httpbin.httpbin' localhost:{PORT}/json | grep x-served-by || echo the root; }}

  # Everything to v1.
  kubectl apply -f {objects}/trafficsplit-v1.yaml
  until ask | grep v1; do sleep 0.1; done
  for i in 1 2 3 4 5 6 7 8 9 10; do ask; done

  # Half to v2.
  kubectl apply -f {objects}/trafficsplit-50-50.yaml
  until ask | grep v2; do sleep 0.1; done
  for i in 1 2 3 4 5 6 7 8 9 10; do ask; done

  # What became of it.
  kubectl get trafficsplits -A
  kubectl describe trafficsplit -n httpbin http-split
  curl -s localhost:{admin}/stats/prometheus | grep traffic_split_requests

  # As it was.
  kubectl delete trafficsplit -n httpbin http-split

Logs are {logs}/*.log, the sidecar's in {logs}/sidecar-curl.
Ctrl-C ends it."
    );
    wait_until_asked_to_end()?;
    eprintln!("ending");
    Ok(())
}

fn wait_until_asked_to_end() -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let mut signals = kinds.into_iter().map(signal).collect::<std::io::Result<Vec<_>>>()?;
        poll_fn(|context| match signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
        Ok(())
    })
}

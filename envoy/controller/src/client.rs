//! The connection to the API server.

use crate::error_text::describe;
use kube::{Client, Config};
use std::error::Error;
use std::time::Duration;

/// Why the command failed.
pub type Failure = Box<dyn Error + Send + Sync>;

/// A request to the API server fails after this time without an answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Connects to the API server of kubectl's configuration, or of the pod's service account.
///
/// # Errors
/// If no configuration is found, or the API server does not answer.
pub(crate) async fn connect() -> Result<Client, Failure> {
    let mut config = Config::infer().await.map_err(|why| {
        format!("cannot find the API server: {why}; set KUBECONFIG, or run in a pod with a service account")
    })?;
    (config.read_timeout, config.reset_reader_on_write) = (Some(REQUEST_TIMEOUT), true);
    // The reconcile loop and the watches retry by themselves; kube's retries would wait for minutes.
    config.default_retry = false;
    let server = config.cluster_url.clone();
    let client = Client::try_from(config)?;
    // A wrong address or credential ends the command at once.
    let answer = client.apiserver_version().await;
    answer.map_err(|why| format!("API server {server}: {}", describe(&why)))?;
    Ok(client)
}

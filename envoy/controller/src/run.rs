//! Runs the controller as a process: connects to the API server, serves health and metrics, and ends with a signal.

use crate::client::{Failure, connect};
use crate::clock::Clock;
use crate::controller::Controller;
use crate::metrics::Metrics;
use crate::server::{LIMITS, serve};
use crate::signals::termination;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tracing::info;

pub use crate::controller::Options;

/// Runs the controller until the process receives SIGTERM or SIGINT. Health and metrics are served at the first address of
/// `listen` that can be bound.
///
/// # Errors
/// If the API server or the Lease cannot be reached at the start, or no address can be bound.
pub async fn run(options: Options, listen: &[SocketAddr]) -> Result<(), Failure> {
    let listener = TcpListener::bind(listen).await;
    let addresses: Vec<_> = listen.iter().map(SocketAddr::to_string).collect();
    let listener = listener.map_err(|why| format!("--listen {}: {why}", addresses.join(", ")))?;
    let client = connect().await?;
    info!(address = %listener.local_addr()?, "serving health and metrics");
    let metrics = Metrics::new();
    let controller = Controller::start(client, Clock::system(), options, metrics.clone());
    tokio::spawn(serve(listener, metrics.router(), LIMITS));
    controller.run(termination()).await
}

//! The load: clients with long and short connections.

use crate::changes::STABLE_ROOT;
use e2e::client::{Client, Load, Tally};
use e2e::httpbin::{OTHER, ROOT};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The pause of a client after each response.
const PAUSE: Duration = Duration::from_millis(5);

/// Clients of three roots on long connections, and one that opens a connection for each request.
#[derive(Debug)]
pub struct SoakLoad {
    port: u16,
    long: [Load; 3],
    short: ShortConnections,
}

/// A client that opens a connection for each request to the stable root.
#[derive(Debug)]
struct ShortConnections {
    tally: Arc<Mutex<Tally>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The results of the load.
#[derive(Debug)]
pub struct Requests {
    /// Requests to the root whose weights never change.
    pub stable: [Tally; 2],
    /// Requests to the guide's root and to a host without a split.
    pub other: [Tally; 2],
}

// === impl SoakLoad ===

impl SoakLoad {
    /// Starts all clients.
    pub fn start(port: u16) -> SoakLoad {
        SoakLoad { port, long: long_connections(port), short: ShortConnections::start(port) }
    }

    /// Returns the results since the last call. Opens new long connections.
    pub fn take(&mut self) -> Requests {
        let [stable, guide, other] = std::mem::replace(&mut self.long, long_connections(self.port)).map(Load::stop);
        let short = std::mem::take(&mut *self.short.tally.lock().unwrap_or_else(PoisonError::into_inner));
        Requests { stable: [stable, short], other: [guide, other] }
    }
}

fn long_connections(port: u16) -> [Load; 3] {
    [(STABLE_ROOT, 2), (ROOT, 1), (OTHER, 1)].map(|(root, clients)| Load::paced(port, root, clients, PAUSE))
}

// === impl Requests ===

impl Requests {
    /// Returns all tallies.
    pub fn all(&self) -> impl Iterator<Item = &Tally> {
        self.stable.iter().chain(&self.other)
    }
}

// === impl ShortConnections ===

impl ShortConnections {
    fn start(port: u16) -> ShortConnections {
        let (tally, stop) = (Arc::new(Mutex::new(Tally::default())), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (tally, stop) = (tally.clone(), stop.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut client = Client::new(port);
                    let outcome = client.get(STABLE_ROOT, "/json", &[]);
                    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                    tally.connections += client.connections();
                    tally.count(&outcome);
                    drop(tally);
                    std::thread::sleep(PAUSE);
                }
            }
        });
        ShortConnections { tally, stop, thread: Some(thread) }
    }
}

impl Drop for ShortConnections {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

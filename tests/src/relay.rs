//! A TCP relay whose connections can be silenced.

use crate::Result;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Accepts connections on 127.0.0.1 and relays their bytes to another address and back.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<Arc<Connection>>>>,
}

#[derive(Debug)]
struct Connection {
    ends: [TcpStream; 2],
    /// Whether the relay drops all bytes.
    is_dead: Mutex<bool>,
    /// Whether one of the ends has closed the connection.
    is_over: AtomicBool,
}

// === impl Relay ===

impl Relay {
    /// Starts a relay to this address; it runs until the process ends.
    pub fn start(to: SocketAddr) -> Result<Relay> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let relay = Relay { address: listener.local_addr()?, connections: Arc::default() };
        let connections = relay.connections.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(to) else { continue };
                let connection = Arc::new(Connection {
                    ends: [client, server],
                    is_dead: Mutex::new(false),
                    is_over: AtomicBool::new(false),
                });
                for from in [0, 1] {
                    let connection = connection.clone();
                    thread::spawn(move || connection.relay(from));
                }
                connections.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
        });
        Ok(relay)
    }

    /// Returns the address of the listener.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Silences all open connections without closing them, as when the machine at the other end disappears. Returns
    /// the number of silenced connections.
    pub fn silence(&self) -> usize {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.retain(|connection| !connection.is_over.load(Ordering::Relaxed));
        for connection in connections.iter() {
            *connection.is_dead.lock().unwrap_or_else(PoisonError::into_inner) = true;
        }
        connections.len()
    }
}

// === impl Connection ===

impl Connection {
    fn relay(&self, from: usize) {
        let (mut from, mut to) = (&self.ends[from], &self.ends[1 - from]);
        let mut bytes = [0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut bytes) {
            let is_dead = self.is_dead.lock().unwrap_or_else(PoisonError::into_inner);
            if !*is_dead && to.write_all(&bytes[..length]).is_err() {
                break;
            }
        }
        self.is_over.store(true, Ordering::Relaxed);
        if !*self.is_dead.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = to.shutdown(Shutdown::Both);
        }
    }
}

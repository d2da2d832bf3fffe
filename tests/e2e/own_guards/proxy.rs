//! A TCP proxy whose connections die silently: written data vanishes.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
};

type Open = Arc<Mutex<Vec<Arc<AtomicBool>>>>;

/// The proxy. It runs until the process ends.
pub struct Proxy {
    address: SocketAddr,
    /// The working connections, by their stop flags.
    open: Open,
}

impl Proxy {
    /// Starts a proxy in front of a server.
    pub fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (open, server) = (Open::default(), server.to_owned());
        let accepted = Arc::clone(&open);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
                let is_dead = Arc::<AtomicBool>::default();
                accepted.lock().unwrap().push(Arc::clone(&is_dead));
                copy(&client, &server, &is_dead);
                copy(&server, &client, &is_dead);
            }
        });
        Self { address, open }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills the open connections, and returns their number. New ones work.
    pub fn hang(&self) -> usize {
        let open = std::mem::take(&mut *self.open.lock().unwrap());
        for is_dead in &open {
            is_dead.store(true, SeqCst);
        }
        // Each direction holds one reference while it is open.
        open.iter()
            .filter(|open| Arc::strong_count(open) > 1)
            .count()
    }
}

/// Copies in one direction on a thread of its own.
fn copy(from: &TcpStream, to: &TcpStream, is_dead: &Arc<AtomicBool>) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    let is_dead = Arc::clone(is_dead);
    thread::spawn(move || {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let read = from.read(&mut bytes).unwrap_or(0);
            if is_dead.load(SeqCst) {
                // Not even its end is forwarded while the other side waits.
                if read == 0 {
                    return;
                }
                continue;
            }
            if read == 0 || to.write_all(&bytes[..read]).is_err() {
                let _ = to.shutdown(Shutdown::Both);
                return;
            }
        }
    });
}

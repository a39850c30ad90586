//! Visitors who come one request after the other, each on a connection of its own, and count who was not served.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// Four of them.
pub struct Guests {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Guests {
    /// They ask for `host` at an address.
    pub fn come(address: SocketAddr, host: &str) -> Self {
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let guest = |_| {
            let (stop, served, host) = (stop.clone(), served.clone(), host.to_owned());
            std::thread::spawn(move || {
                let mut failures = Vec::new();
                while !stop.load(SeqCst) {
                    match visit(address, &host) {
                        Ok(()) => drop(served.fetch_add(1, SeqCst)),
                        Err(error) => failures.push(error),
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
                failures
            })
        };
        let threads = (0..4).map(guest).collect();
        Self { stop, served, threads }
    }

    /// They go; how many were served. Nobody may have failed.
    #[track_caller]
    pub fn leave(self) -> usize {
        self.stop.store(true, SeqCst);
        let failures: Vec<_> = self.threads.into_iter().flat_map(|one| one.join().expect("a guest")).collect();
        let served = self.served.load(SeqCst);
        assert!(failures.is_empty(), "{} of {} failed: {:?}", failures.len(), served + failures.len(), &failures[..1]);
        eprintln!("{served} requests, none failed");
        served
    }
}

/// One request.
pub fn visit(address: SocketAddr, host: &str) -> Result<(), String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(|error| format!("connecting: {error}"))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|error| format!("asking: {error}"))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|error| format!("reading: {error}"))?;
    if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(format!("the answer was {answer:?}")) }
}

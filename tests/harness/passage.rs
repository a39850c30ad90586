//! An HTTP proxy that leads every `CONNECT` to one address: programs resolve no names and still say them in the handshake.

use std::io::{BufRead, BufReader, Write, copy};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

/// The proxy; its threads end with the test's process.
pub struct Passage {
    address: SocketAddr,
}

impl Passage {
    /// A passage to `target`.
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || lead(stream, target));
            }
        });
        Self { address }
    }

    /// For `HTTPS_PROXY`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn lead(mut client: TcpStream, target: SocketAddr) -> Option<()> {
    let mut head = BufReader::new(client.try_clone().ok()?);
    let mut line = String::new();
    while head.read_line(&mut line).ok()? > 2 {
        line.clear();
    }
    let server = TcpStream::connect(target).ok()?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
    let (mut up, mut down) = (server.try_clone().ok()?, client.try_clone().ok()?);
    std::thread::spawn(move || {
        // A side that is done says so to the other.
        let _ = copy(&mut head, &mut up);
        let _ = up.shutdown(Shutdown::Write);
    });
    let mut server = server;
    let _ = copy(&mut server, &mut down);
    let _ = client.shutdown(Shutdown::Write);
    Some(())
}

//! Visitors whom a load balancer announces: before a connection's own bytes it says, by the PROXY protocol (versions 1
//! and 2), where the visitor is.
//!
//! Guaranteed: whoever is not named as an announcer is never believed, and an announcer who says nothing is not served:
//! an address is either known or the connection ends. Not a byte of the visitor's own is taken.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use ppp::{HeaderResult, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// For the announcement, from the connection's first byte on.
const PATIENCE: Duration = Duration::from_secs(5);
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of a version 1 line, its end included.
const LONGEST_LINE: usize = 107;
/// Bytes after a version 2 head: addresses, and what load balancers like to add.
const LONGEST_REST: usize = 4096;

/// Who announces visitors.
#[derive(Debug, Clone, Default)]
pub struct Announced(Arc<[IpNet]>);

impl Announced {
    /// Every connection from these begins with an announcement, all others have none.
    pub fn by(networks: &[IpNet]) -> Self {
        Self(networks.into())
    }

    /// Where the visitor is, of a connection that has just been accepted from `peer`. An error ends the connection.
    pub async fn visitor<S: AsyncRead + Unpin>(&self, stream: &mut S, peer: SocketAddr) -> io::Result<SocketAddr> {
        let announces = |network: &IpNet| network.contains(&peer.ip().to_canonical());
        if !self.0.iter().any(announces) {
            return Ok(peer);
        }
        let read = tokio::time::timeout(PATIENCE, read(stream)).await;
        let bytes = read.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let told = bytes.and_then(|bytes| parse(&bytes));
        told.map(|visitor| visitor.unwrap_or(peer)).inspect_err(|error| {
            tracing::info!(peer.address = %peer, %error, "a connection without a proper PROXY announcement was closed");
        })
    }
}

/// Exactly the announcement.
async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Vec<u8>> {
    // The shortest line of version 1 is longer than that.
    let mut bytes = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut bytes).await?;
    if bytes == SIGNATURE {
        let mut head = [0; 4];
        stream.read_exact(&mut head).await?;
        let rest = usize::from(u16::from_be_bytes([head[2], head[3]]));
        if rest > LONGEST_REST {
            return Err(nonsense("it is too long"));
        }
        bytes.extend_from_slice(&head);
        bytes.resize(bytes.len() + rest, 0);
        let whole = bytes.len();
        stream.read_exact(&mut bytes[whole - rest..]).await?;
    } else if bytes.starts_with(b"PROXY ") {
        // One by one: what comes after the line's end is the visitor's.
        while bytes.last() != Some(&b'\n') && bytes.len() < LONGEST_LINE {
            bytes.push(stream.read_u8().await?);
        }
    } else {
        return Err(nonsense("there is none"));
    }
    Ok(bytes)
}

/// The announced address; `None` when the announcer speaks for itself, as in its health checks.
fn parse(bytes: &[u8]) -> io::Result<Option<SocketAddr>> {
    match HeaderResult::parse(bytes) {
        HeaderResult::V1(line) => match line.map_err(nonsense)?.addresses {
            v1::Addresses::Unknown => Ok(None),
            v1::Addresses::Tcp4(four) => Ok(Some((four.source_address, four.source_port).into())),
            v1::Addresses::Tcp6(six) => Ok(Some((six.source_address, six.source_port).into())),
        },
        HeaderResult::V2(head) => {
            let head = head.map_err(nonsense)?;
            match (head.command, head.addresses) {
                (v2::Command::Local, _) => Ok(None),
                (_, v2::Addresses::IPv4(four)) => Ok(Some((four.source_address, four.source_port).into())),
                (_, v2::Addresses::IPv6(six)) => Ok(Some((six.source_address, six.source_port).into())),
                (_, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => Ok(None),
            }
        }
    }
}

fn nonsense(why: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is made of these bytes from a load balancer, and what is left for the visitor's own conversation.
    async fn heard(bytes: &[u8]) -> (Result<String, io::ErrorKind>, Vec<u8>) {
        let announced = Announced::by(&["10.0.0.0/8".parse().unwrap()]);
        let mut stream = bytes;
        let visitor = announced.visitor(&mut stream, "[::ffff:10.0.0.7]:5".parse().unwrap()).await;
        (visitor.map(|address| address.to_string()).map_err(|error| error.kind()), stream.to_vec())
    }

    fn second(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend((rest.len() as u16).to_be_bytes());
        bytes.extend(rest);
        bytes.extend(b"GET /");
        bytes
    }

    #[tokio::test]
    async fn visitors_are_where_their_announcer_says() {
        let four = [192, 0, 2, 1, 192, 0, 2, 9, 0x1f, 0x90, 0, 80];
        let with_more = [&four[..], &[0x04, 0, 1, 0]].concat();
        let six = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1], &[0; 16], &[0, 7, 0, 80]].concat();
        for (bytes, wanted) in [
            (b"PROXY TCP4 192.0.2.1 192.0.2.9 8080 80\r\nGET /".to_vec(), "192.0.2.1:8080"),
            (b"PROXY TCP6 2001:db8::1 ::1 7 80\r\nGET /".to_vec(), "[2001:db8::1]:7"),
            (b"PROXY UNKNOWN\r\nGET /".to_vec(), "[::ffff:10.0.0.7]:5"),
            (second(0x21, 0x11, &four), "192.0.2.1:8080"),
            (second(0x21, 0x11, &with_more), "192.0.2.1:8080"),
            (second(0x21, 0x21, &six), "[2001:db8::1]:7"),
            (second(0x20, 0x11, &four), "[::ffff:10.0.0.7]:5"),
            (second(0x20, 0, &[]), "[::ffff:10.0.0.7]:5"),
        ] {
            let (visitor, left) = heard(&bytes).await;
            assert_eq!((visitor.as_deref(), &left[..]), (Ok(wanted), &b"GET /"[..]), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn an_announcer_who_says_nothing_is_not_served() {
        let endless = second(0x21, 0x11, &[0; 5000]);
        let short = second(0x21, 0x11, &[1; 4]);
        for bytes in [
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"PROXY TCP4 192.0.2.1",
            b"PROXY TCP4 nowhere 192.0.2.9 1 80\r\n",
            b"PROXY TCP5 192.0.2.1 192.0.2.9 1 80\r\n",
            &[b"PROXY ", &[b'x'; 200][..]].concat(),
            b"",
            &endless,
            &short,
            &second(0x31, 0x11, &[0; 12]),
        ] {
            assert!(heard(bytes).await.0.is_err(), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn nobody_else_is_believed() {
        let announced = Announced::by(&["10.0.0.0/8".parse().unwrap()]);
        let (mut stream, peer) = (&b"PROXY TCP4 192.0.2.1 192.0.2.9 8080 80\r\n"[..], "127.0.0.1:9".parse().unwrap());
        assert_eq!(announced.visitor(&mut stream, peer).await.unwrap(), peer);
        assert!(stream.starts_with(b"PROXY"), "it is the visitor's own, and no HTTP");
    }
}

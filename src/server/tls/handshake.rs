//! From an accepted connection to a decrypted stream, bounded in time and in number.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::challenges::ACME_TLS;
use super::{Tls, TlsError, resolver};

/// For a handshake, from the first byte to the last.
const PATIENCE: Duration = Duration::from_secs(10);
/// Handshakes at a time; more wait their turn with the clock running.
const AT_ONCE: usize = 512;

/// Shakes hands; cheap to clone, one for every listener that shares the bounds.
#[derive(Clone)]
pub struct Handshakes {
    acceptor: TlsAcceptor,
    turns: Arc<Semaphore>,
}

/// A handshake that has come to its end.
pub struct Shaken {
    /// What the visitor says and reads.
    pub stream: TlsStream<TcpStream>,
    /// The host they asked for, lower case.
    pub host: String,
    /// Whether HTTP/2 was agreed on.
    pub h2: bool,
}

impl Tls {
    /// Handshakes with the certificates there are at each moment.
    pub fn handshakes(&self) -> Result<Handshakes, TlsError> {
        let acceptor = TlsAcceptor::from(resolver::server_config(Arc::clone(&self.0))?);
        Ok(Handshakes { acceptor, turns: Arc::new(Semaphore::new(AT_ONCE)) })
    }
}

impl Handshakes {
    /// `None` ends the connection: it failed, or a CA has seen what it came for.
    pub async fn shake(&self, stream: TcpStream, peer: SocketAddr) -> Option<Shaken> {
        let handshake = async {
            let _turn = self.turns.acquire().await.ok()?;
            match self.acceptor.accept(stream).await {
                Ok(stream) => Some(stream),
                Err(error) => {
                    tracing::debug!(client.address = %peer, %error, "a TLS handshake failed");
                    None
                }
            }
        };
        let stream = tokio::time::timeout(PATIENCE, handshake).await.ok()??;
        let (_, session) = stream.get_ref();
        let protocol = session.alpn_protocol();
        if protocol == Some(ACME_TLS) {
            return None;
        }
        let h2 = protocol == Some(b"h2");
        let host = session.server_name().unwrap_or_default().to_ascii_lowercase();
        Some(Shaken { stream, host, h2 })
    }
}

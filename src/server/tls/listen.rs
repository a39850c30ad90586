//! Accepting visitors over TLS. A handshake is bounded in time and in number; the decrypted stream goes to whoever
//! serves the host, who knows nothing of TLS.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::future::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::challenges::ACME_TLS;
use super::{Tls, TlsError};

/// For a handshake, from the first byte to the last.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at a time; more wait their turn with the clock running.
const HANDSHAKES: usize = 512;
/// How long to wait when the machine is out of file descriptors.
const OUT_OF_FILES: Duration = Duration::from_millis(50);

/// A visitor, decrypted.
pub struct Secured<P> {
    /// What they say and read.
    pub stream: TlsStream<TcpStream>,
    /// Where they are.
    pub peer: SocketAddr,
    /// The host they asked for in the handshake, lower case.
    pub host: String,
    /// Whether they speak HTTP/2.
    pub h2: bool,
    /// Their place among the visitors there may be.
    pub place: P,
}

/// Who serves visitors once they are decrypted.
pub trait Serves: Send + Sync + 'static {
    /// A place among the visitors there may be; freed when dropped.
    type Place: Send + 'static;
    /// Waits for a place; `None` when there will be none any more.
    fn place(&self) -> impl Future<Output = Option<Self::Place>> + Send;
    /// Serves one to the end. After `stopping` every answer is the last.
    fn serve(&self, visitor: Secured<Self::Place>, stopping: CancellationToken) -> impl Future<Output = ()> + Send;
}

impl Tls {
    /// Serves TLS until `shutdown`, then lets those who were accepted finish; for how long is the server's to say.
    pub fn serve<S: Serves>(
        &self,
        listener: TcpListener,
        serves: S,
        shutdown: CancellationToken,
    ) -> Result<JoinHandle<()>, TlsError> {
        let acceptor = TlsAcceptor::from(super::resolver::server_config(Arc::clone(&self.0))?);
        let door = Door { acceptor, serves, handshakes: Semaphore::new(HANDSHAKES), shutdown };
        Ok(tokio::spawn(accept(listener, Arc::new(door))))
    }
}

struct Door<S> {
    acceptor: TlsAcceptor,
    serves: S,
    handshakes: Semaphore,
    shutdown: CancellationToken,
}

async fn accept<S: Serves>(listener: TcpListener, door: Arc<Door<S>>) {
    let visitors = TaskTracker::new();
    loop {
        let Some(Some(place)) = door.serves.place().with_cancellation_token(&door.shutdown).await else { break };
        match listener.accept().with_cancellation_token(&door.shutdown).await {
            Some(accepted) => admit(accepted, place, &door, &visitors).await,
            None => break,
        }
    }
    // Whom the kernel has queued was let in.
    while let Some(accepted) = futures_util::FutureExt::now_or_never(listener.accept()) {
        let Some(Some(place)) = futures_util::FutureExt::now_or_never(door.serves.place()) else { break };
        admit(accepted, place, &door, &visitors).await;
    }
    drop(listener);
    visitors.close();
    visitors.wait().await;
}

async fn admit<S: Serves>(
    accepted: std::io::Result<(TcpStream, SocketAddr)>,
    place: S::Place,
    door: &Arc<Door<S>>,
    visitors: &TaskTracker,
) {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset};
    match accepted {
        Ok((stream, peer)) => {
            let door = Arc::clone(door);
            visitors.spawn(async move { visit(stream, peer, place, &door).await });
        }
        Err(error) if matches!(error.kind(), ConnectionAborted | ConnectionReset) => {}
        Err(error) => {
            tracing::warn!(%error, "could not accept a connection over TLS");
            tokio::time::sleep(OUT_OF_FILES).await;
        }
    }
}

async fn visit<S: Serves>(stream: TcpStream, peer: SocketAddr, place: S::Place, door: &Door<S>) {
    // Refused only by a socket that is gone already.
    let _ = stream.set_nodelay(true);
    let handshake = async {
        let _turn = door.handshakes.acquire().await.ok()?;
        match door.acceptor.accept(stream).await {
            Ok(stream) => Some(stream),
            Err(error) => {
                tracing::debug!(client.address = %peer, %error, "a TLS handshake failed");
                None
            }
        }
    };
    let Ok(Some(stream)) = tokio::time::timeout(HANDSHAKE, handshake).await else { return };
    let (_, session) = stream.get_ref();
    let protocol = session.alpn_protocol();
    if protocol == Some(ACME_TLS) {
        // The CA has seen what it came for.
        return;
    }
    let h2 = protocol == Some(b"h2");
    let host = session.server_name().unwrap_or_default().to_ascii_lowercase();
    door.serves.serve(Secured { stream, peer, host, h2, place }, door.shutdown.child_token()).await;
}

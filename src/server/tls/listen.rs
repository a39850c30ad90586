//! Accepting visitors over TLS. The decrypted stream goes to whoever serves the host, who knows nothing of TLS.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::server::TlsStream;
use tokio_util::future::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::handshake::{Handshakes, Shaken};
use super::{Tls, TlsError};
use crate::server::announced::Announced;

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
        announced: Announced,
        shutdown: CancellationToken,
    ) -> Result<JoinHandle<()>, TlsError> {
        let door = Door { handshakes: self.handshakes()?, serves, announced, shutdown };
        Ok(tokio::spawn(accept(listener, Arc::new(door))))
    }
}

struct Door<S> {
    handshakes: Handshakes,
    serves: S,
    announced: Announced,
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

async fn visit<S: Serves>(mut stream: TcpStream, peer: SocketAddr, place: S::Place, door: &Door<S>) {
    // Refused only by a socket that is gone already.
    let _ = stream.set_nodelay(true);
    // Why there is none has been said.
    let Ok(peer) = door.announced.visitor(&mut stream, peer).await else { return };
    let Some(Shaken { stream, host, h2 }) = door.handshakes.shake(stream, peer).await else { return };
    door.serves.serve(Secured { stream, peer, host, h2, place }, door.shutdown.child_token()).await;
}

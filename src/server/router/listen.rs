//! Accepting clients, serving each, and ending well.
//!
//! Ending: what the kernel has queued is still accepted, every answer from then on says `Connection: close`, idle
//! connections get [`LINGER`] to make use of that (a client may be sending just now), requests in flight get the drain
//! timeout. So nobody who was let in loses a request, unless it outlasts the drain.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::future::FutureExt as _;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::forwarded::Peer;
use super::lane::{Lane, Outcome};
use super::patience::{Activity, Limits, Watchdog, Watched};
use super::prefixed::Prefixed;
use super::proxy;

/// How long an idle connection may still bring a request after shutdown was asked for.
const LINGER: Duration = Duration::from_millis(500);
/// How long to wait when the machine is out of file descriptors.
const OUT_OF_FILES: Duration = Duration::from_millis(50);

/// One client connection, shared by its requests.
pub(super) struct Client {
    pub shared: Arc<Shared>,
    pub peer: Peer,
    pub activity: Arc<Activity>,
    /// Set when every answer shall be the connection's last.
    pub closing: AtomicBool,
    /// Its place among the connections there may be; a tunnel keeps it.
    pub(super) _permit: OwnedSemaphorePermit,
}

/// Serves until `shutdown`, then drains.
pub(super) async fn serve(shared: Arc<Shared>, listener: TcpListener, shutdown: CancellationToken) {
    let mut full = Full::default();
    loop {
        full.tell(&shared);
        let permit = Arc::clone(&shared.connections).acquire_owned();
        let Some(Ok(permit)) = permit.with_cancellation_token(&shutdown).await else { break };
        match listener.accept().with_cancellation_token(&shutdown).await {
            Some(accepted) => admit(&shared, accepted, permit, &shutdown).await,
            None => break,
        }
    }
    while let Some(accepted) = futures_util::FutureExt::now_or_never(listener.accept()) {
        let Ok(permit) = Arc::clone(&shared.connections).try_acquire_owned() else { break };
        admit(&shared, accepted, permit, &shutdown).await;
    }
    drop(listener);
    drain(&shared).await;
}

/// Says that there are as many connections as allowed, at most once a minute.
#[derive(Default)]
struct Full(Option<Instant>);

impl Full {
    fn tell(&mut self, shared: &Shared) {
        let recently = self.0.is_some_and(|told| told.elapsed() < Duration::from_secs(60));
        if shared.connections.available_permits() == 0 && !recently {
            let most = shared.config.max_connections;
            tracing::warn!(most, "as many client connections as allowed are open; more wait until one closes");
            self.0 = Some(Instant::now());
        }
    }
}

async fn drain(shared: &Shared) {
    let limit = shared.config.drain_timeout;
    shared.tasks.close();
    if tokio::time::timeout(limit, shared.tasks.wait()).await.is_err() {
        let connections = shared.tasks.len();
        tracing::warn!(connections, "cut off connections that were still busy {limit:?} after shutdown was asked for");
    }
    shared.abort.cancel();
    shared.tasks.wait().await;
}

async fn admit(
    shared: &Arc<Shared>,
    accepted: std::io::Result<(TcpStream, SocketAddr)>,
    permit: OwnedSemaphorePermit,
    shutdown: &CancellationToken,
) {
    let (mut stream, address) = match accepted {
        Ok(accepted) => accepted,
        Err(error) if is_about_the_client(&error) => return,
        Err(error) => {
            tracing::warn!(%error, "could not accept a connection");
            return tokio::time::sleep(OUT_OF_FILES).await;
        }
    };
    // Refused only by a socket that is gone already.
    let _ = stream.set_nodelay(true);
    let (known, stopping) = (Arc::clone(shared), shutdown.child_token());
    shared.tasks.spawn(async move {
        // Why there is none has been said.
        let Ok(address) = known.config.announced.visitor(&mut stream, address).await else { return };
        let client = Arc::new(Client {
            peer: Peer::new(address.ip(), false, &known.config.trusted_proxies),
            activity: Arc::new(Activity::new()),
            closing: AtomicBool::new(stopping.is_cancelled()),
            shared: known,
            _permit: permit,
        });
        serve_client(client, stream, stopping).await;
    });
}

fn is_about_the_client(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Serves one client over any stream: in the lane for as long as its requests are ordinary, then by hyper.
pub(super) async fn serve_client<S>(client: Arc<Client>, stream: S, stopping: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut lane = Lane::new(Arc::clone(&client), Watched::new(stream, Arc::clone(&client.activity)));
    if let Some(Outcome::HandOver) = in_lane(&client, &mut lane, &stopping).await {
        let (stream, read) = lane.into_parts();
        // Apart, so that a connection in the lane does not keep room for what hyper may need.
        Box::pin(serve_any(client, Prefixed::new(read, stream), stopping)).await;
    }
}

/// `None`: the client was given up.
async fn in_lane<S>(client: &Client, lane: &mut Lane<S>, stopping: &CancellationToken) -> Option<Outcome>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let watchdog = Watchdog::new(Arc::clone(&client.activity), Limits::of(&client.shared.config));
    let mut running = pin!(lane.run());
    tokio::select! {
        biased;
        outcome = running.as_mut() => return Some(outcome),
        () = watchdog => return None,
        () = stopping.cancelled() => client.closing.store(true, Relaxed),
    }
    let abort = client.shared.abort.child_token();
    tokio::select! {
        biased;
        outcome = running => Some(outcome),
        () = abort.cancelled() => None,
    }
}

/// Serves one client, whatever it asks for.
async fn serve_any<S>(client: Arc<Client>, stream: Prefixed<Watched<S>>, stopping: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let config = &client.shared.config;
    let watchdog = Watchdog::new(Arc::clone(&client.activity), Limits::of(config));
    let service = service_fn(|request| proxy::answer(Arc::clone(&client), request));
    let connection = http1::Builder::new()
        .max_headers(config.max_headers)
        .max_buf_size(config.max_head_bytes.max(8192))
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        ended = connection.as_mut() => return told(ended),
        () = watchdog => return,
        () = stopping.cancelled() => client.closing.store(true, Relaxed),
    }
    let abort = client.shared.abort.child_token();
    tokio::select! {
        biased;
        ended = connection.as_mut() => return told(ended),
        () = abort.cancelled() => return,
        () = tokio::time::sleep(LINGER) => connection.as_mut().graceful_shutdown(),
    }
    if !client.activity.was_used() {
        return;
    }
    tokio::select! {
        ended = connection => told(ended),
        () = abort.cancelled() => {}
    }
}

pub(super) fn told(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "a client connection ended early");
    }
}

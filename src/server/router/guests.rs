//! Visitors who come through another listener (TLS): decrypted there, served here.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::forwarded::Peer;
use super::listen::{Client, serve_client, told};
use super::patience::{Activity, Limits, Watchdog};
use super::{Router, proxy};

/// Requests that one HTTP/2 connection may have under way.
const STREAMS: u32 = 128;
/// A silent HTTP/2 connection is asked whether anybody is there.
const PING: Duration = Duration::from_secs(60);

/// A place among the connections there may be. The router's end waits for whoever holds one.
pub struct Place {
    permit: OwnedSemaphorePermit,
    counted: TaskTrackerToken,
}

/// A visitor over TLS.
pub struct Guest<S> {
    /// What they say, decrypted.
    pub stream: S,
    /// Where they are.
    pub address: IpAddr,
    /// Whether they speak HTTP/2.
    pub h2: bool,
    /// From [`Router::place`].
    pub place: Place,
}

impl Router {
    /// Waits for a place.
    pub async fn place(&self) -> Option<Place> {
        let permit = Arc::clone(&self.0.connections).acquire_owned().await.ok()?;
        Some(Place { permit, counted: self.0.tasks.token() })
    }

    /// Serves a visitor over TLS to the end. After `stopping` every answer is the connection's last.
    pub async fn serve_guest<S>(&self, guest: Guest<S>, stopping: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Place { permit, counted } = guest.place;
        let _counted = counted;
        let client = Arc::new(Client {
            peer: Peer::new(guest.address, true, &self.0.config.trusted_proxies),
            activity: Arc::new(Activity::new()),
            closing: AtomicBool::new(stopping.is_cancelled()),
            shared: Arc::clone(&self.0),
            _permit: permit,
        });
        if guest.h2 {
            serve_h2(client, guest.stream, stopping).await;
        } else {
            serve_client(client, guest.stream, stopping).await;
        }
    }
}

/// One connection, many requests at a time; each has its own stream and its own flow control.
async fn serve_h2<S>(client: Arc<Client>, stream: S, stopping: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let config = &client.shared.config;
    let limits = Limits::of(config);
    let watchdog = Watchdog::new(Arc::clone(&client.activity), limits);
    let service = service_fn(|request| proxy::answer(Arc::clone(&client), request));
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(config.max_head_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(PING)
        .enable_connect_protocol()
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        ended = connection.as_mut() => return told(ended),
        () = watchdog => {}
        () = stopping.cancelled() => {}
    }
    // GOAWAY: requests under way are answered, new ones go to another connection.
    connection.as_mut().graceful_shutdown();
    let abort = client.shared.abort.child_token();
    tokio::select! {
        ended = connection => told(ended),
        () = abort.cancelled() => {}
    }
}

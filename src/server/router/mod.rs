//! What visitors meet: host → app → one of its ready replicas.
//!
//! Invariants: a request reads one immutable [`snapshot`](snapshot::Snapshot) and takes no lock but the short one of a
//! backend's own pool; a swapped-out backend gets no new request, and [`Inflight::draining`] says when its last one has
//! ended; no body is ever held whole. Reading order: [`listen`] accepts, [`proxy`] answers one request, [`upstream`]
//! keeps connections, [`link`] and [`bodies`] move the bytes; [`lane`] does all that for ordinary requests by itself.
//!
//! Visitors over TLS come in decrypted ([`guests`]); what concerns certificates is asked of a [`Portal`].
//!
//! Apps are spoken to in HTTP/1.1, or by their rule in HTTP/2; WebSockets always in the former ([`switch`]).
//!
//! Deliberately absent: HTTP/2 without TLS from visitors. Listeners of any kind end in [`listen`]'s `serve_client`, which is generic over
//! the stream.

mod affinity;
mod bodies;
mod forward;
mod forwarded;
mod guests;
mod headers;
mod host;
mod inflight;
mod journal;
mod lane;
mod link;
mod listen;
mod pages;
mod patience;
mod portal;
mod prefixed;
mod proxy;
mod snapshot;
mod switch;
mod table;
mod traffic;
mod tunnel;
mod upstream;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::announced::Announced;
use super::domain::RouteTable;
pub use guests::{Guest, Place};
pub use inflight::Inflight;
pub use journal::Journal;
pub use portal::Portal;
use snapshot::Published;
pub use table::{serving, table};
pub use traffic::{BOUNDS, Counts, Traffic};

/// How the router treats clients and backends.
#[derive(Debug, Clone)]
pub struct RouterConfig {
    /// Proxies in front of us whose `X-Forwarded-*` headers are believed; everybody else's are replaced.
    pub trusted_proxies: Vec<IpNet>,
    /// Load balancers that say by the PROXY protocol where a visitor is.
    pub announced: Announced,
    /// Client connections at a time, WebSockets included; more wait in the kernel's queue.
    pub max_connections: usize,
    /// Header lines in a request; more are answered 431.
    pub max_headers: usize,
    /// Bytes of a request's head; more are answered 431. At least 8 KiB.
    pub max_head_bytes: usize,
    /// From the first byte of a request (or from the connection's start) to the end of its head.
    pub header_timeout: Duration,
    /// How long a client's connection may wait between two requests.
    pub keep_alive_timeout: Duration,
    /// How long a client may neither send nor take a byte of a body that is due.
    pub body_timeout: Duration,
    /// How long a backend may take to accept a connection.
    pub connect_timeout: Duration,
    /// From a request's sending to the head of its answer; `None` waits for ever.
    pub response_timeout: Option<Duration>,
    /// How long a WebSocket (or other upgraded connection) may be silent both ways; `None`: for ever.
    pub tunnel_idle_timeout: Option<Duration>,
    /// How long requests in flight may go on after shutdown was asked for.
    pub drain_timeout: Duration,
    /// Idle connections kept to each backend.
    pub backend_idle_connections: usize,
    /// How long one is kept: below the 60 s after which Cowboy and Bandit close it themselves.
    pub backend_idle_timeout: Duration,
}

impl Default for RouterConfig {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            announced: Announced::default(),
            max_connections: 10_000,
            max_headers: 100,
            max_head_bytes: 64 * 1024,
            header_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(2),
            response_timeout: None,
            tunnel_idle_timeout: None,
            drain_timeout: Duration::from_secs(25),
            backend_idle_connections: 256,
            backend_idle_timeout: Duration::from_secs(50),
        }
    }
}

/// Whom the router asks and tells.
#[derive(Clone, Default)]
pub struct Neighbours {
    /// Who keeps the certificates.
    pub portal: Option<Arc<dyn Portal>>,
    /// Who keeps the access logs.
    pub journal: Option<Arc<dyn Journal>>,
}

/// The router: one set of routes and pools, any number of listeners.
#[derive(Clone)]
pub struct Router(Arc<Shared>);

/// What all connections share.
struct Shared {
    config: RouterConfig,
    published: Arc<Published>,
    portal: Option<Arc<dyn Portal>>,
    journal: Option<Arc<dyn Journal>>,
    /// Every client connection and tunnel, so that shutdown can wait for them.
    tasks: TaskTracker,
    /// One permit per client connection; a tunnel keeps its client's.
    connections: Arc<Semaphore>,
    /// Fires when patience with the last requests is over.
    abort: CancellationToken,
    _keeper: DropGuard,
}

impl Router {
    /// A router over `table`. It follows the table's changes for as long as it lives.
    pub fn new(config: RouterConfig, table: watch::Receiver<Arc<RouteTable>>) -> Self {
        Self::between(Neighbours::default(), config, table)
    }

    /// The same, with neighbours.
    pub fn between(neighbours: Neighbours, config: RouterConfig, table: watch::Receiver<Arc<RouteTable>>) -> Self {
        let published = Arc::new(Published::new(table.clone()));
        let abort = CancellationToken::new();
        snapshot::spawn_keeper(Arc::clone(&published), table, config.backend_idle_timeout, abort.clone());
        let shared = Shared {
            connections: Arc::new(Semaphore::new(config.max_connections)),
            published,
            portal: neighbours.portal,
            journal: neighbours.journal,
            tasks: TaskTracker::new(),
            _keeper: abort.clone().drop_guard(),
            abort,
            config,
        };
        Self(Arc::new(shared))
    }

    /// What the deployer asks before it stops a replica.
    pub fn inflight(&self) -> Inflight {
        Inflight::new(Arc::clone(&self.0.published))
    }

    /// What passes, in numbers.
    pub fn traffic(&self) -> Traffic {
        Traffic(Arc::clone(&self.0.published))
    }

    /// Serves plain HTTP/1.1. After `shutdown` nothing new is accepted, requests in flight are finished (for at most
    /// `drain_timeout`), and then the task ends; whatever still runs is cut off.
    pub fn serve(&self, listener: TcpListener, shutdown: CancellationToken) -> JoinHandle<()> {
        // The first visitor may come before the table's keeper had its first turn.
        self.0.published.refresh();
        tokio::spawn(listen::serve(Arc::clone(&self.0), listener, shutdown))
    }

    /// A router with one listener.
    pub fn start(
        listener: TcpListener,
        config: RouterConfig,
        table: watch::Receiver<Arc<RouteTable>>,
        shutdown: CancellationToken,
    ) -> (Inflight, JoinHandle<()>) {
        let router = Self::new(config, table);
        (router.inflight(), router.serve(listener, shutdown))
    }
}

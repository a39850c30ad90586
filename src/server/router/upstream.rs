//! One backend: its load and the idle connections to it.
//!
//! The newest idle connection is used first, so that a pool shrinks when it can. Before use each is polled once, which
//! shows whether the app has closed it meanwhile.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use http::Version;

use super::affinity::Tag;
use super::inflight::Load;
use super::lane::Wire;
use super::link::Link;
use crate::server::domain::Backend;

/// One backend of the table.
#[derive(Debug)]
pub(super) struct Upstream {
    backend: Backend,
    tag: Tag,
    load: Load,
    /// hyper's connections, those over HTTP/2, and the lane's.
    links: Pool<Link>,
    links2: Pool<Link>,
    wires: Pool<Wire>,
}

impl Upstream {
    pub(super) fn new(backend: Backend) -> Self {
        let tag = Tag::of(&backend.name);
        let (links, links2, wires) = Default::default();
        Self { backend, tag, load: Load::default(), links, links2, wires }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.backend.address
    }

    pub(super) fn name(&self) -> &str {
        &self.backend.name
    }

    /// Its name in browsers' cookies.
    pub(super) fn tag(&self) -> Tag {
        self.tag
    }

    pub(super) fn load(&self) -> &Load {
        &self.load
    }

    fn links(&self, version: Version) -> &Pool<Link> {
        if version == Version::HTTP_2 { &self.links2 } else { &self.links }
    }

    /// A living connection for this version that has not been idle for longer than `limit`.
    pub(super) async fn take_idle(&self, version: Version, limit: Duration) -> Option<Link> {
        loop {
            let (since, mut link) = self.links(version).pop(limit)?;
            let alive = poll_fn(|context| {
                link.drive(context);
                Poll::Ready(link.is_ready())
            });
            if alive.await && since.elapsed() <= limit {
                return Some(link);
            }
        }
    }

    /// The same for the lane.
    pub(super) fn take_wire(&self, limit: Duration) -> Option<Wire> {
        loop {
            let (_, wire) = self.wires.pop(limit)?;
            if wire.is_quiet() {
                return Some(wire);
            }
        }
    }

    /// Keeps a connection for the next request, unless there are `most` already or the backend is out of the table.
    pub(super) fn give_back(&self, link: Link, most: usize) {
        self.links(link.version()).push(link, most, &self.load);
    }

    /// The same for the lane.
    pub(super) fn give_wire_back(&self, wire: Wire, most: usize) {
        self.wires.push(wire, most, &self.load);
    }

    pub(super) fn close_idle(&self) {
        self.links.close();
        self.links2.close();
        self.wires.close();
    }

    pub(super) fn close_idle_since(&self, limit: Duration) {
        self.links.close_since(limit);
        self.links2.close_since(limit);
        self.wires.close_since(limit);
    }
}

/// Idle connections, and since when each is.
#[derive(Debug)]
struct Pool<C>(Mutex<Vec<(Instant, C)>>);

impl<C> Default for Pool<C> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<C> Pool<C> {
    fn pop(&self, limit: Duration) -> Option<(Instant, C)> {
        self.lock().pop_if(|(since, _)| since.elapsed() <= limit)
    }

    fn push(&self, connection: C, most: usize, load: &Load) {
        let mut pool = self.lock();
        // Looked at under the lock: whoever retires a backend closes what is here afterwards.
        if pool.len() < most && !load.is_retired() {
            pool.push((Instant::now(), connection));
        }
    }

    fn close(&self) {
        let closed = std::mem::take(&mut *self.lock());
        drop(closed);
    }

    fn close_since(&self, limit: Duration) {
        let mut pool = self.lock();
        // Oldest first: the tail is where connections come and go.
        let young = pool.partition_point(|(since, _)| since.elapsed() > limit);
        let closed: Vec<_> = pool.drain(..young).collect();
        drop(pool);
        drop(closed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Instant, C)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

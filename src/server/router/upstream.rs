//! One backend: its load and the idle connections to it.
//!
//! The newest idle connection is used first, so that a pool shrinks when it can. Before use each is polled once, which
//! shows whether the app has closed it meanwhile.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::inflight::Load;
use super::link::Link;
use crate::server::domain::Backend;

/// One backend of the table.
#[derive(Debug)]
pub(super) struct Upstream {
    backend: Backend,
    load: Load,
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    since: Instant,
    link: Link,
}

impl Upstream {
    pub(super) fn new(backend: Backend) -> Self {
        Self { backend, load: Load::default(), idle: Mutex::default() }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.backend.address
    }

    pub(super) fn name(&self) -> &str {
        &self.backend.name
    }

    pub(super) fn load(&self) -> &Load {
        &self.load
    }

    /// A living connection that has not been idle for longer than `limit`.
    pub(super) async fn take_idle(&self, limit: Duration) -> Option<Link> {
        loop {
            let Idle { since, mut link } = self.pop(limit)?;
            let alive = poll_fn(|context| {
                link.drive(context);
                Poll::Ready(link.is_ready())
            });
            if alive.await && since.elapsed() <= limit {
                return Some(link);
            }
        }
    }

    fn pop(&self, limit: Duration) -> Option<Idle> {
        self.pool().pop_if(|newest| newest.since.elapsed() <= limit)
    }

    /// Keeps a connection for the next request, unless there are `most` already or the backend is out of the table.
    pub(super) fn give_back(&self, link: Link, most: usize) {
        let mut pool = self.pool();
        if pool.len() < most && !self.load.is_retired() {
            pool.push(Idle { since: Instant::now(), link });
        }
    }

    pub(super) fn close_idle(&self) {
        let closed = std::mem::take(&mut *self.pool());
        drop(closed);
    }

    pub(super) fn close_idle_since(&self, limit: Duration) {
        let mut pool = self.pool();
        // Oldest first: the tail is where connections come and go.
        let young = pool.partition_point(|idle| idle.since.elapsed() > limit);
        let closed: Vec<_> = pool.drain(..young).collect();
        drop(pool);
        drop(closed);
    }

    fn pool(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

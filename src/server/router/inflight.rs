//! How many requests are on each backend, and when its last one has ended.
//!
//! A [`Lease`] is one request (or tunnel) in flight. A backend that has left the table is *retired*: it grants no new
//! lease. Leasing counts first and then looks whether the backend is retired, retiring marks first and then looks at
//! the count, so no request can slip past a drain.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use tokio::sync::Notify;

use super::snapshot::Published;
use super::upstream::Upstream;
use crate::server::domain::Backend;

/// The load of one backend.
#[derive(Debug, Default)]
pub(super) struct Load {
    requests: AtomicUsize,
    retired: AtomicBool,
    changed: Notify,
}

impl Load {
    pub(super) fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(SeqCst)
    }

    pub(super) fn is_drained(&self) -> bool {
        self.is_retired() && self.requests() == 0
    }

    /// Whether the backend is out of the table.
    pub(super) fn set_retired(&self, retired: bool) {
        self.retired.store(retired, SeqCst);
        self.changed.notify_waiters();
    }

    async fn drained(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.is_drained() {
                return;
            }
            changed.await;
        }
    }
}

/// One request in flight, until dropped.
#[derive(Debug)]
pub(super) struct Lease(Arc<Upstream>);

impl Lease {
    /// `None` when the backend is retired.
    pub(super) fn of(upstream: &Arc<Upstream>) -> Option<Self> {
        upstream.load().requests.fetch_add(1, SeqCst);
        let lease = Self(Arc::clone(upstream));
        (!upstream.load().is_retired()).then_some(lease)
    }
}

impl Deref for Lease {
    type Target = Arc<Upstream>;
    fn deref(&self) -> &Arc<Upstream> {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let load = self.0.load();
        if load.requests.fetch_sub(1, SeqCst) == 1 && load.is_retired() {
            load.changed.notify_waiters();
        }
    }
}

/// Tells the deployer when a replica may be stopped.
#[derive(Clone)]
pub struct Inflight {
    published: Arc<Published>,
}

impl Inflight {
    pub(super) fn new(published: Arc<Published>) -> Self {
        Self { published }
    }

    /// Requests and tunnels on this backend now.
    pub fn requests(&self, backend: &Backend) -> usize {
        self.published.upstream(backend).map_or(0, |upstream| upstream.load().requests())
    }

    /// Resolves when `backend` is out of the table and no request or tunnel of ours is on it any more. Publish the
    /// table without it first, then wait; a table sent before this is awaited is in force when it is awaited. A backend
    /// that never was in a table is drained at once. Waits without bound: the caller decides how long.
    pub fn draining(&self, backend: &Backend) -> impl Future<Output = ()> + Send + use<> {
        let (published, backend) = (Arc::clone(&self.published), backend.clone());
        async move {
            published.refresh();
            if let Some(upstream) = published.upstream(&backend) {
                upstream.load().drained().await;
            }
        }
    }
}

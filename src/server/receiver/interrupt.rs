//! The flag that gix looks at while it works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Raised when nobody waits for the work any more, or its time is up; as long as this lives.
#[derive(Debug)]
pub(super) struct Interrupt {
    flag: Arc<AtomicBool>,
    _watch: AbortOnDropHandle<()>,
}

impl Interrupt {
    /// Follows a token. To be called within the runtime, from blocking code too.
    pub(super) fn on(token: &CancellationToken) -> Self {
        Self::within(token, Duration::MAX)
    }

    /// Follows a token and a clock.
    pub(super) fn within(token: &CancellationToken, time: Duration) -> Self {
        let (flag, token) = (Arc::new(AtomicBool::new(token.is_cancelled())), token.clone());
        let raised = Arc::clone(&flag);
        let watch = tokio::spawn(async move {
            let _ = tokio::time::timeout(time, token.cancelled()).await;
            raised.store(true, Ordering::Relaxed);
        });
        Self { flag, _watch: AbortOnDropHandle::new(watch) }
    }

    /// For gix.
    pub(super) fn flag(&self) -> &AtomicBool {
        &self.flag
    }

    /// Whether it has been raised.
    pub(super) fn is_raised(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }
}

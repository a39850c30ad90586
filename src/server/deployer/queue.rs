//! Whose turn it is: one operation at a time per app, in the order of asking; several apps side by side. Both bounded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::server::domain::AppId;
use crate::server::progress::Progress;

use super::DeployError;

/// Operations of one app that may wait or run.
const WAITING: usize = 16;

/// The queues of all apps.
#[derive(Debug)]
pub(super) struct Queue {
    lanes: Mutex<HashMap<AppId, Lane>>,
    everywhere: Arc<Semaphore>,
}

#[derive(Debug, Clone)]
struct Lane {
    places: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

/// The right to change an app; dropping it lets the next one in.
#[derive(Debug)]
pub(super) struct Turn {
    _everywhere: OwnedSemaphorePermit,
    _turn: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

impl Queue {
    /// At most `parallel` apps are changed at a time.
    pub(super) fn new(parallel: usize) -> Self {
        Self { lanes: Mutex::default(), everywhere: Arc::new(Semaphore::new(parallel)) }
    }

    /// Waits for the app's turn; who watches `progress` is told that there is something to wait for, and may go.
    pub(super) async fn turn(&self, app: AppId, progress: &Progress) -> Result<Turn, DeployError> {
        let lane = self.lane(app);
        let place = lane.places.try_acquire_owned().map_err(|_| DeployError::Busy)?;
        if lane.turn.available_permits() == 0 {
            progress.line("Waiting for an earlier change of this app to finish.").await;
        }
        let permits = async {
            let turn = lane.turn.acquire_owned().await;
            (turn, self.everywhere.clone().acquire_owned().await)
        };
        let (turn, everywhere) = tokio::select! {
            permits = permits => permits,
            () = progress.cancelled().cancelled() => return Err(DeployError::Cancelled),
        };
        // The semaphores are never closed.
        let closed = |_| DeployError::Interrupted;
        Ok(Turn { _everywhere: everywhere.map_err(closed)?, _turn: turn.map_err(closed)?, _place: place })
    }

    /// Forgets the queue of an app that is no more.
    pub(super) fn forget(&self, app: AppId) {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).remove(&app);
    }

    fn lane(&self, app: AppId) -> Lane {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Lane { places: Arc::new(Semaphore::new(WAITING)), turn: Arc::new(Semaphore::new(1)) };
        lanes.entry(app).or_insert_with(new).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_per_app_and_a_bounded_number_wait() {
        let queue = Arc::new(Queue::new(4));
        let first = queue.turn(AppId(1), &Progress::silent()).await.unwrap();
        let other = queue.turn(AppId(2), &Progress::silent()).await;
        assert!(other.is_ok(), "another app has its own turn");

        let waiting: Vec<_> = (1..WAITING)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move { queue.turn(AppId(1), &Progress::silent()).await.map(drop) })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(waiting.iter().all(|task| !task.is_finished()));
        assert!(matches!(queue.turn(AppId(1), &Progress::silent()).await, Err(DeployError::Busy)));
        drop(first);
        for task in waiting {
            assert!(task.await.unwrap().is_ok());
        }
    }

    #[tokio::test]
    async fn who_waits_is_told_and_may_go() {
        let queue = Queue::new(4);
        let _first = queue.turn(AppId(1), &Progress::silent()).await.unwrap();
        let (progress, mut listener) = Progress::channel();
        let wait = queue.turn(AppId(1), &progress);
        let watch = async {
            let said = listener.output.recv().await.unwrap();
            drop(listener);
            said
        };
        let (outcome, said) = tokio::join!(wait, watch);
        assert!(said.starts_with(b"Waiting for"));
        assert!(matches!(outcome, Err(DeployError::Cancelled)));
    }
}

//! The generations of a runtime that makes its instances itself: one task and one inbox each, so that no two orders for a
//! generation can cross, while generations do not wait for each other.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use super::RuntimeError;
use crate::server::domain::{Workload, WorkloadId};

/// Orders that may wait in one inbox.
const WAITING: usize = 16;

/// What a generation is told.
pub(super) enum Order {
    /// Be like this.
    Apply(Box<Workload>, oneshot::Sender<Result<(), RuntimeError>>),
    /// Another instance in the place of this one.
    Replace(String, Duration, oneshot::Sender<Result<bool, RuntimeError>>),
    /// Be no more. The last order: who has obeyed it closes its inbox.
    Remove(Duration, oneshot::Sender<Result<(), RuntimeError>>),
}

/// All of one runtime.
pub(super) struct Generations {
    known: Mutex<HashMap<WorkloadId, Tasked>>,
    tasks: TaskTracker,
}

/// A generation's task, which ends with its handle.
struct Tasked {
    orders: mpsc::Sender<Order>,
    task: AbortHandle,
}

impl Drop for Tasked {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Generations {
    /// `tasks` holds whatever must have ended when [`Self::close`] returns.
    pub(super) fn new(tasks: TaskTracker) -> Self {
        Self { known: Mutex::default(), tasks }
    }

    /// Begins a generation: `obey` attends to its inbox until it is removed.
    pub(super) fn begin<F>(&self, id: &WorkloadId, obey: impl FnOnce(mpsc::Receiver<Order>) -> F) -> mpsc::Sender<Order>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.begin_in(&mut self.lock(), id, obey)
    }

    fn begin_in<F>(
        &self,
        known: &mut HashMap<WorkloadId, Tasked>,
        id: &WorkloadId,
        obey: impl FnOnce(mpsc::Receiver<Order>) -> F,
    ) -> mpsc::Sender<Order>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (orders, inbox) = mpsc::channel(WAITING);
        let task = self.tasks.spawn(obey(inbox)).abort_handle();
        known.insert(id.clone(), Tasked { orders: orders.clone(), task });
        orders
    }

    /// Tells a generation, which is begun if need be, to be like this.
    pub(super) async fn apply<F>(
        &self,
        workload: &Workload,
        obey: impl Fn(mpsc::Receiver<Order>) -> F,
    ) -> Result<(), RuntimeError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        loop {
            let (done, answer) = oneshot::channel();
            let order = Order::Apply(Box::new(workload.clone()), done);
            let inbox = {
                let mut known = self.lock();
                match known.get(&workload.id).filter(|known| !known.orders.is_closed()) {
                    Some(known) => known.orders.clone(),
                    None => self.begin_in(&mut known, &workload.id, &obey),
                }
            };
            // No answer: it was being removed when the order came. Then it is begun anew.
            if inbox.send(order).await.is_ok()
                && let Ok(answer) = answer.await
            {
                return answer;
            }
        }
    }

    /// Tells a generation to be no more; one that does not exist has obeyed already.
    pub(super) async fn remove(&self, id: &WorkloadId, grace: Duration) -> Result<(), RuntimeError> {
        let Some(orders) = self.inbox(id) else { return Ok(()) };
        let (done, answer) = oneshot::channel();
        let answered = orders.send(Order::Remove(grace, done)).await.is_ok();
        let result = if answered { answer.await.unwrap_or(Ok(())) } else { Ok(()) };
        let mut known = self.lock();
        if result.is_ok() && known.get(id).is_some_and(|known| known.orders.same_channel(&orders)) {
            known.remove(id);
        }
        result
    }

    /// Tells a generation to put another instance in the place of one.
    pub(super) async fn replace(&self, id: &WorkloadId, name: &str, grace: Duration) -> Result<bool, RuntimeError> {
        let Some(orders) = self.inbox(id) else { return Ok(false) };
        let (done, answer) = oneshot::channel();
        let answered = orders.send(Order::Replace(name.to_owned(), grace, done)).await.is_ok();
        // No answer: the generation was removed meanwhile, and the instance with it.
        if answered { answer.await.unwrap_or(Ok(false)) } else { Ok(false) }
    }

    /// Ends every task, not what they made run; returns when nothing of this server touches it any more.
    pub(super) async fn close(&self) {
        self.lock().clear();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn inbox(&self, id: &WorkloadId) -> Option<mpsc::Sender<Order>> {
        self.lock().get(id).map(|known| known.orders.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<WorkloadId, Tasked>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

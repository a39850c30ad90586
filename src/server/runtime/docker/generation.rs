//! One generation: a task that alone decides which replicas it has. Its wish is a file, so that a server that starts knows
//! what each container is for before anybody tells it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::engine::Found;
use super::replica::{Place, Replica};
use super::shared::Shared;
use crate::server::domain::{Lifetime, Workload, WorkloadId};
use crate::server::runtime::generations::Order;
use crate::server::runtime::{RuntimeError, files, spec};

/// For replicas that go because fewer are wished.
const GRACE: Duration = Duration::from_secs(30);

pub(super) struct Generation {
    shared: Arc<Shared>,
    wish: PathBuf,
    workload: Option<Workload>,
    /// By index; those that are told to stop are no longer here.
    replicas: BTreeMap<u32, Attended>,
    tasks: JoinSet<()>,
}

/// A replica that is meant to run.
struct Attended {
    name: String,
    stop: watch::Sender<Option<Duration>>,
    /// What it shall be from its next start on.
    wish: watch::Sender<Workload>,
}

impl Generation {
    pub(super) fn new(shared: Arc<Shared>, id: &WorkloadId) -> Self {
        let wish = shared.dir.join(files::generation_name(id)).with_added_extension("json");
        Self { shared, wish, workload: None, replicas: BTreeMap::new(), tasks: JoinSet::new() }
    }

    /// Obeys until it is removed or the server ends.
    pub(super) async fn obey(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Apply(workload, done)) => { let _ = done.send(self.apply(*workload).await); }
                    Some(Order::Replace(name, grace, done)) => { let _ = done.send(self.replace(&name, grace).await); }
                    Some(Order::Remove(grace, done)) => {
                        let _ = done.send(self.remove(grace).await);
                        orders.close();
                    }
                    None => return,
                },
                Some(_) = self.tasks.join_next() => {}
            }
        }
    }

    /// Takes over what an earlier server left: containers that are wished go on, others are stopped. The answers tell
    /// when it is known how each is.
    pub(super) async fn adopt(&mut self, workload: Workload, containers: Vec<Found>) -> Vec<oneshot::Receiver<()>> {
        let mut settling = Vec::new();
        for found in containers {
            let (Some(index), Some(lease)) = (found.index(), self.shared.networks.of(&found).await) else { continue };
            let surplus = index > workload.replicas || self.replicas.contains_key(&index);
            let place = Place { name: found.name.clone(), index, lease };
            let (replica, settled) = self.watch(&workload, place, Some(found));
            if surplus {
                replica.stop.send_replace(Some(GRACE));
            } else {
                self.replicas.insert(index, replica);
            }
            settling.push(settled);
        }
        self.workload = Some(workload);
        settling
    }

    /// Makes what is missing; what an earlier server wished and had not made yet.
    pub(super) async fn complete(&mut self) -> Result<(), RuntimeError> {
        match self.workload.clone() {
            Some(workload) => self.follow(&workload).await,
            None => Ok(()),
        }
    }

    async fn apply(&mut self, workload: Workload) -> Result<(), RuntimeError> {
        // Said now, not by every replica.
        self.shared.image_at_hand(&workload.stack).await?;
        self.shared.slugs.local_path(&workload.slug).await?;
        if self.workload.as_ref() != Some(&workload) {
            files::write_json(&self.wish, &workload, true).map_err(io_error("writing down what shall run"))?;
            self.workload = Some(workload.clone());
        }
        self.follow(&workload).await
    }

    /// Starts what is missing and stops what is too much, highest first.
    async fn follow(&mut self, workload: &Workload) -> Result<(), RuntimeError> {
        while let Some(last) = self.replicas.last_entry().filter(|last| *last.key() > workload.replicas) {
            last.remove().stop.send_replace(Some(GRACE));
        }
        for replica in self.replicas.values() {
            replica.wish.send_if_modified(|wish| {
                let other = wish.release != workload.release || wish.slug != workload.slug;
                if other {
                    *wish = workload.clone();
                }
                other
            });
        }
        for index in 1..=workload.replicas {
            if !self.replicas.contains_key(&index) {
                let lease = self.shared.networks.lease(&workload.id.app).await?;
                let place = Place { name: spec::new_name(&workload.id), index, lease };
                let (replica, _) = self.watch(workload, place, None);
                self.replicas.insert(index, replica);
            }
        }
        Ok(())
    }

    /// The wish stays as it is, so a server that is killed in between makes the new one at its next start.
    async fn replace(&mut self, name: &str, grace: Duration) -> Result<bool, RuntimeError> {
        if self.workload.as_ref().is_some_and(|workload| workload.lifetime != Lifetime::Service) {
            return Ok(false);
        }
        let place = self.replicas.iter().find(|(_, replica)| replica.name == name).map(|(index, _)| *index);
        let Some(replica) = place.and_then(|index| self.replicas.remove(&index)) else { return Ok(false) };
        replica.stop.send_replace(Some(grace));
        self.complete().await?;
        Ok(true)
    }

    fn watch(&mut self, workload: &Workload, place: Place, found: Option<Found>) -> (Attended, oneshot::Receiver<()>) {
        let name = place.name.clone();
        let (stop, stopping) = watch::channel(None);
        let (wish, wished) = watch::channel(workload.clone());
        let (replica, settling) = Replica::new(self.shared.clone(), wished, place, stopping);
        self.tasks.spawn(self.shared.tasks.track_future(replica.attend(found)));
        (Attended { name, stop, wish }, settling)
    }

    async fn remove(&mut self, grace: Duration) -> Result<(), RuntimeError> {
        // First the wish: whatever happens after, nothing is started again.
        files::remove_file(&self.wish).map_err(io_error("forgetting what shall run"))?;
        self.workload = None;
        for (_, replica) in std::mem::take(&mut self.replicas).into_iter().rev() {
            replica.stop.send_replace(Some(grace));
        }
        while self.tasks.join_next().await.is_some() {}
        Ok(())
    }
}

fn io_error(context: &'static str) -> impl FnOnce(std::io::Error) -> RuntimeError {
    move |source| RuntimeError::Io { context: context.to_owned(), source }
}

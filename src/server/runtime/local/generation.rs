//! One generation: a task that alone decides which replicas it has, so that no two orders for it can cross.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::super::RuntimeError;
use super::super::erlang;
use super::super::generations::Order;
use super::super::spec::{self, Place};
use super::folder::{self, SPEC, STOPPING, Spec, WORKLOAD};
use super::link;
use super::replica::Replica;
use super::shared::Shared;
use crate::server::confine::Limits;
use crate::server::domain::{HealthCheck, Lifetime, ReleaseVersion, SlugDigest, Workload, WorkloadId};

/// For replicas that go because fewer are wished, or that nobody wishes any more.
pub(super) const GRACE: Duration = Duration::from_secs(30);
const PIDS_PER_GB: u32 = 1024;

pub(super) struct Generation {
    shared: Arc<Shared>,
    id: WorkloadId,
    dir: PathBuf,
    /// By index; those that are told to stop are no longer here.
    replicas: BTreeMap<u32, Attended>,
    tasks: JoinSet<()>,
}

/// A replica that is meant to run.
struct Attended {
    name: String,
    stop: watch::Sender<Option<Duration>>,
    /// What it shall be from its next start on.
    renewal: watch::Sender<Option<Renewal>>,
    /// What it was last told to be.
    release: ReleaseVersion,
    digest: Option<SlugDigest>,
}

impl Attended {
    fn differs(&self, workload: &Workload) -> bool {
        self.release != workload.release || self.digest.as_ref().is_some_and(|digest| *digest != workload.slug)
    }
}

impl Generation {
    pub(super) fn new(shared: Arc<Shared>, root: &Path, id: WorkloadId) -> Self {
        let dir = root.join(folder::generation_name(&id));
        Self { shared, id, dir, replicas: BTreeMap::new(), tasks: JoinSet::new() }
    }

    /// Obeys until it is removed or the server ends.
    pub(super) async fn obey(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Apply(workload, done)) => { let _ = done.send(self.apply(&workload).await); }
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

    /// Takes over what an earlier server left: replicas that are wished go on, others are stopped, half-made ones
    /// removed. The answers tell when it is known how each is.
    pub(super) fn adopt(&mut self, workload: Option<&Workload>) -> io::Result<Vec<oneshot::Receiver<()>>> {
        let mut settling = Vec::new();
        for dir in folder::folders(&self.dir)? {
            match folder::read_json::<Spec>(&dir.join(SPEC)) {
                Ok(spec) => {
                    let unwished = workload.is_none_or(|workload| spec.index > workload.replicas);
                    let surplus = unwished || dir.join(STOPPING).exists() || self.replicas.contains_key(&spec.index);
                    let (index, replica, settled) = self.watch(dir, spec, workload)?;
                    if surplus {
                        replica.stop.send_replace(Some(GRACE));
                    } else {
                        self.replicas.insert(index, replica);
                    }
                    settling.push(settled);
                }
                Err(_) if link::lock(&dir)?.is_some() => folder::remove_tree(&dir)?,
                Err(error) => tracing::error!("{} has a shim but no readable spec: {error}", dir.display()),
            }
        }
        Ok(settling)
    }

    async fn apply(&mut self, workload: &Workload) -> Result<(), RuntimeError> {
        let (dir, wish) = (self.dir.clone(), workload.clone());
        blocking("writing down what shall run", move || {
            folder::make(&dir)?;
            folder::write_json(&dir.join(WORKLOAD), &wish, true)
        })
        .await?;
        self.follow(workload).await
    }

    /// Starts what is missing and stops what is too much, highest first.
    pub(super) async fn follow(&mut self, workload: &Workload) -> Result<(), RuntimeError> {
        while let Some(last) = self.replicas.last_entry().filter(|last| *last.key() > workload.replicas) {
            last.remove().stop.send_replace(Some(GRACE));
        }
        let missing: Vec<u32> = (1..=workload.replicas).filter(|index| !self.replicas.contains_key(index)).collect();
        if missing.is_empty() && !self.replicas.values().any(|replica| replica.differs(workload)) {
            return Ok(());
        }
        let slug = self.shared.slugs.local_path(&workload.slug).await?;
        for replica in self.replicas.values_mut().filter(|replica| replica.differs(workload)) {
            replica.renewal.send_replace(Some(Renewal { workload: workload.clone(), slug: slug.clone() }));
            (replica.release, replica.digest) = (workload.release, Some(workload.slug.clone()));
        }
        for index in missing {
            let (shared, dir, slug, copy) = (self.shared.clone(), self.dir.clone(), slug.clone(), workload.clone());
            let made = blocking("making a replica", move || make(&shared, &dir, &slug, &copy, index)).await?;
            let (index, replica, _) =
                self.watch(made.0, made.1, Some(workload)).map_err(io_error("watching a replica"))?;
            self.replicas.insert(index, replica);
        }
        Ok(())
    }

    /// The old one is told to stop, and what is missing then is made: the wish on disk stays as it is, so a server that
    /// is killed in between makes the new one at its next start.
    async fn replace(&mut self, name: &str, grace: Duration) -> Result<bool, RuntimeError> {
        let Some(index) = self.replicas.iter().find(|(_, replica)| replica.name == name).map(|(index, _)| *index)
        else {
            return Ok(false);
        };
        let wish = self.dir.join(WORKLOAD);
        let workload: Workload = blocking("reading what shall run", move || folder::read_json(&wish)).await?;
        if workload.lifetime != Lifetime::Service {
            return Ok(false);
        }
        if let Some(replica) = self.replicas.remove(&index) {
            replica.stop.send_replace(Some(grace));
        }
        self.follow(&workload).await?;
        Ok(true)
    }

    /// Begins to attend to the replica of a folder.
    fn watch(
        &mut self,
        dir: PathBuf,
        spec: Spec,
        workload: Option<&Workload>,
    ) -> io::Result<(u32, Attended, oneshot::Receiver<()>)> {
        let (index, name, digest) = (spec.index, spec.name.clone(), spec.digest.clone());
        let (stop, stopping) = watch::channel(None);
        let (renewal, renewed) = watch::channel(None);
        // What nobody wishes any more is only here to be stopped.
        let (release, health) = workload.map_or((ReleaseVersion(0), HealthCheck::Uptime(Duration::MAX)), |workload| {
            (workload.release, workload.health.clone())
        });
        let about = (self.id.clone(), release, health);
        let (replica, settling) = Replica::new(self.shared.clone(), dir, spec, about, (stopping, renewed))?;
        self.tasks.spawn(self.shared.tasks.track_future(replica.attend()));
        Ok((index, Attended { name, stop, renewal, release, digest }, settling))
    }

    pub(super) async fn remove(&mut self, grace: Duration) -> Result<(), RuntimeError> {
        let wish = self.dir.join(WORKLOAD);
        // First the wish: whatever happens after, nothing is started again.
        blocking("forgetting what shall run", move || folder::remove_file(&wish)).await?;
        for (_, replica) in std::mem::take(&mut self.replicas).into_iter().rev() {
            replica.stop.send_replace(Some(grace));
        }
        while self.tasks.join_next().await.is_some() {}
        let dir = self.dir.clone();
        blocking("removing a generation's folder", move || folder::remove_tree(&dir)).await
    }
}

/// Makes a replica's folder; the spec comes last, so that one without is known to be half made.
fn make(shared: &Shared, dir: &Path, slug: &Path, workload: &Workload, index: u32) -> io::Result<(PathBuf, Spec)> {
    let name = spec::new_name(&workload.id);
    let dir = dir.join(&name);
    folder::make(&dir)?;
    // A link costs nothing; where the slug lies on another file system it has to be copied.
    link(slug, &dir.join(folder::slug_link(&workload.slug)))?;
    let slot = shared.slots.take()?;
    let epmd_port = shared.slots.take()?;
    let dist_port = shared.dist_ports.of(&workload.id.app)?;
    let spec = spec_of(shared, workload, index, name, (slot, epmd_port, dist_port));
    folder::write_json(&dir.join(SPEC), &spec, false)?;
    Ok((dir, spec))
}

/// The slug into a replica's folder.
fn link(slug: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(slug, to).or_else(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Ok(()),
        _ => fs::copy(slug, to).map(drop),
    })
}

/// What a replica shall be from its next start on.
#[derive(Debug, Clone)]
pub(super) struct Renewal {
    workload: Workload,
    /// The archive.
    slug: PathBuf,
}

impl Renewal {
    /// The release that the replica is of from now on.
    pub(super) fn release(&self) -> ReleaseVersion {
        self.workload.release
    }

    /// Brings it into the folder of the replica that is `old`: the archive first, then the spec that names it.
    pub(super) fn bring(&self, shared: &Shared, dir: &Path, old: &Spec) -> io::Result<Spec> {
        let ports = (old.slot, old.epmd_port, old.dist_port.unwrap_or_default());
        let spec = spec_of(shared, &self.workload, old.index, old.name.clone(), ports);
        let spec = Spec { cgroup: old.cgroup.clone(), dist_port: old.dist_port, ..spec };
        link(&self.slug, &dir.join(spec.slug()))?;
        folder::write_json(&dir.join(SPEC), &spec, false)?;
        if old.slug() != spec.slug() {
            folder::remove_file(&dir.join(old.slug()))?;
        }
        Ok(spec)
    }
}

fn spec_of(
    shared: &Shared,
    workload: &Workload,
    index: u32,
    name: String,
    (slot, epmd_port, dist_port): (u16, u16, u16),
) -> Spec {
    let ip = folder::address_of(slot);
    let own = ip.to_string();
    let place = Place { name: &name, index, ip: &own, port: slot };
    let mut env = erlang::environment(&workload.env, ip, epmd_port, dist_port);
    let directory = shared.directory.as_ref().map(|directory| directory.membership(&workload.id.app, &mut env));
    let workload = &Workload { env, ..workload.clone() };
    Spec {
        process: workload.id.process.clone(),
        index,
        command: workload.command.clone(),
        arguments: workload.arguments.clone(),
        lifetime: workload.lifetime,
        env: spec::environment(workload, &place),
        slot,
        epmd_port,
        dist_port: Some(dist_port),
        directory,
        cgroup: Vec::new(),
        limits: Limits {
            memory_bytes: Some(workload.size.memory_bytes()),
            cpu_milli: Some(workload.size.cpu_milli()),
            pids: Some(PIDS_PER_GB * workload.size.milli().div_ceil(1000).max(1)),
        },
        digest: Some(workload.slug.clone()),
        name,
    }
}

fn io_error(context: &'static str) -> impl FnOnce(io::Error) -> RuntimeError {
    move |source| RuntimeError::Io { context: context.to_owned(), source }
}

async fn blocking<T: Send + 'static>(
    context: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, RuntimeError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other).and_then(|done| done);
    done.map_err(io_error(context))
}

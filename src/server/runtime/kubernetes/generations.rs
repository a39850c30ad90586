//! What shall run, told to the cluster generation by generation. Orders for one generation wait for each other; different
//! generations do not.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::{DeleteParams, ListParams, PropagationPolicy};
use kube::runtime::wait::{await_condition, conditions};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until, timeout};

use super::apps::Apps;
use super::cluster::patiently;
use super::names::{self, INDEX, WORKLOAD};
use super::shared::Shared;
use super::spec::{self, Place};
use crate::server::domain::{Instance, InstanceState, Lifetime, ReleaseVersion, SlugDigest, Workload, WorkloadId};
use crate::server::runtime::RuntimeError;

/// A slug's address is good for so long, and is signed anew when half of it has passed.
const SIGNED: Duration = Duration::from_hours(7 * 24);
/// A pod whose node says nothing for so long after its time is taken for gone.
const SILENCE: Duration = Duration::from_secs(60);
/// For the pods of a deployment that was just made.
const APPEARING: Duration = Duration::from_secs(5);
/// For what is left of a deployment after its pods.
const GOING: Duration = Duration::from_secs(30);

pub(super) struct Generations {
    shared: Arc<Shared>,
    apps: Arc<Apps>,
    grace: Duration,
    known: Mutex<HashMap<WorkloadId, Arc<tokio::sync::Mutex<Known>>>>,
}

/// What this server has told the cluster of one generation: what its containers start with, and when.
#[derive(Default)]
struct Known {
    told: Option<(ReleaseVersion, SlugDigest, Instant)>,
}

/// A place that there is.
struct Found {
    uid: String,
    /// It is being removed.
    goes: bool,
}

impl Generations {
    pub(super) fn new(shared: Arc<Shared>, apps: Arc<Apps>, grace: Duration) -> Self {
        Self { shared, apps, grace, known: Mutex::default() }
    }

    pub(super) async fn apply(&self, workload: &Workload) -> Result<(), RuntimeError> {
        let turn = self.turn(&workload.id);
        let mut known = turn.lock().await;
        let image = self.shared.images.of(&workload.stack)?;
        let address = self.shared.slugs.address(&workload.slug, SIGNED).await?;
        if !self.shared.notes.has(&workload.id) {
            self.shared.notes.write(&workload.id, workload.release)?;
        }
        self.apps.prepare(&workload.id.app).await?;
        let told = self.tell(workload, &address, image, &mut known).await;
        if let Err(RuntimeError::Io { source, .. }) = &told
            && source.kind() == std::io::ErrorKind::NotFound
        {
            // Somebody has removed the namespace: the next call makes it anew.
            known.told = None;
            self.apps.forget(&workload.id.app).await;
        }
        told
    }

    async fn tell(
        &self,
        workload: &Workload,
        address: &str,
        image: &str,
        known: &mut Known,
    ) -> Result<(), RuntimeError> {
        self.tell_start(workload, address, known).await?;
        // What runs is of it too: whoever says so has brought it there.
        self.shared.notes.write(&workload.id, workload.release)?;
        if workload.lifetime == Lifetime::Service {
            return self.follow(workload, image).await;
        }
        let pods = self.shared.cluster.of::<Pod>(&self.namespace(&workload.id));
        self.shared.cluster.apply(&pods, &spec::once(&self.place(workload, 1, image))).await?;
        self.appear(&workload.id, 1).await;
        Ok(())
    }

    /// What containers start with from now on. Those that run are not touched by it.
    async fn tell_start(&self, workload: &Workload, address: &str, known: &mut Known) -> Result<(), RuntimeError> {
        let same = |(release, slug, signed): &(ReleaseVersion, SlugDigest, Instant)| {
            *release == workload.release && *slug == workload.slug && signed.elapsed() < SIGNED / 2
        };
        if known.told.as_ref().is_some_and(same) {
            return Ok(());
        }
        let cluster = &self.shared.cluster;
        let secrets = cluster.of::<Secret>(&self.namespace(&workload.id));
        cluster.apply(&secrets, &spec::start(&cluster.server, workload, address)).await?;
        known.told = Some((workload.release, workload.slug.clone(), Instant::now()));
        Ok(())
    }

    /// Makes what is missing and removes what is too much, highest first. What is there stays as it was made: a newer
    /// platform restarts nothing.
    async fn follow(&self, workload: &Workload, image: &str) -> Result<(), RuntimeError> {
        let deployments = self.shared.cluster.of::<Deployment>(&self.namespace(&workload.id));
        let places = self.places(&workload.id, &deployments).await?;
        for (index, _) in places.iter().rev().filter(|(index, place)| **index > workload.replicas && !place.goes) {
            let (name, params) = (names::place(&workload.id, *index), with(PropagationPolicy::Foreground));
            self.shared.cluster.delete(&deployments, &name, &params).await?;
        }
        let is_missing = |index: &u32| places.get(index).is_none_or(|place| place.goes);
        let made = (1..=workload.replicas).filter(is_missing).map(|index| {
            let object = spec::deployment(&self.place(workload, index, image));
            let (deployments, going) = (&deployments, places.get(&index));
            async move {
                // What is told to one that goes, goes with it.
                if let Some(going) = going {
                    is_deleted(deployments, &names::place(&workload.id, index), &going.uid, self.grace + GOING).await;
                }
                self.shared.cluster.apply(deployments, &object).await
            }
        });
        try_join_all(made).await?;
        self.appear(&workload.id, workload.replicas as usize).await;
        Ok(())
    }

    /// Returns when that many are known. What keeps them from being made, such as a quota, is no failure of the wish.
    async fn appear(&self, id: &WorkloadId, count: usize) {
        let mut events = self.shared.roster.watch();
        let known = async {
            while self.instances(id).len() < count {
                let _ = events.recv().await;
            }
        };
        let _ = timeout(APPEARING, known).await;
    }

    /// The places that the cluster has.
    async fn places(
        &self,
        id: &WorkloadId,
        deployments: &kube::Api<Deployment>,
    ) -> Result<BTreeMap<u32, Found>, RuntimeError> {
        let which = which(id);
        let found = patiently("listing deployments", || deployments.list_metadata(&which)).await?;
        let place = |meta: ObjectMeta| {
            let index = meta.labels?.get(INDEX)?.parse().ok()?;
            Some((index, Found { goes: meta.deletion_timestamp.is_some(), uid: meta.uid? }))
        };
        Ok(found.items.into_iter().filter_map(|one| place(one.metadata)).collect())
    }

    pub(super) async fn remove(&self, id: &WorkloadId, grace: Duration) -> Result<(), RuntimeError> {
        let turn = self.turn(id);
        let mut known = turn.lock().await;
        if !self.shared.notes.has(id) && self.instances(id).is_empty() {
            return Ok(());
        }
        let (cluster, namespace) = (&self.shared.cluster, self.namespace(id));
        let (deployments, pods) = (cluster.of::<Deployment>(&namespace), cluster.of::<Pod>(&namespace));
        // Subscribed first: nothing that goes is missed.
        let mut events = self.shared.roster.watch();
        *known = Known::default();
        let at_once = DeleteParams { grace_period_seconds: Some(seconds(id, grace)), ..DeleteParams::default() };
        if grace < self.grace {
            self.let_go(id, &deployments).await?;
            cluster.delete_all(&pods, &which(id), &at_once).await?;
        } else {
            cluster.delete_all(&deployments, &which(id), &with(PropagationPolicy::Foreground)).await?;
            cluster.delete(&pods, &names::place(id, 1), &at_once).await?;
        }
        let end = Instant::now() + grace.max(self.grace) + SILENCE;
        loop {
            let left = self.instances(id);
            if left.is_empty() {
                break;
            }
            tokio::select! {
                _ = events.recv() => {}
                () = sleep_until(end) => self.give_up(&pods, &left).await?,
            }
        }
        // It goes after its pods: one that is still going would not be made anew by `apply`.
        self.are_gone(id, &deployments).await?;
        let secrets = cluster.of::<Secret>(&namespace);
        cluster.delete_all(&secrets, &which(id), &DeleteParams::default()).await?;
        drop(known);
        self.shared.notes.forget(id)?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        self.apps.sweep_later(&id.app);
        Ok(())
    }

    /// Their nodes do not answer: the cluster shall forget them.
    async fn give_up(&self, pods: &kube::Api<Pod>, left: &[Instance]) -> Result<(), RuntimeError> {
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        for one in left {
            tracing::warn!(instance.name = one.name, "Its node does not say that it has ended; it is taken for gone.");
            self.shared.cluster.delete(pods, &one.name, &now).await?;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(())
    }

    /// Takes the pods from those that would make new ones in their place, or end them with the grace they were made with.
    async fn let_go(&self, id: &WorkloadId, deployments: &kube::Api<Deployment>) -> Result<(), RuntimeError> {
        let (cluster, orphan) = (&self.shared.cluster, with(PropagationPolicy::Orphan));
        cluster.delete_all(deployments, &which(id), &orphan).await?;
        self.are_gone(id, deployments).await?;
        let sets = cluster.of::<ReplicaSet>(&self.namespace(id));
        cluster.delete_all(&sets, &which(id), &orphan).await?;
        self.are_gone(id, &sets).await
    }

    async fn are_gone<K>(&self, id: &WorkloadId, all: &kube::Api<K>) -> Result<(), RuntimeError>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
    {
        let (which, kind) = (which(id), K::plural(&()));
        for left in patiently(&format!("listing {kind}"), || all.list_metadata(&which)).await? {
            let (Some(name), Some(uid)) = (left.metadata.name, left.metadata.uid) else { continue };
            is_deleted(all, &name, &uid, GOING).await;
        }
        Ok(())
    }

    /// The place stays, and with it the index: the cluster puts another pod into it.
    pub(super) async fn replace(&self, id: &WorkloadId, name: &str, grace: Duration) -> Result<bool, RuntimeError> {
        let turn = self.turn(id);
        let _known = turn.lock().await;
        let leaving = [InstanceState::Stopping, InstanceState::Ended];
        let found = self.instances(id).into_iter().find(|one| one.name == name && !leaving.contains(&one.state));
        // What runs once is called like its place.
        let Some(one) = found.filter(|one| one.name != names::place(id, one.index)) else { return Ok(false) };
        let params = DeleteParams { grace_period_seconds: Some(seconds(id, grace)), ..DeleteParams::default() };
        let pods = self.shared.cluster.of::<Pod>(&self.namespace(id));
        let mut events = self.shared.roster.watch();
        self.shared.cluster.delete(&pods, &one.name, &params).await?;
        // On its way out, and another one in its place.
        let begun = Instant::now();
        while begun.elapsed() < GOING {
            let left = self.instances(id);
            let goes = left.iter().all(|other| other.name != one.name || other.state == InstanceState::Stopping);
            if goes && left.iter().any(|other| other.index == one.index && other.name != one.name) {
                break;
            }
            let _ = timeout(GOING, events.recv()).await;
        }
        Ok(true)
    }

    fn place<'a>(&'a self, workload: &'a Workload, index: u32, image: &'a str) -> Place<'a> {
        Place {
            server: &self.shared.cluster.server,
            workload,
            index,
            image,
            scripts: &self.shared.scripts,
            grace: self.grace.as_secs(),
        }
    }

    fn instances(&self, id: &WorkloadId) -> Vec<Instance> {
        self.shared.roster.instances().values().filter(|one| one.workload == *id).cloned().collect()
    }

    fn namespace(&self, id: &WorkloadId) -> String {
        self.apps.namespace(&id.app)
    }

    fn turn(&self, id: &WorkloadId) -> Arc<tokio::sync::Mutex<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).entry(id.clone()).or_default().clone()
    }
}

async fn is_deleted<K>(all: &kube::Api<K>, name: &str, uid: &str, patience: Duration)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let gone = timeout(patience, await_condition(all.clone(), name, conditions::is_deleted(uid))).await;
    if !matches!(gone, Ok(Ok(_))) {
        tracing::warn!("the {} `{name}` is being removed and does not go", K::kind(&()));
    }
}

/// A grace as the cluster counts it: from before a replica lingers. None at all is none.
fn seconds(id: &WorkloadId, grace: Duration) -> u32 {
    let seconds = u64::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
    let whole = if seconds == 0 { 0 } else { seconds.saturating_add(spec::linger(&id.process)) };
    u32::try_from(whole).unwrap_or(u32::MAX)
}

/// What becomes of what depends on it.
fn with(policy: PropagationPolicy) -> DeleteParams {
    DeleteParams { propagation_policy: Some(policy), ..DeleteParams::default() }
}

/// All that is of a generation.
fn which(id: &WorkloadId) -> ListParams {
    ListParams::default().labels(&format!("{WORKLOAD}={}", names::workload(id)))
}

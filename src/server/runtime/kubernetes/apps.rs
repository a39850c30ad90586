//! The apps' namespaces: made when something of an app shall run, swept some time after nothing does any more. Not at
//! once: a namespace takes its time to go, and a job or a restart would have to wait for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::ErrorKind::NotFound;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::cluster::{Cluster, patiently};
use super::names::{self, APP};
use super::shared::Shared;
use super::spec::AppObjects;
use crate::server::domain::AppName;
use crate::server::runtime::RuntimeError;

/// What an app's namespace holds is told again after this, should somebody have changed it.
const AGAIN: Duration = Duration::from_mins(10);
/// How long a namespace stays in which nothing runs.
const EMPTY: Duration = Duration::from_mins(10);

/// Within so long after a role was made, whoever decides about rights has heard of it.
const HEARSAY: Duration = Duration::from_secs(5);

pub(super) struct Apps {
    shared: Arc<Shared>,
    prefix: String,
    visitors: Vec<IpAddr>,
    registries: Option<SecretString>,
    /// Those that keep their namespace though nothing may run in it.
    kept: Mutex<BTreeSet<AppName>>,
    told: Mutex<HashMap<AppName, Arc<tokio::sync::Mutex<Option<Instant>>>>>,
    closed: CancellationToken,
}

/// Binds a role that has just been made.
async fn bind(cluster: &Cluster, bindings: &Api<RoleBinding>, binding: &Value) -> Result<(), RuntimeError> {
    let begun = Instant::now();
    loop {
        match cluster.apply(bindings, binding).await {
            Err(RuntimeError::Io { source, .. }) if source.kind() == NotFound && begun.elapsed() < HEARSAY => {
                sleep(Duration::from_millis(100)).await;
            }
            other => return other.map(drop),
        }
    }
}

impl Apps {
    pub(super) fn new(
        shared: Arc<Shared>,
        prefix: String,
        visitors: Vec<IpAddr>,
        registries: Option<SecretString>,
    ) -> Self {
        let (kept, told) = (Mutex::default(), Mutex::default());
        Self { shared, prefix, visitors, registries, kept, told, closed: CancellationToken::new() }
    }

    /// What lies in an app's namespace.
    pub(super) fn objects<'a>(&'a self, app: &'a AppName, namespace: &'a str) -> AppObjects<'a> {
        AppObjects {
            server: &self.shared.cluster.server,
            app,
            namespace,
            visitors: &self.visitors,
            registries: self.registries.as_ref().map(|registries| registries.expose_secret()),
        }
    }

    pub(super) fn namespace(&self, app: &AppName) -> String {
        names::namespace(&self.prefix, app)
    }

    /// Makes the app's namespace and all that lies in it for all of its replicas.
    pub(super) async fn prepare(&self, app: &AppName) -> Result<(), RuntimeError> {
        let turn = self.turn(app);
        let mut told = turn.lock().await;
        if told.is_some_and(|told| told.elapsed() < AGAIN) {
            return Ok(());
        }
        let (cluster, namespace) = (&self.shared.cluster, self.namespace(app));
        let objects = self.objects(app, &namespace);
        cluster.namespace(&objects.namespace()).await?;
        let bindings = cluster.of::<RoleBinding>(&namespace);
        // First of all, for everything after it needs the right.
        if let Some(subject) = &cluster.subject {
            cluster.apply(&bindings, &objects.own_rights(subject)).await?;
        }
        let (accounts, roles) = (cluster.of::<ServiceAccount>(&namespace), cluster.of::<Role>(&namespace));
        let (maps, services) = (cluster.of::<ConfigMap>(&namespace), cluster.of::<Service>(&namespace));
        let policies = cluster.of::<NetworkPolicy>(&namespace);
        let (account, role, binding) = (objects.account(), objects.role(), objects.role_binding());
        let (scripts, policy) = (self.shared.scripts.config_map(&objects.labels()), objects.network_policy());
        let (peers, web) = (objects.peers(), objects.service());
        if let Some(registries) = objects.registries() {
            cluster.apply(&cluster.of::<Secret>(&namespace), &registries).await?;
        }
        tokio::try_join!(
            cluster.apply(&accounts, &account),
            async {
                cluster.apply(&roles, &role).await?;
                bind(cluster, &bindings, &binding).await
            },
            cluster.apply(&maps, &scripts),
            cluster.apply(&policies, &policy),
            cluster.apply(&services, &peers),
            cluster.apply(&services, &web),
        )?;
        *told = Some(Instant::now());
        Ok(())
    }

    /// What was told is no more.
    pub(super) async fn forget(&self, app: &AppName) {
        *self.turn(app).lock().await = None;
    }

    /// Removes the app's namespace if nothing runs in it for some time.
    pub(super) fn sweep_later(self: &Arc<Self>, app: &AppName) {
        let (this, app) = (self.clone(), app.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = sleep(EMPTY) => {}
                () = this.closed.cancelled() => return,
            }
            let turn = this.turn(&app);
            let mut told = turn.lock().await;
            if this.is_used(&app) || told.is_some_and(|told| told.elapsed() < EMPTY) {
                return;
            }
            *told = None;
            let namespaces: Api<Namespace> = Api::all(this.shared.cluster.client.clone());
            let name = this.namespace(&app);
            if let Err(error) = this.shared.cluster.delete(&namespaces, &name, &DeleteParams::default()).await {
                tracing::warn!(app.name = %app, "an empty namespace stays: {error}");
            }
        });
    }

    /// The same for whatever an earlier server left.
    pub(super) async fn sweep(self: &Arc<Self>) {
        self.all().await.iter().filter(|app| !self.is_used(app)).for_each(|app| self.sweep_later(app));
    }

    /// The apps that have a namespace.
    pub(super) async fn all(&self) -> Vec<AppName> {
        let namespaces: Api<Namespace> = Api::all(self.shared.cluster.client.clone());
        let ours = ListParams::default().labels(&self.shared.cluster.ours());
        let app = |labels: BTreeMap<String, String>| AppName::parse(labels.get(APP)?).ok();
        match patiently("listing this server's namespaces", || namespaces.list_metadata(&ours)).await {
            Ok(found) => found.items.into_iter().filter_map(|one| app(one.metadata.labels?)).collect(),
            Err(error) => {
                tracing::warn!("empty namespaces may stay: {error}");
                Vec::new()
            }
        }
    }

    /// These apps, and no others, keep their namespaces though nothing may run in them.
    pub(super) fn keep(&self, apps: BTreeSet<AppName>) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = apps;
    }

    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    fn is_used(&self, app: &AppName) -> bool {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).contains(app)
            || self.shared.roster.instances().values().any(|one| one.workload.app == *app)
    }

    fn turn(&self, app: &AppName) -> Arc<tokio::sync::Mutex<Option<Instant>>> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.entry(app.clone()).or_default().clone()
    }
}

//! What is built in a cluster: each build a Job, in a namespace of their own, without any right, out of reach of and without
//! a way to apps. What is known of one comes by a watch of its pod and by the pod's log, both of which are taken up again
//! where they broke off.

mod output;
mod pod;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Pod, Secret, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{OnceCell, mpsc, oneshot};
use tokio::time::timeout;

use self::output::Output;
use self::pod::{BuildPod, ended, runs, trouble, waits_for};
use super::cluster::{Cluster, patiently};
use super::names::{self, BUILD};
use super::spec::{BuildObjects, Scripts};
use super::trouble::text;
use crate::server::domain::{ClusterBuild, ClusterBuildEnd, Stack};
use crate::server::runtime::RuntimeError;

/// For a build's pods to be gone, once nothing keeps them.
const GOING: Duration = Duration::from_secs(30);
/// Pieces of output that wait to be heard.
const SAID: usize = 64;

/// How builds reach a cluster.
#[derive(Debug, Clone)]
pub struct BuildsConfig {
    /// As of apps.
    pub server: String,
    /// The namespace.
    pub namespace: String,
    /// What is built in, by stack.
    pub images: BTreeMap<Stack, String>,
    /// What registries want to be signed in with: a `.dockerconfigjson`.
    pub registries: Option<SecretString>,
}

/// The builds of one server.
pub struct Builds {
    cluster: Cluster,
    config: BuildsConfig,
    scripts: Scripts,
    /// The namespace and what lies in it are there.
    prepared: OnceCell<()>,
}

/// What comes of a build: what it says, which ends when there will be no more, and how it ended.
pub type Running = (mpsc::Receiver<Bytes>, oneshot::Receiver<ClusterBuildEnd>);

impl Builds {
    /// On the cluster of a kubeconfig, or as [`Kubernetes`](super::Kubernetes) finds one.
    pub async fn connect(
        kubeconfig: Option<&Path>,
        context: Option<&str>,
        config: BuildsConfig,
    ) -> Result<Self, RuntimeError> {
        let cluster = Cluster::connect(kubeconfig, context, config.server.clone()).await?;
        Ok(Self { cluster, config, scripts: Scripts::embedded(), prepared: OnceCell::new() })
    }

    /// Begins a build, and returns when it runs.
    pub async fn begin(&self, build: &ClusterBuild) -> Result<Running, RuntimeError> {
        let image = self.config.images.get(&build.stack).ok_or_else(|| {
            let stack = &build.stack;
            RuntimeError::Unavailable(format!("there is no stack `{stack}` here: `gigalixir stacks` lists them"))
        })?;
        self.prepared.get_or_try_init(|| self.prepare()).await?;
        let objects = self.objects();
        let job = self.cluster.apply(&self.of::<Job>(), &objects.job(build, image)).await?;
        let uid = job.metadata.uid.unwrap_or_default();
        self.cluster.apply(&self.of::<Secret>(), &objects.secret(build, &uid)).await?;
        let mut pod = BuildPod::watch(self.of(), selector(&names::build(&build.name)));
        let begun = timeout(ClusterBuild::STARTING, pod.wait_for(|pod| runs(pod) || trouble(pod).is_some())).await;
        let why = match begun {
            Ok(Some(word)) => trouble(&word),
            Ok(None) => Some("nobody watches it".to_owned()),
            Err(_) => Some(self.hindrance(&pod, &uid).await),
        };
        match why {
            Some(why) => Err(RuntimeError::Unavailable(format!("the build's pod does not start: {why}"))),
            None => Ok(self.attend(pod)),
        }
    }

    /// Hears what a build says and how it ends, as long as somebody wants to know.
    fn attend(&self, pod: BuildPod) -> Running {
        let ((said, output), (tell, told)) = (mpsc::channel(SAID), oneshot::channel());
        let pods = self.of();
        tokio::spawn(async move {
            let mut tell = tell;
            let attended = async {
                Output::new(pods, pod.clone(), said).follow().await;
                pod.clone().wait_for(|pod| ended(pod).is_some()).await
            };
            tokio::select! {
                word = attended => {
                    let lost = || ClusterBuildEnd::Lost("nobody watches it".to_owned());
                    let _ = tell.send(word.and_then(|word| ended(&word)).unwrap_or_else(lost));
                }
                () = tell.closed() => {}
            }
        });
        (output, told)
    }

    /// Why nothing has come of it.
    async fn hindrance(&self, pod: &BuildPod, job: &str) -> String {
        if let Some(word) = pod.word() {
            return waits_for(&word.pod);
        }
        let which = ListParams::default().fields(&format!("involvedObject.uid={job},type=Warning"));
        let warned = self.of::<Event>().list(&which).await.map(|found| found.items).unwrap_or_default();
        warned.iter().rev().find_map(text).unwrap_or_else(|| "the cluster has not made it".to_owned())
    }

    /// Ends a build at once, and waits until nothing of it is left. One that is gone is no error.
    pub async fn end(&self, name: &str) -> Result<(), RuntimeError> {
        self.remove(&names::build(name)).await
    }

    async fn remove(&self, name: &str) -> Result<(), RuntimeError> {
        // First the Job, which might make another pod.
        self.cluster.delete(&self.of::<Job>(), name, &DeleteParams::background()).await?;
        // The cluster would clear away the rest by itself, some time.
        let (pods, secrets, now) = (self.of::<Pod>(), self.of::<Secret>(), DeleteParams::default().grace_period(0));
        let (selector, gently) = (selector(name), DeleteParams::default());
        let which = ListParams::default().labels(&selector);
        tokio::try_join!(self.cluster.delete_all(&pods, &which, &now), self.cluster.delete(&secrets, name, &gently))?;
        if timeout(GOING, pod::gone(pods, &selector)).await.is_err() {
            tracing::warn!("the pod of the build {name} is removed and does not go");
        }
        Ok(())
    }

    /// Ends all of this server's whose names begin so.
    pub async fn end_all(&self, prefix: &str) -> Result<(), RuntimeError> {
        let namespaces: Api<Namespace> = Api::all(self.cluster.client.clone());
        let doing = "looking for the builds' namespace";
        if patiently(doing, || namespaces.get_opt(&self.config.namespace)).await?.is_none() {
            return Ok(());
        }
        // An earlier version of this server may have made it, with other rights.
        self.prepared.get_or_try_init(|| self.prepare()).await?;
        let (jobs, ours) = (self.of::<Job>(), ListParams::default().labels(&self.cluster.ours()));
        let found = patiently("listing builds", || jobs.list_metadata(&ours)).await?;
        for name in found.items.into_iter().filter_map(|job| job.metadata.name) {
            if name.starts_with(prefix) {
                self.remove(&name).await?;
            }
        }
        Ok(())
    }

    async fn prepare(&self) -> Result<(), RuntimeError> {
        let cluster = &self.cluster;
        let objects = self.objects();
        cluster.namespace(&objects.namespace()).await?;
        if let Some(subject) = &cluster.subject {
            cluster.apply(&self.of::<RoleBinding>(), &objects.own_rights(subject)).await?;
        }
        if let Some(registries) = objects.registries() {
            cluster.apply(&self.of::<Secret>(), &registries).await?;
        }
        cluster.apply(&self.of::<ServiceAccount>(), &objects.account()).await?;
        cluster.apply(&self.of::<ConfigMap>(), &objects.scripts()).await?;
        cluster.apply(&self.of::<NetworkPolicy>(), &objects.network_policy()).await.map(drop)
    }

    fn objects(&self) -> BuildObjects<'_> {
        BuildObjects {
            server: &self.cluster.server,
            namespace: &self.config.namespace,
            registries: self.config.registries.as_ref().map(|registries| registries.expose_secret()),
            scripts: &self.scripts,
        }
    }

    fn of<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        self.cluster.of(&self.config.namespace)
    }
}

/// All that is of one build.
fn selector(name: &str) -> String {
    format!("{BUILD}={name}")
}

//! Pods in which something is built: in a namespace of their own, without any right, out of reach of and without a way to
//! apps. They do nothing by themselves; programs are started in them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::{AttachParams, DeleteParams, ListParams};
use kube::runtime::wait::await_condition;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::sync::{OnceCell, oneshot};
use tokio::time::timeout;

use super::cluster::{Cluster, failed, patiently};
use super::exec::ended;
use super::names::CONTAINER;
use super::pods::hopeless;
use super::spec::{BuildObjects, Wish};
use crate::server::domain::Stack;
use crate::server::runtime::RuntimeError;

/// For a pod to be scheduled, and its image to be pulled.
const STARTING: Duration = Duration::from_mins(10);
/// Of a message on its way.
const FRAME: usize = 64 * 1024;
/// Of each of a program's streams, in memory.
const BUFFER: usize = 256 * 1024;

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

/// The builds' pods of one server.
pub struct Builds {
    cluster: Cluster,
    config: BuildsConfig,
    /// The namespace and what lies in it are there.
    prepared: OnceCell<()>,
}

/// A program in a pod.
pub struct Program {
    /// What it says on its standard output.
    pub output: DuplexStream,
    /// What it says on its standard error.
    pub errors: DuplexStream,
    /// Its exit code, when it has ended; closed without one when it was lost.
    pub ended: oneshot::Receiver<i32>,
}

/// What became of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildFate {
    /// It is there.
    Runs,
    /// The kernel ended it for its memory.
    Memory,
    /// Its node did for its disk.
    Disk,
    /// The cluster did for its time.
    Time,
    /// It is not there, for whatever reason.
    Lost,
}

impl Builds {
    /// On the cluster of a kubeconfig, or as [`Kubernetes`](super::Kubernetes) finds one.
    pub async fn connect(
        kubeconfig: Option<&Path>,
        context: Option<&str>,
        config: BuildsConfig,
    ) -> Result<Self, RuntimeError> {
        let cluster = Cluster::connect(kubeconfig, context, config.server.clone()).await?;
        Ok(Self { cluster, config, prepared: OnceCell::new() })
    }

    /// Makes a pod, and waits until programs can be started in it.
    pub async fn make(&self, wish: &Wish) -> Result<(), RuntimeError> {
        let image = self.config.images.get(&wish.stack).ok_or_else(|| {
            RuntimeError::Unavailable(format!("there is no stack `{}` here: `gigalixir stacks` lists them", wish.stack))
        })?;
        self.prepared.get_or_try_init(|| self.prepare()).await?;
        let objects = self.objects();
        let maps = self.cluster.of::<ConfigMap>(&self.config.namespace);
        self.cluster.apply(&maps, &objects.files(wish)).await?;
        self.cluster.apply(&self.pods(), &objects.pod(wish, image)).await?;
        self.runs(&wish.name).await
    }

    async fn runs(&self, name: &str) -> Result<(), RuntimeError> {
        let settled = |pod: Option<&Pod>| pod.is_none_or(|pod| runs(pod) || trouble(pod).is_some());
        let pod = timeout(STARTING, await_condition(self.pods(), name, settled)).await;
        let why = match pod {
            Ok(Ok(Some(pod))) if runs(&pod) => return Ok(()),
            Ok(Ok(Some(pod))) => trouble(&pod).unwrap_or_default(),
            Ok(Ok(None)) => "it was removed".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => self.waits_for(name).await,
        };
        Err(RuntimeError::Unavailable(format!("the build's pod does not start: {why}")))
    }

    /// Why nothing has come of it.
    async fn waits_for(&self, name: &str) -> String {
        let pod = self.pods().get_opt(name).await.ok().flatten();
        let conditions = pod.and_then(|pod| pod.status?.conditions).unwrap_or_default();
        let unmet = conditions.into_iter().find(|one| one.type_ == "PodScheduled" && one.status != "True");
        unmet.and_then(|one| one.message).unwrap_or_else(|| "its image is still being pulled".to_owned())
    }

    /// Starts a program, with this as its input; the input stays open after it.
    pub async fn start(
        &self,
        pod: &str,
        argv: Vec<String>,
        input: Option<tokio::fs::File>,
    ) -> Result<Program, RuntimeError> {
        let params = AttachParams {
            container: Some(CONTAINER.to_owned()),
            stdin: input.is_some(),
            stdout: true,
            stderr: true,
            tty: false,
            max_stdin_buf_size: Some(FRAME),
            max_stdout_buf_size: Some(FRAME),
            max_stderr_buf_size: Some(FRAME),
        };
        let started = self.pods().exec(pod, argv, &params).await;
        let mut process = started.map_err(|error| failed(format!("starting a program in {pod}"), error))?;
        let lost = || RuntimeError::NotRunning(pod.to_owned());
        let output = process.stdout().map(carried).ok_or_else(lost)?;
        let errors = process.stderr().map(carried).ok_or_else(lost)?;
        let status = process.take_status().ok_or_else(lost)?;
        let feeding = input.zip(process.stdin()).map(|(input, stdin)| tokio::spawn(feed(input, stdin)));
        let (tell, told) = oneshot::channel();
        tokio::spawn(async move {
            if let Some(end) = status.await.as_ref().and_then(ended) {
                let _ = tell.send(end.code());
            }
            // Closed sooner, the way in would take the way out with it.
            if let Some(feeding) = feeding {
                feeding.abort();
            }
            drop(process);
        });
        Ok(Program { output, errors, ended: told })
    }

    /// What became of a pod whose program was lost.
    pub async fn fate(&self, name: &str) -> Result<BuildFate, RuntimeError> {
        let pods = self.pods();
        let pod = patiently("looking at a build's pod", || pods.get_opt(name)).await?;
        Ok(pod.as_ref().map_or(BuildFate::Lost, fate))
    }

    /// Ends a pod at once. One that is gone is no error.
    pub async fn remove(&self, name: &str) -> Result<(), RuntimeError> {
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        self.cluster.delete(&self.pods(), name, &now).await?;
        let maps = self.cluster.of::<ConfigMap>(&self.config.namespace);
        self.cluster.delete(&maps, name, &DeleteParams::default()).await
    }

    /// Ends all of this server's whose names begin so.
    pub async fn clear(&self, prefix: &str) -> Result<(), RuntimeError> {
        let namespaces: Api<Namespace> = Api::all(self.cluster.client.clone());
        let doing = "looking for the builds' namespace";
        if patiently(doing, || namespaces.get_opt(&self.config.namespace)).await?.is_none() {
            return Ok(());
        }
        let (pods, ours) = (self.pods(), ListParams::default().labels(&self.cluster.ours()));
        let found = patiently("listing builds' pods", || pods.list_metadata(&ours)).await?;
        for name in found.items.into_iter().filter_map(|pod| pod.metadata.name) {
            if name.starts_with(prefix) {
                self.remove(&name).await?;
            }
        }
        Ok(())
    }

    async fn prepare(&self) -> Result<(), RuntimeError> {
        let (cluster, namespace) = (&self.cluster, self.config.namespace.as_str());
        let objects = self.objects();
        cluster.namespace(&objects.namespace()).await?;
        if let Some(subject) = &cluster.subject {
            cluster.apply(&cluster.of::<RoleBinding>(namespace), &objects.own_rights(subject)).await?;
        }
        if let Some(registries) = objects.registries() {
            cluster.apply(&cluster.of::<Secret>(namespace), &registries).await?;
        }
        cluster.apply(&cluster.of::<ServiceAccount>(namespace), &objects.account()).await?;
        cluster.apply(&cluster.of::<NetworkPolicy>(namespace), &objects.network_policy()).await.map(drop)
    }

    fn objects(&self) -> BuildObjects<'_> {
        BuildObjects {
            server: &self.cluster.server,
            namespace: &self.config.namespace,
            registries: self.config.registries.as_ref().map(|registries| registries.expose_secret()),
        }
    }

    fn pods(&self) -> Api<Pod> {
        self.cluster.of(&self.config.namespace)
    }
}

/// What a program says, in an own task: what is not read yet keeps nothing else of the connection waiting for it.
fn carried(mut from: impl AsyncRead + Send + Unpin + 'static) -> DuplexStream {
    let (ours, mut theirs) = tokio::io::duplex(BUFFER);
    tokio::spawn(async move { tokio::io::copy(&mut from, &mut theirs).await });
    ours
}

fn fate(pod: &Pod) -> BuildFate {
    let reason = |pod: &Pod| pod.status.as_ref()?.reason.clone();
    let killed = container(pod).and_then(|state| state.terminated.as_ref()?.reason.as_deref()) == Some("OOMKilled");
    match reason(pod).as_deref() {
        Some("DeadlineExceeded") => BuildFate::Time,
        Some("Evicted") => BuildFate::Disk,
        _ if killed => BuildFate::Memory,
        _ if runs(pod) => BuildFate::Runs,
        _ => BuildFate::Lost,
    }
}

async fn feed(mut input: tokio::fs::File, mut stdin: impl AsyncWrite + Unpin) {
    if tokio::io::copy(&mut input, &mut stdin).await.is_ok() && stdin.flush().await.is_ok() {
        std::future::pending::<()>().await;
    }
}

fn container(pod: &Pod) -> Option<&k8s_openapi::api::core::v1::ContainerState> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()?.state.as_ref()
}

fn runs(pod: &Pod) -> bool {
    container(pod).is_some_and(|state| state.running.is_some())
}

/// Why nothing will come of a pod.
fn trouble(pod: &Pod) -> Option<String> {
    if let Some(state) = container(pod) {
        if let Some(why) = hopeless(state) {
            return Some(why);
        }
        if let Some(ended) = &state.terminated {
            return Some(ended.message.clone().or_else(|| ended.reason.clone()).unwrap_or_default());
        }
    }
    let status = pod.status.as_ref().filter(|status| status.phase.as_deref() == Some("Failed"))?;
    Some(status.message.clone().or_else(|| status.reason.clone()).unwrap_or_default())
}

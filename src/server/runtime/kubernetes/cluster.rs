//! The cluster's API, in the few words that this adapter uses. What cannot be done at the moment (an API server that is
//! restarted, a conflict, a right that is only just given) is tried again for a while; a refusal is told at once.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::NamespaceResourceScope;
use kube::runtime::wait::{await_condition, conditions};
use kube::{Client, Config, Error, Resource};
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::names::{MANAGER, SERVER};
use crate::server::runtime::RuntimeError;

/// How long what cannot be done is tried again: longer than an API server takes to be restarted.
const PATIENCE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// For a right to be known everywhere after it was given.
const RIGHTS: Duration = Duration::from_secs(10);
/// For a namespace of the same name to be gone.
const GOING: Duration = Duration::from_secs(90);
/// The oldest release whose API has all that is used here.
const OLDEST: (u32, u32) = (1, 20);
/// Where a pod finds the account it runs as.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// The cluster, on behalf of one server.
#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) client: Client,
    /// The label of all that is this server's.
    pub(super) server: String,
    /// The service account that this server signs in as, if it is one: who else signs in has been given all it needs.
    pub(super) subject: Option<Value>,
    /// Where the API is.
    pub(super) api: (String, u16),
}

impl Cluster {
    /// The cluster of a kubeconfig; without one, of the pod that this runs in, or else of the user's own kubeconfig.
    pub(super) async fn connect(
        kubeconfig: Option<&Path>,
        context: Option<&str>,
        server: String,
    ) -> Result<Self, RuntimeError> {
        let config = config(kubeconfig, context).await?;
        let subject = account(&config);
        let host = config.cluster_url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let api = (host, config.cluster_url.port_u16().unwrap_or(443));
        let address = config.cluster_url.to_string();
        let unavailable = |error: Error| {
            RuntimeError::Unavailable(format!("the Kubernetes cluster at {address} does not answer: {}", shown(&error)))
        };
        let client = Client::try_from(config).map_err(unavailable)?;
        let version = client.apiserver_version().await.map_err(unavailable)?;
        let number = |text: &str| text.trim_end_matches('+').parse::<u32>().unwrap_or_default();
        let version_told = (number(&version.major), number(&version.minor));
        // Servers that people build themselves need not know what they are.
        if version_told.0 > 0 && version_told < OLDEST {
            let (major, minor) = OLDEST;
            return Err(RuntimeError::Unavailable(format!(
                "the Kubernetes cluster at {address} is a {}; {major}.{minor} is the oldest that apps can run on",
                version.git_version
            )));
        }
        Ok(Self { client, server, subject, api })
    }

    /// Objects of one namespace.
    pub(super) fn of<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Makes an object be as told, whatever others wrote into the same fields.
    pub(super) async fn apply<K>(&self, api: &Api<K>, object: &Value) -> Result<K, RuntimeError>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let (params, patch) = (PatchParams::apply(MANAGER).force(), Patch::Apply(object));
        let doing = format!("applying the {} `{name}`", K::kind(&()));
        patiently(&doing, || api.patch(name, &params, &patch)).await
    }

    /// Removes an object with all that depends on it; one that is gone is no error.
    pub(super) async fn delete<K>(&self, api: &Api<K>, name: &str, params: &DeleteParams) -> Result<(), RuntimeError>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let doing = format!("removing the {} `{name}`", K::kind(&()));
        unless_gone(patiently(&doing, || api.delete(name, params)).await)
    }

    /// Removes all these objects.
    pub(super) async fn delete_all<K>(
        &self,
        api: &Api<K>,
        which: &ListParams,
        params: &DeleteParams,
    ) -> Result<(), RuntimeError>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let doing = format!("removing the {} of {}", K::plural(&()), which.label_selector.as_deref().unwrap_or("all"));
        unless_gone(patiently(&doing, || api.delete_collection(params, which)).await)
    }

    /// Makes a namespace be there and ours. One of that name that is on its way out is waited for.
    pub(super) async fn namespace(&self, object: &Value) -> Result<(), RuntimeError> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let doing = format!("looking at the namespace `{name}`");
        if let Some(found) = patiently(&doing, || api.get_opt(name)).await? {
            let labels = found.metadata.labels.unwrap_or_default();
            if labels.get(SERVER) != Some(&self.server) {
                return Err(RuntimeError::Unavailable(format!(
                    "the namespace `{name}` is in the cluster already and is not this server's: remove it, or set \
                     `kubernetes.namespace_prefix` in server.toml, or choose another name for the app"
                )));
            }
            if found.metadata.deletion_timestamp.is_some() {
                let uid = found.metadata.uid.unwrap_or_default();
                let gone = await_condition(api.clone(), name, conditions::is_deleted(&uid));
                timeout(GOING, gone).await.map_err(|_| stuck(name))?.map_err(|_| stuck(name))?;
            }
        }
        self.apply(&api, object).await.map(drop)
    }

    /// Selects all that is this server's.
    pub(super) fn ours(&self) -> String {
        format!("{SERVER}={}", self.server)
    }
}

fn stuck(name: &str) -> RuntimeError {
    RuntimeError::Unavailable(format!(
        "the namespace `{name}` is being removed and does not go: `kubectl get namespace {name} -o yaml` says what holds it"
    ))
}

async fn config(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Config, RuntimeError> {
    let unusable = |error: &dyn std::fmt::Display| {
        let file = kubeconfig.map_or_else(|| "the user's own".to_owned(), |file| format!("`{}`", file.display()));
        RuntimeError::Unavailable(format!("the kubeconfig {file} cannot be used: {error}"))
    };
    if kubeconfig.is_none()
        && context.is_none()
        && let Ok(config) = Config::incluster()
    {
        return Ok(config);
    }
    let read = match kubeconfig {
        Some(file) => Kubeconfig::read_from(file),
        None => Kubeconfig::read(),
    };
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(read.map_err(|error| unusable(&error))?, &options);
    config.await.map_err(|error| unusable(&error))
}

/// Whether this process runs in a pod that may use its cluster.
pub(super) fn is_inside() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && Path::new(TOKEN).exists()
}

/// The service account that a token was made for (its subject is `system:serviceaccount:NAMESPACE:NAME`).
fn account(config: &Config) -> Option<Value> {
    let auth = &config.auth_info;
    let token = match (&auth.token, &auth.token_file) {
        (Some(token), _) => token.expose_secret().to_owned(),
        (None, file) => std::fs::read_to_string(file.as_ref()?).ok()?,
    };
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let mut parts = claims["sub"].as_str()?.strip_prefix("system:serviceaccount:")?.split(':');
    Some(json!({"kind": "ServiceAccount", "namespace": parts.next()?, "name": parts.next()?}))
}

/// Does it again while the reason for not doing it may pass.
pub(super) async fn patiently<T, F>(doing: &str, mut ask: impl FnMut() -> F) -> Result<T, RuntimeError>
where
    F: Future<Output = Result<T, Error>>,
{
    let (begun, mut pause) = (Instant::now(), FIRST_PAUSE);
    loop {
        let error = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if begun.elapsed() > patience(&error) {
            return Err(failed(doing, error));
        }
        tracing::debug!("{doing}: tried again after: {}", shown(&error));
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// How long a reason may take to pass.
fn patience(error: &Error) -> Duration {
    match error {
        Error::Api(status) => match status.code {
            // Refused while a right that was just given is on its way, or while a namespace is going.
            403 => RIGHTS,
            409 | 429 | 500..=599 => PATIENCE,
            _ => Duration::ZERO,
        },
        Error::HyperError(_) | Error::Service(_) | Error::ReadEvents(_) => PATIENCE,
        _ => Duration::ZERO,
    }
}

/// Whether there is no such object.
pub(super) fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 404)
}

fn unless_gone<T>(done: Result<T, RuntimeError>) -> Result<(), RuntimeError> {
    match done {
        Err(RuntimeError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map(drop),
    }
}

/// The cluster's own words.
pub(super) fn shown(error: &Error) -> String {
    match error {
        Error::Api(status) if status.message.is_empty() => format!("it answered with status {}", status.code),
        Error::Api(status) => status.message.clone(),
        other => {
            let mut text = other.to_string();
            let mut cause = std::error::Error::source(other);
            while let Some(deeper) = cause {
                text = format!("{text}: {deeper}");
                cause = deeper.source();
            }
            text
        }
    }
}

pub(super) fn failed(doing: impl Into<String>, error: Error) -> RuntimeError {
    let kind = if is_gone(&error) { std::io::ErrorKind::NotFound } else { std::io::ErrorKind::Other };
    RuntimeError::Io { context: doing.into(), source: std::io::Error::new(kind, shown(&error)) }
}

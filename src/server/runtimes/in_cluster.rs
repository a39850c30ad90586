//! What the Kubernetes runtime is told.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, ensure};
use secrecy::SecretString;
use url::Url;

use super::Stacks;
use crate::server::config::ServerConfig;
use crate::server::runtime::kubernetes::{IngressConfig, Kubernetes, KubernetesConfig};

/// Where pods reach this server, and this machine's address as the cluster sees it.
pub(super) async fn addresses(config: &ServerConfig) -> anyhow::Result<(Url, Option<IpAddr>)> {
    let told = &config.kubernetes;
    let own = Kubernetes::own_address(told.kubeconfig.as_deref(), told.context.as_deref()).await?;
    let url = match (&told.server_url, &config.api_url) {
        (Some(url), _) | (None, Some(url)) => url.clone(),
        (None, None) => {
            let ip = if config.api.ip().is_unspecified() { own } else { Some(config.api.ip()) };
            let ip = ip.filter(|ip| !ip.is_loopback()).with_context(|| {
                format!(
                    "pods could fetch nothing from here: the API listens on {}, which is no address of theirs to reach. Let it \
                     listen on this machine's address (`api`), or say how it is reached (`kubernetes.server_url`)",
                    config.api
                )
            })?;
            Url::parse(&format!("http://{}", SocketAddr::new(ip, config.api.port())))?
        }
    };
    Ok((url, own))
}

/// All but the slugs' addresses; `own` is this machine's.
pub(super) fn told(config: &ServerConfig, stacks: &Stacks, own: Option<IpAddr>) -> anyhow::Result<KubernetesConfig> {
    let told = &config.kubernetes;
    Ok(KubernetesConfig {
        kubeconfig: told.kubeconfig.clone(),
        context: told.context.clone(),
        dir: config.data_dir.join("kubernetes"),
        namespace_prefix: told.namespace_prefix.clone(),
        images: stacks.iter().map(|(stack, made)| (stack.clone(), made.run.to_string())).collect(),
        grace: Duration::from_secs(config.deploy.grace_seconds),
        visitors: own.into_iter().collect(),
        ingress: ingress(config, own)?,
        registries: registries(config)?,
    })
}

fn ingress(config: &ServerConfig, own: Option<IpAddr>) -> anyhow::Result<Option<IngressConfig>> {
    let Some(class) = config.kubernetes.ingress_class.clone() else { return Ok(None) };
    let ip = if config.http.ip().is_unspecified() { own } else { Some(config.http.ip()) };
    let ip = ip.filter(|ip| !ip.is_loopback()).with_context(|| {
        format!(
            "`kubernetes.ingress_class` is set, and the cluster's ingress could not reach the router: it listens on {}. \
             Let it listen on this machine's address (`http`)",
            config.http
        )
    })?;
    Ok(Some(IngressConfig { class, router: SocketAddr::new(ip, config.http.port()) }))
}

/// Looked at now, for a cluster would only say that an image cannot be pulled.
pub(super) fn registries(config: &ServerConfig) -> anyhow::Result<Option<SecretString>> {
    let Some(file) = &config.kubernetes.registries_file else { return Ok(None) };
    let what = || format!("`kubernetes.registries_file`, {}", file.display());
    let text = std::fs::read_to_string(file).with_context(what)?;
    let read: serde_json::Value = serde_json::from_str(&text).with_context(what)?;
    ensure!(read["auths"].is_object(), "{} has no \"auths\": `docker login` writes such a file", what());
    Ok(Some(SecretString::from(text)))
}

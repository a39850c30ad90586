//! Builds in the cluster.

use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;

use super::{Stacks, in_cluster};
use crate::server::builder::{BuildCluster, KubernetesSandbox, RunningBuild};
use crate::server::config::ServerConfig;
use crate::server::domain::ClusterBuild;
use crate::server::parcels::Parcels;
use crate::server::runtime::RuntimeError;
use crate::server::runtime::kubernetes::{Builds, BuildsConfig, identity};

/// The sandbox that is a cluster.
pub(super) async fn sandbox(
    config: &ServerConfig,
    stacks: &Stacks,
    parcels: Arc<Parcels>,
) -> anyhow::Result<KubernetesSandbox> {
    let told = &config.kubernetes;
    let server = identity(&config.data_dir.join("kubernetes"))?;
    let builds = BuildsConfig {
        namespace: format!("{}gigalixir-builds-{server}", told.namespace_prefix),
        server,
        images: stacks.iter().map(|(stack, made)| (stack.clone(), made.build.to_string())).collect(),
        registries: in_cluster::registries(config)?,
    };
    let builds = Builds::connect(told.kubeconfig.as_deref(), told.context.as_deref(), builds).await;
    let builds = builds.context("building in the cluster")?;
    let (server, _) = in_cluster::addresses(config).await.context("building in the cluster")?;
    Ok(KubernetesSandbox::new(Arc::new(builds), parcels, server))
}

#[async_trait]
impl BuildCluster for Builds {
    async fn start(&self, build: &ClusterBuild) -> Result<RunningBuild, String> {
        let (output, ended) = self.begin(build).await.map_err(told)?;
        Ok(RunningBuild { output, ended })
    }

    async fn remove(&self, build: &str) -> Result<(), String> {
        self.end(build).await.map_err(told)
    }

    async fn clear(&self, prefix: &str) -> Result<(), String> {
        self.end_all(prefix).await.map_err(told)
    }
}

fn told(error: RuntimeError) -> String {
    match std::error::Error::source(&error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

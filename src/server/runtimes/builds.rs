//! Builds in the cluster's pods.

use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;

use super::{Stacks, in_cluster};
use crate::server::builder::{BuildCluster, BuildPod, Fate, KubernetesSandbox, PodProgram};
use crate::server::config::ServerConfig;
use crate::server::runtime::RuntimeError;
use crate::server::runtime::kubernetes::{BuildFate, BuildWish, Builds, BuildsConfig, identity};

/// The sandbox that is a cluster.
pub(super) async fn sandbox(config: &ServerConfig, stacks: &Stacks) -> anyhow::Result<KubernetesSandbox> {
    let told = &config.kubernetes;
    let server = identity(&config.data_dir.join("kubernetes"))?;
    let builds = BuildsConfig {
        namespace: format!("{}gigalixir-builds-{server}", told.namespace_prefix),
        server,
        images: stacks.iter().map(|(stack, made)| (stack.clone(), made.build.to_string())).collect(),
        registries: in_cluster::registries(config)?,
    };
    let builds = Builds::connect(told.kubeconfig.as_deref(), told.context.as_deref(), builds).await;
    Ok(KubernetesSandbox::new(Arc::new(Pods(builds.context("building in the cluster")?))))
}

struct Pods(Builds);

#[async_trait]
impl BuildCluster for Pods {
    async fn make(&self, pod: &BuildPod) -> Result<(), String> {
        let wish = BuildWish {
            name: pod.name.clone(),
            stack: pod.stack.clone(),
            volumes: pod.volumes.clone(),
            files: pod.files.clone(),
            memory_bytes: pod.memory_bytes,
            cpu_milli: pod.cpu_milli,
            disk_bytes: pod.disk_bytes,
            time: pod.time,
        };
        self.0.make(&wish).await.map_err(told)
    }

    async fn start(&self, pod: &str, argv: Vec<String>, input: Option<tokio::fs::File>) -> Result<PodProgram, String> {
        let program = self.0.start(pod, argv, input).await.map_err(told)?;
        Ok(PodProgram { output: Box::new(program.output), errors: Box::new(program.errors), ended: program.ended })
    }

    async fn fate(&self, pod: &str) -> Fate {
        match self.0.fate(pod).await {
            Ok(BuildFate::Runs) => Fate::Runs,
            Ok(BuildFate::Memory) => Fate::Memory,
            Ok(BuildFate::Disk) => Fate::Disk,
            Ok(BuildFate::Time) => Fate::Time,
            Ok(BuildFate::Lost) | Err(_) => Fate::Lost,
        }
    }

    async fn remove(&self, pod: &str) -> Result<(), String> {
        self.0.remove(pod).await.map_err(told)
    }

    async fn clear(&self, prefix: &str) -> Result<(), String> {
        self.0.clear(prefix).await.map_err(told)
    }
}

fn told(error: RuntimeError) -> String {
    match std::error::Error::source(&error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

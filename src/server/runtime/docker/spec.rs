//! What Docker is told: pure. Labels are the only memory a container has of whose it is.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, HostConfigLogConfig, NetworkingConfig,
    RestartPolicy, RestartPolicyNameEnum,
};

use crate::server::domain::{Exit, Workload};
use crate::server::runtime::spec::{self, Place};

/// The user of every app.
pub(super) const UID: u64 = 1000;
/// Where an app listens: the container has its address for itself.
pub(super) const PORT: u16 = 4000;
/// Where the platform's own files are in a container.
pub(super) const PLATFORM: &str = "/opt/gigalixir";

/// Where the slug is.
pub(super) const APP_FOLDER: &str = "/app";

/// Which server's it is.
pub(super) const SERVER: &str = "gigalixir.server";
/// Which app's: also of its network.
pub(super) const APP: &str = "gigalixir.app";
/// The generation, as its file of wishes is named.
pub(super) const WORKLOAD: &str = "gigalixir.workload";
pub(super) const INDEX: &str = "gigalixir.index";
pub(super) const ADDRESS: &str = "gigalixir.address";
pub(super) const RESTARTS: &str = "gigalixir.restarts";
pub(super) const LAST_EXIT: &str = "gigalixir.last_exit";

const PIDS_PER_GB: u32 = 1024;
/// Docker keeps that much output for a server that is away.
const LOG_FILES: [(&str, &str); 2] = [("max-size", "8m"), ("max-file", "3")];

/// One run of one instance.
pub(super) struct Run<'a> {
    pub(super) server: &'a str,
    pub(super) workload: &'a Workload,
    /// The name of the generation's file.
    pub(super) generation: &'a str,
    pub(super) name: &'a str,
    pub(super) index: u32,
    pub(super) image: &'a str,
    pub(super) network: &'a str,
    pub(super) address: Ipv4Addr,
    pub(super) restarts: u32,
    pub(super) last_exit: Option<&'a Exit>,
}

/// The container of a run.
pub(super) fn container(run: &Run<'_>) -> ContainerCreateBody {
    let ip = run.address.to_string();
    let place = Place { name: run.name, index: run.index, ip: &ip, port: PORT };
    let env = spec::environment(run.workload, &place);
    let own = |text: &str| Some(text.to_owned());
    ContainerCreateBody {
        image: own(run.image),
        // A host name has no underscore, a process type may have.
        hostname: Some(run.name.replace('_', "-")),
        user: Some(format!("{UID}:{UID}")),
        working_dir: own(APP_FOLDER),
        entrypoint: Some(vec!["/bin/bash".to_owned(), format!("{PLATFORM}/init")]),
        cmd: Some([&run.workload.command].into_iter().chain(&run.workload.arguments).cloned().collect()),
        env: Some(env.into_iter().filter(|(name, _)| !name.is_empty()).map(|(k, v)| format!("{k}={v}")).collect()),
        labels: Some(labels(run)),
        volumes: Some([PLATFORM, APP_FOLDER, "/tmp"].map(str::to_owned).to_vec()),
        stop_signal: own("SIGTERM"),
        attach_stdout: Some(false),
        attach_stderr: Some(false),
        host_config: Some(host(run)),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(run.network.to_owned(), endpoint(run.address))])),
        }),
        ..Default::default()
    }
}

fn labels(run: &Run<'_>) -> HashMap<String, String> {
    let mut labels = HashMap::from([
        (SERVER, run.server.to_owned()),
        (APP, run.workload.id.app.to_string()),
        (WORKLOAD, run.generation.to_owned()),
        (INDEX, run.index.to_string()),
        (ADDRESS, run.address.to_string()),
        (RESTARTS, run.restarts.to_string()),
        ("repo", run.workload.id.app.to_string()),
    ]);
    if let Some(exit) = run.last_exit.and_then(|exit| serde_json::to_string(exit).ok()) {
        labels.insert(LAST_EXIT, exit);
    }
    labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// No privilege, no capability, no way to get one; bounded by the size; nothing that Docker would restart by itself.
fn host(run: &Run<'_>) -> HostConfig {
    let size = run.workload.size;
    let memory = i64::try_from(size.memory_bytes()).ok();
    HostConfig {
        memory,
        memory_swap: memory,
        // 1024 is a whole core's weight.
        cpu_shares: i64::try_from(size.cpu_milli() * 1024 / 1000).ok().map(|shares| shares.max(2)),
        pids_limit: Some(i64::from(PIDS_PER_GB * size.milli().div_ceil(1000).max(1))),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        // But for the volumes, which go with the container.
        readonly_rootfs: Some(true),
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
        network_mode: Some(run.network.to_owned()),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(LOG_FILES.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
        }),
        ..Default::default()
    }
}

fn endpoint(address: Ipv4Addr) -> EndpointSettings {
    let ipam = EndpointIpamConfig { ipv4_address: Some(address.to_string()), ..Default::default() };
    EndpointSettings { ipam_config: Some(ipam), ..Default::default() }
}

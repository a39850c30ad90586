//! What Docker is told: pure. Labels are the only memory a container has of whose it is.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, HostConfigLogConfig, NetworkingConfig,
    RestartPolicy, RestartPolicyNameEnum,
};

use crate::server::domain::{Exit, Workload};
use crate::server::runtime::directory::{Directory, Membership};
use crate::server::runtime::erlang::{self, NODE_PORT};
use crate::server::runtime::spec::{self, FILES_FOLDER, Place};

/// The user of every app.
pub(super) const UID: u64 = 1000;
/// Where an app listens: the container has its address for itself.
pub(super) const PORT: u16 = 4000;
/// Erlang's own choice.
const EPMD_PORT: u16 = 4369;
/// Where libraries look for what a pod is told of its cluster; `/var/run` leads to `/run`.
const SECRETS: &str = "/run/secrets/kubernetes.io/serviceaccount";
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
    pub(super) inside: &'a Inside,
}

/// What an instance finds beside its slug, and in its environment. Secret.
pub(super) struct Inside {
    env: BTreeMap<String, String>,
    membership: Option<Membership>,
    address: IpAddr,
}

impl Inside {
    pub(super) fn of(
        workload: &Workload,
        (name, index): (&str, u32),
        address: IpAddr,
        directory: Option<&Directory>,
    ) -> Self {
        let mut wished = erlang::environment(&workload.env, address, EPMD_PORT, NODE_PORT);
        let membership = directory.map(|directory| directory.membership(&workload.id.app, &mut wished));
        let place = Place { name, index, ip: &address.to_string(), port: PORT };
        let env = spec::environment(&Workload { env: wished, ..workload.clone() }, &place);
        Self { env, membership, address }
    }

    /// Folders, and the files in each: name and text.
    pub(super) fn folders(&self) -> Vec<(&'static str, Vec<(&'static str, &str)>)> {
        let told = self.membership.iter().map(|membership| (SECRETS, membership.files().to_vec()));
        [(FILES_FOLDER, spec::files(&self.env).collect())].into_iter().chain(told).collect()
    }
}

/// The container of a run.
pub(super) fn container(run: &Run<'_>) -> ContainerCreateBody {
    let inside = run.inside;
    let env = inside.env.iter().filter(|(name, _)| !name.is_empty()).map(|(name, value)| format!("{name}={value}"));
    let own = |text: &str| Some(text.to_owned());
    ContainerCreateBody {
        image: own(run.image),
        // A host name has no underscore, a process type may have.
        hostname: Some(run.name.replace('_', "-")),
        user: Some(format!("{UID}:{UID}")),
        working_dir: own(APP_FOLDER),
        entrypoint: Some(vec!["/bin/bash".to_owned(), format!("{PLATFORM}/init")]),
        cmd: Some([&run.workload.command].into_iter().chain(&run.workload.arguments).cloned().collect()),
        env: Some(env.collect()),
        labels: Some(labels(run)),
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
///
/// The root file system is not mounted read only: Docker copies nothing into a container of which it is, and that is how
/// the slug comes to `/app` without a folder of this machine in it. The image's files are root's, which nobody inside is
/// or can become; what an app writes elsewhere goes with its container.
fn host(run: &Run<'_>) -> HostConfig {
    let size = run.workload.size;
    let names = run.inside.membership.iter().flat_map(|membership| membership.names(run.inside.address));
    let memory = i64::try_from(size.memory_bytes()).ok();
    HostConfig {
        memory,
        memory_swap: memory,
        // 1024 is a whole core's weight.
        cpu_shares: i64::try_from(size.cpu_milli() * 1024 / 1000).ok().map(|shares| shares.max(2)),
        pids_limit: Some(i64::from(PIDS_PER_GB * size.milli().div_ceil(1000).max(1))),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
        network_mode: Some(run.network.to_owned()),
        extra_hosts: Some(names.map(|(name, ip)| format!("{name}:{ip}")).collect()),
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

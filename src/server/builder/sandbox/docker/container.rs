//! One job's container, from its making to its removal; removed also when nobody waits for it any more.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio_util::io::StreamReader;

use super::super::Job;
use crate::server::docker::{Daemon, DockerError};

/// Which job's it is.
pub(super) const LABEL: &str = "gigalixir.build";
/// Which server's; the runtime's objects have it too.
pub(super) const SERVER: &str = "gigalixir.server";

/// Where a job runs, and as whom.
pub(super) struct Place<'a> {
    pub(super) image: &'a str,
    pub(super) network: &'a str,
    pub(super) server: &'a str,
    pub(super) user: (u32, u32),
}

/// How a job ended.
pub(super) struct End {
    /// As a shell counts.
    pub(super) code: i32,
    /// Whether the kernel killed something of it for memory.
    pub(super) out_of_memory: bool,
}

/// What a job says.
pub(super) type Said = StreamReader<Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>, Bytes>;

/// A started job.
pub(super) struct Container {
    daemon: Daemon,
    id: String,
    removed: bool,
}

impl Container {
    /// Makes and starts it, and what it says: stdout and stderr as one, from the first word on.
    pub(super) async fn start(daemon: Daemon, job: &Job, place: &Place<'_>) -> Result<(Self, Said), DockerError> {
        let failed = |cause| DockerError::Refused { doing: "starting the build's container".to_owned(), cause };
        let options = CreateContainerOptionsBuilder::default().name(&job.name).build();
        let made = daemon.docker.create_container(Some(options), body(job, place)).await.map_err(failed)?;
        let container = Self { daemon, id: made.id, removed: false };
        let options = AttachContainerOptionsBuilder::default().stdout(true).stderr(true).stream(true).build();
        let docker = &container.daemon.docker;
        let attached = docker.attach_container(&container.id, Some(options)).await.map_err(failed)?;
        docker.start_container(&container.id, None).await.map_err(failed)?;
        let said = attached.output.map(|piece| piece.map(LogOutput::into_bytes).map_err(io::Error::other));
        Ok((container, StreamReader::new(Box::pin(said))))
    }

    /// Its control group's folders, where this machine can see them.
    pub(super) async fn cgroup(&self) -> Vec<PathBuf> {
        let Ok(known) = self.daemon.docker.inspect_container(&self.id, None).await else { return Vec::new() };
        let pid = known.state.and_then(|state| state.pid).unwrap_or_default();
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let folder = |line: &str| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controller, path) = (fields.next()?, fields.next()?);
            Some(Path::new("/sys/fs/cgroup").join(controller).join(path.trim_start_matches('/')))
        };
        groups.lines().filter_map(folder).filter(|folder| folder.join("pids.events").exists()).collect()
    }

    /// Waits until it has ended.
    pub(super) async fn end(&self) -> Result<End, DockerError> {
        // Its answer says less than the state does, and comes as an error when the code is not 0.
        let _ = std::pin::pin!(self.daemon.docker.wait_container(&self.id, None)).next().await;
        let known = self.daemon.docker.inspect_container(&self.id, None).await;
        let failed = |cause| DockerError::Refused { doing: "asking how the build ended".to_owned(), cause };
        let known = known.map_err(failed)?;
        let state = known.state.unwrap_or_default();
        if state.running == Some(true) {
            return Err(DockerError::Unavailable("Docker went away during the build: push again".to_owned()));
        }
        let code = state.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or(-1);
        Ok(End { code, out_of_memory: state.oom_killed == Some(true) })
    }

    /// Kills what is left of it and removes it.
    pub(super) async fn remove(mut self) -> Result<(), DockerError> {
        self.removed = true;
        let failed = |cause| DockerError::Refused { doing: "removing the build's container".to_owned(), cause };
        remove(&self.daemon, &self.id).await.map_err(failed)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if self.removed {
            return;
        }
        let (daemon, id) = (self.daemon.clone(), std::mem::take(&mut self.id));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = remove(&daemon, &id).await {
                    tracing::warn!("a build's container stays until the next start: {error}");
                }
            });
        }
    }
}

/// Kills and removes a container; one that is gone is no error.
pub(super) async fn remove(daemon: &Daemon, id: &str) -> Result<(), Error> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    match daemon.docker.remove_container(id, Some(options)).await {
        // 409: it is being removed already.
        Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) | Ok(()) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Runs its arguments with one pipe for both outputs: in two, the order of what is said would be lost.
const AS_ONE: &str = r#"exec "$0" "$@" 2>&1"#;

fn body(job: &Job, place: &Place<'_>) -> ContainerCreateBody {
    let labels = [(SERVER, place.server), (LABEL, job.name.as_str())];
    ContainerCreateBody {
        image: Some(place.image.to_owned()),
        hostname: Some("build".to_owned()),
        user: Some(format!("{}:{}", place.user.0, place.user.1)),
        working_dir: Some(job.workdir.clone()),
        entrypoint: Some(["/bin/bash", "-c", AS_ONE, &job.program].map(str::to_owned).to_vec()),
        cmd: Some(job.args.clone()),
        env: Some(job.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        labels: Some(labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        host_config: Some(host(job, place)),
        ..Default::default()
    }
}

/// No privilege, no capability, no way to get one; what can be written are the job's folders.
fn host(job: &Job, place: &Place<'_>) -> HostConfig {
    let bounds = job.bounds;
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let limit = |name: &str, most: u64| ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(number(most)),
        hard: Some(number(most)),
    };
    HostConfig {
        memory: Some(number(bounds.memory_bytes)),
        memory_swap: Some(number(bounds.memory_bytes)),
        // Counted as memory; bounded there.
        shm_size: Some(number(bounds.memory_bytes)),
        // 1024 is a whole core's weight.
        cpu_shares: Some(number(bounds.cpu_milli * 1024 / 1000).max(2)),
        pids_limit: Some(bounds.processes.into()),
        // Open files are bounded as the daemon's own are; it may not give more.
        ulimits: Some(vec![limit("fsize", bounds.disk_bytes), limit("core", 0)]),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        readonly_rootfs: Some(true),
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
        network_mode: Some(place.network.to_owned()),
        // It is heard as it speaks, and kept elsewhere.
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: Some(HashMap::new()) }),
        mounts: Some(job.folders.iter().map(mount).collect()),
        ..Default::default()
    }
}

fn mount(folder: &super::super::Folder) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(folder.host.to_string_lossy().into_owned()),
        target: Some(folder.inside.clone()),
        read_only: Some(!folder.writable),
        ..Default::default()
    }
}

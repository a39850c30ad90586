//! Processes: how the replicas do, how many and how large they shall be, starting them anew.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::ActionError;
use super::access::Action;
use super::apps::{Apps, counts};
use super::enter::numbered;
use crate::api::app::{LastState, Pod, Scale, Status, Terminated};
use crate::server::domain::{
    App, Exit, ExitReason, Instance, InstanceState, ProcessType, ReleaseVersion, Size, User, WorkloadId,
};
use crate::server::nodes::{Sight, Trouble};
use crate::server::store::{StoreError, WorkloadState};

impl Apps {
    /// Every replica there is, those that are being replaced included.
    pub async fn status(&self, user: &User, name: &str) -> Result<Status, ActionError> {
        let app = self.may(user, name, Action::See).await?;
        let live = self.live_slug(&app).await?;
        let instances = self.rooms.deployer.status(&app.name);
        let standing = self.standing(&app).await?;
        let shas = self.shas(&app, &instances).await?;
        let mut nodes = self.rooms.nodes.of(&app.name).await;
        let mut pods = Vec::new();
        for instance in instances {
            let job = self.rooms.jobs.knows(&instance.workload);
            let (node, status) = (nodes.remove(&instance.name), status(&instance, job, &standing).into());
            pods.push(with_node(Pod { status, ..pod(instance, &shas) }, node));
        }
        Ok(Status {
            size: app.formation.size.as_f64(),
            cloud: self.settings.cloud.into(),
            region: self.settings.domain.to_string(),
            stack: app.stack.to_string(),
            replicas_desired: counts(&app.formation, live.as_ref()).values().sum(),
            replicas_running: pods.iter().filter(|pod| pod.status == "Healthy").count() as u32,
            unique_name: app.name.into(),
            pods,
        })
    }

    async fn standing(&self, app: &App) -> Result<HashMap<WorkloadId, WorkloadState>, ActionError> {
        let all = self.rooms.store.all_workloads().await?;
        Ok(all.into_iter().filter(|row| row.app == app.id).map(|row| (row.id, row.state)).collect())
    }

    async fn shas(&self, app: &App, instances: &[Instance]) -> Result<HashMap<ReleaseVersion, String>, ActionError> {
        let versions: HashSet<ReleaseVersion> = instances.iter().map(|instance| instance.release).collect();
        let mut shas = HashMap::new();
        for version in versions {
            match self.rooms.store.release(app.id, version).await {
                Ok(release) => shas.extend(release.slug.map(|(_, slug)| (version, slug.sha))),
                // A replica that a killed server had half made does not know what it runs; it is on its way out.
                Err(StoreError::NotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(shas)
    }

    /// Changes counts and size; returns when the new replicas are healthy. A wish for nothing tells how things are.
    pub async fn scale(&self, user: &User, name: &str, wish: Scale) -> Result<Scale, ActionError> {
        let app = self.may(user, name, Action::Scale).await?;
        let wished = wished_counts(&wish)?;
        let size = wish.size.map(Size::parse).transpose()?;
        let formation = match wished.is_empty() && size.is_none() {
            true => app.formation.clone(),
            false => self.rooms.deployer.scale(app.id, wished, size, user.email.to_string()).await?,
        };
        let live = self.live_slug(&app).await?;
        Ok(Scale {
            replicas: Some(formation.replicas_of(&ProcessType::web())),
            size: Some(formation.size.as_f64()),
            formation: counts(&formation, live.as_ref()),
        })
    }

    /// Ends one replica (a pod's name, or `web.2`) and puts a new one in its place; returns when the new one is on its way.
    pub async fn kill(&self, user: &User, name: &str, replica: &str) -> Result<(), ActionError> {
        let app = self.may(user, name, Action::Kill).await?;
        let all = self.rooms.deployer.status(&app.name);
        let replica = numbered(&all, replica).map_or(replica, |instance| &instance.name);
        if !self.rooms.deployer.kill(&app, replica, user.email.to_string()).await? {
            let text = format!("there is no replica `{}`; `gigalixir ps` lists them", replica.escape_debug());
            return Err(ActionError::NotFound(text));
        }
        self.rooms.logs.platform(&app.name, format!("{replica} killed by {}", user.email));
        Ok(())
    }

    /// Gives the app another Erlang cookie and replaces every replica at once.
    pub async fn rotate_cookie(&self, user: &User, name: &str) -> Result<(), ActionError> {
        let app = self.may(user, name, Action::Rekey).await?;
        Ok(self.rooms.deployer.rotate_cookie(app.id, user.email.to_string()).await?)
    }

    /// Replaces every replica by a new one of the same release, new beside old.
    pub async fn restart(&self, user: &User, name: &str) -> Result<(), ActionError> {
        let app = self.may(user, name, Action::Restart).await?;
        Ok(self.rooms.deployer.restart(app.id, user.email.to_string()).await?)
    }
}

/// `replicas` is `web`'s count, unless `formation` has one too.
fn wished_counts(wish: &Scale) -> Result<BTreeMap<ProcessType, u32>, ActionError> {
    let web = wish.replicas.map(|count| (ProcessType::web(), count));
    let mut counts: BTreeMap<_, _> = web.into_iter().collect();
    for (process, count) in &wish.formation {
        counts.insert(ProcessType::parse(process)?, *count);
    }
    Ok(counts)
}

/// A job or a rehearsal is never `Healthy`: whoever counts those waits for replicas that serve.
fn status(instance: &Instance, job: bool, standing: &HashMap<WorkloadId, WorkloadState>) -> &'static str {
    // A replaced generation is on its way out, even while its last visitors are still served.
    let stays = job || matches!(standing.get(&instance.workload), Some(WorkloadState::Serving | WorkloadState::Rising));
    match instance.state {
        InstanceState::Stopping => "Stopping",
        _ if !stays => "Stopping",
        InstanceState::Starting => "Starting",
        InstanceState::Ready if instance.workload.process == ProcessType::rehearsal() => "Rehearsing",
        InstanceState::Ready if job => "Running",
        InstanceState::Ready => "Healthy",
        InstanceState::Crashed => "Crashed",
        InstanceState::Ended => "Ended",
    }
}

fn pod(instance: Instance, shas: &HashMap<ReleaseVersion, String>) -> Pod {
    Pod {
        name: instance.name,
        process: instance.workload.process.into(),
        index: instance.index,
        sha: shas.get(&instance.release).cloned(),
        status: String::new(),
        version: instance.release.0,
        restarts: instance.restarts,
        machine: instance.machine,
        node: None,
        sees: None,
        runs: None,
        cluster: None,
        started_at: instance.started_at.map(|at| at.to_string()),
        last_state: LastState { terminated: instance.last_exit.map(terminated) },
    }
}

fn with_node(mut pod: Pod, seen: Option<(Sight, Option<Trouble>)>) -> Pod {
    let Some((sight, trouble)) = seen else { return pod };
    if let Sight::Node { name, sees, version } = sight {
        (pod.node, pod.sees, pod.runs) = (Some(name), Some(sees), version);
    }
    pod.cluster = trouble.map(|trouble| trouble.to_string());
    pod
}

fn terminated(exit: Exit) -> Terminated {
    let reason = match exit.reason {
        ExitReason::Completed => "Completed",
        ExitReason::Error => "Error",
        ExitReason::OOMKilled => "OOMKilled",
        ExitReason::TimedOut => "TimedOut",
        ExitReason::Lost => "Lost",
    };
    Terminated { exit_code: exit.code, reason: reason.into(), finished_at: exit.at.to_string() }
}

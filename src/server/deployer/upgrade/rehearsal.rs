//! The rehearsal: a replica of the old release that nobody visits is upgraded first, and back if there is a way back.
//!
//! It is started like any replica, so what holds for it holds for the others: but with a cookie of its own, and without
//! a way to find the app's nodes, so that it is in no cluster of theirs.

use std::time::Duration;

use tokio::task::JoinHandle;

use crate::server::domain::{App, InstanceState, ProcessType, Workload, WorkloadId};
use crate::server::hot::{Change, Outcome};
use crate::server::progress::Progress;
use crate::server::store::WorkloadState;

use super::node::with_source;
use super::{Kit, Standing, UpgradeFailure};
use crate::server::deployer::{DeployError, Deployer};

/// How long the changed node is watched for what crashes.
const WATCH: Duration = Duration::from_secs(1);
const COOKIES: [&str; 3] = ["ERLANG_COOKIE", "MY_COOKIE", "RELEASE_COOKIE"];

impl Deployer {
    /// Rehearses. The replica leaves however it ends: before this returns if it failed, else beside what comes next.
    pub(super) async fn rehearse(
        &self,
        app: &App,
        (generation, timeout): (i64, Duration),
        kit: &Kit,
        progress: &Progress,
    ) -> Result<Option<JoinHandle<()>>, DeployError> {
        let Some(workload) = self.understudy(app, generation) else { return Ok(None) };
        let (from, to) = (&kit.plan.from, &kit.plan.to);
        progress.line(format!("Rehearsing {from} -> {to} in a replica that nobody visits ...")).await;
        let outcome = self.rehearse_in(app, &workload, timeout, kit, progress).await;
        // Before the commit, which makes the generations serve that this operation has raised.
        self.0.rooms.store.drain_workload(app.id, &workload.id).await?;
        self.0.fleet.fail(&app.name, workload.id.generation);
        let (this, app, id) = (self.clone(), app.id, workload.id);
        let leaving = tokio::spawn(async move { this.retire(app, &id).await });
        match outcome {
            Ok(way_back) => {
                progress.line(format!("The rehearsal went well{way_back}.")).await;
                Ok(Some(leaving))
            }
            Err(error) => {
                let _ = leaving.await;
                Err(error)
            }
        }
    }

    /// A replica of what serves, apart from it.
    fn understudy(&self, app: &App, generation: i64) -> Option<Workload> {
        let serving = self.0.fleet.serving(&app.name).into_iter().filter(|workload| workload.replicas > 0);
        let like = serving.max_by_key(|workload| workload.id.process.is_web())?;
        let mut env = like.env.clone();
        let cookie = uuid::Uuid::new_v4().simple().to_string();
        env.extend(COOKIES.map(|name| (name.to_owned(), cookie.clone())));
        env.insert("LIBCLUSTER_KUBERNETES_SELECTOR".to_owned(), "repo=nobody".to_owned());
        let id = WorkloadId { app: app.name.clone(), process: ProcessType::rehearsal(), generation };
        Some(Workload { id, replicas: 1, env, ..like })
    }

    /// What there is to say of the way back.
    async fn rehearse_in(
        &self,
        app: &App,
        workload: &Workload,
        timeout: Duration,
        kit: &Kit,
        progress: &Progress,
    ) -> Result<&'static str, DeployError> {
        let failed = |found: Vec<String>| {
            DeployError::Upgrade(Box::new(UpgradeFailure {
                replica: ProcessType::rehearsal().to_string(),
                found,
                rehearsal: true,
            }))
        };
        let rooms = &self.0.rooms;
        let row = rooms.releases.seal_workload(app.id, workload, WorkloadState::Rising)?;
        rooms.store.add_workloads(vec![row]).await?;
        self.0.fleet.add(workload.clone(), WorkloadState::Rising);
        rooms.runtime.apply(workload).await?;
        self.await_healthy(app, std::slice::from_ref(workload), timeout, progress).await.map_err(
            |error| match error {
                DeployError::Unhealthy(_) => {
                    failed(vec![format!("the old release did not become healthy there: {error}")])
                }
                other => other,
            },
        )?;
        let instances = self.status(&app.name);
        let instance =
            instances.into_iter().find(|one| one.workload == workload.id && one.state == InstanceState::Ready);
        let Some(instance) = instance else { return Err(failed(vec!["its replica has ended".to_owned()])) };
        let cookies = workload.env.get(COOKIES[2]).cloned().into_iter().collect();
        let standing = Standing { instance, cookies };
        self.try_node(kit, &standing, &Default::default(), &workload.health, WATCH).await.map_err(failed)?;
        let Some(back) = &kit.back else { return Ok("; there is no way back but a restart") };
        self.and_back(&standing, back, kit).await.map_err(failed)?;
        Ok(", forth and back")
    }

    async fn and_back(&self, standing: &Standing, back: &Change, kit: &Kit) -> Result<(), Vec<String>> {
        let went = async {
            let mut node = self.enter(standing, &kit.program).await?;
            let outcome = node.change(back).await?;
            Ok::<_, crate::server::hot::NodeError>((node.look(back).await?, outcome))
        };
        match went.await {
            Ok((wrong, Outcome::Changed(_))) if wrong.all().is_empty() => Ok(()),
            Ok((wrong, Outcome::Changed(_))) => Err(prefixed(wrong.all())),
            Ok((_, Outcome::Refused(why) | Outcome::Broken(why))) => Err(prefixed(vec![why])),
            Err(error) => Err(prefixed(vec![with_source(&error)])),
        }
    }
}

fn prefixed(found: Vec<String>) -> Vec<String> {
    found.into_iter().map(|text| format!("on the way back: {text}")).collect()
}

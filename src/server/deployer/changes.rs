//! What makes releases: new code, an older release, another config. And the restart, which makes none.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;

use crate::server::domain::{App, AppId, ConfigVars, JobId, ReleaseVersion, Slug};
use crate::server::jobs::Phase;
use crate::server::progress::Progress;
use crate::server::releases::{Blueprint, Target};
use crate::server::steps;
use crate::server::store::{Kind, OperationId, PushRef, SlugId};

use super::plan::{self, Plan};
use super::rollout::Rollout;
use super::wishes::{HealthRules, Subject, workloads};
use super::{DeployError, Deployer, Hot};

/// New code for an app.
pub struct Deploy {
    /// Whose.
    pub app: AppId,
    /// The slug, whose archive is in the slug store.
    pub slug: (SlugId, Slug),
    /// The address of who deploys.
    pub by: String,
    /// What moves once it is committed.
    pub push: Option<PushRef>,
    /// What has to be durable before the commit is.
    pub before_commit: Option<BeforeCommit>,
    /// How it is brought to running nodes, if it shall be.
    pub hot: Option<Hot>,
}

/// Work between "healthy" and "committed"; its error undoes the rollout.
pub type BeforeCommit = BoxFuture<'static, Result<(), String>>;

/// A change that is live.
#[derive(Debug, Clone, Copy)]
pub struct Deployed {
    /// The release.
    pub version: ReleaseVersion,
    /// The operation, for [`Deployer::ref_moved`].
    pub operation: OperationId,
}

/// How an older release comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RollbackBy {
    /// New replicas beside the old ones.
    Restart,
    /// In running nodes.
    Upgrade {
        /// Else as ever, if that cannot be done.
        or_restart: bool,
    },
}

/// When running replicas take a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// At once, by new replicas.
    Restart,
    /// When they are started anew.
    Later,
    /// At once, while they run.
    Hot,
}

impl Deployer {
    /// Makes a release of new code and the present config, and makes it live. Returns when visitors are on it.
    pub async fn deploy(&self, deploy: Deploy, progress: &Progress) -> Result<Deployed, DeployError> {
        let heard = progress.clone();
        self.in_turn(deploy.app, progress, move |this, app| async move {
            let ground = this.0.rooms.releases.blueprint(&app).await?;
            let summary = format!("Deploy {}", deploy.slug.1.sha.get(..7).unwrap_or(&deploy.slug.1.sha));
            let blueprint = Blueprint { slug: Some(deploy.slug), summary, ..ground };
            let before_commit = deploy.before_commit;
            let begun = Begun {
                kind: Kind::Deploy,
                by: deploy.by,
                push: deploy.push,
                effect: Effect::Restart,
                before_commit,
                hot: deploy.hot,
            };
            this.release(&app, begun, blueprint, &heard).await
        })
        .await
    }

    /// Says that the ref of a deployed push has moved: nothing of it is left to do.
    pub async fn ref_moved(&self, operation: OperationId) -> Result<(), DeployError> {
        Ok(self.0.rooms.store.finish_push(operation).await?)
    }

    /// Makes a new release of what an older one last ran with: code, config and formation.
    ///
    /// In running nodes, if `how` says so: by the way back of the upgrade that led from it, where there is one.
    pub async fn rollback(
        &self,
        app: AppId,
        target: Target,
        how: RollbackBy,
        by: String,
    ) -> Result<Deployed, DeployError> {
        let silent = Progress::silent();
        self.in_turn(app, &silent, move |this, app| async move {
            let (version, ground) = this.0.rooms.releases.restore(app.id, target).await?;
            let blueprint = Blueprint { summary: format!("Rollback to {version}."), ..ground };
            let live = this.0.rooms.store.live_slug(app.id).await?;
            let hot = match (how, live, &blueprint.slug) {
                (RollbackBy::Upgrade { or_restart }, Some(old), Some((_, new))) => {
                    let plan = this.0.rooms.plans.back(&old, new, &Progress::silent()).await?;
                    Some(Hot { plan, old: old.digest, or_restart, understudy: None })
                }
                _ => None,
            };
            let begun =
                Begun { kind: Kind::Rollback, by, push: None, effect: Effect::Restart, before_commit: None, hot };
            this.release(&app, begun, blueprint, &Progress::silent()).await
        })
        .await
    }

    /// Lays `changes` over the config. `None` if that changes nothing: then there is no release and no restart.
    pub async fn set_config(
        &self,
        app: AppId,
        changes: BTreeMap<String, String>,
        effect: Effect,
        by: String,
    ) -> Result<Option<Deployed>, DeployError> {
        let summary = config_summary("Set", changes.keys());
        let most = self.0.settings.config_bytes;
        let change = move |config: &ConfigVars| config.with(changes, most);
        self.change_config(app, summary, effect, by, change).await
    }

    /// Takes `names` out of the config. `None` if none of them was in it.
    pub async fn unset_config(
        &self,
        app: AppId,
        names: Vec<String>,
        effect: Effect,
        by: String,
    ) -> Result<Option<Deployed>, DeployError> {
        let summary = config_summary("Unset", names.iter());
        let change = move |config: &ConfigVars| Ok(config.without(&names));
        self.change_config(app, summary, effect, by, change).await
    }

    /// Replaces every replica by a new one of the live release. Without code or replicas there is nothing to do.
    pub async fn restart(&self, app: AppId, by: String) -> Result<(), DeployError> {
        let silent = Progress::silent();
        self.in_turn(app, &silent, move |this, app| async move { this.restart_now(&app, &by).await }).await
    }

    /// Gives the app another Erlang cookie, and every replica at once: nodes of two cookies are two clusters, so all new
    /// ones stand beside all old ones, and visitors go from the one cluster to the other in one step. If the new ones do
    /// not become healthy, the old ones go on with the old cookie and the next restart brings the new one.
    pub async fn rotate_cookie(&self, app: AppId, by: String) -> Result<(), DeployError> {
        let silent = Progress::silent();
        self.in_turn(app, &silent, move |this, app| async move {
            this.0.rooms.releases.rotate_cookie(app.id, by.clone()).await?;
            this.tell(&app, &format!("{by}: Rotated the Erlang cookie; every replica is replaced at once."));
            this.restart_now(&app, &by).await
        })
        .await
    }

    async fn restart_now(&self, app: &App, by: &str) -> Result<(), DeployError> {
        let rooms = &self.0.rooms;
        let Some(release) = rooms.releases.live(app.id).await? else { return Ok(()) };
        let Some(slug) = &release.slug else { return Ok(()) };
        let rules = HealthRules::new(&release.config, self.0.settings.health_timeout)?;
        let secrets = rooms.releases.secrets(app.id).await?;
        let operation = rooms.releases.begin_without_release(app.id, Kind::Restart, by).await?;
        let subject = Subject {
            app: &app.name,
            domain: &self.0.settings.domain,
            secrets: &secrets,
            version: release.version,
            slug,
            config: &release.config,
        };
        let wanted = workloads(subject, &app.formation, operation.id.0, &rules, self.0.settings.uptime);
        let plan = plan::renew(&self.0.fleet.serving(&app.name), wanted);
        let formation = app.formation.clone();
        let rollout = Rollout {
            operation,
            phase: None,
            plan,
            formation,
            deployed: true,
            timeout: rules.timeout,
            before_commit: None,
        };
        self.roll_out(app, rollout, &Progress::silent()).await
    }

    /// Ends one replica and puts a new one in its place; a job's is stopped. False if the app has none of that name.
    pub async fn kill(&self, app: &App, replica: &str, by: String) -> Result<bool, DeployError> {
        let rooms = &self.0.rooms;
        let Some(instance) = self.status(&app.name).into_iter().find(|instance| instance.name == replica) else {
            return Ok(false);
        };
        if rooms.jobs.knows(&instance.workload) {
            return Ok(rooms.jobs.stop(JobId(instance.workload.generation)).await?);
        }
        let replaced = rooms.runtime.replace(&instance.workload, replica, self.0.settings.grace).await?;
        if replaced {
            rooms.store.record_kill(app.id, replica.to_owned(), by).await?;
        }
        Ok(replaced)
    }

    async fn change_config(
        &self,
        app: AppId,
        summary: String,
        effect: Effect,
        by: String,
        change: impl FnOnce(&ConfigVars) -> Result<ConfigVars, crate::server::domain::Invalid> + Send + 'static,
    ) -> Result<Option<Deployed>, DeployError> {
        let silent = Progress::silent();
        self.in_turn(app, &silent, move |this, app| async move {
            let ground = this.0.rooms.releases.blueprint(&app).await?;
            let config = change(&ground.config)?;
            if config == ground.config {
                return Ok(None);
            }
            let blueprint = Blueprint { config, summary, ..ground };
            let begun = Begun { kind: Kind::Config, by, push: None, effect, before_commit: None, hot: None };
            this.release(&app, begun, blueprint, &Progress::silent()).await.map(Some)
        })
        .await
    }

    /// Records a release and makes it live. All that can be found wrong is found before the record.
    async fn release(
        &self,
        app: &App,
        mut begun: Begun,
        blueprint: Blueprint,
        progress: &Progress,
    ) -> Result<Deployed, DeployError> {
        let or_restart = begun.hot.as_ref().is_some_and(|hot| hot.or_restart);
        let rooms = &self.0.rooms;
        let rules = HealthRules::new(&blueprint.config, self.0.settings.health_timeout)?;
        let secrets = rooms.releases.secrets(app.id).await?;
        let wanted = |version, generation| {
            let (_, slug) = blueprint.slug.as_ref()?;
            let (app, domain, config) = (&app.name, &self.0.settings.domain, &blueprint.config);
            let subject = Subject { app, domain, secrets: &secrets, version, slug, config };
            Some(workloads(subject, &blueprint.formation, generation, &rules, self.0.settings.uptime))
        };
        let hot = match begun.hot.take() {
            Some(hot) => self.surveyed(app, hot, wanted(ReleaseVersion(0), 0).unwrap_or_default(), progress).await?,
            None => None,
        };
        let told = match begun.effect {
            Effect::Hot => Some(self.survey_config(app, wanted(ReleaseVersion(0), 0).unwrap_or_default()).await?),
            Effect::Restart | Effect::Later => None,
        };
        let operation = rooms.releases.begin(app.id, begun.kind, &begun.by, begun.push, &blueprint).await?;
        steps::reached("release.recorded");
        // `begin` was given a blueprint, so it made a release.
        let version = operation.release.ok_or(DeployError::Interrupted)?;
        let wanted = wanted(version, operation.id.0);
        let hot = hot.map(|kit| kit.renewed_by(wanted.as_deref().unwrap_or_default()));
        let told = told.map(|kit| kit.renewed_by(wanted.as_deref().unwrap_or_default()));
        let phase = blueprint.slug.as_ref().filter(|_| begun.kind == Kind::Deploy).and_then(|(_, slug)| {
            let (line, slug, by) = (slug.release_phase()?.to_owned(), slug.clone(), begun.by.clone());
            Some(Phase { line, version, slug, config: blueprint.config.clone(), by })
        });
        let plan = match begun.effect {
            Effect::Restart => plan::renew(&self.0.fleet.serving(&app.name), wanted.unwrap_or_default()),
            Effect::Later | Effect::Hot => Plan::default(),
        };
        let deployed = Deployed { version, operation: operation.id };
        let rollout = Rollout {
            operation,
            phase,
            plan,
            formation: blueprint.formation,
            deployed: blueprint.slug.is_some(),
            timeout: rules.timeout,
            before_commit: begun.before_commit,
        };
        self.tell(app, &format!("{} {version}: {}", begun.by, blueprint.summary));
        let outcome = match (hot, told) {
            (Some(kit), _) => self.roll_out_hot(app, rollout, (kit, or_restart), progress).await,
            (None, Some(kit)) => self.roll_out_config(app, rollout, kit).await,
            (None, None) => self.roll_out(app, rollout, progress).await,
        };
        match &outcome {
            Ok(()) => self.tell(app, &format!("Release {version} is live.")),
            Err(error) => self.tell(app, &format!("Release {version} failed: {error}.")),
        }
        outcome.map(|()| deployed)
    }

    pub(super) fn tell(&self, app: &App, text: &str) {
        tracing::info!(app.name = %app.name, "{text}");
        self.0.rooms.log.platform(&app.name, text.to_owned());
    }
}

/// How a release is begun.
struct Begun {
    kind: Kind,
    by: String,
    push: Option<PushRef>,
    effect: Effect,
    before_commit: Option<BeforeCommit>,
    hot: Option<Hot>,
}

fn config_summary<'a>(verb: &str, names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    let noun = if names.len() == 1 { "var" } else { "vars" };
    format!("{verb} {} config {noun}.", names.join(", "))
}

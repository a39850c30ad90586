//! What a running replica may ask about its own app, and an ingress about a host. Neither is a person: the one signs in by
//! the app's name and `APP_KEY`, the other by the operator's key. A replica may do what is here and nothing else.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

use super::ActionError;
use super::account::Credentials;
use super::apps::Apps;
use crate::api::replica::{CurrentRelease, DomainStatus, Flame, FlameRunner, HostIndex};
use crate::server::domain::{App, AppName, Hostname, Invalid, ProcessType, RouteState, Size};
use crate::server::jobs::{Runner, RunnerWish};
use crate::server::store::StoreError;

impl Apps {
    /// The app of that name, if somebody presents its name and its key. Everything else is one refusal.
    pub async fn replica(&self, tried: &[Credentials], name: &str) -> Result<App, ActionError> {
        let refused = || ActionError::Unauthorized(Invalid::new("", "the app's name or its APP_KEY is wrong"));
        let Some(Credentials { secret, .. }) = tried.iter().find(|credentials| credentials.email == name) else {
            return Err(refused());
        };
        let app = match self.rooms.store.app_by_name(&AppName::parse(name).map_err(|_| refused())?).await {
            Err(StoreError::NotFound) => return Err(refused()),
            found => found?,
        };
        let key = self.rooms.releases.secrets(app.id).await?.app_key;
        if bool::from(key.as_bytes().ct_eq(secret.as_bytes())) { Ok(app) } else { Err(refused()) }
    }

    /// The index of a replica, by its `HOSTNAME`.
    pub fn host_index(&self, app: &App, host: &str) -> Result<HostIndex, ActionError> {
        let mut instances = self.rooms.deployer.status(&app.name).into_iter();
        match instances.find(|instance| instance.name == host) {
            Some(instance) => Ok(HostIndex { index: instance.index }),
            None => Err(ActionError::NotFound(format!("`{}` has no replica of that name", app.name))),
        }
    }

    /// All that is needed to run the live release.
    pub async fn current_release(&self, app: &App) -> Result<CurrentRelease, ActionError> {
        let live = self.rooms.releases.live(app.id).await?;
        let Some((slug, release)) = live.and_then(|mut release| Some((release.slug.take()?, release))) else {
            return Err(ActionError::NotFound(format!("`{}` has no release yet: push to it", app.name)));
        };
        let secrets = self.rooms.releases.secrets(app.id).await?;
        let url = self.rooms.slugs.signed_url(&self.settings.api_url, &slug.digest, self.settings.slug_url_life);
        Ok(CurrentRelease {
            slug_url: url.into(),
            customer_app_name: slug.customer_app_name,
            customer_app_version: slug.customer_app_version.unwrap_or_else(|| "HEAD".to_owned()),
            config: release.config.as_map().clone(),
            cloud: self.settings.cloud.into(),
            region: self.settings.domain.to_string(),
            version: release.version.0,
            sha: slug.sha,
            summary: release.summary,
            created_at: release.created_at.to_string(),
            replicas: app.formation.replicas_of(&ProcessType::web()),
            capabilities: wrapped(slug.capabilities),
            secret_key_base: secrets.secret_key_base,
            erlang_cookie: secrets.erlang_cookie,
            logplex_token: secrets.logplex_token,
            libcluster_kubernetes_selector: format!("repo={}", app.name),
            libcluster_kubernetes_node_basename: app.name.to_string(),
        })
    }

    /// The ssh keys of everybody who may go into the app's replicas.
    pub async fn keys_that_enter(&self, app: &App) -> Result<Vec<String>, ActionError> {
        Ok(self.rooms.store.keys_that_enter(app.id).await?)
    }

    /// Starts a runner of the app's own code; returns when it runs.
    pub async fn flame(&self, app: &App, wish: Flame) -> Result<FlameRunner, ActionError> {
        let wish = RunnerWish {
            env: wish.env,
            size: wish.size.map(Size::parse).transpose()?,
            limit: wish.max_runtime.map(Duration::from_secs),
        };
        let Runner { job, instance, address } = self.rooms.jobs.runner(app, wish).await?;
        self.rooms.logs.platform(&app.name, format!("Job {} is a runner that the app asked for", job.id));
        Ok(FlameRunner { instance_id: instance.name, private_ip: address.to_string() })
    }

    /// What stands between a visitor of a host and an app, for an ingress that shows the error page.
    pub fn domain_status(&self, tried: &[Credentials], host: &str) -> Result<DomainStatus, ActionError> {
        let key = self.settings.default_backend_key.as_ref().map(|key| key.expose_secret().as_bytes());
        let genuine = |key: &[u8]| {
            tried.iter().any(|with| with.email.is_empty() && bool::from(with.secret.as_bytes().ct_eq(key)))
        };
        if !key.is_some_and(genuine) {
            let text = "the key is wrong, or the operator has set none (`router.default_backend_key`)";
            return Err(ActionError::Unauthorized(Invalid::new("", text)));
        }
        let status = match Hostname::parse(host) {
            Ok(host) => self.status_of(&host),
            Err(_) => "domain_not_found",
        };
        Ok(DomainStatus { status: status.into() })
    }

    fn status_of(&self, host: &Hostname) -> &'static str {
        let table = self.rooms.deployer.routes().borrow().clone();
        match table.hosts.get(host).map(|route| &route.state) {
            Some(RouteState::Serving(_) | RouteState::Maintenance) => "ok",
            Some(RouteState::NothingDeployed) => "release_not_found",
            Some(RouteState::ScaledToZero | RouteState::Failing) => "replicas_not_found",
            None => {
                let ours = host.as_str().strip_suffix(self.settings.domain.as_str());
                if ours.is_some_and(|rest| rest.ends_with('.')) { "app_not_found" } else { "domain_not_found" }
            }
        }
    }
}

/// As the run containers of the original read them, however the buildpack wrote them.
fn wrapped(capabilities: Value) -> Value {
    match capabilities {
        Value::Object(map) if map.contains_key("distillery") => Value::Object(map),
        Value::Object(map) => json!({ "distillery": map }),
        _ => json!({ "distillery": {} }),
    }
}

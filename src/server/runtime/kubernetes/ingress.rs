//! Apps' hosts in the cluster's own ingress, kept as the server says they shall be: told anew whenever that changes, and
//! from time to time, should somebody have changed the objects. Without a class nothing shall be, and what an earlier server
//! told, which had one, is taken back.
//!
//! An app with hosts keeps its namespace, whether anything runs in it or not: its visitors come all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{Endpoints, Secret, Service};
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{DeleteParams, ListParams};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::IngressConfig;
use super::apps::Apps;
use super::cluster::patiently;
use super::shared::Shared;
use super::spec::PLATFORM;
use crate::server::domain::{AppName, Hostname, Pem};
use crate::server::runtime::RuntimeError;

/// Apps whose objects are told at a time.
const AT_ONCE: usize = 8;
/// All is told again after this,
const AGAIN: Duration = Duration::from_mins(10);
/// and what could not be told, after this.
const SOON: Duration = Duration::from_secs(5);

/// A host of an app's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngressHost {
    /// Its name.
    pub name: Hostname,
    /// Whether its visitors are led to the web replicas themselves; else to the server's router, which has more to do
    /// for them.
    pub straight: bool,
    /// What it is shown with over TLS, once there is one.
    pub certificate: Option<Arc<Pem>>,
}

impl IngressHost {
    /// What its objects are called: as the host, with a label instead of a wildcard's `*` that no host has (RFC 5890 2.3.1
    /// reserves such labels).
    pub(super) fn object(&self) -> String {
        self.name.below().map_or_else(|| self.name.to_string(), |parent| format!("wc--any.{parent}"))
    }
}

/// The hosts of every app that has some.
pub type IngressHosts = BTreeMap<AppName, Vec<IngressHost>>;

/// Keeps the objects, for ever.
pub(super) struct Ingresses {
    shared: Arc<Shared>,
    apps: Arc<Apps>,
    config: Option<IngressConfig>,
    /// What the cluster has heard.
    told: IngressHosts,
}

impl Ingresses {
    pub(super) fn new(shared: Arc<Shared>, apps: Arc<Apps>, config: Option<IngressConfig>) -> Self {
        Self { shared, apps, config, told: IngressHosts::new() }
    }

    /// Follows the wish until nobody wishes any more.
    pub(super) async fn follow(mut self, mut wished: watch::Receiver<Arc<IngressHosts>>) {
        // What an earlier server told of apps that are gone, or have no host any more.
        let left = self.apps.all().await;
        self.told = left.into_iter().map(|app| (app, Vec::new())).collect();
        let mut again = Instant::now() + AGAIN;
        let mut all = true;
        loop {
            let told = wished.borrow_and_update().clone();
            let wish = if self.config.is_some() { told } else { Arc::default() };
            let failed = self.tell(&wish, all).await;
            all = false;
            // A server that may not look for what it does not use asks no oftener than need be.
            let next = if failed && self.config.is_some() { again.min(Instant::now() + SOON) } else { again };
            tokio::select! {
                changed = wished.changed() => if changed.is_err() { return },
                () = sleep_until(next) => if Instant::now() >= again {
                    again = Instant::now() + AGAIN;
                    all = true;
                },
            }
        }
    }

    /// Tells what has changed, or all; whether some of it could not be told.
    async fn tell(&mut self, wish: &IngressHosts, all: bool) -> bool {
        let apps: BTreeSet<&AppName> = wish.keys().chain(self.told.keys()).collect();
        let due: Vec<_> =
            apps.into_iter().filter(|app| all || wish.get(*app) != self.told.get(*app)).cloned().collect();
        self.apps.keep(wish.keys().cloned().collect());
        let this = &*self;
        let results: Vec<_> = futures_util::stream::iter(due)
            .map(|app| async move {
                let hosts = wish.get(&app).map_or(&[][..], Vec::as_slice);
                let told = this.tell_app(&app, hosts).await;
                if let Err(error) = &told {
                    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
                    tracing::warn!(app.name = %app, "its ingress is not as it should be, and is told again: {error}: {cause}");
                }
                (app, told.is_ok())
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut failed = false;
        for (app, done) in results {
            match wish.get(&app) {
                _ if !done => failed = true,
                Some(hosts) => drop(self.told.insert(app, hosts.clone())),
                None => {
                    self.told.remove(&app);
                    self.apps.sweep_later(&app);
                }
            }
        }
        failed
    }

    async fn tell_app(&self, app: &AppName, hosts: &[IngressHost]) -> Result<(), RuntimeError> {
        if let Some(config) = self.config.as_ref().filter(|_| !hosts.is_empty()) {
            self.make(config, app, hosts).await?;
        }
        self.clear(app, hosts).await
    }

    async fn make(&self, config: &IngressConfig, app: &AppName, hosts: &[IngressHost]) -> Result<(), RuntimeError> {
        let (cluster, namespace) = (&self.shared.cluster, self.apps.namespace(app));
        let (ingresses, secrets) = (cluster.of::<Ingress>(&namespace), cluster.of::<Secret>(&namespace));
        let (services, endpoints) = (cluster.of::<Service>(&namespace), cluster.of::<Endpoints>(&namespace));
        let objects = self.apps.objects(app, &namespace);
        self.apps.prepare(app).await?;
        cluster.apply(&services, &objects.platform()).await?;
        cluster.apply(&endpoints, &objects.platform_address(config)).await?;
        for host in hosts {
            // The certificate first: an ingress never names one that is not there.
            if let Some(pem) = &host.certificate {
                cluster.apply(&secrets, &objects.certificate(host, pem)).await?;
            }
            cluster.apply(&ingresses, &objects.ingress(config, host)).await?;
        }
        Ok(())
    }

    /// Removes what is ours and for none of these hosts. Ingresses go last: by them whoever is interrupted knows the rest.
    async fn clear(&self, app: &AppName, hosts: &[IngressHost]) -> Result<(), RuntimeError> {
        let (cluster, namespace) = (&self.shared.cluster, self.apps.namespace(app));
        let (ingresses, secrets) = (cluster.of::<Ingress>(&namespace), cluster.of::<Secret>(&namespace));
        let (ours, now) = (ListParams::default().labels(&cluster.ours()), DeleteParams::default());
        let found = patiently("listing ingresses", || ingresses.list_metadata(&ours)).await?;
        if hosts.is_empty() && !found.items.is_empty() {
            // The cluster removes the addresses of a service that is gone.
            cluster.delete(&cluster.of::<Service>(&namespace), PLATFORM, &now).await?;
        }
        for name in found.items.into_iter().filter_map(|one| one.metadata.name) {
            let wished = hosts.iter().find(|host| host.object() == name);
            if wished.is_none_or(|host| host.certificate.is_none()) {
                // Somebody else's may be called the same.
                let certificate = ours.clone().fields(&format!("metadata.name={name}"));
                cluster.delete_all(&secrets, &certificate, &now).await?;
            }
            if wished.is_none() {
                cluster.delete(&ingresses, &name, &now).await?;
            }
        }
        Ok(())
    }
}

//! Where rooms that do not know each other meet: each port, implemented over the room that can do it. No logic here.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::actions::ActionError;
use super::actions::account::Accounts;
use super::actions::apps::{Apps, Repositories};
use super::actions::stacks::StackImages;
use super::builder::GitSource;
use super::cluster::{Member, Members};
use super::deployer::{AppLog, Deployer, Drains};
use super::docker::Daemon;
use super::domain::{AppName, Backend, Email, Instance, SlugDigest, Stack};
use super::http::auth::basic;
use super::http::git::{Admits, Refusal};
use super::http::{self as door};
use super::logs::Logs;
use super::nodes::{Replica, World};
use super::receiver::Receiver;
use super::releases::{Releases, Seals};
use super::router::{Guest, Inflight, Journal, Place, Portal, Router};
use super::runtime::session::Stream;
use super::runtime::{Runtime, RuntimeError, SlugAddresses, SlugSource};
use super::seal::Sealer;
use super::slugs::Slugs;
use super::stacks::Offered;
use super::store::Store;
use super::succession::Predecessor;
use super::tls::{Secured, Serves, Tls};
use crate::api::stack::StackImage;

/// Secrets of releases are sealed with the platform's key.
pub(super) struct Sealed(pub(super) Arc<Sealer>);

impl Seals for Sealed {
    fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        self.0.seal(context, plain)
    }

    fn unseal(&self, context: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        self.0.unseal(context, sealed).ok()
    }
}

/// Replicas are told of each other by the deployer, and are let in by the keys that their app's releases carry.
pub(super) struct AppMembers {
    pub(super) store: Store,
    pub(super) releases: Releases,
    pub(super) deployer: Deployer,
}

#[async_trait]
impl Members for AppMembers {
    async fn key(&self, app: &AppName) -> Option<String> {
        let app = self.store.app_by_name(app).await.ok()?;
        Some(self.releases.secrets(app.id).await.ok()?.app_key)
    }

    fn ready(&self, app: &AppName) -> Vec<Member> {
        let member = |instance: Instance| {
            let ip = instance.node?.ip();
            let process = instance.workload.process.to_string();
            Some(Member { name: instance.name, ip, process, release: instance.release.0 })
        };
        self.deployer.ready(app).into_iter().filter_map(member).collect()
    }
}

/// Nodes are replicas that the deployer made ready, reached through the runtime; people hear of them in the app's log and
/// in its activity.
pub(super) struct AppNodes {
    pub(super) store: Store,
    pub(super) deployer: Deployer,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) logs: Logs,
}

#[async_trait]
impl World for AppNodes {
    fn replicas(&self, app: &AppName) -> Vec<Replica> {
        let replica = |(instance, cookies): (Instance, Vec<String>)| {
            let label = format!("{}.{}", instance.workload.process, instance.index);
            let run = format!("{:?}", instance.started_at);
            Some(Replica { name: instance.name, label, node: instance.node?, run, cookies })
        };
        self.deployer.nodes(app).into_iter().filter_map(replica).collect()
    }

    async fn connect(&self, replica: &str, port: u16) -> Result<Box<dyn Stream>, RuntimeError> {
        self.runtime.connect(replica, port).await
    }

    async fn tell(&self, app: &AppName, what: String) {
        tracing::info!(app.name = %app, "{what}");
        self.logs.platform(app, &what);
        if let Ok(row) = self.store.app_by_name(app).await
            && let Err(error) = self.store.record_cluster(row.id, what).await
        {
            tracing::error!(app.name = %app, error = %error, "an event could not be recorded");
        }
    }
}

/// Runtimes take slugs from the slug store.
pub(super) struct SlugShelf(pub(super) Arc<Slugs>);

#[async_trait]
impl SlugSource for SlugShelf {
    async fn local_path(&self, digest: &SlugDigest) -> Result<PathBuf, RuntimeError> {
        self.0.local_path(digest).await.map_err(|error| {
            tracing::error!(slug = %digest, error = %error, "a slug cannot be had");
            RuntimeError::SlugMissing(digest.to_string())
        })
    }
}

/// Pods fetch slugs by signed addresses of this server.
pub(super) struct SignedSlugs {
    pub(super) slugs: Arc<Slugs>,
    /// As pods reach the API.
    pub(super) server: Url,
}

#[async_trait]
impl SlugAddresses for SignedSlugs {
    async fn address(&self, digest: &SlugDigest, valid: Duration) -> Result<String, RuntimeError> {
        // Found out now, not by a pod that waits for it.
        SlugShelf(self.slugs.clone()).local_path(digest).await?;
        Ok(self.slugs.signed_url(&self.server, digest, valid).into())
    }
}

/// Draining is the router's to know, and that of the server before this one, as long as that has visitors. The router is
/// made after the deployer, whose routes it serves, and put in here.
#[derive(Default)]
pub(super) struct Draining {
    inflight: OnceLock<Inflight>,
    alone: CancellationToken,
}

impl Draining {
    /// Puts the router in.
    pub(super) fn ask(&self, inflight: Inflight) {
        // Nothing was put there before.
        let _ = self.inflight.set(inflight);
    }

    /// Whether somebody else may have visitors on our replicas, of which none is drained before they are gone.
    pub(super) fn expect(&self, predecessor: bool) {
        if !predecessor {
            self.alone.cancel();
        }
    }

    /// Tells them that visitors are served here, and waits for their end.
    pub(super) fn follow(&self, predecessor: Predecessor) {
        if let Err(error) = predecessor.served() {
            tracing::info!(%error, "the server before this one has gone already");
        }
        let alone = self.alone.clone();
        tokio::spawn(async move {
            predecessor.gone().await;
            alone.cancel();
        });
    }
}

#[async_trait]
impl Drains for Draining {
    async fn drained(&self, backend: Backend) {
        if let Some(inflight) = self.inflight.get() {
            inflight.draining(&backend).await;
        }
        self.alone.cancelled().await;
    }
}

/// The deployer and the pipeline write into the apps' logs.
pub(super) struct AppLogs(pub(super) Logs);

#[async_trait]
impl AppLog for AppLogs {
    fn platform(&self, app: &AppName, text: String) {
        self.0.platform(app, text);
    }

    fn build(&self, app: &AppName, text: String) {
        self.0.build(app, text);
    }

    async fn last_lines(&self, app: &AppName, instance: &str, count: usize) -> Vec<String> {
        self.0.last_lines(app, instance, count).await.into_iter().map(|line| line.text).collect()
    }
}

/// Access logs are part of the apps' logs, as long as those are this server's to write.
pub(super) struct AccessLogs {
    pub(super) logs: Logs,
    pub(super) closed: CancellationToken,
}

impl Journal for AccessLogs {
    fn wrote(&self, app: &AppName, line: String) {
        if !self.closed.is_cancelled() {
            self.logs.visit(app, line);
        }
    }
}

/// An app's folders: its repository and its build caches.
pub(super) struct AppFolders {
    pub(super) receiver: Arc<Receiver>,
    pub(super) caches: PathBuf,
}

#[async_trait]
impl Repositories for AppFolders {
    async fn create(&self, app: &AppName) -> io::Result<()> {
        self.receiver.create(app).await.map_err(io::Error::other)
    }

    async fn remove(&self, app: &AppName) -> io::Result<()> {
        self.receiver.remove(app).await.map_err(io::Error::other)?;
        match tokio::fs::remove_dir_all(self.caches.join(app.as_str())).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    async fn list(&self) -> io::Result<Vec<AppName>> {
        self.receiver.list().await.map_err(io::Error::other)
    }
}

/// Buildpacks in git repositories are fetched by the receiver's room, where git lives.
pub(super) struct PackRepositories(pub(super) Arc<Receiver>);

#[async_trait]
impl GitSource for PackRepositories {
    async fn fetch(&self, url: &Url, reference: Option<&str>, into: &Path) -> Result<(), String> {
        self.0.fetch_tree(url, reference, into).await
    }
}

/// Images are looked for where they are used from.
#[async_trait]
impl StackImages for Offered {
    async fn look(&self, stack: &Stack) -> (Vec<StackImage>, Option<String>) {
        let (Some(socket), Some(Some(definition))) = (&self.socket, self.all.get(stack)) else {
            return (Vec::new(), None);
        };
        let daemon = Daemon::connect(socket).await.ok();
        let (pins, command) = definition.both(stack);
        let mut images = Vec::new();
        for (pin, purpose) in pins.iter().zip(["run", "build"]) {
            let found = match &daemon {
                Some(daemon) => daemon.image(&pin.name()).await.ok(),
                None => None,
            };
            let state = match &found {
                Some(Some(_)) => "ready",
                Some(None) => "missing",
                None => "unknown",
            };
            let image = found.flatten();
            images.push(StackImage {
                purpose: purpose.to_owned(),
                reference: pin.reference().to_string(),
                state: state.to_owned(),
                size: image.as_ref().map(|image| image.size),
                digest: image.map(|image| image.digest.unwrap_or(image.id)),
            });
        }
        (images, Some(command))
    }
}

/// git's visitors are signed-in people with a role in the app.
pub(super) struct Gate {
    pub(super) accounts: Arc<Accounts>,
    pub(super) apps: Arc<Apps>,
}

#[async_trait]
impl Admits for Gate {
    async fn admit(
        &self,
        authorization: Option<&HeaderValue>,
        app: &str,
        write: bool,
    ) -> Result<(AppName, Email), Refusal> {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value.clone());
        }
        let (user, _) = self.accounts.authenticate(&basic(&headers)).await.map_err(refusal)?;
        let app = self.apps.admit(&user, app, write).await.map_err(refusal)?;
        Ok((app, user.email))
    }
}

fn refusal(error: ActionError) -> Refusal {
    let status = match &error {
        ActionError::Unauthorized(_) | ActionError::SecondFactorNeeded => StatusCode::UNAUTHORIZED,
        ActionError::TooMany { .. } | ActionError::Exhausted(_) => StatusCode::TOO_MANY_REQUESTS,
        ActionError::NotFound(_) | ActionError::Invalid(_) => StatusCode::NOT_FOUND,
        ActionError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        ActionError::Forbidden(_) | ActionError::Conflict(_) => StatusCode::FORBIDDEN,
        ActionError::Internal(cause) => {
            tracing::error!(error = %cause, "a git request failed");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    Refusal { status, message: error.to_string() }
}

/// What the router asks of the certificates.
pub(super) struct Certificates {
    pub(super) tls: Tls,
    /// The platform's own name, whose pages the router has.
    pub(super) domain: String,
    /// As visitors reach https; `None` where nobody is sent there.
    pub(super) https_port: Option<u16>,
}

impl Portal for Certificates {
    fn file(&self, host: &str, path: &str) -> Option<(&'static str, Bytes)> {
        if let Some(token) = path.strip_prefix("/.well-known/acme-challenge/") {
            return self.tls.challenge(token).map(|text| ("text/plain", Bytes::from(text)));
        }
        let root = self.tls.root().filter(|_| host == self.domain && path == "/ca.pem");
        root.map(|root| (door::CA_FILE, Bytes::copy_from_slice(root.as_bytes())))
    }

    fn https_port(&self, host: &str) -> Option<u16> {
        self.https_port.filter(|_| self.tls.redirects(host))
    }

    fn is_elsewhere(&self, host: &str) -> bool {
        self.tls.is_own(host)
    }

    fn strict_transport_security(&self) -> Option<HeaderValue> {
        let seconds = self.tls.hsts_seconds();
        (seconds > 0).then(|| HeaderValue::try_from(format!("max-age={seconds}")).ok()).flatten()
    }
}

/// Decrypted visitors go to the API and git if that is whom they asked for, else to the apps.
pub(super) struct Reception {
    pub(super) tls: Tls,
    pub(super) router: Router,
    pub(super) door: door::Ready,
    /// The door's own end, which comes before the router's.
    pub(super) door_closed: CancellationToken,
}

impl Serves for Reception {
    type Place = Place;

    async fn place(&self) -> Option<Place> {
        self.router.place().await
    }

    async fn serve(&self, visitor: Secured<Place>, stopping: CancellationToken) {
        let Secured { stream, peer, host, h2, place } = visitor;
        if self.tls.is_own(&host) {
            let _place = place;
            door::serve_secured(stream, h2, peer, self.door.clone(), self.door_closed.clone()).await;
        } else {
            let guest = Guest { stream, address: peer.ip(), h2, place };
            self.router.serve_guest(guest, stopping).await;
        }
    }
}

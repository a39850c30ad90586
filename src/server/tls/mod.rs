//! Certificates: which there are ([`shelf`]), which one a visitor is shown ([`resolver`]), how visitors come in
//! ([`handshake`], [`listen`]); and where certificates come from: the platform's own CA ([`authority`]), other CAs by ACME
//! ([`wanted`] → [`orders`] → [`issue`], [`renew`]), or somebody's hands ([`own`]).
//!
//! Invariants: every step of an order is a row before the next one begins, so a killed server goes on where it was;
//! keys are sealed in the rows; a handshake reads one immutable map and never waits for the store.
//!
//! Deliberately absent: OCSP (its end was announced), client certificates, encrypted client hello.

mod authority;
mod ca;
mod challenges;
mod dns;
mod follow;
mod handshake;
mod inspect;
mod issue;
mod listen;
#[cfg(test)]
mod measuring;
mod orders;
mod own;
mod reach;
mod renew;
mod resolver;
mod shelf;
mod status;
#[cfg(test)]
mod testing;
mod wanted;

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use super::config::{Redirect, TlsConfig, TlsMode};
use super::domain::{CertificateName, Hostname, Pem, RouteTable};
use super::seal::{SealError, Sealer};
use super::store::{Store, StoreError};

use authority::Authority;
use ca::Cas;
use challenges::Challenges;
use dns::Zone;
pub use handshake::{Handshakes, Shaken};
pub use listen::{Secured, Serves};
pub use reach::Reach;
use reach::Resolving;
use shelf::{Entry, Shelf};
pub use status::{HostStatus, Next};

/// The labels of the platform's own hosts below its domain.
pub const OWN_LABELS: [&str; 2] = ["api", "git"];

/// Why TLS does not work.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The store's refusal.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key that does not open.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A certificate that cannot be made.
    #[error("certificate: {0}")]
    Made(#[from] rcgen::Error),
    /// `tls.ca_file`.
    #[error("`{}`: {why}", path.display())]
    CaFile {
        /// Which.
        path: PathBuf,
        /// Why it cannot be used.
        why: String,
    },
    /// The client that talks to CAs.
    #[error("the client for CAs: {0}")]
    Client(String),
    /// `[tls.dns]`.
    #[error("[tls.dns]: {0}")]
    Dns(String),
    /// rustls' refusal.
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
}

/// The room; cheap to clone.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    config: TlsConfig,
    domain: Hostname,
    store: Store,
    sealer: Arc<Sealer>,
    shelf: Shelf,
    challenges: Arc<Challenges>,
    /// Signs for whoever has no other certificate; in its mode only.
    authority: Option<Authority>,
    /// The CAs, and who can write their challenges into the DNS.
    cas: Cas,
    zone: Option<Box<dyn Zone>>,
    reach: Resolving,
    /// Whom visitors can come for.
    routes: ArcSwap<RouteTable>,
    /// Something has changed that the orders should know.
    wake: Notify,
}

impl Tls {
    /// Reads what there is.
    pub async fn open(
        config: TlsConfig,
        domain: Hostname,
        store: Store,
        sealer: Arc<Sealer>,
    ) -> Result<Self, TlsError> {
        let authority = match config.mode {
            TlsMode::Internal => Some(Authority::open(&store, &sealer, &domain).await?),
            TlsMode::Acme | TlsMode::Off => None,
        };
        let cas = Cas::new(&config, &store, &sealer)?;
        let zone = dns::zone(&config.dns, config.dns.zone.as_deref().unwrap_or(domain.as_str()))?;
        let reach = Resolving::new(&config);
        let shelf = Shelf::default();
        shelf.replace(store.certificates().await?);
        Ok(Self(Arc::new(Inner {
            config,
            domain,
            store,
            sealer,
            shelf,
            challenges: Arc::default(),
            authority,
            cas,
            zone,
            reach,
            routes: ArcSwap::default(),
            wake: Notify::new(),
        })))
    }

    /// Whether anybody listens for TLS.
    pub fn is_on(&self) -> bool {
        self.0.config.mode != TlsMode::Off
    }

    /// Whether a host is the platform's own (`api.DOMAIN`, `git.DOMAIN`) and no app's.
    pub fn is_own(&self, host: &str) -> bool {
        self.0.is_own(host)
    }

    /// The root of the platform's own CA, PEM, where it signs.
    pub fn root(&self) -> Option<&str> {
        self.0.authority.as_ref().map(Authority::root)
    }

    /// The answer to a CA's question.
    pub fn challenge(&self, token: &str) -> Option<String> {
        self.0.challenges.text(token)
    }

    /// The certificate of a host as others take it, and not the platform's own CA's: one that was uploaded, or a CA's.
    pub fn pem(&self, host: &str) -> Option<Arc<Pem>> {
        self.0.shelf.find(host)?.pem(&self.0.sealer)
    }

    /// Hears of every certificate that comes, goes or is replaced from now on.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.shelf.changes()
    }

    /// Whether a plain visitor of the host is sent to https.
    pub fn redirects(&self, host: &str) -> bool {
        let inner = &self.0;
        match inner.config.redirect {
            _ if inner.config.mode == TlsMode::Off => false,
            Redirect::Never => false,
            Redirect::Trusted => inner.has_valid(host),
            Redirect::Always => inner.has_valid(host) || inner.authority.is_some() && inner.serves(host),
        }
    }

    /// `max-age` of `Strict-Transport-Security`; 0 for none.
    pub fn hsts_seconds(&self) -> u64 {
        self.0.config.hsts_seconds
    }
}

impl Inner {
    fn is_own(&self, host: &str) -> bool {
        let label = host.strip_suffix(self.domain.as_str()).and_then(|rest| rest.strip_suffix('.'));
        label.is_some_and(|label| OWN_LABELS.contains(&label))
    }

    /// The certificate that a host's visitors are shown. A host that has been taken from its app has none any more; only what
    /// is for every app of the platform is shown to whoever asks for one, for it tells nobody whether there is such an app.
    fn shown(&self, host: &str) -> Option<Arc<Entry>> {
        let of_all = |entry: &Entry| entry.certificate.names.contains(&CertificateName::wildcard(&self.domain));
        self.shelf.find(host).filter(|entry| self.serves(host) || of_all(entry))
    }

    /// Whether a host has a certificate that browsers still accept.
    fn has_valid(&self, host: &str) -> bool {
        self.shown(host).is_some_and(|entry| entry.certificate.not_after > Timestamp::now())
    }

    /// Whether visitors can come for a host, with whatever certificate.
    fn serves(&self, host: &str) -> bool {
        self.served_as(host).is_some()
    }

    /// The name by which visitors can come for a host: it, or the wildcard that covers it. There are no more of these than
    /// routes, whatever names strangers think of.
    fn served_as(&self, host: &str) -> Option<String> {
        let has =
            |name: &str| Hostname::parse_domain(name).is_ok_and(|name| self.routes.load().hosts.contains_key(&name));
        if self.is_own(host) || host == self.domain.as_str() || has(host) {
            return Some(host.to_owned());
        }
        let (_, rest) = host.split_once('.')?;
        Some(format!("*.{rest}")).filter(|wildcard| has(wildcard))
    }
}

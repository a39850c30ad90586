//! The certificates that can be served, by name. A lookup is one or two hash lookups however many there are; a change
//! puts a whole new map in the place of the old one, so a handshake never waits and never sees half of it.
//!
//! A key is unsealed and checked when its first visitor comes: ten thousand certificates cost a start-up nothing but
//! reading their rows.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;

use crate::server::domain::{Certificate, CertificateName, CertificateSource, Pem};
use crate::server::seal::Sealer;

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unservable {
    #[error("its key does not open: it was sealed with another key file")]
    Sealed,
    #[error("its chain is no PEM")]
    Chain,
    #[error("its key cannot be used: {0}")]
    Key(String),
}

/// One certificate.
pub(super) struct Entry {
    pub(super) certificate: Certificate,
    ready: OnceLock<Option<Arc<CertifiedKey>>>,
    pem: OnceLock<Option<Arc<Pem>>>,
}

impl Entry {
    fn new(certificate: Certificate) -> Self {
        Self { certificate, ready: OnceLock::new(), pem: OnceLock::new() }
    }

    fn key(&self) -> (&CertificateName, CertificateSource) {
        (self.certificate.name(), self.certificate.source)
    }

    /// What a handshake needs; `None` if it cannot be had, which is logged once.
    pub(super) fn ready(&self, sealer: &Sealer) -> Option<Arc<CertifiedKey>> {
        let ready = self.ready.get_or_init(|| match certified(&self.certificate, sealer) {
            Ok(key) => Some(key),
            Err(error) => {
                tracing::error!(certificate = %self.certificate.name(), %error, "a certificate cannot be served");
                None
            }
        });
        ready.clone()
    }
}

impl Entry {
    /// As others take it; `None` if it cannot be served either.
    pub(super) fn pem(&self, sealer: &Sealer) -> Option<Arc<Pem>> {
        self.ready(sealer)?;
        let pem = self.pem.get_or_init(|| {
            let (certificate, name) = (&self.certificate, self.certificate.name());
            let key = sealer.unseal(&context(name, certificate.source), &certificate.key).ok()?;
            Some(Arc::new(Pem { chain: certificate.chain.clone(), key: key_pem(&key)? }))
        });
        pem.clone()
    }
}

/// A key in PEM (RFC 7468), named after its form.
fn key_pem(der: &[u8]) -> Option<String> {
    let name = match PrivateKeyDer::try_from(der).ok()? {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    Some(format!("-----BEGIN {name}-----\n{}\n-----END {name}-----\n", lines.join("\n")))
}

/// To what a sealed key is bound.
pub(super) fn context(name: &CertificateName, source: CertificateSource) -> String {
    format!("certificate:{name}:{}", source.as_str())
}

fn certified(certificate: &Certificate, sealer: &Sealer) -> Result<Arc<CertifiedKey>, Unservable> {
    let key = sealer.unseal(&context(certificate.name(), certificate.source), &certificate.key);
    let key = PrivateKeyDer::try_from(key.map_err(|_| Unservable::Sealed)?).map_err(|e| Unservable::Key(e.into()))?;
    let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|_| Unservable::Chain)?;
    let key = any_supported_type(&key).map_err(|error| Unservable::Key(error.to_string()))?;
    Ok(Arc::new(CertifiedKey::new(chain, key)))
}

/// What can be served now.
#[derive(Default)]
pub(super) struct Shelf {
    now: ArcSwap<Names>,
    /// Told of every change.
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Names {
    all: Vec<Arc<Entry>>,
    exact: HashMap<Box<str>, Arc<Entry>>,
    /// By the name below the `*`.
    wild: HashMap<Box<str>, Arc<Entry>>,
}

impl Shelf {
    /// The certificate for a host, which must be lower case: its own, else a wildcard.
    pub(super) fn find(&self, host: &str) -> Option<Arc<Entry>> {
        let now = self.now.load();
        let wild = || now.wild.get(host.split_once('.')?.1);
        now.exact.get(host).or_else(wild).cloned()
    }

    /// Hears of every change from now on.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Everything, by name.
    pub(super) fn all(&self) -> Vec<Arc<Entry>> {
        self.now.load().all.clone()
    }

    /// Puts these in the place of what was there.
    pub(super) fn replace(&self, certificates: Vec<Certificate>) {
        self.change(|_| certificates.iter().map(|one| Arc::new(Entry::new(one.clone()))).collect());
    }

    /// Puts one in the place of the one of its name and source.
    pub(super) fn put(&self, certificate: Certificate) {
        let new = Arc::new(Entry::new(certificate));
        self.change(|all| {
            let before = all.iter().find(|entry| entry.key() == new.key());
            // What is planned about it may change while it stays the same.
            let ready = before.filter(|entry| entry.certificate.chain == new.certificate.chain);
            if let Some(ready) = ready.and_then(|entry| entry.ready.get()) {
                new.ready.get_or_init(|| ready.clone());
            }
            let others = all.iter().filter(|entry| entry.key() != new.key()).cloned();
            others.chain([Arc::clone(&new)]).collect()
        });
    }

    /// Takes one away.
    pub(super) fn remove(&self, name: &CertificateName, source: CertificateSource) {
        self.change(|all| all.iter().filter(|entry| entry.key() != (name, source)).cloned().collect());
    }

    fn change(&self, change: impl Fn(&[Arc<Entry>]) -> Vec<Arc<Entry>>) {
        self.now.rcu(|now| {
            let mut names = Names::default();
            change(&now.all).into_iter().for_each(|entry| names.add(entry));
            names
        });
        self.changed.send_replace(());
    }
}

impl Names {
    fn add(&mut self, entry: Arc<Entry>) {
        for name in &entry.certificate.names {
            let map = if name.is_wildcard() { &mut self.wild } else { &mut self.exact };
            // An own certificate goes before a CA's, a later one before an earlier one.
            let rank =
                |entry: &Entry| (entry.certificate.source == CertificateSource::Own, entry.certificate.not_after);
            if map.get(name.base()).is_none_or(|there| rank(there) <= rank(&entry)) {
                map.insert(name.base().into(), Arc::clone(&entry));
            }
        }
        self.all.push(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::tls::testing;

    #[test]
    fn the_closest_name_wins_and_an_own_certificate_goes_before_a_cas() {
        let folder = tempfile::tempdir().unwrap();
        let sealer = Sealer::open(&folder.path().join("key")).unwrap();
        let shelf = Shelf::default();
        let made = |names: &[&str], source| testing::certificate(&sealer, names, source);
        shelf.replace(vec![
            made(&["*.example.org", "example.org"], CertificateSource::Acme),
            made(&["shop.example.org"], CertificateSource::Own),
            made(&["shop.example.org"], CertificateSource::Acme),
        ]);
        let found = |host: &str| shelf.find(host).map(|e| (e.certificate.name().to_string(), e.certificate.source));
        assert_eq!(found("a.example.org"), Some(("*.example.org".into(), CertificateSource::Acme)));
        assert_eq!(found("example.org"), Some(("*.example.org".into(), CertificateSource::Acme)));
        assert_eq!(found("shop.example.org"), Some(("shop.example.org".into(), CertificateSource::Own)));
        assert_eq!((found("a.b.example.org"), found("org"), found("")), (None, None, None));
        let ready = shelf.find("shop.example.org").unwrap().ready(&sealer).unwrap();
        shelf.put(shelf.find("shop.example.org").unwrap().certificate.clone());
        let again = shelf.find("shop.example.org").unwrap().ready(&sealer).unwrap();
        assert!(Arc::ptr_eq(&ready, &again), "what has not changed stays ready");
        let pem = shelf.find("shop.example.org").unwrap().pem(&sealer).unwrap();
        let key = PrivateKeyDer::from_pem_slice(pem.key.as_bytes()).unwrap();
        assert!(any_supported_type(&key).is_ok() && pem.chain.starts_with("-----BEGIN CERTIFICATE-----"));
        shelf.remove(&CertificateName::parse("shop.example.org").unwrap(), CertificateSource::Own);
        assert_eq!(found("shop.example.org"), Some(("shop.example.org".into(), CertificateSource::Acme)));
    }

    #[test]
    fn what_was_sealed_elsewhere_is_not_served() {
        let folder = tempfile::tempdir().unwrap();
        let sealer = Sealer::open(&folder.path().join("key")).unwrap();
        let other = Sealer::open(&folder.path().join("other")).unwrap();
        let shelf = Shelf::default();
        shelf.replace(vec![testing::certificate(&other, &["a.example"], CertificateSource::Own)]);
        assert!(shelf.find("a.example").unwrap().ready(&sealer).is_none());
    }
}

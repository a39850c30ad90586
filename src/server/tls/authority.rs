//! The platform's own CA, for places that no other CA can see. Its root is kept sealed and offered for download; leafs
//! are signed when their first visitor comes, live a week, and exist in memory only: nothing is renewed that nobody
//! visits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::PrivateKeyDer;

use super::TlsError;
use crate::server::domain::Hostname;
use crate::server::seal::Sealer;
use crate::server::store::Store;

/// How long the root is valid.
const ROOT_LIFE: Duration = Duration::from_secs(3650 * 24 * 3600);
/// How long a leaf is valid, and after how much of that the next one is signed.
const LEAF_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
const LEAF_USE: Duration = Duration::from_secs(5 * 24 * 3600);
/// Clocks of visitors that go wrong.
const EARLIER: Duration = Duration::from_secs(3600);
const CONTEXT: &str = "authority";

/// The CA.
pub(super) struct Authority {
    root: String,
    issuer: Issuer<'static, KeyPair>,
    leafs: ArcSwap<HashMap<Box<str>, Leaf>>,
}

#[derive(Clone)]
struct Leaf {
    key: Arc<CertifiedKey>,
    signed: Timestamp,
}

impl Authority {
    /// The one in the store, or a new one that is put there.
    pub(super) async fn open(store: &Store, sealer: &Sealer, domain: &Hostname) -> Result<Self, TlsError> {
        let (root, sealed) = match store.authority().await? {
            Some(kept) => kept,
            None => {
                let (root, key) = new_root(domain)?;
                store.keep_authority(root, sealer.seal(CONTEXT, &key)).await?
            }
        };
        let key = sealer.unseal(CONTEXT, &sealed)?;
        let key = KeyPair::try_from(key.as_slice())?;
        let issuer = Issuer::from_ca_cert_pem(&root, key)?;
        Ok(Self { root, issuer, leafs: ArcSwap::default() })
    }

    /// The root, PEM.
    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// A certificate for a host.
    pub(super) fn leaf(&self, host: &str, now: Timestamp) -> Option<Arc<CertifiedKey>> {
        let fresh = |leaf: &&Leaf| now < leaf.signed + LEAF_USE;
        if let Some(leaf) = self.leafs.load().get(host).filter(fresh) {
            return Some(Arc::clone(&leaf.key));
        }
        match self.sign(host, now) {
            Ok(key) => {
                let leaf = Leaf { key, signed: now };
                self.leafs.rcu(|leafs| {
                    let mut leafs = HashMap::clone(leafs);
                    leafs.insert(host.into(), leaf.clone());
                    leafs
                });
                Some(leaf.key)
            }
            Err(error) => {
                tracing::error!(host, %error, "the platform's own CA could not sign a certificate");
                None
            }
        }
    }

    /// Until when the present leaf of a host is valid, if there is one.
    pub(super) fn expiry(&self, host: &str) -> Option<Timestamp> {
        self.leafs.load().get(host).map(|leaf| leaf.signed + LEAF_LIFE)
    }

    /// Forgets the leafs of hosts that are no more.
    pub(super) fn keep(&self, wanted: impl Fn(&str) -> bool) {
        if self.leafs.load().keys().any(|host| !wanted(host)) {
            self.leafs.rcu(|leafs| {
                let kept = leafs.iter().filter(|(host, _)| wanted(host));
                kept.map(|(host, leaf)| (host.clone(), leaf.clone())).collect::<HashMap<_, _>>()
            });
        }
    }

    fn sign(&self, host: &str, now: Timestamp) -> Result<Arc<CertifiedKey>, TlsError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        // A common name has 64 characters at most; nobody reads it any more.
        params.distinguished_name.push(DnType::CommonName, host.get(..64).unwrap_or(host));
        validity(&mut params, now, EARLIER, LEAF_LIFE);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&key, &self.issuer)?;
        let key = any_supported_type(&PrivateKeyDer::Pkcs8(key.serialized_der().to_vec().into()))?;
        Ok(Arc::new(CertifiedKey::new(vec![leaf.der().clone()], key)))
    }
}

fn new_root(domain: &Hostname) -> Result<(String, Vec<u8>), TlsError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "gigalixir");
    let name: String = format!("gigalixir at {domain}").chars().take(64).collect();
    params.distinguished_name.push(DnType::CommonName, name);
    validity(&mut params, Timestamp::now(), EARLIER, ROOT_LIFE);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok((params.self_signed(&key)?.pem(), key.serialized_der().to_vec()))
}

/// The time in which a certificate is valid, in rcgen's words.
fn validity(params: &mut CertificateParams, now: Timestamp, before: Duration, after: Duration) {
    let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(now.as_second().unsigned_abs());
    (params.not_before, params.not_after) = (now - before, now + after);
}

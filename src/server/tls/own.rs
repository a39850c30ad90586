//! Certificates from somebody's hands. What would only fail in front of visitors is refused at once.

use jiff::Timestamp;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

use super::shelf::context;
use super::{Tls, TlsError, inspect};
use crate::server::domain::{AppId, Certificate, CertificateName, CertificateSource, Hostname, Invalid};
use crate::server::store::StoreError;

/// Bytes of a chain or a key.
const LARGEST: usize = 64 * 1024;

impl Tls {
    /// Checks a certificate for a host and serves it from now on, in place of any other.
    pub async fn add_own(
        &self,
        app: AppId,
        host: &Hostname,
        chain: &str,
        key: &str,
    ) -> Result<Result<Certificate, Invalid>, TlsError> {
        let checked = check(host, chain, key, Timestamp::now());
        let (names, leaf, der) = match checked {
            Ok(checked) => checked,
            Err(why) => return Ok(Err(why)),
        };
        let inner = &self.0;
        let certificate = Certificate {
            key: inner.sealer.seal(&context(&names[0], CertificateSource::Own), der.secret_der()),
            names,
            source: CertificateSource::Own,
            issuer: leaf.issuer,
            chain: chain.to_owned(),
            not_before: leaf.not_before,
            not_after: leaf.not_after,
            directory: None,
            renew_at: None,
            ask_at: None,
            app: Some(app),
        };
        inner.store.keep_certificate(certificate.clone()).await?;
        inner.shelf.put(certificate.clone());
        inner.wake.notify_one();
        Ok(Ok(certificate))
    }

    /// Serves an own certificate no longer; [`StoreError::NotFound`] if the app has none for the host.
    pub async fn remove_own(&self, app: AppId, host: &Hostname) -> Result<(), StoreError> {
        let name = CertificateName::from(host.clone());
        self.0.store.forget_certificate(name.clone(), CertificateSource::Own, Some(app)).await?;
        self.0.shelf.remove(&name, CertificateSource::Own);
        self.0.wake.notify_one();
        Ok(())
    }
}

impl Tls {
    /// The app is no more; its rows went with it.
    pub fn forget_app(&self, app: AppId) {
        for entry in self.0.shelf.all() {
            if entry.certificate.app == Some(app) {
                self.0.shelf.remove(entry.certificate.name(), CertificateSource::Own);
            }
        }
    }
}

type Checked = (Vec<CertificateName>, inspect::Inspected, PrivateKeyDer<'static>);

/// Only the host's own name is kept of a certificate that covers more: the rest may be another app's.
fn check(host: &Hostname, chain: &str, key: &str, now: Timestamp) -> Result<Checked, Invalid> {
    let of_chain = |message: String| Invalid::new("certificate", message);
    if chain.len() > LARGEST || key.len() > LARGEST {
        return Err(of_chain("or key is too long".into()));
    }
    let leaf = inspect::leaf(chain).map_err(of_chain)?;
    if !leaf.names.iter().any(|name| name.covers(host.as_str())) {
        let names: Vec<_> = leaf.names.iter().map(ToString::to_string).collect();
        return Err(of_chain(format!("is not for {host} but for {}", names.join(", "))));
    }
    if leaf.not_after <= now {
        return Err(of_chain(format!("has expired on {}", leaf.not_after)));
    }
    if leaf.not_before > now {
        return Err(of_chain(format!("is not valid before {}", leaf.not_before)));
    }
    if !inspect::is_linked(chain).map_err(of_chain)? {
        return Err(of_chain("chain is out of order: each certificate must be followed by its issuer's".into()));
    }
    let of_key = |message: String| Invalid::new("key", message);
    let der = PrivateKeyDer::from_pem_slice(key.as_bytes());
    let der = der.map_err(|_| of_key("is no PEM key (-----BEGIN PRIVATE KEY-----)".into()))?;
    let usable = any_supported_type(&der)
        .map_err(|_| of_key("is of a kind that cannot be used: RSA, ECDSA or Ed25519".into()))?;
    let ders = inspect::ders(chain).map_err(of_chain)?;
    match CertifiedKey::new(ders, usable).keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            return Err(of_key("does not belong to the certificate".into()));
        }
        Err(rustls::Error::InconsistentKeys(_)) | Ok(()) => {}
        Err(error) => return Err(of_chain(format!("cannot be used: {error}"))),
    }
    Ok((vec![host.clone().into()], leaf, der))
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    use super::*;

    struct Made {
        chain: String,
        key: String,
        root: String,
    }

    fn made(names: &[&str], from: i32, until: i32) -> Made {
        let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut root = CertificateParams::new(Vec::<String>::new()).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.distinguished_name.push(rcgen::DnType::CommonName, "Root");
        let root_pem = root.self_signed(&root_key).unwrap().pem();
        let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        params.is_ca = IsCa::ExplicitNoCa;
        let leaf = params.signed_by(&key, &Issuer::new(root, root_key)).unwrap();
        Made { chain: format!("{}{root_pem}", leaf.pem()), key: key.serialize_pem(), root: root_pem }
    }

    #[test]
    fn what_would_fail_in_front_of_visitors_is_refused() {
        let host = Hostname::parse("shop.example").unwrap();
        let now: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
        let good = made(&["shop.example", "*.shop.example"], 2020, 2040);
        let (names, leaf, _) = check(&host, &good.chain, &good.key, now).unwrap();
        assert_eq!(names, [CertificateName::from(host.clone())]);
        assert_eq!(leaf.issuer, "Root");
        let below = Hostname::parse("a.shop.example").unwrap();
        assert!(check(&below, &good.chain, &good.key, now).is_ok(), "by its wildcard");
        let other = made(&["shop.example"], 2020, 2040);
        let backwards = format!("{}{}", good.root, good.chain);
        let unlinked = format!("{}{}", other.chain.replace(&other.root, ""), made(&["x.example"], 2020, 2040).chain);
        for (chain, key, word) in [
            (&made(&["else.example"], 2020, 2040).chain, &good.key, "not for shop.example"),
            (&made(&["shop.example"], 2020, 2021).chain, &good.key, "expired"),
            (&made(&["shop.example"], 2030, 2031).chain, &good.key, "not valid before"),
            (&good.chain, &other.key, "does not belong"),
            (&good.chain, &String::new(), "no PEM key"),
            (&String::from("nonsense"), &good.key, "no certificate"),
            (&backwards, &good.key, "not for"),
            (&unlinked, &other.key, "out of order"),
        ] {
            let refusal = check(&host, chain, key, now).map(|_| ()).unwrap_err();
            assert!(refusal.to_string().contains(word), "{word}: {refusal}");
        }
    }
}

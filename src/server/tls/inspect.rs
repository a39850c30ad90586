//! What a chain says of itself.

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::server::domain::CertificateName;

/// A leaf's own words.
pub(super) struct Inspected {
    pub(super) names: Vec<CertificateName>,
    pub(super) issuer: String,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

/// The certificates of a PEM text, DER.
pub(super) fn ders(chain: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if found.is_empty() => {
            Err("holds no certificate: PEM is needed (-----BEGIN CERTIFICATE-----)".into())
        }
        Ok(found) => Ok(found),
        Err(error) => Err(format!("is no PEM: {error}")),
    }
}

/// Reads the leaf, which must come first.
pub(super) fn leaf(chain: &str) -> Result<Inspected, String> {
    let chain = ders(chain)?;
    let der = chain.first().ok_or("holds no certificate")?;
    let (_, leaf) = X509Certificate::from_der(der).map_err(|error| format!("cannot be read: {error}"))?;
    let mut names = Vec::new();
    if let Ok(Some(alternatives)) = leaf.subject_alternative_name() {
        for name in &alternatives.value.general_names {
            if let GeneralName::DNSName(name) = name
                && let Ok(name) = CertificateName::parse(name)
            {
                names.push(name);
            }
        }
    }
    let issuer = leaf.issuer();
    let text = issuer.iter_common_name().chain(issuer.iter_organization()).find_map(|name| name.as_str().ok());
    let time = |seconds: i64| Timestamp::from_second(seconds).map_err(|error| error.to_string());
    Ok(Inspected {
        names,
        issuer: text.map_or_else(|| issuer.to_string(), str::to_owned),
        not_before: time(leaf.validity().not_before.timestamp())?,
        not_after: time(leaf.validity().not_after.timestamp())?,
    })
}

/// Whether each certificate of a chain is signed by the one after it.
pub(super) fn is_linked(chain: &str) -> Result<bool, String> {
    let ders = ders(chain)?;
    let read = |der: &CertificateDer<'static>| der.as_ref().to_vec();
    let bytes: Vec<Vec<u8>> = ders.iter().map(read).collect();
    let parsed: Result<Vec<_>, _> =
        bytes.iter().map(|der| X509Certificate::from_der(der).map(|(_, one)| one)).collect();
    let parsed = parsed.map_err(|error| format!("cannot be read: {error}"))?;
    Ok(parsed.windows(2).all(|pair| pair[0].issuer() == pair[1].subject()))
}

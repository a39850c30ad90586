//! A small authority: it vouches for one certificate and is forgotten at once, so that nobody can make it vouch for
//! another. Its own certificate stays, for replicas to check the server by.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::DirectoryError;

/// How the server is called inside; the last is what libcluster makes of its full name when the domain has a port.
const NAMES: [&str; 4] = [
    "kubernetes",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "kubernetes.default.svc.cluster.local.cluster.local",
];
const AUTHORITY: &str = "ca.pem";
const CERTIFICATE: &str = "server.pem";
const KEY: &str = "server.key";

pub(super) struct Authority {
    pem: String,
    acceptor: TlsAcceptor,
}

impl Authority {
    /// Reads what is in `folder`, or makes it. The key is there last, so what is half made is made anew.
    pub(super) fn open(folder: &Path, ip: IpAddr) -> Result<Self, DirectoryError> {
        let failed = |reason: String| DirectoryError::Certificate { folder: folder.to_owned(), reason };
        if !folder.join(KEY).exists() {
            make(folder, ip).map_err(failed)?;
        }
        let read = |name: &str| fs::read_to_string(folder.join(name)).map_err(|error| failed(error.to_string()));
        let pem = read(AUTHORITY)?;
        let acceptor = acceptor(&read(CERTIFICATE)?, &read(KEY)?).map_err(failed)?;
        Ok(Self { pem, acceptor })
    }

    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }
}

fn acceptor(certificate: &str, key: &str) -> Result<TlsAcceptor, String> {
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| error.to_string())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .map_err(|error| error.to_string())?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn make(folder: &Path, ip: IpAddr) -> Result<(), String> {
    let (authority, certificate, key) = generate(ip).map_err(|error| error.to_string())?;
    let keep = |name: &str, text: &str| write(&folder.join(name), text).map_err(|error| error.to_string());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| error.to_string())?;
    keep(AUTHORITY, &authority)?;
    keep(CERTIFICATE, &certificate)?;
    keep(KEY, &key)
}

/// The authority's certificate, the server's, and the server's key. They do not end: replicas may run for years.
fn generate(ip: IpAddr) -> Result<(String, String, String), rcgen::Error> {
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    authority.distinguished_name.push(DnType::CommonName, "gigalixir cluster authority");
    let certificate = authority.self_signed(&authority_key)?;

    let key = KeyPair::generate()?;
    let names = NAMES.iter().map(|name| (*name).to_owned()).chain([ip.to_string()]);
    let mut server = CertificateParams::new(names.collect::<Vec<_>>())?;
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.distinguished_name.push(DnType::CommonName, NAMES[0]);
    let server = server.signed_by(&key, &Issuer::new(authority, authority_key))?;
    Ok((certificate.pem(), server.pem(), key.serialize_pem()))
}

/// There whole or not at all, for the server's user alone.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let new = file.with_extension("new");
    let mut out = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    fs::rename(&new, file)
}

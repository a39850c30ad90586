//! Which certificate a visitor is shown. A name we do not serve ends the handshake with a fatal alert, as does no name:
//! to answer with any certificate would tell strangers whose machine this is, and only move the error to the browser.

use std::sync::Arc;

use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::challenges::ACME_TLS;
use super::{Inner, TlsError};

/// TLS 1.2 and 1.3 with ring's suites (AES-GCM and ChaCha20-Poly1305, forward secret all), tickets under keys that are
/// replaced every six hours, HTTP/2 before HTTP/1.1.
pub(super) fn server_config(inner: Arc<Inner>) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver(inner)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), ACME_TLS.to_vec()];
    config.ticketer = rustls::crypto::ring::Ticketer::new()?;
    // A resumed session needs no certificate and no signature; two tickets are what browsers use.
    config.send_tls13_tickets = 2;
    config.ignore_client_order = true;
    Ok(Arc::new(config))
}

struct Resolver(Arc<Inner>);

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?;
        let asks_to_validate = hello.alpn().is_some_and(|mut protocols| protocols.any(|one| one == ACME_TLS));
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return self.0.certificate(&name.to_ascii_lowercase(), asks_to_validate);
        }
        self.0.certificate(name, asks_to_validate)
    }
}

impl Inner {
    fn certificate(&self, host: &str, asks_to_validate: bool) -> Option<Arc<CertifiedKey>> {
        if asks_to_validate {
            return self.challenges.certificate(host);
        }
        if let Some(ready) = self.shown(host).and_then(|entry| entry.ready(&self.sealer)) {
            return Some(ready);
        }
        let authority = self.authority.as_ref()?;
        authority.leaf(&self.served_as(host)?, Timestamp::now())
    }
}

//! Answers to a CA's questions, for as long as an order is under way: a text on port 80 (HTTP-01, RFC 8555 8.3), a
//! certificate on port 443 (TLS-ALPN-01, RFC 8737). Read without a lock; written by the orders.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::PrivateKeyDer;

use super::TlsError;

/// The protocol that a validating CA asks for, and nobody else.
pub(super) const ACME_TLS: &[u8] = b"acme-tls/1";

/// What is to be answered now.
#[derive(Default)]
pub(super) struct Challenges {
    texts: ArcSwap<HashMap<String, String>>,
    certificates: ArcSwap<HashMap<String, Arc<CertifiedKey>>>,
}

/// Takes an answer away when it is dropped.
pub(super) struct Posted {
    challenges: Arc<Challenges>,
    text: Option<String>,
    certificate: Option<String>,
}

impl Challenges {
    /// The text for a token.
    pub(super) fn text(&self, token: &str) -> Option<String> {
        self.texts.load().get(token).cloned()
    }

    /// The certificate for a host.
    pub(super) fn certificate(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        self.certificates.load().get(host).cloned()
    }

    /// Answers a token.
    pub(super) fn post_text(self: &Arc<Self>, token: String, text: String) -> Posted {
        self.texts.rcu(|texts| {
            let mut texts = HashMap::clone(texts);
            texts.insert(token.clone(), text.clone());
            texts
        });
        Posted { challenges: Arc::clone(self), text: Some(token), certificate: None }
    }

    /// Answers a handshake for a host. `digest` is that of the key authorization.
    pub(super) fn post_certificate(self: &Arc<Self>, host: String, digest: &[u8; 32]) -> Result<Posted, TlsError> {
        let mut params = CertificateParams::new(vec![host.clone()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let key = any_supported_type(&PrivateKeyDer::Pkcs8(key.serialized_der().to_vec().into()))?;
        // Not checked on the way: the extension is critical, and only the CA knows it.
        let certified = Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key));
        self.certificates.rcu(|certificates| {
            let mut certificates = HashMap::clone(certificates);
            certificates.insert(host.clone(), Arc::clone(&certified));
            certificates
        });
        Ok(Posted { challenges: Arc::clone(self), text: None, certificate: Some(host) })
    }
}

impl Drop for Posted {
    fn drop(&mut self) {
        if let Some(token) = &self.text {
            self.challenges.texts.rcu(|texts| without(texts, token));
        }
        if let Some(host) = &self.certificate {
            self.challenges.certificates.rcu(|certificates| without(certificates, host));
        }
    }
}

fn without<V: Clone>(map: &HashMap<String, V>, key: &String) -> HashMap<String, V> {
    let mut map = map.clone();
    map.remove(key);
    map
}

//! Certificates for the tests of this room.

use jiff::Timestamp;
use rcgen::{CertificateParams, KeyPair};

use super::shelf::context;
use crate::server::domain::{Certificate, CertificateName, CertificateSource};
use crate::server::seal::Sealer;

/// A self-signed certificate, valid for a long time.
pub(super) fn certificate(sealer: &Sealer, names: &[&str], source: CertificateSource) -> Certificate {
    let names: Vec<_> = names.iter().map(|name| CertificateName::parse(name).unwrap()).collect();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    Certificate {
        chain: params.self_signed(&key).unwrap().pem(),
        key: sealer.seal(&context(&names[0], source), key.serialized_der()),
        names,
        source,
        issuer: "test".into(),
        not_before: Timestamp::UNIX_EPOCH,
        not_after: Timestamp::MAX,
        directory: None,
        renew_at: None,
        ask_at: None,
        app: None,
    }
}

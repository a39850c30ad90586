use jiff::Timestamp;

use super::{AppId, CertificateName};

/// Where a certificate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateSource {
    /// A CA, by ACME: the platform renews it.
    Acme,
    /// Somebody uploaded it: goes before one of a CA, and is theirs to renew.
    Own,
}

impl CertificateSource {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acme => "acme",
            Self::Own => "own",
        }
    }

    /// The other way round.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Acme, Self::Own].into_iter().find(|source| source.as_str() == text)
    }
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// What it covers; the first is what it is called. Never empty.
    pub names: Vec<CertificateName>,
    /// Where it comes from.
    pub source: CertificateSource,
    /// Who signed it.
    pub issuer: String,
    /// PEM, leaf first.
    pub chain: String,
    /// PKCS#8 or the like, DER, sealed.
    pub key: Vec<u8>,
    /// From when it is valid.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
    /// The CA's directory.
    pub directory: Option<String>,
    /// When the next one is due.
    pub renew_at: Option<Timestamp>,
    /// When the CA is asked whether that has changed.
    pub ask_at: Option<Timestamp>,
    /// Whose an uploaded one is.
    pub app: Option<AppId>,
}

impl Certificate {
    /// The name it is called by.
    pub fn name(&self) -> &CertificateName {
        &self.names[0]
    }
}

/// A certificate and its key as others take them, both PEM. The key is secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    /// Leaf first.
    pub chain: String,
    /// PKCS#8 or the like.
    pub key: String,
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pem").field("chain", &self.chain).finish_non_exhaustive()
    }
}

/// How far an order has come. What is to be done next begins at each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderStep {
    /// The CA knows nothing of it yet.
    Due,
    /// The CA waits for its challenges to be answered.
    Placed,
    /// The CA was told to look at the answers.
    Answered,
    /// The key exists, and the CA may have been asked to sign.
    Finalized,
}

impl OrderStep {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Placed => "placed",
            Self::Answered => "answered",
            Self::Finalized => "finalized",
        }
    }

    /// The other way round.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Due, Self::Placed, Self::Answered, Self::Finalized].into_iter().find(|step| step.as_str() == text)
    }
}

/// A certificate on its way.
#[derive(Debug, Clone)]
pub struct CertificateOrder {
    /// What it shall cover; the first is what it is called. Never empty.
    pub names: Vec<CertificateName>,
    /// How far it has come.
    pub step: OrderStep,
    /// The CA it was placed with.
    pub directory: Option<String>,
    /// What the CA calls it.
    pub url: Option<String>,
    /// The certificate's key, sealed, once there is one.
    pub key: Option<Vec<u8>>,
    /// How often it has failed.
    pub attempts: u32,
    /// Not before.
    pub next_at: Timestamp,
    /// Why it failed last.
    pub last_error: Option<String>,
    /// Whether the certificate before is to be revoked.
    pub revoke: bool,
}

impl CertificateOrder {
    /// One that is to be placed.
    pub fn due(names: Vec<CertificateName>, next_at: Timestamp, revoke: bool) -> Self {
        let (step, attempts) = (OrderStep::Due, 0);
        Self { names, step, directory: None, url: None, key: None, attempts, next_at, last_error: None, revoke }
    }

    /// The name it is called by.
    pub fn name(&self) -> &CertificateName {
        &self.names[0]
    }
}

//! How hosts stand, for those who ask.

use jiff::Timestamp;

use super::reach::Reach;
use super::{Tls, TlsError};
use crate::server::config::TlsMode;
use crate::server::domain::{CertificateSource, OrderStep};

/// What is shown for a host.
#[derive(Debug, Clone)]
pub struct HostStatus {
    /// The host.
    pub host: String,
    /// Where the present certificate comes from: `acme`, `own`, `internal`; `None` if there is none.
    pub source: Option<&'static str>,
    /// The names it covers.
    pub names: Vec<String>,
    /// Who signed it.
    pub issuer: Option<String>,
    /// Until when it is valid; unknown where one is signed for the next visitor.
    pub expires: Option<Timestamp>,
    /// What happens next, and when.
    pub next: Next,
    /// Why an order failed last.
    pub last_error: Option<String>,
}

/// What happens next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It is renewed.
    Renew(Timestamp),
    /// Its owner has to replace it before this.
    Replace(Timestamp),
    /// An order is under way at this step; it is worked on from then on.
    Order(&'static str, Timestamp),
    /// The platform's own CA signs one for the next visitor.
    Sign,
    /// Nothing is served over TLS.
    Off,
    /// An order comes with the host's first deploy.
    Deploy,
}

impl Tls {
    /// How these hosts stand.
    pub async fn status(&self, hosts: Vec<String>) -> Result<Vec<HostStatus>, TlsError> {
        let orders = self.0.store.certificate_orders().await?;
        let status = |host: String| {
            let order = orders.iter().find(|order| order.names.iter().any(|name| name.covers(&host)));
            let mut status = self.present(host);
            if let Some(order) = order.filter(|_| status.source != Some("own")) {
                // One that is being worked on says so; one that waits says until when.
                let waits = order.last_error.is_some() && order.next_at > Timestamp::now();
                let step = if waits && order.step == OrderStep::Due { "waiting" } else { order.step.as_str() };
                status.next = Next::Order(step, order.next_at);
                status.last_error.clone_from(&order.last_error);
            }
            status
        };
        Ok(hosts.into_iter().map(status).collect())
    }

    fn present(&self, host: String) -> HostStatus {
        let inner = &self.0;
        let nothing = |host, source, next| HostStatus {
            host,
            source,
            names: Vec::new(),
            issuer: None,
            expires: None,
            next,
            last_error: None,
        };
        if inner.config.mode == TlsMode::Off {
            return nothing(host, None, Next::Off);
        }
        if let Some(entry) = inner.shelf.find(&host) {
            let certificate = &entry.certificate;
            let next = match (certificate.source, certificate.renew_at) {
                (CertificateSource::Acme, Some(at)) => Next::Renew(at),
                _ => Next::Replace(certificate.not_after),
            };
            return HostStatus {
                source: Some(certificate.source.as_str()),
                names: certificate.names.iter().map(ToString::to_string).collect(),
                issuer: Some(certificate.issuer.clone()),
                expires: Some(certificate.not_after),
                ..nothing(host, None, next)
            };
        }
        match &inner.authority {
            Some(authority) => HostStatus {
                names: vec![host.clone()],
                issuer: Some(format!("gigalixir at {}", inner.domain)),
                expires: authority.expiry(&host),
                ..nothing(host, Some("internal"), Next::Sign)
            },
            None if host.strip_prefix("*.").is_some_and(|base| !inner.can_write(base)) => HostStatus {
                last_error: Some("takes [tls.dns] for this zone, or a certificate of your own".into()),
                ..nothing(host, None, Next::Deploy)
            },
            None => nothing(host, None, Next::Deploy),
        }
    }

    /// What the DNS says of a host; `platform` is a name that leads here.
    pub async fn reach(&self, host: &str, platform: &str) -> Reach {
        self.0.reach.look(host, platform).await
    }
}

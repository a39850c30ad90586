//! Writing challenges into the DNS (DNS-01). A record is noted in the store before it is set and forgotten after it was
//! taken out, so a killed server leaves none behind.

mod acme_dns;
mod cloudflare;
mod exec;
mod rfc2136;

use async_trait::async_trait;
use secrecy::ExposeSecret;

use super::ca::Failed;
use super::{Inner, TlsError};
use crate::server::config::{DnsConfig, DnsProvider};
use crate::server::domain::CertificateName;

/// Below which a name's challenges are looked for (RFC 8555 8.4).
const LABEL: &str = "_acme-challenge.";

/// Somebody who can change a zone. Errors are sentences for the operator, without secrets.
#[async_trait]
pub(super) trait Zone: Send + Sync {
    /// Whether it can write the challenges of a name; `origin` is the zone that the configuration names.
    fn holds(&self, name: &str, origin: &str) -> bool {
        name == origin || name.strip_suffix(origin).is_some_and(|rest| rest.ends_with('.'))
    }
    /// Adds a TXT record beside those there are. One that is there already is no error.
    async fn set(&self, fqdn: &str, value: &str) -> Result<(), String>;
    /// Takes this one record out. One that is gone is no error.
    async fn clear(&self, fqdn: &str, value: &str) -> Result<(), String>;
}

/// The zone that the configuration names, if it does.
pub(super) fn zone(config: &DnsConfig, origin: &str) -> Result<Option<Box<dyn Zone>>, TlsError> {
    let secret = config.secret.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default();
    let missing = |key: &str| TlsError::Dns(format!("`{key}` is missing"));
    let zone: Box<dyn Zone> = match config.provider {
        DnsProvider::None => return Ok(None),
        DnsProvider::Rfc2136 => Box::new(rfc2136::Updates::new(config, origin, secret).map_err(TlsError::Dns)?),
        DnsProvider::Exec => Box::new(exec::Hook(config.command.clone())),
        DnsProvider::Cloudflare => Box::new(cloudflare::Cloudflare::new(origin, secret).map_err(TlsError::Dns)?),
        DnsProvider::AcmeDns => {
            let url = config.url.as_ref().ok_or_else(|| missing("url"))?;
            let accounts = config.accounts_file.as_ref().ok_or_else(|| missing("accounts_file"))?;
            Box::new(acme_dns::AcmeDns::new(url, accounts).map_err(TlsError::Dns)?)
        }
    };
    Ok(Some(zone))
}

impl Inner {
    /// Whether a name's challenges can be written.
    pub(super) fn can_write(&self, name: &str) -> bool {
        self.zone.as_ref().is_some_and(|zone| zone.holds(name, self.origin()))
    }

    /// The zone's own name.
    fn origin(&self) -> &str {
        self.config.dns.zone.as_deref().unwrap_or(self.domain.as_str())
    }

    /// Puts the answer for `name` into the DNS, on behalf of an order.
    pub(super) async fn set_record(
        &self,
        order: &CertificateName,
        name: &CertificateName,
        value: String,
    ) -> Result<(), Failed> {
        let zone = self.zone.as_ref().filter(|_| self.can_write(name.base()));
        let zone = zone.ok_or_else(|| Failed::Refused(format!("[tls.dns] cannot write into the zone of {name}")))?;
        let fqdn = format!("{LABEL}{}", name.base());
        self.store.note_record(order.clone(), fqdn.clone(), value.clone()).await?;
        zone.set(&fqdn, &value).await.map_err(|why| Failed::Unreachable(format!("[tls.dns]: {why}")))
    }

    /// Takes the records of an order (or all) out of the DNS. What cannot be is tried again at the next start.
    pub(super) async fn clear_records(&self, order: Option<CertificateName>) {
        let Some(zone) = &self.zone else { return };
        let noted = match self.store.noted_records(order).await {
            Ok(noted) => noted,
            Err(error) => return tracing::error!(%error, "the DNS cannot be tidied up"),
        };
        for (fqdn, value) in noted {
            let cleared = zone.clear(&fqdn, &value).await;
            if let Err(reason) = cleared {
                tracing::warn!(record = fqdn, reason, "a challenge stays in the DNS for now");
            } else if let Err(error) = self.store.forget_record(fqdn, value).await {
                tracing::error!(%error, "the DNS was tidied up, which could not be kept");
            }
        }
    }

    /// What an earlier server has left: orders that go on set theirs again.
    pub(super) async fn clear_stray_records(&self) {
        self.clear_records(None).await;
    }
}

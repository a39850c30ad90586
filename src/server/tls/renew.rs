//! When the next certificate is due: at a random instant around two thirds of a certificate's life, or when the CA says
//! (ARI, RFC 9773), which it is asked now and then.

use std::time::Duration;

use instant_acme::{CertificateIdentifier, Error, RenewalInfo, RevocationReason, RevocationRequest};
use jiff::Timestamp;

use super::ca::Failed;
use super::{Inner, inspect};
use crate::server::domain::{Certificate, CertificateOrder, CertificateSource};
use crate::server::store::Revocation;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// When a certificate with this life is replaced: between 60 and 70 % of it, so that those made together are not renewed
/// together.
pub(super) fn renewal(from: Timestamp, until: Timestamp) -> Timestamp {
    let life = until.as_second().saturating_sub(from.as_second()).max(0) as u64;
    from + Duration::from_secs(life / 1000 * rand::random_range(600..700) + life % 1000 * 6 / 10)
}

/// When the CA is first asked about a new certificate.
pub(super) fn first_question(now: Timestamp) -> Timestamp {
    now + Duration::from_secs(rand::random_range(5..15))
}

/// A random instant in the CA's window; now, if that is over or so near its end that the next question might miss it.
fn within(info: &RenewalInfo, now: Timestamp) -> Timestamp {
    let (start, end) = (info.suggested_window.start.unix_timestamp(), info.suggested_window.end.unix_timestamp());
    let second = if end > start { rand::random_range(start..end) } else { start };
    Timestamp::from_second(second).unwrap_or(now).max(now)
}

impl Inner {
    /// The certificate that an order replaces, as its own CA calls it.
    pub(super) fn replaced(&self, order: &CertificateOrder, directory: &str) -> Option<CertificateIdentifier<'static>> {
        let entries = self.shelf.all();
        let old = entries.iter().map(|entry| &entry.certificate).find(|old| {
            old.source == CertificateSource::Acme
                && old.name() == order.name()
                && old.directory.as_deref() == Some(directory)
        })?;
        identifier(old)
    }

    /// Asks the CA when it would like a certificate to be renewed.
    pub(super) async fn ask_when(&self, certificate: Certificate) -> Result<(), Failed> {
        let now = Timestamp::now();
        let planned = certificate.renew_at.unwrap_or(now);
        let (renew, again) = match self.window(&certificate).await {
            Ok((info, again)) => (within(&info, now), again.clamp(MINUTE, DAY)),
            // It has no opinion, or none today.
            Err(Failed::Unreachable(_)) => (planned, 6 * HOUR),
            Err(_) => (planned, DAY),
        };
        let (renew, ask) = (Some(renew), Some(now + again));
        self.store.plan_renewal(certificate.name().clone(), renew.unwrap_or(now), now + again).await?;
        self.shelf.put(Certificate { renew_at: renew, ask_at: ask, ..certificate });
        Ok(())
    }

    async fn window(&self, certificate: &Certificate) -> Result<(RenewalInfo, Duration), Failed> {
        let unknown = || Failed::Refused("no such certificate".into());
        let directory = certificate.directory.as_deref().ok_or_else(unknown)?;
        let account = self.cas.account(directory).await?;
        Ok(account.renewal_info(&identifier(certificate).ok_or_else(unknown)?).await?)
    }

    /// Tells a CA that a certificate was replaced for a reason.
    pub(super) async fn revoke(&self, revocation: Revocation) -> Result<(), Failed> {
        let told = async {
            let chain = inspect::ders(&revocation.chain).map_err(Failed::Refused)?;
            let account = self.cas.account(&revocation.directory).await?;
            let reason = Some(RevocationReason::Superseded);
            let Some(leaf) = chain.first() else { return Ok(()) };
            match account.revoke(&RevocationRequest { certificate: leaf, reason }).await {
                Err(Error::Api(problem))
                    if problem.r#type.as_deref().is_some_and(|t| t.ends_with(":alreadyRevoked")) =>
                {
                    Ok(())
                }
                told => told.map_err(Failed::from),
            }
        };
        let again = match told.await {
            Ok(()) => None,
            Err(error) => {
                tracing::warn!(ca = revocation.directory, %error, "a replaced certificate could not be revoked yet");
                Some(Timestamp::now() + 10 * MINUTE)
            }
        };
        Ok(self.store.settle_revocation(revocation.id, again).await?)
    }
}

fn identifier(certificate: &Certificate) -> Option<CertificateIdentifier<'static>> {
    let chain = inspect::ders(&certificate.chain).ok()?;
    CertificateIdentifier::try_from(chain.first()?).ok().map(CertificateIdentifier::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn renewals_are_spread_around_two_thirds_of_a_life() {
        let days = |count: i64| at(count * 86_400);
        let all: Vec<_> = (0..200).map(|_| renewal(days(0), days(90))).collect();
        assert!(all.iter().all(|one| (days(54)..days(63)).contains(one)), "{all:?}");
        assert!(all.iter().any(|one| *one != all[0]));
        assert!((at(18)..at(21)).contains(&renewal(at(0), at(30))), "short lives too");
    }

    #[test]
    fn a_cas_window_is_kept_to_and_a_missed_one_is_now() {
        let text = r#"{"suggestedWindow": {"start": "2030-01-01T00:00:00Z", "end": "2030-01-02T00:00:00Z"}}"#;
        let info: RenewalInfo = serde_json::from_str(text).unwrap();
        let (start, end): (Timestamp, Timestamp) =
            ("2030-01-01T00:00:00Z".parse().unwrap(), "2030-01-02T00:00:00Z".parse().unwrap());
        for _ in 0..50 {
            assert!((start..end).contains(&within(&info, at(0))));
        }
        assert_eq!(within(&info, end), end);
    }
}

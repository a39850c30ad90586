//! What is to be done about certificates, and doing it: the rows say what is under way, the routes and the certificates
//! say what is missing, and this loop starts what is due, a few at a time. It sleeps until something is.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::ca::{Failed, heeding};
use super::shelf::Entry;
use super::wanted::{is_provided, wanted};
use super::{Inner, Tls};
use crate::server::config::{ChallengeChoice, TlsMode};
use crate::server::domain::{Certificate, CertificateName, CertificateOrder, CertificateSource, OrderStep, RouteTable};
use crate::server::store::{Revocation, StoreError};

/// After a CA could not be asked: this, twice as long, and so on.
const UNREACHABLE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(600));
/// After it said no: it counts, and refuses for an hour whoever fails too often.
const REFUSED: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(12 * 3600));
/// With the next CA, when there is one.
const AT_ONCE: Duration = Duration::from_secs(1);
/// An order that was placed is begun anew with the next CA after so many failures.
const FAILURES: u32 = 4;
/// At most this long without a look.
const LOOK: Duration = Duration::from_secs(3600);
/// After the store failed.
const BREATH: Duration = Duration::from_secs(10);

/// Something to do now.
enum Task {
    Order(CertificateOrder),
    Ask(Certificate),
    Revoke(Revocation),
}

impl Task {
    /// What must not be done twice at a time.
    fn key(&self) -> String {
        match self {
            Self::Order(order) => format!("order {}", order.name()),
            Self::Ask(certificate) => ask(certificate),
            Self::Revoke(revocation) => format!("revoke {}", revocation.id),
        }
    }
}

fn ask(certificate: &Certificate) -> String {
    format!("ask {}", certificate.name())
}

impl Tls {
    /// Sees to certificates until `closed`, for whomever visitors can come for; what the routes hold already is known when this
    /// returns. What is cut off goes on with the next server.
    pub fn tend(&self, routes: watch::Receiver<Arc<RouteTable>>, closed: CancellationToken) -> JoinHandle<()> {
        let (inner, following) = (Arc::clone(&self.0), self.follow(routes));
        tokio::spawn(async move {
            let tending = async {
                match inner.config.mode {
                    TlsMode::Acme => tend(&inner).await,
                    TlsMode::Internal | TlsMode::Off => std::future::pending().await,
                }
            };
            tokio::select! {
                () = following => {}
                () = tending => {}
                () = closed.cancelled() => {}
            }
        })
    }

    /// Has a new certificate ordered now, whatever the plan was; `revoke` tells the CA that the old one must not be
    /// trusted any more once the new one serves. False if there is nothing to renew.
    pub async fn renew_now(&self, host: &str, revoke: bool) -> Result<bool, StoreError> {
        let inner = &self.0;
        if let Some(authority) = &inner.authority {
            authority.keep(|other| other != host);
            return Ok(true);
        }
        let theirs = |entry: &Arc<Entry>| {
            let certificate = &entry.certificate;
            certificate.source == CertificateSource::Acme && certificate.names.iter().any(|name| name.covers(host))
        };
        let ordered = inner.store.certificate_orders().await?;
        let names = match inner.shelf.all().iter().find(|entry| theirs(entry)) {
            Some(entry) => entry.certificate.names.clone(),
            None => match ordered.into_iter().find(|order| order.names.iter().any(|name| name.covers(host))) {
                Some(order) => order.names,
                None => return Ok(false),
            },
        };
        let (now, name) = (Timestamp::now(), names[0].clone());
        inner.store.place_orders(vec![CertificateOrder::due(names, now, revoke)]).await?;
        inner.store.hurry_order(name, revoke, now).await?;
        inner.wake.notify_one();
        Ok(true)
    }
}

async fn tend(inner: &Arc<Inner>) {
    inner.clear_stray_records().await;
    let (mut running, mut busy) = (JoinSet::new(), HashSet::new());
    loop {
        let next = match plan(inner, &busy).await {
            Ok((tasks, next)) => {
                for task in tasks.into_iter().take(inner.config.orders_at_once.saturating_sub(running.len())) {
                    busy.insert(task.key());
                    let inner = Arc::clone(inner);
                    running.spawn(async move {
                        let key = task.key();
                        carry_out(&inner, task).await;
                        key
                    });
                }
                next
            }
            Err(error) => {
                tracing::error!(%error, "what is to be done about certificates cannot be told");
                Timestamp::now() + BREATH
            }
        };
        let wait = Duration::try_from(next.duration_since(Timestamp::now())).unwrap_or_default();
        tokio::select! {
            () = inner.wake.notified() => {}
            Some(done) = running.join_next(), if !running.is_empty() => match done {
                Ok(key) => _ = busy.remove(&key),
                // A panic is logged where it happens; its row is picked up again.
                Err(_) => busy.clear(),
            },
            () = tokio::time::sleep(wait.min(LOOK)) => {}
        }
    }
}

/// What is due, the most urgent first, and when the next thing will be.
async fn plan(inner: &Inner, busy: &HashSet<String>) -> Result<(Vec<Task>, Timestamp), StoreError> {
    let now = Timestamp::now();
    let entries = inner.shelf.all();
    let certificates: Vec<&Certificate> = entries.iter().map(|entry| &entry.certificate).collect();
    let ordered = inner.store.certificate_orders().await?;
    let wanted = inner.wanted_now(&certificates, now);
    let (missing, mut next) = missing(&wanted, &certificates, &ordered, now);
    let ordered = if missing.is_empty() {
        ordered
    } else {
        inner.store.place_orders(missing).await?;
        inner.store.certificate_orders().await?
    };
    let routed = inner.is_routed();
    let mut tasks = Vec::new();
    let mut consider = |task: Task, at: Timestamp| {
        if busy.contains(&task.key()) {
            return;
        }
        if at <= now { tasks.push(task) } else { next = next.min(at) }
    };
    for order in ordered {
        if wanted.contains(&order.names) {
            let at = order.next_at;
            consider(Task::Order(order), at);
        } else if routed && !busy.contains(&Task::Order(order.clone()).key()) {
            inner.store.drop_order(order.name().clone()).await?;
        }
    }
    for revocation in inner.store.revocations().await? {
        let at = revocation.next_at;
        consider(Task::Revoke(revocation), at);
    }
    for certificate in certificates.into_iter().filter(|one| wanted.contains(&one.names)) {
        if let Some(at) = certificate.ask_at {
            consider(Task::Ask(certificate.clone()), at);
        }
    }
    inner.forget(&entries, |one| wanted.contains(&one.names) || busy.contains(&ask(one)), now).await?;
    Ok((tasks, next))
}

/// The orders that nobody has placed yet, and when the next renewal is due.
fn missing(
    wanted: &BTreeSet<Vec<CertificateName>>,
    certificates: &[&Certificate],
    ordered: &[CertificateOrder],
    now: Timestamp,
) -> (Vec<CertificateOrder>, Timestamp) {
    let under_way: HashSet<_> = ordered.iter().map(CertificateOrder::name).collect();
    let theirs = certificates.iter().filter(|one| one.source == CertificateSource::Acme);
    let due: std::collections::HashMap<_, _> = theirs.map(|one| (one.names.as_slice(), one.renew_at)).collect();
    let mut next = now + LOOK;
    let missing =
        wanted.iter().filter(|names| !under_way.contains(&names[0])).filter(|names| match due.get(names.as_slice()) {
            Some(Some(at)) if *at > now => {
                next = next.min(*at);
                false
            }
            _ => true,
        });
    let missing = missing.map(|names| CertificateOrder::due(names.clone(), now, false)).collect();
    (missing, next)
}

async fn carry_out(inner: &Inner, task: Task) {
    let outcome = match task {
        Task::Order(order) => match heeding(inner.issue(order.clone())).await {
            (Ok(()), _) => Ok(()),
            (Err(failed), until) => inner.put_off(order, failed, until).await,
        },
        Task::Ask(certificate) => inner.ask_when(certificate).await,
        Task::Revoke(revocation) => inner.revoke(revocation).await,
    };
    if let Err(error) = outcome {
        tracing::error!(%error, "a certificate's state could not be kept");
        tokio::time::sleep(BREATH).await;
    }
}

impl Inner {
    fn wanted_now(&self, certificates: &[&Certificate], now: Timestamp) -> BTreeSet<Vec<CertificateName>> {
        let by_dns = matches!(self.config.challenge, ChallengeChoice::Auto | ChallengeChoice::Dns01);
        let writes = |name: &str| by_dns && self.can_write(name);
        let mut wanted = wanted(&self.routes.load(), &self.domain, writes);
        wanted.retain(|names| !is_provided(names, certificates, now));
        wanted
    }

    /// Writes down why an order failed, and when it is tried again: not before `until`, if the same CA is asked.
    async fn put_off(&self, order: CertificateOrder, failed: Failed, until: Option<Timestamp>) -> Result<(), Failed> {
        // The steps before the failure are in the row.
        let rows = self.store.certificate_orders().await?;
        let Some(mut row) = rows.into_iter().find(|row| row.name() == order.name()) else { return Ok(()) };
        let text = failed.to_string();
        let ((first, most), refused) = match &failed {
            // It was begun by an earlier server, and perhaps the CA looked while nobody was here: not its last word.
            Failed::Refused(_) if order.step != OrderStep::Due => (UNREACHABLE, true),
            Failed::Refused(_) => (REFUSED, true),
            Failed::Unreachable(_) => (UNREACHABLE, false),
            Failed::Ours(_) => (REFUSED, false),
        };
        let directory = self.directory(&row);
        if text.contains(":accountDoesNotExist") {
            self.cas.forget(&directory).await?;
        }
        let cas = self.config.directories.len().max(1) as u32;
        let lost = cas > 1 && row.attempts % FAILURES == FAILURES - 1;
        if refused || lost {
            // What the CA has refused is no order any more.
            (row.step, row.url, row.key) = (OrderStep::Due, None, None);
        }
        // With several CAs the next one is asked at once; only after all of them have failed is it time to wait.
        let round = row.attempts / cas;
        row.attempts = if row.step == OrderStep::Due { self.next(row.attempts, &directory) } else { row.attempts + 1 };
        let others = row.step == OrderStep::Due && row.attempts / cas == round;
        let wait = if others { AT_ONCE } else { first.saturating_mul(4_u32.saturating_pow(round)).min(most) };
        let wait = Timestamp::now() + wait.mul_f64(rand::random_range(0.8..1.2));
        let next = self.directory(&row);
        let asked_for = self.cas.told_to_wait(&next).max(until.filter(|_| next == directory));
        row.next_at = asked_for.map_or(wait, |until| until.max(wait));
        tracing::warn!(certificate = %row.name(), ca = directory, reason = text, again = %row.next_at, "no certificate yet");
        row.last_error = Some(text);
        Ok(self.store.keep_order(row).await?)
    }

    /// The number of the attempt after this one: with another CA rather than this one again, and with none that has asked to
    /// be left alone.
    fn next(&self, attempts: u32, directory: &str) -> u32 {
        let mut numbers = attempts + 1..=attempts + self.config.directories.len() as u32;
        let willing = |number: &u32| self.cas.told_to_wait(&self.cas.directory(*number)).is_none();
        let other = |number: &u32| self.cas.directory(*number) != directory;
        let found = numbers.clone().find(|number| other(number) && willing(number)).or_else(|| numbers.find(willing));
        found.unwrap_or(attempts + 1)
    }

    /// An empty table is one that is not known yet: no reason to give anything up.
    fn is_routed(&self) -> bool {
        !self.routes.load().hosts.is_empty()
    }

    /// Gives up what a CA signed and nobody needs: at once if it is for domains that were removed, for whoever has them next
    /// is somebody else; what is for hosts of our own when it is worth nothing any more, for an app of that name may come back.
    async fn forget(
        &self,
        entries: &[Arc<Entry>],
        needed: impl Fn(&Certificate) -> bool,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let theirs = entries.iter().map(|entry| &entry.certificate).filter(|one| one.source == CertificateSource::Acme);
        let removed = |one: &Certificate| self.is_routed() && !one.names.iter().any(|name| self.is_known(name));
        for certificate in theirs.filter(|one| !needed(one) && (one.not_after < now || removed(one))) {
            let name = certificate.name().clone();
            self.store.forget_certificate(name.clone(), CertificateSource::Acme, None).await?;
            self.shelf.remove(&name, CertificateSource::Acme);
            tracing::info!(certificate = %name, "a certificate that nobody needs was given up");
        }
        Ok(())
    }

    /// Whether a name leads to an app, or is one of our own.
    fn is_known(&self, name: &CertificateName) -> bool {
        let above = name.base().strip_suffix(self.domain.as_str());
        above.is_some_and(|above| above.is_empty() || above.ends_with('.')) || self.serves(name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::seal::Sealer;
    use crate::server::tls::testing;

    #[test]
    fn what_is_missing_or_due_and_not_under_way_is_ordered() {
        let folder = tempfile::tempdir().unwrap();
        let sealer = Sealer::open(&folder.path().join("key")).unwrap();
        let now = Timestamp::now();
        let names = |text: &str| vec![CertificateName::parse(text).unwrap()];
        let with = |name: &str, renew_at| Certificate {
            renew_at: Some(renew_at),
            ..testing::certificate(&sealer, &[name], CertificateSource::Acme)
        };
        let soon = now + Duration::from_secs(60);
        let have = [with("fresh.example", soon), with("old.example", now)];
        let wanted: BTreeSet<_> =
            ["fresh.example", "old.example", "new.example", "ordered.example"].into_iter().map(names).collect();
        let ordered = [CertificateOrder::due(names("ordered.example"), now, false)];
        let (found, next) = missing(&wanted, &have.iter().collect::<Vec<_>>(), &ordered, now);
        let found: Vec<_> = found.iter().map(|order| order.name().to_string()).collect();
        assert_eq!(found, ["new.example", "old.example"]);
        assert_eq!(next, soon);
    }
}

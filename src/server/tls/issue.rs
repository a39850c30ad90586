//! One order, from wherever it stands to its certificate. Each step is written down before the next begins.
//!
//! The CA's own state decides what is left to do, ours only where to look: an order whose answers the CA has accepted
//! is not answered again, one that it has signed is only fetched.

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeStatus, ChallengeType, Error, Identifier, NewOrder, Order, OrderStatus,
    RetryPolicy,
};
use jiff::Timestamp;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::ca::Failed;
use super::challenges::Posted;
use super::renew::{first_question, renewal};
use super::shelf::context;
use super::{Inner, TlsError, inspect};
use crate::server::config::ChallengeChoice;
use crate::server::domain::{Certificate, CertificateName, CertificateOrder, CertificateSource, OrderStep};
use crate::server::steps;

/// How a CA is asked whether it has come to a conclusion.
const ASKING: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(300)).backoff(1.5).timeout(Duration::from_secs(120));

impl Inner {
    /// Takes an order to its end.
    pub(super) async fn issue(&self, mut order: CertificateOrder) -> Result<(), Failed> {
        let directory = self.directory(&order);
        if let Some(until) = self.cas.told_to_wait(&directory) {
            return Err(Failed::Unreachable(format!("{directory} asks to be left alone until {until}")));
        }
        self.look_before(&order).await?;
        let account = self.cas.account(&directory).await?;
        let mut placed = match &order.url {
            Some(url) if order.step != OrderStep::Due => account.order(url.clone()).await?,
            _ => self.place(&account, &mut order, &directory).await?,
        };
        if placed.state().status == OrderStatus::Pending {
            self.answer(&mut placed, &mut order).await?;
        }
        let key = self.key(&mut order).await?;
        if placed.state().status == OrderStatus::Ready {
            placed.finalize_csr(&request(&order.names, &key)?).await?;
        }
        if placed.state().status == OrderStatus::Invalid {
            return Err(Failed::Refused(why_invalid(&mut placed).await));
        }
        let chain = placed.poll_certificate(&ASKING).await?;
        self.finish(order, directory, chain, &key).await
    }

    /// The CA at which an order is, or will be placed.
    pub(super) fn directory(&self, order: &CertificateOrder) -> String {
        match (&order.directory, order.step) {
            (Some(directory), OrderStep::Placed | OrderStep::Answered | OrderStep::Finalized) => directory.clone(),
            (_, _) => self.cas.directory(order.attempts),
        }
    }

    /// A host without any record cannot be validated: asking the CA would only spend its patience.
    async fn look_before(&self, order: &CertificateOrder) -> Result<(), Failed> {
        let by_dns = order.names.iter().all(|name| self.choice(name, order.attempts) == ChallengeType::Dns01);
        if order.step == OrderStep::Due && !by_dns && self.reach.has_no_record(order.name().base()).await {
            let text = format!("{} has no address in the DNS yet: set its record first", order.name());
            return Err(Failed::Unreachable(text));
        }
        Ok(())
    }

    async fn place(&self, account: &Account, order: &mut CertificateOrder, directory: &str) -> Result<Order, Failed> {
        let identifiers: Vec<_> = order.names.iter().map(|name| Identifier::Dns(name.to_string())).collect();
        let plain = NewOrder::new(&identifiers);
        let placed = match self.replaced(order, directory) {
            // CAs spare renewals their rate limits. One that does not know the old certificate any more, or does not say
            // back what it takes, is asked plainly.
            Some(old) => match account.new_order(&NewOrder::new(&identifiers).replaces(old)).await {
                Err(error) if is_about_the_old(&error) => account.new_order(&plain).await?,
                placed => placed?,
            },
            None => account.new_order(&plain).await?,
        };
        order.url = Some(placed.url().to_owned());
        order.directory = Some(directory.to_owned());
        (order.step, order.key) = (OrderStep::Placed, None);
        self.store.keep_order(order.clone()).await?;
        steps::reached("certificate.placed");
        Ok(placed)
    }

    /// Posts the answers, tells the CA, waits for what it says, and takes them away again.
    async fn answer(&self, placed: &mut Order, order: &mut CertificateOrder) -> Result<(), Failed> {
        let answered = self.post_and_wait(placed, order).await;
        self.clear_records(Some(order.name().clone())).await;
        answered
    }

    async fn post_and_wait(&self, placed: &mut Order, order: &mut CertificateOrder) -> Result<(), Failed> {
        let _posted = self.post(placed, order).await?;
        let mut authorizations = placed.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            let kind = self.offered(&authorization.challenges, &name_of(&authorization)?, order.attempts)?;
            let pending = authorization.status == AuthorizationStatus::Pending;
            if let Some(mut challenge) = authorization.challenge(kind)
                && pending
                && challenge.status == ChallengeStatus::Pending
            {
                challenge.set_ready().await?;
            }
        }
        order.step = OrderStep::Answered;
        self.store.keep_order(order.clone()).await?;
        steps::reached("certificate.answered");
        match placed.poll_ready(&ASKING).await {
            Ok(OrderStatus::Invalid) | Err(Error::Api(_)) => Err(Failed::Refused(why_invalid(placed).await)),
            Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn post(&self, placed: &mut Order, order: &CertificateOrder) -> Result<Vec<Posted>, Failed> {
        let (mut posted, mut in_dns) = (Vec::new(), false);
        let mut authorizations = placed.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let name = name_of(&authorization)?;
            let kind = self.offered(&authorization.challenges, &name, order.attempts)?;
            let Some(challenge) = authorization.challenge(kind.clone()) else { continue };
            let key = challenge.key_authorization();
            match kind {
                ChallengeType::Http01 => {
                    posted.push(self.challenges.post_text(challenge.token.clone(), key.as_str().to_owned()));
                }
                ChallengeType::TlsAlpn01 => {
                    let digest = <[u8; 32]>::try_from(key.digest().as_ref()).unwrap_or_default();
                    posted.push(self.challenges.post_certificate(name.base().to_owned(), &digest)?);
                }
                _ => {
                    self.set_record(order.name(), &name, key.dns_value()).await?;
                    in_dns = true;
                }
            }
        }
        if in_dns {
            tokio::time::sleep(Duration::from_secs(self.config.dns.wait_seconds)).await;
        }
        Ok(posted)
    }

    /// The challenge that we would like, else another that the CA offers and we can answer.
    fn offered(
        &self,
        challenges: &[instant_acme::Challenge],
        name: &CertificateName,
        attempts: u32,
    ) -> Result<ChallengeType, Failed> {
        let liked = self.choice(name, attempts);
        let offers = |kind: &ChallengeType| challenges.iter().any(|challenge| challenge.r#type == *kind);
        let others = [ChallengeType::Http01, ChallengeType::TlsAlpn01];
        let free = self.config.challenge == ChallengeChoice::Auto;
        let found = std::iter::once(liked).chain(others.into_iter().filter(|_| free)).find(offers);
        found.ok_or_else(|| Failed::Refused(format!("the CA offers no challenge for {name} that can be answered here")))
    }

    /// How the CA shall look at a name: HTTP and TLS by turns, since a firewall may let through only one.
    pub(super) fn choice(&self, name: &CertificateName, attempts: u32) -> ChallengeType {
        match self.config.challenge {
            ChallengeChoice::Http01 => ChallengeType::Http01,
            ChallengeChoice::TlsAlpn01 => ChallengeType::TlsAlpn01,
            ChallengeChoice::Dns01 => ChallengeType::Dns01,
            ChallengeChoice::Auto if name.is_wildcard() || self.can_write(name.base()) => ChallengeType::Dns01,
            ChallengeChoice::Auto if attempts.is_multiple_of(2) => ChallengeType::Http01,
            ChallengeChoice::Auto => ChallengeType::TlsAlpn01,
        }
    }

    /// The certificate's key: made once, kept before the CA hears of it.
    async fn key(&self, order: &mut CertificateOrder) -> Result<KeyPair, Failed> {
        let context = context(order.name(), CertificateSource::Acme);
        if let Some(sealed) = &order.key {
            let der = self.sealer.unseal(&context, sealed).map_err(TlsError::from)?;
            return Ok(KeyPair::try_from(der.as_slice()).map_err(TlsError::from)?);
        }
        let key = KeyPair::generate().map_err(TlsError::from)?;
        order.key = Some(self.sealer.seal(&context, key.serialized_der()));
        order.step = OrderStep::Finalized;
        self.store.keep_order(order.clone()).await?;
        steps::reached("certificate.finalized");
        Ok(key)
    }

    async fn finish(
        &self,
        order: CertificateOrder,
        directory: String,
        chain: String,
        key: &KeyPair,
    ) -> Result<(), Failed> {
        let leaf = inspect::leaf(&chain).map_err(|why| Failed::Refused(format!("the CA's certificate {why}")))?;
        let now = Timestamp::now();
        let issued = Certificate {
            key: self.sealer.seal(&context(order.name(), CertificateSource::Acme), key.serialized_der()),
            names: order.names,
            source: CertificateSource::Acme,
            issuer: leaf.issuer,
            chain,
            not_before: leaf.not_before,
            not_after: leaf.not_after,
            directory: Some(directory),
            renew_at: Some(renewal(leaf.not_before, leaf.not_after)),
            ask_at: Some(first_question(now)),
            app: None,
        };
        self.store.certificate_issued(issued.clone()).await?;
        steps::reached("certificate.issued");
        tracing::info!(certificate = %issued.name(), issuer = issued.issuer, until = %issued.not_after, "a CA has signed a certificate");
        self.shelf.put(issued);
        Ok(())
    }
}

/// Whether an order was refused for the certificate that it should replace, as far as can be told.
fn is_about_the_old(error: &Error) -> bool {
    match error {
        Error::Unsupported(_) => true,
        Error::Api(problem) => problem.status.is_none_or(|status| status != 429 && status < 500),
        Error::Other(why) => !why.is::<reqwest::Error>(),
        _ => false,
    }
}

/// The name that an authorization is for.
fn name_of(authorization: &instant_acme::AuthorizationState) -> Result<CertificateName, Failed> {
    let text = authorization.identifier().to_string();
    CertificateName::parse(&text).map_err(|_| Failed::Refused(format!("the CA asks about `{}`", text.escape_debug())))
}

fn request(names: &[CertificateName], key: &KeyPair) -> Result<Vec<u8>, TlsError> {
    let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(key)?.der().to_vec())
}

/// The CA's words about the challenge that failed, else about the order.
async fn why_invalid(placed: &mut Order) -> String {
    let order = placed.state().error.as_ref().map(ToString::to_string);
    let mut authorizations = placed.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else { continue };
        let failed = state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
        if let Some(problem) = failed {
            let detail = problem.detail.clone().unwrap_or_else(|| problem.to_string());
            return format!("{}: {detail}", state.identifier());
        }
    }
    order.unwrap_or_else(|| "the CA gave no reason".into())
}

//! Certificates of an app's hosts: how they stand, own ones, a new one now.

use super::ActionError;
use super::access::Action;
use super::apps::Apps;
use crate::api::cert::{AddCert, Cert, RenewCert};
use crate::server::domain::{App, Hostname, User};
use crate::server::store::StoreError;
use crate::server::tls::{HostStatus, Next};

impl Apps {
    /// How each of the app's hosts stands.
    pub async fn certs(&self, user: &User, name: &str) -> Result<Vec<Cert>, ActionError> {
        let app = self.may(user, name, Action::See).await?;
        let hosts = self.hosts(&app).await?.into_iter().map(String::from).collect();
        let found = self.rooms.tls.status(hosts).await.map_err(ActionError::internal)?;
        Ok(found.into_iter().map(shown).collect())
    }

    /// Serves an own certificate for a host, in place of any other.
    pub async fn add_cert(&self, user: &User, name: &str, wish: AddCert) -> Result<Cert, ActionError> {
        let app = self.may(user, name, Action::Certify).await?;
        let host = self.host_of(&app, &wish.fqdn).await?;
        let added = self.rooms.tls.add_own(app.id, &host, &wish.certificate, &wish.key).await;
        let added = added.map_err(ActionError::internal)??;
        let text = format!(
            "Certificate for {host} by {}, valid until {}, added by {}",
            added.issuer, added.not_after, user.email
        );
        self.rooms.logs.platform(&app.name, text);
        self.cert(host).await
    }

    /// Serves it no longer.
    pub async fn remove_cert(&self, user: &User, name: &str, fqdn: &str) -> Result<(), ActionError> {
        let app = self.may(user, name, Action::Certify).await?;
        let host = self.host_of(&app, fqdn).await?;
        self.rooms.tls.remove_own(app.id, &host).await.map_err(|error| match error {
            StoreError::NotFound => ActionError::NotFound(format!("`{host}` has no certificate of its own")),
            other => other.into(),
        })?;
        self.rooms.logs.platform(&app.name, format!("Own certificate for {host} removed by {}", user.email));
        Ok(())
    }

    /// Has a new certificate made now.
    pub async fn renew_cert(&self, user: &User, name: &str, wish: RenewCert) -> Result<Cert, ActionError> {
        let app = self.may(user, name, Action::Certify).await?;
        let host = self.host_of(&app, &wish.fqdn).await?;
        if !self.rooms.tls.renew_now(host.as_str(), wish.revoke).await? {
            return Err(ActionError::NotFound(format!("`{host}` has no certificate that the platform could renew")));
        }
        let text = if wish.revoke { "; the present one is revoked then" } else { "" };
        self.rooms.logs.platform(&app.name, format!("New certificate for {host} asked for by {}{text}", user.email));
        self.cert(host).await
    }

    async fn cert(&self, host: Hostname) -> Result<Cert, ActionError> {
        let found = self.rooms.tls.status(vec![host.into()]).await.map_err(ActionError::internal)?;
        found.into_iter().next().map(shown).ok_or_else(|| ActionError::internal("one host has one state"))
    }

    /// Its own host, then its further ones.
    async fn hosts(&self, app: &App) -> Result<Vec<Hostname>, ActionError> {
        let own = Hostname::of_app(&app.name, &self.settings.domain);
        let further = self.rooms.store.front(app.id).await?.hosts;
        Ok(std::iter::once(own).chain(further).collect())
    }

    async fn host_of(&self, app: &App, text: &str) -> Result<Hostname, ActionError> {
        let host = Hostname::parse_domain(text.trim())?;
        if self.hosts(app).await?.contains(&host) {
            return Ok(host);
        }
        let text = format!("`{host}` is no host of `{}`; add it with `gigalixir domains:add {host}`", app.name);
        Err(ActionError::NotFound(text))
    }
}

fn shown(status: HostStatus) -> Cert {
    let (next, next_at) = match status.next {
        Next::Renew(at) => ("renew", Some(at)),
        Next::Replace(at) => ("replace", Some(at)),
        Next::Order(step, at) => (step, Some(at)),
        Next::Sign => ("sign", None),
        Next::Off => ("off", None),
        Next::Deploy => ("deploy", None),
    };
    Cert {
        fqdn: status.host,
        source: status.source.map(str::to_owned),
        names: status.names,
        issuer: status.issuer,
        expires_at: status.expires.map(|at| at.to_string()),
        next: next.to_owned(),
        next_at: next_at.map(|at| at.to_string()),
        last_error: status.last_error,
    }
}

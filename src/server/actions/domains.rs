//! Custom domains: hosts of the app's own that lead to it, and what the DNS says of them. Certificates are in `certs.rs`.

use super::ActionError;
use super::access::Action;
use super::apps::Apps;
use crate::api::domain::{Added, Dns};
use crate::server::domain::{App, Hostname, Invalid, User};
use crate::server::store::StoreError;
use crate::server::tls::Reach;

impl Apps {
    /// The app's custom domains, by name.
    pub async fn domains(&self, user: &User, name: &str) -> Result<Vec<String>, ActionError> {
        let app = self.may(user, name, Action::See).await?;
        Ok(self.rooms.store.front(app.id).await?.hosts.into_iter().map(String::from).collect())
    }

    /// Leads a domain to the app, at once; answers with the name that its DNS record must point at.
    /// `check`: also with what the DNS says of the domain now.
    pub async fn add_domain(&self, user: &User, name: &str, fqdn: &str, check: bool) -> Result<Added, ActionError> {
        let app = self.may(user, name, Action::Route).await?;
        let host = self.custom(fqdn)?;
        let most = self.settings.domains_per_app;
        let added = self.rooms.deployer.add_domain(&app, host.clone(), most, user.email.to_string()).await;
        added.map_err(|error| match error {
            StoreError::Taken => ActionError::invalid("fqdn", "has already been taken"),
            StoreError::Full => {
                let text = format!("is one too many: an app may have {most} domains, remove one first");
                ActionError::invalid("fqdn", text)
            }
            other => other.into(),
        })?;
        self.rooms.logs.platform(&app.name, format!("Domain {host} added by {}", user.email));
        let cname = self.cname(&app);
        let dns = match check {
            // A wildcard's record answers for any label.
            true => Some(dns(self.rooms.tls.reach(&host.as_str().replacen('*', "any", 1), &cname).await)),
            false => None,
        };
        Ok(Added { cname, fqdn: host.into(), dns })
    }

    /// Leads a domain to the app no longer.
    pub async fn remove_domain(&self, user: &User, name: &str, fqdn: &str) -> Result<(), ActionError> {
        let app = self.may(user, name, Action::Route).await?;
        let unknown = || {
            let text =
                format!("`{}` is no domain of `{}`; `gigalixir domains` lists them", fqdn.escape_debug(), app.name);
            ActionError::NotFound(text)
        };
        let host = Hostname::parse_domain(fqdn.trim()).map_err(|_| unknown())?;
        let removed = self.rooms.deployer.remove_domain(&app, host.clone(), user.email.to_string()).await;
        removed.map_err(|error| match error {
            StoreError::NotFound => unknown(),
            other => other.into(),
        })?;
        // Whoever has the domain next shall not be served with this app's key.
        match self.rooms.tls.remove_own(app.id, &host).await {
            Ok(()) | Err(StoreError::NotFound) => {}
            Err(other) => return Err(other.into()),
        }
        self.rooms.logs.platform(&app.name, format!("Domain {host} removed by {}", user.email));
        Ok(())
    }

    /// A name below a public suffix, as far as can be told without a list of them: two labels or more, no address, and
    /// none of the platform's own.
    fn custom(&self, text: &str) -> Result<Hostname, Invalid> {
        let host = Hostname::parse_domain(text.trim())?;
        let last = host.below().unwrap_or(host.as_str()).rsplit_once('.').map(|(_, last)| last);
        match last {
            None => return Err(Invalid::new("fqdn", "should have a dot, as in www.example.com")),
            Some(last) if last.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Err(Invalid::new("fqdn", "should be a name, not an address"));
            }
            Some(_) => {}
        }
        let settings = &self.settings;
        let urls = [&settings.app_url, &settings.git_url, &settings.api_url];
        let named = [settings.domain.as_str(), settings.ssh.host.as_str()];
        for name in urls.into_iter().filter_map(|url| url.host_str()).chain(named) {
            let covered = host.below().is_some() && name.split_once('.').map(|(_, rest)| rest) == host.below();
            let below = host.as_str().strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
            if host.as_str() == name || below || covered {
                return Err(Invalid::new("fqdn", "belongs to the platform"));
            }
        }
        Ok(host)
    }

    fn cname(&self, app: &App) -> String {
        let url = url::Url::parse(&self.url(&app.name)).ok();
        let host = url.as_ref().and_then(url::Url::host_str).map(str::to_owned);
        host.unwrap_or_else(|| Hostname::of_app(&app.name, &self.settings.domain).into())
    }
}

fn dns(reach: Reach) -> Dns {
    let (leads, addresses) = match reach {
        Reach::Here => ("here", Vec::new()),
        Reach::Nowhere => ("nowhere", Vec::new()),
        Reach::Elsewhere(addresses) => ("elsewhere", addresses),
        Reach::Unknown => ("unknown", Vec::new()),
    };
    Dns { leads: leads.into(), addresses: addresses.iter().map(ToString::to_string).collect() }
}

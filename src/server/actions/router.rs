//! What an app's people decide about the requests of its visitors, and who may see what passes.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use secrecy::ExposeSecret;
use subtle::ConstantTimeEq;

use super::ActionError;
use super::access::Action;
use super::account::Credentials;
use super::apps::Apps;
use crate::api::router::{MaintenancePage, RouterRules, SetRouterRules};
use crate::server::domain::{App, Canonical, Rules, User};

/// Bytes of a maintenance page.
const LONGEST_PAGE: usize = 256 * 1024;

impl Apps {
    /// What holds for the app's requests.
    pub async fn router_rules(&self, user: &User, name: &str) -> Result<RouterRules, ActionError> {
        let app = self.may(user, name, Action::See).await?;
        Ok(told(&self.rules(&app).await?))
    }

    /// Changes what is told, at once and for all replicas.
    pub async fn set_router_rules(
        &self,
        user: &User,
        name: &str,
        wish: SetRouterRules,
    ) -> Result<RouterRules, ActionError> {
        let app = self.may(user, name, Action::Rule).await?;
        let unknown = || ActionError::invalid("canonical", "should be www, apex or none");
        let canonical = match wish.canonical.as_deref() {
            None => None,
            Some("none") => Some(None),
            Some(text) => Some(Some(Canonical::parse(text).ok_or_else(unknown)?)),
        };
        let change = move |rules: &mut Rules| {
            if let Some(most) = wish.max_connections {
                rules.connections = NonZeroU32::new(most);
            }
            if let Some(most) = wish.max_body_bytes {
                rules.body_bytes = (most > 0).then_some(most);
            }
            rules.affinity = wish.affinity.unwrap_or(rules.affinity);
            rules.h2c = wish.h2c.unwrap_or(rules.h2c);
            rules.access_log = wish.access_log.unwrap_or(rules.access_log);
            rules.canonical = canonical.unwrap_or(rules.canonical);
        };
        Ok(told(&self.decide(user, &app, change, "Router rules changed.").await?))
    }

    /// The app's own maintenance page; empty when it has none.
    pub async fn maintenance_page(&self, user: &User, name: &str) -> Result<MaintenancePage, ActionError> {
        let app = self.may(user, name, Action::See).await?;
        let page = self.rules(&app).await?.maintenance_page;
        Ok(MaintenancePage { html: page.as_deref().unwrap_or_default().to_owned() })
    }

    /// Gives the app its own maintenance page, or with an empty one the platform's.
    pub async fn set_maintenance_page(&self, user: &User, name: &str, html: String) -> Result<(), ActionError> {
        let app = self.may(user, name, Action::Maintain).await?;
        if html.len() > LONGEST_PAGE {
            let text = format!("should be at most {} KiB", LONGEST_PAGE / 1024);
            return Err(ActionError::invalid("html", text));
        }
        let page = (!html.is_empty()).then(|| html.into());
        self.decide(user, &app, |rules| rules.maintenance_page = page, "Maintenance page changed.").await.map(drop)
    }

    /// Whether this is the operator's key for what passes to all apps.
    pub fn sees_all_traffic(&self, tried: &[Credentials]) -> bool {
        let Some(key) = &self.settings.metrics_key else { return false };
        let key = key.expose_secret().as_bytes();
        tried.iter().any(|with| with.email.is_empty() && bool::from(with.secret.as_bytes().ct_eq(key)))
    }

    /// The apps whose traffic the person may see.
    pub async fn names(&self, user: &User) -> Result<BTreeSet<String>, ActionError> {
        let glances = self.rooms.store.glances_open_to(user.id).await?;
        Ok(glances.into_iter().map(|glance| glance.app.name.to_string()).collect())
    }

    async fn rules(&self, app: &App) -> Result<Rules, ActionError> {
        Ok(Rules::clone(&self.rooms.store.front(app.id).await?.rules))
    }

    async fn decide(
        &self,
        user: &User,
        app: &App,
        change: impl FnOnce(&mut Rules) + Send + 'static,
        summary: &str,
    ) -> Result<Rules, ActionError> {
        let by = user.email.to_string();
        let rules = self.rooms.deployer.change_rules(app, change, summary.to_owned(), by).await?;
        let words = summary.trim_end_matches('.');
        self.rooms.logs.platform(&app.name, format!("{words} by {}", user.email));
        Ok(rules)
    }
}

fn told(rules: &Rules) -> RouterRules {
    RouterRules {
        max_connections: rules.connections.map_or(0, NonZeroU32::get),
        max_body_bytes: rules.body_bytes.unwrap_or(0),
        affinity: rules.affinity,
        h2c: rules.h2c,
        canonical: rules.canonical.map_or("none", Canonical::as_str).to_owned(),
        access_log: rules.access_log,
        maintenance_page: rules.maintenance_page.is_some(),
    }
}

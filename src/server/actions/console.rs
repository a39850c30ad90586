//! What consoles and Gigalixir's own tools have evaluated in an app's node.

use super::ActionError;
use super::access::Action;
use super::apps::Apps;
use crate::api::inside::ObserverCommands;
use crate::server::domain::{App, Slug, SlugKind, User};

/// The expression of `gigalixir_run migrate`, with a place for the application's name.
const MIGRATE: &str = include_str!("../../../config/migrate.exs");

impl Apps {
    /// The expression that migrates the repos of an application: the release's own if none is named.
    pub async fn migrate_command(&self, user: &User, name: &str, of: Option<&str>) -> Result<String, ActionError> {
        let app = self.may(user, name, Action::Enter).await?;
        self.migrate_command_of(&app, of).await
    }

    /// The same, for one of the app's own replicas.
    pub async fn migrate_command_of(&self, app: &App, of: Option<&str>) -> Result<String, ActionError> {
        let live = self.live_slug(app).await?;
        let own = live.and_then(|slug| slug.customer_app_name).unwrap_or_else(|| app.name.as_str().replace('-', "_"));
        let of = of.unwrap_or(&own);
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !of.starts_with(|c: char| c.is_ascii_lowercase()) || !of.chars().all(plain) {
            return Err(ActionError::invalid("migration_app_name", "has invalid format"));
        }
        Ok(MIGRATE.replace("@APP@", of))
    }

    /// The expressions that tell an observer where to connect; distillery evaluates Erlang, all others Elixir.
    pub async fn observer_commands(&self, user: &User, name: &str) -> Result<ObserverCommands, ActionError> {
        let app = self.may(user, name, Action::Enter).await?;
        let (cookie, node) = match self.live_slug(&app).await?.is_some_and(|slug| evaluates_erlang(&slug)) {
            true => ("erlang:get_cookie().", "node()."),
            false => ("Node.get_cookie()", "node()"),
        };
        Ok(ObserverCommands { get_cookie: cookie.into(), get_node_name: node.into() })
    }
}

fn evaluates_erlang(slug: &Slug) -> bool {
    let capabilities = slug.capabilities.get("distillery").unwrap_or(&slug.capabilities);
    slug.kind == SlugKind::Release && capabilities.get("eval").and_then(|eval| eval.as_str()) != Some("elixir")
}

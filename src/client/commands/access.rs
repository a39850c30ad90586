//! `access…`: who else may do something with an app.

use clap::Args;
use reqwest::Method;

use super::target::{AppOption, Target};
use crate::api::access::{Grant, People, Revoke};
use crate::client::Client;
use crate::client::error::Error;
use crate::client::output::table;

/// Arguments of `access`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir access
  gigalixir permissions my-app --json")]
pub struct List {
    #[command(flatten)]
    target: Target,
}

/// Arguments of `access:add`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir access:add friend@example.com
  gigalixir access:add boss@example.com --role VIEWER
  gigalixir add_permission my-app friend@example.com")]
pub struct Add {
    #[command(flatten)]
    named: Person,
    /// COLLABORATOR (deploys, configures, scales) or VIEWER (looks) [default: COLLABORATOR]
    #[arg(short, long, value_name = "ROLE")]
    role: Option<String>,
}

/// Arguments of `access:remove`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir access:remove friend@example.com
  gigalixir delete_permission my-app friend@example.com")]
pub struct Remove {
    #[command(flatten)]
    named: Person,
}

#[derive(Debug, Args)]
struct Person {
    #[command(flatten)]
    app: AppOption,
    /// The person's address; of two words the first is the app
    #[arg(value_name = "EMAIL", required = true, num_args = 1..=2)]
    words: Vec<String>,
}

impl Person {
    fn resolve(&self, client: &Client) -> Result<(String, String), Error> {
        let (app, email) = super::last_word(&self.words)?;
        Ok((self.app.resolve(client, app)?, email.to_owned()))
    }
}

/// Lists everybody with a role.
pub async fn list(client: &Client, args: List) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    let api = client.api()?;
    let answer = api.get(&["api", "apps", &name, "permissions"]).await?;
    client.output.result(&answer.data, || {
        let people: People = answer.read(&api)?;
        let collaborators = people.collaborators.into_iter().map(|email| [email, "COLLABORATOR".to_owned()]);
        let viewers = people.viewers.into_iter().map(|email| [email, "VIEWER".to_owned()]);
        let owner = std::iter::once([people.owner, "OWNER".to_owned()]);
        Ok(table(["WHO", "ROLE"], owner.chain(collaborators).chain(viewers)))
    })
}

/// Gives somebody a role.
pub async fn add(client: &Client, args: Add) -> Result<(), Error> {
    let (name, email) = args.named.resolve(client)?;
    let body = Grant { email, role: args.role };
    let answer = client.api()?.send(Method::POST, &["api", "apps", &name, "permissions"], &body).await?;
    let role = body.role.as_deref().unwrap_or("COLLABORATOR").to_uppercase();
    client.output.status(format!("{} has access to {name} now, as {role}.", body.email));
    client.output.result(&answer.data, || Ok(String::new()))
}

/// Takes somebody's role away.
pub async fn remove(client: &Client, args: Remove) -> Result<(), Error> {
    let (name, email) = args.named.resolve(client)?;
    let body = Revoke { email };
    let answer = client.api()?.send(Method::DELETE, &["api", "apps", &name, "permissions"], &body).await?;
    client.output.status(format!("{} has no access to {name} any more.", body.email));
    client.output.result(&answer.data, || Ok(String::new()))
}

//! `drains…`: where an app's log is sent besides.

use clap::Args;
use reqwest::Method;

use super::target::{AppOption, Target};
use crate::api::drain::{AddDrain, Drain, DrainId, RemoveDrain};
use crate::client::Client;
use crate::client::error::Error;
use crate::client::output::{table, time};

/// Arguments of `drains`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir drains
  gigalixir drains my-app --json")]
pub struct List {
    #[command(flatten)]
    target: Target,
}

/// Arguments of `drains:add`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir drains:add https://user:password@logs.example.com/in
  gigalixir drains:add -a my-app syslog+tls://logs.example.com:6514
  gigalixir add_log_drain my-app syslog://logs.example.com:514")]
pub struct Add {
    #[command(flatten)]
    app: AppOption,
    /// Where to: https://…, http://…, syslog://HOST:PORT, syslog+tls://HOST:PORT; of two words the first is the app
    #[arg(value_name = "URL", required = true, num_args = 1..=2)]
    words: Vec<String>,
}

/// Arguments of `drains:remove`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir drains:remove 7
  gigalixir drains:remove -a my-app 7")]
pub struct Remove {
    #[command(flatten)]
    app: AppOption,
    /// The drain's id, as `drains` lists it; of two words the first is the app
    #[arg(value_name = "ID", required = true, num_args = 1..=2)]
    words: Vec<String>,
}

/// Lists the app's drains and how they do.
pub async fn list(client: &Client, args: List) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    let api = client.api()?;
    let answer = api.get(&["api", "apps", &name, "drains"]).await?;
    client.output.result(&answer.data, || {
        let drains: Vec<Drain> = answer.read(&api)?;
        if drains.is_empty() {
            client.output.hint(format!("the log of {name} is sent nowhere: `gigalixir drains:add https://…`"));
            return Ok(String::new());
        }
        let row = |drain: Drain| {
            let at = drain.last_error_at.map(|at| format!(" ({})", time(&at))).unwrap_or_default();
            let error = drain.last_error.map(|error| error + &at).unwrap_or_default();
            [drain.id, drain.url, drain.delivered.to_string(), drain.dropped.to_string(), error]
        };
        Ok(table(["ID", "URL", "DELIVERED", "DROPPED", "LAST ERROR"], drains.into_iter().map(row)))
    })
}

/// Sends the app's log to another machine too.
pub async fn add(client: &Client, args: Add) -> Result<(), Error> {
    let (app, url) = super::last_word(&args.words)?;
    let name = args.app.resolve(client, app)?;
    let api = client.api()?;
    let body = AddDrain { url: url.to_owned() };
    let answer = api.send(Method::POST, &["api", "apps", &name, "drains"], &body).await?;
    let drain: Drain = answer.read(&api)?;
    client.output.status(format!("The log of {name} is sent there from now on, as drain {}.", drain.id));
    client.output.result(&answer.data, || Ok(String::new()))
}

/// Sends it there no longer.
pub async fn remove(client: &Client, args: Remove) -> Result<(), Error> {
    let (app, id) = super::last_word(&args.words)?;
    let name = args.app.resolve(client, app)?;
    let body = RemoveDrain { drain_id: DrainId::Text(id.to_owned()) };
    let answer = client.api()?.send(Method::DELETE, &["api", "apps", &name, "drains"], &body).await?;
    client.output.status(format!("Removed drain {id} of {name}."));
    client.output.result(&answer.data, || Ok(String::new()))
}

//! `apps:activity`: who did what.

use clap::Args;

use super::target::Target;
use crate::api::app::Activity;
use crate::client::Client;
use crate::client::error::Error;
use crate::client::output::{table, time};

/// Arguments of `apps:activity`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir apps:activity
  gigalixir apps:activity -a my-app --json | jq '.[0]'")]
pub struct List {
    #[command(flatten)]
    target: Target,
}

/// Lists what was done to the app, newest first.
pub async fn list(client: &Client, args: List) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    let api = client.api()?;
    let answer = api.get(&["api", "apps", &name, "activity"]).await?;
    client.output.result(&answer.data, || {
        let done: Vec<Activity> = answer.read(&api)?;
        if done.is_empty() {
            client.output.hint(format!("nothing has been done to {name} yet"));
            return Ok(String::new());
        }
        let row = |done: Activity| [time(&done.created_at), done.created_by, done.kind, done.summary];
        Ok(table(["WHEN", "WHO", "KIND", "WHAT"], done.into_iter().map(row)))
    })
}

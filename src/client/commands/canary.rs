//! `canary…`: a part of an app's visitors for another app.

use clap::Args;
use reqwest::Method;

use super::target::{AppOption, Target};
use crate::api::canary::{Canary, SetCanary};
use crate::client::Client;
use crate::client::error::Error;
use crate::client::http::Api;
use crate::client::output::table;

/// Arguments of `canary`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir canary")]
pub struct List {
    #[command(flatten)]
    target: Target,
}

/// Arguments of `canary:set`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir canary:set -a my-app -c my-app-next -w 5
  gigalixir canary:set -a my-app -w 50")]
pub struct Set {
    #[command(flatten)]
    app: AppOption,
    /// The app that gets visitors [default: the present canary]
    #[arg(short, long, alias = "canary_name", value_name = "APP")]
    canary: Option<String>,
    /// Percent of the visitors [default: as it is]
    #[arg(short, long, value_name = "PERCENT")]
    weight: Option<i64>,
}

/// Arguments of `canary:unset`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir canary:unset
  gigalixir canary:unset -a my-app -c my-app-next")]
pub struct Unset {
    #[command(flatten)]
    app: AppOption,
    /// The app that gets no more visitors [default: the present canary]
    #[arg(short, long, alias = "canary_name", value_name = "APP")]
    canary: Option<String>,
}

/// Shows who gets a part of the visitors.
pub async fn list(client: &Client, args: List) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    let api = client.api()?;
    let answer = api.get(&["api", "apps", &name, "canaries"]).await?;
    client.output.result(&answer.data, || {
        let canaries: Vec<Canary> = answer.read(&api)?;
        if canaries.is_empty() {
            client.output.hint(format!("{name} has no canary: `gigalixir canary:set -c APP -w PERCENT`"));
            return Ok(String::new());
        }
        let row = |canary: Canary| [canary.canary, format!("{} %", canary.weight)];
        Ok(table(["CANARY", "VISITORS"], canaries.into_iter().map(row)))
    })
}

/// Sends a part of the visitors to another app.
pub async fn set(client: &Client, args: Set) -> Result<(), Error> {
    let name = args.app.resolve(client, None)?;
    let body = SetCanary { canary: args.canary, weight: args.weight };
    let api = client.api()?;
    let answer = api.send(Method::PUT, &["api", "apps", &name, "canaries"], &body).await?;
    for Canary { canary, weight } in answer.read::<Vec<Canary>>(&api)? {
        client.output.status(format!("{weight} % of {name}'s visitors go to {canary}."));
    }
    client.output.result(&answer.data, || Ok(String::new()))
}

/// Sends all visitors to the app itself.
pub async fn unset(client: &Client, args: Unset) -> Result<(), Error> {
    let name = args.app.resolve(client, None)?;
    let api = client.api()?;
    let canary = match args.canary {
        Some(canary) => canary,
        None => present(&api, &name).await?,
    };
    let answer = api.send_empty(Method::DELETE, &["api", "apps", &name, "canaries", &canary], &[]).await?;
    client.output.status(format!("All of {name}'s visitors go to {name}."));
    client.output.result(&answer.data, || Ok(String::new()))
}

async fn present(api: &Api, name: &str) -> Result<String, Error> {
    let canaries: Vec<Canary> = api.get(&["api", "apps", name, "canaries"]).await?.read(api)?;
    let canary = canaries.into_iter().next().ok_or_else(|| Error::not_found(format!("{name} has no canary")))?;
    Ok(canary.canary)
}

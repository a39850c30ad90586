//! `cluster…`: the Erlang cluster that an app's replicas form.

use clap::Args;
use reqwest::Method;

use super::target::Target;
use crate::client::Client;
use crate::client::error::Error;

/// Arguments of `cluster:cookie:rotate`.
#[derive(Debug, Args)]
#[command(
    after_help = "Every replica is replaced at once, new beside old: nodes with two cookies are two clusters. What
the old cluster has in memory only goes with it.

Examples:
  gigalixir cluster:cookie:rotate"
)]
pub struct RotateCookie {
    #[command(flatten)]
    target: Target,
}

/// Gives the app another Erlang cookie, and waits for the replicas that have it.
pub async fn rotate_cookie(client: &Client, args: RotateCookie) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    let (api, path) = (client.api()?, ["api", "apps", &name, "cookie"]);
    let doing = format!("Rotating the cookie of {name} and replacing every replica …");
    let answer = client.patiently(&name, doing, api.send_empty(Method::POST, &path, &[])).await?;
    client.output.status(format!("{name} has another Erlang cookie, and every replica of it is new."));
    client.output.result(&answer.data, || Ok(String::new()))
}

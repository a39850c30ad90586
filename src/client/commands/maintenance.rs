//! `maintenance…`: a page for visitors while an app is worked on.

use clap::Args;
use reqwest::Method;

use super::target::Target;
use crate::api::app::Maintenance;
use crate::client::Client;
use crate::client::error::Error;

/// Arguments of `maintenance:on` and `maintenance:off`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir maintenance:on
  gigalixir maintenance:off -a my-app")]
pub struct Switch {
    #[command(flatten)]
    target: Target,
    /// Accepted for compatibility; nothing is asked
    #[arg(short, long)]
    yes: bool,
}

/// Switches it on or off.
pub async fn switch(client: &Client, args: Switch, enable: bool) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    let body = Maintenance { enable };
    let answer = client.api()?.send(Method::PUT, &["api", "apps", &name, "maintenance"], &body).await?;
    client.output.status(match enable {
        true => format!("Visitors of {name} read a maintenance page now; `gigalixir maintenance:off` ends that."),
        false => format!("Visitors of {name} reach the app again."),
    });
    client.output.result(&answer.data, || Ok(String::new()))
}

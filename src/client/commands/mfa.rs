//! `account:mfa…`: a second factor for `login`.

use clap::Args;
use reqwest::Method;
use serde_json::json;
use url::Url;

use crate::api::mfa::{MfaSecret, MfaToken, RecoveryCodes};
use crate::client::Client;
use crate::client::error::Error;
use crate::client::http::{Answer, Api};
use crate::client::output::{Output, visible};

/// Arguments of `account:mfa…`.
#[derive(Debug, Args)]
pub struct Mfa {
    /// Accepted for old scripts: nothing is asked anyway
    #[arg(short, long, hide = true)]
    yes: bool,
}

/// Shows the secret, asks for a token of it, prints the recovery codes.
pub async fn activate(client: &Client, _: Mfa) -> Result<(), Error> {
    let api = client.api()?;
    let begun: MfaSecret = api.send(Method::POST, &["api", "mfa", "start"], &json!({})).await?.read(&api)?;
    // A part of the question, so not for `--quiet` to silence.
    let asking = Output { quiet: false, ..client.output };
    asking.status(format!("Add this to your authenticator app:\n\n  {}\n", visible(&begun.url)));
    if let Some(secret) = secret(&begun.url) {
        asking.status(format!("or type it there: {}\n", visible(&secret)));
    }
    let mfa_token = client.prompt.line("Token from the app")?;
    let answer = api.send(Method::POST, &["api", "mfa", "verify"], &MfaToken { mfa_token }).await?;
    show_codes(client, &api, &answer)
}

/// Makes the password enough again.
pub async fn deactivate(client: &Client, _: Mfa) -> Result<(), Error> {
    let answer = client.api()?.send(Method::DELETE, &["api", "mfa"], &json!({})).await?;
    client.output.status("Multi-factor authentication is off.");
    client.output.result(&answer.data, || Ok(String::new()))
}

/// Replaces the recovery codes.
pub async fn renew_codes(client: &Client, _: Mfa) -> Result<(), Error> {
    let api = client.api()?;
    let answer = api.send(Method::POST, &["api", "mfa", "recovery_codes"], &json!({})).await?;
    show_codes(client, &api, &answer)
}

fn show_codes(client: &Client, api: &Api, answer: &Answer) -> Result<(), Error> {
    let RecoveryCodes { message, recovery_codes } = answer.read(api)?;
    client.output.status(visible(&message));
    client.output.status("Keep these recovery codes: each replaces a token once, and they are not shown again.");
    client.output.result(&answer.data, || Ok(visible(&recovery_codes.join("\n"))))
}

fn secret(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    url.query_pairs().find(|(name, _)| name == "secret").map(|(_, value)| value.into_owned())
}

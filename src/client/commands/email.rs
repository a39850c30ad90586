//! `account:email…`: another address for the account.

use clap::Args;
use reqwest::Method;

use super::account::Password;
use crate::api::account::{ChangeEmail, EmailOnly, MailedToken};
use crate::client::Client;
use crate::client::error::Error;
use crate::client::output::visible;

/// Arguments of `account:email:set`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir account:email:set -e new@example.com")]
pub struct Set {
    /// The new address
    #[arg(short, long)]
    email: Option<String>,
    #[command(flatten)]
    password: Password,
}

/// Arguments of `account:email:confirm` and `account:email:revoke`.
#[derive(Debug, Args)]
pub struct Token {
    /// The token from the mail
    #[arg(short, long)]
    token: Option<String>,
}

/// Has both addresses mailed.
pub async fn set(client: &Client, args: Set) -> Result<(), Error> {
    let next_email = match args.email {
        Some(email) => email,
        None => client.prompt.line("New e-mail")?,
    };
    let current_password = args.password.read(client, "Password")?;
    let body = ChangeEmail { next_email, current_password };
    let answer = client.api()?.send(Method::POST, &["api", "users", "email"], &body).await?;
    client.output.status(format!("A token is on its way to {}.", visible(&body.next_email)));
    client.output.hint("`gigalixir account:email:confirm` takes the token");
    client.output.result(&answer.data, || Ok(String::new()))
}

/// Hands in the new address's token.
pub async fn confirm(client: &Client, args: Token) -> Result<(), Error> {
    let email = hand_in(client, args, "confirm").await?;
    client.output.status(format!("The account's address is {}.", visible(&email)));
    client.output.hint("`gigalixir login` signs you in with it; the key in ~/.netrc stands beside the old address");
    Ok(())
}

/// Hands in the old address's token.
pub async fn revoke(client: &Client, args: Token) -> Result<(), Error> {
    let email = hand_in(client, args, "revoke").await?;
    client.output.status(format!("The account's address is {}, and all API keys have ended.", visible(&email)));
    client.output.hint("set another password: `gigalixir account:password:reset`");
    Ok(())
}

async fn hand_in(client: &Client, args: Token, verb: &str) -> Result<String, Error> {
    let token = match args.token {
        Some(token) => token,
        None => client.prompt.line("Token from the mail")?,
    };
    let api = client.public_api()?;
    let answer = api.send(Method::POST, &["api", "users", "email", verb], &MailedToken { token }).await?;
    let EmailOnly { email } = answer.read(&api)?;
    client.output.result(&answer.data, || Ok(String::new()))?;
    Ok(email)
}

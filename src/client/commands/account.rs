//! `login`, `logout`, `account…`: who the person is to the platform.

use clap::Args;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::signup::NewPassword;
use crate::api::account::{Account, ChangePassword, DestroyAccount, EmailOnly, Key, SetPassword};
use crate::client::Client;
use crate::client::credentials::Credentials;
use crate::client::error::{Error, Kind};
use crate::client::http::{Answer, Api, HttpError};
use crate::client::output::{fields, time};
use crate::client::prompt;

/// Arguments of `login`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir login --host https://paas.example.com
  echo \"$PASSWORD\" | gigalixir login -e me@example.com --password-stdin")]
pub struct Login {
    /// Your e-mail address
    #[arg(short, long)]
    email: Option<String>,
    #[command(flatten)]
    password: Password,
    /// The token of your authenticator app, or a recovery code [default: asked for when needed]
    #[arg(short = 't', long = "mfa-token", alias = "mfa_token", value_name = "TOKEN")]
    mfa_token: Option<String>,
    /// Accepted for old scripts: nothing is asked anyway
    #[arg(short, long, hide = true)]
    yes: bool,
}

/// Where today's password comes from.
#[derive(Debug, Args)]
pub struct Password {
    /// The password (visible to others on this machine: better be asked, or use --password-stdin)
    #[arg(short, long, conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Read the password from a line of standard input
    #[arg(long)]
    password_stdin: bool,
}

impl Password {
    /// The password, asked for if no option gives it.
    pub fn read(&self, client: &Client, question: &str) -> Result<String, Error> {
        match &self.password {
            Some(password) => Ok(password.clone()),
            None if self.password_stdin => prompt::stdin_password(question),
            None => client.prompt.password(question),
        }
    }
}

/// Arguments of `account:api_key:reset`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir account:api_key:reset")]
pub struct ApiKeyReset {
    #[command(flatten)]
    password: Password,
    /// Accepted for old scripts: nothing is asked anyway
    #[arg(short, long, hide = true)]
    yes: bool,
}

/// Arguments of `account:password:change`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir account:password:change
  printf '%s\\n' \"$OLD\" \"$NEW\" | gigalixir account:password:change --password-stdin")]
pub struct PasswordChange {
    /// Today's password (visible to others on this machine)
    #[arg(short = 'p', long = "current-password", alias = "current_password", conflicts_with = "password_stdin")]
    current: Option<String>,
    /// The password to set (visible to others on this machine)
    #[arg(short = 'n', long = "new-password", alias = "new_password", conflicts_with = "password_stdin")]
    new: Option<String>,
    /// Read today's and the new password from two lines of standard input
    #[arg(long)]
    password_stdin: bool,
}

/// Arguments of `account:password:reset` and `account:confirmation:resend`.
#[derive(Debug, Args)]
pub struct EmailArgs {
    /// Your e-mail address
    #[arg(short, long)]
    email: Option<String>,
}

/// Arguments of `account:destroy`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir account:destroy
  echo \"$PASSWORD\" | gigalixir account:destroy -y -e me@example.com --password-stdin")]
pub struct Destroy {
    /// Your e-mail address, as a confirmation
    #[arg(short, long)]
    email: Option<String>,
    #[command(flatten)]
    password: Password,
    /// Do it where nobody can be asked
    #[arg(short, long)]
    yes: bool,
}

/// Arguments of `account:password:set`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir account:password:set --token TOKEN-FROM-THE-MAIL")]
pub struct PasswordSet {
    /// The token from the mail
    #[arg(short, long)]
    token: Option<String>,
    #[command(flatten)]
    password: NewPassword,
}

/// Signs in: trades e-mail and password for a key.
pub async fn login(client: &Client, args: Login) -> Result<(), Error> {
    // Before a password is typed: it may be the wrong place.
    client.output.waiting(format!("Signing in to {}.", client.host));
    let email = match args.email {
        Some(email) => email,
        None => client.prompt.line("E-mail")?,
    };
    let password = args.password.read(client, "Password")?;
    let api = client.api_as(percent_encoded(&email), percent_encoded(&password))?;
    let answer = match log_in(&api, args.mfa_token.as_deref()).await {
        Err(HttpError::Redirected { location: None, .. }) => {
            let token = client.prompt.line("Token from your authenticator app")?;
            log_in(&api, Some(&token)).await
        }
        answer => answer,
    };
    let answer = answer.map_err(login_refused)?;
    let Key { key, expires_at } = answer.read(&api)?;
    client.signed_in(&Credentials { email: email.clone(), key })?;
    let shown = json!({ "email": email, "host": client.host.to_string(), "expires_at": expires_at });
    client.output.result(&shown, || Ok(String::new()))
}

/// A redirect to nowhere asks for the second factor.
async fn log_in(api: &Api, token: Option<&str>) -> Result<Answer, HttpError> {
    let query: &[(&str, &str)] = &token.map(|token| ("mfa_token", token)).into_iter().collect::<Vec<_>>();
    api.send_empty(Method::GET, &["api", "login"], query).await
}

fn login_refused(error: HttpError) -> Error {
    match error {
        HttpError::Refused { status: StatusCode::UNAUTHORIZED, message, .. } => Error::new(Kind::Access, message)
            .hint("a forgotten password is set anew by `gigalixir account:password:reset`"),
        other => other.into(),
    }
}

/// Basic credentials of `login` as Gigalixir's client writes them since 0.19: both halves percent-encoded, `/` kept, so
/// that any character survives. The other commands send e-mail and key as they are.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// Forgets the key on this machine. It stays valid on the server until it expires or is reset.
pub fn logout(client: &Client) -> Result<(), Error> {
    let machine = client.host.machine();
    let email = client.netrc.forget(machine)?;
    match &email {
        Some(email) => client.output.status(format!("Signed out of {} ({email}).", client.host)),
        None => client.output.status(format!("Nobody is signed in to {}.", client.host)),
    }
    client.output.result(&json!({ "email": email, "host": client.host.to_string() }), || Ok(String::new()))
}

/// Shows who is signed in.
pub async fn show(client: &Client) -> Result<(), Error> {
    let api = client.api()?;
    let answer = api.get(&["api", "users"]).await?;
    client.output.result(&answer.data, || {
        let account: Account = answer.read(&api)?;
        let expiry = account.api_key_expires_at.as_deref().map(time).unwrap_or_default();
        Ok(fields([
            ("E-mail", account.email),
            ("Tier", account.tier),
            ("API key until", expiry),
            ("Platform", client.host.to_string()),
        ]))
    })
}

/// Replaces the key, here and on the server.
pub async fn reset_api_key(client: &Client, args: ApiKeyReset) -> Result<(), Error> {
    let api = client.api()?;
    let Some(credentials) = api.credentials() else {
        return Err(Error::new(Kind::Access, format!("you are not signed in to {}", client.host))
            .hint("`gigalixir login` gets a new key"));
    };
    let password = args.password.read(client, "Password")?;
    let query = [("current_password", password.as_str())];
    let answer = api.send_empty(Method::POST, &["api", "api_keys", "regenerate"], &query).await?;
    let Key { key, expires_at } = answer.read(&api)?;
    client.netrc.store(client.host.machine(), &Credentials { email: credentials.email.clone(), key })?;
    client.output.status(format!("A new API key is in {}; the former one is void.", client.netrc.path().display()));
    client.output.result(&json!({ "email": credentials.email, "expires_at": expires_at }), || Ok(String::new()))
}

/// Changes the password.
pub async fn change_password(client: &Client, args: PasswordChange) -> Result<(), Error> {
    let api = client.api()?;
    let (current, new) = if args.password_stdin {
        (prompt::stdin_password("Current password")?, prompt::stdin_password("New password")?)
    } else {
        let current = args.current.map_or_else(|| client.prompt.password("Current password"), Ok)?;
        (current, args.new.map_or_else(|| client.prompt.new_password("New password"), Ok)?)
    };
    let body = ChangePassword { current_password: Some(current), new_password: new };
    let answer = api.send(Method::PATCH, &["api", "users", "change_password"], &body).await?;
    client.output.status("The password is changed.");
    client.output.result(&answer.data, || Ok(String::new()))
}

/// Destroys the account.
pub async fn destroy(client: &Client, args: Destroy) -> Result<(), Error> {
    let api = client.api()?;
    if !args.yes && !client.prompt.is_terminal() {
        return Err(Error::usage("this cannot be undone: confirm it with --yes"));
    }
    let email = match args.email {
        Some(email) => email,
        None => client.prompt.line("E-mail of the account to destroy")?,
    };
    let current_password = args.password.read(client, "Password")?;
    let body = DestroyAccount { email, current_password };
    let answer = api.send(Method::DELETE, &["api", "users", "destroy"], &body).await?;
    client.netrc.forget(client.host.machine())?;
    client.output.status("The account is destroyed.");
    client.output.result(&answer.data, || Ok(String::new()))
}

/// Has a token mailed.
pub async fn send_password_token(client: &Client, args: EmailArgs) -> Result<(), Error> {
    mail(client, args, "reset_password", "a token to set the password with").await?;
    client.output.hint("`gigalixir account:password:set` takes the token");
    Ok(())
}

/// Has the confirmation mailed again.
pub async fn resend_confirmation(client: &Client, args: EmailArgs) -> Result<(), Error> {
    mail(client, args, "reconfirm_email", "a new confirmation").await
}

async fn mail(client: &Client, args: EmailArgs, endpoint: &str, what: &str) -> Result<(), Error> {
    let email = match args.email {
        Some(email) => email,
        None => client.prompt.line("E-mail")?,
    };
    let body = EmailOnly { email: email.clone() };
    let answer = client.public_api()?.send(Method::PUT, &["api", "users", endpoint], &body).await?;
    client.output.status(format!("If {email} has an account here, {what} is on its way."));
    client.output.result(&answer.data, || Ok(String::new()))
}

/// Sets the password by token.
pub async fn set_password(client: &Client, args: PasswordSet) -> Result<(), Error> {
    let token = match args.token {
        Some(token) => token,
        None => client.prompt.line("Token from the mail")?,
    };
    let password = args.password.read(client, "New password")?;
    let body = SetPassword { token, password };
    let answer = client.public_api()?.send(Method::POST, &["api", "users", "reset_password"], &body).await?;
    client.output.status("The password is set; `gigalixir login` signs you in with it.");
    client.output.result(&answer.data, || Ok(String::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_is_encoded_as_the_official_client_does() {
        let pair = format!("{}:{}", percent_encoded("foo+x/y@ex.com"), percent_encoded("p:a ss/é%"));
        assert_eq!(pair, "foo%2Bx/y%40ex.com:p%3Aa%20ss/%C3%A9%25");
    }
}

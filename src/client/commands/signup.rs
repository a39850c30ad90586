//! `signup`: e-mail → code from the mail → password → account. One session on the server, threaded by its uuid.
//!
//! `signup` asks for what it was not told; without a terminal the code and the password are two lines of standard input.
//! A script that fetches the code itself uses `signup:start` and `signup:finish`.

use clap::Args;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::api::account::{SignedUp, SignupSession, SignupStep};
use crate::client::Client;
use crate::client::credentials::Credentials;
use crate::client::error::Error;
use crate::client::http::{Answer, Api, HttpError};
use crate::client::prompt;

/// Arguments of `signup`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir signup --host https://paas.example.com
  printf '%s\\n' \"$CODE\" \"$PASSWORD\" | gigalixir signup -e me@example.com")]
pub struct Signup {
    /// Your e-mail address
    #[arg(short, long)]
    email: Option<String>,
    #[command(flatten)]
    password: NewPassword,
}

/// Arguments of `signup:start`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  UUID=$(gigalixir signup:start -e me@example.com)")]
pub struct SignupStart {
    /// Your e-mail address
    #[arg(short, long)]
    email: String,
}

/// Arguments of `signup:finish`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  echo \"$PASSWORD\" | gigalixir signup:finish --uuid \"$UUID\" --code \"$CODE\" --password-stdin")]
pub struct SignupFinish {
    /// What `signup:start` printed
    #[arg(long)]
    uuid: String,
    /// The code from the mail
    #[arg(long)]
    code: String,
    #[command(flatten)]
    password: NewPassword,
}

/// Where a password to be set comes from.
#[derive(Debug, Clone, Args)]
pub struct NewPassword {
    /// The password (visible to others on this machine: better be asked, or use --password-stdin)
    #[arg(short, long, conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Read the password from a line of standard input
    #[arg(long)]
    password_stdin: bool,
}

impl NewPassword {
    /// The password; asked for twice at a terminal if no option gives it.
    pub fn read(&self, client: &Client, question: &str) -> Result<String, Error> {
        match &self.password {
            Some(password) => Ok(password.clone()),
            None if self.password_stdin => prompt::stdin_password(question),
            None => client.prompt.new_password(question),
        }
    }

    fn can_be_asked_again(&self, client: &Client) -> bool {
        self.password.is_none() && !self.password_stdin && client.prompt.is_terminal()
    }
}

/// Makes an account.
pub async fn signup(client: &Client, args: Signup) -> Result<(), Error> {
    client.output.waiting(format!("Making an account at {}.", client.host));
    let email = match args.email {
        Some(email) => email,
        None => client.prompt.line("E-mail")?,
    };
    let api = client.public_api()?;
    let uuid = begin(&api, &email).await?.1;
    client.output.status(format!("A code is on its way to {email}."));
    loop {
        // There is no option for it: this very command has it mailed.
        let code = client.prompt.line("Code from the mail")?;
        match confirm(&api, &uuid, code).await {
            Ok(_) => break,
            Err(error) => again(client, error, client.prompt.is_terminal())?,
        }
    }
    loop {
        let password = args.password.read(client, "New password")?;
        match choose_password(&api, &uuid, password).await {
            Ok(_) => break,
            Err(error) => again(client, error, args.password.can_be_asked_again(client))?,
        }
    }
    finalize(client, &api, &uuid).await
}

/// Mails the code and prints the session.
pub async fn start(client: &Client, args: SignupStart) -> Result<(), Error> {
    let (answer, uuid) = begin(&client.public_api()?, &args.email).await?;
    client.output.status(format!("A code is on its way to {}.", args.email));
    client.output.result(&answer.data, || Ok(uuid))
}

/// Hands in code and password.
pub async fn finish(client: &Client, args: SignupFinish) -> Result<(), Error> {
    let password = args.password.read(client, "New password")?;
    let api = client.public_api()?;
    confirm(&api, &args.uuid, args.code).await?;
    choose_password(&api, &args.uuid, password).await?;
    finalize(client, &api, &args.uuid).await
}

async fn begin(api: &Api, email: &str) -> Result<(Answer, String), HttpError> {
    let answer = step(api, SignupStep { email: Some(email.to_owned()), ..SignupStep::default() }).await?;
    let uuid = answer.read::<SignupSession>(api)?.uuid;
    Ok((answer, uuid))
}

async fn confirm(api: &Api, uuid: &str, code: String) -> Result<Answer, HttpError> {
    let code = Some(code.trim().to_owned());
    step(api, SignupStep { uuid: Some(uuid.to_owned()), confirmation_code: code, ..SignupStep::default() }).await
}

async fn choose_password(api: &Api, uuid: &str, password: String) -> Result<Answer, HttpError> {
    let password = Some(password);
    step(api, SignupStep { uuid: Some(uuid.to_owned()), password, ..SignupStep::default() }).await
}

async fn finalize(client: &Client, api: &Api, uuid: &str) -> Result<(), Error> {
    let tier = Some("FREE".to_owned());
    let answer = step(api, SignupStep { uuid: Some(uuid.to_owned()), tier, ..SignupStep::default() }).await?;
    let SignedUp { email, key } = answer.read(api)?;
    client.signed_in(&Credentials { email: email.clone(), key })?;
    client.output.result(&json!({ "email": email, "host": client.host.to_string() }), || Ok(String::new()))
}

async fn step(api: &Api, step: SignupStep) -> Result<Answer, HttpError> {
    api.send(Method::POST, &["api", "signup"], &step).await
}

/// Lets a person try a refused answer again; too many attempts and anything but a refusal end the sign-up.
fn again(client: &Client, error: HttpError, possible: bool) -> Result<(), Error> {
    let retry = error.status().is_some_and(|status| {
        status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS && status != StatusCode::NOT_FOUND
    });
    if !(possible && retry) {
        return Err(error.into());
    }
    client.output.error(&Error::from(error));
    Ok(())
}

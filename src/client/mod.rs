//! The client: what a person types, turned into requests to a platform.
//!
//! It knows the platform only through [`crate::api`] and works without the `server` feature. Everything a command needs is
//! in one explicit [`Client`]; nothing below reads the environment or the command line again.

pub mod channel;
pub mod commands;
pub mod console;
pub mod credentials;
pub mod environment;
pub mod error;
pub mod git;
pub mod host;
pub mod http;
pub mod netrc;
pub mod observer;
pub mod output;
pub mod patience;
pub mod prompt;
pub mod ssh;
pub mod terminal;
pub mod variables;

use std::process::ExitCode;

use commands::{Command, Globals};
use credentials::{Credentials, NetrcFile};
use environment::Environment;
use error::Error;
use host::Host;
use http::Api;
use output::Output;
use prompt::Prompt;

/// The collaborators of a command.
#[derive(Debug)]
pub struct Client {
    /// Where results and status lines go.
    pub output: Output,
    /// Where answers come from.
    pub prompt: Prompt,
    /// The person's folders and variables.
    pub environment: Environment,
    /// The platform to talk to.
    pub host: Host,
    /// Where credentials are kept.
    pub netrc: NetrcFile,
    host_given: bool,
}

impl Client {
    fn new(globals: &Globals, output: Output) -> Result<Self, Error> {
        let environment = Environment::read()?;
        let host = Host::resolve(globals.host.as_deref(), &environment)?;
        let netrc = NetrcFile::in_home(&environment.home);
        Ok(Self { output, prompt: Prompt::detect(), environment, host, netrc, host_given: globals.host.is_some() })
    }

    /// The API as the signed-in person, if somebody is.
    pub fn api(&self) -> Result<Api, Error> {
        Ok(Api::new(self.host.clone(), self.netrc.find(self.host.machine())?)?)
    }

    /// The API as somebody else.
    pub fn api_as(&self, email: String, secret: String) -> Result<Api, Error> {
        Ok(Api::new(self.host.clone(), Some(Credentials { email, key: secret }))?)
    }

    /// The API as nobody, for the public endpoints.
    pub fn public_api(&self) -> Result<Api, Error> {
        Ok(Api::new(self.host.clone(), None)?)
    }

    /// Keeps fresh credentials, and the host if the person gave it with `--host`.
    pub fn signed_in(&self, credentials: &Credentials) -> Result<(), Error> {
        self.netrc.store(self.host.machine(), credentials)?;
        if self.host_given {
            self.host.remember(&self.environment)?;
        }
        self.output.status(format!("Signed in to {} as {}.", self.host, output::visible(&credentials.email)));
        Ok(())
    }
}

/// Runs one command to its end and tells how it went.
pub async fn run(globals: &Globals, command: Command) -> ExitCode {
    let output = Output { json: globals.json, quiet: globals.quiet };
    let done = match (command, Client::new(globals, output)) {
        (Command::Version, _) => commands::version(output),
        (command, Ok(client)) => commands::run(&client, command).await,
        (_, Err(error)) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.kind.exit_code())
        }
    }
}

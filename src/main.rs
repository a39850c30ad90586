//! The one binary: parse → tracing → dispatch → exit code.

use std::process::ExitCode;

use gigalixir::cli::{self, Command};
use gigalixir::client;

fn main() -> ExitCode {
    // One TLS provider for everything in the process; a second call would only say that it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // INTEGRATION: hidden `shim` and `enter` are dispatched here, before clap, under cfg(feature = "server").
    let cli = cli::parse();
    match cli.command {
        Command::Client(command) => match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(client::run(&cli.globals, command)),
            Err(error) => failed(&error),
        },
        Command::Completion { shell } => {
            cli::complete(shell).map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
        }
        // INTEGRATION: tracing and `server::start` with the arguments over the configuration file.
        #[cfg(feature = "server")]
        Command::Server(_) => failed(&"this build has no platform inside"),
    }
}

fn failed(error: &dyn std::fmt::Display) -> ExitCode {
    client::output::Output { json: false, quiet: false }.error(&client::error::Error::failed(error.to_string()));
    ExitCode::FAILURE
}

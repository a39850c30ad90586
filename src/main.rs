//! The one binary: hidden steps → parse → dispatch → exit code.

use std::process::ExitCode;

use gigalixir::cli::{self, Command};
use gigalixir::client;
#[cfg(feature = "server")]
use gigalixir::server::stack_image::{self, How};

fn main() -> ExitCode {
    #[cfg(feature = "server")]
    if let Some(code) = hidden_step() {
        return code;
    }
    // One TLS provider for everything in the process; a second call would only say that it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = cli::parse();
    match cli.command {
        Command::Client(command) => match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                let code = runtime.block_on(client::run(&cli.globals, command));
                // A thread that waits for what nobody types any more is not waited for.
                runtime.shutdown_background();
                code
            }
            Err(error) => failed(&error),
        },
        Command::Completion { shell } => {
            cli::complete(shell).map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
        }
        #[cfg(feature = "server")]
        Command::Server(flags) => {
            let succeeds = flags.succeed;
            gigalixir::server::daemon::main(&overrides(flags), succeeds)
        }
        #[cfg(feature = "server")]
        Command::StacksBuild(cli::StacksBuildArgs { which, mirror }) => get_stack(How::Build, which, mirror),
        #[cfg(feature = "server")]
        Command::StacksPull(which) => get_stack(How::Pull, which, None),
    }
}

#[cfg(feature = "server")]
fn get_stack(how: How, which: cli::StackArgs, mirror: Option<String>) -> ExitCode {
    let cli::StackArgs { stack, socket, stacks_dir } = which;
    stack_image::main(how, &stack_image::Wish { stack, socket, stacks_dir, mirror })
}

/// The flags of `server` as the server knows them.
#[cfg(feature = "server")]
fn overrides(flags: cli::ServerArgs) -> gigalixir::server::config::Overrides {
    let cli::ServerArgs { config, data_dir, domain, api, http, https, ssh, runtime, stop_apps_on_exit, .. } = flags;
    gigalixir::server::config::Overrides { config, data_dir, domain, api, http, https, ssh, runtime, stop_apps_on_exit }
}

/// What the server starts itself as, in front of a build or a replica: without the cost of the command line's tree.
#[cfg(feature = "server")]
fn hidden_step() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    match args.next()?.to_str()? {
        "enter" => Some(gigalixir::server::confine::enter::main(args)),
        "inside" => Some(gigalixir::server::runtime::local::inside::main()),
        "shim" => Some(gigalixir::server::runtime::local::shim::main(args)),
        _ => None,
    }
}

fn failed(error: &dyn std::fmt::Display) -> ExitCode {
    client::output::Output { json: false, quiet: false }.error(&client::error::Error::failed(error.to_string()));
    ExitCode::FAILURE
}

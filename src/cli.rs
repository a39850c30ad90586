//! The command line: the client's commands, and `server`.
//!
//! The groups of the top-level help are the only list of commands besides the enum; a test holds them together.

mod meant;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::client::commands::{self, Globals};

/// A self-hosted platform for Elixir (and other) apps: git push, build, release, run, roll back
#[derive(Debug, Parser)]
#[command(name = "gigalixir", version, arg_required_else_help = true, after_help = AFTER_HELP)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Everything that can be typed.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// A client command.
    #[command(flatten)]
    Client(commands::Command),
    /// Print a shell's completion script
    #[command(after_help = "Examples:
  gigalixir completion bash > ~/.local/share/bash-completion/completions/gigalixir
  gigalixir completion fish > ~/.config/fish/completions/gigalixir.fish
  gigalixir completion zsh > \"${fpath[1]}/_gigalixir\"")]
    Completion {
        /// Which shell
        shell: Shell,
    },
    /// Run the platform: git receiver, builder, API, router and apps
    #[cfg(feature = "server")]
    Server(ServerArgs),
    /// Make the images of a stack on this machine, for the Docker runtime
    #[cfg(feature = "server")]
    #[command(name = "stacks:build")]
    StacksBuild(StacksBuildArgs),
    /// Fetch the newest images of a stack to this machine, for the Docker runtime
    #[cfg(feature = "server")]
    #[command(
        name = "stacks:pull",
        after_help = "What is pulled is checked and pinned: apps run and are built in it from then on, until it is pulled anew.
A digest in the stack's file (NAME:TAG@sha256:…) is what the image must have.

Examples:
  sudo gigalixir stacks:pull gigalixir-24"
    )]
    StacksPull(StackArgs),
}

/// Arguments of `stacks:build`. It runs here, not on a platform elsewhere.
#[derive(Debug, Clone, Args)]
#[command(after_help = "It needs root and debootstrap, and takes a few minutes.

Examples:
  sudo gigalixir stacks:build debian-12
  sudo gigalixir stacks:build debian-12 --mirror http://mirror.example.org/debian")]
pub struct StacksBuildArgs {
    /// Which stack, and where Docker is.
    #[command(flatten)]
    pub which: StackArgs,
    /// Where Debian's packages come from
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
}

/// A stack, and where Docker is.
#[derive(Debug, Clone, Args)]
pub struct StackArgs {
    /// Which stack
    #[arg(value_name = "STACK")]
    pub stack: String,
    /// Docker's socket
    #[arg(long, env = "GIGALIXIR_DOCKER_SOCKET", value_name = "FILE", default_value = "/var/run/docker.sock")]
    pub socket: std::path::PathBuf,
    /// Where more stacks are
    #[arg(long, env = "GIGALIXIR_DOCKER_STACKS_DIR", value_name = "DIR")]
    pub stacks_dir: Option<std::path::PathBuf>,
}

/// Arguments of `server`. Each is a key of the configuration file too, and wins over it.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  gigalixir server
  gigalixir server --config /etc/gigalixir/server.toml
  gigalixir server --data-dir ./data --api 127.0.0.1:4000 --http 127.0.0.1:8080")]
pub struct ServerArgs {
    /// The configuration file
    #[arg(long, env = "GIGALIXIR_CONFIG", value_name = "FILE")]
    pub config: Option<std::path::PathBuf>,
    /// Where everything is kept
    #[arg(long, env = "GIGALIXIR_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<std::path::PathBuf>,
    /// Apps are served at APP.NAME
    #[arg(long, env = "GIGALIXIR_DOMAIN", value_name = "NAME")]
    pub domain: Option<String>,
    /// Where the API and git listen
    #[arg(long, env = "GIGALIXIR_API", value_name = "ADDR")]
    pub api: Option<String>,
    /// Where apps are served
    #[arg(long, env = "GIGALIXIR_HTTP", value_name = "ADDR")]
    pub http: Option<String>,
    /// Where apps are served over TLS
    #[arg(long, env = "GIGALIXIR_HTTPS", value_name = "ADDR")]
    pub https: Option<String>,
    /// Where ssh listens
    #[arg(long, env = "GIGALIXIR_SSH", value_name = "ADDR")]
    pub ssh: Option<String>,
    /// Where apps run: auto, local, docker or kubernetes
    #[arg(long, env = "GIGALIXIR_RUNTIME", value_name = "NAME")]
    pub runtime: Option<String>,
    /// End the apps with the server instead of leaving them to the next one
    #[arg(long)]
    pub stop_apps_on_exit: bool,
    /// Take over from the server at the other end of standard input
    #[arg(long, hide = true)]
    pub succeed: bool,
}

const AFTER_HELP: &str = "\
First steps, in the git repository of an app:
  gigalixir login --host https://paas.example.com     (or `signup`)
  gigalixir create my-app
  git push gigalixir HEAD:main
  gigalixir logs

The app of a command is, in this order: -a NAME, the app as an argument, GIGALIXIR_APP, the git remote.
The platform is, in this order: --host URL, GIGALIXIR_HOST, what `login --host` remembered, http://localhost:4000.
Credentials are kept in ~/.netrc, where git finds them. `gigalixir COMMAND --help` has examples.

Exit codes:
  0    done
  1    failed, or refused by the server
  2    the command line makes no sense
  3    not signed in, or no access
  4    no such app, release or variable
  5    the server cannot be reached, or its answer broke off
  130  interrupted
`run`, `ps:run` and `ps:ssh` end with the code of what they ran.";

/// The commands as the help groups them.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "Apps",
        &[
            "apps",
            "apps:create",
            "apps:info",
            "apps:destroy",
            "apps:rename",
            "apps:activity",
            "apps:usage",
            "stack:set",
            "git:remote",
            "open",
            "logs",
            "drains",
            "drains:add",
            "drains:remove",
        ],
    ),
    ("Processes", &["ps", "ps:scale", "ps:restart", "ps:kill", "ps:stats", "ps:observer", "cluster:cookie:rotate"]),
    (
        "Jobs",
        &["run", "jobs", "jobs:info", "jobs:logs", "jobs:stop", "jobs:schedule", "jobs:schedules", "jobs:unschedule"],
    ),
    ("Inside a replica", &["ps:remote_console", "ps:ssh", "ps:run", "ps:migrate", "ps:distillery", "ps:forward", "cp"]),
    ("Configuration", &["config", "config:get", "config:set", "config:unset", "config:export", "config:import"]),
    ("Releases", &["deploy", "releases", "releases:rollback", "releases:upgrade-plan"]),
    (
        "Visitors",
        &[
            "domains",
            "domains:add",
            "domains:remove",
            "certs",
            "certs:add",
            "certs:remove",
            "certs:renew",
            "certs:ca",
            "maintenance:on",
            "maintenance:off",
            "maintenance:page",
            "router",
            "router:set",
            "canary",
            "canary:set",
            "canary:unset",
        ],
    ),
    ("People", &["access", "access:add", "access:remove"]),
    (
        "Account",
        &[
            "signup",
            "signup:start",
            "signup:finish",
            "login",
            "logout",
            "account",
            "account:api_key:reset",
            "account:password:change",
            "account:password:reset",
            "account:password:set",
            "account:confirmation:resend",
            "account:email:set",
            "account:email:confirm",
            "account:email:revoke",
            "account:mfa:activate",
            "account:mfa:deactivate",
            "account:mfa:recovery_codes:regenerate",
            "account:ssh_keys",
            "account:ssh_keys:add",
            "account:ssh_keys:remove",
            "account:usage",
            "account:usage:running",
            "account:invoices",
            "account:destroy",
        ],
    ),
    ("Server", &["server", "nodes", "stacks", "stacks:build", "stacks:pull"]),
    ("More", &["compat", "completion", "version", "help"]),
];

/// What was typed. Ends the process itself for `--help`, `--version` and what cannot be parsed (exit code 2).
pub fn parse() -> Cli {
    let matches = tree().try_get_matches().unwrap_or_else(|error| meant::advised(&tree(), error).exit());
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// Writes the completion script for a shell to standard output.
pub fn complete(shell: Shell) -> std::io::Result<()> {
    let script = completion(shell);
    match std::io::Write::write_all(&mut std::io::stdout(), &script) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

fn completion(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut tree(), "gigalixir", &mut script);
    if shell == Shell::Bash {
        // Else bash takes `ps:scale` for three words and completes none of them.
        script.extend_from_slice(b"\nCOMP_WORDBREAKS=${COMP_WORDBREAKS//:}\n");
    }
    script
}

/// The commands, with the grouped help.
fn tree() -> clap::Command {
    let tree = Cli::command();
    let help =
        format!("{{about}}\n\n{{usage-heading}} {{usage}}\n\n{}Options:\n{{options}}{{after-help}}", grouped(&tree));
    tree.help_template(help)
}

fn grouped(tree: &clap::Command) -> String {
    let mut text = String::new();
    for (heading, names) in GROUPS {
        let commands: Vec<_> = names.iter().filter_map(|name| line(tree, name)).collect();
        if !commands.is_empty() {
            text.push_str(&format!("{heading}:\n{}\n\n", commands.join("\n")));
        }
    }
    text
}

fn line(tree: &clap::Command, name: &str) -> Option<String> {
    const WIDTH: usize = 27;
    if name == "help" {
        return Some(format!("  {name:WIDTH$} Print this, or the help of a command"));
    }
    let command = tree.find_subcommand(name)?;
    let aliases: Vec<_> = command.get_visible_aliases().collect();
    let aliases = if aliases.is_empty() { String::new() } else { format!(" [{}]", aliases.join(", ")) };
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    Some(format!("  {name:WIDTH$} {about}{aliases}"))
}

#[cfg(test)]
mod tests;

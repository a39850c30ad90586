//! `ps:ssh`, `ps:run`, `ps:remote_console`, `ps:migrate`, `ps:distillery`: programs in a running replica.

use clap::Args;

use super::target::AppOption;
use crate::api::inside::Exec;
use crate::api::release::Release;
use crate::client::error::Error;
use crate::client::{Client, console, terminal};

/// What all of them take.
#[derive(Debug, Clone, Args)]
pub struct Place {
    #[command(flatten)]
    app: AppOption,
    /// The replica: its name, or `web.2` [default: a healthy one of the newest release]
    #[arg(long, value_name = "NAME")]
    replica: Option<String>,
}

/// Arguments of `ps:ssh`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir ps:ssh
  gigalixir ps:ssh --replica web.2
  gigalixir ps:ssh -a my-app -- ls -l
  gigalixir ssh my-app -c remote_console")]
pub struct Shell {
    #[command(flatten)]
    place: Place,
    /// A command of the app itself instead of a shell, as in 2017
    #[arg(short, long, value_name = "CMD", num_args = 1..)]
    cmd: Vec<String>,
    /// The app, as -a takes it
    #[arg(value_name = "APP")]
    name: Option<String>,
    /// A program instead of a shell, and its arguments
    #[arg(last = true, value_name = "PROGRAM")]
    program: Vec<String>,
}

/// Arguments of `ps:run`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir ps:run mix ecto.migrate
  gigalixir ps:run -- sh -c 'echo $PORT'
  gigalixir ps:run --replica worker.1 cat /proc/meminfo

The exit code is the program's own.")]
pub struct Run {
    #[command(flatten)]
    place: Place,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM")]
    program: Vec<String>,
}

/// Arguments of `ps:remote_console`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir ps:remote_console
  gigalixir ps:remote_console --replica web.2
  gigalixir remote_console my-app")]
pub struct RemoteConsole {
    #[command(flatten)]
    place: Place,
    /// The app, as -a takes it
    #[arg(value_name = "APP")]
    name: Option<String>,
}

/// Arguments of `ps:migrate`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir ps:migrate
  gigalixir ps:migrate -m my_umbrella_app")]
pub struct Migrate {
    #[command(flatten)]
    place: Place,
    /// The application that has the repos [default: the release's own]
    #[arg(short, long, alias = "migration_app_name", value_name = "NAME")]
    migration_app_name: Option<String>,
    /// The app, as -a takes it
    #[arg(value_name = "APP")]
    name: Option<String>,
}

/// Arguments of `ps:distillery`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir ps:distillery rpc 'IO.puts(node())'
  gigalixir ps:distillery pid")]
pub struct Distillery {
    #[command(flatten)]
    place: Place,
    /// A command of the release's own script, and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// A shell, or a program, in a replica.
pub async fn shell(client: &Client, args: Shell) -> Result<(), Error> {
    let command = match (args.cmd.is_empty(), args.program.is_empty()) {
        (true, _) => args.program,
        (false, true) => [&["gigalixir_run", "run"].map(str::to_owned)[..], &args.cmd].concat(),
        (false, false) => return Err(Error::usage("both `-c` and `--` name a program")),
    };
    enter(client, &args.place, args.name.as_deref(), command).await
}

/// A program with the app's environment.
pub async fn run(client: &Client, args: Run) -> Result<(), Error> {
    let command = [&["gigalixir_run", "shell", "--"].map(str::to_owned)[..], &args.program].concat();
    enter(client, &args.place, None, command).await
}

/// A prompt in the running node.
pub async fn remote_console(client: &Client, args: RemoteConsole) -> Result<(), Error> {
    let command = ["gigalixir_run", "remote_console"].map(str::to_owned).to_vec();
    enter(client, &args.place, args.name.as_deref(), command).await
}

/// The app's migrations.
pub async fn migrate(client: &Client, args: Migrate) -> Result<(), Error> {
    let mut command = ["gigalixir_run", "migrate"].map(str::to_owned).to_vec();
    command.extend(args.migration_app_name.into_iter().flat_map(|name| ["-m".to_owned(), name]));
    enter(client, &args.place, args.name.as_deref(), command).await
}

/// The release's own script.
pub async fn distillery(client: &Client, args: Distillery) -> Result<(), Error> {
    let app = args.place.app.resolve(client, None)?;
    let api = client.api()?;
    let release: Release = api.get(&["api", "apps", &app, "releases", "latest"]).await?.read(&api)?;
    let name = release.customer_app_name.ok_or_else(|| {
        Error::failed(format!("{app} is no release: it has no script of its own"))
            .hint("`gigalixir ps:run` runs any program, `gigalixir ps:remote_console` opens a console")
    })?;
    let command = [&["gigalixir_run".into(), "shell".into(), "--".into(), format!("bin/{name}")], &args.command[..]];
    enter(client, &args.place, Some(&app), command.concat()).await
}

async fn enter(client: &Client, place: &Place, name: Option<&str>, command: Vec<String>) -> Result<(), Error> {
    let app = place.app.resolve(client, name)?;
    let wish = Exec { command, replica: place.replica.clone(), terminal: terminal::present() };
    console::run(client, &app, wish).await
}

impl Place {
    /// The app's name, and which replica.
    pub fn resolve(&self, client: &Client) -> Result<(String, Option<String>), Error> {
        Ok((self.app.resolve(client, None)?, self.replica.clone()))
    }
}

//! `apps…`, `open`: apps come and go.

use std::io::{self, IsTerminal as _};
use std::process::{Command, Stdio};

use clap::Args;
use reqwest::{Method, StatusCode};

use super::git::connect;
use super::target::Target;
use crate::api::app::{App, CreateApp};
use crate::client::Client;
use crate::client::error::{Error, Kind};
use crate::client::git;
use crate::client::http::{Api, HttpError};
use crate::client::output::{fields, table, time};

/// Arguments of `apps:info`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir apps:info -a my-app
  gigalixir apps:info my-app --json")]
pub struct Info {
    #[command(flatten)]
    target: Target,
}

/// Arguments of `apps:create`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir create
  gigalixir create my-app
  gigalixir create -n my-app --stack debian-12
  APP=$(gigalixir create --quiet)")]
pub struct Create {
    /// The app's name, for ever [default: the platform finds a pleasant one]
    #[arg(short, long)]
    name: Option<String>,
    /// The same, without -n
    #[arg(value_name = "NAME", conflicts_with = "name")]
    word: Option<String>,
    /// The stack to build and run on
    #[arg(short, long)]
    stack: Option<String>,
    /// Accepted for old scripts
    #[arg(short, long, hide = true)]
    cloud: Option<String>,
    /// Accepted for old scripts
    #[arg(short, long, hide = true)]
    region: Option<String>,
}

/// Arguments of `apps:destroy`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir apps:destroy my-app
  gigalixir apps:destroy my-app --confirm my-app")]
pub struct Destroy {
    #[command(flatten)]
    target: Target,
    /// The app's name once more, instead of typing it when asked
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
    /// Do not ask
    #[arg(short, long, conflicts_with = "confirm")]
    yes: bool,
}

/// Arguments of `apps:rename`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir apps:rename old new      # tells how to move to another name")]
pub struct Rename {
    /// Whatever was meant
    #[arg(value_name = "NAME", allow_hyphen_values = true, trailing_var_arg = true)]
    names: Vec<String>,
}

/// Arguments of `open`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir open
  curl \"$(gigalixir open -a my-app)\"")]
pub struct Open {
    #[command(flatten)]
    target: Target,
}

/// Lists the person's apps.
pub async fn list(client: &Client) -> Result<(), Error> {
    let api = client.api()?;
    let answer = api.get(&["api", "apps"]).await?;
    client.output.result(&answer.data, || {
        let apps: Vec<App> = answer.read(&api)?;
        if apps.is_empty() {
            client.output.hint("no apps yet: `gigalixir create` makes one");
            return Ok(String::new());
        }
        let rows = apps.into_iter().map(|app| {
            let formation = formation(&app);
            [app.unique_name, version(app.version), formation, app.size.to_string(), app.url]
        });
        Ok(table(["NAME", "RELEASE", "REPLICAS", "SIZE", "URL"], rows))
    })
}

/// Shows one app.
pub async fn info(client: &Client, args: Info) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    let api = client.api()?;
    let answer = api.get(&["api", "apps", &name]).await?;
    client.output.result(&answer.data, || {
        let app: App = answer.read(&api)?;
        Ok(fields([
            ("Name", app.unique_name.clone()),
            ("URL", app.url.clone()),
            ("Git", app.git_url.clone()),
            ("Release", version(app.version)),
            ("Replicas", formation(&app)),
            ("Visitors", (if app.maintenance { "read the maintenance page" } else { "reach the app" }).to_owned()),
            ("Size", app.size.to_string()),
            ("Stack", app.stack),
            ("Runs on", format!("{} ({})", app.cloud, app.region)),
            ("Since", time(&app.created_at)),
        ]))
    })
}

/// Makes an app; the bare name is the result, so that `APP=$(gigalixir create)` works.
pub async fn create(client: &Client, args: Create) -> Result<(), Error> {
    let in_repository = git::in_repository();
    let body = CreateApp {
        unique_name: args.name.or(args.word).map(|name| name.to_lowercase()),
        cloud: args.cloud,
        region: args.region,
        stack: args.stack,
    };
    let api = client.api()?;
    let answer = match api.send(Method::POST, &["api", "apps"], &body).await {
        Err(error) => return Err(explained(error, &api, body.unique_name.as_deref()).await),
        Ok(answer) => answer,
    };
    let app: App = answer.read(&api)?;
    client.output.status(format!("Created app {}.", app.unique_name));
    let connected = if in_repository { connect(client, &api, &app, git::REMOTE) } else { Ok(()) };
    client.output.result(&answer.data, || Ok(app.unique_name.clone()))?;
    connected?;
    if in_repository {
        client.output.hint(format!("`git push {} HEAD:main` deploys it to {}", git::REMOTE, app.url));
    } else {
        let remote = format!("gigalixir git:remote {}", app.unique_name);
        client.output.hint(format!("this folder is no git repository: run `{remote}` in the app's"));
    }
    Ok(())
}

/// A refusal, and the way on if the person has an app of that name already.
async fn explained(error: HttpError, api: &Api, name: Option<&str>) -> Error {
    let refused = error.status() == Some(StatusCode::UNPROCESSABLE_ENTITY);
    let error = Error::from(error);
    match name {
        Some(name) if refused && api.get(&["api", "apps", name]).await.is_ok() => {
            error.hint(format!("it is yours: `gigalixir git:remote {name}` has this folder push to it"))
        }
        _ => error,
    }
}

/// Destroys an app after the person has typed its name.
pub async fn destroy(client: &Client, args: Destroy) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    if !args.yes {
        let typed = match args.confirm {
            Some(typed) => typed,
            None => {
                // Nobody should type the name of what is not there.
                client.api()?.get(&["api", "apps", &name]).await?;
                client.output.status(format!(
                    "This stops {name} and destroys its code, releases, variables and logs. There is no way back."
                ));
                client.prompt.line(&format!("To go on, type {name}")).map_err(|error| match error.kind {
                    Kind::Usage => Error::usage("nobody is there to be asked, and there is no way back")
                        .hint(format!("add `--confirm {name}`, or `--yes`")),
                    _ => error,
                })?
            }
        };
        if typed != name {
            return Err(Error::usage(format!("`{typed}` is not `{name}`: nothing is destroyed")));
        }
    }
    let (api, path) = (client.api()?, ["api", "apps", &name]);
    let doing = format!("Destroying {name} …");
    let answer = client.patiently(&name, doing, api.send_empty(Method::DELETE, &path, &[])).await?;
    client.output.status(format!("Destroyed {name}."));
    client.output.result(&answer.data, || Ok(String::new()))
}

/// Refuses, with the reason.
pub fn rename(_: &Rename) -> Result<(), Error> {
    Err(Error::failed(
        "apps are not renamed: the name is the app's address, its git URL and part of its nodes' names, and all that \
         points to it would break",
    )
    .hint("make another app with `gigalixir create -n NEW`")
    .hint("copy the variables with `gigalixir config:export -a OLD | gigalixir config:import -a NEW -`, then push"))
}

/// Prints the app's address; a person at a terminal gets a browser too.
pub async fn open(client: &Client, args: Open) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    let api = client.api()?;
    let answer = api.get(&["api", "apps", &name]).await?;
    let app: App = answer.read(&api)?;
    client.output.result(&answer.data, || Ok(app.url.clone()))?;
    // An address from a server is given to another program only as the address of a page.
    let is_page = app.url.starts_with("http://") || app.url.starts_with("https://");
    if is_page && io::stdout().is_terminal() && !client.output.json {
        let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
        let mut browser = Command::new(opener);
        browser.arg(&app.url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if browser.spawn().is_err() {
            client.output.hint(format!("`{opener}` is not installed, so no browser was opened"));
        }
    }
    Ok(())
}

fn version(version: u32) -> String {
    if version == 0 { "-".to_owned() } else { format!("v{version}") }
}

fn formation(app: &App) -> String {
    if app.formation.is_empty() {
        return format!("web={}", app.replicas);
    }
    let types: Vec<_> = app.formation.iter().map(|(process, count)| format!("{process}={count}")).collect();
    types.join(" ")
}

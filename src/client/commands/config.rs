//! `config…`: an app's variables. Every change is a release, and restarts the app unless told otherwise.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use reqwest::Method;
use serde_json::Value;

use super::target::{AppOption, Target};
use crate::api::app::{SetConfigs, UnsetConfig};
use crate::client::Client;
use crate::client::error::Error;
use crate::client::output::table;
use crate::client::variables::{self, Variables};

/// Arguments of `config`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir config
  gigalixir config -a my-app --json")]
pub struct List {
    #[command(flatten)]
    target: Target,
}

/// Arguments of `config:get`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  psql \"$(gigalixir config:get DATABASE_URL)\"")]
pub struct Get {
    #[command(flatten)]
    app: AppOption,
    /// The variable
    name: String,
}

/// Arguments of `config:set`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir config:set POOL_SIZE=9 GREETING=\"hello world\"
  gigalixir config:set --no-restart FEATURE=on
  gigalixir config:set --from-file secrets.env
  pass show my-app | gigalixir config:set --from-file -")]
pub struct Set {
    #[command(flatten)]
    app: AppOption,
    /// Variables and values; other users of this machine can read them here
    #[arg(value_name = "NAME=VALUE", required_unless_present = "from_file")]
    pairs: Vec<String>,
    /// Take variables from a .env or JSON file too; - is standard input
    #[arg(long, alias = "from_file", value_name = "FILE")]
    from_file: Option<PathBuf>,
    #[command(flatten)]
    restart: RestartOption,
}

/// Whether running replicas are replaced.
#[derive(Debug, Args)]
pub struct RestartOption {
    /// Leave the running replicas alone
    #[arg(long, alias = "no_restart")]
    no_restart: bool,
    /// Tell the running nodes of a mix release, without a restart
    #[arg(long, conflicts_with = "no_restart")]
    hot: bool,
}

impl RestartOption {
    fn when(&self) -> When {
        match (self.no_restart, self.hot) {
            (_, true) => When::Hot,
            (true, false) => When::Later,
            (false, false) => When::Restart,
        }
    }
}

/// When running replicas take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Restart,
    Later,
    Hot,
}

/// Arguments of `config:unset`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir config:unset FEATURE GREETING")]
pub struct Unset {
    #[command(flatten)]
    app: AppOption,
    /// The variables
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    restart: RestartOption,
}

/// Arguments of `config:export`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir config:export > .env
  eval \"$(gigalixir config:export --format shell)\"
  gigalixir config:export -a old | gigalixir config:import -a new -")]
pub struct Export {
    #[command(flatten)]
    target: Target,
    /// How they are written
    #[arg(short, long, value_enum, default_value_t = Format::Env)]
    format: Format,
}

/// How `config:export` writes.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Format {
    /// `NAME=value` lines
    Env,
    /// One JSON object
    Json,
    /// `export NAME='value'` lines
    Shell,
}

/// Arguments of `config:import`.
#[derive(Debug, Args)]
#[command(after_help = "In a .env file, `$NAME` outside single quotes is replaced, as dotenv does.

Examples:
  gigalixir config:import .env
  gigalixir config:import -a my-app config.json --no-restart")]
pub struct Import {
    #[command(flatten)]
    app: AppOption,
    /// A .env or JSON file; - is standard input
    file: PathBuf,
    #[command(flatten)]
    restart: RestartOption,
}

/// Arguments of 2017's `set_config`.
#[derive(Debug, Args)]
pub struct SetConfig {
    /// The app
    app: String,
    /// The variable
    name: String,
    /// Its value
    #[arg(allow_hyphen_values = true)]
    value: String,
}

/// Arguments of `delete_config`: 2017's `APP NAME`, and 2018's `NAME` with `-a`.
#[derive(Debug, Args)]
pub struct DeleteConfig {
    #[command(flatten)]
    app: AppOption,
    /// The app and the variable, or only the variable
    #[arg(value_name = "NAME", required = true, num_args = 1..=2)]
    words: Vec<String>,
}

/// Shows all variables.
pub async fn list(client: &Client, args: List) -> Result<(), Error> {
    let app = args.target.resolve(client)?;
    let (data, variables) = fetch(client, &app).await?;
    client.output.result(&data, || {
        if variables.is_empty() {
            client.output.hint(format!("{app} has no variables yet: `gigalixir config:set NAME=value` sets one"));
            return Ok(String::new());
        }
        Ok(table(["NAME", "VALUE"], variables.into_iter().map(|(name, value)| [name, value])))
    })
}

/// Prints one value, as it is.
pub async fn get(client: &Client, args: Get) -> Result<(), Error> {
    let app = args.app.resolve(client, None)?;
    let (_, mut variables) = fetch(client, &app).await?;
    let value = variables.remove(&args.name);
    let value = value.ok_or_else(|| Error::not_found(format!("{app} has no variable `{}`", args.name)))?;
    client.output.result(&Value::String(value.clone()), || Ok(value + "\n"))
}

/// Writes all variables in a form that other programs read.
pub async fn export(client: &Client, args: Export) -> Result<(), Error> {
    let (data, variables) = fetch(client, &args.target.resolve(client)?).await?;
    client.output.result(&data, || match args.format {
        Format::Env => variables::to_env(&variables),
        Format::Shell => variables::to_shell(&variables),
        Format::Json => Ok(format!("{data:#}")),
    })
}

/// Sets variables.
pub async fn set(client: &Client, args: Set) -> Result<(), Error> {
    let mut variables = match &args.from_file {
        Some(file) => read(file)?,
        None => Variables::new(),
    };
    variables.extend(variables::from_pairs(&args.pairs)?);
    store(client, &args.app.resolve(client, None)?, variables, args.restart.when()).await
}

/// Sets variables from a file.
pub async fn import(client: &Client, args: Import) -> Result<(), Error> {
    let variables = read(&args.file)?;
    store(client, &args.app.resolve(client, None)?, variables, args.restart.when()).await
}

/// 2017's way: one variable, and no restart, as its manual promises.
pub async fn set_one(client: &Client, args: SetConfig) -> Result<(), Error> {
    let app = AppOption::default().resolve(client, Some(&args.app))?;
    store(client, &app, Variables::from([(args.name, args.value)]), When::Later).await
}

/// Unsets variables.
pub async fn unset(client: &Client, args: Unset) -> Result<(), Error> {
    remove(client, &args.app.resolve(client, None)?, args.names, args.restart.when()).await
}

/// The older ways to unset: with the app as an argument there was no restart yet.
pub async fn delete_one(client: &Client, args: DeleteConfig) -> Result<(), Error> {
    match &args.words[..] {
        [app, name] if args.app.app.is_none() => {
            let app = args.app.resolve(client, Some(app))?;
            remove(client, &app, vec![name.clone()], When::Later).await
        }
        names => remove(client, &args.app.resolve(client, None)?, names.to_vec(), When::Restart).await,
    }
}

async fn fetch(client: &Client, app: &str) -> Result<(Value, Variables), Error> {
    let api = client.api()?;
    let answer = api.get(&["api", "apps", app, "configs"]).await?;
    let variables = answer.read(&api)?;
    Ok((answer.data, variables))
}

async fn store(client: &Client, app: &str, variables: Variables, when: When) -> Result<(), Error> {
    if variables.is_empty() {
        return Err(Error::usage("there is no variable to set"));
    }
    let names = list_names(variables.keys());
    let (avoid_restart, hot) = (when == When::Later, when == When::Hot);
    let body = SetConfigs { configs: Some(variables), avoid_restart, hot, ..SetConfigs::default() };
    let (api, path) = (client.api()?, ["api", "apps", app, "configs"]);
    let doing = doing("Setting", &names, app, when);
    let answer = client.patiently(app, doing, api.send(Method::POST, &path, &body)).await?;
    done(client, "Set", &names, app, when);
    client.output.result(&answer.data, || Ok(String::new()))
}

async fn remove(client: &Client, app: &str, names: Vec<String>, when: When) -> Result<(), Error> {
    let (avoid_restart, hot) = (when == When::Later, when == When::Hot);
    let body = match &names[..] {
        [name] => UnsetConfig { key: Some(name.clone()), keys: Vec::new(), avoid_restart, hot },
        _ => UnsetConfig { key: None, keys: names.clone(), avoid_restart, hot },
    };
    let (_, before) = fetch(client, app).await?;
    let (there, absent): (Vec<_>, Vec<_>) = names.iter().partition(|name| before.contains_key(*name));
    if !absent.is_empty() {
        client.output.hint(format!("{app} had no variable {}", list_names(absent.into_iter())));
    }
    let listed = list_names(there.into_iter());
    let (api, path) = (client.api()?, ["api", "apps", app, "configs"]);
    let doing = doing("Unsetting", &listed, app, when);
    let answer = client.patiently(app, doing, api.send(Method::DELETE, &path, &body)).await?;
    if !listed.is_empty() {
        done(client, "Unset", &listed, app, when);
    }
    client.output.result(&answer.data, || Ok(String::new()))
}

fn doing(verb: &str, names: &str, app: &str, when: When) -> String {
    let then = match when {
        When::Restart => " and restarting it",
        When::Later => "",
        When::Hot => " while it runs",
    };
    format!("{verb} {names} on {app}{then} …")
}

fn done(client: &Client, verb: &str, names: &str, app: &str, when: When) {
    client.output.status(format!("{verb} {names} on {app}."));
    if when == When::Later {
        client.output.hint(format!("running replicas see it after `gigalixir ps:restart -a {app}`"));
    }
}

fn list_names<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn read(file: &Path) -> Result<Variables, Error> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    let name = file.display();
    let text = text.map_err(|error| Error::io(format_args!("could not read {name}"), &error))?;
    variables::from_text(&text).map_err(|mut error| {
        error.message = format!("{name}: {}", error.message);
        error
    })
}

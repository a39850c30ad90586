//! `maintenance…`: a page for visitors while an app is worked on.

use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::Method;

use super::target::{AppOption, Target};
use crate::api::app::Maintenance;
use crate::api::router::MaintenancePage;
use crate::client::Client;
use crate::client::error::Error;

/// Arguments of `maintenance:on` and `maintenance:off`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir maintenance:on
  gigalixir maintenance:off -a my-app")]
pub struct Switch {
    #[command(flatten)]
    target: Target,
    /// Accepted for old scripts: nothing is asked anyway
    #[arg(short, long, hide = true)]
    yes: bool,
}

/// Arguments of `maintenance:page`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir maintenance:page sorry.html
  gigalixir maintenance:page --show
  gigalixir maintenance:page --default")]
#[group(required = true, multiple = false, id = "which", args = ["file", "show", "default"])]
pub struct Page {
    #[command(flatten)]
    app: AppOption,
    /// An HTML file with all that it needs in itself; - reads standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print the app's page
    #[arg(long)]
    show: bool,
    /// Go back to the platform's page
    #[arg(long)]
    default: bool,
}

/// Changes or shows what visitors read meanwhile.
pub async fn page(client: &Client, args: Page) -> Result<(), Error> {
    let name = args.app.resolve(client, None)?;
    let path = ["api", "apps", &name, "maintenance", "page"];
    let api = client.api()?;
    if args.show {
        let answer = api.get(&path).await?;
        return client.output.result(&answer.data, || Ok(answer.read::<MaintenancePage>(&api)?.html));
    }
    let html = match &args.file {
        Some(file) => read(file)?,
        None => String::new(),
    };
    let own = !html.is_empty();
    let answer = api.send(Method::PUT, &path, &MaintenancePage { html }).await?;
    client.output.status(match own {
        true => format!("Visitors of {name} read your page while maintenance mode is on."),
        false => format!("Visitors of {name} read the platform's page while maintenance mode is on."),
    });
    client.output.result(&answer.data, || Ok(String::new()))
}

fn read(file: &Path) -> Result<String, Error> {
    let text =
        if file == Path::new("-") { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    let text = text.map_err(|error| Error::io(format_args!("could not read {}", file.display()), &error))?;
    if text.is_empty() {
        return Err(Error::usage(format!(
            "`{}` is empty; `--default` brings the platform's page back",
            file.display()
        )));
    }
    Ok(text)
}

/// Switches it on or off.
pub async fn switch(client: &Client, args: Switch, enable: bool) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    let body = Maintenance { enable };
    let answer = client.api()?.send(Method::PUT, &["api", "apps", &name, "maintenance"], &body).await?;
    client.output.status(match enable {
        true => format!("Visitors of {name} read a maintenance page now; `gigalixir maintenance:off` ends that."),
        false => format!("Visitors of {name} reach the app again."),
    });
    client.output.result(&answer.data, || Ok(String::new()))
}

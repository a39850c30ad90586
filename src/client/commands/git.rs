//! `git:remote`: the way from a repository to an app.

use clap::Args;
use url::Url;

use super::target::Target;
use crate::api::app::App;
use crate::client::Client;
use crate::client::error::Error;
use crate::client::git::{self, REMOTE};
use crate::client::host;
use crate::client::http::Api;

/// Arguments of `git:remote`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir git:remote my-app
  gigalixir git:remote my-app-staging --remote staging")]
pub struct GitRemote {
    #[command(flatten)]
    target: Target,
    /// What git calls the remote
    #[arg(short, long, default_value = REMOTE, value_name = "NAME")]
    remote: String,
}

/// Sets the remote of the repository in the current folder.
pub async fn set(client: &Client, args: GitRemote) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    if !git::in_repository() {
        return Err(Error::usage("this folder is no git repository (or git is not installed)")
            .hint("`git init` makes one, `cd` goes to another"));
    }
    let api = client.api()?;
    let answer = api.get(&["api", "apps", &name]).await?;
    let app: App = answer.read(&api)?;
    connect(client, &api, &app, &args.remote)?;
    client.output.result(&answer.data, || Ok(String::new()))
}

/// Sets the remote, and lets git find the key if pushes go to another machine than the API.
pub(super) fn connect(client: &Client, api: &Api, app: &App, remote: &str) -> Result<(), Error> {
    let url = Url::parse(&app.git_url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.ok_or_else(|| Error::failed(format!("the server gave `{}` as the git address", app.git_url)))?;
    let before =
        git::remotes(&client.host).into_iter().find(|known| known.name == remote && known.app != app.unique_name);
    git::set_remote(remote, url.as_str())?;
    client.output.status(format!("Set git remote {remote} to {url}."));
    if let Some(before) = before {
        let app = before.app;
        client.output.hint(format!("it led to {app} before: `gigalixir git:remote {app}` sets it back"));
    }
    let machine = host::machine(&url);
    if let Some(credentials) = api.credentials().filter(|_| !machine.eq_ignore_ascii_case(client.host.machine())) {
        if client.netrc.share(machine, credentials)? {
            client.output.status(format!("git finds your key for {machine} in {}.", client.netrc.path().display()));
        } else {
            client.output.hint(format!(
                "{} has another login for {machine}: a push will use that one",
                client.netrc.path().display()
            ));
        }
    }
    Ok(())
}

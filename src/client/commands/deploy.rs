//! `deploy`: a `git push` of what is committed here, with its options as words.

use clap::Args;

use super::target::Target;
use crate::client::Client;
use crate::client::error::Error;
use crate::client::git::{self, REMOTE};

/// Arguments of `deploy`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir deploy
  gigalixir deploy --hot
  gigalixir deploy --hot --or-restart --ref my-branch

It is a `git push`: `git push -o hot gigalixir HEAD:main` does the same as `gigalixir deploy --hot`.")]
pub struct Deploy {
    #[command(flatten)]
    target: Target,
    /// Upgrade the running nodes in place: no restart, no dropped connection, no lost state
    #[arg(long)]
    hot: bool,
    /// If that cannot be done, put new replicas beside the old ones as usual
    #[arg(long, requires = "hot")]
    or_restart: bool,
    /// Empty the build cache first
    #[arg(long)]
    clean: bool,
    /// The commit or branch to deploy
    #[arg(long = "ref", value_name = "REF", default_value = "HEAD")]
    reference: String,
}

/// Pushes to the remote of the app.
pub fn deploy(client: &Client, args: &Deploy) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    let remotes = git::remotes(&client.host);
    let of_app = remotes.iter().filter(|remote| remote.app == name);
    let remote = of_app.min_by_key(|remote| remote.name != REMOTE).ok_or_else(|| {
        Error::usage(format!("no git remote of this folder leads to {name}"))
            .hint(format!("`gigalixir git:remote {name}` sets one"))
    })?;
    let options = [("hot", args.hot), ("or-restart", args.or_restart), ("clean", args.clean)];
    let options: Vec<_> = options.into_iter().filter(|(_, wished)| *wished).map(|(name, _)| name).collect();
    if !git::push(&remote.name, &args.reference, &options)? {
        client.output.status(format!("{} was pushed to {name} before; there is nothing to do.", args.reference));
        client.output.hint("`git commit --allow-empty -m again` makes a commit that is deployed anew, `gigalixir releases` tells what runs");
    }
    Ok(())
}

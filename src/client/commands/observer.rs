//! `ps:observer`: looking into a replica's Erlang node.

use clap::{Args, ValueEnum};

use super::target::Target;
use crate::api::observer::ObserverQuery;
use crate::client::Client;
use crate::client::error::Error;
use crate::client::observer;

/// Arguments of `ps:observer`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir ps:observer --tui
  gigalixir ps:observer --tui --replica web.2 --sort queue
  gigalixir ps:observer --json --tree my_app | jq '.tree[].name'

Keys of --tui:
  Tab, 1 to 6   another page: system, processes, ETS tables, ports, applications, supervision tree
  arrows        another row; j and k, PageUp, PageDown, Home and End too
  s             sort processes by memory, reductions, message queue
  Enter         on an application: its supervision tree
  p, Space      pause; refresh at once
  q             the end")]
pub struct Observer {
    #[command(flatten)]
    target: Target,
    /// The replica: its name, or as `web.2` [default: any]
    #[arg(long, value_name = "NAME")]
    replica: Option<String>,
    /// Observe in this terminal; needs no Erlang here
    #[arg(long)]
    tui: bool,
    /// Which processes are listed: those with the most of this
    #[arg(long, value_enum, default_value = "memory")]
    sort: Sort,
    /// Rows of each kind
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// The application whose supervision tree is listed
    #[arg(long, value_name = "APPLICATION")]
    tree: Option<String>,
}

/// By what processes are chosen.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Sort {
    Memory,
    Reductions,
    Queue,
}

/// Observes.
pub async fn observe(client: &Client, args: Observer) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    let api = client.api()?;
    let sort = match args.sort {
        Sort::Memory => "memory",
        Sort::Reductions => "reductions",
        Sort::Queue => "queue",
    };
    let query =
        ObserverQuery { replica: args.replica, sort: Some(sort.to_owned()), limit: args.limit, tree: args.tree };
    if client.output.json {
        let answer = observer::snapshot(&api, &name, &query).await?;
        return client.output.result(&answer.data, || Ok(String::new()));
    }
    if args.tui {
        return observer::run(&api, &name, query).await;
    }
    Err(Error::usage("say `--tui` to observe in this terminal, or `--json` for one snapshot"))
}

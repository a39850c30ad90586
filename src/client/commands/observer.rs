//! `ps:observer`: looking into a replica's Erlang node.

use clap::{Args, ValueEnum};
use reqwest::Method;

use super::target::Target;
use crate::api::observer::{Node, ObserverQuery};
use crate::client::Client;
use crate::client::error::Error;
use crate::client::observer;

/// Arguments of `ps:observer`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir ps:observer
  gigalixir ps:observer --eval 'erlang:memory(total).'
  gigalixir ps:observer --tui
  gigalixir ps:observer --tui --replica web.2 --sort queue
  gigalixir ps:observer --json --tree my_app | jq '.tree[].name'

Without --tui or --json it opens the windows of this machine's own Erlang (with wx), connected as a hidden node.

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
    /// Evaluate an Erlang expression in the node, from this machine's `erl`, instead of opening windows
    #[arg(long, value_name = "EXPRESSION", conflicts_with = "tui")]
    eval: Option<String>,
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
    let path = ["api", "apps", &name, "observer", "node"];
    let replica: Vec<_> = query.replica.iter().map(|replica| ("replica", replica.as_str())).collect();
    let node: Node = api.send_empty(Method::GET, &path, &replica).await?.read(&api)?;
    client.output.status(format!("Observing {} in {}.", node.node, node.replica));
    observer::observe(&client.host, &name, &node, args.eval.as_deref()).await
}

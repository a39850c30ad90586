//! The observer of this machine's own Erlang: connected to a replica's node through a tunnel, without epmd, without a
//! fixed port, without any right that the person has not. The tunnel is `ps:forward`'s; what stands in for epmd
//! (`node.erl`) leads the connection into it, whatever address the node's name has.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::super::error::Error;
use super::super::host::Host;
use crate::api::observer::Node;

const NODE: &str = include_str!("node.erl");
/// What `node.erl` ends with where there is no wx.
const NO_WINDOWS: i32 = 3;

/// Opens the observer's windows, or evaluates `expression` in the node and prints its value. Returns at their end.
pub async fn observe(host: &Host, app: &str, node: &Node, expression: Option<&str>) -> Result<(), Error> {
    let (_tunnel, port) = tunnel(host, app, node).await?;
    let mut erl = Command::new("erl");
    erl.args(["-noinput", "-hidden", "-start_epmd", "false", "-dist_listen", "false"]);
    // No cookie of one's own is needed; without this, a file with one would be made. The node's goes by the environment,
    // for a command line can be read by everybody.
    erl.args(["-setcookie", "none", "-epmd_module", "gigalixir_tunnel", "-eval", NODE]);
    erl.env_remove("ERL_FLAGS").env_remove("ERL_AFLAGS").env_remove("ERL_ZFLAGS");
    erl.env("GIGALIXIR_OBSERVED_NODE", &node.node).env("GIGALIXIR_OBSERVED_COOKIE", &node.cookie);
    erl.env("GIGALIXIR_OBSERVER_NAME", uuid::Uuid::new_v4().simple().to_string());
    erl.env("GIGALIXIR_TUNNEL_PORT", port.to_string());
    match expression {
        Some(expression) => erl.env("GIGALIXIR_OBSERVER_EVAL", expression),
        None => erl.env_remove("GIGALIXIR_OBSERVER_EVAL"),
    };
    let status = erl.kill_on_drop(true).status().await.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::failed("there is no `erl` on this machine's PATH").hint("`--tui` observes without any")
        }
        _ => Error::io("could not start `erl`", &error),
    })?;
    match status.code() {
        Some(0) => Ok(()),
        Some(NO_WINDOWS) => Err(Error::failed("this machine's Erlang has no observer, or no wx to draw it with")
            .hint("install them (Debian: `erlang-observer`), or observe in this terminal with `--tui`")),
        _ => Err(Error::failed("the observer ended by a failure")),
    }
}

/// A port of this machine that leads to the node, for as long as the child lives.
async fn tunnel(host: &Host, app: &str, node: &Node) -> Result<(Child, u16), Error> {
    let failed = |error: std::io::Error| Error::io("could not open the tunnel", &error);
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.args(["ps:forward", "-a", app, "--replica", &node.replica, "--host", &host.to_string()]);
    command.arg(format!("0:{}", node.port)).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(failed)?;
    let printed = child.stdout.take().ok_or_else(|| Error::failed("could not open the tunnel"))?;
    let first = BufReader::new(printed).lines().next_line().await.map_err(failed)?.unwrap_or_default();
    // `127.0.0.1:PORT leads to …`
    let address = first.split(' ').next().and_then(|address| address.parse::<std::net::SocketAddr>().ok());
    let address = address.ok_or_else(|| Error::failed("the tunnel to the replica could not be opened"))?;
    Ok((child, address.port()))
}

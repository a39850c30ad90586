//! `ps:forward`: a port of this machine that leads to one of a replica.

use std::net::Ipv4Addr;

use clap::Args;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::inside::Place;
use crate::api::inside::{PIECE, TunnelQuery};
use crate::client::Client;
use crate::client::channel::{self, Heard};
use crate::client::error::Error;
use crate::client::http::Api;

/// Arguments of `ps:forward`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir ps:forward 5432
  gigalixir ps:forward 8080:4000 --replica web.2

It runs until Ctrl-C. `LOCAL` 0 takes any free port; which one is printed first.")]
pub struct Forward {
    #[command(flatten)]
    place: Place,
    /// The replica's port, and perhaps another one here
    #[arg(value_name = "[LOCAL:]PORT")]
    ports: String,
}

/// Leads connections on until interrupted.
pub async fn forward(client: &Client, args: Forward) -> Result<(), Error> {
    let (local, port) = parse(&args.ports)?;
    let (app, replica) = args.place.resolve(client)?;
    let api = client.api()?;
    let listening = |error: std::io::Error| Error::io(format_args!("could not listen on port {local}"), &error);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, local)).await.map_err(listening)?;
    let address = listener.local_addr().map_err(listening)?;
    let told = json!({ "address": address.to_string(), "port": port, "app": app });
    client.output.result(&told, || Ok(format!("{address} leads to port {port} of {app}.")))?;
    let query = TunnelQuery { port, replica };
    loop {
        let (stream, _) = listener.accept().await.map_err(listening)?;
        let (api, app, query, output) = (api.clone(), app.clone(), query.clone(), client.output);
        tokio::spawn(async move {
            if let Err(error) = lead(&api, &app, &query, stream).await {
                output.error(&error);
            }
        });
    }
}

fn parse(ports: &str) -> Result<(u16, u16), Error> {
    let wrong = || Error::usage(format!("`{}` is not [LOCAL:]PORT, such as 5432 or 8080:4000", ports.escape_debug()));
    let (local, port) = ports.split_once(':').unwrap_or((ports, ports));
    let port: u16 = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
    Ok((local.parse().map_err(|_| wrong())?, port))
}

async fn lead(api: &Api, app: &str, query: &TunnelQuery, stream: TcpStream) -> Result<(), Error> {
    let (mut mouth, mut ear) = channel::open(api, &["api", "apps", app, "tunnel"], query).await?;
    let (mut from, mut to) = stream.into_split();
    let outward = async {
        let mut piece = vec![0; PIECE];
        let mut open = true;
        loop {
            tokio::select! {
                read = from.read(&mut piece), if open => match read {
                    Ok(count @ 1..) => mouth.data(&piece[..count]).await?,
                    _ => {
                        open = false;
                        mouth.data(&[]).await?;
                    }
                },
                () = mouth.time_to_ping() => mouth.ping().await?,
            }
        }
    };
    let inward = async {
        loop {
            match ear.next().await? {
                // The end of what the replica says is, for us, the end of the connection.
                Some(Heard::Data(bytes)) if bytes.is_empty() => return Ok(()),
                Some(Heard::Data(bytes)) if to.write_all(&bytes).await.is_ok() => {}
                _ => return Ok(()),
            }
        }
    };
    let done = tokio::select! { done = inward => done, failed = outward => failed };
    let _ = to.shutdown().await;
    mouth.close().await;
    done
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn ports_as_people_type_them() {
        assert_eq!(parse("5432").unwrap(), (5432, 5432));
        assert_eq!(parse("8080:4000").unwrap(), (8080, 4000));
        assert_eq!(parse("0:4000").unwrap(), (0, 4000));
        for wrong in ["", "x", "1:2:3", "70000", ":1", "1:", "4000:0"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}

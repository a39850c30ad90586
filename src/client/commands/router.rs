//! `router…`: what holds for the requests of an app's visitors.

use clap::{Args, ValueEnum};
use reqwest::Method;

use super::target::{AppOption, Target};
use crate::api::router::{RouterRules, SetRouterRules};
use crate::client::Client;
use crate::client::error::Error;
use crate::client::output::table;

/// Arguments of `router`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir router")]
pub struct Show {
    #[command(flatten)]
    target: Target,
}

/// Arguments of `router:set`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir router:set --affinity on
  gigalixir router:set -a my-app --max-connections 500 --max-body 10M
  gigalixir router:set --canonical www --access-log on
  gigalixir router:set -a my-grpc-app --h2c on")]
#[group(required = true, multiple = true, id = "rules", args = ["max_connections", "max_body", "affinity", "h2c", "canonical", "access_log"])]
pub struct Set {
    #[command(flatten)]
    app: AppOption,
    /// Requests and WebSockets at a time; more read that the app is busy. 0: as many as come
    #[arg(long, value_name = "NUMBER")]
    max_connections: Option<u32>,
    /// Size of a request's body, as 500K, 10M or 1G; larger ones are refused. 0: any
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_body: Option<u64>,
    /// Whether a browser comes to the same replica again, by a cookie
    #[arg(long, value_name = "on|off")]
    affinity: Option<OnOff>,
    /// Whether replicas are spoken to in HTTP/2 (without TLS, from the first byte), as gRPC needs; WebSockets stay as they are
    #[arg(long, value_name = "on|off")]
    h2c: Option<OnOff>,
    /// Where visitors of the other one of www.HOST and HOST are sent; both have to be the app's
    #[arg(long, value_name = "www|apex|none")]
    canonical: Option<String>,
    /// Whether each request is a line in the app's log
    #[arg(long, value_name = "on|off")]
    access_log: Option<OnOff>,
}

/// A switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnOff {
    On,
    Off,
}

/// Bytes, with a unit of 1024s behind them if there is one.
fn size(text: &str) -> Result<u64, String> {
    let units = [('K', 1 << 10), ('M', 1 << 20), ('G', 1 << 30)];
    let unit = units.iter().find_map(|(letter, unit)| Some((text.strip_suffix(*letter)?, *unit)));
    let (number, unit) = unit.unwrap_or((text, 1_u64));
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    bytes.ok_or_else(|| "it should be a number of bytes, or one with K, M or G behind it".to_owned())
}

/// Shows what holds.
pub async fn show(client: &Client, args: Show) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    let api = client.api()?;
    let answer = api.get(&["api", "apps", &name, "router"]).await?;
    client.output.result(&answer.data, || Ok(shown(&answer.read(&api)?)))
}

/// Changes what is told.
pub async fn set(client: &Client, args: Set) -> Result<(), Error> {
    let name = args.app.resolve(client, None)?;
    let on = |switch: OnOff| switch == OnOff::On;
    let body = SetRouterRules {
        max_connections: args.max_connections,
        max_body_bytes: args.max_body,
        affinity: args.affinity.map(on),
        h2c: args.h2c.map(on),
        canonical: args.canonical,
        access_log: args.access_log.map(on),
    };
    let api = client.api()?;
    let answer = api.send(Method::PATCH, &["api", "apps", &name, "router"], &body).await?;
    client.output.status(format!("{name}'s visitors are served by these rules now."));
    client.output.result(&answer.data, || Ok(shown(&answer.read(&api)?)))
}

fn shown(rules: &RouterRules) -> String {
    let most = |number: u64, what: &str| if number == 0 { "any".to_owned() } else { format!("{number}{what}") };
    let switch = |on: bool| if on { "on" } else { "off" }.to_owned();
    let rows = [
        ["max-connections".to_owned(), most(u64::from(rules.max_connections), "")],
        ["max-body".to_owned(), most(rules.max_body_bytes, " bytes")],
        ["affinity".to_owned(), switch(rules.affinity)],
        ["h2c".to_owned(), switch(rules.h2c)],
        ["canonical".to_owned(), rules.canonical.clone()],
        ["access-log".to_owned(), switch(rules.access_log)],
        ["maintenance page".to_owned(), if rules.maintenance_page { "own" } else { "the platform's" }.to_owned()],
    ];
    table(["RULE", "VALUE"], rows)
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("0", 0), ("500", 500), ("2K", 2048), ("10M", 10 << 20), ("1G", 1 << 30)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "M", "1T", "-1", "1.5M", "99999999999999999999", "99999999999G"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}

//! `account:usage…`, `account:invoices`, `apps:usage`: what apps use, and what that comes to.

use clap::Args;

use super::target::Target;
use crate::api::usage::{AppUsage, DayUsage, Invoice, RunRate};
use crate::client::Client;
use crate::client::error::Error;
use crate::client::output::table;

/// Arguments of `apps:usage`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir apps:usage
  gigalixir apps:usage -a my-app --json | jq '.[0].replica_size_seconds'")]
pub struct OfApp {
    #[command(flatten)]
    target: Target,
}

/// Shows what each app has used in the present period.
pub async fn now(client: &Client) -> Result<(), Error> {
    let api = client.api()?;
    let answer = api.get(&["api", "usage"]).await?;
    client.output.result(&answer.data, || {
        let apps: Vec<AppUsage> = answer.read(&api)?;
        let Some(first) = apps.first() else {
            client.output.hint("nothing has run in this period");
            return Ok(String::new());
        };
        client.output.status(format!("From {} to {}, up to now:", day(&first.period_start), day(&first.period_end)));
        let row = |used: AppUsage| {
            let amount = money(used.amount_cents, &used.currency);
            [used.app, used.replica_size_seconds.to_string(), amount]
        };
        Ok(table(["APP", "REPLICA-SIZE-SECONDS", "AMOUNT"], apps.into_iter().map(row)))
    })
}

/// Shows what each app would use in a whole period as it runs now.
pub async fn running(client: &Client) -> Result<(), Error> {
    let api = client.api()?;
    let answer = api.get(&["api", "usage", "run_rate"]).await?;
    client.output.result(&answer.data, || {
        let apps: Vec<RunRate> = answer.read(&api)?;
        if apps.is_empty() {
            client.output.hint("nothing is running");
            return Ok(String::new());
        }
        let row = |rate: RunRate| {
            let amount = money(rate.amount_cents, &rate.currency);
            [rate.app, rate.replicas.to_string(), rate.size.to_string(), rate.replica_size_seconds.to_string(), amount]
        };
        Ok(table(["APP", "REPLICAS", "SIZE", "REPLICA-SIZE-SECONDS", "AMOUNT"], apps.into_iter().map(row)))
    })
}

/// Shows what was used in past periods.
pub async fn invoices(client: &Client) -> Result<(), Error> {
    let api = client.api()?;
    let answer = api.get(&["api", "invoices"]).await?;
    client.output.result(&answer.data, || {
        let invoices: Vec<Invoice> = answer.read(&api)?;
        if invoices.is_empty() {
            client
                .output
                .hint("no period has ended yet in which something ran: `gigalixir account:usage` shows this one");
            return Ok(String::new());
        }
        let row = |invoice: Invoice| {
            let amount = money(invoice.amount_cents, &invoice.currency);
            let seconds = invoice.replica_size_seconds.to_string();
            [day(&invoice.period_start), day(&invoice.period_end), invoice.app_name, seconds, amount]
        };
        Ok(table(["FROM", "TO", "APP", "REPLICA-SIZE-SECONDS", "AMOUNT"], invoices.into_iter().map(row)))
    })
}

/// Shows what an app used, day by day.
pub async fn of_app(client: &Client, args: OfApp) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    let api = client.api()?;
    let answer = api.get(&["api", "apps", &name, "usage"]).await?;
    client.output.result(&answer.data, || {
        let days: Vec<DayUsage> = answer.read(&api)?;
        if days.is_empty() {
            client.output.hint(format!("{name} has not run in this period and the last"));
            return Ok(String::new());
        }
        let row = |used: DayUsage| {
            let amount = money(used.amount_cents, &used.currency);
            [used.day, used.replica_size_seconds.to_string(), amount]
        };
        Ok(table(["DAY", "REPLICA-SIZE-SECONDS", "AMOUNT"], days.into_iter().map(row)))
    })
}

/// The day of a midnight.
fn day(time: &str) -> String {
    time.split('T').next().unwrap_or(time).to_owned()
}

fn money(cents: i64, currency: &str) -> String {
    format!("{}.{:02} {currency}", cents / 100, cents % 100)
}

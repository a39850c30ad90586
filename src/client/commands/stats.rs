//! `ps:stats`: what an app's replicas take.

use clap::Args;

use super::target::Target;
use crate::api::app::Stats;
use crate::client::Client;
use crate::client::error::Error;
use crate::client::output::table;

/// Samples that the table looks back on: an hour of minutes.
const HOUR: usize = 60;

/// Arguments of `ps:stats`.
#[derive(Debug, Args)]
#[command(after_help = "All replicas of the app together. The server looks every minute and remembers four hours.

Examples:
  gigalixir ps:stats
  gigalixir ps:stats -a my-app --json | jq '.mem[-1]'")]
pub struct Show {
    #[command(flatten)]
    target: Target,
}

/// Shows memory and processor time: now, and over the last hour.
pub async fn show(client: &Client, args: Show) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    let api = client.api()?;
    let answer = api.get(&["api", "apps", &name, "stats"]).await?;
    client.output.result(&answer.data, || {
        let stats: Stats = answer.read(&api)?;
        if stats.mem.is_empty() {
            client.output.hint(format!("nothing of {name} runs, or nobody can tell what it takes"));
            return Ok(String::new());
        }
        let memory = row("memory", "MiB", stats.mem.iter().map(|(_, amount)| *amount));
        let cpu = row("processor", "millicores", stats.cpu.iter().map(|(_, amount)| amount.map(u64::from)));
        Ok(table(["", "NOW", "HOUR'S MEAN", "HOUR'S PEAK"], [memory, cpu]))
    })
}

fn row(what: &str, unit: &str, amounts: impl DoubleEndedIterator<Item = Option<u64>>) -> [String; 4] {
    let last: Vec<Option<u64>> = amounts.rev().take(HOUR).collect();
    let known: Vec<u64> = last.iter().flatten().copied().collect();
    let told = |amount: Option<u64>| amount.map_or_else(|| "?".to_owned(), |amount| format!("{amount} {unit}"));
    let mean = known.iter().sum::<u64>().checked_div(known.len() as u64);
    [what.to_owned(), told(last.first().copied().flatten()), told(mean), told(known.iter().max().copied())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_hour_counts_and_what_is_unknown_does_not() {
        let old = std::iter::repeat_n(Some(900), 10);
        let amounts = old.chain(std::iter::repeat_n(Some(100), 58)).chain([None, Some(160)]).collect::<Vec<_>>();
        assert_eq!(row("memory", "MiB", amounts.into_iter()), ["memory", "160 MiB", "101 MiB", "160 MiB"]);
        assert_eq!(row("processor", "m", [None].into_iter()), ["processor", "?", "?", "?"]);
    }
}

//! `releases…`: what ran, what runs, and the way back.

use clap::Args;
use reqwest::Method;

use super::target::{AppOption, Target};
use crate::api::release::{AppChange, Release, UpgradePlan};
use crate::client::Client;
use crate::client::error::Error;
use crate::client::http::Api;
use crate::client::output::{table, time};

/// Arguments of `releases`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir releases
  gigalixir releases my-app --json | jq '.[0].sha'")]
pub struct List {
    #[command(flatten)]
    target: Target,
}

/// Arguments of `releases:rollback`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir releases:rollback
  gigalixir releases:rollback 12
  gigalixir releases:rollback --version 12
  gigalixir releases:rollback --hot
  gigalixir rollback my-app --rollback_id=2fbf5dd5-b920-4f2c-aeea-ebde333ee1e6")]
pub struct Rollback {
    #[command(flatten)]
    app: AppOption,
    /// The release's number, as -r takes it; what is no number is the app
    #[arg(value_name = "N", num_args = 0..=2)]
    words: Vec<String>,
    /// The release to run again [default: the one before the live one]
    #[arg(short = 'r', long, value_name = "N", conflicts_with = "rollback_id")]
    version: Option<String>,
    /// The release to run again, by its id
    #[arg(long, alias = "rollback_id", value_name = "ID")]
    rollback_id: Option<String>,
    /// In the running nodes, without a restart
    #[arg(long)]
    hot: bool,
    /// With a restart, if that cannot be done
    #[arg(long, requires = "hot")]
    or_restart: bool,
}

/// Arguments of `releases:upgrade-plan`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir releases:upgrade-plan 7 8
  gigalixir releases:upgrade-plan live 6 --json | jq .refusals")]
pub struct Plan {
    /// The release that runs: its number, its id or `live`
    #[arg(value_name = "FROM")]
    from: String,
    /// The release that shall run
    #[arg(value_name = "TO")]
    to: String,
    #[command(flatten)]
    app: AppOption,
}

/// Lists the releases.
pub async fn list(client: &Client, args: List) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    let api = client.api()?;
    let answer = api.get(&["api", "apps", &name, "releases"]).await?;
    client.output.result(&answer.data, || {
        let releases: Vec<Release> = answer.read(&api)?;
        if releases.is_empty() {
            client.output.hint(format!("{name} has no releases yet: `git push gigalixir HEAD:main` makes the first"));
            return Ok(String::new());
        }
        let header = ["RELEASE", "STATE", "WHEN", "WHO", "COMMIT", "WHAT", "ROLLBACK ID"];
        Ok(table(header, releases.into_iter().map(row)))
    })
}

fn row(release: Release) -> [String; 7] {
    let hot = if release.hot.iter().any(|node| node.state == "changed") { " (hot)" } else { "" };
    [
        format!("v{}{hot}", release.version),
        release.state,
        time(&release.created_at),
        release.created_by,
        release.sha.as_deref().unwrap_or("-").chars().take(7).collect(),
        release.summary,
        release.rollback_id,
    ]
}

/// Tells how one release, running, would become another.
pub async fn upgrade_plan(client: &Client, args: Plan) -> Result<(), Error> {
    let name = args.app.resolve(client, None)?;
    let (from, to) = (checked(&args.from)?, checked(&args.to)?);
    let api = client.api()?;
    let path = ["api", "apps", &name, "releases", &from, "upgrade-plan", &to];
    let answer = api.get(&path).await?;
    client.output.result(&answer.data, || Ok(explained(answer.read(&api)?)))
}

fn explained(plan: UpgradePlan) -> String {
    let (from, to) = (&plan.from, &plan.to);
    let mut lines = match (plan.possible, plan.undoable) {
        (true, true) => vec![format!("{from} can become {to} in running nodes, and go back.")],
        (true, false) => vec![format!("{from} can become {to} in running nodes; the way back is a restart.")],
        (false, _) => vec![format!("{from} cannot become {to} in running nodes:")],
    };
    for refusal in plan.refusals {
        lines.push(format!("  * {}", refusal.text));
        lines.push(format!("    {}", refusal.fix));
    }
    lines.extend(plan.apps.into_iter().flat_map(changes));
    lines.extend(plan.notes.into_iter().map(|note| format!("Note: {note}")));
    lines.join("\n")
}

fn changes(app: AppChange) -> Vec<String> {
    let dash = || "-".to_owned();
    let head =
        format!("{} {} -> {} ({})", app.name, app.from.unwrap_or_else(dash), app.to.unwrap_or_else(dash), app.appup);
    let module = |module: crate::api::release::ModuleChange| {
        let name = module.name.strip_prefix("Elixir.").unwrap_or(&module.name).to_owned();
        format!("    {:8} {name} ({})", module.change, module.kind)
    };
    [head].into_iter().chain(app.modules.into_iter().map(module)).collect()
}

/// Makes a new release that runs what an earlier one ran.
pub async fn rollback(client: &Client, args: Rollback) -> Result<(), Error> {
    let (app, number) = sort_words(&args.words)?;
    let name = args.app.resolve(client, app)?;
    let version = match (args.version, number) {
        (Some(_), Some(_)) => return Err(Error::usage("two releases are named")),
        (version, number) => version.or(number.map(str::to_owned)),
    };
    if version.is_some() && args.rollback_id.is_some() {
        return Err(Error::usage("two releases are named"));
    }
    let api = client.api()?;
    let (segment, shown) = match (version, args.rollback_id) {
        (Some(version), _) => {
            let number = version.strip_prefix('v').unwrap_or(&version).to_owned();
            (checked(&number)?, format!("v{number}"))
        }
        (None, Some(id)) => (checked(&id)?, id),
        (None, None) => {
            let previous = previous(&api, &name).await?;
            (previous.to_string(), format!("v{previous}"))
        }
    };
    let path = ["api", "apps", &name, "releases", &segment, "rollback"];
    let wishes = [("hot", args.hot), ("or_restart", args.or_restart)];
    let query: Vec<_> = wishes.into_iter().filter(|(_, wished)| *wished).map(|(name, _)| (name, "true")).collect();
    let doing = format!("Rolling {name} back to {shown} …");
    let answer = client.patiently(&name, doing, api.send_empty(Method::POST, &path, &query)).await?;
    client.output.status(format!("Rolled {name} back to {shown}."));
    client.output.result(&answer.data, || Ok(String::new()))
}

/// Tells a release's number from the app's name, which begins with a letter.
fn sort_words(words: &[String]) -> Result<(Option<&str>, Option<&str>), Error> {
    let (numbers, apps): (Vec<&str>, Vec<&str>) =
        words.iter().map(String::as_str).partition(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    match (&apps[..], &numbers[..]) {
        ([_, _, ..], _) => Err(Error::usage(format!("two apps are named, `{}` and `{}`", apps[0], apps[1]))),
        (_, [_, _, ..]) => Err(Error::usage("two releases are named")),
        _ => Ok((apps.first().copied(), numbers.first().copied())),
    }
}

async fn previous(api: &Api, name: &str) -> Result<u32, Error> {
    let releases: Vec<Release> = api.get(&["api", "apps", name, "releases"]).await?.read(api)?;
    let before = before_live(&releases).ok_or_else(|| {
        Error::failed(format!("{name} has no earlier release to roll back to")).hint("`gigalixir releases` lists them")
    })?;
    Ok(before.version)
}

/// The newest release that ran before the live one; releases are newest first. One that failed never ran, one without
/// code had nothing to run.
fn before_live(releases: &[Release]) -> Option<&Release> {
    let live = releases.iter().position(|release| release.state == "live").unwrap_or_default();
    releases.iter().skip(live + 1).find(|release| release.state != "failed" && release.sha.is_some())
}

fn checked(id: &str) -> Result<String, Error> {
    let ok = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if ok { Ok(id.to_owned()) } else { Err(Error::usage("that is neither a release's number nor its id")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn releases(states: &[&str]) -> Vec<Release> {
        let newest = u32::try_from(states.len()).unwrap();
        let numbered = (1..=newest).rev().zip(states);
        numbered
            .map(|(version, state)| Release {
                version,
                rollback_id: String::new(),
                sha: Some("77f6c2952129ffecccc4e56ae6b27bba1e65a1e3".to_owned()),
                summary: String::new(),
                created_by: String::new(),
                created_at: String::new(),
                customer_app_name: None,
                customer_app_version: None,
                state: (*state).to_owned(),
                slug_url: String::new(),
                hot: Vec::new(),
            })
            .collect()
    }

    #[test]
    fn a_number_is_no_app() {
        let sorted = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            sort_words(&words).map(|(app, number)| (app.map(str::to_owned), number.map(str::to_owned))).ok()
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(sorted(&[]), Some((None, None)));
        assert_eq!(sorted(&["12"]), Some((None, text("12"))));
        assert_eq!(sorted(&["my-app"]), Some((text("my-app"), None)));
        assert_eq!(sorted(&["my-app", "12"]), Some((text("my-app"), text("12"))));
        assert_eq!(sorted(&["a", "b"]), None);
        assert_eq!(sorted(&["1", "2"]), None);
    }

    #[test]
    fn back_means_behind_what_is_live() {
        let before = |states: &[&str]| before_live(&releases(states)).map(|release| release.version);
        assert_eq!(before(&["live", "superseded", "superseded"]), Some(2));
        assert_eq!(before(&["failed", "live", "failed", "superseded"]), Some(1));
        assert_eq!(before(&["live"]), None);
        assert_eq!(before(&["live", "failed"]), None);
        assert_eq!(before(&[]), None);
    }
}

//! `releases…`: what ran, what runs, and the way back.

use clap::Args;
use reqwest::Method;

use super::target::Target;
use crate::api::release::Release;
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
  gigalixir releases:rollback --version 12
  gigalixir rollback my-app --rollback_id=2fbf5dd5-b920-4f2c-aeea-ebde333ee1e6")]
pub struct Rollback {
    #[command(flatten)]
    target: Target,
    /// The release to run again [default: the one before the live one]
    #[arg(short = 'r', long, value_name = "N", conflicts_with = "rollback_id")]
    version: Option<String>,
    /// The release to run again, by its id
    #[arg(long, alias = "rollback_id", value_name = "ID")]
    rollback_id: Option<String>,
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
    [
        format!("v{}", release.version),
        release.state,
        time(&release.created_at),
        release.created_by,
        release.sha.as_deref().unwrap_or("-").chars().take(7).collect(),
        release.summary,
        release.rollback_id,
    ]
}

/// Makes a new release that runs what an earlier one ran.
pub async fn rollback(client: &Client, args: Rollback) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    let api = client.api()?;
    let (segment, shown) = match (args.version, args.rollback_id) {
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
    client.output.waiting(format!("Rolling {name} back to {shown} …"));
    let path = ["api", "apps", &name, "releases", &segment, "rollback"];
    let answer = api.send_empty(Method::POST, &path, &[]).await?;
    client.output.status(format!("Rolled {name} back to {shown}."));
    client.output.result(&answer.data, || Ok(String::new()))
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
            })
            .collect()
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

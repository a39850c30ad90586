//! `ps…`: an app's replicas.

use std::collections::BTreeMap;

use clap::Args;
use reqwest::Method;

use super::target::{AppOption, Target};
use crate::api::app::{self, Pod};
use crate::client::Client;
use crate::client::error::Error;
use crate::client::output::{headline, table, time};

/// Arguments of `ps`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir ps
  gigalixir ps -a my-app --json")]
pub struct Status {
    #[command(flatten)]
    target: Target,
}

/// Arguments of `ps:scale`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir ps:scale web=2 worker=1
  gigalixir ps:scale --replicas 2 --size 0.6
  gigalixir ps:scale web=0
  gigalixir scale my-app --replicas=2 --size=0.6")]
pub struct Scale {
    #[command(flatten)]
    app: AppOption,
    /// How many replicas of each process type; one word without `=` is the app
    #[arg(value_name = "TYPE=N")]
    words: Vec<String>,
    /// How many replicas of the web process
    #[arg(short, long)]
    replicas: Option<u32>,
    /// How large each replica is; 1 is 1 GB of memory
    #[arg(short, long)]
    size: Option<f64>,
}

/// Arguments of `ps:restart`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir ps:restart")]
pub struct Restart {
    #[command(flatten)]
    target: Target,
}

/// Arguments of `ps:kill`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir ps
  gigalixir ps:kill --pod my-app-web-12-k7x2p
  gigalixir ps:kill --replica web.2")]
pub struct Kill {
    #[command(flatten)]
    target: Target,
    /// The replica: its name, or `web.2`
    #[arg(short, long, visible_alias = "replica", value_name = "NAME")]
    pod: String,
    /// Accepted for old scripts: nothing is asked anyway
    #[arg(short, long, hide = true)]
    yes: bool,
}

/// Shows the replicas.
pub async fn status(client: &Client, args: Status) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    let api = client.api()?;
    let answer = api.get(&["api", "apps", &name, "status"]).await?;
    client.output.result(&answer.data, || {
        let status: app::Status = answer.read(&api)?;
        let head = headline(&format!(
            "{}: {} of {} replicas running, size {}, {}",
            status.unique_name, status.replicas_running, status.replicas_desired, status.size, status.stack
        ));
        advise(client, &status);
        if status.pods.is_empty() {
            return Ok(head);
        }
        let header = ["NAME", "PROCESS", "STATUS", "RELEASE", "COMMIT", "RESTARTS", "SINCE", "LAST END"];
        Ok(format!("{head}\n\n{}{}", table(header, status.pods.iter().map(row)), nodes(&status.pods)))
    })
}

/// What to do where less runs than should.
fn advise(client: &Client, status: &app::Status) {
    let name = &status.unique_name;
    if status.replicas_desired == 0 {
        client.output.hint(format!("`gigalixir ps:scale web=1 -a {name}` starts a replica"));
    } else if status.pods.is_empty() {
        client.output.hint("nothing runs: `git push gigalixir HEAD:main` deploys, `gigalixir releases` tells what was");
    } else if let Some(pod) = status.pods.iter().find(|pod| pod.status == "Crashed") {
        client.output.hint(format!("`gigalixir logs -t -a {name} --replica {}` tells what it said last", pod.name));
    }
}

/// Erlang nodes and whom they see; nothing for apps without.
fn nodes(pods: &[Pod]) -> String {
    let nodes = pods.iter().filter(|pod| pod.node.is_some() || pod.cluster.is_some());
    let rows: Vec<_> = nodes
        .map(|pod| {
            let sees = pod.sees.as_deref().map(|sees| if sees.is_empty() { "nobody".into() } else { sees.join(" ") });
            let node = pod.node.clone().unwrap_or_else(|| "?".into());
            let runs = pod.runs.clone().unwrap_or_else(|| "-".into());
            [pod.name.clone(), node, runs, sees.unwrap_or_else(|| "?".into()), pod.cluster.clone().unwrap_or_default()]
        })
        .collect();
    match rows.is_empty() {
        true => String::new(),
        false => format!("\n\n{}", table(["NAME", "NODE", "RUNS", "SEES", "TROUBLE"], rows)),
    }
}

/// What the replica can be called in other commands.
fn process(pod: &Pod) -> String {
    if pod.index == 0 { pod.process.clone() } else { format!("{}.{}", pod.process, pod.index) }
}

fn row(pod: &Pod) -> [String; 8] {
    let last = pod.last_state.terminated.as_ref();
    let last = last.map(|end| format!("{} (exit code {}) {}", end.reason, end.exit_code, time(&end.finished_at)));
    [
        pod.name.clone(),
        process(pod),
        pod.status.clone(),
        format!("v{}", pod.version),
        pod.sha.as_deref().unwrap_or("-").chars().take(7).collect(),
        pod.restarts.to_string(),
        pod.started_at.as_deref().map(time).unwrap_or_default(),
        last.unwrap_or_default(),
    ]
}

/// Sets the formation and waits until it stands.
pub async fn scale(client: &Client, args: Scale) -> Result<(), Error> {
    let (app, formation) = sort_words(&args.words)?;
    if formation.is_empty() && args.replicas.is_none() && args.size.is_none() {
        return Err(Error::usage("nothing to scale is named")
            .hint("`gigalixir ps:scale web=2 worker=1` sets replicas, `--size 0.6` their memory in GB"));
    }
    if args.replicas.is_some() && formation.contains_key("web") {
        return Err(Error::usage("`--replicas` and `web=N` both say how many web replicas there should be"));
    }
    let name = args.app.resolve(client, app)?;
    let body = app::Scale { replicas: args.replicas, size: args.size, formation };
    let what = describe(&body);
    let (api, path) = (client.api()?, ["api", "apps", &name, "scale"]);
    let doing = format!("Scaling {name} to {what} …");
    let answer = client.patiently(&name, doing, api.send(Method::PUT, &path, &body)).await?;
    client.output.status(format!("Scaled {name} to {what}."));
    client.output.result(&answer.data, || Ok(String::new()))
}

/// Tells process types from the app's name, which has no `=`.
fn sort_words(words: &[String]) -> Result<(Option<&str>, BTreeMap<String, u32>), Error> {
    let (mut app, mut formation) = (None, BTreeMap::new());
    for word in words {
        let Some((process, count)) = word.split_once('=') else {
            if app.replace(word.as_str()).is_some() {
                return Err(Error::usage(format!("`{word}` is neither TYPE=N nor the only app named")));
            }
            continue;
        };
        let number = count.parse().ok().filter(|_| !process.is_empty());
        let number = number.ok_or_else(|| Error::usage(format!("`{word}` does not read TYPE=N, such as `web=2`")))?;
        if formation.insert(process.to_owned(), number).is_some() {
            return Err(Error::usage(format!("`{process}` is given twice")));
        }
    }
    Ok((app, formation))
}

fn describe(scale: &app::Scale) -> String {
    let mut parts: Vec<_> = scale.formation.iter().map(|(process, count)| format!("{process}={count}")).collect();
    parts.extend(scale.replicas.map(|replicas| format!("web={replicas}")));
    parts.extend(scale.size.map(|size| format!("size {size}")));
    parts.join(", ")
}

/// Restarts all replicas, new beside old, and waits for the new ones.
pub async fn restart(client: &Client, args: Restart) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    let (api, path) = (client.api()?, ["api", "apps", &name, "restart"]);
    let doing = format!("Restarting {name} …");
    let answer = client.patiently(&name, doing, api.send_empty(Method::PUT, &path, &[])).await?;
    client.output.status(format!("Restarted {name}."));
    client.output.result(&answer.data, || Ok(String::new()))
}

/// Ends one replica, for a new one.
pub async fn kill(client: &Client, args: Kill) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    let answer = client.api()?.send_empty(Method::DELETE, &["api", "apps", &name, "pods", &args.pod], &[]).await?;
    client.output.status(format!("Killed {}; a new replica takes its place.", args.pod));
    client.output.result(&answer.data, || Ok(String::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn both_spellings_of_scale() {
        let today = words(&["web=2", "worker=0"]);
        let (app, formation) = sort_words(&today).unwrap();
        assert_eq!((app, formation["web"], formation["worker"]), (None, 2, 0));
        let seed = words(&["my-app"]);
        assert_eq!(sort_words(&seed).unwrap(), (Some("my-app"), BTreeMap::new()));
        let mixed = words(&["web=1", "my-app"]);
        assert_eq!(sort_words(&mixed).unwrap().0, Some("my-app"));
    }

    #[test]
    fn formations_that_mean_nothing() {
        for wrong in [&["web=two"][..], &["=2"], &["web=-1"], &["web="], &["a", "b"], &["web=1", "web=2"]] {
            assert!(sort_words(&words(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_crash_is_told() {
        let pod = r#"{"name": "web-1", "process": "web", "sha": "77f6c2952129", "status": "Crashed", "version": 3,
            "restarts": 2, "started_at": null,
            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-01-02T03:04:05Z"}}}"#;
        let row = row(&serde_json::from_str(pod).unwrap());
        assert_eq!(row[4], "77f6c29");
        assert_eq!(row[7], "OOMKilled (exit code 137) 2026-01-02 03:04:05Z");
    }
}

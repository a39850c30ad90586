//! `run`: a command in a fresh replica of the live release. Attached, it says what the job says and ends as it ends; at a
//! terminal the command has that terminal, as a shell or a console needs it.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use reqwest::Method;

use super::target::AppOption;
use crate::api::job::{Attend, Job, JobLogQuery, Run};
use crate::client::error::{Error, Kind};
use crate::client::http::Api;
use crate::client::{Client, console, terminal};

/// The first pause before a job is looked at once more; each is twice as long as the one before, up to the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir run mix ecto.migrate
  gigalixir run bash
  gigalixir run bin/my_app eval 'MyApp.Release.migrate()'
  gigalixir run --detach --timeout 3600 --size 1 -- mix import --all
  gigalixir run -a my-app --env VERBOSE=1 -- sh -c 'env | sort'
At a terminal the command has it: it can ask, be typed to and interrupted, and what it shows is kept nowhere. Without one
(or with -T) what it says goes into the app's log and stays with the job (`jobs:logs`).
The exit code is the command's own; 124 if its time was up, 137 if it was killed for its memory.")]
pub struct Command {
    #[command(flatten)]
    app: AppOption,
    /// Return at once; `jobs` tells what became of it
    #[arg(short, long)]
    detach: bool,
    /// No terminal for the command even if there is one here: what it says is kept, as without
    #[arg(short = 'T', long)]
    no_terminal: bool,
    /// How large its replica is; 1 is 1 GB of memory [default: the app's size]
    #[arg(short, long)]
    size: Option<f64>,
    /// How long it may run [default: the platform's, usually 300, at a terminal 3600]
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// A variable over the app's config; may be given again
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs a command and, unless detached, follows it to its end.
pub async fn run(client: &Client, args: Command) -> Result<(), Error> {
    let name = args.app.resolve(client, None)?;
    let wish = Run {
        command: Some(args.command),
        size: args.size,
        timeout: args.timeout,
        env: variables(&args.env)?,
        ..Run::default()
    };
    let api = client.api()?;
    if let Some(terminal) = terminal::present()
        && !(args.detach || args.no_terminal || client.output.json)
    {
        let wish = Attend { run: wish, terminal: Some(terminal) };
        return attend(client, &api, &name, &wish).await;
    }
    let answer = api.send(Method::POST, &["api", "apps", &name, "run"], &wish).await?;
    let job: Job = answer.read(&api)?;
    let id = job.id.to_string();
    if args.detach {
        client.output.status(format!("Job {id} is on its way."));
        client
            .output
            .hint(format!("`gigalixir jobs:logs {id} -a {name}` tells what it says, `jobs:stop {id}` ends it"));
        return client.output.result(&answer.data, || Ok(String::new()));
    }
    if job.state == "queued" {
        client.output.waiting("Other jobs of this app run first; waiting …");
    }
    let followed = tokio::select! {
        followed = follow(client, &api, &name, &id) => followed,
        _ = tokio::signal::ctrl_c() => {
            return Err(Error::new(Kind::Interrupted, format!("interrupted; job {id} runs on"))
                .hint(format!("`gigalixir jobs:stop {id} -a {name}` ends it, `jobs:logs {id}` follows it again")));
        }
    };
    let (job, data) = followed.map_err(|error| match error.kind {
        Kind::Unreachable => {
            error.hint(format!("the job runs on: `gigalixir jobs:logs {id} -a {name}` follows it again"))
        }
        _ => error,
    })?;
    if client.output.json {
        client.output.result(&data, || Ok(String::new()))?;
    }
    finish(client, &job)
}

/// The job's end as this command's.
fn finish(client: &Client, job: &Job) -> Result<(), Error> {
    let (code, text) = ending(job);
    if let Some(text) = text {
        client.output.error(&Error::failed(text));
    }
    if code == 0 { Ok(()) } else { Err(Error::new(Kind::Program(code), "the command failed")) }
}

/// Gives the command this terminal, until it ends.
async fn attend(client: &Client, api: &Api, app: &str, wish: &Attend) -> Result<(), Error> {
    let begun = |job| client.output.waiting(format!("Starting job {job} …"));
    let (id, told) = console::attend(client, app, wish, begun).await?;
    let job: Job = api.get(&["api", "apps", app, "jobs", &id.to_string()]).await?.read(api)?;
    // It has not ended if the server is being stopped, or sent us away.
    if job.state == "ended" && job.outcome.as_deref() != Some("Stopped") {
        finish(client, &job)
    } else {
        console::finish(told)
    }
}

/// Says what the job says (not with `--json`) until it has ended.
async fn follow(client: &Client, api: &Api, app: &str, id: &str) -> Result<(Job, serde_json::Value), Error> {
    let yes = || Some("True".to_owned());
    let query = JobLogQuery { follow: yes(), plain: yes() };
    let mut stream = api.stream(&["api", "apps", app, "jobs", id, "logs"], &query).await?;
    while let Some(bytes) = stream.next().await? {
        if !client.output.json {
            client.output.raw(bytes.as_ref())?;
        }
    }
    // Its end was recorded before its last line was said, unless the server was stopped meanwhile.
    let mut pause = PAUSES.0;
    loop {
        let answer = api.get(&["api", "apps", app, "jobs", id]).await?;
        let job: Job = answer.read(api)?;
        if job.state == "ended" {
            return Ok((job, answer.data));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// The job's end as this command's: the exit code, and what is to be told where its own words do not say it all.
fn ending(job: &Job) -> (u8, Option<String>) {
    let code = job.exit_code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    match job.outcome.as_deref() {
        Some("Completed") => (0, None),
        Some("Error") => (code.max(1), None),
        Some("OOMKilled") => {
            let size = job.size;
            let text = format!("the command was killed for using more memory than its size, {size}; `--size` sets it");
            (code.max(1), Some(text))
        }
        Some("TimedOut") => {
            let limit = job.timeout;
            (124, Some(format!("the command was ended after {limit} s, as long as it may run; `--timeout` sets it")))
        }
        outcome => {
            let detail = job.detail.as_deref().map(|detail| format!(": {detail}")).unwrap_or_default();
            let outcome = outcome.unwrap_or("Unknown");
            (code.max(1), Some(format!("the command did not run to its end ({outcome}){detail}")))
        }
    }
}

fn variables(words: &[String]) -> Result<BTreeMap<String, String>, Error> {
    let pair = |word: &String| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Error::usage(format!("`{word}` does not read NAME=VALUE"))),
    };
    words.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(outcome: &str, code: Option<i32>) -> Job {
        let json = serde_json::json!({
            "id": 1, "kind": "run", "schedule": null, "command": "x", "version": 1, "size": 0.5, "timeout": 300,
            "state": "ended", "outcome": outcome, "exit_code": code, "detail": null, "replica": null,
            "created_by": "a@b.c", "created_at": "", "started_at": null, "ended_at": null,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_jobs_end_is_the_commands() {
        for (outcome, code, expected, told) in [
            ("Completed", Some(0), 0, false),
            ("Error", Some(3), 3, false),
            ("Error", Some(255), 255, false),
            ("OOMKilled", Some(137), 137, true),
            ("TimedOut", Some(143), 124, true),
            ("TimedOut", Some(0), 124, true),
            ("Stopped", None, 1, true),
            ("Lost", Some(137), 137, true),
        ] {
            let (exit, text) = ending(&job(outcome, code));
            assert_eq!((exit, text.is_some()), (expected, told), "{outcome}");
        }
    }

    #[test]
    fn variables_are_pairs() {
        let words = |words: &[&str]| variables(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(
            words(&["A=b=c", "B="]).unwrap(),
            BTreeMap::from([("A".into(), "b=c".into()), ("B".into(), "".into())])
        );
        assert!(words(&["A"]).is_err() && words(&["=b"]).is_err());
    }
}

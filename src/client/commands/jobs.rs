//! `jobs…`: what became of commands that ran in replicas of their own, whoever asked for them.

use clap::Args;
use reqwest::Method;

use super::last_word;
use super::target::{AppOption, Target};
use crate::api::job::{Job, JobLogQuery};
use crate::client::Client;
use crate::client::error::Error;
use crate::client::output::{fields, table, time};

/// Arguments of `jobs`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir jobs
  gigalixir jobs -a my-app --json")]
pub struct List {
    #[command(flatten)]
    target: Target,
}

/// Arguments of `jobs:info` and `jobs:stop`.
#[derive(Debug, Args)]
pub struct One {
    #[command(flatten)]
    app: AppOption,
    /// The job's number, as `jobs` tells it
    #[arg(required = true, num_args = 1..=2, value_name = "JOB")]
    words: Vec<String>,
}

/// Arguments of `jobs:logs`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir jobs:logs 12
  gigalixir jobs:logs 12 --no-tail --plain")]
pub struct Logs {
    #[command(flatten)]
    one: One,
    /// Only what there is by now
    #[arg(short = 't', long, alias = "no_tail")]
    no_tail: bool,
    /// Only the job's own words, without times and names
    #[arg(long)]
    plain: bool,
}

/// Lists jobs, newest first.
pub async fn list(client: &Client, args: List) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    let api = client.api()?;
    let answer = api.get(&["api", "apps", &name, "jobs"]).await?;
    client.output.result(&answer.data, || {
        let jobs: Vec<Job> = answer.read(&api)?;
        if jobs.is_empty() {
            client.output.hint(format!("{name} has run no jobs: `gigalixir run COMMAND` runs one"));
            return Ok(String::new());
        }
        let header = ["JOB", "KIND", "STATE", "EXIT", "RELEASE", "ASKED FOR", "BY", "COMMAND"];
        Ok(table(header, jobs.iter().map(row)))
    })
}

fn row(job: &Job) -> [String; 8] {
    let kind = job.schedule.as_ref().map_or_else(|| job.kind.clone(), |schedule| format!("{} {schedule}", job.kind));
    [
        job.id.to_string(),
        kind,
        job.outcome.clone().unwrap_or_else(|| job.state.clone()),
        job.exit_code.map(|code| code.to_string()).unwrap_or_default(),
        format!("v{}", job.version),
        time(&job.created_at),
        job.created_by.clone(),
        job.command.clone(),
    ]
}

/// Tells all that is known of one.
pub async fn info(client: &Client, args: One) -> Result<(), Error> {
    let (name, id) = args.resolve(client)?;
    let api = client.api()?;
    let answer = api.get(&["api", "apps", &name, "jobs", &id]).await?;
    client.output.result(&answer.data, || {
        let job: Job = answer.read(&api)?;
        let when = |at: &Option<String>| at.as_deref().map(time).unwrap_or_default();
        Ok(fields([
            ("Job", job.id.to_string()),
            ("Kind", job.kind.clone()),
            ("Schedule", job.schedule.clone().unwrap_or_default()),
            ("Command", job.command.clone()),
            ("Release", format!("v{}", job.version)),
            ("Size", job.size.to_string()),
            ("Time limit", format!("{} s", job.timeout)),
            ("State", job.outcome.clone().unwrap_or_else(|| job.state.clone())),
            ("Exit code", job.exit_code.map(|code| code.to_string()).unwrap_or_default()),
            ("Detail", job.detail.clone().unwrap_or_default()),
            ("Replica", job.replica.clone().unwrap_or_default()),
            ("Asked for", format!("{} by {}", time(&job.created_at), job.created_by)),
            ("Started", when(&job.started_at)),
            ("Ended", when(&job.ended_at)),
        ]))
    })
}

/// Says what a job said, and what it says until its end.
pub async fn logs(client: &Client, args: Logs) -> Result<(), Error> {
    let (name, id) = args.one.resolve(client)?;
    let flag = |on: bool| Some(if on { "True" } else { "False" }.to_owned());
    let query = JobLogQuery { follow: flag(!args.no_tail), plain: flag(args.plain) };
    let mut stream = client.api()?.stream(&["api", "apps", &name, "jobs", &id, "logs"], &query).await?;
    super::logs::copy(client, &mut stream).await
}

/// Ends one that waits or runs.
pub async fn stop(client: &Client, args: One) -> Result<(), Error> {
    let (name, id) = args.resolve(client)?;
    let answer = client.api()?.send_empty(Method::DELETE, &["api", "apps", &name, "jobs", &id], &[]).await?;
    client.output.status(format!("Job {id} is being stopped."));
    client.output.result(&answer.data, || Ok(String::new()))
}

impl One {
    fn resolve(&self, client: &Client) -> Result<(String, String), Error> {
        let (app, id) = last_word(&self.words)?;
        if id.parse::<i64>().is_err() {
            return Err(Error::usage(format!("`{id}` is no job's number")).hint("`gigalixir jobs` lists them"));
        }
        Ok((self.app.resolve(client, app)?, id.to_owned()))
    }
}

//! `jobs:schedule…`: commands that run again and again.

use clap::Args;
use reqwest::Method;

use super::last_word;
use super::target::{AppOption, Target};
use crate::api::job::{AddSchedule, Schedule};
use crate::client::Client;
use crate::client::error::Error;
use crate::client::output::{table, time};

/// Arguments of `jobs:schedule`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir jobs:schedule '0 3 * * *' mix report
  gigalixir jobs:schedule --name clean --tz Europe/Rome --catch-up '@daily' -- bin/my_app eval 'MyApp.clean()'
The pattern has five fields (minute, hour, day, month, weekday), or six with seconds in front. A time that summer time
leaves out is made up for right after; one that it repeats runs once.")]
pub struct Add {
    #[command(flatten)]
    app: AppOption,
    /// What it is called [default: schedule-1, schedule-2 …]
    #[arg(short, long)]
    name: Option<String>,
    /// The time zone of the pattern, such as Europe/Rome [default: UTC]
    #[arg(long, value_name = "ZONE")]
    tz: Option<String>,
    /// When it is due while the run before has not ended: skip, queue or allow [default: skip]
    #[arg(long, value_name = "POLICY")]
    overlap: Option<String>,
    /// Run once for runs that were missed while the server was not there
    #[arg(long)]
    catch_up: bool,
    /// How large its replicas are; 1 is 1 GB of memory [default: the app's size]
    #[arg(short, long)]
    size: Option<f64>,
    /// How long each run may take [default: the platform's, usually 300]
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// When it is due
    #[arg(value_name = "PATTERN")]
    schedule: String,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Arguments of `jobs:schedules`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir jobs:schedules")]
pub struct List {
    #[command(flatten)]
    target: Target,
}

/// Arguments of `jobs:unschedule`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir jobs:unschedule schedule-1")]
pub struct Remove {
    #[command(flatten)]
    app: AppOption,
    /// The schedule's name, as `jobs:schedules` tells it
    #[arg(required = true, num_args = 1..=2, value_name = "NAME")]
    words: Vec<String>,
}

/// Makes a schedule.
pub async fn add(client: &Client, args: Add) -> Result<(), Error> {
    let name = args.app.resolve(client, None)?;
    let Add { schedule, command, name: called, tz, overlap, catch_up, size, timeout, .. } = args;
    let wish = AddSchedule { schedule, command, name: called, tz, overlap, catch_up, size, timeout };
    let api = client.api()?;
    let answer = api.send(Method::POST, &["api", "apps", &name, "schedules"], &wish).await?;
    let made: Schedule = answer.read(&api)?;
    let next = made.next_at.as_deref().map(time).unwrap_or_default();
    client.output.status(format!("Scheduled as {}; it is due next at {next}.", made.name));
    client.output.result(&answer.data, || Ok(String::new()))
}

/// Lists schedules, by name.
pub async fn list(client: &Client, args: List) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    let api = client.api()?;
    let answer = api.get(&["api", "apps", &name, "schedules"]).await?;
    client.output.result(&answer.data, || {
        let schedules: Vec<Schedule> = answer.read(&api)?;
        if schedules.is_empty() {
            client
                .output
                .hint(format!("{name} has no schedules: `gigalixir jobs:schedule '0 3 * * *' COMMAND` makes one"));
            return Ok(String::new());
        }
        let header = ["NAME", "PATTERN", "ZONE", "NEXT", "LAST", "MISSED", "COMMAND"];
        Ok(table(header, schedules.iter().map(row)))
    })
}

fn row(schedule: &Schedule) -> [String; 7] {
    let last = schedule.last.as_ref();
    let last = last.map(|job| format!("{} {}", time(&job.created_at), job.outcome.as_ref().unwrap_or(&job.state)));
    [
        schedule.name.clone(),
        schedule.schedule.clone(),
        schedule.tz.clone(),
        schedule.next_at.as_deref().map_or_else(|| "never".to_owned(), time),
        last.unwrap_or_default(),
        schedule.missed.to_string(),
        schedule.command.clone(),
    ]
}

/// Removes a schedule.
pub async fn remove(client: &Client, args: Remove) -> Result<(), Error> {
    let (app, schedule) = last_word(&args.words)?;
    let name = args.app.resolve(client, app)?;
    let path = ["api", "apps", &name, "schedules", schedule];
    let answer = client.api()?.send_empty(Method::DELETE, &path, &[]).await?;
    client.output.status(format!("Removed the schedule {schedule}."));
    client.output.result(&answer.data, || Ok(String::new()))
}

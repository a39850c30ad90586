//! Jobs and schedules: `/api/apps/A/run`, `/api/apps/A/jobs…`, `/api/apps/A/schedules…`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `POST /api/apps/A/run`: today's form has `command`, the 2017 form `module` and `function` (which may come by `PUT`).
/// The answer is a [`Job`].
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Run {
    /// The program and its arguments; no shell reads them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// 2017: an Elixir module, without its `Elixir.`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// 2017: the function of it, without arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// Ours: how large its replica is; the app's size if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<f64>,
    /// Ours: how many seconds it may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// Ours: variables over the app's config.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// The first message of `GET /api/apps/A/run`, a WebSocket: a job whose program is attended to at a terminal. Its answer
/// begins with the job's number; all else is as in [`inside`](super::inside).
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Attend {
    /// The job.
    #[serde(flatten)]
    pub run: Run,
    /// The terminal; without one, three pipes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<super::inside::Terminal>,
}

/// `GET /api/apps/A/jobs` (a list, newest first) and `GET /api/apps/A/jobs/ID`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// Its number.
    pub id: i64,
    /// `run`, `cron`, `release` or `flame`.
    pub kind: String,
    /// The schedule it is of.
    pub schedule: Option<String>,
    /// What runs, as it would be typed.
    pub command: String,
    /// The release it runs with.
    pub version: u32,
    /// 1.0 is 1 GB of memory.
    pub size: f64,
    /// Seconds that it may run.
    pub timeout: u64,
    /// `queued`, `running` or `ended`.
    pub state: String,
    /// Once it has ended: `Completed`, `Error`, `OOMKilled`, `TimedOut`, `Lost`, `Stopped`, `NotStarted`, `Missed` or
    /// `Skipped`.
    pub outcome: Option<String>,
    /// As a shell counts, if it ran.
    pub exit_code: Option<i32>,
    /// What else there is to say.
    pub detail: Option<String>,
    /// While it runs, the replica's name in `ps` and in the log.
    pub replica: Option<String>,
    /// The address of who asked.
    pub created_by: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub started_at: Option<String>,
    /// RFC 3339.
    pub ended_at: Option<String>,
}

/// The query of `GET /api/apps/A/jobs/ID/logs`, which answers plain text, oldest line first.
#[cfg_attr(feature = "server", derive(utoipa::IntoParams))]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct JobLogQuery {
    /// `True`: go on until the job has ended. Otherwise what there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow: Option<String>,
    /// `True`: only what the job itself said, without time and name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain: Option<String>,
}

/// `POST /api/apps/A/schedules`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AddSchedule {
    /// The pattern: five fields, or six with seconds in front.
    pub schedule: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// What it is called; the platform finds a name if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The pattern's time zone; UTC if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tz: Option<String>,
    /// `skip` (if not given), `queue` or `allow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<String>,
    /// Whether a missed run is made up for, once.
    #[serde(default)]
    pub catch_up: bool,
    /// How large its replicas are; the app's size if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<f64>,
    /// How many seconds a job of it may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}

/// `GET /api/apps/A/schedules` (a list, by name), and the answer to `POST`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Schedule {
    /// Unique within the app; `app.json/…` if the code names it.
    pub name: String,
    /// The pattern.
    pub schedule: String,
    /// Its time zone.
    pub tz: String,
    /// What runs, as it would be typed.
    pub command: String,
    /// `skip`, `queue` or `allow`.
    pub overlap: String,
    /// Whether a missed run is made up for, once.
    pub catch_up: bool,
    /// `person` or `app.json`.
    pub source: String,
    /// RFC 3339; absent if it is never due again.
    pub next_at: Option<String>,
    /// Its newest job, missed and skipped ones included.
    pub last: Option<Job>,
    /// Runs that were missed since it was made.
    pub missed: u32,
    /// The address of who made it.
    pub created_by: String,
}

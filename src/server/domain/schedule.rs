use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AppId, Invalid, JobCommand, Size};

/// A schedule's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScheduleId(pub i64);

/// A command that runs again and again.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Its row.
    pub id: ScheduleId,
    /// Whose.
    pub app: AppId,
    /// What it says.
    pub plan: SchedulePlan,
    /// The size of its jobs' replicas; the app's own if not said.
    pub size: Option<Size>,
    /// How long a job of it may run, if other than the platform's default.
    pub limit: Option<Duration>,
    /// Whether it came with the code (`app.json`) and goes with it.
    pub of_code: bool,
    /// The address of who made it.
    pub by: String,
    /// Runs that were due up to then have been dealt with.
    pub seen_until: Timestamp,
    /// Runs that were missed since it was made.
    pub missed: u32,
}

/// What a schedule says: when, what, and what else holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedulePlan {
    /// Unique within the app.
    pub name: String,
    /// The pattern: five fields, or six with seconds in front.
    pub cron: String,
    /// The time zone in which the pattern is meant, by its IANA name.
    pub tz: String,
    /// What runs.
    pub command: JobCommand,
    /// What happens when it is due while the one before still runs.
    pub overlap: Overlap,
    /// Whether a missed run is made up for, once.
    pub catch_up: bool,
}

/// What happens when a run is due while the one before still runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// It is left out.
    #[default]
    Skip,
    /// It waits; one at most.
    Queue,
    /// It runs beside.
    Allow,
}

impl Overlap {
    /// As stored and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Queue => "queue",
            Self::Allow => "allow",
        }
    }

    /// From the wire and the store.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let known = [Self::Skip, Self::Queue, Self::Allow].into_iter().find(|policy| policy.as_str() == text);
        known.ok_or_else(|| Invalid::new("overlap", "should be skip, queue or allow"))
    }
}

impl SchedulePlan {
    /// Checks a name that a person gives: 1 to 40 of `a-z 0-9 - _`. Those of `app.json` have a `/`.
    pub fn check_name(name: &str) -> Result<(), Invalid> {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'_';
        match (1..=40).contains(&name.len()) && name.bytes().all(plain) {
            true => Ok(()),
            false => Err(Invalid::new("name", "should be 1 to 40 of a-z, 0-9, - and _")),
        }
    }
}

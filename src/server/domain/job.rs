use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AppId, Exit, ExitReason, Invalid, ProcessType, ReleaseVersion, Size};

/// A job's number, and the generation of its workload: unique on the platform, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub i64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One run of a command in a fresh replica, from the wish to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// Whose.
    pub app: AppId,
    /// What asked for it.
    pub kind: JobKind,
    /// The name of the schedule it is of.
    pub schedule: Option<String>,
    /// What runs.
    pub command: JobCommand,
    /// The release whose code and config it runs with.
    pub release: ReleaseVersion,
    /// How large its replica is.
    pub size: Size,
    /// How long it may run.
    pub limit: Duration,
    /// How far it is.
    pub state: JobState,
    /// The address of who asked.
    pub by: String,
    /// When it was asked for, or was due.
    pub created_at: Timestamp,
    /// When it was given to the runtime.
    pub started_at: Option<Timestamp>,
    /// What else there is to say, for people.
    pub detail: Option<String>,
    /// Its program is started by a person at a terminal, and the job ends with their visit.
    pub attended: bool,
}

/// What asks for jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    /// A person.
    Run,
    /// A schedule.
    Cron,
    /// A deploy: the release phase.
    Release,
    /// A replica of the app itself, which wants another of its kind to send work to (FLAME).
    Flame,
}

impl JobKind {
    const ALL: [Self; 4] = [Self::Run, Self::Cron, Self::Release, Self::Flame];

    /// As stored, on the wire, and as the process type of its replica.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Cron => "cron",
            Self::Release => "release",
            Self::Flame => "flame",
        }
    }

    /// From the store.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What a job runs: an argument vector that no shell reads, or a line for the shell inside the replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum JobCommand {
    /// Program and arguments.
    Words(Vec<String>),
    /// A line, as in a Procfile.
    Line(String),
}

impl JobCommand {
    /// Bytes that a command may have.
    const MAX_BYTES: usize = 32 * 1024;

    /// Checks an argument vector.
    pub fn words(words: Vec<String>) -> Result<Self, Invalid> {
        let refuse = |message: &str| Err(Invalid::new("command", message));
        if words.first().is_none_or(|program| program.is_empty()) {
            return refuse("can't be blank: a list of a program and its arguments");
        }
        if words.iter().any(|word| word.contains('\0')) {
            return refuse("has a NUL character");
        }
        if words.iter().map(|word| word.len() + 1).sum::<usize>() > Self::MAX_BYTES {
            return refuse("should be at most 32 kB");
        }
        Ok(Self::Words(words))
    }

    /// Checks a line.
    pub fn line(line: &str) -> Result<Self, Invalid> {
        match line.trim() {
            "" => Err(Invalid::new("command", "can't be blank")),
            line if line.contains('\0') || line.len() > Self::MAX_BYTES => {
                Err(Invalid::new("command", "should be at most 32 kB of text"))
            }
            line => Ok(Self::Line(line.to_owned())),
        }
    }
}

/// As a person would type it.
impl fmt::Display for JobCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Self::Line(line) => return f.write_str(line),
            Self::Words(words) => words,
        };
        let plain = |c: char| c.is_alphanumeric() || "-_=+:,./@%".contains(c);
        for (index, word) in words.iter().enumerate() {
            let blank = if index == 0 { "" } else { " " };
            match !word.is_empty() && word.chars().all(plain) {
                true => write!(f, "{blank}{word}")?,
                false => write!(f, "{blank}'{}'", word.replace('\'', r"'\''"))?,
            }
        }
        Ok(())
    }
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq)]
pub enum JobState {
    /// It waits for others of its app to end.
    Queued,
    /// The runtime has it.
    Running,
    /// It is over.
    Ended(JobEnd),
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq)]
pub struct JobEnd {
    /// In one word.
    pub outcome: Outcome,
    /// Its exit code as a shell counts, if it had one.
    pub code: Option<i32>,
    /// When.
    pub at: Timestamp,
}

impl JobEnd {
    /// A run's own end.
    pub fn of(exit: &Exit) -> Self {
        let outcome = match exit.reason {
            ExitReason::Completed => Outcome::Completed,
            ExitReason::Error => Outcome::Error,
            ExitReason::OOMKilled => Outcome::OOMKilled,
            ExitReason::TimedOut => Outcome::TimedOut,
            ExitReason::Lost => Outcome::Lost,
        };
        Self { outcome, code: Some(exit.code), at: exit.at }
    }

    /// An end without a run.
    pub fn without_run(outcome: Outcome, at: Timestamp) -> Self {
        Self { outcome, code: None, at }
    }
}

/// A job's end in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With code 0.
    Completed,
    /// With another code or by a signal.
    Error,
    /// For more memory than its size.
    OOMKilled,
    /// For more time than its limit.
    TimedOut,
    /// Nobody saw how.
    Lost,
    /// Somebody stopped it.
    Stopped,
    /// The runtime could not start it.
    NotStarted,
    /// It was due while no server was there.
    Missed,
    /// It was due while the one before still ran.
    Skipped,
}

impl Outcome {
    const ALL: [Self; 9] = [
        Self::Completed,
        Self::Error,
        Self::OOMKilled,
        Self::TimedOut,
        Self::Lost,
        Self::Stopped,
        Self::NotStarted,
        Self::Missed,
        Self::Skipped,
    ];

    /// As stored and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::Error => "Error",
            Self::OOMKilled => "OOMKilled",
            Self::TimedOut => "TimedOut",
            Self::Lost => "Lost",
            Self::Stopped => "Stopped",
            Self::NotStarted => "NotStarted",
            Self::Missed => "Missed",
            Self::Skipped => "Skipped",
        }
    }

    /// From the store.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }
}

impl From<JobKind> for ProcessType {
    fn from(kind: JobKind) -> Self {
        match kind {
            JobKind::Run => Self::run(),
            JobKind::Cron => Self::cron(),
            JobKind::Release => Self::release(),
            JobKind::Flame => Self::flame(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_they_would_be_typed() {
        let shown = |words: &[&str]| {
            JobCommand::words(words.iter().map(|w| (*w).to_owned()).collect()).map(|command| command.to_string())
        };
        assert_eq!(shown(&["mix", "ecto.migrate", "--all"]).unwrap(), "mix ecto.migrate --all");
        assert_eq!(shown(&["echo", "a b", "it's", ""]).unwrap(), r"echo 'a b' 'it'\''s' ''");
        for wrong in [&[][..], &[""], &["a\0"], &[&"x".repeat(40_000)]] {
            assert!(shown(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(JobCommand::line(" a | b ").unwrap().to_string(), "a | b");
        assert!(JobCommand::line(" ").is_err());
    }

    #[test]
    fn commands_are_stored_as_lists_or_texts() {
        for (command, json) in [
            (JobCommand::Words(vec!["a".into(), "b".into()]), r#"["a","b"]"#),
            (JobCommand::Line("a b".into()), r#""a b""#),
        ] {
            assert_eq!(serde_json::to_string(&command).unwrap(), json);
            assert_eq!(serde_json::from_str::<JobCommand>(json).unwrap(), command);
        }
    }
}

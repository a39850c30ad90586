//! Jobs: every step of one is its row's change, so that a server killed at any instant takes it over or finds it ended.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::server::domain::{
    AppId, AppName, Job, JobEnd, JobId, JobKind, JobState, Outcome, ReleaseVersion, ScheduleId, Size, SlugDigest,
    WorkloadId,
};

use super::activity::record;
use super::rows::{json, parsed, time, to_json};
use super::{Store, StoreError};

/// A job to remember.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// The job.
    pub job: Job,
    /// The archive it needs.
    pub digest: SlugDigest,
    /// The sealed wish; `None` for one that has ended without a run.
    pub sealed_spec: Option<Vec<u8>>,
    /// It does not start before all others of its schedule have ended.
    pub waits: bool,
}

/// A job that has not ended.
#[derive(Debug, Clone)]
pub struct OpenJob {
    /// The job.
    pub job: Job,
    /// Its app's name.
    pub app_name: AppName,
    /// Somebody wants it to end.
    pub stopping: bool,
    /// It does not start before all others of its schedule have ended.
    pub waits: bool,
    /// The archive it needs.
    pub digest: SlugDigest,
    /// The sealed wish.
    pub sealed_spec: Vec<u8>,
}

impl OpenJob {
    /// The name of its workload.
    pub fn workload_id(&self) -> WorkloadId {
        WorkloadId { app: self.app_name.clone(), process: self.job.kind.into(), generation: self.job.id.0 }
    }
}

/// A schedule whose due runs are dealt with by the same transaction.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Which.
    pub schedule: ScheduleId,
    /// Up to when.
    pub until: Timestamp,
    /// Runs that were missed.
    pub missed: u32,
}

const SELECT: &str = "SELECT j.*, apps.name FROM jobs AS j JOIN apps ON apps.id = j.app ";

impl Store {
    /// A number for a job; never given twice, and never an operation's.
    pub async fn next_job_id(&self) -> Result<JobId, StoreError> {
        self.write(|tx| {
            let next = "UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'operations' RETURNING seq";
            let id = tx.query_row(next, [], |row| row.get(0)).optional()?;
            // There is a job only where there is a release, and so an operation.
            id.map(JobId).ok_or(StoreError::NotFound)
        })
        .await
    }

    /// Remembers jobs, before the runtime is told of any, and what they say of a schedule. [`StoreError::Full`] if more
    /// than `queued` of the app would wait.
    pub async fn add_jobs(
        &self,
        app: AppId,
        jobs: Vec<NewJob>,
        queued: u32,
        seen: Option<Seen>,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            for new in &jobs {
                insert(tx, new)?;
            }
            let waiting = "SELECT count(*) FROM jobs WHERE app = ?1 AND state = 'queued'";
            if tx.query_row(waiting, [app.0], |row| row.get::<_, u32>(0))? > queued {
                return Err(StoreError::Full);
            }
            if let Some(seen) = seen {
                tx.execute(
                    "UPDATE schedules SET seen_until = ?2, missed = missed + ?3 WHERE id = ?1",
                    params![seen.schedule.0, seen.until.to_string(), seen.missed],
                )?;
            }
            Ok(())
        })
        .await
    }

    /// Every job that has not ended, oldest first.
    pub async fn open_jobs(&self) -> Result<Vec<OpenJob>, StoreError> {
        self.read(|db| {
            let sql = format!("{SELECT} WHERE j.state IN ('queued', 'running') ORDER BY j.id");
            db.prepare_cached(&sql)?.query_and_then([], open)?.collect()
        })
        .await
    }

    /// It is the runtime's from now on. False if it does not wait (any more).
    pub async fn start_job(&self, id: JobId) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let sql = "UPDATE jobs SET state = 'running', started_at = ?2 WHERE id = ?1 AND state = 'queued'";
            Ok(tx.execute(sql, params![id.0, Timestamp::now().to_string()])? == 1)
        })
        .await
    }

    /// Somebody wants it to end. False if it has ended already.
    pub async fn stop_job(&self, id: JobId) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let sql = "UPDATE jobs SET stopping = 1 WHERE id = ?1 AND state IN ('queued', 'running')";
            Ok(tx.execute(sql, [id.0])? == 1)
        })
        .await
    }

    /// It has ended, once and for all. Returns the app's ended jobs beyond the newest `kept`, which are forgotten.
    pub async fn end_job(
        &self,
        id: JobId,
        end: JobEnd,
        detail: Option<String>,
        kept: u32,
    ) -> Result<Vec<JobId>, StoreError> {
        self.write(move |tx| {
            tx.execute(
                "UPDATE jobs SET state = 'ended', spec = NULL, outcome = ?2, code = ?3, ended_at = ?4,
                   detail = coalesce(?5, detail) WHERE id = ?1 AND state <> 'ended'",
                params![id.0, end.outcome.as_str(), end.code, end.at.to_string(), detail],
            )?;
            let mut query = tx.prepare_cached(
                "DELETE FROM jobs WHERE state = 'ended' AND app = (SELECT app FROM jobs WHERE id = ?1) AND id <=
                   (SELECT id FROM jobs WHERE app = (SELECT app FROM jobs WHERE id = ?1) AND state = 'ended'
                    ORDER BY id DESC LIMIT 1 OFFSET ?2)
                 RETURNING id",
            )?;
            Ok(query.query_map(params![id.0, kept], |row| row.get(0).map(JobId))?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// One job of an app.
    pub async fn job(&self, app: AppId, id: JobId) -> Result<Job, StoreError> {
        self.read(move |db| {
            let sql = format!("{SELECT} WHERE j.app = ?1 AND j.id = ?2");
            one(db, &sql, params![app.0, id.0])?.ok_or(StoreError::NotFound)
        })
        .await
    }

    /// An app's newest jobs, newest first.
    pub async fn jobs_of(&self, app: AppId, most: u32) -> Result<Vec<Job>, StoreError> {
        self.read(move |db| {
            let sql = format!("{SELECT} WHERE j.app = ?1 ORDER BY j.id DESC LIMIT ?2");
            db.prepare_cached(&sql)?.query_and_then(params![app.0, most], job)?.collect()
        })
        .await
    }

    /// The newest job of each schedule of an app.
    pub async fn last_scheduled_jobs(&self, app: AppId) -> Result<Vec<Job>, StoreError> {
        self.read(move |db| {
            let sql = format!(
                "{SELECT} WHERE j.id IN (SELECT max(id) FROM jobs WHERE app = ?1 AND schedule IS NOT NULL GROUP BY schedule)"
            );
            db.prepare_cached(&sql)?.query_and_then([app.0], job)?.collect()
        })
        .await
    }

    /// The number of every job there is.
    pub async fn all_job_ids(&self) -> Result<Vec<JobId>, StoreError> {
        self.read(|db| {
            let mut query = db.prepare_cached("SELECT id FROM jobs")?;
            Ok(query.query_map([], |row| row.get(0).map(JobId))?.collect::<Result<_, _>>()?)
        })
        .await
    }
}

fn insert(tx: &Transaction<'_>, new: &NewJob) -> Result<(), StoreError> {
    let job = &new.job;
    let (state, end) = match &job.state {
        JobState::Queued => ("queued", None),
        JobState::Running => ("running", None),
        JobState::Ended(end) => ("ended", Some(end)),
    };
    tx.prepare_cached(
        "INSERT INTO jobs (id, app, kind, schedule, command, release, digest, size, seconds, spec, state, outcome, code,
           detail, asked_by, created_at, started_at, ended_at, waits, attended)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
    )?
    .execute(params![
        job.id.0,
        job.app.0,
        job.kind.as_str(),
        job.schedule,
        to_json(&job.command)?,
        job.release.0,
        new.digest.as_str(),
        job.size.milli(),
        i64::try_from(job.limit.as_secs()).unwrap_or(i64::MAX),
        new.sealed_spec,
        state,
        end.map(|end| end.outcome.as_str()),
        end.and_then(|end| end.code),
        job.detail,
        job.by,
        job.created_at.to_string(),
        job.started_at.map(|at| at.to_string()),
        end.map(|end| end.at.to_string()),
        new.waits,
        job.attended,
    ])?;
    if job.kind == JobKind::Run {
        record(tx, job.app, "run", &format!("Run `{}` as job {}.", job.command, job.id), &job.by)?;
    }
    Ok(())
}

fn one(db: &Connection, sql: &str, values: &[&dyn rusqlite::ToSql]) -> Result<Option<Job>, StoreError> {
    let mut query = db.prepare_cached(sql)?;
    let mut rows = query.query(values)?;
    rows.next()?.map(job).transpose()
}

fn open(row: &Row<'_>) -> Result<OpenJob, StoreError> {
    Ok(OpenJob {
        job: job(row)?,
        app_name: parsed(row, "name", AppName::parse)?,
        stopping: row.get("stopping")?,
        waits: row.get("waits")?,
        digest: parsed(row, "digest", SlugDigest::parse)?,
        sealed_spec: row.get::<_, Option<Vec<u8>>>("spec")?.ok_or(StoreError::Damaged("spec"))?,
    })
}

fn job(row: &Row<'_>) -> Result<Job, StoreError> {
    let optional_time = |column| match row.get::<_, Option<String>>(column)? {
        Some(_) => time(row, column).map(Some),
        None => Ok(None),
    };
    let state = match row.get::<_, String>("state")?.as_str() {
        "queued" => JobState::Queued,
        "running" => JobState::Running,
        _ => JobState::Ended(JobEnd {
            outcome: parsed(row, "outcome", |text| Outcome::parse(text).ok_or(()))?,
            code: row.get("code")?,
            at: time(row, "ended_at")?,
        }),
    };
    Ok(Job {
        id: JobId(row.get("id")?),
        app: AppId(row.get("app")?),
        kind: parsed(row, "kind", |text| JobKind::parse(text).ok_or(()))?,
        schedule: row.get("schedule")?,
        command: json(row, "command")?,
        release: ReleaseVersion(row.get("release")?),
        size: Size::from_milli(row.get("size")?),
        limit: Duration::from_secs(row.get::<_, u32>("seconds")?.into()),
        state,
        by: row.get("asked_by")?,
        created_at: time(row, "created_at")?,
        started_at: optional_time("started_at")?,
        detail: row.get("detail")?,
        attended: row.get("attended")?,
    })
}

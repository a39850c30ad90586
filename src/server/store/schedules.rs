//! Schedules: those that people make, and those that come with the code and go with it.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Row, Transaction, params};

use crate::server::domain::{AppId, Overlap, ReleaseVersion, Schedule, ScheduleId, SchedulePlan, Size};

use super::activity::record;
use super::rows::{json, parsed, taken, time, to_json};
use super::{Store, StoreError};

const UPSERT: &str = "INSERT INTO schedules (app, name, cron, tz, command, overlap, catch_up, size, seconds, of_code, made_by, seen_until)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";

impl Store {
    /// Adds a person's schedule (its row and what was seen are ignored). [`StoreError::Taken`] if the app has one of
    /// that name, [`StoreError::Full`] if it has `most` already.
    pub async fn add_schedule(&self, schedule: Schedule, most: u32) -> Result<(), StoreError> {
        self.write(move |tx| {
            let count = "SELECT count(*) FROM schedules WHERE app = ?1 AND NOT of_code";
            if tx.query_row(count, [schedule.app.0], |row| row.get::<_, u32>(0))? >= most {
                return Err(StoreError::Full);
            }
            let Schedule { app, plan, size, limit, by, .. } = schedule;
            tx.prepare_cached(UPSERT)?
                .execute(params![
                    app.0,
                    plan.name,
                    plan.cron,
                    plan.tz,
                    to_json(&plan.command)?,
                    plan.overlap.as_str(),
                    plan.catch_up,
                    size.map(Size::milli),
                    seconds(limit),
                    false,
                    by,
                    Timestamp::now().to_string(),
                ])
                .map_err(taken)?;
            let told = format!("Schedule `{}` as {} ({} {}).", plan.command, plan.name, plan.cron, plan.tz);
            record(tx, app, "schedule", &told, &by)
        })
        .await
    }

    /// Removes a person's schedule. [`StoreError::NotFound`] if the app has none of that name, or the code names it.
    pub async fn remove_schedule(&self, app: AppId, name: String, by: String) -> Result<(), StoreError> {
        self.write(move |tx| {
            let gone = "DELETE FROM schedules WHERE app = ?1 AND name = ?2 AND NOT of_code";
            if tx.execute(gone, params![app.0, name])? == 0 {
                return Err(StoreError::NotFound);
            }
            record(tx, app, "schedule", &format!("Unschedule {name}."), &by)
        })
        .await
    }

    /// An app's schedules, by name.
    pub async fn schedules_of(&self, app: AppId) -> Result<Vec<Schedule>, StoreError> {
        self.read(move |db| {
            let mut query = db.prepare_cached("SELECT * FROM schedules WHERE app = ?1 ORDER BY name")?;
            query.query_and_then([app.0], schedule)?.collect()
        })
        .await
    }

    /// Every schedule there is.
    pub async fn all_schedules(&self) -> Result<Vec<Schedule>, StoreError> {
        self.read(|db| {
            let mut query = db.prepare_cached("SELECT * FROM schedules ORDER BY id")?;
            query.query_and_then([], schedule)?.collect()
        })
        .await
    }

    /// The clock was set back so far that what was seen is no use any more: it begins anew.
    pub async fn reset_schedule(&self, id: ScheduleId, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute("UPDATE schedules SET seen_until = ?2 WHERE id = ?1", params![id.0, now.to_string()])?;
            Ok(())
        })
        .await
    }
}

/// With a release that becomes live come the schedules of its code, in the same transaction. One that stays as it was
/// goes on as if nothing had happened.
pub(super) fn follow_code(
    tx: &Transaction<'_>,
    app: AppId,
    version: ReleaseVersion,
    by: &str,
) -> Result<(), StoreError> {
    let sql =
        "SELECT s.schedules FROM releases AS r JOIN slugs AS s ON s.id = r.slug WHERE r.app = ?1 AND r.version = ?2";
    let mut query = tx.prepare_cached(sql)?;
    let mut rows = query.query(params![app.0, version.0])?;
    let plans: Vec<SchedulePlan> = rows.next()?.map(|row| json(row, "schedules")).transpose()?.unwrap_or_default();
    let names: Vec<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
    tx.execute(
        "DELETE FROM schedules WHERE app = ?1 AND of_code AND name NOT IN (SELECT value FROM json_each(?2))",
        params![app.0, to_json(&names)?],
    )?;
    let upsert = format!(
        "{UPSERT} ON CONFLICT (app, name) DO UPDATE SET cron = excluded.cron, tz = excluded.tz, command = excluded.command,
           overlap = excluded.overlap, catch_up = excluded.catch_up, made_by = excluded.made_by, seen_until =
             CASE WHEN cron = excluded.cron AND tz = excluded.tz THEN seen_until ELSE excluded.seen_until END"
    );
    for plan in &plans {
        tx.prepare_cached(&upsert)?.execute(params![
            app.0,
            plan.name,
            plan.cron,
            plan.tz,
            to_json(&plan.command)?,
            plan.overlap.as_str(),
            plan.catch_up,
            None::<u32>,
            None::<u32>,
            true,
            by,
            Timestamp::now().to_string(),
        ])?;
    }
    Ok(())
}

fn seconds(limit: Option<Duration>) -> Option<i64> {
    limit.map(|limit| i64::try_from(limit.as_secs()).unwrap_or(i64::MAX))
}

fn schedule(row: &Row<'_>) -> Result<Schedule, StoreError> {
    Ok(Schedule {
        id: ScheduleId(row.get("id")?),
        app: AppId(row.get("app")?),
        plan: SchedulePlan {
            name: row.get("name")?,
            cron: row.get("cron")?,
            tz: row.get("tz")?,
            command: json(row, "command")?,
            overlap: parsed(row, "overlap", Overlap::parse)?,
            catch_up: row.get("catch_up")?,
        },
        size: row.get::<_, Option<u32>>("size")?.map(Size::from_milli),
        limit: row.get::<_, Option<u32>>("seconds")?.map(|seconds| Duration::from_secs(seconds.into())),
        of_code: row.get("of_code")?,
        by: row.get("made_by")?,
        seen_until: time(row, "seen_until")?,
        missed: row.get("missed")?,
    })
}

//! What replicas used. A meter's row says up to when its use is counted; both change in one transaction, so nothing is
//! counted twice or not at all, whenever the server is killed.

use std::time::Duration;

use rusqlite::{Connection, Row, Transaction, params};

use super::rows::parsed;
use super::{Store, StoreError};
use crate::server::domain::{Amount, AppId, AppName, Size, UserId};

/// A replica that exists, as far as it is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meter {
    /// The replica's name.
    pub instance: String,
    /// Who is told of its use.
    pub owner: UserId,
    /// Whose it is.
    pub app: AppId,
    /// The app's name.
    pub app_name: AppName,
    /// How large it is.
    pub size: Size,
    /// The start of the machine that `since` belongs to.
    pub boot: String,
    /// Up to when it is counted, on the monotonic clock.
    pub since: Duration,
}

/// What is to be written of one meter.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// As it is from now on.
    pub meter: Meter,
    /// Use by day.
    pub days: Vec<(i64, Amount)>,
    /// Whether the replica is no more.
    pub ended: bool,
}

/// Use of one app on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// Whole days since 1970.
    pub day: i64,
    /// Which app.
    pub app: AppId,
    /// Its name.
    pub app_name: String,
    /// How much.
    pub amount: Amount,
}

impl Store {
    /// Every meter there is.
    pub async fn meters(&self) -> Result<Vec<Meter>, StoreError> {
        self.read(|db| {
            let mut query = db.prepare_cached("SELECT * FROM meters")?;
            query.query_and_then([], meter)?.collect()
        })
        .await
    }

    /// Counts use and moves the meters on, all or nothing. What belongs to an account that is no more is forgotten.
    pub async fn settle_meters(&self, settlements: Vec<Settlement>) -> Result<(), StoreError> {
        self.write(move |tx| settlements.iter().try_for_each(|settlement| settle(tx, settlement))).await
    }

    /// An account's use from a day to the day before another, and its meters at the same instant.
    pub async fn usage(&self, owner: UserId, from: i64, to: i64) -> Result<(Vec<Used>, Vec<Meter>), StoreError> {
        self.read(move |db| {
            let mut query = db.prepare_cached("SELECT * FROM meters WHERE owner = ?1 ORDER BY app, instance")?;
            let meters = query.query_and_then([owner.0], meter)?.collect::<Result<_, StoreError>>()?;
            Ok((used(db, owner, from, to)?, meters))
        })
        .await
    }
}

fn used(db: &Connection, owner: UserId, from: i64, to: i64) -> Result<Vec<Used>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT day, app, app_name, used, cost FROM usage WHERE owner = ?1 AND day >= ?2 AND day < ?3",
    )?;
    let rows = query.query_and_then(params![owner.0, from, to], |row| {
        Ok(Used {
            day: row.get("day")?,
            app: AppId(row.get("app")?),
            app_name: row.get("app_name")?,
            amount: Amount { used: row.get("used")?, cost: row.get("cost")? },
        })
    })?;
    rows.collect()
}

fn settle(tx: &Transaction<'_>, Settlement { meter, days, ended }: &Settlement) -> Result<(), StoreError> {
    for (day, amount) in days.iter().filter(|(_, amount)| amount.used > 0) {
        tx.prepare_cached(
            "INSERT INTO usage (owner, day, app, app_name, used, cost)
             SELECT id, ?2, ?3, ?4, ?5, ?6 FROM users WHERE id = ?1
             ON CONFLICT DO UPDATE SET used = used + excluded.used, cost = cost + excluded.cost",
        )?
        .execute(params![
            meter.owner.0,
            day,
            meter.app.0,
            meter.app_name.as_str(),
            amount.used,
            amount.cost
        ])?;
    }
    if *ended {
        tx.prepare_cached("DELETE FROM meters WHERE instance = ?1")?.execute([&meter.instance])?;
        return Ok(());
    }
    tx.prepare_cached(
        "INSERT OR REPLACE INTO meters (instance, owner, app, app_name, size, boot, since)
         SELECT ?1, id, ?3, ?4, ?5, ?6, ?7 FROM users WHERE id = ?2",
    )?
    .execute(params![
        meter.instance,
        meter.owner.0,
        meter.app.0,
        meter.app_name.as_str(),
        meter.size.milli(),
        meter.boot,
        i64::try_from(meter.since.as_millis()).unwrap_or(i64::MAX)
    ])?;
    Ok(())
}

fn meter(row: &Row<'_>) -> Result<Meter, StoreError> {
    Ok(Meter {
        instance: row.get("instance")?,
        owner: UserId(row.get("owner")?),
        app: AppId(row.get("app")?),
        app_name: parsed(row, "app_name", AppName::parse)?,
        size: Size::from_milli(row.get("size")?),
        boot: row.get("boot")?,
        since: Duration::from_millis(row.get::<_, i64>("since")?.unsigned_abs()),
    })
}

//! Who did what to an app. Written in the transaction of the deed itself where the deed is in the database, so there
//! is neither without the other. Bounded per app; the oldest go.

use jiff::Timestamp;
use rusqlite::{Row, Transaction, params};

use crate::server::domain::AppId;

use super::rows::time;
use super::{Store, StoreError};

/// Records kept for each app.
const KEPT: u32 = 1000;

/// One deed.
#[derive(Debug, Clone)]
pub struct Activity {
    /// What kind, one word: `deploy`, `config`, `domain`, …
    pub kind: String,
    /// What, for people. Names of variables, never their values.
    pub summary: String,
    /// The address of who did it.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

impl Store {
    /// What was done to the app, newest first.
    pub async fn activity(&self, app: AppId) -> Result<Vec<Activity>, StoreError> {
        self.read(move |db| {
            let mut query = db.prepare_cached("SELECT * FROM activity WHERE app = ?1 ORDER BY id DESC")?;
            query.query_and_then([app.0], activity)?.collect()
        })
        .await
    }

    /// Records that a replica was killed, the one deed that changes nothing else here.
    pub async fn record_kill(&self, app: AppId, replica: String, by: String) -> Result<(), StoreError> {
        self.write(move |tx| record(tx, app, "kill", &format!("Kill the replica {replica}."), &by)).await
    }

    /// Records what happened to the app's cluster; nobody did it.
    pub async fn record_cluster(&self, app: AppId, what: String) -> Result<(), StoreError> {
        self.write(move |tx| record(tx, app, "cluster", &what, "gigalixir")).await
    }

    /// Records that somebody was in a replica, once they have left.
    pub async fn record_visit(&self, app: AppId, summary: String, by: String) -> Result<(), StoreError> {
        self.write(move |tx| record(tx, app, "enter", &summary, &by)).await
    }
}

/// Adds a record to the deed's transaction.
pub(super) fn record(tx: &Transaction<'_>, app: AppId, kind: &str, summary: &str, by: &str) -> Result<(), StoreError> {
    tx.prepare_cached("INSERT INTO activity (app, kind, summary, done_by, done_at) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![app.0, kind, summary, by, Timestamp::now().to_string()])?;
    tx.prepare_cached(
        "DELETE FROM activity WHERE app = ?1 AND id <=
           (SELECT id FROM activity WHERE app = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
    )?
    .execute(params![app.0, KEPT])?;
    Ok(())
}

fn activity(row: &Row<'_>) -> Result<Activity, StoreError> {
    Ok(Activity {
        kind: row.get("kind")?,
        summary: row.get("summary")?,
        by: row.get("done_by")?,
        at: time(row, "done_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::server::domain::{AppName, Stack};

    #[tokio::test]
    async fn the_newest_records_stay_and_come_first() -> Result<(), StoreError> {
        let (store, _folder) = testing::open().await;
        let owner = testing::user(&store, "a@example.com").await;
        let mut apps = Vec::new();
        for name in ["one", "two"] {
            let stack = Stack::parse("local").unwrap();
            apps.push(store.create_app(owner, AppName::parse(name).unwrap(), stack, |_| Vec::new()).await?.id);
        }
        let (app, other) = (apps[0], apps[1]);
        store.write(move |tx| record(tx, other, "scale", "elsewhere", "a@example.com")).await?;
        store
            .write(move |tx| (0..KEPT + 5).try_for_each(|n| record(tx, app, "scale", &n.to_string(), "a@example.com")))
            .await?;
        let kept = store.activity(app).await?;
        assert_eq!(kept.len(), KEPT as usize);
        assert_eq!((kept[0].summary.as_str(), kept[KEPT as usize - 1].summary.as_str()), ("1004", "5"));
        assert_eq!(store.activity(other).await?[0].summary, "elsewhere", "another app's records are not counted");
        Ok(())
    }
}

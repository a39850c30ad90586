//! Apps. Their configuration is their live release's; their other secrets come here sealed.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::server::domain::{App, AppId, AppName, Formation, ReleaseVersion, Stack, UserId};

use super::activity::record;
use super::rows::{json, parsed, taken, time, to_json};
use super::{Store, StoreError};

impl Store {
    /// Makes an app; `seal_secrets` gets its id, which is part of the sealing context. [`StoreError::Taken`] if the
    /// name is in use.
    pub async fn create_app(
        &self,
        owner: UserId,
        name: AppName,
        stack: Stack,
        seal_secrets: impl FnOnce(AppId) -> Vec<u8> + Send + 'static,
    ) -> Result<App, StoreError> {
        self.write(move |tx| {
            let formation = to_json(&Formation::default())?;
            tx.prepare_cached(
                "INSERT INTO apps (name, owner, stack, formation, secrets, created_at) VALUES (?1, ?2, ?3, ?4, x'', ?5)",
            )?
            .execute(params![name.as_str(), owner.0, stack.as_str(), formation, Timestamp::now().to_string()])
            .map_err(taken)?;
            let id = AppId(tx.last_insert_rowid());
            tx.execute("UPDATE apps SET secrets = ?2 WHERE id = ?1", params![id.0, seal_secrets(id)])?;
            by_id(tx, id)
        })
        .await
    }

    /// The app of that name.
    pub async fn app_by_name(&self, name: &AppName) -> Result<App, StoreError> {
        let name = name.clone();
        self.read(move |db| one(db, "SELECT * FROM apps WHERE name = ?1", params![name.as_str()])).await
    }

    /// The app of that row.
    pub async fn app_by_id(&self, id: AppId) -> Result<App, StoreError> {
        self.read(move |db| by_id(db, id)).await
    }

    /// A person's apps, by name.
    pub async fn apps_of(&self, owner: UserId) -> Result<Vec<App>, StoreError> {
        self.read(move |db| all(db, "SELECT * FROM apps WHERE owner = ?1 ORDER BY name", params![owner.0])).await
    }

    /// Every app of the platform, by name.
    pub async fn all_apps(&self) -> Result<Vec<App>, StoreError> {
        self.read(|db| all(db, "SELECT * FROM apps ORDER BY name", params![])).await
    }

    /// The app's sealed secrets.
    pub async fn app_secrets(&self, id: AppId) -> Result<Vec<u8>, StoreError> {
        self.read(move |db| {
            let found = db.query_row("SELECT secrets FROM apps WHERE id = ?1", [id.0], |row| row.get(0)).optional()?;
            found.ok_or(StoreError::NotFound)
        })
        .await
    }

    /// The app's sealed secrets with another Erlang cookie.
    pub async fn set_cookie(&self, id: AppId, sealed: Vec<u8>, by: String) -> Result<(), StoreError> {
        self.write(move |tx| {
            if tx.execute("UPDATE apps SET secrets = ?2 WHERE id = ?1", params![id.0, sealed])? == 0 {
                return Err(StoreError::NotFound);
            }
            record(tx, id, "cookie", "Rotate the Erlang cookie.", &by)
        })
        .await
    }

    /// What the next build is built on.
    pub async fn set_stack(&self, id: AppId, stack: Stack, by: String) -> Result<(), StoreError> {
        self.write(move |tx| {
            let changed = tx.execute("UPDATE apps SET stack = ?2 WHERE id = ?1", params![id.0, stack.as_str()])?;
            if changed == 0 {
                return Err(StoreError::NotFound);
            }
            record(tx, id, "stack", &format!("Set the stack to {stack}."), &by)
        })
        .await
    }

    /// Forgets an app and all that is recorded of it. An app that is not there is no error.
    pub async fn delete_app(&self, id: AppId) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute("DELETE FROM apps WHERE id = ?1", [id.0])?;
            Ok(())
        })
        .await
        .inspect(|_| self.access_changed())
    }
}

fn by_id(db: &Connection, id: AppId) -> Result<App, StoreError> {
    one(db, "SELECT * FROM apps WHERE id = ?1", params![id.0])
}

fn one(db: &Connection, sql: &str, values: &[&dyn rusqlite::ToSql]) -> Result<App, StoreError> {
    let mut query = db.prepare_cached(sql)?;
    let mut rows = query.query(values)?;
    rows.next()?.map_or(Err(StoreError::NotFound), app)
}

pub(super) fn all(db: &Connection, sql: &str, values: &[&dyn rusqlite::ToSql]) -> Result<Vec<App>, StoreError> {
    let mut query = db.prepare_cached(sql)?;
    query.query_and_then(values, app)?.collect()
}

fn app(row: &Row<'_>) -> Result<App, StoreError> {
    let formation: Formation = json(row, "formation")?;
    Ok(App {
        id: AppId(row.get("id")?),
        name: parsed(row, "name", AppName::parse)?,
        owner: UserId(row.get("owner")?),
        stack: parsed(row, "stack", Stack::parse)?,
        maintenance: row.get("maintenance")?,
        formation,
        live: row.get::<_, Option<u32>>("live")?.map(ReleaseVersion),
        created_at: time(row, "created_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[tokio::test]
    async fn an_app_is_made_once_and_found_by_its_owner() -> Result<(), StoreError> {
        let (store, _folder) = testing::open().await;
        let owner = testing::user(&store, "a@example.com").await;
        let name = AppName::parse("my-app").unwrap();
        let stack = Stack::parse("gigalixir-24").unwrap();
        let made = store.create_app(owner, name.clone(), stack.clone(), |id| vec![id.0 as u8]).await?;
        assert_eq!(made.name, name);
        assert_eq!(made.live, None);
        assert_eq!(store.app_secrets(made.id).await?, vec![made.id.0 as u8]);
        let again = store.create_app(owner, name.clone(), stack.clone(), |_| Vec::new()).await;
        assert!(matches!(again, Err(StoreError::Taken)), "{again:?}");
        let stranger = testing::user(&store, "b@example.com").await;
        assert_eq!(store.apps_of(owner).await?.len(), 1);
        assert!(store.apps_of(stranger).await?.is_empty());

        store.delete_app(made.id).await?;
        assert!(matches!(store.app_by_name(&name).await, Err(StoreError::NotFound)));
        let next = store.create_app(owner, name, stack, |_| Vec::new()).await?;
        assert!(next.id > made.id, "ids are never reused");
        Ok(())
    }
}

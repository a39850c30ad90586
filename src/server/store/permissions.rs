//! Who has a role in an app beside its owner.

use rusqlite::{OptionalExtension, params};

use crate::server::domain::{AppId, Email, Role, User, UserId};

use super::activity::record;
use super::fronts::count;
use super::rows::parsed;
use super::{Store, StoreError};

impl Store {
    /// The role of somebody who is not the app's owner.
    pub async fn role(&self, app: AppId, user: UserId) -> Result<Option<Role>, StoreError> {
        self.read(move |db| {
            let mut query = db.prepare_cached("SELECT role FROM permissions WHERE app = ?1 AND user = ?2")?;
            let found = query.query_row(params![app.0, user.0], |row| Ok(parsed(row, "role", Role::parse)));
            found.optional()?.transpose()
        })
        .await
    }

    /// Everybody with a role in the app but its owner, by address.
    pub async fn people(&self, app: AppId) -> Result<Vec<(Email, Role)>, StoreError> {
        self.read(move |db| {
            let mut query = db.prepare_cached(
                "SELECT email, role FROM permissions JOIN users ON users.id = user WHERE app = ?1 ORDER BY email",
            )?;
            let people = query.query_and_then([app.0], |row| {
                Ok((parsed(row, "email", Email::parse)?, parsed(row, "role", Role::parse)?))
            })?;
            people.collect()
        })
        .await
    }

    /// Gives somebody a role, or another one. [`StoreError::Full`] if `most` others have one already,
    /// [`StoreError::NotFound`] if the app or the account has gone meanwhile.
    pub async fn grant(&self, app: AppId, who: &User, role: Role, most: usize, by: String) -> Result<(), StoreError> {
        let who = who.clone();
        self.write(move |tx| {
            let there =
                "SELECT EXISTS (SELECT 1 FROM apps WHERE id = ?1) AND EXISTS (SELECT 1 FROM users WHERE id = ?2)";
            if !tx.query_row(there, params![app.0, who.id.0], |row| row.get::<_, bool>(0))? {
                return Err(StoreError::NotFound);
            }
            tx.execute("DELETE FROM permissions WHERE app = ?1 AND user = ?2", params![app.0, who.id.0])?;
            if count(tx, "SELECT count(*) FROM permissions WHERE app = ?1", app)? >= most {
                return Err(StoreError::Full);
            }
            let insert = "INSERT INTO permissions (app, user, role) VALUES (?1, ?2, ?3)";
            tx.execute(insert, params![app.0, who.id.0, role.as_str()])?;
            record(tx, app, "access", &format!("Give {} the role {}.", who.email, role.as_str()), &by)
        })
        .await
        .inspect(|_| self.access_changed())
    }

    /// Takes somebody's role away. [`StoreError::NotFound`] if there is none.
    pub async fn revoke(&self, app: AppId, who: &Email, by: String) -> Result<(), StoreError> {
        let who = who.clone();
        self.write(move |tx| {
            let delete = "DELETE FROM permissions WHERE app = ?1 AND user = (SELECT id FROM users WHERE email = ?2)";
            if tx.execute(delete, params![app.0, who.as_str()])? == 0 {
                return Err(StoreError::NotFound);
            }
            record(tx, app, "access", &format!("Take the role of {who} away."), &by)
        })
        .await
        .inspect(|_| self.access_changed())
    }
}

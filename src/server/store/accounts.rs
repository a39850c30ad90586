//! Users and their API keys.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Store, StoreError};
use crate::server::domain::{Email, Tier, User, UserId};

/// SHA-256 of something secret that was random enough not to need more.
pub type Digest = [u8; 32];

/// A key to be written down: what of it is kept.
#[derive(Debug, Clone, Copy)]
pub struct NewKey {
    /// Of the key's text.
    pub hash: Digest,
    /// From then on it is refused.
    pub expires_at: Timestamp,
}

impl Store {
    /// A user and its password's hash.
    pub async fn user_by_email(&self, email: &Email) -> Result<Option<(User, String)>, StoreError> {
        let email = email.clone();
        self.read(move |db| {
            let mut query =
                db.prepare_cached("SELECT id, email, created_at, tier, password_hash FROM users WHERE email = ?")?;
            let row = query.query_row([email.as_str()], |row| Ok((user(row), row.get(4)?))).optional()?;
            row.map(|(user, hash)| Ok((user?, hash))).transpose()
        })
        .await
    }

    /// A user.
    pub async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.read(move |db| {
            let mut query = db.prepare_cached("SELECT id, email, created_at, tier FROM users WHERE id = ?")?;
            query.query_row([id.0], |row| Ok(user(row))).optional()?.transpose()
        })
        .await
    }

    /// The user that a key belongs to, and when the key expires (it may have).
    pub async fn user_by_key(&self, hash: Digest) -> Result<Option<(User, Timestamp)>, StoreError> {
        self.read(move |db| {
            let mut query = db.prepare_cached(
                "SELECT users.id, email, created_at, tier, expires_at FROM api_keys JOIN users ON users.id = user WHERE hash = ?",
            )?;
            let row = query.query_row([&hash[..]], |row| Ok((user(row), row.get(4)?))).optional()?;
            row.map(|(user, expires)| Ok((user?, seconds(expires)?))).transpose()
        })
        .await
    }

    /// Whether anybody has an account.
    pub async fn has_users(&self) -> Result<bool, StoreError> {
        self.read(|db| Ok(db.query_row("SELECT EXISTS (SELECT 1 FROM users)", [], |row| row.get(0))?)).await
    }

    /// Adds a key; of the user's keys only the newest `keep` stay.
    pub async fn add_key(&self, user: UserId, key: NewKey, keep: u32) -> Result<(), StoreError> {
        self.write(move |tx| {
            insert_key(tx, user, &key)?;
            tx.execute(
                "DELETE FROM api_keys WHERE user = ?1 AND id NOT IN
                   (SELECT id FROM api_keys WHERE user = ?1 ORDER BY id DESC LIMIT ?2)",
                params![user.0, keep],
            )?;
            Ok(())
        })
        .await
        .inspect(|_| self.access_changed())
    }

    /// Makes this key the user's only one.
    pub async fn replace_keys(&self, user: UserId, key: NewKey) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute("DELETE FROM api_keys WHERE user = ?", [user.0])?;
            insert_key(tx, user, &key)
        })
        .await
        .inspect(|_| self.access_changed())
    }

    /// Ends one of the user's keys; one that is gone is no error.
    pub async fn remove_key(&self, user: UserId, hash: Digest) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute("DELETE FROM api_keys WHERE user = ?1 AND hash = ?2", params![user.0, &hash[..]])?;
            Ok(())
        })
        .await
        .inspect(|_| self.access_changed())
    }

    /// Sets a password's hash, if the present one still is `before`: of two changes at once only one wins.
    pub async fn change_password(&self, user: UserId, before: String, after: String) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let change = "UPDATE users SET password_hash = ?3 WHERE id = ?1 AND password_hash = ?2";
            Ok(tx.execute(change, params![user.0, before, after])? == 1)
        })
        .await
    }

    /// Ends an account and all that belongs to it, if it owns no app.
    pub async fn destroy_user(&self, user: UserId) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let delete = "DELETE FROM users WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM apps WHERE owner = ?1)";
            Ok(tx.execute(delete, [user.0])? == 1)
        })
        .await
        .inspect(|_| self.access_changed())
    }
}

pub(super) fn insert_key(db: &Connection, user: UserId, key: &NewKey) -> Result<(), StoreError> {
    db.prepare_cached("INSERT INTO api_keys (hash, user, expires_at) VALUES (?, ?, ?)")?.execute(params![
        &key.hash[..],
        user.0,
        key.expires_at.as_second()
    ])?;
    Ok(())
}

/// Reads `id, email, created_at, tier`.
pub(super) fn user(row: &Row<'_>) -> Result<User, StoreError> {
    let email: String = row.get(1)?;
    let email = Email::parse(&email).map_err(|_| StoreError::Damaged("e-mail address"))?;
    let tier = Tier::parse(&row.get::<_, String>(3)?).map_err(|_| StoreError::Damaged("tier"))?;
    Ok(User { id: UserId(row.get(0)?), email, created_at: seconds(row.get(2)?)?, tier })
}

fn seconds(since_1970: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_second(since_1970).map_err(|_| StoreError::Damaged("time"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::store::testing;

    #[tokio::test]
    async fn who_stays_by_a_key_learns_of_its_end() {
        let (store, _folder) = testing::open().await;
        let user = testing::user(&store, "ada@example.com").await;
        let key = |first: u8| NewKey { hash: [first; 32], expires_at: Timestamp::MAX };
        store.add_key(user, key(1), 5).await.unwrap();
        store.add_key(user, key(2), 5).await.unwrap();
        let mut changes = store.access_changes();
        store.remove_key(user, [1; 32]).await.unwrap();
        assert!(changes.has_changed().unwrap(), "one is ended");
        changes.mark_unchanged();
        store.replace_keys(user, key(3)).await.unwrap();
        assert!(changes.has_changed().unwrap(), "all are");
    }
}

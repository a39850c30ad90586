//! The ssh keys of accounts.

use rusqlite::params;

use super::rows::{parsed, taken};
use super::{Store, StoreError};
use crate::server::domain::{AppId, Role, SshKey, User, UserId};

/// A key of an account, and its number.
#[derive(Debug, Clone)]
pub struct StoredSshKey {
    /// Never used again.
    pub id: i64,
    /// As it was added.
    pub key: SshKey,
}

impl Store {
    /// An account's keys, oldest first.
    pub async fn ssh_keys(&self, user: UserId) -> Result<Vec<StoredSshKey>, StoreError> {
        self.read(move |db| {
            let mut query = db.prepare_cached("SELECT id, key FROM ssh_keys WHERE user = ? ORDER BY id")?;
            let mut rows = query.query([user.0])?;
            let mut keys = Vec::new();
            while let Some(row) = rows.next()? {
                keys.push(StoredSshKey { id: row.get(0)?, key: parsed(row, "key", SshKey::parse)? });
            }
            Ok(keys)
        })
        .await
    }

    /// Everybody who has this key.
    pub async fn ssh_key_owners(&self, fingerprint: [u8; 32]) -> Result<Vec<User>, StoreError> {
        self.read(move |db| {
            let mut query = db.prepare_cached(
                "SELECT users.id, email, created_at, tier FROM ssh_keys JOIN users ON users.id = user
                 WHERE fingerprint = ? ORDER BY ssh_keys.id",
            )?;
            let owners = query.query_and_then([&fingerprint[..]], super::accounts::user)?;
            owners.collect()
        })
        .await
    }

    /// The keys of everybody who may go into an app's replicas: its owner's and its collaborators'.
    pub async fn keys_that_enter(&self, app: AppId) -> Result<Vec<String>, StoreError> {
        self.read(move |db| {
            let mut query = db.prepare_cached(
                "SELECT key FROM ssh_keys WHERE user IN (SELECT owner FROM apps WHERE id = ?1
                   UNION SELECT user FROM permissions WHERE app = ?1 AND role = ?2) ORDER BY id",
            )?;
            query.query_and_then(params![app.0, Role::Collaborator.as_str()], |row| Ok(row.get(0)?))?.collect()
        })
        .await
    }

    /// Adds a key, unless the account has `most` of them already (then `None`) or this very one ([`StoreError::Taken`]).
    pub async fn add_ssh_key(&self, user: UserId, key: SshKey, most: u32) -> Result<Option<StoredSshKey>, StoreError> {
        self.write(move |tx| {
            let count: u32 =
                tx.query_row("SELECT count(*) FROM ssh_keys WHERE user = ?", [user.0], |row| row.get(0))?;
            if count >= most {
                return Ok(None);
            }
            let insert = "INSERT INTO ssh_keys (user, fingerprint, key) VALUES (?, ?, ?)";
            tx.execute(insert, params![user.0, &key.fingerprint()[..], key.as_str()]).map_err(taken)?;
            Ok(Some(StoredSshKey { id: tx.last_insert_rowid(), key }))
        })
        .await
    }

    /// Removes a key of this account.
    pub async fn remove_ssh_key(&self, user: UserId, id: i64) -> Result<(), StoreError> {
        self.write(move |tx| match tx.execute("DELETE FROM ssh_keys WHERE user = ? AND id = ?", [user.0, id])? {
            0 => Err(StoreError::NotFound),
            _ => Ok(()),
        })
        .await
        .inspect(|_| self.access_changed())
    }
}

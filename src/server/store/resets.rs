//! Password resets: single-use tokens that were mailed.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::{Digest, Store, StoreError};
use crate::server::domain::UserId;

impl Store {
    /// Writes a reset down; expired ones are forgotten.
    pub async fn add_reset(
        &self,
        user: UserId,
        token: Digest,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute("DELETE FROM password_resets WHERE expires_at <= ?", [now.as_second()])?;
            let insert = "INSERT INTO password_resets (hash, user, expires_at) VALUES (?, ?, ?)";
            tx.execute(insert, params![&token[..], user.0, expires_at.as_second()])?;
            Ok(())
        })
        .await
    }

    /// Whose password a token would reset now.
    pub async fn reset_user(&self, token: Digest, now: Timestamp) -> Result<Option<UserId>, StoreError> {
        self.read(move |db| owner(db, &token, now)).await
    }

    /// Uses a token up: sets the password, ends the user's other tokens and all its API keys. `false` when the token
    /// is not, or no longer, good.
    pub async fn use_reset(&self, token: Digest, password: String, now: Timestamp) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let Some(user) = owner(tx, &token, now)? else { return Ok(false) };
            tx.execute("UPDATE users SET password_hash = ?2 WHERE id = ?1", params![user.0, password])?;
            tx.execute("DELETE FROM password_resets WHERE user = ?", [user.0])?;
            tx.execute("DELETE FROM api_keys WHERE user = ?", [user.0])?;
            Ok(true)
        })
        .await
        .inspect(|_| self.access_changed())
    }
}

fn owner(db: &Connection, token: &Digest, now: Timestamp) -> Result<Option<UserId>, StoreError> {
    let query = "SELECT user FROM password_resets WHERE hash = ? AND expires_at > ?";
    Ok(db.query_row(query, params![&token[..], now.as_second()], |row| row.get(0).map(UserId)).optional()?)
}

//! Changes of an account's address: confirmed from the new one, revoked from the old one.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};

use super::rows::taken;
use super::{Digest, Store, StoreError};
use crate::server::domain::{Email, UserId};

/// A change to be written down.
#[derive(Debug, Clone)]
pub struct NewEmailChange {
    /// Of the token mailed to the new address.
    pub confirm: Digest,
    /// Of the token mailed to the old address.
    pub revoke: Digest,
    /// Whose.
    pub user: UserId,
    /// The address it has.
    pub previous: Email,
    /// The address it shall have.
    pub next: Email,
    /// The first token is good until then.
    pub confirm_until: Timestamp,
    /// The second token is good until then.
    pub revoke_until: Timestamp,
}

impl Store {
    /// Writes a change down. An earlier one that nobody confirmed is forgotten.
    pub async fn begin_email_change(&self, change: NewEmailChange, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(
                "DELETE FROM email_changes WHERE revoke_until <= ?1 OR (user = ?2 AND confirmed = 0)",
                [now.as_second(), change.user.0],
            )?;
            tx.execute(
                "INSERT INTO email_changes (hash, revoke_hash, user, previous, next, confirm_until, revoke_until)
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
                params![
                    &change.confirm[..],
                    &change.revoke[..],
                    change.user.0,
                    change.previous.as_str(),
                    change.next.as_str(),
                    change.confirm_until.as_second(),
                    change.revoke_until.as_second(),
                ],
            )?;
            Ok(())
        })
        .await
    }

    /// Uses the new address's token up: the account has that address now. `None` when the token is not, or no longer,
    /// good; [`StoreError::Taken`] when somebody else has the address meanwhile.
    pub async fn confirm_email_change(&self, token: Digest, now: Timestamp) -> Result<Option<String>, StoreError> {
        self.write(move |tx| {
            let query = "SELECT user, previous, next FROM email_changes
                         WHERE hash = ? AND confirmed = 0 AND confirm_until > ?";
            let found = wish(tx, query, &token, now)?;
            let Some((user, previous, next)) = found else { return Ok(None) };
            if !rename(tx, user, &previous, &next)? {
                return Ok(None);
            }
            tx.execute("UPDATE email_changes SET confirmed = 1 WHERE hash = ?", [&token[..]])?;
            Ok(Some(next))
        })
        .await
    }

    /// Uses the old address's token up: the change will not happen, or is undone. All API keys end, since somebody had
    /// the password who should not. Answers the address that holds; `None` when the token is not good.
    pub async fn revoke_email_change(&self, token: Digest, now: Timestamp) -> Result<Option<String>, StoreError> {
        self.write(move |tx| {
            let query = "SELECT user, previous, next FROM email_changes WHERE revoke_hash = ? AND revoke_until > ?";
            let Some((user, previous, next)) = wish(tx, query, &token, now)? else { return Ok(None) };
            // Later changes were not the person's either.
            tx.execute("DELETE FROM email_changes WHERE user = ?", [user])?;
            tx.execute("DELETE FROM api_keys WHERE user = ?", [user])?;
            tx.execute("DELETE FROM password_resets WHERE user = ?", [user])?;
            tx.execute("UPDATE users SET email = ?2 WHERE id = ?1", params![user, previous]).map_err(taken)?;
            tracing::info!(account.email = previous, refused.email = next, "a change of address was revoked");
            Ok(Some(previous))
        })
        .await
        .inspect(|_| self.access_changed())
    }
}

type Wish = Option<(i64, String, String)>;

fn wish(tx: &Transaction<'_>, query: &str, token: &Digest, now: Timestamp) -> Result<Wish, StoreError> {
    let values = params![&token[..], now.as_second()];
    Ok(tx.query_row(query, values, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?)
}

/// What was mailed to the former address opens nothing any more.
fn rename(tx: &Transaction<'_>, user: i64, from: &str, to: &str) -> Result<bool, StoreError> {
    tx.execute("DELETE FROM password_resets WHERE user = ?", [user])?;
    let update = "UPDATE users SET email = ?3 WHERE id = ?1 AND email = ?2";
    Ok(tx.execute(update, params![user, from, to]).map_err(taken)? == 1)
}

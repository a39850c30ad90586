//! Second factors: a sealed TOTP secret per account, and recovery codes as hashes.

use rusqlite::{OptionalExtension, Transaction, params};

use super::{Digest, Store, StoreError};
use crate::server::domain::UserId;

/// An account's second factor.
#[derive(Debug, Clone)]
pub struct StoredMfa {
    /// Sealed.
    pub secret: Vec<u8>,
    /// Whether a sign-in needs it; before that, its owner has yet to show that the secret arrived.
    pub active: bool,
}

impl Store {
    /// The second factor of an account, begun or active.
    pub async fn mfa(&self, user: UserId) -> Result<Option<StoredMfa>, StoreError> {
        self.read(move |db| {
            let mut query = db.prepare_cached("SELECT secret, active FROM mfa WHERE user = ?")?;
            let row = |row: &rusqlite::Row<'_>| Ok(StoredMfa { secret: row.get(0)?, active: row.get(1)? });
            Ok(query.query_row([user.0], row).optional()?)
        })
        .await
    }

    /// Begins one, in place of another that was only begun. `false` when one is active.
    pub async fn begin_mfa(&self, user: UserId, secret: Vec<u8>) -> Result<bool, StoreError> {
        self.write(move |tx| {
            tx.execute("DELETE FROM mfa WHERE user = ? AND active = 0", [user.0])?;
            let insert = "INSERT OR IGNORE INTO mfa (user, secret) VALUES (?, ?)";
            Ok(tx.execute(insert, params![user.0, secret])? == 1)
        })
        .await
    }

    /// Makes the begun one active: sets the recovery codes and ends all API keys but `keep`. `false` when none is begun
    /// with that secret.
    pub async fn activate_mfa(
        &self,
        user: UserId,
        secret: Vec<u8>,
        step: u64,
        codes: Vec<Digest>,
        keep: Vec<Digest>,
    ) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let update = "UPDATE mfa SET active = 1, last_step = ?3 WHERE user = ?1 AND secret = ?2 AND active = 0";
            if tx.execute(update, params![user.0, secret, step.cast_signed()])? == 0 {
                return Ok(false);
            }
            put_codes(tx, user, &codes)?;
            let mut keys = tx.prepare("SELECT hash FROM api_keys WHERE user = ?")?;
            let keys: Vec<Vec<u8>> = keys.query_map([user.0], |row| row.get(0))?.collect::<Result<_, _>>()?;
            for key in keys.iter().filter(|key| !keep.iter().any(|kept| kept[..] == key[..])) {
                tx.execute("DELETE FROM api_keys WHERE hash = ?", [key])?;
            }
            Ok(true)
        })
        .await
        .inspect(|_| self.access_changed())
    }

    /// Uses a TOTP step up. `false` when it, or a later one, was used before.
    pub async fn use_mfa_step(&self, user: UserId, step: u64) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let update = "UPDATE mfa SET last_step = ?2 WHERE user = ?1 AND active = 1 AND last_step < ?2";
            Ok(tx.execute(update, params![user.0, step.cast_signed()])? == 1)
        })
        .await
    }

    /// Uses a recovery code up.
    pub async fn use_recovery_code(&self, user: UserId, code: Digest) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let delete = "DELETE FROM recovery_codes WHERE user = ? AND hash = ?";
            Ok(tx.execute(delete, params![user.0, &code[..]])? == 1)
        })
        .await
    }

    /// Replaces the recovery codes. `false` when no second factor is active.
    pub async fn replace_recovery_codes(&self, user: UserId, codes: Vec<Digest>) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let query = "SELECT EXISTS (SELECT 1 FROM mfa WHERE user = ? AND active = 1)";
            let active: bool = tx.query_row(query, [user.0], |row| row.get(0))?;
            if active {
                put_codes(tx, user, &codes)?;
            }
            Ok(active)
        })
        .await
    }

    /// Forgets an active second factor. `false` when none is active; one that was only begun stays.
    pub async fn remove_mfa(&self, user: UserId) -> Result<bool, StoreError> {
        self.write(move |tx| {
            if tx.execute("DELETE FROM mfa WHERE user = ? AND active = 1", [user.0])? == 0 {
                return Ok(false);
            }
            tx.execute("DELETE FROM recovery_codes WHERE user = ?", [user.0])?;
            Ok(true)
        })
        .await
    }
}

fn put_codes(tx: &Transaction<'_>, user: UserId, codes: &[Digest]) -> Result<(), StoreError> {
    tx.execute("DELETE FROM recovery_codes WHERE user = ?", [user.0])?;
    for code in codes {
        tx.execute("INSERT INTO recovery_codes (user, hash) VALUES (?, ?)", params![user.0, &code[..]])?;
    }
    Ok(())
}

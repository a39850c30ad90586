//! Payment methods: one opaque, sealed token per account.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Store, StoreError};
use crate::server::domain::{Tier, UserId};

impl Store {
    /// The sealed token.
    pub async fn payment_method(&self, user: UserId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(move |db| {
            let query = "SELECT token FROM payment_methods WHERE user = ?";
            Ok(db.query_row(query, [user.0], |row| row.get(0)).optional()?)
        })
        .await
    }

    /// Sets it, and the tier if it changes with it.
    pub async fn set_payment_method(
        &self,
        user: UserId,
        sealed: Vec<u8>,
        tier: Option<Tier>,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            if let Some(tier) = tier {
                tx.execute("UPDATE users SET tier = ?2 WHERE id = ?1", params![user.0, tier.as_str()])?;
            }
            set_payment_method(tx, user, &sealed)
        })
        .await
    }
}

pub(super) fn set_payment_method(db: &Connection, user: UserId, sealed: &[u8]) -> Result<(), StoreError> {
    db.execute("REPLACE INTO payment_methods (user, token) VALUES (?, ?)", params![user.0, sealed])?;
    Ok(())
}

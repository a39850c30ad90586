//! Payment methods: one opaque, sealed token per account.

use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError};
use crate::server::domain::UserId;

impl Store {
    /// The sealed token.
    pub async fn payment_method(&self, user: UserId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(move |db| {
            let query = "SELECT token FROM payment_methods WHERE user = ?";
            Ok(db.query_row(query, [user.0], |row| row.get(0)).optional()?)
        })
        .await
    }

    /// Sets it.
    pub async fn set_payment_method(&self, user: UserId, sealed: Vec<u8>) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute("REPLACE INTO payment_methods (user, token) VALUES (?, ?)", params![user.0, sealed])?;
            Ok(())
        })
        .await
    }
}

//! A database in an own folder, for the tests of all who use the store.

use jiff::Timestamp;
use rusqlite::params;

use crate::server::domain::UserId;

use super::Store;

/// A new database; it goes when the folder's handle is dropped.
pub(crate) async fn open() -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Store::open(&folder.path().join("gigalixir.db")).unwrap(), folder)
}

/// An account that nobody can sign in to.
pub(crate) async fn user(store: &Store, email: &str) -> UserId {
    let email = email.to_owned();
    let insert = "INSERT INTO users (email, password_hash, created_at) VALUES (?1, '', ?2)";
    store
        .write(move |tx| {
            tx.execute(insert, params![email, Timestamp::now().as_second()])?;
            Ok(UserId(tx.last_insert_rowid()))
        })
        .await
        .unwrap()
}

//! Numbered, embedded, forward-only; each in its own transaction. `PRAGMA user_version` counts them.

use rusqlite::Connection;

use super::StoreError;

/// Keep in order; never change one that has been released.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_accounts.sql"),
    include_str!("migrations/0002_apps.sql"),
    include_str!("migrations/0003_account_extras.sql"),
    include_str!("migrations/0004_app_extras.sql"),
    include_str!("migrations/0005_jobs.sql"),
    include_str!("migrations/0006_usage_and_drains.sql"),
    include_str!("migrations/0007_ssh.sql"),
    include_str!("migrations/0008_tls.sql"),
    include_str!("migrations/0009_router.sql"),
    include_str!("migrations/0010_upgrades.sql"),
    include_str!("migrations/0011_tiers.sql"),
    include_str!("migrations/0012_attended_jobs.sql"),
    include_str!("migrations/0013_h2c.sql"),
];

pub(super) fn run(db: &mut Connection) -> Result<(), StoreError> {
    let known = MIGRATIONS.len() as u32;
    let found: u32 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    for (index, sql) in MIGRATIONS.iter().enumerate().skip(found as usize) {
        let tx = db.transaction()?;
        tx.execute_batch(sql)?;
        tx.pragma_update(None, "user_version", index as u32 + 1)?;
        tx.commit()?;
    }
    Ok(())
}

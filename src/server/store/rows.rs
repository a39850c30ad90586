//! Columns ↔ domain values: what does not parse is reported as damage, never guessed at.

use jiff::Timestamp;
use rusqlite::{ErrorCode, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;

/// A text column through a domain constructor.
pub(super) fn parsed<T, E>(
    row: &Row<'_>,
    column: &'static str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, StoreError> {
    let text: String = row.get(column)?;
    parse(&text).map_err(|_| StoreError::Damaged(column))
}

/// A time column, RFC 3339.
pub(super) fn time(row: &Row<'_>, column: &'static str) -> Result<Timestamp, StoreError> {
    parsed(row, column, |text| text.parse::<Timestamp>())
}

/// A JSON column.
pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, column: &'static str) -> Result<T, StoreError> {
    parsed(row, column, |text| serde_json::from_str(text))
}

/// A value as a JSON column.
pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Io(error.to_string()))
}

/// A broken `UNIQUE` means that the name is taken.
pub(super) fn taken(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => StoreError::Taken,
        _ => StoreError::Sqlite(error),
    }
}

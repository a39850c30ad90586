//! What apps use, and what that would cost: `/api/usage…`, `/api/invoices`, `/api/apps/A/usage`.
//!
//! A replica-size-second is a replica of size 1 for a second. Periods are months that begin on the day of the signup, at
//! midnight UTC; the end is not part of them. Nobody is charged by the platform.

use serde::{Deserialize, Serialize};

/// An entry of `GET /api/usage`: an app in the present period, up to now.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AppUsage {
    /// The app, which may have been destroyed meanwhile.
    pub app: String,
    /// Whole ones, rounded.
    pub replica_size_seconds: i64,
    /// At the prices that held when it was used.
    pub amount_cents: i64,
    /// Of the amount.
    pub currency: String,
    /// RFC 3339.
    pub period_start: String,
    /// RFC 3339.
    pub period_end: String,
}

/// An entry of `GET /api/usage/run_rate`: what an app would use in a whole period as it runs now.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunRate {
    /// The app.
    pub app: String,
    /// Replicas there are.
    pub replicas: u32,
    /// Their sizes together.
    pub size: f64,
    /// In a whole period.
    pub replica_size_seconds: i64,
    /// In a whole period, at the present price.
    pub amount_cents: i64,
    /// Of the amount.
    pub currency: String,
}

/// An entry of `GET /api/invoices`: an app in a past period, newest first.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Invoice {
    /// The app.
    pub app_name: String,
    /// Whole ones, rounded.
    pub replica_size_seconds: i64,
    /// At the prices that held when it was used.
    pub amount_cents: i64,
    /// Of the amount.
    pub currency: String,
    /// Whether nothing is owed; the platform takes no payments.
    pub paid: bool,
    /// RFC 3339.
    pub period_start: String,
    /// RFC 3339.
    pub period_end: String,
}

/// An entry of `GET /api/apps/A/usage`: a day of the present or the last period, newest first.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DayUsage {
    /// `2026-11-25`, UTC.
    pub day: String,
    /// Whole ones, rounded.
    pub replica_size_seconds: i64,
    /// At the prices that held when it was used.
    pub amount_cents: i64,
    /// Of the amount.
    pub currency: String,
}

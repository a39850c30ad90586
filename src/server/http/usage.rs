//! `/api/usage`, `/api/usage/run_rate`, `/api/invoices`, `/api/apps/A/usage`.

use std::sync::Arc;

use axum::extract::State;

use super::Doors;
use super::answer::{Answer, ok};
use super::auth::SignedIn;
use super::extract::Segments;
use super::routes::Routes;
use crate::api::usage::{AppUsage, DayUsage, Invoice, RunRate};
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Routes<Doors> {
    Routes::new()
        .get("/api/usage", now, "tells what each app has used in the present period")
        .get("/api/usage/run_rate", run_rate, "tells what each app would use in a whole period as it runs now")
        .get("/api/invoices", invoices, "tells what each app used in past periods, newest first")
        .get("/api/apps/{app}/usage", of_app, "tells what an app used, day by day, newest first")
}

async fn now(State(apps): State<Arc<Apps>>, SignedIn { user, .. }: SignedIn) -> Answer<Vec<AppUsage>> {
    ok(apps.usage(&user).await?)
}

async fn run_rate(State(apps): State<Arc<Apps>>, SignedIn { user, .. }: SignedIn) -> Answer<Vec<RunRate>> {
    ok(apps.run_rate(&user).await?)
}

async fn invoices(State(apps): State<Arc<Apps>>, SignedIn { user, .. }: SignedIn) -> Answer<Vec<Invoice>> {
    ok(apps.invoices(&user).await?)
}

async fn of_app(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer<Vec<DayUsage>> {
    ok(apps.app_usage(&user, &app).await?)
}

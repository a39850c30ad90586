//! `/api/apps/A/schedules`, `/api/apps/A/schedules/NAME`.

use std::sync::Arc;

use axum::extract::State;

use super::Doors;
use super::answer::{Answer, created, ok};
use super::auth::SignedIn;
use super::extract::{JsonBody, Segments};
use super::routes::Routes;
use crate::api::job::{AddSchedule, Schedule};
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Routes<Doors> {
    Routes::new()
        .get("/api/apps/{app}/schedules", list, "lists an app's schedules")
        .post("/api/apps/{app}/schedules", add, "runs a command again and again")
        .delete("/api/apps/{app}/schedules/{schedule}", remove, "removes a schedule")
}

async fn list(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer<Vec<Schedule>> {
    ok(apps.schedules(&user, &app).await?)
}

async fn add(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(wish): JsonBody<AddSchedule>,
) -> Answer<Schedule, 201> {
    created(apps.add_schedule(&user, &app, wish).await?)
}

async fn remove(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments((app, schedule)): Segments<(String, String)>,
) -> Answer<&'static str> {
    apps.remove_schedule(&user, &app, &schedule).await?;
    ok("deleted")
}

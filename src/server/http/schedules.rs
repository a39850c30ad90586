//! `/api/apps/A/schedules`, `/api/apps/A/schedules/NAME`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{delete, get};

use super::Doors;
use super::answer::{Answer, created, ok};
use super::auth::SignedIn;
use super::extract::{JsonBody, Segments};
use crate::api::job::AddSchedule;
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Router<Doors> {
    Router::new()
        .route("/api/apps/{app}/schedules", get(list).post(add))
        .route("/api/apps/{app}/schedules/{schedule}", delete(remove))
}

async fn list(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer {
    ok(apps.schedules(&user, &app).await?)
}

async fn add(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
    JsonBody(wish): JsonBody<AddSchedule>,
) -> Answer {
    created(apps.add_schedule(&user, &app, wish).await?)
}

async fn remove(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments((app, schedule)): Segments<(String, String)>,
) -> Answer {
    apps.remove_schedule(&user, &app, &schedule).await?;
    ok("deleted")
}

//! `GET /api/apps/A/logs`: chunked plain text, sent on as it comes.

use std::sync::Arc;

use axum::extract::State;
use tokio_util::sync::CancellationToken;

use super::Doors;
use super::answer::Text;
use super::auth::SignedIn;
use super::error::HttpError;
use super::extract::{Parameters, Segments};
use super::routes::Routes;
use crate::api::log::LogQuery;
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Routes<Doors> {
    Routes::new().get("/api/apps/{app}/logs", read, "tells an app's log, and goes on")
}

async fn read(
    State(apps): State<Arc<Apps>>,
    State(shutdown): State<CancellationToken>,
    SignedIn { user, key }: SignedIn,
    Segments(app): Segments<String>,
    Parameters(query): Parameters<LogQuery>,
) -> Result<Text, HttpError> {
    let lines = apps.logs(&user, &app, query).await?;
    Ok(Text::flowing(lines, shutdown, apps.unseen(user, app, key)))
}

//! `/api/apps/A/ssh_ip`.

use std::sync::Arc;

use axum::extract::State;

use super::Doors;
use super::answer::{Answer, ok};
use super::auth::SignedIn;
use super::extract::Segments;
use super::routes::Routes;
use crate::api::ssh::SshAddress;
use crate::server::actions::apps::Apps;

pub(super) fn routes() -> Routes<Doors> {
    Routes::new().get("/api/apps/{app}/ssh_ip", address, "tells how ssh gets into an app's replicas")
}

async fn address(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer<SshAddress> {
    ok(apps.ssh_address(&user, &app).await?)
}

//! `/api/apps/A/exec`, `/tunnel` and `/run`: WebSockets into a replica; and what consoles ask for.
//!
//! Two halves run beside each other, one each way, so that a program that does not read cannot keep us from reading what
//! it says; each waits for its own slower end. What is refused is refused before the protocol changes, as far as it is
//! known by then.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::StatusCode;
use axum::response::Response;
use tokio_util::sync::CancellationToken;

use super::Doors;
use super::answer::{Answer, ok};
use super::auth::SignedIn;
use super::error::HttpError;
use super::extract::{Parameters, Segments};
use super::replica::Insider;
use super::routes::{Part, Routes, Sheet};
use super::visit;
use crate::api::inside::{MigrateQuery, ObserverCommands, TunnelQuery};
use crate::server::actions::apps::Apps;

/// What a client may send in one message; more than it should, less than would hurt.
const LONGEST_MESSAGE: usize = 1 << 20;

pub(super) fn routes() -> Routes<Doors> {
    Routes::new()
        .get("/api/apps/{app}/exec", exec, "runs a program beside an app's own, over a WebSocket")
        .get("/api/apps/{app}/run", attend, "runs a command in a fresh replica, at a terminal, over a WebSocket")
        .get("/api/apps/{app}/tunnel", tunnel, "connects to a port of a replica, over a WebSocket")
        .get("/api/apps/{app}/releases/migrate-command", migrate, "tells the expression that migrates an app's repos")
        .get("/api/apps/{app}/observer-commands", observer, "tells the expressions that an observer begins with")
}

/// A request to change the protocol, or not: who may not enter is told that first.
struct Upgrade(Result<WebSocketUpgrade, WebSocketUpgradeRejection>);

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Upgrade {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(WebSocketUpgrade::from_request_parts(parts, state).await))
    }
}

impl Upgrade {
    fn asked(self) -> Result<WebSocketUpgrade, HttpError> {
        let only = || HttpError::new(StatusCode::UPGRADE_REQUIRED, "", "this address speaks WebSocket only");
        Ok(self.0.map_err(|_| only())?.max_message_size(LONGEST_MESSAGE).max_frame_size(LONGEST_MESSAGE))
    }
}

impl Part for Upgrade {
    fn describe(sheet: &mut Sheet) {
        <WebSocketUpgrade as Part>::describe(sheet);
        sheet.refuses(426, "It was not asked to change to the WebSocket protocol.");
    }
}

async fn exec(
    State(apps): State<Arc<Apps>>,
    State(shutdown): State<CancellationToken>,
    SignedIn { user, key }: SignedIn,
    Segments(app): Segments<String>,
    upgrade: Upgrade,
) -> Result<Response, HttpError> {
    let access = apps.access_changes();
    apps.may_enter(&user, &app).await?;
    let upgrade = upgrade.asked()?;
    let visitor = visit::Visitor { _place: apps.take_place(&user)?, apps, user, key, app, shutdown, access };
    Ok(upgrade.on_upgrade(move |socket| visit::program(visitor, socket)))
}

async fn attend(
    State(apps): State<Arc<Apps>>,
    State(shutdown): State<CancellationToken>,
    SignedIn { user, key }: SignedIn,
    Segments(app): Segments<String>,
    upgrade: Upgrade,
) -> Result<Response, HttpError> {
    let access = apps.access_changes();
    apps.may_run(&user, &app).await?;
    let upgrade = upgrade.asked()?;
    let visitor = visit::Visitor { _place: apps.take_place(&user)?, apps, user, key, app, shutdown, access };
    Ok(upgrade.on_upgrade(move |socket| visit::job(visitor, socket)))
}

async fn tunnel(
    State(apps): State<Arc<Apps>>,
    State(shutdown): State<CancellationToken>,
    SignedIn { user, key }: SignedIn,
    Segments(app): Segments<String>,
    Parameters(query): Parameters<TunnelQuery>,
    upgrade: Upgrade,
) -> Result<Response, HttpError> {
    let access = apps.access_changes();
    apps.may_enter(&user, &app).await?;
    let upgrade = upgrade.asked()?;
    let place = apps.take_place(&user)?;
    let entrance = apps.enter(&user, &app, query.replica.as_deref()).await?;
    let stream = apps.connect(&entrance, query.port).await?;
    let visitor = visit::Visitor { apps, user, key, app, shutdown, access, _place: place };
    Ok(upgrade.on_upgrade(move |socket| visit::tunnel(visitor, entrance, query.port, stream, socket)))
}

async fn migrate(
    State(apps): State<Arc<Apps>>,
    insider: Insider,
    Segments(app): Segments<String>,
    Parameters(query): Parameters<MigrateQuery>,
) -> Answer<String> {
    let of = query.migration_app_name.as_deref();
    match insider {
        Insider::Replica(app) => ok(apps.migrate_command_of(&app, of).await?),
        Insider::Person(user) => ok(apps.migrate_command(&user, &app, of).await?),
    }
}

async fn observer(
    State(apps): State<Arc<Apps>>,
    SignedIn { user, .. }: SignedIn,
    Segments(app): Segments<String>,
) -> Answer<ObserverCommands> {
    ok(apps.observer_commands(&user, &app).await?)
}

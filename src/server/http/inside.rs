//! `/api/apps/A/exec`, `/tunnel` and `/run`: WebSockets into a replica; and what consoles ask for.
//!
//! Two halves run beside each other, one each way, so that a program that does not read cannot keep us from reading what
//! it says; each waits for its own slower end. What is refused is refused before the protocol changes, as far as it is
//! known by then.

use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{FromRef, FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Doors;
use super::answer::{Answer, ok};
use super::auth::SignedIn;
use super::error::HttpError;
use super::extract::{Parameters, Segments};
use super::replica::Insider;
use super::routes::{Part, Routes, Sheet};
use super::visit::{self, Visitor};
use crate::api::inside::{MigrateQuery, ObserverCommands, TunnelQuery};
use crate::server::actions::account::{Accounts, ShownKey};
use crate::server::actions::apps::Apps;
use crate::server::domain::User;

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

/// A person at an app's door who asks to change the protocol, or not: who may not come in is told that first.
struct Caller {
    apps: Arc<Apps>,
    user: User,
    key: ShownKey,
    app: String,
    shutdown: CancellationToken,
    access: watch::Receiver<()>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
}

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    Arc<Accounts>: FromRef<S>,
    Arc<Apps>: FromRef<S>,
    CancellationToken: FromRef<S>,
{
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let SignedIn { user, key } = SignedIn::from_request_parts(parts, state).await?;
        let Segments(app) = Segments::from_request_parts(parts, state).await?;
        let (apps, shutdown) = (Arc::<Apps>::from_ref(state), CancellationToken::from_ref(state));
        let (access, upgrade) = (apps.access_changes(), WebSocketUpgrade::from_request_parts(parts, state).await);
        Ok(Self { apps, user, key, app, shutdown, access, upgrade })
    }
}

impl Caller {
    /// Whoever may, comes in.
    fn admitted(self) -> Result<(Visitor, WebSocketUpgrade), HttpError> {
        let only = |_| HttpError::new(StatusCode::UPGRADE_REQUIRED, "", "this address speaks WebSocket only");
        let upgrade = self.upgrade.map_err(only)?;
        let upgrade = upgrade.max_message_size(LONGEST_MESSAGE).max_frame_size(LONGEST_MESSAGE);
        let Self { apps, user, key, app, shutdown, access, .. } = self;
        Ok((Visitor { _place: apps.take_place(&user)?, apps, user, key, app, shutdown, access }, upgrade))
    }
}

impl Part for Caller {
    fn describe(sheet: &mut Sheet) {
        SignedIn::describe(sheet);
        Segments::<String>::describe(sheet);
        WebSocketUpgrade::describe(sheet);
        sheet.refuses(426, "It was not asked to change to the WebSocket protocol.");
    }
}

async fn exec(caller: Caller) -> Result<Response, HttpError> {
    caller.apps.may_enter(&caller.user, &caller.app).await?;
    let (visitor, upgrade) = caller.admitted()?;
    Ok(upgrade.on_upgrade(move |socket| visit::program(visitor, socket)))
}

async fn attend(caller: Caller) -> Result<Response, HttpError> {
    caller.apps.may_run(&caller.user, &caller.app).await?;
    let (visitor, upgrade) = caller.admitted()?;
    Ok(upgrade.on_upgrade(move |socket| visit::job(visitor, socket)))
}

async fn tunnel(caller: Caller, Parameters(query): Parameters<TunnelQuery>) -> Result<Response, HttpError> {
    caller.apps.may_enter(&caller.user, &caller.app).await?;
    let (visitor, upgrade) = caller.admitted()?;
    let entrance = visitor.apps.enter(&visitor.user, &visitor.app, query.replica.as_deref()).await?;
    let stream = visitor.apps.connect(&entrance, query.port).await?;
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

//! Smart HTTP for git (gitprotocol-http): `/APP.git/…`, and the same below `/git.gigalixir.com/`, where clients that
//! look for that name in the remote's URL find it. Every request is admitted first; what an answer tells about an app
//! is decided there. Deliberately absent: the dumb protocol.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::TryStreamExt;

use crate::server::domain::{AppName, Email};
use crate::server::receiver::{ByteStream, Deploys, Receiver, Rejected, Still, Visit};

/// Who may read and push what; implemented over accounts and apps.
#[async_trait]
pub trait Admits: Send + Sync + 'static {
    /// Answers for one request. `authorization` is the header as it came, `app` the name in the path. A person
    /// without credentials is refused with 401 whatever the app; another's app with 404, as if there were none.
    async fn admit(
        &self,
        authorization: Option<&HeaderValue>,
        app: &str,
        write: bool,
    ) -> Result<(AppName, Email), Refusal>;
}

/// Why a request is not admitted; `message` is shown by git.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// 401, 403, 404 or 429.
    pub status: StatusCode,
    /// A sentence.
    pub message: String,
}

/// What the door leads to.
#[derive(Clone)]
pub struct Door {
    /// The repositories.
    pub receiver: Arc<Receiver>,
    /// What becomes of a push.
    pub deploys: Arc<dyn Deploys>,
    /// Who may come in.
    pub admits: Arc<dyn Admits>,
}

/// The routes, to be merged into a router with whatever state.
pub fn routes<S: Clone + Send + Sync + 'static>(door: Door) -> Router<S> {
    let mut routes = Router::new();
    for prefix in ["", "/git.gigalixir.com"] {
        // Some clients keep the slash that ends the remote's URL and add another.
        for slash in ["/", "//"] {
            let at = |what: &str| format!("{prefix}/{{repository}}{slash}{what}");
            routes = routes
                .route(&at("info/refs"), get(advertise))
                .route(&at("git-receive-pack"), post(receive_pack))
                .route(&at("git-upload-pack"), post(upload_pack));
        }
    }
    routes.with_state(door)
}

impl Door {
    async fn admit(&self, headers: &HeaderMap, repository: &str, write: bool) -> Result<(AppName, Email), Response> {
        let name = repository.strip_suffix(".git").unwrap_or(repository);
        let admitted = self.admits.admit(headers.get(header::AUTHORIZATION), name, write).await;
        admitted.map_err(|refusal| {
            let mut response = (refusal.status, refusal.message + "\n").into_response();
            if refusal.status == StatusCode::UNAUTHORIZED {
                let realm = HeaderValue::from_static("Basic realm=\"gigalixir\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
            }
            response
        })
    }

    /// Whether the request would be admitted again.
    fn still(&self, headers: &HeaderMap, app: &AppName, write: bool) -> Still {
        let (admits, app) = (Arc::clone(&self.admits), app.clone());
        let authorization = headers.get(header::AUTHORIZATION).cloned();
        Box::pin(async move {
            let admitted = admits.admit(authorization.as_ref(), app.as_str(), write).await;
            admitted.map(drop).map_err(|refusal| refusal.message)
        })
    }
}

#[derive(serde::Deserialize)]
struct Service {
    service: Option<String>,
}

async fn advertise(
    State(door): State<Door>,
    Path(repository): Path<String>,
    Query(Service { service }): Query<Service>,
    headers: HeaderMap,
) -> Response {
    let service = service.unwrap_or_default();
    let (app, _) = match door.admit(&headers, &repository, service == "git-receive-pack").await {
        Ok(admitted) => admitted,
        Err(refused) => return refused,
    };
    let advertised = match service.as_str() {
        "git-receive-pack" => door.receiver.advertise_push(&app).await.map(|bytes| ("receive", bytes)),
        "git-upload-pack" => {
            let version = headers.get("git-protocol").and_then(|version| version.to_str().ok());
            Ok(("upload", door.receiver.advertise_fetch(version)))
        }
        _ => return (StatusCode::FORBIDDEN, "only git's smart protocol is served\n").into_response(),
    };
    match advertised {
        Ok((name, bytes)) => answer(&format!("application/x-git-{name}-pack-advertisement"), Body::from(bytes)),
        Err(error) => failed(&app, &Rejected::Failed(error)),
    }
}

async fn receive_pack(State(door): State<Door>, Path(repository): Path<String>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let (app, by) = match door.admit(&parts.headers, &repository, true).await {
        Ok(admitted) => admitted,
        Err(refused) => return refused,
    };
    let asks = |name| parts.headers.get(name).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    let (clean, hot, or_restart) = (asks("gigalixir-clean"), asks("gigalixir-hot"), asks("gigalixir-or-restart"));
    let visit = Visit { app: app.clone(), by, clean, hot, or_restart };
    let still = door.still(&parts.headers, &app, true);
    match door.receiver.push(visit, bytes(body), is_gzip(&parts.headers), door.deploys, still).await {
        Ok(stream) => answer("application/x-git-receive-pack-result", Body::from_stream(stream)),
        Err(error) => failed(&app, &error),
    }
}

async fn upload_pack(State(door): State<Door>, Path(repository): Path<String>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let (app, by) = match door.admit(&parts.headers, &repository, false).await {
        Ok(admitted) => admitted,
        Err(refused) => return refused,
    };
    let still = door.still(&parts.headers, &app, false);
    match door.receiver.fetch((&app, by), bytes(body), is_gzip(&parts.headers), still).await {
        Ok(stream) => answer("application/x-git-upload-pack-result", Body::from_stream(stream)),
        Err(error) => failed(&app, &error),
    }
}

fn bytes(body: Body) -> ByteStream {
    Box::pin(body.into_data_stream().map_err(std::io::Error::other))
}

fn is_gzip(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| {
        encoding.as_bytes().eq_ignore_ascii_case(b"gzip") || encoding.as_bytes().eq_ignore_ascii_case(b"x-gzip")
    })
}

fn answer(content_type: &str, body: Body) -> Response {
    let headers =
        [(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-cache, max-age=0, must-revalidate")];
    (headers, body).into_response()
}

fn failed(app: &AppName, error: &Rejected) -> Response {
    match error {
        Rejected::Malformed(reason) => (StatusCode::BAD_REQUEST, format!("{reason}\n")).into_response(),
        Rejected::Failed(cause) => {
            tracing::error!(app.name = %app, error = %cause, "A git request failed in the repository");
            let text = "the server could not work on the repository; its log says why\n";
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
    }
}

//! Stands around every request: gives it an id, survives its handler's panic, and writes its one log line.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt;
use uuid::Uuid;

use super::error::{Cause, envelope};

/// The id that the answer carries and the log names.
const REQUEST_ID: &str = "x-request-id";

pub(super) async fn witness(request: Request, next: Next) -> Response {
    let (id, started) = (Uuid::now_v7(), Instant::now());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => failed(response, &id),
        Err(panic) => {
            tracing::error!(request.id = %id, cause = said(panic.as_ref()), "a handler panicked");
            internal(&id)
        }
    };
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    tracing::debug!(
        request.id = %id, http.method = %method, http.path = path, http.status = response.status().as_u16(),
        http.milliseconds = started.elapsed().as_millis() as u64, "answered a request"
    );
    response
}

/// Logs an internal error's cause and puts the request's id in its place.
fn failed(mut response: Response, id: &Uuid) -> Response {
    let Some(Cause(cause)) = response.extensions_mut().remove::<Cause>() else { return response };
    let chain = std::iter::successors(cause.source(), |error| error.source());
    let text = chain.fold(cause.to_string(), |text, error| format!("{text}: {error}"));
    tracing::error!(request.id = %id, cause = text, "a request failed inside");
    internal(id)
}

fn internal(id: &Uuid) -> Response {
    let message = format!("internal error, request id {id}; the server's log says more");
    envelope(StatusCode::INTERNAL_SERVER_ERROR, "", message)
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("(no message)")
}

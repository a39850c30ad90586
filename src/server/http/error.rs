//! The one place where a refusal becomes a status and a body.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::Errors;
use crate::server::actions::ActionError;
use crate::server::domain::Invalid;

/// A refusal on its way out: `{"errors": {field: [message]}}`.
#[derive(Debug)]
pub struct HttpError {
    status: StatusCode,
    field: &'static str,
    message: String,
    retry_after: Option<Duration>,
    cause: Option<Cause>,
}

/// Why a 500 happened: travels in the response's extensions to the middleware, which logs it beside the request's id.
#[derive(Debug, Clone)]
pub(super) struct Cause(pub(super) Arc<dyn Error + Send + Sync>);

impl HttpError {
    /// A refusal the door makes itself (malformed requests, unknown routes).
    pub fn new(status: StatusCode, field: &'static str, message: impl Into<String>) -> Self {
        Self { status, field, message: message.into(), retry_after: None, cause: None }
    }
}

impl From<ActionError> for HttpError {
    fn from(error: ActionError) -> Self {
        let of = |status, Invalid { field, message }| Self::new(status, field, message);
        match error {
            ActionError::Invalid(why) => of(StatusCode::UNPROCESSABLE_ENTITY, why),
            ActionError::Unauthorized(why) => of(StatusCode::UNAUTHORIZED, why),
            // Never with a `Location`, which old clients would follow.
            error @ ActionError::SecondFactorNeeded => Self::new(StatusCode::SEE_OTHER, "mfa_token", error.to_string()),
            ActionError::Forbidden(why) => of(StatusCode::FORBIDDEN, why),
            ActionError::Conflict(why) => of(StatusCode::CONFLICT, why),
            ActionError::NotFound(text) => Self::new(StatusCode::NOT_FOUND, "", text),
            ActionError::Exhausted(text) => Self::new(StatusCode::TOO_MANY_REQUESTS, "", text),
            ActionError::Unavailable(text) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "", text),
            ActionError::TooMany { retry_after } => {
                let text = ActionError::TooMany { retry_after }.to_string();
                Self { retry_after: Some(retry_after), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "", text) }
            }
            ActionError::Internal(cause) => Self {
                cause: Some(Cause(Arc::from(cause))),
                ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "", "internal error")
            },
        }
    }
}

impl From<Invalid> for HttpError {
    fn from(why: Invalid) -> Self {
        ActionError::Invalid(why).into()
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let mut response = envelope(self.status, self.field, self.message);
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        if let Some(cause) = self.cause {
            response.extensions_mut().insert(cause);
        }
        response
    }
}

pub(super) fn envelope(status: StatusCode, field: &str, message: String) -> Response {
    let errors = BTreeMap::from([(field.to_owned(), vec![message])]);
    (status, Json(Errors { errors })).into_response()
}

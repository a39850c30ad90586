//! Successful answers, whose types say what they are.

use std::convert::Infallible;

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt as _};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};

use super::error::HttpError;
use super::routes::{Sheet, Told};
use crate::api::Data;

/// Lines that go out together when they are there together.
const LINES_AT_ONCE: usize = 256;

/// What a handler returns: `{"data": T}` with that status, or a refusal.
pub type Answer<T, const STATUS: u16 = 200> = Result<Success<T, STATUS>, HttpError>;

/// `{"data": T}`.
#[derive(Debug)]
pub struct Success<T, const STATUS: u16 = 200>(T);

/// 200 with `{"data": …}`.
pub fn ok<T>(data: T) -> Answer<T> {
    Ok(Success(data))
}

/// 201 with `{"data": …}`.
pub fn created<T>(data: T) -> Answer<T, 201> {
    Ok(Success(data))
}

/// 202 with `{"data": …}`.
pub fn accepted<T>(data: T) -> Answer<T, 202> {
    Ok(Success(data))
}

impl<T: Serialize, const STATUS: u16> IntoResponse for Success<T, STATUS> {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(STATUS).unwrap_or_default();
        (status, Json(Data { data: self.0 })).into_response()
    }
}

impl<T: ToSchema, const STATUS: u16> Told for Success<T, STATUS> {
    fn describe(sheet: &mut Sheet) {
        sheet.data::<T>(STATUS);
    }
}

/// `T` as it is, without an envelope.
#[derive(Debug)]
pub struct Bare<T, const STATUS: u16 = 200>(pub T);

impl<T: Serialize, const STATUS: u16> IntoResponse for Bare<T, STATUS> {
    fn into_response(self) -> Response {
        (StatusCode::from_u16(STATUS).unwrap_or_default(), Json(self.0)).into_response()
    }
}

impl<T: ToSchema, const STATUS: u16> Told for Bare<T, STATUS> {
    fn describe(sheet: &mut Sheet) {
        sheet.bare::<T>(STATUS);
    }
}

/// One of two answers.
#[derive(Debug)]
pub enum Either<A, B> {
    /// The usual one.
    This(A),
    /// The other one.
    That(B),
}

impl<A: IntoResponse, B: IntoResponse> IntoResponse for Either<A, B> {
    fn into_response(self) -> Response {
        match self {
            Self::This(answer) => answer.into_response(),
            Self::That(answer) => answer.into_response(),
        }
    }
}

impl<A: Told, B: Told> Told for Either<A, B> {
    fn describe(sheet: &mut Sheet) {
        A::describe(sheet);
        B::describe(sheet);
    }
}

/// Plain text, however it comes.
#[derive(Debug)]
pub struct Text(pub Response);

impl Text {
    /// Lines as they come, until `closed`, or until `unseen`: whoever reads them may do so no longer.
    pub(super) fn flowing(
        lines: impl Stream<Item = String> + Send + 'static,
        closed: CancellationToken,
        unseen: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let over = async move {
            tokio::select! {
                () = closed.cancelled() => {}
                () = unseen => {}
            }
        };
        let pieces =
            lines.ready_chunks(LINES_AT_ONCE).map(|lines| Ok::<_, Infallible>(lines.concat())).take_until(over);
        let headers = [
            (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
            (header::CACHE_CONTROL, "no-store"),
            // nginx would keep lines back until a buffer is full.
            (HeaderName::from_static("x-accel-buffering"), "no"),
        ];
        Self((headers, Body::from_stream(pieces)).into_response())
    }
}

/// A packed archive, or a range of it.
#[derive(Debug)]
pub struct Archive(pub Response);

/// An archive of folders that is not packed, or a range of it.
#[derive(Debug)]
pub struct Folders(pub Response);

impl IntoResponse for Text {
    fn into_response(self) -> Response {
        self.0
    }
}

impl IntoResponse for Archive {
    fn into_response(self) -> Response {
        self.0
    }
}

impl Told for Text {
    fn describe(sheet: &mut Sheet) {
        sheet.answers(200, "text/plain", Schema::from(ObjectBuilder::new().schema_type(Type::String).build()));
    }
}

impl IntoResponse for Folders {
    fn into_response(self) -> Response {
        self.0
    }
}

impl Told for Archive {
    fn describe(sheet: &mut Sheet) {
        in_ranges(sheet, "application/gzip");
    }
}

impl Told for Folders {
    fn describe(sheet: &mut Sheet) {
        in_ranges(sheet, "application/x-tar");
    }
}

fn in_ranges(sheet: &mut Sheet, content_type: &str) {
    for status in [200, 206, 416] {
        sheet.answers(status, content_type, utoipa::openapi::schema::empty());
    }
}

/// A page for a browser.
#[derive(Debug)]
pub struct Page(pub &'static str);

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        axum::response::Html(self.0).into_response()
    }
}

impl Told for Page {
    fn describe(sheet: &mut Sheet) {
        sheet.answers(200, "text/html", Schema::from(ObjectBuilder::new().schema_type(Type::String).build()));
    }
}

/// 422 with `{"errors": ["…"]}`: the one refusal that clients of 2017 read as a plain list.
#[derive(Debug)]
pub struct PlainList(pub String);

impl IntoResponse for PlainList {
    fn into_response(self) -> Response {
        (StatusCode::UNPROCESSABLE_ENTITY, Json(serde_json::json!({ "errors": [self.0] }))).into_response()
    }
}

impl Told for PlainList {
    fn describe(sheet: &mut Sheet) {
        let text = ObjectBuilder::new().schema_type(Type::String);
        let body = ObjectBuilder::new().property("errors", ArrayBuilder::new().items(text)).required("errors");
        sheet.answers(422, "application/json", Schema::from(body.build()));
    }
}

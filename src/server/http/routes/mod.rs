//! The list of routes, and the API's description made of it.
//!
//! A route is one line: method, path, handler, what it is for. What it reads and answers is not written down a second
//! time: the handler's own parameters and answer describe themselves ([`Part`], [`Told`]), so the document at
//! `/api/openapi.json` cannot say something else than the code does. The same list is what the tests walk through.
//! Deliberately absent: git over HTTP, which its own documents describe, and attributes on handlers.

mod described;
mod document;
mod sheet;

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, get, on};
use bytes::Bytes;

pub use described::{Described, Part, Told};
pub(super) use document::{KEY, PASSWORD};
pub use sheet::Sheet;

/// Where the description is served.
pub const DOCUMENT: &str = "/api/openapi.json";

/// A route: what it answers to, and its description.
#[derive(Clone)]
pub struct Row {
    /// What it answers to.
    pub method: Method,
    /// With its segments in braces.
    pub path: &'static str,
    /// What it reads and answers.
    pub sheet: Sheet,
}

/// Routes with their descriptions.
pub struct Routes<S> {
    router: Router<S>,
    rows: Vec<Row>,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { router: Router::new(), rows: Vec::new() }
    }

    /// `GET PATH`; `words` say what for, as "lists …".
    pub fn get<H, T>(self, path: &'static str, handler: H, words: &'static str) -> Self
    where
        H: Handler<T, S> + Described<T>,
        T: 'static,
    {
        self.on(Method::GET, MethodFilter::GET, path, handler, words)
    }

    /// `POST PATH`.
    pub fn post<H, T>(self, path: &'static str, handler: H, words: &'static str) -> Self
    where
        H: Handler<T, S> + Described<T>,
        T: 'static,
    {
        self.on(Method::POST, MethodFilter::POST, path, handler, words)
    }

    /// `PUT PATH`.
    pub fn put<H, T>(self, path: &'static str, handler: H, words: &'static str) -> Self
    where
        H: Handler<T, S> + Described<T>,
        T: 'static,
    {
        self.on(Method::PUT, MethodFilter::PUT, path, handler, words)
    }

    /// `PATCH PATH`.
    pub fn patch<H, T>(self, path: &'static str, handler: H, words: &'static str) -> Self
    where
        H: Handler<T, S> + Described<T>,
        T: 'static,
    {
        self.on(Method::PATCH, MethodFilter::PATCH, path, handler, words)
    }

    /// `DELETE PATH`.
    pub fn delete<H, T>(self, path: &'static str, handler: H, words: &'static str) -> Self
    where
        H: Handler<T, S> + Described<T>,
        T: 'static,
    {
        self.on(Method::DELETE, MethodFilter::DELETE, path, handler, words)
    }

    /// Documents one more status of the route before: a refusal that its types do not tell.
    pub fn refusing(mut self, status: u16, words: &str) -> Self {
        if let Some(row) = self.rows.last_mut() {
            row.sheet.refuses(status, words);
        }
        self
    }

    /// All of both.
    pub fn merge(mut self, other: Self) -> Self {
        self.rows.extend(other.rows);
        Self { router: self.router.merge(other.router), rows: self.rows }
    }

    /// Adds the route that serves the description of all that are here, itself included.
    pub fn with_document(mut self) -> Self {
        let mut sheet = Sheet::of("openapi.document", "openapi", DOCUMENT, "describes this API, as OpenAPI 3.1");
        sheet.answers(200, "application/json", utoipa::openapi::schema::empty());
        self.rows.push(Row { method: Method::GET, path: DOCUMENT, sheet });
        let text = Bytes::from(document::of(&self.rows));
        let json = [(axum::http::header::CONTENT_TYPE, "application/json")];
        self.router = self.router.route(DOCUMENT, get(async move || (json, text.clone())));
        self
    }

    /// All that are here.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// What axum serves.
    pub fn into_router(self) -> Router<S> {
        self.router
    }

    fn on<H, T>(
        mut self,
        method: Method,
        filter: MethodFilter,
        path: &'static str,
        handler: H,
        words: &'static str,
    ) -> Self
    where
        H: Handler<T, S> + Described<T>,
        T: 'static,
    {
        let (room, name) = address::<H>();
        let mut sheet = Sheet::of(&format!("{room}.{name}"), room, path, words);
        H::describe(&mut sheet);
        self.rows.push(Row { method, path, sheet });
        self.router = self.router.route(path, on(filter, handler));
        self
    }
}

/// The room and the name of a handler: `domains` and `list`.
fn address<H>() -> (&'static str, &'static str) {
    let mut parts = std::any::type_name::<H>().rsplit("::");
    let name = parts.next().unwrap_or_default();
    (parts.next().unwrap_or_default(), name)
}

#[cfg(test)]
mod tests;

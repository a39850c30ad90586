//! The OpenAPI document: what all routes have in common, and each route's sheet.

use std::collections::{BTreeMap, HashSet};

use axum::http::Method;
use utoipa::PartialSchema;
use utoipa::openapi::path::PathItem;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, HttpMethod, InfoBuilder, License, OpenApiBuilder, PathsBuilder};

use super::Row;
use crate::api::Errors;

/// E-mail address and API key.
pub(in crate::server::http) const KEY: &str = "apiKey";
/// E-mail address and password.
pub(in crate::server::http) const PASSWORD: &str = "password";

const ABOUT: &str = "Success is `{\"data\": …}`; every refusal is `{\"errors\": {\"field\": [\"message\", …]}}`, with an \
    empty field name for general ones. Messages read as suffixes of their field. An empty body counts as `{}`, unknown \
    fields are ignored, nothing is redirected. Another person's app is answered as one that does not exist.";

/// The document's text.
pub(super) fn of(rows: &[Row]) -> Vec<u8> {
    let mut license = License::new("Apache-2.0");
    license.identifier = Some("Apache-2.0".to_owned());
    let info = InfoBuilder::new()
        .title("gigalixir")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(license));
    let schemas = rows.iter().flat_map(|row| row.sheet.schemas.iter().cloned());
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas.collect::<BTreeMap<_, _>>())
        .schema("Errors", Errors::schema())
        .security_scheme(KEY, basic("E-mail address and API key; percent-encoded ones are understood too."))
        .security_scheme(PASSWORD, basic("E-mail address and password; percent-encoded ones are understood too."));
    let document =
        OpenApiBuilder::new().info(info.build()).paths(paths(rows)).components(Some(components.build())).build();
    // Its types hold nothing that JSON cannot.
    serde_json::to_vec(&document).unwrap_or_default()
}

fn basic(words: &str) -> SecurityScheme {
    SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Basic).description(Some(words)).build())
}

fn paths(rows: &[Row]) -> utoipa::openapi::Paths {
    let mut items: BTreeMap<&str, PathItem> = BTreeMap::new();
    let mut ids = HashSet::new();
    for row in rows {
        let mut sheet = row.sheet.clone();
        if row.method != Method::GET {
            sheet.refuses(403, "One's role does not reach so far, or nobody may now.");
            sheet.refuses(404, "Something that it names is not there.");
            sheet.refuses(409, "Something else is going on.");
            sheet.refuses(422, "It asks for what cannot be.");
        }
        sheet.refuses(429, "Asked too often; `Retry-After` says when to ask again.");
        sheet.refuses(503, "Not now; the message says why.");
        let mut operation = sheet.operation;
        operation.operation_id = operation
            .operation_id
            .map(|id| if ids.insert(id.clone()) { id } else { format!("{id}.{}", row.method.as_str().to_lowercase()) });
        let item = PathItem::new(method(&row.method), operation);
        items.entry(row.path).or_default().merge_operations(item);
    }
    items.into_iter().fold(PathsBuilder::new(), |paths, (path, item)| paths.path(path, item)).build()
}

fn method(method: &Method) -> HttpMethod {
    match *method {
        Method::POST => HttpMethod::Post,
        Method::PUT => HttpMethod::Put,
        Method::PATCH => HttpMethod::Patch,
        Method::DELETE => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

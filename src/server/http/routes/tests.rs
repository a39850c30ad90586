//! The description by itself: complete, and consistent with itself.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Row, document};
use crate::server::http::routes;

fn rows() -> Vec<Row> {
    routes().rows().to_vec()
}

fn document() -> Value {
    serde_json::from_slice(&document::of(&rows())).unwrap()
}

#[test]
fn every_route_is_described_and_nothing_else_is() {
    let document = document();
    let mut described: Vec<(String, String)> = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{method} {path} does not say what for");
            described.push((method.to_uppercase(), path.clone()));
        }
    }
    let mut listed: Vec<_> = rows().iter().map(|row| (row.method.to_string(), row.path.to_owned())).collect();
    described.sort();
    listed.sort();
    assert_eq!(described, listed);
}

#[test]
fn a_name_means_one_thing_and_every_name_is_known() {
    let mut known = BTreeMap::new();
    for (name, schema) in rows().into_iter().flat_map(|row| row.sheet.schemas) {
        let schema = serde_json::to_value(schema).unwrap();
        let before = known.entry(name.clone()).or_insert_with(|| schema.clone());
        assert_eq!(*before, schema, "two types are called {name}");
    }
    let document = document();
    let text = document.to_string();
    for (_, rest) in text.match_indices("\"#/components/schemas/").map(|(at, found)| text.split_at(at + found.len())) {
        let name = rest.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name} is not described");
    }
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    for row in rows() {
        let operation = serde_json::to_value(&row.sheet.operation).unwrap();
        for scheme in operation["security"].as_array().unwrap().iter().flat_map(|one| one.as_object().unwrap().keys()) {
            assert!(schemes.contains_key(scheme), "{} {}: {scheme}", row.method, row.path);
        }
    }
}

#[test]
fn operations_have_names_of_their_own() {
    let document = document();
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
    let mut ids: Vec<_> = operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all);
    assert!(ids.contains(&"domains.list") && ids.contains(&"openapi.document"), "{ids:?}");
}

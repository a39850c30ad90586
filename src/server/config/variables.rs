//! The environment variables, whose names are not written down: each key of `config/server.toml` is one, `GIGALIXIR_` and the
//! key's path in capitals (`smtp.host` is `GIGALIXIR_SMTP_HOST`), of the type the file shows.

use toml::{Table, Value};

/// The operator's file as it is installed: documents every key and shows its default, or an example behind `#`.
pub(super) const DOCUMENTED: &str = include_str!("../../../config/server.toml");

/// Every key, the optional ones with their examples.
pub(super) fn documented() -> Table {
    let shown: Vec<&str> = DOCUMENTED.lines().map(|line| if is_example(line) { &line[1..] } else { line }).collect();
    shown.join("\n").parse().unwrap_or_default()
}

/// `#key = value`; prose has a blank after its `#`.
fn is_example(line: &str) -> bool {
    line.starts_with('#') && line[1..].starts_with(|c: char| c.is_ascii_lowercase())
}

/// Every value with the path of its key.
pub(super) fn leaves(table: &Table) -> Vec<(Vec<String>, Value)> {
    let mut found = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) => found.extend(leaves(inner).into_iter().map(|(mut path, value)| {
                path.insert(0, key.clone());
                (path, value)
            })),
            leaf => found.push((vec![key.clone()], leaf.clone())),
        }
    }
    found
}

/// Puts a value where the path leads, over what is there.
pub(super) fn overlay(table: &mut Table, path: &[String], value: Value) {
    match path {
        [] => {}
        [key] => {
            table.insert(key.clone(), value);
        }
        [key, rest @ ..] => {
            if let Value::Table(inner) = table.entry(key.clone()).or_insert_with(|| Value::Table(Table::new())) {
                overlay(inner, rest, value);
            }
        }
    }
}

/// A variable's text as a value of the example's type; lists are separated by commas.
pub(super) fn typed(text: &str, example: &Value) -> Value {
    match example {
        Value::Integer(_) => text.trim().parse().map_or_else(|_| Value::String(text.into()), Value::Integer),
        Value::Boolean(_) => text.trim().parse().map_or_else(|_| Value::String(text.into()), Value::Boolean),
        Value::Array(_) => Value::Array(text.split(',').map(|part| Value::String(part.trim().into())).collect()),
        _ => Value::String(text.into()),
    }
}

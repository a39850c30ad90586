//! Config variables as text: `.env` and JSON files in both directions, and lines for a shell.

use std::collections::BTreeMap;

use serde_json::Value;

use super::error::Error;

/// Name → value.
pub type Variables = BTreeMap<String, String>;

/// `K=V` as typed on a command line; the value may be empty or hold further `=`.
pub fn from_pairs(pairs: &[String]) -> Result<Variables, Error> {
    pairs.iter().map(|pair| from_pair(pair)).collect()
}

fn from_pair(pair: &str) -> Result<(String, String), Error> {
    match pair.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        // What has no `=` may be a secret in the wrong place: it is not repeated.
        _ => Err(Error::usage("a variable is set as `NAME=value`, and one argument has no name or no `=`")
            .hint("quote a value with blanks: `gigalixir config:set GREETING=\"hello world\"`")),
    }
}

/// Reads a file's text: a JSON object if it begins with `{`, else `.env` lines.
pub fn from_text(text: &str) -> Result<Variables, Error> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('{') { from_json(text) } else { from_env(text) }
}

fn from_json(text: &str) -> Result<Variables, Error> {
    let object: serde_json::Map<String, Value> = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Error::usage(format!("line {line}, column {column} of the JSON text cannot be read"))
    })?;
    let value = |name: &str, value: Value| match value {
        Value::String(text) => Ok(text),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => Err(Error::usage(format!("`{name}` is neither text nor a number; variables are flat"))),
    };
    object.into_iter().map(|(name, json)| value(&name, json).map(|text| (name, text))).collect()
}

fn from_env(text: &str) -> Result<Variables, Error> {
    let pairs: Result<Variables, dotenvy::Error> = dotenvy::from_read_iter(text.as_bytes()).collect();
    pairs.map_err(|error| {
        Error::usage(format!("{} not in the `.env` format: lines of `NAME=value`", unreadable(text, &error)))
            .hint("put a value with blanks, quotes, `$` or `#` between single quotes, or import JSON")
    })
}

/// Which line cannot be read; never what it says, for that may be a secret.
fn unreadable(text: &str, error: &dotenvy::Error) -> String {
    let dotenvy::Error::LineParse(line, _) = error else { return "the text is".to_owned() };
    let first = line.lines().next().unwrap_or_default();
    match text.lines().position(|candidate| candidate.trim_end() == first.trim_end()) {
        Some(number) => format!("line {} is", number + 1),
        None => "the text is".to_owned(),
    }
}

/// A `.env` file that [`from_text`] reads back to the same variables.
pub fn to_env(variables: &Variables) -> Result<String, Error> {
    let line = |(name, value): (&String, &String)| {
        check_name(name)?;
        Ok(format!("{name}={}\n", env_value(value)))
    };
    variables.iter().map(line).collect()
}

fn env_value(value: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+,=?&~".contains(c);
    if value.chars().all(bare) {
        return value.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' | '$' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            other => quoted.push(other),
        }
    }
    quoted + "\""
}

/// Lines that a POSIX shell evaluates: `export NAME='value'`.
pub fn to_shell(variables: &Variables) -> Result<String, Error> {
    let line = |(name, value): (&String, &String)| {
        check_name(name)?;
        Ok(format!("export {name}='{}'\n", value.replace('\'', r"'\''")))
    };
    variables.iter().map(line).collect()
}

/// A name from the server goes into text that shells evaluate: it must be a name and nothing else.
fn check_name(name: &str) -> Result<(), Error> {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    if name.starts_with(first) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Ok(());
    }
    Err(Error::failed(format!("`{}` is no name that a shell knows", name.escape_debug()))
        .hint("`--format json` exports every name"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn pairs_split_at_the_first_equals_sign() {
        let pairs = ["A=1".to_owned(), "URL=postgres://x?a=b".to_owned(), "EMPTY=".to_owned()];
        let expected = variables(&[("A", "1"), ("URL", "postgres://x?a=b"), ("EMPTY", "")]);
        assert_eq!(from_pairs(&pairs).unwrap(), expected);
        for wrong in ["hunter2", "=hunter2"] {
            let error = from_pairs(&[wrong.to_owned()]).unwrap_err();
            assert!(!error.message.contains("hunter2"));
        }
    }

    #[test]
    fn files_in_the_wild() {
        let env = "# comment\nexport A=1\nB='a $b # c'\nC=\"two\\nlines\" # note\n\nD=\nE=\"real\nlines\"\r\n";
        let expected = [("A", "1"), ("B", "a $b # c"), ("C", "two\nlines"), ("D", ""), ("E", "real\nlines")];
        assert_eq!(from_text(env).unwrap(), variables(&expected));
        assert_eq!(from_text("\u{feff}A=1").unwrap(), variables(&[("A", "1")]));
        let json = " {\"A\": \"1\", \"PORT\": 4000, \"ON\": true}";
        assert_eq!(from_text(json).unwrap(), variables(&[("A", "1"), ("ON", "true"), ("PORT", "4000")]));
        for wrong in ["{\"A\": null}", "{\"A\": [1]}", "{\"A\": \"hunter2\"", "not a line hunter2", "A='hunter2"] {
            let error = from_text(wrong).unwrap_err();
            assert!(!error.message.contains("hunter2"), "{error}");
        }
        let error = from_text("# first\nA=1\nno line hunter2\nB=2\n").unwrap_err();
        assert_eq!(error.message, "line 3 is not in the `.env` format: lines of `NAME=value`");
    }

    #[test]
    fn shells_get_values_not_code() {
        let text = to_shell(&variables(&[("A", "it's $(rm -rf /)\n`x`")])).unwrap();
        assert_eq!(text, "export A='it'\\''s $(rm -rf /)\n`x`'\n");
        assert!(to_shell(&variables(&[("A;rm -rf /", "x")])).is_err());
        assert!(to_env(&variables(&[("A\nB", "x")])).is_err());
    }

    proptest! {
        #[test]
        fn an_exported_env_file_imports_as_it_was(
            pairs in proptest::collection::btree_map("[A-Z_][A-Z0-9_]{0,6}", any::<String>(), 0..5)
        ) {
            let text = to_env(&pairs).unwrap();
            prop_assert_eq!(from_text(&text).unwrap(), pairs);
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _ = from_text(&text);
        }
    }
}

//! The house's rules as ordinary tests: which room may import which, where each heavy dependency lives, how long a
//! file may be, that no shell is started, that nothing of one machine is written down.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Room → the rooms it may import. A room is a file or folder directly below `src/` or `src/server/`.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("client", &["api"]),
    ("cli", &["client"]),
    ("server::domain", &[]),
    ("server::progress", &[]),
    ("server::steps", &[]),
    ("server::clock", &[]),
    ("server::announced", &[]),
    ("server::signing", &[]),
    ("server::config", &["server::domain"]),
    ("server::seal", &[]),
    ("server::telemetry", &["server::config"]),
    ("server::mail", &["server::domain", "server::config"]),
    ("server::store", &["server::domain"]),
    ("server::beam", &[]),
    ("server::nodes", &["server::domain", "server::beam", "server::runtime"]),
    (
        "server::hot",
        &["server::domain", "server::beam", "server::builder", "server::progress", "server::runtime", "server::store"],
    ),
    ("server::cluster", &["server::domain"]),
    ("server::confine", &[]),
    ("server::logs", &["server::domain"]),
    ("server::slugs", &["server::domain", "server::signing"]),
    ("server::parcels", &["server::signing"]),
    ("server::receiver", &["server::domain", "server::progress", "server::steps"]),
    (
        "server::builder",
        &[
            "server::domain",
            "server::progress",
            "server::steps",
            "server::confine",
            "server::docker",
            "server::parcels",
        ],
    ),
    ("server::docker", &[]),
    ("server::stacks", &["server::domain", "server::docker"]),
    ("server::router", &["server::announced", "server::domain"]),
    ("server::drains", &["server::domain", "server::logs", "server::seal", "server::store"]),
    ("server::gauges", &["server::domain", "server::clock", "server::runtime"]),
    ("server::metering", &["server::domain", "server::clock", "server::store", "server::runtime"]),
    (
        "server::jobs",
        &[
            "server::domain",
            "server::progress",
            "server::steps",
            "server::clock",
            "server::logs",
            "server::store",
            "server::releases",
            "server::runtime",
        ],
    ),
    (
        "server::tls",
        &["server::announced", "server::domain", "server::steps", "server::config", "server::seal", "server::store"],
    ),
    ("server::runtime", &["server::domain", "server::confine", "server::docker"]),
    ("server::ssh", &["server::actions", "server::domain", "server::runtime"]),
];

/// Crate → the only rooms that may name it.
const ADDRESSES: &[(&str, &[&str])] = &[
    ("rusqlite", &["server::store"]),
    ("gix", &["server::receiver"]),
    ("ppp", &["server::announced"]),
    ("httparse", &["server::router"]),
    ("gix_pack", &["server::receiver"]),
    ("gix_packetline", &["server::receiver"]),
    ("axum", &["server::http"]),
    ("bollard", &["server::docker", "server::runtime", "server::builder"]),
    ("utoipa", &["api", "server::http"]),
    ("lettre", &["server::mail"]),
    ("croner", &["server::jobs"]),
    ("russh", &["server::ssh"]),
    ("object_store", &["server::slugs"]),
    ("kube", &["server::runtime"]),
    ("k8s_openapi", &["server::runtime"]),
    ("kube_quantity", &["server::runtime"]),
    ("rcgen", &["server::cluster", "server::tls"]),
    ("argon2", &["server::actions"]),
    ("totp_rs", &["server::actions"]),
    ("ratatui", &["client"]),
    ("md5", &["server::beam"]),
    ("clap", &["cli", "client"]),
    ("clap_complete", &["cli", "client"]),
    ("comfy_table", &["client"]),
    ("aes_gcm", &["server::seal"]),
    ("rustls_platform_verifier", &["server::drains"]),
    ("instant_acme", &["server::tls"]),
    ("x509_parser", &["server::tls"]),
    ("hickory_proto", &["server::tls"]),
    ("hickory_resolver", &["server::tls"]),
    ("tokio_rustls", &["server::cluster", "server::drains", "server::tls"]),
];

/// Production lines a file may have.
const LONGEST_FILE: usize = 400;

struct Source {
    path: PathBuf,
    room: String,
    /// Without the test module and comments.
    code: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("folder").flatten() {
        let path = entry.path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    files(&root().join("src"), &mut paths);
    paths.retain(|path| path.extension().is_some_and(|e| e == "rs"));
    paths.into_iter().filter(|path| !is_test(path)).map(read).collect()
}

fn is_test(path: &Path) -> bool {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let below_tests = path.iter().any(|part| part == "tests" && !path.starts_with(root().join("tests")));
    below_tests || name == "tests" || name == "testing" || name.ends_with("_tests")
}

fn read(path: PathBuf) -> Source {
    let text = std::fs::read_to_string(&path).expect("source");
    let production = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
    let code = production.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let relative = path.strip_prefix(root().join("src")).expect("below src");
    let parts: Vec<String> = relative.with_extension("").iter().map(|p| p.to_string_lossy().into_owned()).collect();
    let depth = if parts[0] == "server" { 2 } else { 1 };
    let room = parts.iter().take(depth).cloned().collect::<Vec<_>>().join("::");
    Source { path, room, code }
}

/// The absolute module path of a file: `server::store::mod` is `server::store`.
fn module(source: &Source) -> Vec<String> {
    let relative = source.path.strip_prefix(root().join("src")).expect("below src").with_extension("");
    let mut parts: Vec<String> = relative.iter().map(|p| p.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod" || last == "lib") {
        parts.pop();
    }
    parts
}

/// Every `crate::…` and `super::…` path in a file, absolute, with braces expanded.
fn imports(source: &Source) -> BTreeSet<Vec<String>> {
    let here = module(source);
    let flat = source.code.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut found = BTreeSet::new();
    for (start, _) in flat.match_indices("crate::").chain(flat.match_indices("super::")) {
        let before = flat[..start].chars().next_back().unwrap_or(' ');
        if before.is_alphanumeric() || before == '_' || before == ':' {
            continue;
        }
        let mut base = if flat[start..].starts_with("crate::") { Vec::new() } else { here.clone() };
        let mut rest = &flat[start..];
        while let Some(after) = rest.strip_prefix("super::") {
            base.pop();
            rest = after;
        }
        expand(&base, rest.strip_prefix("crate::").unwrap_or(rest), &mut found);
    }
    found
}

/// Adds `base::PATH` for each path that `text` begins with, a brace group giving several.
fn expand(base: &[String], text: &str, found: &mut BTreeSet<Vec<String>>) {
    let text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        let mut depth = 0;
        let mut start = 0;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    expand(base, &group[start..at], found);
                    start = at + 1;
                    if c == '}' {
                        return;
                    }
                }
                _ => {}
            }
        }
        return;
    }
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    if name.is_empty() || name == "self" {
        found.insert(base.to_vec());
        return;
    }
    let path = [base, std::slice::from_ref(&name)].concat();
    match text[name.len()..].strip_prefix("::") {
        Some(rest) => expand(&path, rest, found),
        None => {
            found.insert(path);
        }
    }
}

fn room_of(path: &[String]) -> Option<String> {
    match path.first().map(String::as_str) {
        Some("server") if path.len() > 1 => Some(format!("server::{}", path[1])),
        Some(first @ ("api" | "client" | "cli")) => Some(first.to_owned()),
        _ => None,
    }
}

#[test]
fn imports_go_one_way() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(room, _)| *room == source.room) else { continue };
        for path in imports(&source) {
            let Some(room) = room_of(&path) else { continue };
            if room != source.room && !allowed.contains(&room.as_str()) {
                wrong.push(format!("{} imports {}", source.path.display(), path.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn stages_and_doors_do_not_import_what_stands_above_them() {
    let above: &[(&str, &[&str])] = &[
        ("server::deployer", &["server::pipeline", "server::actions", "server::http", "server::ssh"]),
        ("server::pipeline", &["server::actions", "server::http", "server::ssh"]),
        ("server::actions", &["server::http", "server::ssh"]),
    ];
    let mut wrong = Vec::new();
    for source in sources() {
        let forbidden = above.iter().find(|(room, _)| *room == source.room).map_or(&[][..], |(_, rooms)| rooms);
        for path in imports(&source) {
            if room_of(&path).is_some_and(|room| forbidden.contains(&room.as_str()) || room == "client")
                && source.room.starts_with("server")
            {
                wrong.push(format!("{} imports {}", source.path.display(), path.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn heavy_dependencies_have_one_address() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (name, rooms) in ADDRESSES {
            let named = [format!("{name}::"), format!("use {name};")].iter().any(|text| {
                source.code.match_indices(text.as_str()).any(|(at, _)| {
                    let before = source.code[..at].chars().next_back().unwrap_or(' ');
                    !before.is_alphanumeric() && before != '_' && before != ':'
                })
            });
            if named && !rooms.contains(&source.room.as_str()) {
                wrong.push(format!("{} names {name}, which lives in {rooms:?}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_short() {
    let long: Vec<_> = sources()
        .into_iter()
        .map(|source| (source.code.lines().count(), source.path))
        .filter(|(lines, _)| *lines > LONGEST_FILE)
        .collect();
    assert!(long.is_empty(), "over {LONGEST_FILE} production lines: {long:?}");
}

#[test]
fn no_shell_is_started_on_the_host() {
    let shells =
        ["Command::new(\"sh\")", "Command::new(\"bash\")", "Command::new(\"/bin/sh\")", "Command::new(\"/bin/bash\")"];
    let wrong: Vec<_> =
        sources().into_iter().filter(|s| shells.iter().any(|shell| s.code.contains(shell))).map(|s| s.path).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// What does not go through `http/routes/` is not described by `/api/openapi.json`, and no test walks through it.
#[test]
fn routes_are_made_in_one_place() {
    let homes = ["src/server/http/routes/mod.rs", "src/server/http/git.rs"].map(|home| root().join(home));
    let wrong: Vec<_> = sources()
        .into_iter()
        .filter(|s| s.room == "server::http" && s.code.contains(".route(") && !homes.contains(&s.path))
        .map(|s| s.path)
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn every_test_file_is_listed() {
    let main = std::fs::read_to_string(root().join("tests/main.rs")).expect("tests/main.rs");
    for entry in std::fs::read_dir(root().join("tests")).expect("tests").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(module) = name.strip_suffix(".rs").filter(|m| *m != "main") else { continue };
        assert!(main.contains(&format!("mod {module};")), "tests/{name} is not listed in tests/main.rs");
    }
}

#[test]
fn every_example_has_a_readme_and_a_test() {
    let tests = std::fs::read_to_string(root().join("tests/examples.rs")).expect("tests/examples.rs");
    for entry in std::fs::read_dir(root().join("examples")).expect("examples").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(entry.path().join("README.md").exists(), "examples/{name} has no README.md");
        assert!(tests.contains(&format!("\"{name}\"")), "no test pushes examples/{name}");
    }
}

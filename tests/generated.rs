//! Requests made up from `/api/openapi.json` by schemathesis, right ones and wrong ones, at every route of a real
//! server, as several people: no 5xx, no hang, no answer that is not described, and no refusal that changes anything.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::harness::{Server, Wire};

const UNLIMITED: &str = "signups = \"open\"\n[rates]\nrequests_per_address = 0\nrequests_per_account = 0\n\
    codes_per_address = 0\nlogins_per_address = 0\nlogins_per_account = 0\nmails_per_recipient = 0\n";

/// Seconds for one person's requests; schemathesis ends by itself when it has no more to try.
const SECONDS: &str = "15";

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_schema_conformance,unsupported_method,allow_header_conformance,a_refusal_changes_nothing";

#[test]
fn whatever_is_asked_is_answered_as_described() {
    let Some(program) = schemathesis() else { return };
    let server = Server::with_config(UNLIMITED);
    let wire = Wire::of(&server);
    let (ada, ben) = (wire.sign_up(&server, "ada@example.com"), wire.sign_up(&server, "ben@example.com"));
    let owner = Some(("ada@example.com", ada.as_str()));
    wire.ask(owner, "POST", "/api/apps", json!({ "unique_name": "hill" })).data(201);
    wire.ask(owner, "POST", "/api/apps/hill/configs", json!({ "configs": { "A": "1" } })).data(201);
    let viewer = json!({ "email": "ben@example.com", "role": "VIEWER" });
    wire.ask(owner, "POST", "/api/apps/hill/permissions", viewer).data(201);

    let people = [None, Some(format!("ben@example.com:{ben}")), Some(format!("ada@example.com:{ada}"))];
    for person in people {
        let folder = tempfile::tempdir().expect("folder");
        let mut command = Command::new(&program);
        command.arg("run").arg(format!("{}/api/openapi.json", server.url()));
        command.args(["--checks", CHECKS, "--phases", "coverage,fuzzing", "--mode", "all"]);
        command.args(["--max-examples", "5", "--seed", "1", "--max-time", SECONDS, "--request-timeout", "20"]);
        command.args(["--generation-database", "none", "--continue-on-failure", "--no-color", "--warnings", "off"]);
        // Its success is the end of all the others'.
        command.args(["--exclude-operation-id", "apps.destroy"]);
        if let Some(person) = &person {
            command.args(["--auth", person]);
        }
        command.env("SCHEMATHESIS_HOOKS", "hooks").env("GENERATED_APP", "hill");
        command.env("GENERATED_DATABASE", server.data().join("gigalixir.db"));
        command.env("PYTHONPATH", Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/generated"));
        // It keeps what it found in the folder it runs in, and would begin with that the next time.
        command.current_dir(folder.path()).stdin(Stdio::null());
        command.env("PYTHONDONTWRITEBYTECODE", "1").env_remove("RUST_BACKTRACE");
        let ran = command.output().expect("schemathesis");
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success(), "as {person:?}:\n{said}\n{}", String::from_utf8_lossy(&ran.stderr));
        let cases = said.lines().find(|line| line.contains(" generated"));
        assert!(cases.is_some(), "it says that it has asked something:\n{said}");
    }
    assert_eq!(wire.ask(None, "GET", "/healthz", json!(null)).status, 200, "and the server is as well as before");
}

/// Where `tests/setup` puts it; its absence is said aloud.
fn schemathesis() -> Option<std::path::PathBuf> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/bin/schemathesis");
    let there = program.exists();
    if !there {
        eprintln!("SKIPPED: schemathesis is not installed; tests/setup does it");
        println!("SKIPPED: schemathesis is not installed");
    }
    there.then_some(program)
}

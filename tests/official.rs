//! The proof of compatibility: Gigalixir's own client, as PyPI has it, against our server.

use std::time::Duration;

use crate::harness::{Official, Project, Server, newest_code, newest_mail, wait_until};

/// Generous: the machine may be busy.
const LIMIT: Duration = Duration::from_secs(60);
const ADA: &str = "ada+x@example.com";
/// Every character that an encoding could lose.
const PASSWORD: &str = "p:a ss/é%41";

/// Somebody who signed up with the official client, and a server.
fn signed_up() -> Option<(Server, Official)> {
    let server = Server::start();
    let official = sign_up(&server)?;
    Some((server, official))
}

/// Signs up with the official client at that server.
pub fn sign_up(server: &Server) -> Option<Official> {
    let official = Official::of(server)?;
    let mut signup = official.talk(&["signup"]);
    signup.say(ADA);
    wait_until("the mail with the code", Duration::from_secs(60), || mailed(server, "Code:"));
    signup.say(&newest_code(server, ADA));
    signup.say(PASSWORD);
    signup.say("HALF");
    signup.say(""); // no promo code after all
    signup.say("1"); // the free tier
    signup.say("y");
    let welcome = signup.end().ok();
    assert!(welcome.contains("Welcome to Gigalixir!"), "{welcome}");
    assert!(welcome.to_lowercase().contains("invalid promo code"), "{welcome}");
    official.introduce(ADA);
    Some(official)
}

/// Whether the newest mail to Ada is there and says `word`.
fn mailed(server: &Server, word: &str) -> bool {
    let outbox = server.data().join("outbox");
    let any = std::fs::read_dir(outbox)
        .is_ok_and(|mails| mails.flatten().any(|m| m.path().extension() == Some("eml".as_ref())));
    any && newest_mail(server, ADA).contains(word)
}

#[track_caller]
fn token_in(mail: &str) -> String {
    let token = mail.lines().find_map(|line| line.trim().strip_prefix("Token:"));
    token.unwrap_or_else(|| panic!("no token in {mail}")).trim().to_owned()
}

#[test]
fn signing_up_in_and_out() {
    let Some((_server, official)) = signed_up() else { return };
    let home = Project::empty(&official.person, "");
    let account = official.json(&home, &["account"]);
    assert_eq!((account["email"].as_str(), account["tier"].as_str()), (Some(ADA), Some("FREE")), "{account}");

    let wrong = official.run(&["login", "-e", ADA, "-p", "not this one"]).fails();
    assert!(wrong.contains("could not authenticate you"), "{wrong}");
    let first = official.key();
    let greeting = official.run(&["login", "-e", ADA, "-p", PASSWORD]).ok_stderr();
    assert!(greeting.contains(&format!("Logged in as {ADA}.")), "{greeting}");
    assert_ne!(official.key(), first, "a login makes a key");
    official.introduce(ADA);
    assert_eq!(official.json(&home, &["account"])["email"], ADA);

    official.run(&["logout"]).ok();
    assert!(official.run(&["logout"]).fails().contains("gigalixir.com"), "there is nothing to forget any more");
}

#[test]
fn keys_and_passwords_are_replaced() {
    let Some((server, official)) = signed_up() else { return };
    let home = Project::empty(&official.person, "");
    assert!(official.run(&["account:api_key:reset", "-p", "wrong wrong", "-y"]).fails().contains("incorrect"));
    official.run(&["account:api_key:reset", "-p", PASSWORD, "-y"]).ok();
    let refused = official.run(&["account"]).fails();
    assert!(refused.contains("you do not have access"), "the former key is void: {refused}");
    official.introduce(ADA);
    official.run(&["account"]).ok();

    let changed = official.json(&home, &["account:password:change", "-p", PASSWORD, "-n", "another good one"]);
    assert!(changed["message"].as_str().is_some_and(|text| text.contains("changed")), "{changed}");
    official.run(&["login", "-e", ADA, "-p", "another good one", "-y"]).ok();

    official.run(&["account:password:reset", "-e", ADA]).ok();
    wait_until("the mail with the token", Duration::from_secs(10), || mailed(&server, "Token:"));
    let token = token_in(&newest_mail(&server, ADA));
    assert_eq!(official.run(&["account:password:set", "-t", &token, "-p", "a third fine one"]).ok(), "");
    assert!(official.run(&["account:password:set", "-t", &token, "-p", "a fourth one"]).fails().contains("token"));
    official.run(&["login", "-e", ADA, "-p", "a third fine one", "-y"]).ok();
    official.run(&["account:confirmation:resend", "-e", ADA]).ok();
}

#[test]
fn a_day_with_an_app() {
    let Some((server, official)) = signed_up() else { return };
    let project = Project::empty(&official.person, "hello");
    let refused = official.run(&["apps:create", "-n", "hello"]).fails();
    assert!(refused.contains("git repository"), "only inside a repository: {refused}");
    assert_eq!(official.run_in(&project, &["apps:create", "-n", "Hello"]).ok(), "hello\n", "only the name is printed");
    assert!(official.run_in(&project, &["create", "-n", "hello"]).fails().contains("taken"));
    let remote = official.person.git(&project, &["remote", "-v"]).ok();
    assert!(remote.contains(&format!("{}/git.gigalixir.com/hello.git/", server.url())), "{remote}");

    project.greet_by_python(&official.person, "one");
    official.json(&project, &["config:set", "FOO=bar", "TWO=a b=c"]);
    assert_eq!(official.json(&project, &["config"]), serde_json::json!({ "FOO": "bar", "TWO": "a b=c" }));
    project.push(&official.person);
    assert!(server.visit("hello", "/").body.starts_with("one "));
    assert_eq!(server.visit("hello", "/env/FOO").body.trim(), "bar");
    let pod = || official.json(&project, &["ps"])["pods"][0]["name"].clone();
    let before = pod();
    official.json(&project, &["config:set", "--no_restart", "LATER=1"]);
    assert_eq!((pod(), server.visit("hello", "/env/LATER").body.trim()), (before, ""), "nothing was restarted");
    assert!(official.run_in(&project, &["config:set", "NONSENSE"]).code == Some(1), "no `=`");
    official.json(&project, &["config:unset", "LATER"]);
    official.json(&project, &["config:unset", "TWO"]);
    assert_eq!(official.json(&project, &["config"]), serde_json::json!({ "FOO": "bar" }));

    let app = official.json(&project, &["apps:info"]);
    assert_eq!(official.json(&project, &["apps"]), serde_json::json!([app.clone()]));
    for field in ["unique_name", "size", "replicas", "region", "cloud", "stack", "version"] {
        assert!(app.get(field).is_some(), "`{field}` is missing: {app}");
    }
    let stack = app["stack"].as_str().expect("stack").to_owned();
    official.json(&project, &["stack:set", "-s", &stack]);
    assert!(official.run_in(&project, &["stack:set", "-s", "no-such-stack"]).fails().contains("stack"));

    scaling(&official, &project);
    releasing(&server, &official, &project);

    let logs = official.run_in(&project, &["logs", "-t", "-n", "1000"]).ok();
    assert!(logs.contains("request /env/FOO"), "{logs}");
    assert_eq!(official.run_in(&project, &["logs", "-t", "-n", "2"]).ok().lines().count(), 2);
    let said = official.listen(&project, &["logs"], "request /env/WHILE_IT_IS_READ", || {
        server.visit("hello", "/env/WHILE_IT_IS_READ");
    });
    assert!(said.contains("web.1  | "), "each line as it comes: {said}");

    let other = Project::empty(&official.person, "other");
    official.run_in(&other, &["apps:create", "-n", "other"]).ok();
    official.json(&other, &["config:copy", "-s", "hello", "-d", "other", "-y"]);
    assert_eq!(official.json(&other, &["config"]), serde_json::json!({ "FOO": "bar" }), "found by the remote");
    official.run_in(&other, &["git:remote", "hello"]).ok();
    assert_eq!(official.json(&other, &["apps:info"])["unique_name"], "hello");

    assert_eq!(official.json(&project, &["apps:destroy", "-y"]), "deleted");
    assert_eq!(server.visit("hello", "/").status, 404);
    let gone = official.run_in(&project, &["ps"]).fails();
    assert!(gone.contains("not found") || gone.contains("no app"), "{gone}");
}

/// `run` is a job in a fresh container: it returns at once, `ps` shows the job, `logs` what it says.
#[test]
fn a_command_is_run_in_a_container_of_its_own() {
    let Some((_server, official)) = signed_up() else { return };
    let project = Project::empty(&official.person, "hello");
    official.run_in(&project, &["apps:create", "-n", "hello"]).ok();
    assert!(
        official.run_in(&project, &["run", "true"]).fails().contains("code"),
        "there is nothing to run it with yet"
    );
    project.greet_by_python(&official.person, "one");
    project.push(&official.person);
    official.json(&project, &["config:set", "WORD=a  b"]);
    let script = "echo \"<$WORD> $1\"; sleep 1000";
    let told = official.run_in(&project, &["run", "--", "sh", "-c", script, "sh", "it's"]).ok();
    assert!(told.contains("Starting new container to run: `sh -c"), "{told}");
    let logs = || official.run_in(&project, &["logs", "-t", "-n", "1000"]).ok();
    wait_until("its output is in the log", LIMIT, || logs().contains("run.1  | <a  b> it's"));
    let jobs = || {
        let status = official.json(&project, &["ps"]);
        assert_eq!((&status["replicas_desired"], &status["replicas_running"]), (&1.into(), &1.into()), "{status}");
        let pods = status["pods"].as_array().expect("pods").clone();
        pods.into_iter().filter(|pod| pod["process"] == "run").collect::<Vec<_>>()
    };
    let pod = jobs().first().expect("ps shows it").clone();
    assert_eq!(pod["status"], "Running", "it is not counted among what serves: {pod}");
    let name = pod["name"].as_str().expect("a name");
    official.json(&project, &["ps:kill", "-p", name, "-y"]);
    wait_until("it has ended", LIMIT, || jobs().is_empty());
    wait_until("its end is told", LIMIT, || logs().contains("(Stopped)"));
    let refused = official.run_in(&project, &["run"]).fails();
    assert!(refused.contains("command"), "{refused}");
}

/// What scripts read of `ps`.
fn scaling(official: &Official, project: &Project) {
    let head = official.person.git(project, &["rev-parse", "HEAD"]).ok();
    official.json(project, &["ps:scale", "-r", "2", "-s", "0.6"]);
    let status = official.json(project, &["ps"]);
    assert_eq!((status["replicas_desired"].as_u64(), status["replicas_running"].as_u64()), (Some(2), Some(2)));
    // The one of the former size may still be on its way out.
    let (old, pods): (Vec<_>, Vec<_>) =
        status["pods"].as_array().expect("pods").iter().partition(|pod| pod["status"] == "Stopping");
    assert!(pods.len() == 2 && old.len() <= 1, "{status}");
    for pod in pods {
        assert_eq!((pod["sha"].as_str(), pod["status"].as_str()), (Some(head.trim()), Some("Healthy")), "{pod}");
        assert!(pod["name"].is_string() && pod["version"].is_number() && pod.get("lastState").is_some(), "{pod}");
    }
    assert!(official.run_in(project, &["ps:scale", "-s", "0.01"]).fails().contains("size"));
    official.json(project, &["ps:scale", "-r", "1"]);
    assert_eq!(official.json(project, &["ps:restart"]), "restarted");
    let healthy = || {
        let status = official.json(project, &["ps"]);
        let pods = status["pods"].as_array().expect("pods").clone();
        let mut names = pods.iter().filter(|pod| pod["status"] == "Healthy").map(|pod| pod["name"].clone());
        names.next().and_then(|name| name.as_str().map(str::to_owned))
    };
    let victim = healthy().expect("a replica");
    assert!(official.json(project, &["ps:kill", "-p", &victim, "-y"]).is_string());
    wait_until("another takes its place", LIMIT, || healthy().is_some_and(|name| name != victim));
    assert!(official.run_in(project, &["ps:kill", "-p", &victim, "-y"]).fails().contains("no replica"));
}

/// Forward, back by default, back by number.
fn releasing(server: &Server, official: &Official, project: &Project) {
    project.greet(&official.person, "two");
    project.push(&official.person);
    let releases = official.json(project, &["releases"]);
    let versions: Vec<u64> =
        releases.as_array().expect("list").iter().map(|r| r["version"].as_u64().expect("number")).collect();
    assert!(versions.is_sorted_by(|a, b| a > b) && versions.len() >= 2, "newest first: {releases}");
    for field in ["sha", "created_at", "summary", "rollback_id"] {
        assert!(releases[0][field].is_string(), "`{field}` is missing: {releases}");
    }
    assert_eq!(official.json(project, &["releases:rollback"]), "rolled back");
    assert!(server.visit("hello", "/").body.starts_with("one "));
    let newest = versions[0].to_string();
    assert_eq!(official.json(project, &["releases:rollback", "-r", &newest]), "rolled back");
    assert!(server.visit("hello", "/").body.starts_with("two "));
    assert!(official.run_in(project, &["releases:rollback", "-r", "4711"]).fails().contains("release"));
}

#[test]
fn an_account_and_its_extras() {
    let Some((server, official)) = signed_up() else { return };
    let home = Project::empty(&official.person, "");

    assert_eq!(official.json(&home, &["account:ssh_keys"]), serde_json::json!([]));
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ada@home";
    official.run(&["account:ssh_keys:add", key]).ok();
    assert!(official.run(&["account:ssh_keys:add", "nonsense"]).fails().contains("ssh_key"));
    let keys = official.json(&home, &["account:ssh_keys"]);
    assert_eq!(keys[0]["key"], key, "{keys}");
    let id = keys[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(official.run(&["account:ssh_keys:remove", &id]).ok(), "");
    assert!(official.run(&["account:ssh_keys:remove", &id]).fails().contains("no ssh key"));

    let none = official.run(&["account:payment_method"]).ok_stderr();
    assert!(none.contains("No payment method found."), "{none}");

    let (next, taken) = ("ada@new.example.com", official.run(&["account:email:set", "-p", "wrong", "-e", "a@b.c"]));
    assert!(taken.fails().contains("incorrect"));
    official.run(&["account:email:set", "-p", PASSWORD, "-e", next]).ok();
    wait_until("the mail to the old address", Duration::from_secs(10), || mailed(&server, "email:revoke"));
    assert_eq!(official.json(&home, &["account"])["email"], ADA, "not before it is confirmed");

    official.run_in(&home, &["apps:create", "-n", "last"]).ok();
    let refused = official.run(&["account:destroy", "-y", "-e", ADA, "-p", PASSWORD]).fails();
    assert!(refused.contains("destroy them first"), "{refused}");
    official.run_in(&home, &["apps:destroy", "-y"]).ok();
    let gone = official.run(&["account:destroy", "-y", "-e", ADA, "-p", PASSWORD]).ok_stderr();
    assert!(gone.contains("Account destroyed."), "{gone}");
    assert!(official.run(&["account"]).fails().contains("do not have access"));
}

#[test]
fn a_second_factor() {
    let Some((_server, official)) = signed_up() else { return };
    // The client draws the secret as a picture and keeps the text to itself; a second begin tells it to us, and to
    // another client of the same account.
    let secret = std::cell::OnceCell::new();
    let token = |clock: u64| {
        let url: &String = secret.get().expect("begun");
        totp_rs::Totp::from_url(url).expect("a url").generate(clock).to_string()
    };
    let shown = official.at_terminal(&["account:mfa:activate", "-y"], |line| {
        if secret.get().is_some() || !line.contains("authenticator app") {
            return None;
        }
        let _ = secret.set(official.begin_mfa(ADA));
        Some(token(now()))
    });
    let codes: Vec<&str> = shown.split('"').filter(|word| word.len() == 23 && word.matches('-').count() == 3).collect();
    assert_eq!(codes.len(), 10, "{shown}");

    let asked = official.run_with_input(&["login", "-e", ADA, "-p", PASSWORD], &format!("{}\n", token(now() + 30)));
    assert!(asked.ok().contains("Multi-factor Authentication Token"), "303 without Location makes it ask");
    let wrong = official.run(&["login", "-e", ADA, "-p", PASSWORD, "-t", "000000"]).fails();
    assert!(wrong.contains("could not authenticate"), "{wrong}");
    official.run(&["login", "-e", ADA, "-p", PASSWORD, "-t", codes[0]]).ok();
    official.introduce(ADA);
    let renewed = official.run(&["account:mfa:recovery_codes:regenerate", "-y"]).ok();
    assert!(!renewed.contains(codes[1]) && renewed.matches('-').count() == 30, "{renewed}");
    official.run(&["account:mfa:deactivate", "-y"]).ok();
    official.run(&["login", "-e", ADA, "-p", PASSWORD]).ok();
}

/// What is not in a day's story: use, drains, and what is not offered here.
#[test]
fn use_drains_and_what_is_not_offered() {
    let server = Server::with_config("[limits]\nprivate_drains = true\n");
    let Some(official) = sign_up(&server) else { return };
    let project = Project::empty(&official.person, "hello");
    official.run_in(&project, &["apps:create", "-n", "hello"]).ok();
    assert_eq!(official.json(&project, &["account:invoices"]), serde_json::json!([]));
    assert_eq!(official.json(&project, &["account:usage:running"]), serde_json::json!([]));
    project.greet_by_python(&official.person, "one");
    project.push(&official.person);
    wait_until("use is counted", Duration::from_secs(60), || {
        let usage = official.json(&project, &["account:usage"]);
        usage[0]["app"] == "hello"
            && usage[0]["amount_cents"] == 0
            && usage[0]["replica_size_seconds"].as_i64() > Some(0)
    });
    let running = official.json(&project, &["account:usage:running"]);
    assert_eq!((&running[0]["app"], &running[0]["amount_cents"]), (&"hello".into(), &0.into()), "{running}");

    assert_eq!(official.json(&project, &["drains"]), serde_json::json!([]));
    official.run_in(&project, &["drains:add", "https://127.0.0.1:9/in"]).ok();
    assert!(official.run_in(&project, &["drains:add", "ftp://x.org"]).fails().contains("https://"));
    let drains = official.json(&project, &["drains"]);
    assert_eq!(drains[0]["url"], "https://127.0.0.1:9/in", "{drains}");
    assert!(drains[0]["token"].is_string());
    official.run_in(&project, &["drains:remove", drains[0]["id"].as_str().expect("id")]).ok();
    assert_eq!(official.json(&project, &["log_drains"]), serde_json::json!([]));

    for command in [
        &["pg"][..],
        &["pg:create", "--free", "-y"],
        &["pg:create", "-s", "0.6", "-y"],
        &["pg:scale", "-d", "1", "-s", "1.7"],
        &["pg:destroy", "-d", "1", "-y"],
        &["pg:psql"],
        &["pg:read_replicas", "-d", "1"],
        &["pg:read_replicas:create", "-d", "1", "-s", "0.6"],
        &["pg:backups", "-d", "1"],
        &["pg:backups:restore", "-d", "1", "-b", "2"],
        &["pg:upgrade", "-d", "1", "POSTGRES_16"],
        &["pg:restart", "-d", "1", "-y"],
        &["pg:stop", "-d", "1", "-y"],
        &["pg:start", "-d", "1"],
    ] {
        let told = official.run_in(&project, command).fails();
        assert!(told.contains("offers no databases"), "{command:?}: {told}");
    }
    for command in [&["login:google", "-y"][..], &["signup:google"]] {
        assert!(official.run(command).fails().contains("does not sign in with Google"), "{command:?}");
    }
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("clock").as_secs()
}

/// `gigalixir compat` makes the settings that the tests above make by hand.
#[test]
fn our_client_introduces_theirs() {
    let server = Server::start();
    let Some(official) = Official::of(&server) else { return };
    let ada = crate::harness::Person::sign_up(&server, "ada@example.com");
    let printed = ada.run(&["compat"]).ok();
    assert!(printed.contains(&format!("export GIGALIXIR_CLI__HOST='{}'", server.url())), "{printed}");
    assert!(ada.run(&["compat", "--write"]).ok().is_empty());
    let script = std::fs::read_to_string(ada.home().join(".config/gigalixir/official.sh")).expect("the file");
    assert!(printed.starts_with(script.trim()), "{script}");
    let project = Project::empty(&ada, "");
    project.commit(&ada, "empty");
    let made = official.lend_to(&ada, &project, &["apps:create", "-n", "theirs"]).ok();
    assert_eq!(made, "theirs\n");
    let listed = ada.git(&project, &["ls-remote", "gigalixir"]).ok();
    assert_eq!(listed, "", "git goes to our server with our key, and the repository is empty");
    let stranger = crate::harness::Person::stranger(&server);
    assert!(stranger.run(&["compat", "--write"]).fails().contains("gigalixir login"));
}

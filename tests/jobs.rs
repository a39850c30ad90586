//! Jobs: commands in replicas of their own, asked for by people, by schedules and by deploys.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Person, Place, Project, Server, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

crate::on_every_runtime! {
    at_a_terminal_the_command_has_it
}

fn deployed(config: &str) -> (Server, Person, Project) {
    deployed_at(Place::Local, config)
}

fn deployed_at(place: Place, config: &str) -> (Server, Person, Project) {
    let server = place.server(config);
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    (server, ada, project)
}

#[track_caller]
fn json(ada: &Person, project: &Project, args: &[&str]) -> Value {
    let args = [args, &["--json"]].concat();
    serde_json::from_str(&ada.run_in(project, &args).ok()).expect("json")
}

/// Starts a job and returns its number.
#[track_caller]
fn detached(ada: &Person, project: &Project, words: &[&str]) -> String {
    let args = [&["run", "--detach", "--json", "--"], words].concat();
    let job: Value = serde_json::from_str(&ada.run_in(project, &args).ok()).expect("json");
    job["id"].to_string()
}

#[track_caller]
fn ended(ada: &Person, project: &Project, id: &str) -> Value {
    wait_until(&format!("job {id} ends"), LIMIT, || json(ada, project, &["jobs:info", id])["state"] == "ended");
    json(ada, project, &["jobs:info", id])
}

#[test]
fn a_command_runs_as_typed_and_ends_as_it_ends() {
    let (_server, ada, project) = deployed("");
    ada.run_in(&project, &["config:set", "WORD=from the config", "--no-restart"]).ok();
    let run = |words: &[&str]| ada.run_in(&project, &[&["run"], words].concat());

    let both = run(&["--", "sh", "-c", "echo \"$WORD\"; echo \"$MORE\" >&2; pwd; exit 3"]);
    assert_eq!((both.code, both.stdout.as_str()), (Some(3), "from the config\n\n/app\n"), "{both:?}");
    assert_eq!(both.stderr, "", "its own words say it all");
    let more = run(&["--env", "MORE=a b", "--", "printf", "%s|", "$WORD", "`id`", "", "it's"]).ok();
    assert_eq!(more, "$WORD|`id`||it's|\n");
    assert_eq!(run(&["--env", "WORD=over it", "sh", "-c", "echo $WORD"]).ok(), "over it\n");
    assert_eq!(run(&["no-such-program"]).code, Some(127));
    let slow = run(&["--timeout", "1", "--", "sh", "-c", "echo begun; exec sleep 1000"]);
    assert_eq!((slow.code, slow.stdout.as_str()), (Some(124), "begun\n"), "{slow:?}");
    assert!(slow.stderr.contains("as long as it may run"), "{slow:?}");
    let eat = run(&["--size", "0.2", "--", "python3", "-c", "b = bytearray(b'x') * 900_000_000"]);
    assert_eq!(eat.code, Some(137), "{eat:?}");
    assert!(eat.stderr.contains("memory"), "{eat:?}");
    assert!(run(&["--timeout", "100000000", "true"]).fails().contains("86400"));
    assert!(run(&["--env", "1X=2", "true"]).fails().contains("1X"));

    let jobs = json(&ada, &project, &["jobs"]);
    let outcomes: Vec<_> = jobs.as_array().unwrap().iter().map(|job| job["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["OOMKilled", "TimedOut", "Error", "Completed", "Completed", "Error"]);
    let first = &jobs[5];
    assert_eq!(
        (&first["kind"], &first["exit_code"], &first["created_by"]),
        (&"run".into(), &3.into(), &"ada@example.com".into())
    );
    let id = first["id"].to_string();
    let kept = ada.run_in(&project, &["jobs:logs", &id]).ok();
    assert!(
        kept.contains("run.1  | from the config") && kept.contains(&format!("Job {id} ended: code 3 (Error)")),
        "{kept}"
    );
    assert_eq!(ada.run_in(&project, &["jobs:logs", "--plain", &id]).ok(), both.stdout);
    let logs = ada.run_in(&project, &["logs", "--no-tail", "--num", "100"]).ok();
    assert!(logs.contains("run.1  | from the config"), "the app's log has it too: {logs}");
    let told = ada.run_in(&project, &["apps:activity"]).ok();
    assert!(told.contains("Run `no-such-program` as job"), "{told}");
    assert!(ada.run_in(&project, &["jobs:info", "999999"]).fails().contains("no such job"));
}

#[test]
fn ps_shows_it_while_it_runs_and_it_can_be_stopped() {
    let (_server, ada, project) = deployed("");
    let words = ["sh", "-c", "trap 'echo bye; exit 0' TERM; echo begun; while :; do sleep 0.05; done"];
    let id = detached(&ada, &project, &words);
    let pods = || {
        let status = json(&ada, &project, &["ps"]);
        assert_eq!(status["replicas_running"], 1, "a job is no replica that serves: {status:#}");
        let pods = status["pods"].as_array().unwrap().clone();
        pods.into_iter().filter(|pod| pod["process"] == "run").collect::<Vec<_>>()
    };
    wait_until("ps shows it", LIMIT, || pods().first().is_some_and(|pod| pod["status"] == "Running"));
    let (pod, job) = (pods().remove(0), json(&ada, &project, &["jobs:info", &id]));
    assert_eq!((&pod["version"], &pod["name"]), (&1.into(), &job["replica"]));
    wait_until("it has begun", LIMIT, || ada.run_in(&project, &["jobs:logs", "--no-tail", &id]).ok().contains("begun"));
    ada.run_in(&project, &["jobs:stop", &id]).ok();
    let followed = ada.run_in(&project, &["jobs:logs", "--plain", &id]).ok();
    // The shell may tell of the `sleep` that was ended beside it.
    let said: Vec<_> = followed.lines().filter(|line| *line != "Terminated").collect();
    assert_eq!(said, ["begun", "bye"], "to the end, and no further");
    assert_eq!(ended(&ada, &project, &id)["outcome"], "Stopped");
    wait_until("ps shows it no more", LIMIT, || pods().is_empty());
    assert!(ada.run_in(&project, &["jobs:stop", &id]).fails().contains("ended already"));
    let id = detached(&ada, &project, &["sleep", "1000"]);
    wait_until("ps shows it", LIMIT, || !pods().is_empty());
    let name = pods()[0]["name"].as_str().unwrap().to_owned();
    ada.run_in(&project, &["ps:kill", "--pod", &name]).ok();
    assert_eq!(ended(&ada, &project, &id)["outcome"], "Stopped");
}

#[test]
fn so_many_run_so_many_wait_and_more_are_refused() {
    let (_server, ada, project) = deployed("[jobs]\nat_once = 1\nqueued = 1\nkept = 2\n");
    let first = detached(&ada, &project, &["sleep", "1000"]);
    let second = detached(&ada, &project, &["echo", "at last"]);
    assert_eq!(json(&ada, &project, &["jobs:info", &second])["state"], "queued");
    let refused = ada.run_in(&project, &["run", "true"]).fails();
    assert!(refused.contains("1 jobs of this app wait already"), "{refused}");
    ada.run_in(&project, &["jobs:stop", &first]).ok();
    assert_eq!(ended(&ada, &project, &second)["outcome"], "Completed");
    assert_eq!(ada.run_in(&project, &["jobs:logs", "--plain", &second]).ok(), "at last\n");
    ada.run_in(&project, &["run", "true"]).ok();
    let kept = json(&ada, &project, &["jobs"]);
    assert_eq!(kept.as_array().unwrap().len(), 2, "the oldest record went: {kept:#}");
}

#[test]
fn a_killed_server_takes_its_jobs_over() {
    let (mut server, ada, project) = deployed("");
    let waits = |word: &str, code: &str| {
        format!("echo begun; while [ ! -e /app/go ]; do sleep 0.05; done; echo {word}; exit {code}")
    };
    let runs_on = detached(&ada, &project, &["sh", "-c", &waits("after", "5")]);
    let ends_alone = detached(&ada, &project, &["sh", "-c", &waits("alone", "6")]);
    let said = |id: &str| ada.run_in(&project, &["jobs:logs", "--plain", "--no-tail", id]).ok();
    wait_until("both have begun", LIMIT, || said(&runs_on) == "begun\n" && said(&ends_alone) == "begun\n");
    let (first, second) = (folder(&server, &runs_on), folder(&server, &ends_alone));
    server.kill();
    std::fs::write(second.join("app/go"), "").expect("go");
    let state = || std::fs::read_to_string(second.join("state.json")).unwrap_or_default();
    wait_until("it ends while there is no server", LIMIT, || state().contains("\"Ended\""));
    server.start_again();
    std::fs::write(first.join("app/go"), "").expect("go");
    for (id, code, wanted) in [(&runs_on, 5, "begun\nafter\n"), (&ends_alone, 6, "begun\nalone\n")] {
        let job = ended(&ada, &project, id);
        assert_eq!((&job["outcome"], &job["exit_code"]), (&"Error".into(), &code.into()), "{job:#}");
        assert_eq!(ada.run_in(&project, &["jobs:logs", "--plain", id]).ok(), wanted, "once, and whole");
    }
    server.terminate();
    server.start_again();
    assert_eq!(json(&ada, &project, &["jobs"]).as_array().unwrap().len(), 2, "each is recorded once");
}

/// The folder of a job's replica.
fn folder(server: &Server, id: &str) -> std::path::PathBuf {
    let generation = server.data().join(format!("replicas/hello.run.{id}"));
    let mut entries = std::fs::read_dir(&generation).expect("a generation").flatten().map(|entry| entry.path());
    entries.find(|path| path.is_dir()).expect("a replica")
}

/// A job at a terminal reads what is typed, knows how large the terminal is and becomes, and is interrupted from it.
#[track_caller]
pub fn asks_at_a_terminal(person: &Person, project: &Project, options: &[&str]) {
    let steps = serde_json::json!([
        ["expect", "name? "],
        ["type", "Ada\n"],
        ["expect", "30 100 xterm-256color of run.1"],
        ["resize", 90, 20],
        ["expect", "resized"],
        ["type", "\u{3}"],
        ["end"]
    ]);
    let script = "trap 'echo interrupted by $who; exit 9' INT; read -p 'name? ' who; \
        echo \"$(stty size) $TERM of run.$HOST_INDEX\"; until [ \"$(stty size)\" = '20 90' ]; do sleep 0.1; done; \
        echo resized; while :; do sleep 0.1; done";
    let words = [&["run"], options, &["--", "bash", "-c", script]].concat();
    let ran = person.run_at_terminal(project, &words, &steps);
    assert!(ran.code == Some(9) && ran.stdout.contains("interrupted by Ada\r\n"), "{ran:?}");
}

fn at_a_terminal_the_command_has_it(on: Place) {
    let (mut server, ada, project) = deployed_at(on, "[jobs]\nat_once = 1\n");
    let run = |args: &[&str], steps: Value| ada.run_at_terminal(&project, &[&["run"], args].concat(), &steps);
    asks_at_a_terminal(&ada, &project, &["--env", "A=b"]);
    let job = json(&ada, &project, &["jobs"])[0].clone();
    assert_eq!(
        (&job["state"], &job["outcome"], &job["exit_code"]),
        (&"ended".into(), &"Error".into(), &9.into()),
        "its end is the program's: {job:#}"
    );
    assert!(job["detail"].as_str().is_some_and(|text| text.contains("terminal")), "{job:#}");
    let fine = run(&["sh", "-c", "test -t 0 && test -t 1 && test -t 2"], serde_json::json!([["end"]]));
    assert_eq!(fine.code, Some(0), "{fine:?}");
    assert_eq!(json(&ada, &project, &["jobs"])[0]["outcome"], "Completed");
    assert!(run(&["no-such-program"], serde_json::json!([["end"]])).code == Some(127));

    let slow = run(&["--timeout", "2", "--", "sleep", "1000"], serde_json::json!([["end"]]));
    assert!(slow.code == Some(124) && slow.stdout.contains("as long as it may run"), "{slow:?}");
    let eat = ["--size", "0.2", "--", "python3", "-c", "b = bytearray(b'x') * 900_000_000"];
    let eat = run(&eat, serde_json::json!([["end"]]));
    // Why is known where the kernel counts a killed session with its replica, which version 1 of control groups does not.
    assert_eq!(eat.code, Some(137), "{eat:?}");
    let piped = run(&["-T", "--", "sh", "-c", "test -t 1 || echo no terminal"], serde_json::json!([["end"]]));
    assert!(piped.code == Some(0) && piped.stdout.contains("no terminal"), "{piped:?}");
    let kept = json(&ada, &project, &["jobs"])[0]["id"].to_string();
    assert_eq!(ada.run_in(&project, &["jobs:logs", "--plain", &kept]).ok(), "no terminal\n");

    // It takes its turn, and goes with who attends to it.
    let first = detached(&ada, &project, &["sleep", "1000"]);
    let stopped = run(&["cat"], serde_json::json!([["expect", "Starting job"], ["hang up"]]));
    assert_ne!(stopped.code, Some(0), "{stopped:?}");
    let newest = || json(&ada, &project, &["jobs"])[0].clone();
    wait_until("it is not waited with any more", LIMIT, || newest()["outcome"] == "Stopped");
    ada.run_in(&project, &["jobs:stop", &first]).ok();
    ended(&ada, &project, &first);
    let left = run(&["sh", "-c", "echo in; cat"], serde_json::json!([["expect", "in\r\n"], ["hang up"]]));
    assert_ne!(left.code, Some(0), "{left:?}");
    wait_until("it went with the terminal", LIMIT, || newest()["outcome"] == "Stopped");

    // A server that is killed ends it too: nobody is there who could attend to it.
    std::thread::scope(|scope| {
        let steps = serde_json::json!([["expect", "in\r\n"], ["end"]]);
        let visit = scope.spawn(|| run(&["sh", "-c", "echo in; cat"], steps));
        wait_until("it runs", LIMIT, || newest()["state"] == "running" && newest()["replica"].is_string());
        server.kill();
        let ran = visit.join().expect("it ends");
        assert_ne!(ran.code, Some(0), "{ran:?}");
    });
    server.start_again();
    wait_until("the next server ends it", LIMIT, || newest()["outcome"] == "Stopped");
}

#[test]
fn an_app_takes_its_jobs_with_it() {
    let (server, ada, project) = deployed("");
    let id = detached(&ada, &project, &["sleep", "1000"]);
    wait_until("it runs", LIMIT, || json(&ada, &project, &["jobs:info", &id])["replica"].is_string());
    ada.run_in(&project, &["apps:destroy", "-y", "-a", "hello"]).ok();
    let left = || crate::harness::children_of_data(&server.data());
    wait_until("nothing of it is left", LIMIT, || left().into_iter().all(|(_, line)| !line.contains(" shim ")));
    let kept = std::fs::read_dir(server.data().join("jobs")).unwrap().count();
    assert_eq!(kept, 0, "its output went too");
}

#[test]
fn schedules_run_are_listed_and_go() {
    let (_server, ada, project) = deployed("");
    let wrong = ada.run_in(&project, &["jobs:schedule", "61 * * * *", "true"]).fails();
    assert!(wrong.contains("cron pattern"), "{wrong}");
    assert!(ada.run_in(&project, &["jobs:schedule", "--tz", "Mars", "@daily", "true"]).fails().contains("time zone"));
    ada.run_in(&project, &["jobs:schedule", "--tz", "Europe/Rome", "0 3 * * *", "mix", "report"]).ok();
    let every = ["jobs:schedule", "--name", "often", "* * * * * *", "--", "sh", "-c", "echo due; exit 4"];
    ada.run_in(&project, &every).ok();
    assert!(ada.run_in(&project, &every).fails().contains("taken"));
    let of = |outcome: &str| {
        let jobs = json(&ada, &project, &["jobs"]);
        let jobs = jobs.as_array().unwrap().clone();
        jobs.into_iter().filter(|job| job["outcome"] == outcome && job["schedule"] == "often").collect::<Vec<_>>()
    };
    wait_until("it was due three times", LIMIT, || of("Error").len() >= 3);
    let schedules = json(&ada, &project, &["jobs:schedules"]);
    let names: Vec<_> = schedules.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["often", "schedule-1"]);
    assert!(schedules[0]["last"].is_object() && schedules[0]["next_at"].is_string(), "{schedules:#}");
    assert_eq!(schedules[1]["tz"], "Europe/Rome");
    let job = of("Error").remove(0);
    assert_eq!((&job["kind"], &job["exit_code"]), (&"cron".into(), &4.into()));
    assert_eq!(ada.run_in(&project, &["jobs:logs", "--plain", &job["id"].to_string()]).ok(), "due\n");
    ada.run_in(&project, &["jobs:unschedule", "often"]).ok();
    wait_until("what runs of it has ended", LIMIT, || {
        json(&ada, &project, &["jobs"]).as_array().unwrap().iter().all(|job| job["state"] == "ended")
    });
    let count = json(&ada, &project, &["jobs"]).as_array().unwrap().len();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(json(&ada, &project, &["jobs"]).as_array().unwrap().len(), count, "none after its end");
    assert!(ada.run_in(&project, &["jobs:unschedule", "often"]).fails().contains("no schedule"));
}

#[test]
fn schedules_of_the_code_come_and_go_with_it() {
    let (_server, ada, project) = deployed("");
    project.write(
        "app.json",
        r#"{"cron": [{"command": "echo $GIGALIXIR_RELEASE_VERSION is due", "schedule": "* * * * * *"}]}"#,
    );
    project.commit(&ada, "cron");
    project.push(&ada);
    let said = || {
        let logs = ada.run_in(&project, &["logs", "--no-tail", "--process", "cron"]).ok();
        logs.contains("2 is due")
    };
    wait_until("it was due", LIMIT, said);
    let schedules = json(&ada, &project, &["jobs:schedules"]);
    assert_eq!((&schedules[0]["name"], &schedules[0]["source"]), (&"app.json/1".into(), &"app.json".into()));
    assert!(ada.run_in(&project, &["jobs:unschedule", "app.json/1"]).fails().contains("app.json"));
    project.write("app.json", r#"{"cron": [{"command": "x", "schedule": "every day"}]}"#);
    project.commit(&ada, "nonsense");
    let refused = ada.git(&project, &["push", "gigalixir", "HEAD:refs/heads/master"]).fails();
    assert!(refused.contains("app.json/1") && refused.contains("every day"), "{refused}");
    assert_eq!(json(&ada, &project, &["jobs:schedules"]), json(&ada, &project, &["jobs:schedules"]));
    ada.run_in(&project, &["releases:rollback"]).ok();
    assert_eq!(json(&ada, &project, &["jobs:schedules"]), Value::Array(Vec::new()), "the first code had none");
}

#[test]
fn the_release_phase_runs_before_and_stops_what_it_must() {
    let (server, ada, project) = deployed("[jobs]\nrelease_seconds = 3\n");
    let phase = |line: &str| {
        project.write("Procfile", &format!("web: python3 -u server.py\nrelease: {line}\n"));
        project.greet(&ada, line);
        ada.git(&project, &["push", "gigalixir", "HEAD:refs/heads/master"])
    };
    let told = phase("echo migrating for v$GIGALIXIR_RELEASE_VERSION; sleep 0.2; echo done").ok_stderr();
    let at = |word: &str| told.find(word).unwrap_or_else(|| panic!("`{word}` is missing in {told}"));
    assert!(at("migrating for v2") < at("Starting web"), "{told}");
    assert!(server.visit("hello", "/").body.starts_with("echo migrating"));
    let jobs = json(&ada, &project, &["jobs"]);
    assert_eq!(
        (&jobs[0]["kind"], &jobs[0]["outcome"], &jobs[0]["version"]),
        (&"release".into(), &"Completed".into(), &2.into())
    );
    assert!(ada.run_in(&project, &["ps:scale", "release=1"]).fails().contains("no such process type"));
    assert_eq!(json(&ada, &project, &["apps:info"])["formation"], serde_json::json!({"web": 1}));

    let told = phase("echo no such database; exit 7").fails();
    for words in ["no such database", "the release phase ended with code 7", "jobs:logs"] {
        assert!(told.contains(words), "`{words}` is missing in {told}");
    }
    let told = phase("echo for ever; sleep 1000").fails();
    assert!(told.contains("was not done within 3 seconds"), "{told}");
    assert!(server.visit("hello", "/").body.starts_with("echo migrating"), "the old release stays");
    let states: Vec<_> =
        json(&ada, &project, &["releases"]).as_array().unwrap().iter().map(|r| r["state"].clone()).collect();
    assert_eq!(states, ["failed", "failed", "live", "superseded"]);
    ada.run_in(&project, &["config:set", "A=b"]).ok();
    ada.run_in(&project, &["releases:rollback"]).ok();
    let jobs = json(&ada, &project, &["jobs"]);
    assert_eq!(jobs.as_array().unwrap().len(), 3, "only new code has a release phase: {jobs:#}");
}

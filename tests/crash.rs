//! `kill -9` at every named step of push, rollback, scale and config: nothing is lost, nothing is left half done.

use std::time::Duration;

use gigalixir::server::steps;

use crate::harness::{Person, Project, Server, children_of_data, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

struct World {
    server: Server,
    ada: Person,
    project: Project,
}

impl World {
    fn deployed() -> Self {
        let server = Server::start();
        let ada = Person::sign_up(&server, "ada@example.com");
        let project = Project::greeting(&ada, "hello", "one");
        project.push(&ada);
        Self { server, ada, project }
    }

    fn head(&self) -> String {
        self.ada.git(&self.project, &["rev-parse", "HEAD"]).ok().trim().to_owned()
    }

    fn remote_head(&self) -> String {
        let listed = self.ada.git(&self.project, &["ls-remote", "gigalixir", "refs/heads/master"]).ok();
        listed.split_whitespace().next().unwrap_or_default().to_owned()
    }

    fn json(&self, args: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.ada.run_in(&self.project, args).ok()).expect("json")
    }

    /// Runs a command that the server dies of; not every command passes every step, and then it is killed afterwards.
    fn run_and_crash(&mut self, command: &[&str]) {
        let ran = self.ada.run_in(&self.project, command);
        if ran.code != Some(0) {
            self.server.wait_dead(LIMIT);
        }
        self.server.kill();
    }

    /// After a restart: exactly one live release, which is what visitors see, what the ref names and what runs.
    #[track_caller]
    fn is_whole(&mut self, step: &str) {
        let server = &self.server;
        wait_until(&format!("{step}: the app answers"), LIMIT, || server.visit("hello", "/").status == 200);
        let releases = self.json(&["releases", "--json"]);
        let live: Vec<_> = releases.as_array().expect("list").iter().filter(|r| r["state"] == "live").collect();
        assert_eq!(live.len(), 1, "{step}: {releases:#}");
        assert!(!releases.to_string().contains("\"deploying\""), "{step}: {releases:#}");
        let sha = live[0]["sha"].as_str().expect("sha");
        assert_eq!(self.remote_head(), sha, "{step}: the ref is where the live release is");
        let answer = self.server.visit("hello", "/").body;
        assert!(answer.contains(sha), "{step}: visitors see the live release: {answer}");
        wait_until(&format!("{step}: only the wished replicas run"), LIMIT, || {
            let status = self.json(&["ps", "--json"]);
            let pods = status["pods"].as_array().expect("pods").len() as u64;
            status["replicas_running"] == status["replicas_desired"]
                && Some(pods) == status["replicas_desired"].as_u64()
        });
        let pods = self.json(&["ps", "--json"])["pods"].as_array().expect("pods").len();
        let shims = || {
            let all = children_of_data(&self.server.data());
            all.into_iter().filter(|(_, line)| line.contains(" shim ")).count()
        };
        wait_until(&format!("{step}: no orphan"), LIMIT, || shims() == pods);
    }
}

#[test]
fn a_push_survives_a_kill_at_every_step() {
    let mut world = World::deployed();
    for (round, step) in steps::OF_A_PUSH.iter().enumerate() {
        let before = world.server.visit("hello", "/").body;
        world.server.terminate();
        if !world.server.start_again_crashing(step) {
            world.server.start_again();
            world.is_whole(step);
            continue;
        }
        world.project.greet(&world.ada, &format!("round{round}"));
        let head = world.head();
        let pushed = world.ada.git(&world.project, &["push", "gigalixir", "HEAD:refs/heads/master"]);
        world.server.wait_dead(LIMIT);
        world.server.start_again();
        world.is_whole(step);
        let answer = world.server.visit("hello", "/").body;
        assert!(
            answer == before || answer.contains(&head),
            "{step}: the old version or the new, nothing else: {answer}"
        );
        if pushed.code == Some(0) {
            assert!(answer.contains(&head), "{step}: what was reported as done is done");
        }
        // What was cut off can be done again.
        if world.remote_head() != head {
            world.project.push(&world.ada);
        }
        assert!(world.server.visit("hello", "/").body.contains(&head), "{step}");
    }
}

#[test]
fn other_operations_survive_a_kill_at_every_step() {
    let mut world = World::deployed();
    world.project.greet(&world.ada, "two");
    world.project.push(&world.ada);
    let operations: &[&[&str]] = &[
        &["ps:scale", "web=2"],
        &["ps:scale", "--size", "0.4"],
        &["config:set", "A=b"],
        &["ps:restart"],
        &["ps:scale", "web=1"],
    ];
    for step in steps::OF_A_PUSH
        .iter()
        .chain(steps::OTHERS)
        .filter(|s| s.starts_with("deploy.") || s.starts_with("scale.") || s.starts_with("release."))
    {
        for operation in operations {
            world.server.terminate();
            if world.server.start_again_crashing(step) {
                world.run_and_crash(operation);
            }
            world.server.start_again();
            world.is_whole(&format!("{step} of {operation:?}"));
        }
    }
}

/// A job is cut off at each of its steps, and with it the push that waits for it.
#[test]
fn a_release_phase_survives_a_kill_at_every_step() {
    let mut world = World::deployed();
    let of_a_phase = steps::OTHERS.iter().filter(|step| step.starts_with("job."));
    for (round, step) in of_a_phase.chain(&["release.phase_done", "deploy.committed"]).enumerate() {
        world.server.terminate();
        assert!(world.server.start_again_crashing(step), "{step}: nothing is left to do");
        world.project.write("Procfile", "web: python3 -u server.py\nrelease: echo migrating; sleep 0.2\n");
        world.project.greet(&world.ada, &format!("round{round}"));
        let head = world.head();
        let _ = world.ada.git(&world.project, &["push", "gigalixir", "HEAD:refs/heads/master"]);
        world.server.wait_dead(LIMIT);
        world.server.start_again();
        world.is_whole(step);
        let open = || {
            let jobs = world.json(&["jobs", "--json"]);
            jobs.as_array().expect("list").iter().filter(|job| job["state"] != "ended").count()
        };
        wait_until(&format!("{step}: the phase has ended, whatever became of it"), LIMIT, || open() == 0);
        if world.remote_head() != head {
            world.project.push(&world.ada);
        }
        assert!(world.server.visit("hello", "/").body.contains(&head), "{step}");
    }
}

#[test]
fn a_rollback_survives_a_kill_at_every_step() {
    let mut world = World::deployed();
    world.project.greet(&world.ada, "two");
    world.project.push(&world.ada);
    for step in steps::OF_A_PUSH.iter().filter(|s| s.starts_with("deploy.") || s.starts_with("release.")) {
        world.server.terminate();
        if world.server.start_again_crashing(step) {
            world.run_and_crash(&["releases:rollback"]);
        }
        world.server.start_again();
        wait_until("it answers", LIMIT, || world.server.visit("hello", "/").status == 200);
        let releases = world.json(&["releases", "--json"]);
        let live: Vec<_> = releases.as_array().expect("list").iter().filter(|r| r["state"] == "live").collect();
        assert_eq!(live.len(), 1, "{step}: {releases:#}");
        let answer = world.server.visit("hello", "/").body;
        assert!(answer.contains(live[0]["sha"].as_str().expect("sha")), "{step}: {answer}");
    }
}

/// Two replicas that say something every millisecond or so, under a server that is killed again and again.
#[test]
fn what_replicas_say_outlives_the_server_that_heard_it() {
    const EACH: usize = 4000;
    let mut world = World::deployed();
    world.project.write("Procfile", "web: python3 -u server.py\nworker: python3 -u count.py\n");
    let count = format!(
        "import time\nfor n in range({EACH}):\n    print('number', n)\n    time.sleep(0.001)\nprint('done')\ntime.sleep(10000)\n"
    );
    world.project.write("count.py", &count);
    world.project.commit(&world.ada, "counts");
    world.project.push(&world.ada);
    world.ada.run_in(&world.project, &["ps:scale", "worker=2"]).ok();
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(250));
        world.server.kill();
        world.server.start_again();
    }
    let said = || world.ada.run_in(&world.project, &["logs", "--no-tail", "--num", "20000"]).ok();
    wait_until("both have said all", LIMIT, || said().matches("| done").count() >= 2);
    let log = said();
    for replica in ["worker.1", "worker.2"] {
        let of_it = log.lines().filter(|line| line.contains(replica));
        let numbers: Vec<usize> =
            of_it.filter_map(|line| line.split_once("| number ")?.1.trim().parse().ok()).collect();
        let distinct: std::collections::BTreeSet<_> = numbers.iter().collect();
        let lost: Vec<_> = (0..EACH).filter(|n| !distinct.contains(n)).collect();
        assert!(lost.is_empty(), "{replica} said and nobody kept: {lost:?}");
        // What was kept and not yet said to be may come again after a kill, no more than that.
        let again = numbers.len() - distinct.len();
        println!("{replica}: {again} lines came again over 6 kills");
        assert!(again < EACH / 10, "{again} lines came again");
    }
}

//! Clusters of real Erlang nodes: how they form, what is seen of them, how they break and heal, and who stays outside.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Person, Place, Project, Server, kill, wait_until};

crate::on_every_runtime! {
    replicas_form_a_cluster_and_share_what_is_global
    a_node_is_observed_live_in_the_terminal
    ones_own_erlang_reaches_the_chosen_node_through_the_tunnel
}

/// Generous: each node is a whole Erlang, and the machine may be busy with others.
pub const LONG: Duration = Duration::from_secs(150);

fn circle(server: &Server, person: &Person, app: &str, replicas: u32) -> Project {
    settled(server, person, Project::example(person, app, "elixir-cluster"), replicas)
}

pub fn settled(server: &Server, person: &Person, project: Project, replicas: u32) -> Project {
    let app = project.app.clone();
    let app = app.as_str();
    person.run_in(&project, &["config:set", "POLL_MS=500"]).ok();
    project.push(person);
    if replicas > 1 {
        person.run_in(&project, &["ps:scale", &format!("web={replicas}")]).ok();
    }
    wait_until("the nodes find each other", LONG, || {
        let seen: Vec<_> = (0..replicas).map(|_| nodes(server, app)).collect();
        seen.iter().all(|nodes| nodes.len() == replicas as usize)
    });
    project
}

/// The nodes of the cluster that one of the replicas is in.
pub fn nodes(server: &Server, app: &str) -> BTreeSet<String> {
    server.visit(app, "/nodes").body.split_whitespace().map(str::to_owned).collect()
}

/// The count, the node that counted, the node that was asked. `None` while nobody counts: the counter may be moving.
fn visit(server: &Server) -> Option<(u32, String, String)> {
    let body = server.visit("circle", "/count").body;
    let words: Vec<String> = body.trim().split([' ', ',']).map(str::to_owned).collect();
    Some((words.get(1)?.parse().ok()?, words.get(5)?.clone(), words.get(9)?.clone()))
}

fn replicas_form_a_cluster_and_share_what_is_global(on: Place) {
    let server = on.server("");
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = circle(&server, &ada, "circle", 3);
    // Two counters that were begun apart become one when their nodes meet: `global` sees to that, after they have met.
    wait_until("one counter counts for all", LONG, || {
        let visits: Option<Vec<_>> = (0..9).map(|_| visit(&server)).collect();
        let Some(visits) = visits else { return false };
        let first = visits[0].0;
        let in_turn = visits.iter().enumerate().all(|(n, visit)| visit.0 == first + n as u32);
        let counted_on: BTreeSet<_> = visits.iter().map(|visit| &visit.1).collect();
        let asked_on: BTreeSet<_> = visits.iter().map(|visit| &visit.2).collect();
        in_turn && counted_on.len() == 1 && asked_on.len() == 3
    });
    let before = nodes(&server, "circle");
    ada.run_in(&project, &["ps:restart"]).ok();
    wait_until("the new nodes are among themselves", LONG, || {
        let now = nodes(&server, "circle");
        now.len() == 3 && now.is_disjoint(&before)
    });
}

pub fn status(person: &Person, project: &Project) -> Value {
    serde_json::from_str(&person.run_in(project, &["ps", "--json"]).ok()).expect("json")
}

pub fn activity(person: &Person, project: &Project) -> Vec<String> {
    let list: Value = serde_json::from_str(&person.run_in(project, &["apps:activity", "--json"]).ok()).expect("json");
    let shown = |one: &Value| format!("{}: {}", one["kind"].as_str().unwrap(), one["summary"].as_str().unwrap());
    list.as_array().expect("a list").iter().map(shown).collect()
}

/// The emulator of a node, of which there is one on this machine by its name.
pub fn emulator(node: &str) -> i32 {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let runs = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = line.split(|byte| *byte == 0).collect();
        words[0].ends_with(b"beam.smp") && words.contains(&node.as_bytes())
    };
    pids.into_iter().find(runs).unwrap_or_else(|| panic!("no emulator of {node}"))
}

/// The environment that the replicas of an app were made with, one of each.
fn environments(server: &Server, app: &str) -> Vec<Value> {
    let generations = std::fs::read_dir(server.data().join("replicas")).expect("replicas").flatten();
    let of_app = generations.filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{app}.")));
    let replicas = of_app.flat_map(|entry| std::fs::read_dir(entry.path()).expect("generation").flatten());
    let specs = replicas.filter_map(|entry| std::fs::read(entry.path().join("spec.json")).ok());
    specs.map(|spec| serde_json::from_slice::<Value>(&spec).expect("spec")["env"].clone()).collect()
}

#[test]
fn a_node_that_stops_is_told_of_and_its_return_too() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    // Where port 443 cannot be had, libcluster is led to another one in this way.
    let port = std::fs::read_to_string(server.data().join("cluster/port")).expect("a port");
    let project = Project::example(&ada, "pair", "elixir-cluster");
    ada.run_in(&project, &["config:set", &format!("CLUSTER_DOMAIN=cluster.local:{port}")]).ok();
    let project = settled(&server, &ada, project, 2);
    // A node that answers may be a moment from counting as ready, and is looked at then.
    wait_until("ps shows both nodes", LONG, || {
        let now = status(&ada, &project);
        now["pods"].as_array().is_some_and(|pods| pods.len() == 2 && pods.iter().all(|pod| pod["sees"][0].is_string()))
    });
    let seen = status(&ada, &project);
    let pods = seen["pods"].as_array().expect("pods");
    for (one, other) in [(&pods[0], &pods[1]), (&pods[1], &pods[0])] {
        assert_eq!(one["sees"], serde_json::json!([other["node"]]), "{seen}");
        assert!(one.get("cluster").is_none(), "{seen}");
    }
    let table = ada.run_in(&project, &["ps"]).ok();
    assert!(table.contains("SEES") && table.contains(pods[0]["node"].as_str().unwrap()), "{table}");

    let (name, node) = (pods[1]["name"].as_str().unwrap(), pods[1]["node"].as_str().unwrap());
    let stopped = emulator(node);
    kill(stopped, Signal::STOP);
    wait_until("ps tells that it does not answer", LONG, || {
        let now = status(&ada, &project);
        now["pods"]
            .as_array()
            .is_some_and(|pods| pods.iter().any(|pod| pod["name"] == name && pod["cluster"] == "does not answer"))
    });
    let told = format!("({name}) does not answer");
    wait_until("it is an event", LONG, || {
        activity(&ada, &project).iter().any(|one| one.starts_with("cluster: ") && one.contains(&told))
    });
    kill(stopped, Signal::CONT);
    wait_until("that it is whole again is an event", LONG, || {
        activity(&ada, &project)[0].starts_with("cluster: The cluster is whole again")
    });
    let log = ada.run_in(&project, &["logs", "--no-tail", "--num", "500"]).ok();
    assert!(log.contains(&told) && log.contains("whole again"), "{log}");
    assert!(status(&ada, &project)["pods"].as_array().unwrap().iter().all(|pod| pod.get("cluster").is_none()));
}

/// What each replica's node is said to have: its name and what is wrong with it, by the replica's name.
pub fn troubles(person: &Person, project: &Project) -> Vec<(String, String, Option<String>)> {
    let seen = status(person, project);
    let text = |pod: &Value, field: &str| pod[field].as_str().map(str::to_owned);
    let one = |pod: &Value| (text(pod, "name").unwrap(), text(pod, "node").unwrap_or_default(), text(pod, "cluster"));
    seen["pods"].as_array().expect("pods").iter().map(one).collect()
}

/// Evaluates something in the node of a replica.
#[track_caller]
pub fn evaluate(person: &Person, project: &Project, replica: &str, expression: &str) -> String {
    let words = ["ps:run", "--replica", replica, "gigalixir_run", "distillery-eval", "--", expression];
    person.run_in(project, &words).ok()
}

/// All nodes are known, and nothing is wrong with any.
#[track_caller]
pub fn whole(person: &Person, project: &Project, count: usize) -> Vec<(String, String, Option<String>)> {
    let now = || troubles(person, project);
    let fine = |(_, node, trouble): &(String, String, Option<String>)| !node.is_empty() && trouble.is_none();
    wait_until("every node sees every other", LONG, || now().len() == count && now().iter().all(fine));
    now()
}

/// One of three nodes and the two others do not see each other: `ps` tells it of all three, and so do an event and the log.
#[track_caller]
pub fn told_apart(person: &Person, project: &Project, alone: &str, node: &str) {
    let apart = |(name, _, trouble): &(String, String, Option<String>)| match name == alone {
        true => trouble.as_deref() == Some("sees nobody"),
        false => trouble.as_deref() == Some(format!("does not see {node}").as_str()),
    };
    wait_until("ps tells it of both sides", LONG, || {
        let now = troubles(person, project);
        now.len() == 3 && now.iter().all(apart)
    });
    let told = format!("({alone}) sees nobody");
    wait_until("it is an event", LONG, || {
        activity(person, project).iter().any(|one| one.starts_with("cluster: ") && one.contains(&told))
    });
    let log = person.run_in(project, &["logs", "--no-tail", "--num", "500"]).ok();
    assert!(log.contains(&told) && log.contains(&format!("does not see {node}")), "{log}");
}

/// All three see each other again, and it is an event.
#[track_caller]
pub fn told_whole(person: &Person, project: &Project) {
    whole(person, project, 3);
    wait_until("that it is whole again is an event", LONG, || {
        activity(person, project)[0].starts_with("cluster: The cluster is whole again")
    });
}

/// One node of three is cut off from the others, as by a broken network: all run on, and none of them stops.
#[test]
fn a_split_is_told_by_both_sides_and_its_healing_too() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = circle(&server, &ada, "split", 3);
    let all = whole(&ada, &project, 3);
    let (alone, node, _) = &all[2];
    let others: Vec<&String> = all[..2].iter().map(|(_, node, _)| node).collect();
    let each = |what: &str| {
        let calls = others
            .iter()
            .map(|other| format!("{what}(:\"{other}\"{})", if what.contains("set") { ", :cut" } else { "" }));
        evaluate(&ada, &project, alone, &format!("[{}]", calls.collect::<Vec<_>>().join(", ")));
    };
    // No handshake between it and them can succeed any more; with everybody else, us included, it goes on as before.
    each("Node.set_cookie");
    each("Node.disconnect");
    told_apart(&ada, &project, alone, node);

    let back = others.iter().map(|other| format!("Node.set_cookie(:\"{other}\", Node.get_cookie())"));
    evaluate(&ada, &project, alone, &format!("[{}]", back.collect::<Vec<_>>().join(", ")));
    told_whole(&ada, &project);
    assert_eq!(nodes(&server, "split").len(), 3);
}

/// The same by a network that really is broken: nothing reaches one container from its siblings any more, nor them from it.
#[test]
fn containers_that_a_broken_network_parts_are_told_of_and_their_healing_too() {
    if !Place::Docker.is_there() {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can break a container's network");
        return;
    }
    let server = Place::Docker.server("");
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::example(&ada, "parted", "elixir-cluster");
    // Erlang itself notices after a minute, if it is not told otherwise.
    ada.run_in(&project, &["config:set", "ERL_FLAGS=-kernel net_ticktime 8"]).ok();
    let project = settled(&server, &ada, project, 3);
    let all = whole(&ada, &project, 3);
    let (alone, node, _) = &all[2];
    let routes = |what: &str| {
        for (_, other, _) in &all[..2] {
            let address = other.split_once('@').expect("an address").1;
            let pid = docker_pid(alone);
            let args = ["-t", &pid, "-n", "ip", "route", what, "blackhole", address];
            assert!(std::process::Command::new("nsenter").args(args).status().expect("nsenter").success());
        }
    };
    routes("add");
    told_apart(&ada, &project, alone, node);

    routes("del");
    told_whole(&ada, &project);
    let names =
        |all: &[(String, String, Option<String>)]| all.iter().map(|(name, ..)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&all), names(&troubles(&ada, &project)), "no container was replaced");
}

/// The process of a container on this machine.
fn docker_pid(container: &str) -> String {
    let args = ["inspect", "--format", "{{.State.Pid}}", container];
    let ran = std::process::Command::new("docker").args(args).output().expect("docker");
    String::from_utf8_lossy(&ran.stdout).trim().to_owned()
}

/// A node that changed its cookie stays connected, and nobody new gets in.
#[test]
fn a_node_with_another_cookie_is_told_of() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = circle(&server, &ada, "odd", 2);
    let all = whole(&ada, &project, 2);
    let ((other, ..), (odd, node, _)) = (&all[0], &all[1]);
    let cookie = evaluate(&ada, &project, odd, "Node.get_cookie()");
    let cookie = cookie.lines().last().expect("a cookie").trim();
    evaluate(&ada, &project, odd, "Node.set_cookie(:another)");
    let told = || troubles(&ada, &project).into_iter().find(|(name, ..)| name == odd).and_then(|(.., trouble)| trouble);
    wait_until("ps tells it", LONG, || told().as_deref() == Some("has another cookie than the app's"));
    wait_until("it is an event", LONG, || {
        activity(&ada, &project).iter().any(|one| one.contains(&format!("({odd}) has another cookie than the app's")))
    });
    // Its neighbour is still connected, and can mend it.
    evaluate(&ada, &project, other, &format!(":rpc.call(:\"{node}\", Node, :set_cookie, [:\"{cookie}\"])"));
    // One that refused is not asked again soon, for it logs every try: the record says so until it is started anew.
    assert_eq!(told().as_deref(), Some("has another cookie than the app's"));
    ada.run_in(&project, &["ps:kill", "--pod", odd]).ok();
    wait_until("its successor is whole", LONG, || {
        let now = troubles(&ada, &project);
        now.iter().all(|(name, ..)| name != odd) && now.len() == 2 && now.iter().all(|(.., trouble)| trouble.is_none())
    });
    whole(&ada, &project, 2);
}

#[test]
fn two_apps_never_join_even_with_one_cookie() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    circle(&server, &ada, "one", 1);
    let cookie = environments(&server, "one")[0]["RELEASE_COOKIE"].as_str().expect("a cookie").to_owned();
    let stranger = nodes(&server, "one").pop_first().expect("a node");

    let project = Project::example(&ada, "two", "elixir-cluster");
    let web = project.path().join("lib/circle/web.ex");
    let code = std::fs::read_to_string(&web).expect("web.ex");
    let asking =
        "  defp answer(\"/connect/\" <> node), do: node |> String.to_atom() |> Node.connect() |> inspect()\n\n";
    std::fs::write(&web, code.replacen("  defp answer(", &format!("{asking}  defp answer("), 1)).expect("write");
    project.commit(&ada, "asks");
    ada.run_in(&project, &["config:set", &format!("RELEASE_COOKIE={cookie}")]).ok();
    project.push(&ada);
    ada.run_in(&project, &["ps:scale", "web=2"]).ok();
    wait_until("its own nodes find each other", LONG, || nodes(&server, "two").len() == 2);
    for node in nodes(&server, "two") {
        assert_eq!(server.visit("two", &format!("/connect/{node}")).body, "true\n", "its own can be connected");
    }
    assert_eq!(server.visit("two", &format!("/connect/{stranger}")).body, "false\n");
    assert_eq!(nodes(&server, "one").len(), 1);
}

#[test]
fn another_cookie_is_another_cluster_whole_at_once() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = circle(&server, &ada, "spin", 2);
    let cookies = || {
        let all = environments(&server, "spin");
        all.iter().map(|env| env["RELEASE_COOKIE"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let (before, old) = (nodes(&server, "spin"), cookies());
    assert_eq!(old.len(), 1);
    ada.run_in(&project, &["cluster:cookie:rotate"]).ok();
    wait_until("the new nodes are a cluster", LONG, || {
        let now = nodes(&server, "spin");
        now.len() == 2 && now.is_disjoint(&before)
    });
    wait_until("the old replicas are gone", LONG, || cookies().is_disjoint(&old));
    assert!(activity(&ada, &project).contains(&"cookie: Rotate the Erlang cookie.".to_owned()));
}

#[test]
fn a_node_is_looked_into_from_the_terminal() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = circle(&server, &ada, "glass", 1);
    let shown = ada.run_in(&project, &["ps:observer", "--json", "--tree", "circle", "--replica", "web.1"]).ok();
    let seen: Value = serde_json::from_str(&shown).expect("json");
    let names = |list: &Value| -> Vec<String> {
        list.as_array().expect("a list").iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    assert!(names(&seen["tree"]).contains(&"'Elixir.Circle.Friends'".to_owned()), "{shown}");
    assert!(names(&seen["applications"]).contains(&"circle".to_owned()), "{shown}");
    assert!(names(&seen["processes"]).contains(&"'Elixir.Circle.Web'".to_owned()), "{shown}");
    assert!(seen["tables"][0]["memory"].as_u64() > Some(0) && seen["system"]["atoms"].as_u64() > Some(0), "{shown}");
    assert!(!seen["ports"].as_array().expect("ports").is_empty(), "{shown}");
    let memory: Vec<_> = seen["processes"].as_array().unwrap().iter().map(|one| one["memory"].as_u64()).collect();
    assert!(memory.is_sorted_by(|a, b| a >= b), "{memory:?}");
    let refused = ada.run_in(&project, &["ps:observer", "--tui"]).fails();
    assert!(refused.contains("terminal"), "{refused}");
}

/// A terminal of 120 by 40 characters with a program in it.
pub struct Screen<'a> {
    person: &'a Person,
    socket: std::path::PathBuf,
}

impl<'a> Screen<'a> {
    /// `None` where there is no tmux, which is said aloud.
    pub fn of(person: &'a Person, project: &Project, args: &[&str]) -> Option<Self> {
        if std::process::Command::new("tmux").arg("-V").output().is_err() {
            eprintln!("SKIPPED: there is no tmux; tests/setup installs it");
            return None;
        }
        let screen = Self { person, socket: person.home().join("tmux") };
        let folder = project.path().to_string_lossy().into_owned();
        let mut words = vec!["-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "40", "-c", &folder];
        words.push(env!("CARGO_BIN_EXE_gigalixir"));
        words.extend(args);
        assert!(screen.tmux(&words).status.success());
        Some(screen)
    }

    pub fn tmux(&self, args: &[&str]) -> std::process::Output {
        let mut command = self.person.command("tmux");
        command.arg("-S").arg(&self.socket).args(args).env("TERM", "xterm-256color");
        command.output().expect("tmux runs")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p"]).stdout).into_owned()
    }

    #[track_caller]
    pub fn shows(&self, words: &[&str]) {
        let end = std::time::Instant::now() + LONG;
        loop {
            let text = self.text();
            if words.iter().all(|word| text.contains(word)) {
                return;
            }
            assert!(std::time::Instant::now() < end, "no {words:?} on the screen:\n{text}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn press(&self, keys: &[&str]) {
        let _ = self.tmux(&[&["send-keys"][..], keys].concat());
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]);
    }
}

fn a_node_is_observed_live_in_the_terminal(on: Place) {
    let server = on.server("");
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = circle(&server, &ada, "live", 1);
    let Some(screen) = Screen::of(&ada, &project, &["ps:observer", "--tui"]) else { return };
    screen.shows(&["live", "OTP ", "2 Processes", "MEMORY ▼", "REDUCTIONS", "QUEUE", "<0.", "q quit"]);
    screen.press(&["s"]);
    screen.shows(&["REDUCTIONS ▼"]);
    screen.press(&["3"]);
    screen.shows(&["OBJECTS", "PROTECTION", "code"]);
    screen.press(&["4"]);
    screen.shows(&["WRITTEN", "#Port<"]);
    screen.press(&["1"]);
    screen.shows(&["Schedulers", "Atoms", "ETS tables", "no other node"]);
    screen.press(&["5"]);
    screen.shows(&["DESCRIPTION", "kernel", "stdlib"]);
    // By name, `circle` is the second of the applications, after `asn1`.
    screen.press(&["Down", "Enter"]);
    screen.shows(&["'Elixir.Circle.Friends'", "supervisor", "worker"]);

    // It is live: another node is seen as soon as there is one.
    screen.press(&["1"]);
    ada.run_in(&project, &["ps:scale", "web=2"]).ok();
    wait_until("the two nodes find each other", LONG, || nodes(&server, "live").len() == 2);
    wait_until("the screen shows both", LONG, || {
        let text = screen.text();
        !text.contains("no other node") && nodes(&server, "live").iter().all(|node| text.contains(node))
    });
    screen.press(&["q"]);
    wait_until("it has ended", LONG, || !screen.tmux(&["has-session"]).status.success());
}

fn ones_own_erlang_reaches_the_chosen_node_through_the_tunnel(on: Place) {
    let server = on.server("");
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = circle(&server, &ada, "deep", 2);
    let all = whole(&ada, &project, 2);
    let (replica, wanted, _) = &all[1];
    let ask = |expression: &str| ada.run_in(&project, &["ps:observer", "--replica", replica, "--eval", expression]);
    assert_eq!(ask("node().").ok().trim(), format!("'{wanted}'"));
    let observers = "[N || N <- nodes(hidden), lists:prefix(\"observer-\", atom_to_list(N))]";
    let hidden = ask(&format!("{{length(nodes()), length({observers})}}.")).ok();
    assert_eq!(hidden.trim(), "{1,1}", "it is a hidden node beside the cluster");
    assert!(ask("erlang:error(oops).").fails().contains("oops"));
    let home: Vec<_> = std::fs::read_dir(ada.home()).expect("home").flatten().map(|entry| entry.file_name()).collect();
    assert!(!home.iter().any(|name| name == ".erlang.cookie"), "{home:?}");
}

//! What Elixir people come for, in the pods of a real cluster: nodes that find each other, consoles, programs, ssh,
//! copies, observers.

use std::process::Command;

use serde_json::{Value, json};

use crate::cluster::{LONG, Screen, emulator, evaluate, nodes, settled, status, told_apart, told_whole, whole};
use crate::harness::{Person, Place, Project, Server, Ssh, get, wait_until};
use crate::inside::{attaches, forwards, last_line};
use crate::jobs::asks_at_a_terminal;

/// A platform there, and somebody with an account; `None` without a cluster.
fn platform() -> Option<(Server, Person)> {
    Place::Kubernetes.is_there().then(|| {
        let server = Place::Kubernetes.server("");
        let ada = Person::sign_up(&server, "ada@example.com");
        (server, ada)
    })
}

/// The example, told where the API is by a file and not by the cluster's name service, which the test cluster has not.
/// All else it finds as anywhere.
fn circle(server: &Server, ada: &Person, app: &str, replicas: u32) -> Project {
    let project = Project::example(ada, app, "elixir-cluster");
    let (cluster, _) = server.in_namespace(app);
    let found = cluster.kubectl(&["get", "service", "kubernetes", "-n", "default", "-o", "jsonpath={.spec.clusterIP}"]);
    let ip = String::from_utf8_lossy(&found.stdout).replace('.', ",");
    let names = format!("{{host, {{{ip}}}, [\"kubernetes.default.svc\"]}}.\n{{lookup, [file, native]}}.\n");
    project.write("rel/overlays/inetrc", &names);
    project.write("rel/env.sh.eex", "export ERL_INETRC=$RELEASE_ROOT/inetrc\n");
    project.commit(ada, "names");
    ada.run_in(&project, &["config:set", "CLUSTER_DOMAIN=svc"]).ok();
    settled(server, ada, project, replicas)
}

/// The firewall of the pod that a node is in.
struct Firewall {
    emulator: String,
    peers: Vec<String>,
}

impl Firewall {
    /// Of a pod on this machine, to these nodes.
    fn of(node: &str, peers: &[&String]) -> Self {
        let ip = |node: &&String| node.split('@').nth(1).expect("an address").to_owned();
        Self { emulator: emulator(node).to_string(), peers: peers.iter().map(ip).collect() }
    }

    /// `-A` closes it, `-D` opens it again.
    fn turn(&self, how: &str) {
        for peer in &self.peers {
            for rule in [["INPUT", "-s"], ["OUTPUT", "-d"]] {
                let mut command = Command::new("nsenter");
                command.args(["-t", &self.emulator, "-n", "iptables", how]).args(rule).arg(peer);
                command.args(["-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset"]);
                let ran = command.output().expect("nsenter");
                assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
            }
        }
    }
}

/// The node that counts for all, when all agree on one.
fn counter(server: &Server, app: &str, replicas: usize) -> Option<String> {
    let asked: Vec<String> = (0..2 * replicas).map(|_| server.visit(app, "/count").body).collect();
    let counted = |body: &String| Some(body.split_once("counted on ")?.1.split_once(',')?.0.to_owned());
    let all: Option<std::collections::BTreeSet<String>> = asked.iter().map(counted).collect();
    all.filter(|all| all.len() == 1)?.pop_first()
}

#[test]
fn nodes_find_each_other_are_split_and_heal() {
    let Some((server, ada)) = platform() else { return };
    let project = circle(&server, &ada, "circle", 2);
    whole(&ada, &project, 2);
    wait_until("one counter counts for two", LONG, || counter(&server, "circle", 2).is_some());
    ada.run_in(&project, &["ps:scale", "web=3"]).ok();
    let all = whole(&ada, &project, 3);
    wait_until("one counter counts for three", LONG, || counter(&server, "circle", 3).is_some());
    let seen = status(&ada, &project);
    assert!(seen["pods"].as_array().expect("pods").iter().all(|pod| pod["sees"].as_array().unwrap().len() == 2));
    let table = ada.run_in(&project, &["ps"]).ok();
    assert!(table.contains("SEES") && table.contains(&all[0].1), "{table}");
    let sent = format!(
        ":rpc.call(:\"{}\", :erlang, :send, [self(), :hello]); receive do :hello -> :came after 5000 -> :lost end",
        all[1].1
    );
    assert_eq!(last_line(&evaluate(&ada, &project, &all[0].0, &sent)), "came", "a message goes there and back");

    let (alone, node, _) = &all[2];
    let others: Vec<&String> = all[..2].iter().map(|(_, node, _)| node).collect();
    let firewall = Firewall::of(node, &others);
    firewall.turn("-A");
    told_apart(&ada, &project, alone, node);
    firewall.turn("-D");
    told_whole(&ada, &project);
    wait_until("one counter counts for all again", LONG, || counter(&server, "circle", 3).is_some());

    // In another app nobody knows the cookie.
    let stranger = circle(&server, &ada, "other", 1);
    let connected = evaluate(&ada, &stranger, "web.1", &format!("Node.connect(:\"{node}\")"));
    assert_eq!(last_line(&connected), "false");
    assert_eq!((nodes(&server, "other").len(), nodes(&server, "circle").len()), (1, 3));
}

#[test]
fn a_release_is_driven_from_outside() {
    let Some((_server, ada)) = platform() else { return };
    let project = Project::example(&ada, "example", "elixir-release");
    project.push(&ada);
    let run = |args: &[&str]| ada.run_in(&project, args).ok();
    let cookie = run(&["ps:run", "cat", "/kube-env-vars/ERLANG_COOKIE"]);
    let seen = run(&["ps:run", "gigalixir_run", "distillery-eval", "--", "Node.get_cookie()"]);
    assert!(cookie.trim().len() > 10 && last_line(&seen) == cookie.trim(), "{cookie} {seen}");
    assert_eq!(run(&["ps:run", "cat", "/kube-env-vars/REPO"]), "example");
    assert_eq!(last_line(&run(&["ps:distillery", "rpc", "IO.puts(6 * 7)"])), "42");
    assert!(run(&["ps:migrate"]).contains("does not use Ecto"));
    assert!(run(&["ps:run", "epmd", "-names"]).contains("at port"));
    let node = run(&["ps:run", "printenv", "RELEASE_NODE"]);
    attaches(&ada, &project, node.trim());

    let (_forward, address) = forwards(&ada, "4000");
    assert_eq!(get(address, "example", "/").status, 200);
    asks_at_a_terminal(&ada, &project, &[]);
    let job: Value = serde_json::from_str(&run(&["jobs", "--json"])).expect("json");
    assert_eq!((&job[0]["outcome"], &job[0]["exit_code"]), (&"Error".into(), &9.into()), "{job:#}");
}

#[test]
fn ssh_leads_into_a_pod() {
    let Some((server, ada)) = platform() else { return };
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    ada.run_in(&project, &["ps:scale", "web=2"]).ok();
    wait_until("both are ready", LONG, || status(&ada, &project)["replicas_running"] == 2);
    let ssh = Ssh::known(&ada, &server);
    let ran = ssh.run(&["hello.web.2@host", "echo $HOST_INDEX $PORT; echo err >&2; exit 42"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.lines().last()),
        (Some(42), "2 4000\n", Some("err")),
        "{ran:?}"
    );
    assert_eq!(ssh.run_with_input(&["root@hello@host", "wc -c"], "twelve bytes").ok().trim(), "12");
    let steps = json!([
        ["type", "PS1=ready-$((1+1))'> '\n"],
        ["expect", "ready-2> "],
        ["type", "stty size; echo $TERM\n"],
        ["expect", "30 100"],
        ["expect", "xterm-256color"],
        ["resize", 132, 50],
        ["type", "until [ \"$(stty size)\" = '50 132' ]; do sleep 0.1; done; echo re-$((1+1))-sized\n"],
        ["expect", "re-2-sized"],
        ["type", "sh -c 'echo sleeps-$((1+1)); exec sleep 1000'\n"],
        ["expect", "sleeps-2"],
        ["type", "\u{3}"],
        ["expect", "ready-2> "],
        ["type", "exit 7\n"],
        ["end"]
    ]);
    let ran = ssh.at_terminal(&["hello@host"], &steps);
    assert_eq!(ran.code, Some(7), "{ran:?}");

    let (here, again) = (ada.home().join("here"), ada.home().join("again"));
    let bytes: String = (0..200_000).map(|n| format!("{n} ")).collect();
    std::fs::write(&here, &bytes).expect("a file");
    let (here, again) = (here.to_str().expect("text"), again.to_str().expect("text"));
    let batch = format!("put {here} /tmp/c\nget /tmp/c {again}\n");
    ssh.run_program("sftp", &["-b", "-", "hello.web.1@host"], &batch).ok();
    assert!(std::fs::read_to_string(again).expect("its copy") == bytes, "sftp");
    ssh.run_program("scp", &["-q", here, "hello.web.1@host:/tmp/d"], "").ok();
    assert_eq!(ssh.run(&["hello.web.1@host", "cmp /tmp/c /tmp/d && echo same"]).ok(), "same\n");
}

#[test]
fn a_node_is_looked_into() {
    let Some((server, ada)) = platform() else { return };
    let project = circle(&server, &ada, "glass", 2);
    let all = whole(&ada, &project, 2);
    let (replica, wanted, _) = &all[1];
    let shown = ada.run_in(&project, &["ps:observer", "--json", "--tree", "circle", "--replica", replica]).ok();
    let seen: Value = serde_json::from_str(&shown).expect("json");
    let named = |list: &Value, name: &str| list.as_array().expect("a list").iter().any(|one| one["name"] == name);
    assert!(named(&seen["tree"], "'Elixir.Circle.Friends'") && named(&seen["applications"], "circle"), "{shown}");
    assert!(named(&seen["processes"], "'Elixir.Circle.Web'"), "{shown}");

    let ask = |expression: &str| ada.run_in(&project, &["ps:observer", "--replica", replica, "--eval", expression]);
    assert_eq!(ask("node().").ok().trim(), format!("'{wanted}'"));
    let observers = "[N || N <- nodes(hidden), lists:prefix(\"observer-\", atom_to_list(N))]";
    let hidden = ask(&format!("{{length(nodes()), length({observers})}}.")).ok();
    assert_eq!(hidden.trim(), "{1,1}", "it is a hidden node beside the cluster");

    let Some(screen) = Screen::of(&ada, &project, &["ps:observer", "--tui"]) else { return };
    screen.shows(&["glass", "OTP ", "2 Processes", "MEMORY ▼", "REDUCTIONS", "QUEUE", "<0.", "q quit"]);
    screen.press(&["1"]);
    screen.shows(&["Schedulers", "Atoms", "ETS tables", "glass@"]);
    screen.press(&["q"]);
    wait_until("it has ended", LONG, || !screen.tmux(&["has-session"]).status.success());
}

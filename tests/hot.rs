//! Hot upgrades, from outside: nodes that run get other code, and whoever is connected to them notices nothing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Person, Place, Project, Server, WebSocket, emulators, is_stopped, kill, wait_until};

mod on_kubernetes;

const LONG: Duration = Duration::from_secs(120);
const UPGRADES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/elixir-hot/upgrades");

/// The example, deployed as it is.
struct Tally {
    server: Server,
    ada: Person,
    project: Project,
}

impl Tally {
    fn deployed(replicas: u32) -> Self {
        Self::at(Place::Local, replicas)
    }

    fn at(place: Place, replicas: u32) -> Self {
        let server = place.server("");
        let ada = Person::sign_up(&server, "ada@example.com");
        let project = Project::example(&ada, "tally", "elixir-hot");
        std::fs::remove_dir_all(project.path().join("upgrades")).expect("upgrades");
        project.commit(&ada, "without the upgrades");
        project.push(&ada);
        if replicas > 1 {
            ada.run_in(&project, &["ps:scale", &format!("web={replicas}")]).ok();
        }
        let tally = Self { server, ada, project };
        tally.wait_for(replicas);
        tally
    }

    fn wait_for(&self, replicas: u32) {
        wait_until("the replicas are ready, and no other is left", LONG, || {
            let status = self.json(&["ps", "--json"]);
            status["replicas_running"] == replicas && self.versions().len() == replicas as usize
        });
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ada.run_in(&self.project, args).ok()).expect("json")
    }

    /// Lays one of the example's upgrades over the project, and commits.
    fn lay(&self, version: &str) {
        lay(&Path::new(UPGRADES).join(version), self.project.path());
        self.project.commit(&self.ada, version);
    }

    /// Changes a file's text, and commits.
    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.project.path().join(file);
        let text = std::fs::read_to_string(&path).expect(file);
        assert!(text.contains(from), "no `{from}` in {file}:\n{text}");
        std::fs::write(&path, text.replace(from, to)).expect(file);
        self.project.commit(&self.ada, "edited");
    }

    /// Another code and another version, committed.
    fn next(&self, round: usize) {
        let path = self.project.path().join("lib/tally/counter.ex");
        let text = std::fs::read_to_string(&path).expect("counter");
        let (before, rest) = text.split_once("{:reply, \"#{count} counted").expect("the report");
        let (_, after) = rest.split_once('"').expect("its end");
        std::fs::write(&path, format!("{before}{{:reply, \"#{{count}} counted in round {round}\"{after}"))
            .expect("counter");
        let text = std::fs::read_to_string(self.project.path().join("mix.exs")).expect("mix.exs");
        let old = text.split("version: \"").nth(1).expect("version").split('"').next().expect("version").to_owned();
        self.edit("mix.exs", &format!("version: \"{old}\""), &format!("version: \"1.{round}.0\""));
    }

    #[track_caller]
    fn push_hot(&self) -> String {
        self.ada.git(&self.project, &["push", "-o", "hot", "gigalixir", "HEAD:refs/heads/master"]).ok_stderr()
    }

    #[track_caller]
    fn push_hot_fails(&self) -> String {
        self.ada.git(&self.project, &["push", "-o", "hot", "gigalixir", "HEAD:refs/heads/master"]).fails()
    }

    fn visitor(&self) -> Visitor {
        let socket = WebSocket::open(self.server.http, "tally.localhost", "/ws").expect("a WebSocket");
        Visitor { socket, last: None }
    }

    fn visitors(&self, count: usize) -> Vec<Visitor> {
        (0..count).map(|_| self.visitor()).collect()
    }

    /// What each replica says of itself, as `ps` tells it.
    fn versions(&self) -> Vec<(String, u64, u64)> {
        let status = self.json(&["ps", "--json"]);
        let pods = status["pods"].as_array().expect("pods");
        let text = |pod: &Value, key: &str| pod[key].as_str().unwrap_or_default().to_owned();
        let number = |pod: &Value, key: &str| pod[key].as_u64().unwrap_or_default();
        pods.iter().map(|pod| (text(pod, "name"), number(pod, "version"), number(pod, "restarts"))).collect()
    }
}

fn lay(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("upgrade").flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().expect("type").is_dir() {
            lay(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).expect("copy");
        }
    }
}

/// Somebody connected to one replica, for as long as the test takes.
struct Visitor {
    socket: WebSocket,
    last: Option<u64>,
}

impl Visitor {
    /// Counts one more; the version that counted. The replica's count never goes back.
    #[track_caller]
    fn count(&mut self) -> String {
        let answer = self.socket.ask("+").expect("the connection lives");
        let (count, version) = answer.split_once(' ').expect("a count and a version");
        let count = count.parse().expect("a number");
        assert!(self.last.is_none_or(|last| count > last), "{count} after {:?}", self.last);
        self.last = Some(count);
        version.to_owned()
    }
}

#[test]
fn three_nodes_take_three_versions_and_refuse_a_bad_one() {
    three_nodes(Place::Local);
}

#[test]
fn so_do_three_nodes_in_containers() {
    if Place::Docker.is_there() {
        three_nodes(Place::Docker);
    }
}

fn three_nodes(place: Place) {
    let tally = Tally::at(place, 3);
    let before = tally.versions();
    let mut visitors = tally.visitors(9);
    for visitor in &mut visitors {
        assert_eq!(visitor.count(), "0.1.0");
    }

    tally.lay("0.2.0");
    let told = tally.push_hot();
    assert!(told.contains("web.1 (the canary) runs 0.2.0 now") && told.contains("web.3 runs 0.2.0 now"), "{told}");
    for visitor in &mut visitors {
        assert_eq!(visitor.count(), "0.2.0", "the connection is the same, and so is the count");
    }
    let answer = tally.server.visit("tally", "/").body;
    assert!(answer.contains("of them by this version, version 0.2.0"), "the state was changed: {answer}");

    tally.lay("0.3.0");
    tally.push_hot();
    for visitor in &mut visitors {
        assert_eq!(visitor.count(), "0.3.0");
    }
    let clock = tally.ada.run_in(&tally.project, &["ps:run", "bin/tally", "rpc", "IO.puts(Tally.Clock.age())"]);
    assert!(clock.ok().trim().parse::<u64>().is_ok(), "the new process runs");

    tally.lay("0.4.0");
    let refused = tally.push_hot_fails();
    assert!(refused.contains("rehearsal") && refused.contains("code_change"), "{refused}");
    for visitor in &mut visitors {
        assert_eq!(visitor.count(), "0.3.0");
    }

    let after = tally.versions();
    let names = |list: &[(String, u64, u64)]| {
        list.iter().map(|(name, _, restarts)| (name.clone(), *restarts)).collect::<Vec<_>>()
    };
    assert_eq!(names(&before), names(&after), "no replica was replaced or started anew");
    assert!(after.iter().all(|(_, version, _)| *version == before[0].1 + 2), "{after:?}");
    let releases = tally.json(&["releases", "--json"]);
    let hot = |n: usize| releases[n]["hot"].as_array().map_or(0, Vec::len);
    assert_eq!((&releases[0]["state"], hot(0)), (&Value::from("failed"), 0), "{releases:#}");
    assert_eq!((&releases[1]["state"], hot(1), hot(2)), (&Value::from("live"), 3, 3), "{releases:#}");
    assert!(
        releases[1]["hot"].as_array().expect("hot").iter().all(|node| {
            node["state"] == "changed" && node["pause_ms"].as_f64().is_some_and(|pause| pause < 1000.0)
        })
    );
}

#[test]
fn a_way_back_is_hot_too_and_a_plan_is_told_without_doing_it() {
    let tally = Tally::deployed(2);
    let mut visitors = tally.visitors(4);
    visitors.iter_mut().for_each(|visitor| drop(visitor.count()));
    let one = tally.json(&["releases", "--json"])[0]["version"].as_u64().expect("version").to_string();
    tally.lay("0.2.0");
    // By the header, as in 2017.
    let header = "http.extraheader=GIGALIXIR-HOT: true";
    tally.ada.git(&tally.project, &["-c", header, "push", "gigalixir", "HEAD:refs/heads/master"]).ok();
    let back = tally.json(&["releases:upgrade-plan", "live", &one, "--json"]);
    assert_eq!(
        (&back["from"], &back["to"], &back["possible"]),
        (&"0.2.0".into(), &"0.1.0".into(), &true.into()),
        "{back:#}"
    );
    assert!(back["script"].as_str().expect("script").contains("{code_change,down"), "{back:#}");
    let shown = tally.ada.run_in(&tally.project, &["releases:upgrade-plan", "live", &one]).ok();
    assert!(
        shown.contains("can become 0.1.0 in running nodes") && shown.contains("changed  Tally.Counter (server)"),
        "{shown}"
    );

    visitors.iter_mut().for_each(|visitor| assert_eq!(visitor.count(), "0.2.0"));
    tally.ada.run_in(&tally.project, &["releases:rollback", "--hot"]).ok();
    visitors.iter_mut().for_each(|visitor| assert_eq!(visitor.count(), "0.1.0"));
    let releases = tally.json(&["releases", "--json"]);
    assert_eq!(releases[0]["hot"].as_array().map_or(0, Vec::len), 2, "{releases:#}");
    let runs: Vec<_> =
        tally.json(&["ps", "--json"])["pods"].as_array().expect("pods").iter().map(|pod| pod["runs"].clone()).collect();
    assert_eq!(runs, ["0.1.0", "0.1.0"], "as the nodes say themselves");
}

#[test]
fn what_cannot_be_is_refused_with_all_reasons_and_restarted_if_that_is_wished() {
    let tally = Tally::deployed(1);
    let mut visitor = tally.visitor();
    visitor.count();
    // The version is as it was, and so is what starts the app; a file that is read at the start is new.
    tally.lay("0.2.0");
    tally.edit("mix.exs", "0.2.0", "0.1.0");
    let refused = tally.push_hot_fails();
    assert!(refused.contains("raise `version:` in mix.exs"), "{refused}");
    tally.edit("mix.exs", "0.1.0", "0.2.0");
    tally.project.write("rel/vm.args.eex", "+K true\n");
    tally.project.write("Procfile", "web: /app/bin/tally start\n");
    tally.edit("lib/tally/application.ex", "start_link([])", "start_link([:again])");
    tally.ada.run_in(&tally.project, &["config:set", "--no-restart", "WORD=other"]).ok();
    let refused = tally.push_hot_fails();
    let of_the_code = ["vm.args has changed", "Tally.Application:start/2 has changed"];
    let of_what_runs =
        ["the Procfile's line of `web` has changed", "with other variables than the app has now: `WORD`"];
    for reason in of_the_code.iter().chain(&of_what_runs).chain(&["Nothing was touched"]) {
        assert!(refused.contains(reason), "no `{reason}` in:\n{refused}");
    }
    assert!(refused.matches("What to do: ").count() >= 4, "each with what to do:\n{refused}");
    assert_eq!(visitor.count(), "0.1.0", "nothing was touched");
    let releases = tally.json(&["releases", "--json"]);
    assert!(!releases.to_string().contains("failed"), "a refusal leaves no release: {releases:#}");

    tally.ada.run_in(&tally.project, &["deploy", "--hot", "--or-restart"]).ok();
    let answer = tally.server.visit("tally", "/").body;
    assert!(answer.contains("version 0.2.0"), "{answer}");
    let releases = tally.json(&["releases", "--json"]);
    assert!(releases[0]["hot"].is_null(), "it was restarted, and that is what the record says: {releases:#}");
}

/// A loop that calls itself by its short name goes on in the code that it began with. In a rehearsal nobody is connected.
#[test]
fn code_of_two_versions_ago_that_still_runs_is_refused() {
    let tally = Tally::deployed(1);
    tally.edit("lib/tally/connection.ex", "__MODULE__.talk(socket)", "talk(socket)");
    tally.project.push(&tally.ada);
    tally.wait_for(1);
    let mut visitor = tally.visitor();
    visitor.count();
    let change = |version: &str, from: &str, to: &str| {
        let old = std::fs::read_to_string(tally.project.path().join("mix.exs")).expect("mix.exs");
        let old = old.split("version: \"").nth(1).expect("version").split('"').next().expect("version").to_owned();
        tally.edit("mix.exs", &format!("version: \"{old}\""), &format!("version: \"{version}\""));
        tally.edit("lib/tally/connection.ex", from, to);
    };
    change("0.1.1", "60_000", "60_001");
    tally.push_hot();
    assert_eq!(visitor.count(), "0.1.1");
    change("0.1.2", "60_001", "60_002");
    let refused = tally.push_hot_fails();
    for part in ["code of two versions ago", "Tally.Connection (1)", "by its full name", "Nothing was touched"] {
        assert!(refused.contains(part), "no `{part}` in:\n{refused}");
    }
    assert_eq!(visitor.count(), "0.1.1", "and nobody was killed for it");
}

/// A dependency with a process of its own comes in one version and goes in the next; the relup of the last is the
/// release's own.
#[test]
fn applications_come_and_go_in_running_nodes_and_a_relup_is_honoured() {
    let tally = Tally::deployed(1);
    let mut visitor = tally.visitor();
    visitor.count();
    let rpc = |expression: &str| tally.ada.run_in(&tally.project, &["ps:run", "bin/tally", "rpc", expression]).ok();
    let runs = || {
        rpc(
            "IO.inspect({Process.whereis(Extra.Holder) != nil, List.keymember?(Application.loaded_applications(), :extra, 0)})",
        )
    };
    assert_eq!(runs().trim(), "{false, false}");
    tally.project.write("extra/mix.exs", EXTRA_MIX);
    tally.project.write("extra/lib/extra.ex", EXTRA);
    tally.lay("0.2.0");
    tally.edit("mix.exs", "releases: [tally:", "deps: [{:extra, path: \"extra\"}],\n      releases: [tally:");
    tally.push_hot();
    assert_eq!((visitor.count().as_str(), runs().trim()), ("0.2.0", "{true, true}"));

    tally.edit("mix.exs", "deps: [{:extra, path: \"extra\"}],", "deps: [],");
    tally.edit("mix.exs", "0.2.0", "0.2.1");
    tally.push_hot();
    assert_eq!((visitor.count().as_str(), runs().trim()), ("0.2.1", "{false, false}"));

    tally.edit("mix.exs", "0.2.1", "0.2.2");
    tally.edit("lib/tally/counter.ex", "of them by this version", "of them by a relup");
    tally.project.write("rel/overlays/releases/0.2.2/relup", RELUP);
    tally.project.commit(&tally.ada, "a relup");
    tally.push_hot();
    assert_eq!(visitor.count(), "0.2.2");
    assert_eq!(rpc("IO.inspect(:persistent_term.get(:relup))").trim(), ":up", "it is what was carried out");
    let answer = tally.server.visit("tally", "/").body;
    assert!(answer.contains("of them by a relup"), "{answer}");
    tally.ada.run_in(&tally.project, &["releases:rollback", "--hot"]).ok();
    assert_eq!(visitor.count(), "0.2.1");
    assert_eq!(rpc("IO.inspect(:persistent_term.get(:relup))").trim(), ":down");
}

const EXTRA_MIX: &str = "defmodule Extra.MixProject do
  use Mix.Project
  def project, do: [app: :extra, version: \"1.0.0\", elixir: \"~> 1.14\"]
  def application, do: [mod: {Extra, []}]
end
";
const EXTRA: &str = "defmodule Extra do
  use Application
  def start(_, _), do: Supervisor.start_link([Extra.Holder], strategy: :one_for_one)
end

defmodule Extra.Holder do
  use GenServer
  def start_link(_), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)
  def init(nil), do: {:ok, nil}
end
";
/// As `systools:make_relup/3` and distillery write it, and a word of the author's.
const RELUP: &str = "{\"0.2.2\",
 [{\"0.2.1\", [], [{load_object_code, {tally, \"0.2.2\", ['Elixir.Tally.Counter']}}, point_of_no_return,
   {load, {'Elixir.Tally.Counter', brutal_purge, soft_purge}}, {apply, {persistent_term, put, [relup, up]}}]}],
 [{\"0.2.1\", [], [{load_object_code, {tally, \"0.2.1\", ['Elixir.Tally.Counter']}}, point_of_no_return,
   {load, {'Elixir.Tally.Counter', brutal_purge, soft_purge}}, {apply, {persistent_term, put, [relup, down]}}]}]}.
";

#[test]
fn what_a_rehearsal_cannot_know_fails_on_the_canary_and_is_undone() {
    let tally = Tally::deployed(2);
    let mut visitors = tally.visitors(4);
    visitors.iter_mut().for_each(|visitor| drop(visitor.count()));
    let before = tally.versions();
    // Only a counter that has counted is changed to one that dies: not the rehearsal's.
    tally.lay("0.2.0");
    let from = "def code_change(_, count, _extra) when is_integer(count), do:";
    let dies = "def handle_info(:die, _state), do: raise \"on purpose\"\n\n  @impl true\n  def code_change({:down, _}, %{count: count}, _extra), do: {:ok, count}\n\n  def code_change(_, count, _extra) when is_integer(count) and count > 0 do\n    Process.send_after(self(), :die, 100)\n    {:ok, %{count: count, begun_with: count}}\n  end\n\n  ";
    tally.edit(
        "lib/tally/counter.ex",
        "  def code_change({:down, _}, %{count: count}, _extra), do: {:ok, count}\n",
        "",
    );
    tally.edit("lib/tally/counter.ex", from, &format!("{dies}{from}"));
    let refused = tally.push_hot_fails();
    assert!(refused.contains("web.1 could not be upgraded") && refused.contains("on purpose"), "{refused}");
    assert!(refused.contains("web.1 is back at 0.1.0"), "{refused}");
    let after = tally.versions();
    assert_eq!(before, after, "all replicas are those that they were, at the old release");
    for visitor in &mut visitors {
        visitor.last = None;
        assert_eq!(visitor.count(), "0.1.0", "the connections live");
    }

    // One whose state cannot be changed stops halfway: its replica is replaced by one of the old release.
    tally.edit("lib/tally/counter.ex", "    Process.send_after(self(), :die, 100)\n", "    raise \"cannot\"\n");
    let refused = tally.push_hot_fails();
    assert!(refused.contains("web.1 is replaced by a new replica of 0.1.0"), "{refused}");
    tally.wait_for(2);
    let after = tally.versions();
    assert_eq!(before[1], after[1], "the other one was not touched");
    assert_ne!(before[0].0, after[0].0);
    assert_eq!(before[0].1, after[0].1, "at the old release");
}

#[test]
fn what_starts_anew_after_an_upgrade_boots_the_new_release() {
    let tally = Tally::deployed(1);
    tally.lay("0.2.0");
    tally.push_hot();
    tally.ada.run_in(&tally.project, &["ps:run", "bin/tally", "stop"]).ok();
    wait_until("it was started anew", LONG, || tally.versions()[0].2 == 1);
    tally.wait_for(1);
    let answer = tally.server.visit("tally", "/").body;
    assert!(answer.contains("0 counted") && answer.contains("version 0.2.0"), "{answer}");
    tally.ada.run_in(&tally.project, &["ps:scale", "web=2"]).ok();
    tally.wait_for(2);
    wait_until("so does one that is added", LONG, || {
        let status = tally.json(&["ps", "--json"]);
        let pods = status["pods"].as_array().expect("pods");
        pods.len() == 2 && pods.iter().all(|pod| pod["runs"] == "0.2.0")
    });
}

#[test]
fn another_config_is_told_to_nodes_that_run() {
    let tally = Tally::deployed(1);
    tally
        .project
        .write("config/runtime.exs", "import Config\nconfig :tally, word: System.get_env(\"WORD\", \"none\")\n");
    tally.edit(
        "lib/tally/application.ex",
        "  @impl true\n",
        "  @impl true\n  def config_change(changed, _new, _removed), do: :persistent_term.put(:told, changed)\n\n  @impl true\n",
    );
    tally.project.push(&tally.ada);
    tally.wait_for(1);
    let before = tally.versions()[0].0.clone();
    let mut visitor = tally.visitor();
    visitor.count();
    tally.ada.run_in(&tally.project, &["config:set", "--hot", "WORD=hello"]).ok();
    visitor.count();
    let rpc = |expression: &str| tally.ada.run_in(&tally.project, &["ps:run", "bin/tally", "rpc", expression]).ok();
    assert_eq!(rpc("IO.puts(Application.get_env(:tally, :word))").trim(), "hello");
    assert_eq!(rpc("IO.inspect(:persistent_term.get(:told))").trim(), "[word: \"hello\"]");
    assert_eq!(tally.versions()[0].0, before, "no replica was replaced");
    let releases = tally.json(&["releases", "--json"]);
    assert_eq!(releases[0]["hot"][0]["state"], "changed", "{releases:#}");
    let refused = tally.ada.run_in(&tally.project, &["config:set", "--hot", "RELEASE_COOKIE=other"]).fails();
    assert!(refused.contains("`RELEASE_COOKIE` is read when a replica is started"), "{refused}");

    // What was told is what a replica boots with.
    tally.ada.run_in(&tally.project, &["ps:restart"]).ok();
    assert_eq!(rpc("IO.puts(Application.get_env(:tally, :word))").trim(), "hello");
}

/// All replicas are at one version, the live release's, whatever happened.
#[track_caller]
fn is_whole(tally: &Tally, step: &str) {
    wait_until(&format!("{step}: all at one version"), LONG, || {
        let releases = tally.json(&["releases", "--json"]);
        let live = releases.as_array().expect("list").iter().find(|release| release["state"] == "live").expect("live");
        let pods = tally.json(&["ps", "--json"]);
        let pods = pods["pods"].as_array().expect("pods");
        let right = |pod: &Value| {
            pod["status"] == "Healthy"
                && pod["version"] == live["version"]
                && pod["runs"] == live["customer_app_version"]
        };
        pods.len() == 2 && pods.iter().all(right) && !releases.to_string().contains("\"deploying\"")
    });
}

fn a_kill_at(steps: &[&str]) {
    kill_at(&mut Tally::deployed(2), steps, |_| ());
}

/// `meanwhile` happens while no server is there.
fn kill_at(tally: &mut Tally, steps: &[&str], meanwhile: impl Fn(&Tally)) {
    for (round, step) in steps.iter().enumerate() {
        tally.server.terminate();
        assert!(tally.server.start_again_crashing(step), "{step}: nothing was left to do");
        tally.wait_for(2);
        tally.next(round);
        let pushed = tally.ada.git(&tally.project, &["push", "-o", "hot", "gigalixir", "HEAD:refs/heads/master"]);
        assert_ne!(pushed.code, Some(0), "{step}");
        tally.server.wait_dead(LONG);
        meanwhile(tally);
        tally.server.start_again();
        is_whole(tally, step);
        let head = tally.ada.git(&tally.project, &["rev-parse", "HEAD"]).ok();
        let there = tally.ada.git(&tally.project, &["ls-remote", "gigalixir", "refs/heads/master"]).ok();
        if !there.starts_with(head.trim()) {
            tally.push_hot();
            is_whole(tally, step);
        }
    }
}

#[test]
fn a_server_killed_before_or_between_the_nodes_goes_back() {
    a_kill_at(&["release.recorded", "upgrade.rehearsed", "upgrade.node_begun"]);
}

#[test]
fn a_server_killed_between_the_nodes_and_the_commit_goes_back() {
    a_kill_at(&["upgrade.node_changed", "deploy.committed"]);
}

#[test]
fn a_server_killed_after_the_commit_goes_forth() {
    a_kill_at(&["deploy.swapped", "upgrade.applied", "upgrade.settled"]);
}

/// `kill -9` of a node while the server stands still at a step (of those that it passes more than once, at the
/// `time`th); the node is started anew before the server goes on.
fn a_node_dies_at(cases: &[(&str, usize, &str)]) {
    let mut tally = Tally::deployed(2);
    for (round, (step, time, whose)) in cases.iter().enumerate() {
        let what = format!("{step} {time}, {whose}");
        tally.server.terminate();
        tally.server.start_again_stopping(step);
        tally.wait_for(2);
        tally.next(round);
        let whose = match *whose {
            "canary" => tally.versions()[0].0.clone(),
            other => format!("/tally.{other}."),
        };
        let (server, data) = (tally.server.pid(), tally.server.data());
        let nodes = || emulators(&data).into_iter().filter(|(_, shim)| shim.contains(&whose)).collect::<Vec<_>>();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let push = scope.spawn(|| {
                let pushed =
                    tally.ada.git(&tally.project, &["push", "-o", "hot", "gigalixir", "HEAD:refs/heads/master"]);
                let _ = tell.send(());
                pushed
            });
            for stop in 1.. {
                let ended = || told.try_recv().is_ok();
                let begun = Instant::now();
                let mut over = false;
                while !is_stopped(server) && !over {
                    assert!(begun.elapsed() < LONG, "{what}: it did not come to that");
                    over = ended();
                    std::thread::sleep(Duration::from_millis(10));
                }
                if stop == *time {
                    assert!(!over, "{what}: it did not come to that");
                    let [(node, _)] = nodes()[..] else { panic!("{what}: no node of {whose}") };
                    kill(node, Signal::KILL);
                    wait_until("it is started anew", LONG, || nodes().first().is_some_and(|(pid, _)| *pid != node));
                }
                kill(server, Signal::CONT);
                if over {
                    break;
                }
            }
            let pushed = push.join().expect("the push ends");
            println!("{what}: {:?}\n{}", pushed.code, pushed.stderr);
        });
        is_whole(&tally, &what);
        tally.server.terminate();
        tally.server.start_again();
        is_whole(&tally, &what);
        let head = tally.ada.git(&tally.project, &["rev-parse", "HEAD"]).ok();
        let there = tally.ada.git(&tally.project, &["ls-remote", "gigalixir", "refs/heads/master"]).ok();
        if !there.starts_with(head.trim()) {
            tally.push_hot();
            is_whole(&tally, &what);
        }
    }
}

#[test]
fn a_node_that_dies_in_the_rehearsal_or_while_it_is_upgraded() {
    a_node_dies_at(&[("upgrade.rehearsing", 1, "rehearsal"), ("upgrade.node_begun", 1, "canary")]);
}

#[test]
fn a_node_that_dies_after_it_was_upgraded() {
    a_node_dies_at(&[("upgrade.node_changed", 1, "canary"), ("upgrade.node_changed", 2, "canary")]);
}

#[test]
fn a_node_that_dies_around_the_commit() {
    a_node_dies_at(&[
        ("deploy.committed", 1, "canary"),
        ("deploy.swapped", 1, "canary"),
        ("upgrade.applied", 1, "canary"),
        ("upgrade.settled", 1, "canary"),
    ]);
}

/// How many upgrades in a row; 50 are asked for by `HOT_UPGRADES=50`.
fn rounds() -> usize {
    std::env::var_os("HOT_UPGRADES").and_then(|text| text.to_str()?.parse().ok()).unwrap_or(3)
}

#[test]
fn upgrades_in_a_row_under_load_drop_nobody_and_lose_no_count() {
    let tally = Tally::deployed(3);
    let stop = Arc::new(AtomicBool::new(false));
    let visitors: Vec<_> = tally
        .visitors(12)
        .into_iter()
        .map(|mut visitor| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                let (mut asked, mut worst) = (0_u64, Duration::ZERO);
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    visitor.count();
                    worst = worst.max(begun.elapsed());
                    asked += 1;
                    std::thread::sleep(Duration::from_millis(5));
                }
                (asked, worst)
            })
        })
        .collect();
    let server = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", tally.server.pid())).expect("status");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("RssAnon");
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("kB") << 10
    };
    let memory = || -> u64 {
        let rpc = tally.ada.run_in(&tally.project, &["ps:run", "bin/tally", "rpc", "IO.puts(:erlang.memory(:total))"]);
        rpc.ok().trim().parse().expect("bytes")
    };
    let (mut after_first, mut server_after_first) = (0, 0);
    for round in 0..rounds() {
        tally.next(round);
        tally.push_hot();
        if round == 0 {
            (after_first, server_after_first) = (memory(), server());
        }
    }
    let (at_the_end, server_at_the_end) = (memory(), server());
    stop.store(true, Ordering::Relaxed);
    let outcomes: Vec<_> =
        visitors.into_iter().map(|visitor| visitor.join().expect("no connection was dropped")).collect();
    let asked: u64 = outcomes.iter().map(|(asked, _)| asked).sum();
    // Every replica knows how much it counted: what was asked for, nothing less.
    let counted: u64 = (1..=3)
        .map(|index| {
            let expression = "IO.puts(:sys.get_state(Tally.Counter))";
            let replica = format!("web.{index}");
            let args = ["ps:run", "--replica", &replica, "bin/tally", "rpc", expression];
            tally.ada.run_in(&tally.project, &args).ok().trim().parse::<u64>().expect("a count")
        })
        .sum();
    assert_eq!(counted, asked, "no count was lost");
    assert!(at_the_end < after_first * 5 / 4, "memory is flat: {after_first} bytes, then {at_the_end}");
    // What a first round does not need yet (statements, threads, pages of SQLite's) is not counted as a leak.
    let most = server_after_first + (32 << 20);
    assert!(server_at_the_end < most, "the server's is, too: {server_after_first} bytes, then {server_at_the_end}");
    let worst = outcomes.iter().map(|(_, worst)| *worst).max().unwrap_or_default();
    println!("{} upgrades: {asked} counts, worst answer {worst:?}", rounds());
    println!(
        "memory of a node {after_first} -> {at_the_end}, of the server {server_after_first} -> {server_at_the_end}"
    );
    let releases = tally.json(&["releases", "--json"]);
    let pauses = releases.as_array().expect("list").iter().filter_map(|release| release["hot"].as_array()).flatten();
    let mut pauses: Vec<f64> = pauses.filter_map(|node| node["pause_ms"].as_f64()).collect();
    pauses.sort_by(f64::total_cmp);
    println!(
        "pauses of {} nodes: median {:?} ms, worst {:?} ms",
        pauses.len(),
        pauses.get(pauses.len() / 2),
        pauses.last()
    );
    assert_eq!(pauses.len(), 3 * rounds());
}

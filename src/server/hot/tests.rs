//! Plans of real mix releases: what can be done, and every refusal.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::*;
use crate::server::builder::BubblewrapSandbox;
use crate::server::domain::{Slug, SlugDigest, SlugKind, Stack, UpgradePlan};
use crate::server::progress::Progress;

fn stack() -> Stack {
    Stack::parse("debian-12").unwrap()
}

/// The example, with a dependency in its tree, and the releases made of it.
struct Bench {
    folder: tempfile::TempDir,
}

/// A release, unpacked, to be changed at will.
struct Made(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/elixir-hot");
        copy(&example, &folder.path().join("app"));
        let bench = Self { folder };
        bench.write("dep/mix.exs", DEPENDENCY);
        bench.write("dep/lib/plain.ex", "defmodule Plain do\n  def answer, do: 1\nend\n");
        bench.write("dep/lib/holder.ex", "defmodule Holder do\n  use GenServer\n  def init(x), do: {:ok, x}\nend\n");
        bench.edit("mix.exs", "releases: [tally:", "deps: [{:dep, path: \"dep\"}],\n      releases: [tally:");
        bench
    }

    fn app(&self) -> PathBuf {
        self.folder.path().join("app")
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.app().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        edit(&self.app().join(file), from, to);
    }

    /// Lays an upgrade of the example over it.
    fn lay(&self, version: &str) -> &Self {
        let upgrade = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/elixir-hot/upgrades").join(version);
        copy(&upgrade.join("lib"), &self.app().join("lib"));
        self.version(version)
    }

    fn version(&self, version: &str) -> &Self {
        let text = fs::read_to_string(self.app().join("mix.exs")).unwrap();
        let old = text.split("version: \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        self.edit("mix.exs", &format!("version: \"{old}\""), &format!("version: \"{version}\""));
        self
    }

    fn release(&self) -> Made {
        // mix tells by seconds whether mix.exs is newer than what it compiled.
        for app in ["tally", "dep"] {
            let _ = fs::remove_dir_all(self.app().join("_build/prod/lib").join(app));
        }
        let made = tempfile::tempdir().unwrap();
        let mix = Command::new("mix")
            .args(["release", "--overwrite", "--quiet", "--path"])
            .arg(made.path().join("release"))
            .current_dir(self.app())
            .env("MIX_ENV", "prod")
            .output()
            .unwrap();
        assert!(mix.status.success(), "{mix:?}");
        Made(made)
    }
}

impl Made {
    fn root(&self) -> PathBuf {
        self.0.path().join("release")
    }

    fn copied(&self) -> Self {
        let made = tempfile::tempdir().unwrap();
        let copied = Command::new("cp").arg("-a").arg(self.root()).arg(made.path()).status().unwrap();
        assert!(copied.success());
        Self(made)
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        edit(&self.root().join(file), from, to);
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.root().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn archive(&self) -> PathBuf {
        let archive = self.0.path().join("slug.tar.gz");
        let tar = Command::new("tar").arg("-C").arg(self.root()).arg("-czf").arg(&archive).arg(".").status().unwrap();
        assert!(tar.success());
        archive
    }
}

const DEPENDENCY: &str = "defmodule Dep.MixProject do
  use Mix.Project
  def project, do: [app: :dep, version: \"1.0.0\", elixir: \"~> 1.14\"]
end
";

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "no `{from}` in {}:\n{text}", path.display());
    fs::write(path, text.replace(from, to)).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true if ["_build", "deps"].iter().any(|left| entry.file_name() == *left) => {}
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), &target).unwrap()),
        }
    }
}

async fn plan(old: &Made, new: &Made) -> UpgradePlan {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().unwrap());
    let dir = folder.path().join(uuid::Uuid::new_v4().to_string());
    let planner = Planner::open(dir, Arc::new(BubblewrapSandbox::new(None))).unwrap();
    planner.plan(&stack(), (&old.archive(), &new.archive()), "tally", &Progress::silent()).await.unwrap()
}

/// The kinds of the refusals, and all they say.
fn refused(plan: &UpgradePlan) -> (Vec<&str>, String) {
    let all = plan.refusals.iter();
    (all.clone().map(|r| r.what.as_str()).collect(), all.map(|r| format!("{}\n{}\n", r.text, r.fix)).collect())
}

#[track_caller]
fn is_refused(plan: &UpgradePlan, what: &str, why: &str) {
    let (kinds, text) = refused(plan);
    assert_eq!(kinds, [what], "{text}");
    assert!(text.contains(why), "no `{why}` in:\n{text}");
    assert!(plan.scripts.is_none());
}

fn changes(plan: &UpgradePlan) -> Vec<String> {
    let modules = plan.apps.iter().flat_map(|app| app.modules.iter().map(move |module| (app, module)));
    modules.map(|(app, m)| format!("{} {} {} {}", app.name, m.change, m.kind, m.name)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_state_and_another_process_are_planned_forth_and_back() {
    let bench = Bench::new();
    let (one, two) = (bench.release(), bench.lay("0.2.0").release());
    let three = bench.lay("0.3.0").release();
    let state = plan(&one, &two).await;
    assert_eq!(refused(&state), (Vec::new(), String::new()));
    assert_eq!(changes(&state), ["tally changed server Elixir.Tally.Counter"]);
    let scripts = state.scripts.clone().unwrap();
    let position = |text: &str, what: &str| text.find(what).unwrap_or_else(|| panic!("no {what} in {text}"));
    let (suspend, load) = (position(&scripts.up, "{suspend,"), position(&scripts.up, "{load,"));
    let (change, resume) = (position(&scripts.up, "{code_change,up"), position(&scripts.up, "{resume,"));
    assert!(suspend < load && load < change && change < resume, "{}", scripts.up);
    assert!(!scripts.up.contains("brutal_purge"), "no process dies for its code: {}", scripts.up);
    assert!(position(&scripts.down, "{code_change,down") < position(&scripts.down, "{load,"), "{}", scripts.down);

    let process = plan(&two, &three).await;
    assert_eq!(
        changes(&process),
        ["tally added server Elixir.Tally.Clock", "tally changed supervisor Elixir.Tally.Supervisor"]
    );
    let scripts = process.scripts.as_ref().unwrap();
    assert!(!format!("{}{}", scripts.up, scripts.down).contains("brutal_purge"), "nor for code that is no more");
    let back = process.clone().reversed().unwrap();
    assert_eq!((back.from.as_str(), back.to.as_str()), ("0.3.0", "0.2.0"));
    assert_eq!(changes(&back)[0], "tally deleted server Elixir.Tally.Clock");
    assert_eq!(back.scripts.unwrap().up, process.scripts.unwrap().down);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_source_changes_and_a_node_cannot() {
    let bench = Bench::new();
    let one = bench.release();
    is_refused(&plan(&one, &one).await, "version", "raise `version:` in mix.exs");

    bench.lay("0.2.0").edit(
        "lib/tally/application.ex",
        "Tally.Supervisor.start_link([])",
        "Tally.Supervisor.start_link([:x])",
    );
    is_refused(&plan(&one, &bench.release()).await, "supervision", "Tally.Application:start/2 has changed");
    bench.edit("lib/tally/application.ex", "start_link([:x])", "start_link([])");

    bench.write("lib/tally/word.ex", "defmodule Tally.Word do\n  defstruct []\n  defimpl String.Chars do\n    def to_string(_), do: \"\"\n  end\nend\n");
    is_refused(&plan(&one, &bench.release()).await, "protocols", "String.Chars");
    fs::remove_file(bench.app().join("lib/tally/word.ex")).unwrap();

    bench.edit("dep/lib/plain.ex", "answer, do: 1", "answer, do: 2");
    is_refused(&plan(&one, &bench.release()).await, "version", "dep has other code and still version 1.0.0");

    bench.edit("dep/mix.exs", "1.0.0", "1.1.0");
    let library = plan(&one, &bench.release()).await;
    assert_eq!(refused(&library), (Vec::new(), String::new()), "a library without processes is only code");
    assert!(changes(&library).contains(&"dep changed code Elixir.Plain".to_owned()), "{:?}", changes(&library));

    bench.edit("dep/lib/holder.ex", "{:ok, x}", "{:ok, {x}}");
    is_refused(&plan(&one, &bench.release()).await, "appup", "write rel/appups/dep.appup");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_reasons_come_in_one_list() {
    let bench = Bench::new();
    let one = bench.release();
    bench.lay("0.2.0").edit("lib/tally/application.ex", "start_link([])", "start_link([:x])");
    bench.edit("dep/lib/plain.ex", "answer, do: 1", "answer, do: 2");
    let two = bench.release();
    two.write("releases/0.2.0/vm.args", "+K true\n");
    two.write("lib/tally-0.2.0/priv/fast.so", "code");
    let plan = plan(&one, &two).await;
    assert_eq!(refused(&plan).0, ["boot_file", "version", "native", "supervision"], "{plan:?}");
    assert!(plan.refusals.iter().all(|refusal| !refusal.fix.is_empty()), "each with what to do: {plan:?}");
}

/// An application that is new is loaded and started, one that is gone is stopped and unloaded.
#[tokio::test(flavor = "multi_thread")]
async fn applications_come_and_go() {
    let bench = Bench::new();
    let one = bench.release();
    bench.write("more/mix.exs", &DEPENDENCY.replace(":dep", ":more").replace("Dep.", "More."));
    bench.write("more/lib/more.ex", "defmodule More do\n  def answer, do: 1\nend\n");
    bench.edit("mix.exs", "{:dep, path: \"dep\"}", "{:dep, path: \"dep\"}, {:more, path: \"more\"}");
    let two = bench.lay("0.2.0").release();
    bench.edit("mix.exs", ", {:more, path: \"more\"}", "");
    let three = bench.version("0.2.1").release();
    let (come, go) = (plan(&one, &two).await, plan(&two, &three).await);
    let more = |plan: &UpgradePlan| {
        assert_eq!(refused(plan), (Vec::new(), String::new()));
        let app = plan.apps.iter().find(|app| app.name == "more").unwrap().clone();
        (app.appup, app.from, app.to, plan.scripts.clone().unwrap().up)
    };
    let (kind, from, to, script) = more(&come);
    assert_eq!((kind.as_str(), from, to.as_deref()), ("added", None, Some("1.0.0")));
    assert!(script.contains("{application,start,[more"), "{script}");
    let (kind, from, to, script) = more(&go);
    assert_eq!((kind.as_str(), from.as_deref(), to), ("removed", Some("1.0.0"), None));
    assert!(script.contains("{application,stop,[more]}"), "{script}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_release_changes_and_a_node_cannot() {
    let bench = Bench::new();
    let (one, two) = (bench.release(), bench.lay("0.2.0").release());
    let changed = |change: &dyn Fn(&Made)| {
        let copied = two.copied();
        change(&copied);
        copied
    };
    for (file, text) in [("vm.args", "+K true\n"), ("env.sh", "export A=b\n"), ("runtime.exs", "import Config\n")] {
        let new = changed(&|made| made.write(&format!("releases/0.2.0/{file}"), text));
        is_refused(&plan(&one, &new).await, "boot_file", &format!("{file} has changed"));
    }
    let erts = fs::read_to_string(two.root().join("releases/start_erl.data")).unwrap();
    let erts = erts.split(' ').next().unwrap();
    let new = changed(&|made| made.edit("releases/start_erl.data", erts, "99.9"));
    is_refused(&plan(&one, &new).await, "erts", "to 99.9");

    let native = changed(&|made| made.write("lib/tally-0.2.0/priv/fast.so", "code"));
    is_refused(&plan(&one, &native).await, "native", "fast.so");
    let port = changed(&|made| made.write("lib/tally-0.2.0/priv/bin/helper", "\x7fELF and so on"));
    is_refused(&plan(&one, &port).await, "native", "bin/helper");
    let text = changed(&|made| made.write("lib/tally-0.2.0/priv/static/page.html", "<p>\n"));
    assert_eq!(refused(&plan(&one, &text).await), (Vec::new(), String::new()), "a file that is only read");

    let started = changed(&|made| {
        made.edit("lib/tally-0.2.0/ebin/tally.app", "'Elixir.Tally.Application',[]", "'Elixir.Tally.Application',[x]")
    });
    is_refused(&plan(&one, &started).await, "supervision", "started by another module or with other arguments");
    let renamed = changed(&|made| made.edit("releases/0.2.0/tally.rel", "{release,{\"tally\"", "{release,{\"other\""));
    is_refused(&plan(&one, &renamed).await, "version", "the release was called tally and is called other");

    let config = changed(&|made| made.write("releases/0.2.0/sys.config", "[{tally,[{greeting,<<\"hi\">>}]}].\n"));
    is_refused(&plan(&one, &config).await, "environment", "the configuration of tally has changed (greeting)");

    let appup = "{\"0.2.0\", [{\"0.1.0\", [restart_new_emulator]}], [{\"0.1.0\", []}]}.\n";
    let restart = changed(&|made| made.write("lib/tally-0.2.0/ebin/tally.appup", appup));
    is_refused(&plan(&one, &restart).await, "appup", "has to start anew");

    let appup = "{\"0.2.0\", [{\"0.1.0\", [{load_module, 'Elixir.Tally.Counter'}]}], []}.\n";
    let own = plan(&one, &changed(&|made| made.write("lib/tally-0.2.0/ebin/tally.appup", appup))).await;
    assert_eq!(refused(&own), (Vec::new(), String::new()));
    assert_eq!(own.apps[0].appup, "own", "the project's own appup is preferred");
    assert!(!own.scripts.clone().unwrap().undoable && own.reversed().is_none(), "it knows no way back");

    // Elixir itself: the old release is made to have an older one.
    let old = one.copied();
    let mut libs =
        fs::read_dir(old.root().join("lib")).unwrap().flatten().map(|e| e.file_name().into_string().unwrap());
    let elixir = libs.find(|name| name.starts_with("elixir-")).unwrap();
    let version = elixir.strip_prefix("elixir-").unwrap();
    fs::rename(old.root().join("lib").join(&elixir), old.root().join("lib/elixir-1.0.0")).unwrap();
    old.edit("releases/0.1.0/tally.rel", &format!("{{elixir,\"{version}\""), "{elixir,\"1.0.0\"");
    let plan = plan(&old, &two).await;
    let (kinds, text) = refused(&plan);
    assert!(kinds.contains(&"otp") && text.contains("elixir goes from 1.0.0"), "{text}");
}

/// What distillery ships, and whoever calls `systools:make_relup/3`.
#[tokio::test(flavor = "multi_thread")]
async fn a_relup_that_the_release_brings_is_its_authors_word() {
    let bench = Bench::new();
    let (one, two) = (bench.release(), bench.lay("0.2.0").release());
    let counter = "{update, 'Elixir.Tally.Counter', {advanced, []}}";
    let appup = format!("{{\"0.2.0\", [{{\"0.1.0\", [{counter}]}}], [{{\"0.1.0\", [{counter}]}}]}}.\n");
    two.write("lib/tally-0.2.0/ebin/tally.appup", &appup);
    let (old, new) = (one.root().join("releases/0.1.0/tally"), two.root().join("releases/0.2.0/tally"));
    let paths = [&two, &one].map(|made| format!("\"{}/lib/*/ebin\"", made.root().display())).join(", ");
    let make = format!(
        "{{ok, R, _, _}} = systools:make_relup(\"{}\", [\"{old}\"], [\"{old}\"], [{{path, [{paths}]}}, silent, noexec]), \
         ok = file:write_file(\"{}/relup\", io_lib:format(\"~tp.~n\", [R])), halt().",
        new.display(),
        new.parent().unwrap().display(),
        old = old.display(),
    );
    let made = Command::new("erl").args(["-noinput", "-eval", &make]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    fs::remove_file(two.root().join("lib/tally-0.2.0/ebin/tally.appup")).unwrap();

    let shipped = plan(&one, &two).await;
    assert_eq!(refused(&shipped), (Vec::new(), String::new()));
    assert_eq!(shipped.apps[0].appup, "relup");
    let scripts = shipped.scripts.clone().unwrap();
    assert!(
        scripts.up.contains("{code_change,up") && scripts.up.contains("brutal_purge"),
        "as it stands: {}",
        scripts.up
    );
    assert!(scripts.undoable && scripts.down.contains("{code_change,down"), "{}", scripts.down);

    let relup = two.root().join("releases/0.2.0/relup");
    let text = fs::read_to_string(&relup).unwrap();
    fs::write(&relup, text.replace("\"0.1.0\"", "\"0.0.9\"")).unwrap();
    assert_eq!(plan(&one, &two).await.apps[0].appup, "derived", "it is of other versions");
    fs::write(&relup, "{\"0.2.0\", [{\"0.1.0\", [], [point_of_no_return, restart_emulator]}], []}.\n").unwrap();
    is_refused(&plan(&one, &two).await, "appup", "relup says that the node has to start anew");
    // Native code is refused whatever the author says.
    fs::write(&relup, text).unwrap();
    two.write("lib/tally-0.2.0/priv/fast.so", "code");
    is_refused(&plan(&one, &two).await, "native", "fast.so");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_takes_its_configuration_may_get_another() {
    let bench = Bench::new();
    bench.edit(
        "lib/tally/application.ex",
        "  def start(",
        "  def config_change(_changed, _new, _removed), do: :ok\n\n  @impl true\n  def start(",
    );
    let (one, two) = (bench.release(), bench.lay("0.2.0").release());
    two.write("releases/0.2.0/sys.config", "[{tally,[{greeting,<<\"hi\">>}]}].\n");
    let plan = plan(&one, &two).await;
    assert_eq!(refused(&plan), (Vec::new(), String::new()));
    let scripts = plan.scripts.unwrap();
    assert_eq!(scripts.environment, "[{tally,[{greeting,<<\"hi\">>}],[]}].");
    assert_eq!(scripts.undo_environment, "[{tally,[],[greeting]}].");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_release_is_said() {
    let bench = Bench::new();
    let (one, two) = (bench.release(), tempfile::tempdir().unwrap());
    fs::create_dir(two.path().join("release")).unwrap();
    let dir = bench.folder.path().join("planner");
    let planner = Planner::open(dir, Arc::new(BubblewrapSandbox::new(None))).unwrap();
    let said =
        planner.plan(&stack(), (&one.archive(), &Made(two).archive()), "tally", &Progress::silent()).await.unwrap_err();
    assert!(said.to_string().contains("the new code is no mix release"), "{said}");
}

/// The comparison is run by the new release's own Erlang, which is what its author put there.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_is_hostile_leads_the_planner_nowhere() {
    let outside = tempfile::tempdir().unwrap();
    let planner = Planner::open(outside.path().join("planner"), Arc::new(BubblewrapSandbox::new(None))).unwrap();
    let release = |program: &str| {
        let made = Made(tempfile::tempdir().unwrap());
        made.write("releases/start_erl.data", "15.0 0.1.0");
        made.write("erts-15.0/bin/erl", &format!("#!/bin/sh\n{program}\n"));
        let erl = made.root().join("erts-15.0/bin/erl");
        fs::set_permissions(erl, fs::Permissions::from_mode(0o755)).unwrap();
        made
    };
    for program in [
        "ln -s /dev/zero /tmp/result/plan",
        "mkfifo /tmp/result/plan",
        "truncate -s 200M /tmp/result/plan",
        "mkdir /tmp/result/plan",
        "exit 0",
    ] {
        let hostile = release(program);
        let archives = (hostile.archive(), hostile.archive());
        let (stack, silent) = (stack(), Progress::silent());
        let planned = planner.plan(&stack, (&archives.0, &archives.1), "x", &silent);
        let refused = tokio::time::timeout(Duration::from_secs(20), planned).await.expect("it does not hang");
        let refused = refused.expect_err("that is no plan").to_string();
        assert!(refused.starts_with("the two releases cannot be compared: "), "{program}: {refused}");
    }
}

/// What needs no comparison is refused without one: here there is nothing that could be compared.
#[tokio::test]
async fn what_is_of_another_kind_or_stack_is_refused() {
    let (store, folder) = crate::server::store::testing::open().await;
    let plans = super::testing::plans(&store, folder.path());
    let slug = |kind, stack: &str, letter: &str| Slug {
        digest: SlugDigest::parse(&letter.repeat(64)).unwrap(),
        size: 1,
        sha: "0".repeat(40),
        stack: Stack::parse(stack).unwrap(),
        kind,
        processes: Default::default(),
        customer_app_name: (kind == SlugKind::Release).then(|| "tally".to_owned()),
        customer_app_version: None,
        capabilities: serde_json::Value::Null,
        schedules: Vec::new(),
    };
    let release = slug(SlugKind::Release, "debian-12", "a");
    for (other, what, why) in [
        (slug(SlugKind::Release, "gigalixir-24", "b"), "stack", "the stack goes from debian-12 to gigalixir-24"),
        (slug(SlugKind::Mix, "debian-12", "c"), "kind", "what was pushed is no mix release"),
    ] {
        is_refused(&plans.forth(&release, &other, &Progress::silent()).await.unwrap(), what, why);
    }
    let mix = slug(SlugKind::Mix, "debian-12", "d");
    let plan = plans.forth(&mix, &release, &Progress::silent()).await.unwrap();
    is_refused(&plan, "kind", "what runs is no mix release");
}

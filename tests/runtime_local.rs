//! The local runtime on trial: the contract, and what only it promises.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gigalixir::server::domain::*;
use gigalixir::server::runtime::Runtime;
use gigalixir::server::runtime::local::{Local, LocalConfig};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::runtime_contract::{Folder, Stage, collect, get, inside, job, logged, ready, until, web, workload};

crate::runtime_contract!(OnThisMachine);

struct OnThisMachine {
    data: TempDir,
    local: Option<Arc<Local>>,
    log: Arc<Mutex<Vec<LogLine>>>,
    capacity: usize,
}

impl OnThisMachine {
    async fn start(&mut self) {
        let logs = collect(self.capacity, self.log.clone());
        let program = PathBuf::from(env!("CARGO_BIN_EXE_gigalixir"));
        let config = LocalConfig { dir: self.replicas(), program, directory: None };
        let slugs = Arc::new(Folder(self.data.path().join("slugs")));
        self.local = Some(Local::start(config, slugs, logs).await.unwrap());
    }

    /// Ends the server, not what it runs.
    async fn stop(&mut self) {
        self.local.take().unwrap().close().await;
    }

    fn replicas(&self) -> PathBuf {
        self.data.path().join("replicas")
    }

    /// The processes that have this stage's folder in their command line: shims and sandboxes.
    fn processes(&self) -> Vec<(i32, String)> {
        let folder = self.replicas().display().to_string();
        let all = fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let line = String::from_utf8_lossy(&fs::read(entry.path().join("cmdline")).ok()?).replace('\0', " ");
            line.contains(&folder).then_some((pid, line))
        })
        .collect()
    }

    fn shims(&self) -> Vec<i32> {
        self.processes().into_iter().filter(|(_, line)| line.contains(" shim ")).map(|(pid, _)| pid).collect()
    }

    /// Waits until no process and no folder of a replica is left.
    async fn nothing_left(&self) {
        let begun = Instant::now();
        loop {
            let (processes, folders) = (self.processes(), fs::read_dir(self.replicas()).unwrap().count());
            if processes.is_empty() && folders == 0 {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(5), "left: {processes:?}, {folders} folders");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A test that failed leaves no shims behind either.
impl Drop for OnThisMachine {
    fn drop(&mut self) {
        self.local = None;
        for pid in self.shims() {
            kill(pid);
        }
    }
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

impl Stage for OnThisMachine {
    async fn begin() -> Self {
        let data = TempDir::new().unwrap();
        fs::create_dir(data.path().join("slugs")).unwrap();
        let mut stage = Self { data, local: None, log: Arc::default(), capacity: 8 };
        stage.start().await;
        stage
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        self.local.clone().unwrap()
    }

    fn slug(&self, files: &[(&str, &str)]) -> SlugDigest {
        Folder(self.data.path().join("slugs")).add(files)
    }

    fn log(&self) -> Vec<LogLine> {
        self.log.lock().unwrap().clone()
    }

    fn kills_for_memory(&self) -> bool {
        gigalixir::server::confine::cgroup::Cgroups::detect("gigalixir-contract").is_ok()
    }

    async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }
}

const GRACE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removal_leaves_no_process_folder_or_group() {
    let stage = OnThisMachine::begin().await;
    let mut web = web(&stage, "shop");
    web.command = "(sleep 1000 & setsid sleep 1000 &) ; python3 server.py".to_owned();
    web.replicas = 2;
    stage.runtime().apply(&web).await.unwrap();
    let all = until(&stage.runtime(), "both ready", ready(2)).await;
    assert!(stage.processes().len() >= 4, "{:?}", stage.processes());
    stage.runtime().remove(&web.id, Duration::from_secs(3)).await.unwrap();
    stage.nothing_left().await;
    let groups = fs::read_to_string("/proc/self/mountinfo").unwrap();
    for mount in groups.lines().filter(|line| line.contains(" - cgroup")) {
        let point = mount.split(' ').nth(4).unwrap();
        for entry in walkdir::WalkDir::new(point).into_iter().flatten() {
            let name = entry.file_name().to_string_lossy();
            assert!(all.iter().all(|one| one.name != name), "{} is left", entry.path().display());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_shim_is_replaced_and_its_app_does_not_run_on() {
    let stage = OnThisMachine::begin().await;
    let web = web(&stage, "shop");
    stage.runtime().apply(&web).await.unwrap();
    let before = until(&stage.runtime(), "one ready", ready(1)).await.remove(0);
    let shim = stage.shims();
    assert_eq!(shim.len(), 1);
    kill(shim[0]);
    let after = until(&stage.runtime(), "a new run", |all| ready(1)(all) && all[0].restarts == 1).await.remove(0);
    assert_eq!(after.name, before.name);
    assert_eq!(get(&after, "/").await, "ok\n");
    assert_eq!(stage.shims().len(), 1);
    let sandboxes = stage.processes().iter().filter(|(_, line)| !line.contains(" shim ")).count();
    assert_eq!(sandboxes, 2, "bubblewrap's two, and no more: {:?}", stage.processes());
    stage.runtime().remove(&web.id, GRACE).await.unwrap();
    stage.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_nobody_saw_end_is_lost_and_not_run_again() {
    let mut stage = OnThisMachine::begin().await;
    let say = ["sh", "-c", "echo at work; exec sleep 1000"];
    let job = job("shop", stage.slug(&[]), &say, Duration::from_secs(500));
    stage.runtime().apply(&job).await.unwrap();
    logged(&stage, "at work").await;
    stage.stop().await;
    stage.shims().into_iter().for_each(kill);
    stage.start().await;
    let ended = |all: &[Instance]| all.len() == 1 && all[0].state == InstanceState::Ended;
    let one = until(&stage.runtime(), "its end", ended).await.remove(0);
    assert_eq!(one.last_exit.map(|exit| exit.reason), Some(ExitReason::Lost));
    stage.runtime().remove(&job.id, GRACE).await.unwrap();
    stage.nothing_left().await;
    assert_eq!(stage.log().iter().filter(|line| line.text == "at work").count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jobs_time_is_up_though_no_server_is_there() {
    let mut stage = OnThisMachine::begin().await;
    let say = ["sh", "-c", "echo at work; trap 'echo bye; exit 9' TERM; while :; do sleep 0.05; done"];
    let job = job("shop", stage.slug(&[]), &say, Duration::from_secs(2));
    stage.runtime().apply(&job).await.unwrap();
    logged(&stage, "at work").await;
    stage.stop().await;
    // Its shim, and nothing of the app.
    let begun = Instant::now();
    while stage.processes().len() > 1 {
        assert!(begun.elapsed() < Duration::from_secs(20), "it runs on: {:?}", stage.processes());
        sleep(Duration::from_millis(10)).await;
    }
    stage.start().await;
    let ended = |all: &[Instance]| all.len() == 1 && all[0].state == InstanceState::Ended;
    let exit = until(&stage.runtime(), "its end", ended).await.remove(0).last_exit.unwrap();
    assert_eq!((exit.code, exit.reason), (9, ExitReason::TimedOut));
    logged(&stage, "bye").await;
    stage.runtime().remove(&job.id, GRACE).await.unwrap();
    stage.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_died_while_no_server_ran_is_started_anew() {
    let mut stage = OnThisMachine::begin().await;
    let web = web(&stage, "shop");
    stage.runtime().apply(&web).await.unwrap();
    until(&stage.runtime(), "one ready", ready(1)).await;
    stage.stop().await;
    stage.shims().into_iter().for_each(kill);
    stage.start().await;
    until(&stage.runtime(), "ready again", ready(1)).await;
    stage.runtime().remove(&web.id, GRACE).await.unwrap();
    stage.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_half_made_and_the_unwished_are_cleared_away() {
    let mut stage = OnThisMachine::begin().await;
    let web = web(&stage, "shop");
    stage.runtime().apply(&web).await.unwrap();
    let kept = until(&stage.runtime(), "one ready", ready(1)).await;
    let mut unwished = web.clone();
    unwished.id.generation = 2;
    stage.runtime().apply(&unwished).await.unwrap();
    until(&stage.runtime(), "both ready", ready(2)).await;
    stage.stop().await;
    // Killed while removing the second, and while making another replica of the first.
    fs::remove_file(stage.replicas().join("shop.web.2/workload.json")).unwrap();
    fs::create_dir(stage.replicas().join("shop.web.1/shop-web-1-half")).unwrap();
    fs::create_dir(stage.replicas().join("shop.web.3")).unwrap();
    fs::write(stage.replicas().join("shop.web.3/workload.new"), "{").unwrap();
    stage.start().await;
    let left = until(&stage.runtime(), "only the first", ready(1)).await;
    assert_eq!(left, kept);
    let begun = Instant::now();
    loop {
        let folders: HashSet<String> = walkdir::WalkDir::new(stage.replicas())
            .max_depth(2)
            .min_depth(1)
            .into_iter()
            .flatten()
            .filter(|entry| entry.file_type().is_dir())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        if folders == HashSet::from(["shop.web.1".to_owned(), kept[0].name.clone()]) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{folders:?}");
        sleep(Duration::from_millis(10)).await;
    }
    stage.runtime().remove(&web.id, GRACE).await.unwrap();
    stage.nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_in_no_argument_vector_and_the_servers_data_not_in_the_sandbox() {
    let stage = OnThisMachine::begin().await;
    let mut web = web(&stage, "shop");
    web.env.insert("SECRET_KEY_BASE".to_owned(), "very-secret-indeed".to_owned());
    stage.runtime().apply(&web).await.unwrap();
    let one = until(&stage.runtime(), "one ready", ready(1)).await.remove(0);
    assert_eq!(inside(&one, "printf $SECRET_KEY_BASE").await, "very-secret-indeed");
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&line).contains("very-secret"), "{:?}", entry.path());
    }
    let data = stage.data.path().display();
    let seen = inside(&one, &format!("ls -d {data}; ls /app/..; ls /run/gigalixir; ls /home /root; ls /proc")).await;
    assert!(!seen.contains("slugs") && !seen.contains("replicas\n") && !seen.contains("home\n"), "{seen}");
    stage.runtime().remove(&web.id, GRACE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_output_slows_nobody_and_says_what_it_lost() {
    let mut stage = OnThisMachine::begin().await;
    let flood = "seq -f 'a line that is somewhat longer than a number, namely %.0f' 1 200000; echo done; sleep 1000";
    let worker = workload("shop", "worker", stage.slug(&[]), flood, HealthCheck::Uptime(Duration::ZERO));
    // A server that is away, while the app writes far more than is kept.
    stage.runtime().apply(&worker).await.unwrap();
    until(&stage.runtime(), "one ready", ready(1)).await;
    stage.stop().await;
    sleep(Duration::from_secs(3)).await;
    stage.start().await;
    let log = logged(&stage, "done").await;
    let mut next = 1;
    for text in &log {
        if let Some(number) = text.strip_prefix("a line that is somewhat longer than a number, namely ") {
            assert_eq!(number.parse::<u64>().unwrap(), next);
            next += 1;
        } else if let Some((count, _)) = text.split_once(" lines were dropped") {
            next += count.parse::<u64>().unwrap();
        }
    }
    assert_eq!(next, 200_001, "every line is there or counted");
    stage.runtime().remove(&worker.id, GRACE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erlang_nodes_boot_beside_each_other_and_outlive_each_other() {
    let stage = OnThisMachine::begin().await;
    let runtime = stage.runtime();
    // As a release's `rpc` does: a second node that talks to the first, within the replica.
    let node = r#"erl -noinput -name "$MY_NODE_NAME" -setcookie x -eval '
        Call = "erl -noinput -name rpc-$MY_NODE_NAME -setcookie x -eval \"io:format(\\\"~s\\\", [net_adm:ping(hd(nodes(hidden) ++ [list_to_atom(os:getenv(\\\"MY_NODE_NAME\\\"))]))]), halt().\"",
        io:format("node ~s of ~s: ~s~n", [node(), os:getenv("GENERATION"), os:cmd(Call)]),
        {ok, _} = gen_tcp:listen(list_to_integer(os:getenv("PORT")), [{ip, {127,0,0,1}}]),
        receive after infinity -> ok end.'"#;
    let slug = stage.slug(&[]);
    let mut ids = Vec::new();
    // Two apps, and a new generation beside the old.
    for (app, generation) in [("shop", 1), ("blog", 2), ("shop", 3)] {
        let mut web = workload(app, "web", slug.clone(), node, HealthCheck::Tcp);
        web.id.generation = generation;
        web.env.insert("GENERATION".to_owned(), generation.to_string());
        runtime.apply(&web).await.unwrap();
        ids.push(web.id);
        until(&runtime, "all nodes", ready(ids.len())).await;
        logged(&stage, &format!("of {generation}: pong")).await;
    }
    // The first to boot goes: the others must not notice, and a further one boots.
    runtime.remove(&ids[0], GRACE).await.unwrap();
    let mut web = workload("shop", "web", slug, node, HealthCheck::Tcp);
    web.id.generation = 4;
    web.env.insert("GENERATION".to_owned(), "4".to_owned());
    runtime.apply(&web).await.unwrap();
    let all = until(&runtime, "three nodes", ready(3)).await;
    assert!(all.iter().all(|one| one.restarts == 0), "{all:?}");
    logged(&stage, "of 4: pong").await;
    ids.push(web.id);
    for id in &ids[1..] {
        runtime.remove(id, GRACE).await.unwrap();
    }
    stage.nothing_left().await;
}

/// `cargo nextest run --run-ignored only -E 'test(how_much_it_costs)' --no-capture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: prints, and asserts only what would be absurd"]
async fn how_much_it_costs() {
    const ROUNDS: u32 = 15;
    let stage = OnThisMachine::begin().await;
    let slug = stage.slug(&[("server.py", crate::runtime_contract::SERVER)]);
    let mut web = workload("shop", "web", slug, "exec python3 -S server.py", HealthCheck::Tcp);
    let script = stage.data.path().join("server.py");
    fs::write(&script, crate::runtime_contract::SERVER).unwrap();
    let (mut bare, mut confined) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let port = 9000 + round as u16;
        let begun = Instant::now();
        let mut child = std::process::Command::new("/usr/bin/python3")
            .arg("-S")
            .arg(&script)
            .env("PORT", port.to_string())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_micros(500));
        }
        bare.push(begun.elapsed());
        child.kill().unwrap();
        child.wait().unwrap();

        web.id.generation = i64::from(round);
        let begun = Instant::now();
        stage.runtime().apply(&web).await.unwrap();
        until(&stage.runtime(), "ready", ready(1)).await;
        confined.push(begun.elapsed());
        if round == ROUNDS {
            let status = fs::read_to_string(format!("/proc/{}/status", stage.shims()[0])).unwrap();
            let memory: Vec<&str> =
                status.lines().filter(|line| line.contains("Rss") || line.contains("VmHWM")).collect();
            println!("shim: {memory:?}");
        }
        stage.runtime().remove(&web.id, GRACE).await.unwrap();
    }
    bare.sort();
    confined.sort();
    let (bare, confined) = (bare[bare.len() / 2], confined[confined.len() / 2]);
    println!("median: bare {bare:?}, apply to ready {confined:?}, overhead {:?}", confined.saturating_sub(bare));
    assert!(confined < Duration::from_secs(2));
}

//! What a runtime is: the cases that every adapter passes. An adapter brings a [`Stage`] and calls
//! [`runtime_contract!`](crate::runtime_contract) with it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use flate2::{Compression, write::GzEncoder};
use gigalixir::server::domain::*;
use gigalixir::server::runtime::{Cpu, InstanceEvent, Lines, Load, Runtime, RuntimeError, SlugSource, Spoken};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

pub(crate) use crate::runtime_sessions::*;

/// A runtime on trial, with a slug store and a log.
pub(crate) trait Stage {
    /// Whether this machine has what it takes; says SKIPPED if not.
    fn is_there() -> bool {
        true
    }
    /// Cases that cannot be for this runtime, and why.
    fn without() -> &'static [(&'static str, &'static str)] {
        &[]
    }
    async fn begin() -> Self;
    fn runtime(&self) -> Arc<dyn Runtime>;
    /// Puts an archive of these files (path, text; all executable) into the store.
    fn slug(&self, files: &[(&str, &str)]) -> SlugDigest;
    /// Everything that reached the log so far.
    fn log(&self) -> Vec<LogLine>;
    /// Whether the kernel ends an instance that passes its memory limit; where it cannot, allocations fail.
    fn kills_for_memory(&self) -> bool {
        true
    }
    /// How soon an end is told of.
    fn notices_within() -> Duration {
        Duration::from_millis(500)
    }
    /// What is said of the time until a new run, if it is the runtime that chooses it.
    fn back_off() -> &'static str {
        " in 1 s"
    }
    /// Ends the server and starts another on the same data.
    async fn restart(&mut self);
}

/// A slug store that is a folder.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    /// Puts an archive of these files (path, text; all executable) into it.
    pub(crate) fn add(&self, files: &[(&str, &str)]) -> SlugDigest {
        let path = self.0.join("new");
        let mut archive = tar::Builder::new(GzEncoder::new(File::create(&path).unwrap(), Compression::fast()));
        for (name, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o755);
            archive.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap();
        let digest = SlugDigest::parse(&hex::encode(Sha256::digest(fs::read(&path).unwrap()))).unwrap();
        fs::rename(path, self.0.join(digest.as_str())).unwrap();
        digest
    }
}

#[async_trait]
impl SlugSource for Folder {
    async fn local_path(&self, digest: &SlugDigest) -> Result<PathBuf, RuntimeError> {
        let path = self.0.join(digest.as_str());
        if path.exists() { Ok(path) } else { Err(RuntimeError::SlugMissing(digest.to_string())) }
    }
}

/// A way into a log.
pub(crate) fn collect(capacity: usize, log: Arc<Mutex<Vec<LogLine>>>) -> Lines {
    let (logs, mut lines) = mpsc::channel::<Spoken>(capacity);
    tokio::spawn(async move {
        while let Some(Spoken { line, kept, .. }) = lines.recv().await {
            if std::env::var_os("SHOW_LOG").is_some() {
                eprintln!("{}", line.text);
            }
            log.lock().unwrap().push(line);
            if let Some(kept) = kept {
                kept();
            }
        }
    });
    logs
}

/// Makes a test of every case for one stage.
#[macro_export]
macro_rules! runtime_contract {
    ($stage:ty) => {
        $crate::runtime_contract! {
            $stage:
            becomes_ready_answers_and_goes
            scales_up_and_down_highest_first
            generations_stand_beside_each_other
            one_is_replaced_and_the_others_stay
            an_end_is_seen_told_and_followed_by_a_new_run
            what_runs_stays_and_what_starts_anew_is_as_was_said_last
            too_much_memory_is_an_oom_kill
            the_environment_is_whole_and_literal
            any_address_of_the_port_counts
            what_does_not_listen_is_not_ready
            sigterm_first_and_sigkill_after_the_grace
            output_is_whole_and_in_order
            a_new_server_takes_over
            instances_are_apart
            a_missing_slug_is_an_error_and_nothing_runs
            what_runs_once_is_not_started_anew
            words_stay_words
            what_runs_once_has_limits
            what_it_takes_is_told
            a_program_runs_beside_and_says_how_it_ended
            a_program_has_the_instances_place_and_environment
            a_program_may_do_no_more_than_the_app
            much_data_goes_both_ways
            a_terminal_has_a_size_and_changes_it
            a_shell_on_a_terminal_controls_its_jobs
            signals_reach_the_whole_group
            a_session_let_go_leaves_nothing
            sessions_leave_no_file_open
            a_session_ends_with_its_instance
            a_session_ends_with_the_server_and_the_instance_goes_on
            ports_of_an_instance_can_be_reached
        }
    };
    ($stage:ty: $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                use $crate::runtime_contract::Stage as _;
                match <$stage>::without().iter().find(|(case, _)| *case == stringify!($case)) {
                    Some((_, why)) => eprintln!("not for this runtime: {why}"),
                    None if <$stage>::is_there() => $crate::runtime_contract::$case::<$stage>().await,
                    None => {}
                }
            }
        )*
    };
}

/// Answers `GET /run/SCRIPT` by what `sh` says to it, ends by `/exit/N`.
pub(crate) const SERVER: &str = r#"
import os, signal, socket, subprocess, sys, urllib.parse
def bye(*_):
    print("bye", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, bye)
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((os.environ.get("BIND", "0.0.0.0"), int(os.environ["PORT"])))
s.listen(16)
print("listening", flush=True)
while True:
    c, _ = s.accept()
    words = c.recv(65536).decode().split(" ")
    if len(words) > 1 and words[1].startswith("/exit/"):
        os._exit(int(words[1][6:]))
    if len(words) > 1:
        script = urllib.parse.unquote(words[1][5:]) if words[1].startswith("/run/") else "echo ok"
        out = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
        c.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + out)
    c.close()
"#;

pub(crate) fn workload(app: &str, process: &str, slug: SlugDigest, command: &str, health: HealthCheck) -> Workload {
    Workload {
        id: WorkloadId {
            app: AppName::parse(app).unwrap(),
            process: ProcessType::parse(process).unwrap(),
            generation: 1,
        },
        release: ReleaseVersion(1),
        replicas: 1,
        slug,
        stack: Stack::parse("debian-12").unwrap(),
        command: command.to_owned(),
        arguments: Vec::new(),
        env: BTreeMap::from([("GREETING".to_owned(), "hello $world 'x'\n\"y\"".to_owned())]),
        size: Size::from_milli(200),
        health,
        lifetime: Lifetime::Service,
    }
}

/// A web process from [`SERVER`].
pub(crate) fn web<S: Stage>(stage: &S, app: &str) -> Workload {
    workload(app, "web", stage.slug(&[("server.py", SERVER)]), "python3 server.py", HealthCheck::Tcp)
}

/// Waits until the instances are as wished: subscribes first, then lists.
pub(crate) async fn until(
    runtime: &Arc<dyn Runtime>,
    what: &str,
    wished: impl Fn(&[Instance]) -> bool,
) -> Vec<Instance> {
    let mut events = runtime.watch();
    let mut last = Vec::new();
    let waiting = async {
        loop {
            last = runtime.instances().await.unwrap();
            if wished(&last) {
                return;
            }
            let _ = events.recv().await;
        }
    };
    if timeout(patience(runtime.name()), waiting).await.is_err() {
        panic!("waited in vain for: {what}; there is {last:#?}");
    }
    last
}

/// For what has to happen: on a cluster, many programs have a hand in it.
fn patience(runtime: &str) -> Duration {
    Duration::from_secs(if runtime == "kubernetes" { 90 } else { 20 })
}

pub(crate) fn ready(count: usize) -> impl Fn(&[Instance]) -> bool {
    move |all| all.len() == count && all.iter().all(|one| one.state == InstanceState::Ready)
}

pub(crate) async fn get(instance: &Instance, path: &str) -> String {
    let mut stream = TcpStream::connect(instance.address.expect("an address")).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

/// What `sh` says to a script inside of an instance.
pub(crate) async fn inside(instance: &Instance, script: &str) -> String {
    let path: String = script.bytes().map(|byte| format!("%{byte:02x}")).collect();
    get(instance, &format!("/run/{path}")).await
}

/// Waits until the log has it, and returns all texts.
pub(crate) async fn logged<S: Stage>(stage: &S, what: &str) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let texts: Vec<String> = stage.log().into_iter().map(|line| line.text).collect();
        if texts.iter().any(|text| text.contains(what)) {
            return texts;
        }
        assert!(begun.elapsed() < patience(stage.runtime().name()), "`{what}` is not logged: {texts:#?}");
        sleep(Duration::from_millis(5)).await;
    }
}

const GRACE: Duration = Duration::from_secs(10);

pub(crate) async fn becomes_ready_answers_and_goes<S: Stage>() {
    let stage = S::begin().await;
    let (runtime, web) = (stage.runtime(), web(&stage, "shop"));
    runtime.apply(&web).await.unwrap();
    let all = until(&runtime, "one ready", ready(1)).await;
    assert_eq!((all[0].index, all[0].restarts, &all[0].workload), (1, 0, &web.id));
    assert!(all[0].started_at.is_some() && all[0].last_exit.is_none());
    assert_eq!(get(&all[0], "/").await, "ok\n");
    runtime.apply(&web).await.unwrap();
    assert_eq!(runtime.instances().await.unwrap(), all, "the same wish changes nothing");

    let mut events = runtime.watch();
    runtime.remove(&web.id, GRACE).await.unwrap();
    assert_eq!(runtime.instances().await.unwrap(), []);
    // An address that nobody has any more may lead anywhere, or nowhere.
    let answer = timeout(Duration::from_secs(2), async {
        let mut stream = TcpStream::connect(all[0].address.unwrap()).await.ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok().map(|_| answer)
    });
    assert!(!answer.await.ok().flatten().is_some_and(|answer| answer.ends_with("\r\n\r\nok\n")));
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        seen.push(event);
    }
    assert!(
        seen.iter().any(|e| matches!(e, InstanceEvent::Changed(i) if i.state == InstanceState::Stopping)),
        "{seen:?}"
    );
    assert!(matches!(seen.last(), Some(InstanceEvent::Gone(i)) if i.name == all[0].name), "{seen:?}");
    logged(&stage, "bye").await;
    runtime.remove(&web.id, GRACE).await.unwrap();
}

pub(crate) async fn one_is_replaced_and_the_others_stay<S: Stage>() {
    let stage = S::begin().await;
    let (runtime, mut web) = (stage.runtime(), web(&stage, "shop"));
    web.replicas = 2;
    runtime.apply(&web).await.unwrap();
    let before = until(&runtime, "both ready", ready(2)).await;
    let (old, other) = (&before[0], &before[1]);
    assert!(runtime.replace(&web.id, &old.name, GRACE).await.unwrap());
    let fresh = |all: &[Instance]| ready(2)(all) && all.iter().all(|one| one.name != old.name);
    let after = until(&runtime, "another in its place", fresh).await;
    assert!(after.contains(other), "the other one was left alone: {after:#?}");
    let new = after.iter().find(|one| one.name != other.name).unwrap();
    assert_eq!((new.index, new.restarts), (old.index, 0));
    assert_eq!(get(new, "/").await, "ok\n");
    logged(&stage, "bye").await;
    assert!(!runtime.replace(&web.id, &old.name, GRACE).await.unwrap(), "it is no more");
    runtime.remove(&web.id, GRACE).await.unwrap();
    assert!(!runtime.replace(&web.id, &new.name, GRACE).await.unwrap(), "nobody is");
}

pub(crate) async fn scales_up_and_down_highest_first<S: Stage>() {
    let stage = S::begin().await;
    let (runtime, mut web) = (stage.runtime(), web(&stage, "shop"));
    let indexes = |all: &[Instance]| {
        let mut indexes: Vec<u32> = all.iter().map(|one| one.index).collect();
        indexes.sort_unstable();
        indexes
    };
    for (replicas, expected) in [(3, vec![1, 2, 3]), (1, vec![1]), (2, vec![1, 2]), (0, vec![])] {
        web.replicas = replicas;
        runtime.apply(&web).await.unwrap();
        let all = until(&runtime, "as many as wished", ready(expected.len())).await;
        assert_eq!(indexes(&all), expected);
        let addresses: std::collections::HashSet<_> = all.iter().map(|one| one.address).collect();
        assert_eq!(addresses.len(), expected.len());
    }
    runtime.remove(&web.id, GRACE).await.unwrap();
}

pub(crate) async fn generations_stand_beside_each_other<S: Stage>() {
    let stage = S::begin().await;
    let (runtime, old) = (stage.runtime(), web(&stage, "shop"));
    let mut new = old.clone();
    new.id.generation = 2;
    runtime.apply(&old).await.unwrap();
    runtime.apply(&new).await.unwrap();
    until(&runtime, "both ready", ready(2)).await;
    runtime.remove(&old.id, GRACE).await.unwrap();
    let left = runtime.instances().await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].workload.generation, 2);
    assert_eq!(get(&left[0], "/").await, "ok\n");
    runtime.remove(&new.id, GRACE).await.unwrap();
}

pub(crate) async fn an_end_is_seen_told_and_followed_by_a_new_run<S: Stage>() {
    let stage = S::begin().await;
    let (runtime, web) = (stage.runtime(), web(&stage, "shop"));
    runtime.apply(&web).await.unwrap();
    let before = until(&runtime, "one ready", ready(1)).await.remove(0);
    let (begun, mut events) = (Instant::now(), runtime.watch());
    get(&before, "/exit/3").await;
    let crashed = loop {
        match timeout(S::notices_within() + Duration::from_secs(5), events.recv()).await.expect("an event").unwrap() {
            InstanceEvent::Changed(instance) if instance.state == InstanceState::Crashed => break instance,
            _ => {}
        }
    };
    assert!(begun.elapsed() < S::notices_within(), "its end was seen after {:?}", begun.elapsed());
    let exit = crashed.last_exit.expect("an exit");
    assert_eq!((exit.code, exit.reason), (3, ExitReason::Error));
    assert_eq!(crashed.address, None);
    let again = until(&runtime, "ready again", |all| ready(1)(all) && all[0].restarts == 1).await.remove(0);
    assert_eq!(again.name, before.name);
    assert!(again.started_at > before.started_at);
    assert_eq!(get(&again, "/").await, "ok\n");
    logged(&stage, &format!("web.1 exited with code 3 (Error), restarting{}", S::back_off())).await;
    get(&again, "/exit/0").await;
    let done = until(&runtime, "an end without error", |all| all[0].state == InstanceState::Crashed).await.remove(0);
    assert_eq!(done.last_exit.map(|exit| (exit.code, exit.reason)), Some((0, ExitReason::Completed)));
    runtime.remove(&web.id, GRACE).await.unwrap();
}

pub(crate) async fn what_runs_stays_and_what_starts_anew_is_as_was_said_last<S: Stage>() {
    let mut stage = S::begin().await;
    let of = |stage: &S, release: u32, word: &str| Workload {
        release: ReleaseVersion(release),
        slug: stage.slug(&[("server.py", SERVER), ("word", word)]),
        env: BTreeMap::from([("WORD".to_owned(), word.to_owned())]),
        ..web(stage, "shop")
    };
    let (old, new) = (of(&stage, 1, "old"), of(&stage, 2, "new"));
    let runtime = stage.runtime();
    runtime.apply(&old).await.unwrap();
    let before = until(&runtime, "one ready", ready(1)).await.remove(0);
    runtime.apply(&new).await.unwrap();
    let of_two = |all: &[Instance]| ready(1)(all) && all[0].release == ReleaseVersion(2);
    let renewed = until(&runtime, "of the new release", of_two).await.remove(0);
    assert_eq!((&renewed.name, renewed.started_at), (&before.name, before.started_at), "it runs on");
    assert_eq!(inside(&renewed, "cat /app/word; echo $WORD").await, "oldold\n");

    stage.restart().await;
    let runtime = stage.runtime();
    runtime.apply(&new).await.unwrap();
    let taken = until(&runtime, "of the new release for the next server too", of_two).await.remove(0);
    get(&taken, "/exit/3").await;
    let again = until(&runtime, "ready again", |all| of_two(all) && all[0].restarts == 1).await.remove(0);
    assert_eq!(inside(&again, "cat /app/word; echo $WORD").await, "newnew\n");
    runtime.remove(&new.id, GRACE).await.unwrap();
}

pub(crate) async fn too_much_memory_is_an_oom_kill<S: Stage>() {
    let stage = S::begin().await;
    let runtime = stage.runtime();
    let eat = "python3 -c \"b = bytearray(b'x') * 400_000_000\"";
    let worker = workload("shop", "worker", stage.slug(&[]), eat, HealthCheck::Uptime(GRACE));
    runtime.apply(&worker).await.unwrap();
    let killed = until(&runtime, "its end", |all| all[0].last_exit.is_some()).await.remove(0);
    let exit = killed.last_exit.unwrap();
    if stage.kills_for_memory() {
        assert_eq!((exit.code, exit.reason), (137, ExitReason::OOMKilled));
        logged(&stage, "worker.1 exited with code 137 (OOMKilled)").await;
    } else {
        assert_eq!((exit.code, exit.reason), (1, ExitReason::Error));
        logged(&stage, "MemoryError").await;
    }
    runtime.remove(&worker.id, GRACE).await.unwrap();
}

pub(crate) async fn the_environment_is_whole_and_literal<S: Stage>() {
    let stage = S::begin().await;
    let runtime = stage.runtime();
    let slug = stage.slug(&[("server.py", SERVER), (".profile.d/x.sh", "export FROM_PROFILE=\"$HOME/x\"\n")]);
    let mut web = workload("shop", "web", slug, "python3 server.py", HealthCheck::Http("/".to_owned()));
    web.env.insert("LD_PRELOAD_NOT".to_owned(), "/x".to_owned());
    runtime.apply(&web).await.unwrap();
    let one = until(&runtime, "one ready", ready(1)).await.remove(0);
    assert_eq!(inside(&one, "printf %s \"$GREETING\"").await, "hello $world 'x'\n\"y\"");
    let env = inside(&one, "env; pwd; id -u").await;
    let port = format!("PORT={}", one.address.unwrap().port());
    let hostname = format!("HOSTNAME={}", one.name);
    for line in
        ["HOST_INDEX=1", "HOME=/app", "FROM_PROFILE=/app/x", "LD_PRELOAD_NOT=/x", "/app", "1000", &port, &hostname]
    {
        assert!(env.lines().any(|have| have == line), "{line} is missing in {env}");
    }
    let ip = env.lines().find_map(|line| line.strip_prefix("MY_POD_IP=")).expect("an address");
    assert!(env.contains(&format!("RELEASE_NODE=shop@{ip}\n")) && env.contains("RELEASE_DISTRIBUTION=name\n"), "{env}");
    assert!(!env.contains("CARGO") && !env.contains("NEXTEST"), "the server's environment is inside: {env}");
    runtime.remove(&web.id, GRACE).await.unwrap();
}

pub(crate) async fn any_address_of_the_port_counts<S: Stage>() {
    let stage = S::begin().await;
    let (runtime, mut web) = (stage.runtime(), web(&stage, "shop"));
    for (generation, bind) in [(1, "0.0.0.0"), (2, "127.0.0.1")] {
        web.id.generation = generation;
        web.env.insert("BIND".to_owned(), bind.to_owned());
        runtime.apply(&web).await.unwrap();
        until(&runtime, bind, ready(1)).await;
        runtime.remove(&web.id, GRACE).await.unwrap();
    }
    web.id.generation = 3;
    web.command = "BIND=$MY_POD_IP python3 server.py".to_owned();
    web.env.remove("BIND");
    runtime.apply(&web).await.unwrap();
    until(&runtime, "its own address", ready(1)).await;
    runtime.remove(&web.id, GRACE).await.unwrap();
}

pub(crate) async fn what_does_not_listen_is_not_ready<S: Stage>() {
    let stage = S::begin().await;
    let runtime = stage.runtime();
    let slug = stage.slug(&[]);
    let deaf = workload("deaf", "web", slug.clone(), "sleep 1000", HealthCheck::Tcp);
    let worker = workload("shop", "worker", slug, "sleep 1000", HealthCheck::Uptime(Duration::from_millis(300)));
    runtime.apply(&deaf).await.unwrap();
    runtime.apply(&worker).await.unwrap();
    let all = until(&runtime, "a ready worker", |all| all.iter().any(|one| one.state == InstanceState::Ready)).await;
    for one in all {
        let expected = if one.workload == worker.id { InstanceState::Ready } else { InstanceState::Starting };
        assert_eq!((one.state, one.address), (expected, None));
    }
    runtime.remove(&worker.id, GRACE).await.unwrap();
    runtime.remove(&deaf.id, GRACE).await.unwrap();
}

pub(crate) async fn sigterm_first_and_sigkill_after_the_grace<S: Stage>() {
    let stage = S::begin().await;
    let runtime = stage.runtime();
    let stubborn = "trap 'echo not yet' TERM; echo begun; while true; do sleep 0.05; done";
    let polite = "bash -c 'trap \"sleep 0.3; echo in good order; exit\" TERM; echo trap is set; while true; do sleep 0.05; done'; true";
    let slug = stage.slug(&[]);
    let up = HealthCheck::Uptime(Duration::from_millis(10));
    let stubborn = workload("stubborn", "worker", slug.clone(), stubborn, up.clone());
    let polite = workload("polite", "worker", slug, polite, up);
    runtime.apply(&stubborn).await.unwrap();
    logged(&stage, "begun").await;
    let begun = Instant::now();
    runtime.remove(&stubborn.id, Duration::from_millis(700)).await.unwrap();
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(700) && took < Duration::from_secs(2) + S::notices_within() * 2, "{took:?}");
    let log = logged(&stage, "was killed (SIGKILL)").await;
    assert!(log.iter().any(|line| line == "not yet"), "{log:?}");

    runtime.apply(&polite).await.unwrap();
    logged(&stage, "trap is set").await;
    let begun = Instant::now();
    runtime.remove(&polite.id, GRACE).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3) + S::notices_within(), "{:?}", begun.elapsed());
    logged(&stage, "in good order").await;
}

pub(crate) async fn output_is_whole_and_in_order<S: Stage>() {
    let stage = S::begin().await;
    let runtime = stage.runtime();
    let talk = "for i in $(seq 1 500); do echo out $i; echo err $i >&2; done; printf 'no end'; sleep 1000";
    let worker = workload("shop", "worker", stage.slug(&[]), talk, HealthCheck::Uptime(Duration::ZERO));
    runtime.apply(&worker).await.unwrap();
    logged(&stage, "err 500").await;
    runtime.remove(&worker.id, GRACE).await.unwrap();
    let log = stage.log();
    let mut expected: Vec<String> = (1..=500).flat_map(|i| [format!("out {i}"), format!("err {i}")]).collect();
    expected.push("no end".to_owned());
    let texts: Vec<&str> = log.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, expected);
    assert!(log.windows(2).all(|two| two[0].at <= two[1].at));
    for line in &log {
        let LogSource::Instance { process, index, .. } = &line.source else { panic!("{line:?}") };
        assert_eq!((process.as_str(), *index), ("worker", 1));
    }
}

pub(crate) async fn a_new_server_takes_over<S: Stage>() {
    let mut stage = S::begin().await;
    let mut web = web(&stage, "shop");
    web.replicas = 2;
    let count = "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.002; done";
    let counter = workload("counter", "worker", stage.slug(&[]), count, HealthCheck::Uptime(Duration::ZERO));
    stage.runtime().apply(&web).await.unwrap();
    stage.runtime().apply(&counter).await.unwrap();
    let before = until(&stage.runtime(), "three ready", ready(3)).await;
    for _ in 0..3 {
        sleep(Duration::from_millis(200)).await;
        stage.restart().await;
        let after = stage.runtime().instances().await.unwrap();
        assert_eq!(after, before, "as they were, and ready at once");
    }
    let seen = stage.log().len();
    logged(&stage, &format!("line {}", seen + 50)).await;
    web.replicas = 1;
    stage.runtime().apply(&web).await.unwrap();
    until(&stage.runtime(), "two ready", ready(2)).await;
    stage.runtime().remove(&counter.id, GRACE).await.unwrap();
    stage.runtime().remove(&web.id, GRACE).await.unwrap();
    let log = stage.log();
    let counted: Vec<&str> = log.iter().map(|l| l.text.as_str()).filter(|text| text.starts_with("line")).collect();
    let expected: Vec<String> = (1..=counted.len()).map(|i| format!("line {i}")).collect();
    assert_eq!(counted, expected, "no line twice, none missing");
}

pub(crate) async fn instances_are_apart<S: Stage>() {
    let stage = S::begin().await;
    let (runtime, one, two) = (stage.runtime(), web(&stage, "one"), web(&stage, "two"));
    runtime.apply(&one).await.unwrap();
    runtime.apply(&two).await.unwrap();
    let all = until(&runtime, "both ready", ready(2)).await;
    inside(&all[0], "echo secret > /app/mine; echo secret > /tmp/mine").await;
    let seen = inside(&all[1], "ls /app /tmp; cat /proc/[0-9]*/comm | grep -c python3").await;
    assert!(!seen.contains("mine"), "{seen}");
    assert_eq!(seen.lines().last(), Some("1"), "another's process is seen: {seen}");
    let rights = inside(&all[1], "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status").await;
    assert!(rights.contains("CapEff:\t0000000000000000") && rights.contains("NoNewPrivs:\t1"), "{rights}");
    let writes = inside(
        &all[1],
        "touch /usr/x /etc/x /x /proc/sys/kernel/hostname; cat /etc/shadow; echo > /proc/sysrq-trigger",
    )
    .await;
    assert!(!writes.contains("root:"), "{writes}");
    for path in ["/usr/x", "/etc/x", "/x"] {
        assert!(!std::path::Path::new(path).exists(), "{path} was written");
    }
    runtime.remove(&one.id, GRACE).await.unwrap();
    runtime.remove(&two.id, GRACE).await.unwrap();
}

pub(crate) async fn a_missing_slug_is_an_error_and_nothing_runs<S: Stage>() {
    let stage = S::begin().await;
    let runtime = stage.runtime();
    let nowhere = SlugDigest::parse(&"0".repeat(64)).unwrap();
    let lost = workload("lost", "web", nowhere, "true", HealthCheck::Tcp);
    assert!(runtime.apply(&lost).await.is_err());
    assert_eq!(runtime.instances().await.unwrap(), []);
    runtime.remove(&lost.id, GRACE).await.unwrap();
}

/// A job: these words, run once.
pub(crate) fn job(app: &str, slug: SlugDigest, words: &[&str], limit: Duration) -> Workload {
    let line = "exec \"$@\"";
    let mut job = workload(app, "run", slug, line, HealthCheck::Uptime(Duration::ZERO));
    job.arguments = words.iter().map(|word| (*word).to_owned()).collect();
    job.lifetime = Lifetime::Once { limit };
    job
}

/// Waits for the end of the only instance there is.
async fn ended(runtime: &Arc<dyn Runtime>) -> (Instance, i32, ExitReason) {
    let one = until(runtime, "its end", |all| all.len() == 1 && all[0].state == InstanceState::Ended).await.remove(0);
    let exit = one.last_exit.clone().expect("an exit");
    (one, exit.code, exit.reason)
}

pub(crate) async fn what_runs_once_is_not_started_anew<S: Stage>() {
    let mut stage = S::begin().await;
    let say = "echo ran; for i in $(seq 1 300); do echo line $i; done; printf last; exit 3";
    let job = job("shop", stage.slug(&[]), &["bash", "-c", say], GRACE);
    stage.runtime().apply(&job).await.unwrap();
    let (one, code, reason) = ended(&stage.runtime()).await;
    assert_eq!((code, reason, one.restarts), (3, ExitReason::Error, 0));
    assert!(!stage.runtime().replace(&job.id, &one.name, GRACE).await.unwrap(), "nothing takes its place");
    stage.runtime().apply(&job).await.unwrap();
    for _ in 0..2 {
        stage.restart().await;
        let (again, ..) = ended(&stage.runtime()).await;
        assert_eq!((&again.name, &again.last_exit), (&one.name, &one.last_exit), "its end is kept");
    }
    stage.runtime().remove(&job.id, GRACE).await.unwrap();
    assert_eq!(stage.runtime().instances().await.unwrap(), []);
    let mut expected = vec!["ran".to_owned()];
    expected.extend((1..=300).map(|i| format!("line {i}")));
    expected.push("last".to_owned());
    logged(&stage, "last").await;
    assert_eq!(
        stage.log().into_iter().map(|line| line.text).collect::<Vec<_>>(),
        expected,
        "it ran once, and was heard"
    );
}

pub(crate) async fn words_stay_words<S: Stage>() {
    let stage = S::begin().await;
    let runtime = stage.runtime();
    let slug =
        stage.slug(&[(".profile.d/x.sh", "export FROM_PROFILE=yes\n"), ("bin/tool", "#!/bin/sh\necho tool $1\n")]);
    let words = ["printf", "<%s>\\n", "$HOME `id`; exit 9", "", "a  b", "'\"", "*"];
    let first = job("shop", slug.clone(), &words, GRACE);
    runtime.apply(&first).await.unwrap();
    assert_eq!(ended(&runtime).await.1, 0);
    runtime.remove(&first.id, GRACE).await.unwrap();
    let texts = logged(&stage, "<*>").await;
    assert_eq!(texts, ["<$HOME `id`; exit 9>", "<>", "<a  b>", "<'\">", "<*>"]);
    let second =
        job("shop", slug.clone(), &["sh", "-c", "echo $FROM_PROFILE; bin/tool x; exec no-such-program"], GRACE);
    runtime.apply(&second).await.unwrap();
    assert_eq!(ended(&runtime).await.1, 127);
    runtime.remove(&second.id, GRACE).await.unwrap();
    let texts = logged(&stage, "tool x").await;
    assert!(texts.contains(&"yes".to_owned()), "{texts:?}");
    let nothing = job("shop", slug, &["no-such-program"], GRACE);
    runtime.apply(&nothing).await.unwrap();
    assert_eq!(ended(&runtime).await.1, 127, "not found, as a shell says it");
    runtime.remove(&nothing.id, GRACE).await.unwrap();
}

pub(crate) async fn what_runs_once_has_limits<S: Stage>() {
    let mut stage = S::begin().await;
    let runtime = stage.runtime();
    let slug = stage.slug(&[]);
    let eat = job("shop", slug.clone(), &["python3", "-c", "b = bytearray(b'x') * 400_000_000"], GRACE);
    runtime.apply(&eat).await.unwrap();
    let (_, code, reason) = ended(&runtime).await;
    let killed = (137, ExitReason::OOMKilled);
    assert_eq!((code, reason), if stage.kills_for_memory() { killed } else { (1, ExitReason::Error) });
    runtime.remove(&eat.id, GRACE).await.unwrap();

    let limit = Duration::from_millis(700);
    let slow = job("shop", slug.clone(), &["sh", "-c", "echo begun; sleep 1000"], limit);
    runtime.apply(&slow).await.unwrap();
    let (_, code, reason) = ended(&runtime).await;
    assert_eq!((code, reason), (143, ExitReason::TimedOut));
    runtime.remove(&slow.id, GRACE).await.unwrap();
    logged(&stage, "begun").await;

    let stopped = job("shop", slug, &["sh", "-c", "echo at work; exec sleep 1000"], GRACE);
    let mut events = runtime.watch();
    runtime.apply(&stopped).await.unwrap();
    logged(&stage, "at work").await;
    runtime.remove(&stopped.id, GRACE).await.unwrap();
    let gone = loop {
        match events.try_recv().expect("it went") {
            InstanceEvent::Gone(instance) => break instance,
            InstanceEvent::Changed(_) => {}
        }
    };
    assert_eq!(gone.last_exit.map(|exit| exit.code), Some(143), "how it ended is told with its going");
    drop(runtime);
    stage.restart().await;
    assert_eq!(stage.runtime().instances().await.unwrap(), []);
}

pub(crate) async fn what_it_takes_is_told<S: Stage>() {
    let stage = S::begin().await;
    let runtime = stage.runtime();
    assert!(matches!(runtime.load("shop-web-1-none").await, Err(RuntimeError::NotRunning(_))));
    let hold = "b = bytearray(b'x') * 60_000_000; print('held', flush=True)\nwhile True: pass";
    let busy = job("shop", stage.slug(&[]), &["python3", "-c", hold], GRACE);
    runtime.apply(&busy).await.unwrap();
    logged(&stage, "held").await;
    let name = runtime.instances().await.unwrap().remove(0).name;
    let load = async || runtime.load(&name).await.unwrap().expect("it is told");
    let (begun, before) = (Instant::now(), load().await);
    assert!((60_000_000..200_000_000).contains(&before.memory), "{before:?}");
    let is_busy = |now: Load| match (before.cpu.expect("it is counted"), now.cpu.expect("it is counted")) {
        (Cpu::Time(before), Cpu::Time(now)) => {
            assert!(now - before < begun.elapsed() * 2, "one thread cannot use more than there is");
            now - before > Duration::from_millis(300)
        }
        // By whoever counts for a whole cluster, if somebody does.
        (_, Cpu::Milli(milli)) => (100..2000).contains(&milli),
        (Cpu::Milli(_), Cpu::Time(_)) => false,
    };
    while !is_busy(load().await) {
        assert!(begun.elapsed() < Duration::from_secs(60), "its processor time does not grow");
        sleep(Duration::from_millis(50)).await;
    }
    runtime.remove(&busy.id, GRACE).await.unwrap();
}

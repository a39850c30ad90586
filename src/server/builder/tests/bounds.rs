//! What a build cannot do: take more than its share, stay on, look around.

use std::time::{Duration, Instant};

use super::fixtures::{Bench, in_every_sandbox};
use crate::server::builder::{Bound, BuildError, BuiltSlug};
use crate::server::progress::{Listener, Progress};

in_every_sandbox! {
    memory
    time
    output
    disk
    processes
    cancelling_kills_the_whole_tree
    a_dropped_build_leaves_nothing
    nothing_of_the_platform_is_in_sight
    secrets_are_in_no_process_list
}

fn hit(built: &Result<BuiltSlug, BuildError>) -> Option<Bound> {
    match built {
        Err(BuildError::Bound { bound, .. }) => Some(*bound),
        _ => None,
    }
}

/// Processes of the machine whose command line holds `text`.
fn running(text: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).replace('\0', " ").contains(text)).count()
}

async fn memory(mut bench: Bench) {
    bench.config.bounds.memory_bytes = 150_000_000;
    let (built, said) = bench.compile("python3 -c 'x = bytearray(400_000_000); print(len(x))'").await;
    assert_eq!(hit(&built), Some(Bound::Memory));
    assert!(said.contains("Build stopped: it needed more than 143.1 MiB of memory."), "{said}");
    let (built, _) = bench.compile("head -c 400M /dev/zero >/dev/shm/x").await;
    assert_eq!(hit(&built), Some(Bound::Memory), "files in memory escape");
}

async fn time(mut bench: Bench) {
    bench.config.bounds.time = Duration::from_secs(1);
    let begun = Instant::now();
    let (apart, on) = (bench.nap(3141), bench.nap(3142));
    let (built, said) = bench.compile(&format!("echo begun; setsid {apart} & {on}")).await;
    assert_eq!(hit(&built), Some(Bound::Time));
    assert!(begun.elapsed() < Duration::from_secs(3) + bench.patience && said.contains("begun\n"), "{said}");
    assert_eq!(running(&apart) + running(&on), 0);
}

async fn output(mut bench: Bench) {
    bench.config.bounds.output_bytes = 1 << 20;
    let (built, said) = bench.compile("yes").await;
    assert_eq!(hit(&built), Some(Bound::Output));
    assert!((1 << 19..(1 << 20) + 4096).contains(&said.len()), "{}", said.len());
}

async fn disk(mut bench: Bench) {
    bench.config.bounds.disk_bytes = 2 << 20;
    for (what, script) in [
        ("one file", "head -c 100M /dev/zero >/app/big"),
        ("the cache", "for n in $(seq 10); do head -c 4M /dev/zero >/tmp/cache/$n; done"),
        ("the temporary folder", "for n in $(seq 10); do head -c 4M /dev/zero >/tmp/$n; done; sleep 60"),
        ("empty files", "cd /tmp/cache; seq 10000 | xargs touch"),
    ] {
        let (built, _) = bench.compile(script).await;
        assert_eq!(hit(&built), Some(Bound::Disk), "{what}");
        bench.clean = true;
    }
}

async fn processes(mut bench: Bench) {
    bench.config.bounds.processes = 100;
    bench.config.bounds.time = Duration::from_secs(60);
    let begun = Instant::now();
    let nap = bench.nap(3143);
    let (built, _) = bench.compile(&format!("bomb() {{ bomb | bomb & }}; bomb; {nap}")).await;
    assert_eq!(hit(&built), Some(Bound::Processes));
    assert!(begun.elapsed() < Duration::from_secs(30) + bench.patience, "{:?}", begun.elapsed());
    assert_eq!(running(&nap), 0);
}

/// A build under way.
struct Begun {
    build: tokio::task::JoinHandle<Result<BuiltSlug, BuildError>>,
    listener: Listener,
}

/// Builds with this `bin/compile` until it says `ready`.
async fn begin(bench: &Bench, script: &str) -> Begun {
    let pack = bench.pack("p", &[("compile", script)]);
    let request = bench.request(bench.app(&[(".buildpacks", pack.to_str().unwrap()), ("Procfile", "web: x")]));
    let builder = bench.builder().await;
    let (progress, mut listener) = Progress::channel();
    let build = tokio::spawn(async move { builder.build(request, &progress).await });
    while !String::from_utf8_lossy(&listener.output.recv().await.unwrap()).contains("ready") {}
    Begun { build, listener }
}

async fn cancelling_kills_the_whole_tree(bench: Bench) {
    let (apart, on) = (bench.nap(3144), bench.nap(3145));
    let begun = begin(&bench, &format!("(trap '' TERM; setsid {apart}) & (sleep 0.2; echo ready) & {on}")).await;
    assert_eq!((running(&apart), running(&on)), (1, 1));
    let since = Instant::now();
    drop(begun.listener);
    assert!(matches!(begun.build.await.unwrap(), Err(BuildError::Cancelled)));
    assert!(since.elapsed() < Duration::from_secs(1) + bench.patience, "{:?}", since.elapsed());
    assert_eq!(running(&apart) + running(&on), 0);
}

async fn a_dropped_build_leaves_nothing(bench: Bench) {
    let nap = bench.nap(3146);
    let begun = begin(&bench, &format!("(sleep 0.2; echo ready) & {nap}")).await;
    assert_eq!(running(&nap), 1);
    begun.build.abort();
    assert!(begun.build.await.is_err());
    let since = Instant::now();
    while running(&nap) > 0 || bench.left() > 0 {
        assert!(since.elapsed() < Duration::from_secs(5) + bench.patience, "it lives on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_start_removes_its_own_containers_alone() {
    let Some(bench) = Bench::in_docker() else { return };
    let own = super::super::driver::prefix(&bench.config);
    for name in [format!("{own}my-app-1"), "build-00000000-other-1".to_owned()] {
        bench.leave_behind(&name);
    }
    assert_eq!(bench.left(), 2);
    drop(bench.builder().await);
    assert_eq!(bench.left(), 1);
}

#[tokio::test]
async fn a_start_clears_its_own_leavings_alone() {
    let bench = Bench::new();
    let own = super::super::driver::prefix(&bench.config);
    for name in [format!("{own}my-app-1"), "build-00000000-other-1".to_owned()] {
        bench.cgroups().create(&name, &crate::server::confine::Limits::default()).unwrap();
    }
    drop(bench.builder().await);
    assert_eq!(bench.cgroups().list(), ["build-00000000-other-1"]);
    bench.cgroups().open("build-00000000-other-1").remove().unwrap();
}

async fn nothing_of_the_platform_is_in_sight(mut bench: Bench) {
    bench.env.insert("SECRET".into(), "hidden-3147".into());
    std::fs::write(bench.path("server-secret"), "leaked").unwrap();
    std::fs::create_dir(bench.path("other-cache")).unwrap();
    let (dir, pid) = (bench.dir.path().display(), std::process::id());
    let script = format!(
        r#"
        ls {dir}; cat {dir}/server-secret; cat /etc/shadow; ls /root /home /var /work /srv
        echo processes: $(ls -d /proc/[0-9]* | wc -l); ls /proc/{pid}/cwd; kill -9 {pid} && echo killed
        echo x >/usr/x && echo wrote; echo x >/x && echo wrote; mount -t tmpfs x /mnt && echo mounted
        cat /proc/sys/kernel/core_pattern >/proc/sys/kernel/core_pattern && echo sysctl
        unshare -Ur true && echo nested; mkdir /sys/fs/cgroup/x || mkdir /sys/fs/cgroup/*/x && echo groups; dmesg && echo dmesg
        tr '\0' '\n' </proc/1/cmdline | grep -c hidden-3147; hostname; touch /tmp/buildpacks/1/ok && echo own
        "#
    );
    let (built, said) = bench.compile(&script).await;
    built.unwrap();
    for bad in ["leaked", "root:", "killed", "wrote", "mounted", "sysctl", "nested", "groups", "hidden-3147", "dmesg\n"]
    {
        assert!(!said.contains(bad), "`{bad}`: {said}");
    }
    let count = said.lines().find_map(|line| line.strip_prefix("processes: ")).unwrap();
    assert!(count.parse::<u32>().unwrap() < 12, "{count} processes are seen");
    assert!(said.contains("\nbuild\nown\n"), "{said}");
    assert_eq!(std::fs::read_to_string(bench.path("server-secret")).unwrap(), "leaked");
}

async fn secrets_are_in_no_process_list(mut bench: Bench) {
    bench.env.insert("SECRET".into(), "hidden-3148".into());
    let begun = begin(&bench, "[[ $SECRET == hidden* ]] && echo ready; sleep 30").await;
    assert_eq!(running("hidden-3148"), 0);
    drop(begun.listener);
    assert!(begun.build.await.unwrap().is_err());
}

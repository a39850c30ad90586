//! What an app's replicas take: as their own control groups count it, and as the cluster's metrics tell it.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{LONG, Platform, Wishes, status};
use crate::harness::cluster::Cluster;
use crate::harness::metrics::Metrics;
use crate::harness::{Person, Project, wait_until};

/// Beside the app that answers: half of a core, and memory.
const BUSY: &str = r#"
import threading, time
held = bytearray(b"x") * 40_000_000
def work():
    while True:
        end = time.monotonic() + 0.02
        while time.monotonic() < end:
            pass
        time.sleep(0.02)
threading.Thread(target=work, daemon=True).start()
exec(open("server.py").read())
"#;
const MIB: u64 = 1 << 20;

/// A platform that may do no more than is described, and an app with one busy replica.
struct World {
    platform: Platform,
    ada: Person,
    project: Project,
    _account: tempfile::TempDir,
}

impl World {
    fn new(cluster: Cluster) -> Self {
        let account = tempfile::tempdir().unwrap();
        let kubeconfig = cluster.as_server(account.path());
        let platform = Platform::with(cluster, Wishes { kubeconfig: Some(&kubeconfig), ..Wishes::default() });
        let ada = Person::sign_up(&platform.server, "ada@example.com");
        let project = Project::greeting(&ada, "hello", "one");
        project.write("busy.py", BUSY);
        project.write("Procfile", "web: python3 -u busy.py\n");
        project.commit(&ada, "busy");
        project.push(&ada);
        Self { platform, ada, project, _account: account }
    }

    fn pod(&self) -> String {
        status(&self.ada, &self.project)["pods"][0]["name"].as_str().expect("a pod").to_owned()
    }

    /// The samples so far: when (seconds), MiB, thousandths of a core.
    fn samples(&self) -> Vec<(i64, u64, Option<u64>)> {
        let told: Value = serde_json::from_str(&self.ada.run_in(&self.project, &["ps:stats", "--json"]).ok()).unwrap();
        let all = |what: &str| told[what].as_array().cloned().unwrap_or_default();
        let pairs = all("mem").into_iter().zip(all("cpu"));
        pairs.map(|(mem, cpu)| (mem[0].as_i64().unwrap(), mem[1].as_u64().unwrap(), cpu[1].as_u64())).collect()
    }

    /// Looks again until a sample has processor time, and returns that one.
    fn busy(&self) -> (i64, u64, u64) {
        let mut found = None;
        wait_until("processor time is told", LONG, || {
            found = self.samples().last().and_then(|(at, mem, cpu)| Some((*at, *mem, (*cpu)?)));
            found.is_some_and(|(.., cpu)| cpu > 50)
        });
        found.expect("a sample")
    }

    /// Its memory as the kernel says it in the pod, without what it can do without.
    fn kernel(&self) -> u64 {
        let (namespace, pod) = (format!("p{}-hello", std::process::id()), self.pod());
        let cat = |files: [&str; 2]| {
            let read =
                self.platform.cluster.kubectl(&["exec", "-n", &namespace, &pod, "--", "cat", files[0], files[1]]);
            read.status.success().then(|| String::from_utf8_lossy(&read.stdout).into_owned())
        };
        let group = |name: &str| format!("/sys/fs/cgroup/{name}");
        let (current, stat) = (group("memory.current"), group("memory.stat"));
        let (usage, old_stat) = (group("memory/memory.usage_in_bytes"), group("memory/memory.stat"));
        let text = cat([&current, &stat]).or_else(|| cat([&usage, &old_stat])).expect("its control group");
        let number = |line: &str| line.rsplit(' ').next().and_then(|word| word.parse::<u64>().ok());
        let field = |name: &str| text.lines().find(|line| line.starts_with(name)).and_then(number);
        let inactive = field("total_inactive_file ").or_else(|| field("inactive_file ")).unwrap_or(0);
        text.lines().next().and_then(number).expect("bytes") - inactive
    }
}

#[test]
fn what_replicas_take_is_counted_by_their_control_groups() {
    let Some(cluster) = Cluster::find() else { return };
    if Metrics::are_there(&cluster) {
        println!("SKIPPED: this cluster has metrics, nobody has to ask pods");
        return;
    }
    let world = World::new(cluster);
    let (_, memory, cpu) = world.busy();
    assert!(cpu < 2000, "{cpu}: one thread, half of the time");
    let kernel = world.kernel() / MIB;
    assert!(memory > 40 && memory.abs_diff(kernel) < 16, "{memory} MiB, {kernel} by the kernel");
    let shown = world.ada.run_in(&world.project, &["ps:stats"]).ok();
    assert!(shown.contains("MiB") && shown.contains("millicores"), "{shown}");
    // One that does not run yet is no failure of the others; when it does, it counts.
    world.ada.run_in(&world.project, &["ps:scale", "web=2"]).ok();
    wait_until("both are counted", LONG, || world.samples().last().is_some_and(|(_, now, _)| *now > memory * 3 / 2));
    assert!(!world.platform.server.log().contains("could not be looked at"), "{}", world.platform.server.log());
}

#[test]
fn what_replicas_take_is_told_by_the_clusters_metrics() {
    let Some(cluster) = Cluster::find() else { return };
    if Metrics::are_there(&cluster) {
        println!("SKIPPED: this cluster has metrics of its own, which say nothing of what they have said");
        return;
    }
    let theirs = Cluster { kubeconfig: cluster.kubeconfig.clone() };
    let mut world = World::new(cluster);
    let metrics = Metrics::start(&theirs);
    let (pod, list) = (world.pod(), "/apis/metrics.k8s.io/v1beta1/pods?labelSelector=gigalixir.app%3Dhello");
    wait_until("the cluster tells of a busy pod", LONG, || {
        let _ = theirs.kubectl(&["get", "--raw", list]);
        metrics.told(&pod).last().is_some_and(|told| nanos(told) > 50_000_000)
    });
    // Whoever sees a pod for the first time and counts himself does not know a rate yet.
    world.platform.server.terminate();
    world.platform.server.start_again();
    let (_, memory, cpu) = world.busy();
    assert!(world.samples().first().is_some_and(|(.., cpu)| cpu.is_some()), "the first sample has it");
    let told = metrics.told(&pod);
    let same = |told: &Value| (nanos(told) + 500_000) / 1_000_000 == cpu && kibibytes(told) / 1024 == memory;
    assert!(told.iter().any(same), "{memory} MiB, {cpu}: {told:?}");
    drop(metrics);
    let gone = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    wait_until("pods are asked again", LONG, || {
        world.samples().into_iter().any(|(at, memory, cpu)| at > gone + 10 && memory > 40 && cpu.is_some())
    });
}

fn nanos(usage: &Value) -> u64 {
    usage["cpu"].as_str().and_then(|text| text.strip_suffix('n')?.parse().ok()).expect("nanocores")
}

fn kibibytes(usage: &Value) -> u64 {
    usage["memory"].as_str().and_then(|text| text.strip_suffix("Ki")?.parse().ok()).expect("kibibytes")
}

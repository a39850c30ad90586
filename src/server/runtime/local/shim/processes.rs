//! The processes of a run, and asking them to end.
//!
//! SIGTERM goes to every process of the app, not only the first: a Procfile line may be a pipeline or a script. One
//! is spared at first: a shell that does not catch SIGTERM while it waits for others. It would die of it at once, and
//! as the sandbox ends with its first process, take them with it before they could end in good order.

use std::collections::BTreeSet;
use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use crate::server::confine::cgroup::Cgroup;

/// Asks the processes of the run, and those that came since, once all that were asked before have ended: what a
/// process starts in order to end well is left to work.
pub(super) fn terminate(first: i32, cgroup: Option<&Cgroup>, asked: &mut BTreeSet<i32>) {
    let all = cgroup.map_or_else(|| descendants(first), Cgroup::processes);
    if all.iter().any(|pid| asked.contains(pid)) {
        return;
    }
    // Bubblewrap's own two are not the app: the one we started, and the init of the sandbox.
    let statuses = all.into_iter().filter(|pid| *pid != first).filter_map(Status::of);
    let app: Vec<Status> = statuses.filter(|status| status.inside != Some(1)).collect();
    for status in &app {
        let spared = status.inside == Some(2) && !status.catches_term && app.len() > 1;
        if !spared {
            asked.insert(status.pid);
            signal(status.pid, Signal::TERM);
        }
    }
}

/// Ends all of a run at once. Blocks for as long as the kernel takes.
pub(super) fn kill(first: i32, cgroup: Option<&Cgroup>) {
    // The sandbox dies with its first process, whether there is a control group or not.
    signal(first, Signal::KILL);
    kill_rest(cgroup);
}

/// Ends what is left in the control group when the first process is dead.
pub(super) fn kill_rest(cgroup: Option<&Cgroup>) {
    if let Some(cgroup) = cgroup
        && let Err(error) = cgroup.kill_all()
    {
        eprintln!("{error}");
    }
}

fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

fn descendants(first: i32) -> BTreeSet<i32> {
    let mut all = BTreeSet::from([first]);
    let mut todo = vec![first];
    while let Some(pid) = todo.pop() {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let new: Vec<i32> = children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        todo.extend(new.iter().filter(|pid| all.insert(**pid)));
    }
    all
}

struct Status {
    pid: i32,
    /// Its number in the sandbox's namespace.
    inside: Option<i32>,
    catches_term: bool,
}

impl Status {
    fn of(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let numbers = field("NSpid").unwrap_or_default();
        let caught = u64::from_str_radix(field("SigCgt")?.trim(), 16).ok()?;
        let inside = numbers.split_whitespace().nth(1).and_then(|_| numbers.split_whitespace().last()?.parse().ok());
        Some(Self { pid, inside, catches_term: caught & (1 << (Signal::TERM.as_raw() - 1)) != 0 })
    }
}

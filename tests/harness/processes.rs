//! Processes as the kernel knows them, found by the data folder they name.

use std::path::Path;
use std::time::{Duration, Instant};

/// Every process whose command line names `data`, as (pid, command line).
pub fn children_of_data(data: &Path) -> Vec<(i32, String)> {
    let wanted = data.to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let Ok(raw) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let line = String::from_utf8_lossy(&raw).replace('\0', " ");
        if line.contains(&wanted) && pid != std::process::id() as i32 {
            found.push((pid, line));
        }
    }
    found
}

/// Whether a process is stopped (SIGSTOP).
pub fn is_stopped(pid: i32) -> bool {
    stat(pid).is_some_and(|(state, _)| state == 'T')
}

/// The Erlang emulators of a platform on the local runtime: the process, and the command line of its replica's shim.
pub fn emulators(data: &Path) -> Vec<(i32, String)> {
    let shims = children_of_data(data);
    let shim_of = |pid: i32| {
        let mut above = std::iter::successors(Some(pid), |pid| stat(*pid).map(|(_, parent)| parent));
        above.find_map(|pid| shims.iter().find(|(shim, _)| *shim == pid).map(|(_, line)| line.clone()))
    };
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_emulator =
        |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "beam.smp");
    pids.filter(is_emulator).filter_map(|pid| Some((pid, shim_of(pid)?))).collect()
}

/// A process's state and its parent.
fn stat(pid: i32) -> Option<(char, i32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Waits until `condition` holds; panics with `what` after `limit`.
#[track_caller]
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < end, "waited {limit:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `kill -SIGNAL pid`; a process that is gone is fine.
pub fn kill(pid: i32, signal: rustix::process::Signal) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

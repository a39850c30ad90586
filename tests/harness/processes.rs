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

//! The machine that this server runs on: the only one of the runtimes that have no cluster.

use std::collections::BTreeMap;

use crate::server::domain::{Machine, Resources};

/// What it calls itself.
pub(super) fn name() -> String {
    proc("sys/kernel/hostname").trim().to_owned()
}

/// What it is, with what the runtime adds to its versions.
pub(super) fn this_one(more: impl IntoIterator<Item = (&'static str, String)>) -> Machine {
    let mut versions = BTreeMap::from([("kernel", proc("sys/kernel/osrelease").trim().to_owned())]);
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    versions.extend(pretty.map(|name| ("os", name.trim_matches('"').to_owned())));
    versions.extend(more);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let has = Resources { cpu_milli: cores * 1000, memory_bytes: memory(&proc("meminfo")).unwrap_or_default() };
    Machine {
        name: name(),
        ready: true,
        schedulable: true,
        versions,
        capacity: has,
        allocatable: has,
        conditions: Vec::new(),
    }
}

fn proc(name: &str) -> String {
    std::fs::read_to_string(format!("/proc/{name}")).unwrap_or_default()
}

/// `MemTotal` of proc(5)'s `meminfo`.
fn memory(meminfo: &str) -> Option<u64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known() {
        let machine = this_one([("docker", "20.10".to_owned())]);
        assert!(!machine.name.is_empty() && machine.ready && machine.capacity.cpu_milli >= 1000, "{machine:?}");
        assert!(machine.capacity.memory_bytes > 64 << 20, "{machine:?}");
        assert_eq!(machine.versions.keys().copied().collect::<Vec<_>>(), ["docker", "kernel", "os"]);
        assert_eq!(memory("MemTotal:       1024 kB\nMemFree: 1 kB"), Some(1 << 20));
    }
}

//! Control groups: how much a confined thing may use, and the one sure way to end all of it.
//!
//! A group is a folder in each tree that [`hierarchy`](super::hierarchy) found: one on v2, several on v1. No code here asks
//! for the version: a limit is written to whichever folder has a file of that name.
//!
//! Guaranteed: `create` of a group that exists makes its limits true again; `kill_all` leaves nothing that could fork on.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{Limits, hierarchy};

/// Where groups can be made on this machine.
#[derive(Debug, Clone)]
pub struct Cgroups {
    roots: Vec<PathBuf>,
}

impl Cgroups {
    /// Finds where groups can be made and makes the parent of ours, `root_name`. The error is a sentence: why not, and
    /// what to do.
    pub fn detect(root_name: &str) -> Result<Self, String> {
        hierarchy::roots(root_name).map(|roots| Self { roots })
    }

    /// A group with these limits. One that exists already gets them anew.
    pub fn create(&self, name: &str, limits: &Limits) -> io::Result<Cgroup> {
        if name.is_empty() || name.starts_with('.') || name.contains('/') {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{name}` cannot name a control group")));
        }
        let group = self.open(name);
        self.roots.iter().try_for_each(|root| hierarchy::make(root))?;
        group.dirs.iter().try_for_each(|dir| hierarchy::make(dir))?;
        group.limit(limits)?;
        Ok(group)
    }

    /// The group of that name, whether it exists or not.
    pub fn open(&self, name: &str) -> Cgroup {
        Cgroup { dirs: self.roots.iter().map(|root| root.join(name)).collect() }
    }

    /// Removes the parent of all groups if there is none left; `create` makes it again.
    pub fn leave(&self) {
        for root in &self.roots {
            let _ = fs::remove_dir(root);
        }
    }

    /// How much all groups together weigh against whatever else runs here, as [`Limits::cpu_milli`] does among them.
    pub fn weigh(&self, cpu_milli: u64) -> io::Result<()> {
        Cgroup { dirs: self.roots.clone() }.weigh(cpu_milli)
    }

    /// The names of all groups that exist.
    pub fn list(&self) -> Vec<String> {
        let mut names = BTreeSet::new();
        for entry in self.roots.iter().filter_map(|root| fs::read_dir(root).ok()).flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                names.insert(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.into_iter().collect()
    }
}

/// One group: a folder in each tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    dirs: Vec<PathBuf>,
}

impl Cgroup {
    /// The group that [`Cgroup::paths`] described, perhaps in another process.
    pub fn at(dirs: Vec<PathBuf>) -> Self {
        Self { dirs }
    }

    /// Its folders; a process belongs to the group once its id was written to `cgroup.procs` in every one.
    pub fn paths(&self) -> &[PathBuf] {
        &self.dirs
    }

    /// The processes in it, as this process's namespace numbers them; those in groups within it are not counted.
    pub fn processes(&self) -> BTreeSet<i32> {
        let files = self.dirs.iter().filter_map(|dir| fs::read_to_string(dir.join("cgroup.procs")).ok());
        files.flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<i32>>()).collect()
    }

    /// A group within it, for a part of its processes. It has no limits of its own; what bounds this one bounds all.
    pub fn within(&self, name: &str) -> Self {
        Self { dirs: self.dirs.iter().map(|dir| dir.join(name)).collect() }
    }

    /// Makes its folders, which have no limits yet; those around it must exist.
    pub fn make(&self) -> io::Result<()> {
        self.dirs.iter().try_for_each(|dir| hierarchy::make(dir))
    }

    /// Removes the groups within it that have no processes.
    pub fn sweep(&self) {
        for dir in self.folders_within() {
            let _ = fs::remove_dir(dir);
        }
    }

    fn folders_within(&self) -> Vec<PathBuf> {
        let entries = self.dirs.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten();
        entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
    }

    /// The processes in it and in the groups within it.
    fn all_processes(&self) -> BTreeSet<i32> {
        let within = Self { dirs: self.folders_within() };
        self.processes().into_iter().chain(within.processes()).collect()
    }

    /// Whether no process is in it or in a group within it (or it does not exist).
    pub fn is_empty(&self) -> bool {
        self.all_processes().is_empty()
    }

    /// SIGKILL to all of it, again and again until nothing is left; gives up after five seconds. Blocks for as long as
    /// the kernel takes to end them, usually a millisecond.
    pub fn kill_all(&self) -> io::Result<()> {
        for attempt in 0..10 {
            if self.is_empty() {
                return Ok(());
            }
            self.kill_once();
            // The kernel has no blocking call for "empty": ask in growing steps, one second at most a round.
            let mut pause = Duration::from_micros(200);
            while pause < Duration::from_millis(1 << attempt.min(8)) && !self.is_empty() {
                std::thread::sleep(pause);
                pause *= 2;
            }
        }
        let left = self.all_processes();
        if left.is_empty() {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("processes {left:?} do not end on SIGKILL")))
    }

    fn kill_once(&self) {
        if self.write("cgroup.kill", "1").is_ok() {
            return;
        }
        // Frozen, a fork bomb cannot outrun the list of its processes.
        let frozen = self.write("freezer.state", "FROZEN").is_ok();
        for pid in self.all_processes().into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
        if frozen {
            drop(self.write("freezer.state", "THAWED"));
        }
    }

    /// How many of its processes the kernel has killed for memory since it was made.
    pub fn oom_kills(&self) -> u64 {
        let events = self.read("memory.events").or_else(|| self.read("memory.oom_control")).unwrap_or_default();
        field(&events, "oom_kill").unwrap_or(0)
    }

    /// Bytes of memory in use without the page cache that can be given back at once.
    pub fn memory_bytes(&self) -> Option<u64> {
        let used = self.read("memory.current").or_else(|| self.read("memory.usage_in_bytes"))?;
        let stat = self.read("memory.stat").unwrap_or_default();
        let inactive = field(&stat, "total_inactive_file").or_else(|| field(&stat, "inactive_file")).unwrap_or(0);
        Some(used.trim().parse::<u64>().ok()?.saturating_sub(inactive))
    }

    /// Processor time that its processes have used since it was made.
    pub fn cpu_time(&self) -> Option<Duration> {
        let micros = self.read("cpu.stat").and_then(|stat| field(&stat, "usage_usec")).map(Duration::from_micros);
        micros.or_else(|| Some(Duration::from_nanos(self.read("cpuacct.usage")?.trim().parse().ok()?)))
    }

    /// Removes the group and those within it; they must be empty. One that does not exist is no error.
    pub fn remove(self) -> io::Result<()> {
        self.sweep();
        for dir in &self.dirs {
            match fs::remove_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn limit(&self, limits: &Limits) -> io::Result<()> {
        let memory = limits.memory_bytes.map(|bytes| bytes.to_string());
        self.set(&["memory.max", "memory.limit_in_bytes"], memory.as_deref().unwrap_or("max"), "-1")?;
        if let Some(bytes) = &memory {
            // Best effort: not every kernel accounts swap. One process over the limit ends the whole group, so that
            // nothing lives on half.
            drop(self.write("memory.swap.max", "0"));
            drop(self.write("memory.memsw.limit_in_bytes", bytes));
            drop(self.write("memory.oom.group", "1"));
        }
        limits.cpu_milli.map_or(Ok(()), |milli| self.weigh(milli))?;
        let pids = limits.pids.map_or_else(|| "max".to_owned(), |count| count.to_string());
        self.set(&["pids.max"], &pids, "")
    }

    /// A core is 1024 shares on v1; on v2 it becomes a weight the way Kubernetes makes it.
    fn weigh(&self, cpu_milli: u64) -> io::Result<()> {
        let shares = (cpu_milli * 1024 / 1000).clamp(2, 262_144);
        let weight = 1 + (shares - 2) * 9999 / 262_142;
        self.set(&["cpu.weight"], &weight.to_string(), "")?;
        self.set(&["cpu.shares"], &shares.to_string(), "")
    }

    /// Writes to the first of `names` that exists; v1 spells "no limit" its own way.
    fn set(&self, names: &[&str], value: &str, v1_unlimited: &str) -> io::Result<()> {
        for name in names {
            if let Some(file) = self.file(name) {
                let unlimited = value == "max" && name.ends_with("_in_bytes");
                return fs::write(file, if unlimited { v1_unlimited } else { value });
            }
        }
        Ok(())
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        self.dirs.iter().map(|dir| dir.join(name)).find(|file| file.exists())
    }

    fn write(&self, name: &str, value: &str) -> io::Result<()> {
        fs::write(self.file(name).ok_or(io::ErrorKind::NotFound)?, value)
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.file(name)?).ok()
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.split_once(' ').filter(|(key, _)| *key == name)?.1.trim().parse().ok())
}

/// Moves this process into the group whose folder in one tree is `dir`.
pub(super) fn join(dir: &Path) -> io::Result<()> {
    fs::write(dir.join("cgroup.procs"), "0")
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::super::enter::enter_command;
    use super::*;

    /// Groups of this machine; `None`, and said so, where none can be made.
    fn cgroups() -> Option<Cgroups> {
        Cgroups::detect("gigalixir-unit-test").inspect_err(|why| eprintln!("not tried here: {why}")).ok()
    }

    #[test]
    fn a_program_and_its_children_begin_inside_and_end_together() {
        let Some(cgroups) = cgroups() else { return };
        let name = format!("kill-{}", std::process::id());
        let limits = Limits { memory_bytes: Some(100_000_000), cpu_milli: Some(200), pids: Some(64) };
        let group = cgroups.create(&name, &limits).unwrap();
        let mut child =
            enter_command(Some(&group), &[], "sh").args(["-c", "sleep 60 & sleep 60 & wait"]).spawn().unwrap();
        while group.processes().len() < 3 {
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(group.memory_bytes().is_some());
        assert!(cgroups.list().contains(&name));
        group.kill_all().unwrap();
        assert!(group.is_empty());
        assert!(!child.wait().unwrap().success());
        group.remove().unwrap();
        assert!(!cgroups.list().contains(&name));
    }

    #[test]
    fn passing_the_memory_limit_is_counted() {
        let Some(cgroups) = cgroups() else { return };
        let limits = Limits { memory_bytes: Some(30_000_000), ..Limits::default() };
        let group = cgroups.create(&format!("oom-{}", std::process::id()), &limits).unwrap();
        assert_eq!(group.oom_kills(), 0);
        let mut hungry = enter_command(Some(&group), &[], "dd");
        let status = hungry.args(["if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"]).stderr(Stdio::null()).status();
        assert!(!status.unwrap().success());
        assert_eq!(group.oom_kills(), 1);
        group.remove().unwrap();
    }

    #[test]
    fn names_cannot_leave_the_folder() {
        let Some(cgroups) = cgroups() else { return };
        for name in ["", "..", "a/b", ".x"] {
            assert!(cgroups.create(name, &Limits::default()).is_err(), "{name}");
        }
    }

    #[test]
    fn limits_go_to_whatever_files_there_are() {
        let v2 = tempfile::tempdir().unwrap();
        let cgroups = Cgroups { roots: vec![v2.path().to_owned()] };
        let dir = v2.path().join("one");
        fs::create_dir(&dir).unwrap();
        for name in ["memory.max", "memory.swap.max", "memory.oom.group", "cpu.weight", "pids.max"] {
            fs::write(dir.join(name), "").unwrap();
        }
        fs::write(dir.join("memory.events"), "low 0\noom 3\noom_kill 2\n").unwrap();
        fs::write(dir.join("memory.current"), "5000\n").unwrap();
        fs::write(dir.join("memory.stat"), "anon 1\ninactive_file 1000\n").unwrap();
        let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
        let limits = Limits { memory_bytes: Some(500_000_000), cpu_milli: Some(1000), pids: None };
        let group = cgroups.create("one", &limits).unwrap();
        let names = ["memory.max", "memory.swap.max", "memory.oom.group", "cpu.weight", "pids.max"];
        assert_eq!(names.map(read), ["500000000", "0", "1", "39", "max"]);
        assert_eq!((group.oom_kills(), group.memory_bytes()), (2, Some(4000)));
        cgroups.create("one", &Limits::default()).unwrap();
        assert_eq!(read("memory.max"), "max");
    }
}

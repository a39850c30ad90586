//! The parts of the cluster on this machine, to be killed and started again as they were.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use super::{kill, wait_until};

/// Runs a program with nothing open but its standard streams: it outlives the test, whose locks it must not keep.
const ALONE: &str = r#"for fd in /proc/self/fd/*; do fd=${fd##*/}; [ "$fd" -gt 2 ] && exec {fd}>&-; done; exec "$@""#;
const STATE: &str = "/var/lib/test-cluster";

/// One of its programs.
pub struct Part {
    name: &'static str,
    argv: Vec<String>,
}

impl Part {
    /// A program that runs; `None`, loudly, when the cluster is another than the one made here.
    pub fn of(name: &'static str) -> Option<Self> {
        let pid = (std::env::var_os("GIGALIXIR_TEST_KUBECONFIG").is_none()).then(|| pid(name)).flatten();
        let Some(pid) = pid else {
            println!("SKIPPED: no {name} of a cluster on this machine can be killed");
            return None;
        };
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let words = line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        let mut argv: Vec<_> = words.collect();
        argv.pop();
        (!argv.is_empty()).then_some(Self { name, argv })
    }

    /// `kill -9`.
    pub fn kill(&self) {
        let pid = pid(self.name).expect("its pid");
        kill(pid, Signal::KILL);
        wait_until("it is gone", Duration::from_secs(10), || !is_alive(pid));
    }

    /// As it was.
    pub fn start_again(&self) {
        let log = Path::new(STATE).join("log").join(format!("{}.log", self.name));
        let log = std::fs::File::options().create(true).append(true).open(log).expect("its log");
        let mut command = Command::new("bash");
        command
            .args(["-c", ALONE, "-"])
            .args(&self.argv)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("log"))
            .stderr(log);
        let child = command.process_group(0).spawn().expect("it starts");
        std::fs::write(file(self.name), format!("{}\n", child.id())).expect("its pid");
        // Whoever started it reaps it; nobody may think it alive after its end.
        std::thread::spawn(move || child.wait_with_output());
    }
}

/// What was killed and is not started again is started at the end.
impl Drop for Part {
    fn drop(&mut self) {
        if pid(self.name).is_none_or(|pid| !is_alive(pid)) {
            self.start_again();
        }
    }
}

fn file(name: &str) -> PathBuf {
    Path::new(STATE).join("pid").join(name)
}

fn pid(name: &str) -> Option<i32> {
    std::fs::read_to_string(file(name)).ok()?.trim().parse().ok()
}

/// One that nobody has reaped yet is dead all the same.
fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

//! Which process of the machine is the first of a replica's sandbox.
//!
//! The shim has one child, bubblewrap, which has one, the sandbox's init, whose first child is the app. Numbers of
//! processes are used again, so the chain is followed once more when the init is held: then it was and is this replica's.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::super::folder::LOCK;
use super::super::shim;

/// A replica that has just begun has no sandbox yet. There is no event for its being whole.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);

/// The sandbox's init, held; `None` if the replica does not run.
pub(super) fn find(dir: &Path) -> io::Result<Option<OwnedFd>> {
    let begun = Instant::now();
    loop {
        if let Some(chain) = chain(dir) {
            let init = pidfd_open(chain[2], PidfdFlags::empty());
            if let Ok(init) = init
                && self::chain(dir) == Some(chain)
            {
                return Ok(Some(init));
            }
        }
        if begun.elapsed() > PATIENCE || shim_of(dir).is_none() {
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Shim, bubblewrap, init: once the sandbox is made, which it is when the init has a child.
fn chain(dir: &Path) -> Option<[Pid; 3]> {
    let shim = shim_of(dir)?;
    let bubblewrap = only_child(shim)?;
    let init = only_child(bubblewrap)?;
    children(init).next().is_some().then_some([shim, bubblewrap, init])
}

/// The living shim of a folder.
fn shim_of(dir: &Path) -> Option<Pid> {
    let pid = fs::read_to_string(dir.join(LOCK)).ok()?.trim().parse().ok()?;
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut args = line.split(|byte| *byte == 0).skip(1);
    let ours =
        args.next() == Some(shim::SUBCOMMAND.as_bytes()) && args.next() == Some(dir.as_os_str().as_encoded_bytes());
    Pid::from_raw(pid).filter(|_| ours)
}

fn only_child(of: Pid) -> Option<Pid> {
    let mut all = children(of);
    all.next().filter(|_| all.next().is_none())
}

/// The children of a process with one thread, or of the first thread of one with more.
fn children(of: Pid) -> impl Iterator<Item = Pid> {
    let pid = of.as_raw_nonzero();
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let numbers: Vec<i32> = text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    numbers.into_iter().filter_map(Pid::from_raw)
}

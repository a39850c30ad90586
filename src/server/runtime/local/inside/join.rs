//! Into the sandbox, and down to what the app itself may do.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use rustix::thread::{
    CapabilitySet, CapabilitySets, ThreadNameSpaceType, clear_ambient_capability_set, move_into_thread_name_spaces,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

/// The names of namespaces in `/proc/PID/ns`. A sandbox may share some with the machine; those cannot and need not be
/// entered.
const NAMESPACES: [(&str, ThreadNameSpaceType); 7] = [
    ("user", ThreadNameSpaceType::USER),
    ("mnt", ThreadNameSpaceType::MOUNT),
    ("pid", ThreadNameSpaceType::PROCESS_ID),
    ("ipc", ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION),
    ("uts", ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME),
    ("cgroup", ThreadNameSpaceType::CONTROL_GROUP),
    ("net", ThreadNameSpaceType::NETWORK),
];

/// Moves this process, which has one thread, into the namespaces of `sandbox`, all at once: the user namespace gives
/// the right to the others. The process ids are for its children; itself it stays out of their sight.
pub(super) fn join(sandbox: &OwnedFd) -> io::Result<()> {
    let pid = pid_of(sandbox)?;
    let mut wanted = ThreadNameSpaceType::empty();
    for (name, kind) in NAMESPACES {
        let theirs = fs::read_link(format!("/proc/{pid}/ns/{name}"))?;
        if fs::read_link(format!("/proc/self/ns/{name}"))? != theirs {
            wanted |= kind;
        }
    }
    if !wanted.contains(ThreadNameSpaceType::USER | ThreadNameSpaceType::MOUNT | ThreadNameSpaceType::PROCESS_ID) {
        return Err(io::Error::other("the replica's sandbox has no namespaces of its own"));
    }
    move_into_thread_name_spaces(sandbox.as_fd(), wanted)?;
    renounce()
}

/// Joining a user namespace gives every capability in it; the app has none.
fn renounce() -> io::Result<()> {
    set_no_new_privs(true)?;
    clear_ambient_capability_set()?;
    for bit in 0..u64::BITS {
        // Those the kernel does not know are refused.
        let _ = remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit));
    }
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(())
}

/// The number of the held process. While it is held the number is not given to another.
fn pid_of(held: &OwnedFd) -> io::Result<i32> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", held.as_raw_fd()))?;
    let number = info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse::<i32>().ok());
    // -1 when it is dead.
    number.filter(|pid| *pid > 0).ok_or_else(|| io::Error::other("the replica has just ended"))
}

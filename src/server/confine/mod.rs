//! What keeps a build or a replica apart from the machine and within its bounds: what it sees ([`bubblewrap`]), how much
//! it may use ([`cgroup`]), and the hidden step that puts it there before its program begins ([`enter`]).
//!
//! A leaf: it knows no stage.

pub mod bubblewrap;
pub mod cgroup;
pub mod enter;
mod hierarchy;

/// The most that one confined thing may use. `None`: no bound of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Limits {
    /// Bytes of memory, page cache it cannot give back included; passing it means the kernel kills.
    pub memory_bytes: Option<u64>,
    /// Thousandths of a core: a weight under contention, never a ceiling.
    pub cpu_milli: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

use std::collections::BTreeMap;

/// A machine that instances run on, as its runtime sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// As [`Instance::machine`](super::Instance) has it.
    pub name: String,
    /// Whether it does what it is told.
    pub ready: bool,
    /// Whether new instances may come to it.
    pub schedulable: bool,
    /// What runs on it (`os`, `kernel`, `kubelet` …), and of which version.
    pub versions: BTreeMap<&'static str, String>,
    /// What it has.
    pub capacity: Resources,
    /// What of that instances may have.
    pub allocatable: Resources,
    /// What is told of its state, in its runtime's own words.
    pub conditions: Vec<Condition>,
}

/// What programs need to run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Bytes.
    pub memory_bytes: u64,
}

/// One thing that is told of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// What it is about, as `MemoryPressure`.
    pub kind: String,
    /// Whether it is so: `True`, `False`, `Unknown`.
    pub status: String,
    /// Whether that is bad.
    pub bad: bool,
    /// Why, for people; may be empty.
    pub message: String,
}

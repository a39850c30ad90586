//! The named steps at which a server may be killed. Everything that is durable changes between two of them, so a test
//! that kills the server at each step has killed it at every interesting instant.

#[cfg(debug_assertions)]
use rustix::process::Signal;

/// Every step of a push that succeeds, in its order; other operations pass those that they have.
pub const OF_A_PUSH: &[&str] = &[
    "push.received",
    "push.checked_out",
    "build.started",
    "build.finished",
    "slug.stored",
    "release.recorded",
    "release.phase_done",
    "deploy.started",
    "deploy.healthy",
    "deploy.committed",
    "deploy.swapped",
    "push.ref_moved",
    "deploy.drained",
    "deploy.finished",
];

/// The steps that no push passes that succeeds: of a rollout that is undone, of other counts, of an app's end, of jobs.
pub const OTHERS: &[&str] = &[
    "undo.recorded",
    "scale.settled",
    "destroy.started",
    "destroy.finished",
    "job.recorded",
    "job.started",
    "job.ended",
];

/// The steps that only a hot push passes, in its order, and those of one that is undone; an ordinary one's `deploy.started`
/// and `deploy.healthy` it does not pass.
pub const OF_AN_UPGRADE: &[&str] = &[
    "upgrade.rehearsing",
    "upgrade.rehearsed",
    "upgrade.node_begun",
    "upgrade.node_changed",
    "upgrade.applied",
    "upgrade.settled",
    "upgrade.failed",
    "upgrade.node_undone",
];

/// Every step of a certificate's order.
pub const OF_A_CERTIFICATE: &[&str] =
    &["certificate.placed", "certificate.answered", "certificate.finalized", "certificate.issued"];

/// Marks a step. In a debug build, `GIGALIXIR_CRASH_AT=STEP` kills the process here, as `kill -9` would, and
/// `GIGALIXIR_STOP_AT=STEP` stops it until it is sent SIGCONT, so that something else can be killed meanwhile; a release
/// build compiles this to nothing.
pub fn reached(step: &'static str) {
    let listed = [OF_A_PUSH, OTHERS, OF_AN_UPGRADE, OF_A_CERTIFICATE].iter().any(|steps| steps.contains(&step));
    debug_assert!(listed, "unlisted step `{step}`");
    #[cfg(test)]
    testing::reached(step);
    #[cfg(debug_assertions)]
    for (variable, signal) in [("GIGALIXIR_CRASH_AT", Signal::KILL), ("GIGALIXIR_STOP_AT", Signal::STOP)] {
        if std::env::var_os(variable).is_some_and(|wanted| wanted == step) {
            let _ = rustix::process::kill_process(rustix::process::getpid(), signal);
        }
    }
}

/// A test's own death at a step: the task that gets there unwinds, and with it all it would have done.
#[cfg(test)]
pub(crate) mod testing {
    use std::cell::Cell;

    thread_local! {
        static DIE_AT: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    /// The next task of this thread that reaches `step` dies there.
    pub(crate) fn die_at(step: Option<&'static str>) {
        DIE_AT.set(step);
    }

    /// Whether a task has died.
    pub(crate) fn has_died() -> bool {
        DIE_AT.get().is_none()
    }

    pub(super) fn reached(step: &'static str) {
        if DIE_AT.get() == Some(step) {
            DIE_AT.set(None);
            panic!("died at `{step}`, as the test asked");
        }
    }
}

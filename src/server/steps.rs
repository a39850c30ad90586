//! The named steps at which a server may be killed. Everything that is durable changes between two of them, so a test
//! that kills the server at each step has killed it at every interesting instant.

/// Every step, in the order of a push, then of the other operations.
pub const ALL: &[&str] = &[
    "push.received",
    "push.checked_out",
    "build.started",
    "build.finished",
    "slug.stored",
    "release.recorded",
    "deploy.started",
    "deploy.healthy",
    "deploy.committed",
    "deploy.swapped",
    "push.ref_moved",
    "deploy.drained",
    "deploy.finished",
];

/// Marks a step. In a debug build, `GIGALIXIR_CRASH_AT=STEP` kills the process here, as `kill -9` would; a release
/// build compiles this to nothing.
pub fn reached(step: &'static str) {
    debug_assert!(ALL.contains(&step), "unlisted step `{step}`");
    #[cfg(debug_assertions)]
    if std::env::var_os("GIGALIXIR_CRASH_AT").is_some_and(|wanted| wanted == step) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

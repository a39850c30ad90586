//! The port through which apps run. One trait, one adapter per place an app can run in, one contract test suite.
//!
//! A runtime is told *what should be* and makes it so, again and again if need be: it starts instances, restarts those
//! that end by themselves (with back-off), and says which are ready. It knows nothing of releases being better or
//! worse than others: putting new beside old, waiting, swapping and draining is the deployer's work.

mod directory;
pub mod docker;
mod erlang;
mod files;
mod generations;
pub mod health;
mod images;
pub mod kubernetes;
pub mod local;
mod machine;
#[cfg(test)]
pub(crate) mod memory;
pub mod moving;
mod passage;
mod relay;
mod roster;
pub mod session;
pub mod spec;
mod spoken;
mod standing;
mod stop;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;

pub use self::directory::Directory;
pub use self::spoken::{Kept, Lines, Spoken};
use super::domain::{Instance, Machine, SlugDigest, Workload, WorkloadId};

/// A place where apps run.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// `local`, `docker` or `kubernetes`.
    fn name(&self) -> &'static str;

    /// Makes exactly `workload.replicas` instances of this generation exist, starting or stopping as needed; surplus
    /// instances go highest index first. Idempotent. Returns when the wish is durable and the instances are on their
    /// way, not when they are ready.
    ///
    /// A generation's command, size and health check never change between calls; its slug, environment and release may.
    /// Instances that run go on as they are and are of the new release from then on (somebody has brought it to them
    /// while they ran); whatever is started from then on, or started anew, is started with the new ones.
    ///
    /// An instance that runs once ([`Lifetime::Once`](super::domain::Lifetime)) is never started anew, whatever ends it;
    /// its end is told after all it said was handed on, and kept until it is removed.
    async fn apply(&self, workload: &Workload) -> Result<(), RuntimeError>;

    /// Ends every instance of a generation (SIGTERM, and after `grace` SIGKILL) and frees all it had. Returns when
    /// nothing of it is left. A generation that does not exist is no error.
    async fn remove(&self, id: &WorkloadId, grace: Duration) -> Result<(), RuntimeError>;

    /// Ends one instance (SIGTERM, and after `grace` SIGKILL) and puts a new one of the same index in its place. False
    /// if there is none of that name that is not on its way out already, or if it runs once. Returns when the new one is
    /// on its way.
    async fn replace(&self, id: &WorkloadId, name: &str, grace: Duration) -> Result<bool, RuntimeError>;

    /// Every instance that exists, those taken over from an earlier server included.
    async fn instances(&self) -> Result<Vec<Instance>, RuntimeError>;

    /// Starts a program beside the instance's own process, in its sandbox, its control group and its environment, the
    /// slug's `.profile.d` included. [`RuntimeError::NotRunning`] if there is no such instance or it does not run.
    async fn exec(&self, instance: &str, command: session::Command) -> Result<session::Session, RuntimeError>;

    /// Connects to a TCP port on the instance's own loopback. [`RuntimeError::NotRunning`] as for `exec`,
    /// [`RuntimeError::Io`] when nobody listens there.
    async fn connect(&self, instance: &str, port: u16) -> Result<Box<dyn session::Stream>, RuntimeError>;

    /// What an instance takes at the moment; `None` where nobody tells. [`RuntimeError::NotRunning`] as for `exec`.
    async fn load(&self, _instance: &str) -> Result<Option<Load>, RuntimeError> {
        Ok(None)
    }

    /// The machines that instances run on, as they are now.
    async fn machines(&self) -> Result<Vec<Machine>, RuntimeError>;

    /// Every change of an instance from now on. Subscribe first, then list; a receiver that lagged lists again.
    fn watch(&self) -> broadcast::Receiver<InstanceEvent>;
}

/// What an instance takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Bytes, without the page cache that can be given back at once.
    pub memory: u64,
    /// `None` where it is not counted.
    pub cpu: Option<Cpu>,
}

/// What an instance takes of the processors, as whoever counts it tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cpu {
    /// The time that it has used since it began.
    Time(Duration),
    /// Thousandths of a core, lately.
    Milli(u32),
}

/// Where a runtime gets slugs from.
#[async_trait]
pub trait SlugSource: Send + Sync {
    /// A file on this disk that holds the archive; immutable for as long as it exists.
    async fn local_path(&self, digest: &SlugDigest) -> Result<PathBuf, RuntimeError>;
}

/// Where other machines get slugs from.
#[async_trait]
pub trait SlugAddresses: Send + Sync {
    /// An address from which whoever knows it can fetch the archive until `valid` has passed.
    async fn address(&self, digest: &SlugDigest, valid: Duration) -> Result<String, RuntimeError>;
}

/// A change of one instance.
#[derive(Debug, Clone)]
pub enum InstanceEvent {
    /// It is new, or something of it changed; this is how it is now.
    Changed(Instance),
    /// It is no more.
    Gone(Instance),
}

/// Why a runtime could not do as told. Nothing is half done that a later `apply` or `remove` would not mend.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The machine lacks something, or refuses it; the sentence says what and what to do.
    #[error("{0}")]
    Unavailable(String),
    /// There is no such instance, or nothing of it runs at present.
    #[error("no replica `{0}` is running")]
    NotRunning(String),
    /// The slug is not in the store.
    #[error("slug {0} is missing")]
    SlugMissing(String),
    /// The machine's own refusal.
    #[error("{context}")]
    Io {
        /// What was being done, lower case.
        context: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

//! What the deployer needs of rooms it does not know.

use async_trait::async_trait;

use crate::server::domain::{AppName, Backend};

/// The router, as far as draining goes.
#[async_trait]
pub trait Drains: Send + Sync + 'static {
    /// Resolves when no request that the router sent to this backend is under way any more. May take for ever; the
    /// caller bounds it. Called after a table without the backend has been published.
    async fn drained(&self, backend: Backend);
}

/// The app's log.
#[async_trait]
pub trait AppLog: Send + Sync + 'static {
    /// Writes a line of the platform's own. Never blocks.
    fn platform(&self, app: &AppName, text: String);

    /// Writes a line of a build's output. Never blocks.
    fn build(&self, app: &AppName, text: String);

    /// The last `count` lines that an instance wrote, oldest first.
    async fn last_lines(&self, app: &AppName, instance: &str, count: usize) -> Vec<String>;
}

use super::{AppName, Email};

/// A received push that wants to be deployed: its objects lie in quarantine, its ref has not moved.
#[derive(Debug, Clone)]
pub struct Push {
    /// Whose.
    pub app: AppName,
    /// Who pushed.
    pub by: Email,
    /// The ref that moves when the deploy has succeeded: `refs/heads/master` or `refs/heads/main`.
    pub reference: String,
    /// The commit to build, 40 hex digits.
    pub commit: String,
    /// Empty the build cache first (`GIGALIXIR-CLEAN: true` or `-o clean`).
    pub clean: bool,
    /// Upgrade in place (`GIGALIXIR-HOT: true` or `-o hot`).
    pub hot: bool,
    /// With a restart, if that cannot be (`GIGALIXIR-OR-RESTART: true` or `-o or-restart`).
    pub or_restart: bool,
}

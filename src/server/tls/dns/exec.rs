//! A program of the operator's: `PROGRAM ARG… set|clear NAME VALUE`. An argument vector, no shell; exit code 0 is done.

use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use tokio::process::Command;

use super::Zone;

const PATIENCE: Duration = Duration::from_secs(120);

/// The program and its first arguments; never empty.
pub(super) struct Hook(pub(super) Vec<String>);

impl Hook {
    async fn run(&self, verb: &str, fqdn: &str, value: &str) -> Result<(), String> {
        let (program, args) = self.0.split_first().ok_or("`command` is empty")?;
        let mut command = Command::new(program);
        command.args(args).args([verb, fqdn, value]).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        let output = output.map_err(|_| format!("`{program}` did not end within {PATIENCE:?}"))?;
        let output = output.map_err(|error| format!("`{program}`: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        Err(format!("`{program} {verb}` ended with {}: {last}", output.status))
    }
}

#[async_trait]
impl Zone for Hook {
    async fn set(&self, fqdn: &str, value: &str) -> Result<(), String> {
        self.run("set", fqdn, value).await
    }

    async fn clear(&self, fqdn: &str, value: &str) -> Result<(), String> {
        self.run("clear", fqdn, value).await
    }
}

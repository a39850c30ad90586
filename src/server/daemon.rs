//! The process around the platform: one per data folder, ended by SIGTERM or Ctrl-C, silent about nothing unsafe.

use std::fs::{File, TryLockError};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};

use super::config::{Overrides, ServerConfig};
use super::platform::Platform;
use super::telemetry;

/// How long the last requests, operations and lines of log may take together once the end was asked for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `gigalixir server` to its end. Errors are told on standard error.
pub fn main(flags: &Overrides) -> ExitCode {
    give_large_blocks_back();
    match run(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The log may not be set up yet, and a person who has mistyped a key reads standard error.
            anstream::eprintln!("gigalixir server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: &Overrides) -> anyhow::Result<()> {
    let config = ServerConfig::load(flags)?;
    telemetry::start(&config)?;
    config.prepare_data_dir()?;
    let _lock = lock(&config.data_dir)?;
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(workers.clamp(2, 16)).enable_all().build()?;
    runtime.block_on(serve(config))
}

/// glibc keeps blocks up to the size of the largest one that was ever freed: after the first password that is 19 MiB of
/// argon2's for ever. A fixed threshold gives them back; it is read once, when a program starts, so this one starts anew.
fn give_large_blocks_back() {
    const THRESHOLD: &str = "MALLOC_MMAP_THRESHOLD_";
    if std::env::var_os(THRESHOLD).is_none()
        && let Ok(program) = std::env::current_exe()
    {
        // Returns only if it failed; then memory is all that is lost.
        let _ = Command::new(program).args(std::env::args_os().skip(1)).env(THRESHOLD, (1 << 20).to_string()).exec();
    }
}

async fn serve(config: ServerConfig) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    for warning in config.warnings() {
        tracing::warn!("UNSAFE: {warning}");
    }
    let stop_apps = config.stop_apps_on_exit;
    let platform = Platform::start(config).await?;
    // Only systemd listens for this; without it there is nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!("Stopping: requests and deploys under way are finished first.");
    if tokio::time::timeout(PATIENCE, platform.stop(stop_apps)).await.is_err() {
        tracing::warn!(
            "Not everything ended within {} s; what was cut off goes on at the next start.",
            PATIENCE.as_secs()
        );
    }
    tracing::info!("Stopped.{}", if stop_apps { "" } else { " Apps run on." });
    Ok(())
}

/// Holds the data folder for this process, for as long as the file is open.
fn lock(data: &Path) -> anyhow::Result<File> {
    let path = data.join("lock");
    let file =
        File::options().create(true).append(true).open(&path).with_context(|| format!("`{}`", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("another gigalixir server already uses `{}`", data.display()),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking `{}`", path.display())),
    }
}

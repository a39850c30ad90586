//! The process around the platform: one per data folder, ended by SIGTERM or Ctrl-C, followed by another one at SIGHUP,
//! silent about nothing unsafe.

use std::fs::{File, TryLockError};
use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::{SignalKind, signal};

use super::config::{Overrides, ServerConfig};
use super::farewell::Visitors;
use super::listen::Sockets;
use super::platform::Platform;
use super::succession::{Heir, Predecessor};
use super::telemetry;

/// How long the last requests, operations and lines of log may take together once the end was asked for.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long threads may take that are in the middle of something when another server takes over.
const LAST_TASKS: Duration = Duration::from_secs(5);

/// Runs `gigalixir server` to its end; `succeeds`: in the place of another one. Errors are told on standard error.
pub fn main(flags: &Overrides, succeeds: bool) -> ExitCode {
    give_large_blocks_back();
    match run(flags, succeeds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The log may not be set up yet, and a person who has mistyped a key reads standard error.
            anstream::eprintln!("gigalixir server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: &Overrides, succeeds: bool) -> anyhow::Result<()> {
    let config = ServerConfig::load(flags)?;
    telemetry::start(&config)?;
    config.prepare_data_dir()?;
    let (predecessor, sockets) = if succeeds {
        let (predecessor, sockets) = Predecessor::meet()?;
        predecessor.configured()?;
        (Some(predecessor), Sockets::handed(sockets))
    } else {
        (None, Sockets::from_env())
    };
    let lock = lock(&config.data_dir, predecessor.is_some())?;
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).min(16);
    // Visitors have threads of their own: whatever else there is to do keeps none of them waiting, and they can be served
    // to the end when all else has ended.
    let front = Builder::new_multi_thread().worker_threads(workers).thread_name("visitors").enable_all().build()?;
    let rest = Builder::new_multi_thread().worker_threads(workers.max(2)).enable_all().build()?;
    match rest.block_on(serve(config, sockets, predecessor, front.handle()))? {
        End::Stopped => Ok(()),
        End::HandedOver { mut visitors, mut heir } => {
            // What is cut off here goes on in the heir, as it would after a crash.
            rest.shutdown_timeout(LAST_TASKS);
            drop(lock);
            let serves = heir.serves().context("another server was to take over, but did not");
            if serves.is_ok() {
                // Only systemd listens for this; without it there is nobody to tell.
                let _ = sd_notify::notify(&[sd_notify::NotifyState::MainPid(heir.pid())]);
                tracing::info!(heir.pid = heir.pid(), "Another server has taken over: what is under way is finished.");
            }
            front.block_on(visitors.finish());
            serves
        }
    }
}

/// How a server ends.
enum End {
    Stopped,
    /// All but those visitors.
    HandedOver {
        visitors: Visitors,
        heir: Heir,
    },
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

async fn serve(
    config: ServerConfig,
    sockets: Sockets,
    predecessor: Option<Predecessor>,
    front: &Handle,
) -> anyhow::Result<End> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    for warning in config.warnings() {
        tracing::warn!("UNSAFE: {warning}");
    }
    let stop_apps = config.stop_apps_on_exit;
    let mut platform = Platform::start(config, sockets, predecessor, front).await?;
    // Only systemd listens for this; without it there is nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            // A terminal that is closed says the same, and whoever closes it wants an end.
            _ = hangup.recv() => if std::io::stderr().is_terminal() { break },
        }
        if let Some(heir) = summon(&platform).await {
            if tokio::time::timeout(PATIENCE, platform.cease()).await.is_err() {
                tracing::warn!("Not everything ended in time; what was cut off goes on in the server that takes over.");
            }
            return Ok(End::HandedOver { visitors: platform.into_visitors(), heir });
        }
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
    Ok(End::Stopped)
}

/// Starts the server that is to take over. Without one this one goes on.
async fn summon(platform: &Platform) -> Option<Heir> {
    let sockets =
        platform.sockets().inspect_err(|error| tracing::error!(%error, "the sockets cannot be shared")).ok()?;
    match tokio::task::spawn_blocking(move || Heir::summon(&sockets)).await.ok()? {
        Ok(heir) => {
            tracing::info!(heir.pid = heir.pid(), "Another server takes over: deploys under way are finished first.");
            Some(heir)
        }
        Err(error) => {
            tracing::error!("No other server takes over, this one goes on: {error:#}");
            None
        }
    }
}

/// Holds the data folder for this process, for as long as the file is open; `wait`: as soon as whoever has it lets it go.
fn lock(data: &Path, wait: bool) -> anyhow::Result<File> {
    let path = data.join("lock");
    let file =
        File::options().create(true).append(true).open(&path).with_context(|| format!("`{}`", path.display()))?;
    if wait {
        file.lock().with_context(|| format!("locking `{}`", path.display()))?;
        return Ok(file);
    }
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("another gigalixir server already uses `{}`", data.display()),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking `{}`", path.display())),
    }
}

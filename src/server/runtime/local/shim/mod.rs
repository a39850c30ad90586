//! `gigalixir shim DIR`: one small process per replica that outlives the server. It owns the replica's process, output
//! and exit status, starts it anew when it ends, and does what a server asks over the folder's socket.
//!
//! Guaranteed: the replica's processes are dead when the shim is (bubblewrap dies with it); its folder tells how things
//! stood. The lock in the folder is held exactly as long as the shim lives: it is handed over at birth, locked.
//!
//! Deliberately absent: the server's configuration, health checks, clap, tracing. It has one thread, and a second while
//! it unpacks.

mod control;
mod lines;
mod processes;
mod run;
mod sandbox;
mod unpack;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::folder::{self, SPEC, STATE, Spec};
use super::protocol::{Phase, State};
use super::spool::Writer;
use crate::server::confine::cgroup::Cgroup;
use crate::server::domain::Exit;
use crate::server::runtime::stop::{self, Stop};

/// The hidden subcommand's name.
pub const SUBCOMMAND: &str = "shim";

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A run of this length was a good one: the next end counts as the first.
const GOOD_RUN: Duration = Duration::from_secs(60);
const FAREWELL: Duration = Duration::from_secs(3);

/// `gigalixir shim DIR`, without the first two words. Its standard input is the listening socket, its standard output the
/// locked lock file, into which it writes its process id.
pub fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(dir) = args.next() else {
        eprintln!("gigalixir shim: it is started by the server, with a folder");
        return ExitCode::from(2);
    };
    match attend(PathBuf::from(dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gigalixir shim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn attend(dir: PathBuf) -> io::Result<()> {
    // A session of its own: no terminal's signals reach it.
    rustix::process::setsid()?;
    writeln!(io::stdout(), "{}", std::process::id())?;
    let socket: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
    let listener = std::os::unix::net::UnixListener::from(socket);
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .thread_keep_alive(Duration::from_millis(10))
        .build()?;
    runtime.block_on(async {
        let spec: Spec = folder::read_json(&dir.join(SPEC))?;
        let (state, seen) = watch::channel(last_state(&dir, &spec));
        let (output, written) = watch::channel(0);
        let (order, stop) = watch::channel(None);
        let control = tokio::spawn(control::serve(UnixListener::from_std(listener)?, seen, written, order));
        let cgroup = (!spec.cgroup.is_empty()).then(|| Cgroup::at(spec.cgroup.clone()));
        let spool = Writer::open(&dir)?;
        let mut shim = Shim { dir, spec, cgroup, spool, state, output, stop };
        shim.live().await;
        let _ = timeout(FAREWELL, control).await;
        Ok(())
    })
}

/// Where an earlier shim of this folder left off.
fn last_state(dir: &std::path::Path, spec: &Spec) -> State {
    let fresh = State { phase: Phase::Making, port: spec.slot, started_at: None, restarts: 0, last_exit: None };
    match folder::read_json::<State>(&dir.join(STATE)) {
        Ok(last) => State { phase: Phase::Making, started_at: None, restarts: last.restarts + 1, ..last },
        Err(_) => fresh,
    }
}

struct Shim {
    dir: PathBuf,
    spec: Spec,
    cgroup: Option<Cgroup>,
    spool: Writer,
    state: watch::Sender<State>,
    /// Counts what was written, to wake who reads it.
    output: watch::Sender<u64>,
    /// The grace, once it was told to end.
    stop: Stop,
}

impl Shim {
    /// Runs and runs anew until told to stop.
    async fn live(&mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = Instant::now();
            let exit = self.run().await;
            if self.stop.borrow().is_some() {
                return self.leave(exit);
            }
            if begun.elapsed() >= GOOD_RUN {
                pause = FIRST_PAUSE;
            }
            let (label, seconds) = (self.spec.label(), pause.as_secs());
            self.say(&format!("{label} exited with code {} ({:?}), restarting in {seconds} s", exit.code, exit.reason));
            self.change(|state| (state.phase, state.last_exit) = (Phase::Waiting, Some(exit.clone())));
            tokio::select! {
                () = sleep(pause) => {}
                _ = stop::told(&mut self.stop) => return self.leave(exit),
            }
            self.change(|state| state.restarts += 1);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn leave(&mut self, exit: Exit) {
        if let Some(cgroup) = self.cgroup.take()
            && let Err(error) = cgroup.remove()
        {
            eprintln!("gigalixir shim: the control group cannot be removed: {error}");
        }
        self.change(|state| (state.phase, state.last_exit) = (Phase::Stopped, Some(exit)));
    }

    /// Makes a change known: on disk first, then to whoever listens.
    fn change(&self, how: impl FnOnce(&mut State)) {
        let mut next = self.state.borrow().clone();
        how(&mut next);
        if let Err(error) = folder::write_json(&self.dir.join(STATE), &next, false) {
            eprintln!("gigalixir shim: {STATE}: {error}");
        }
        self.state.send_replace(next);
    }

    /// A line of the platform.
    fn say(&mut self, text: &str) {
        self.spool_lines(true, &[text.as_bytes().to_vec()]);
    }

    /// Lines of the app.
    fn write(&mut self, lines: &[Vec<u8>]) {
        self.spool_lines(false, lines);
    }

    fn spool_lines(&mut self, platform: bool, lines: &[Vec<u8>]) {
        if lines.is_empty() {
            return;
        }
        // A full disk costs lines, never the app.
        if let Err(error) = self.spool.append(platform, lines.iter().map(Vec::as_slice)) {
            eprintln!("gigalixir shim: output is lost: {error}");
        }
        self.output.send_modify(|count| *count += 1);
    }
}

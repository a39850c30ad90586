//! `gigalixir stacks:build` makes a stack's images on this very machine, of Debian's own packages; `gigalixir stacks:pull`
//! fetches them from their registry. Both check what they got and pin it: replicas that start from then on have it.

use std::ffi::OsStr;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, bail};
use tokio::process::Command;
use tokio_util::io::ReaderStream;

use super::docker::{Daemon, Pin, Pulled, Reference};
use super::domain::Stack;
use super::stacks::{self, Debootstrap, Definition};

/// What was typed.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The stack's name.
    pub stack: String,
    /// Docker's socket.
    pub socket: PathBuf,
    /// Where more stacks are.
    pub stacks_dir: Option<PathBuf>,
    /// Where packages come from, when not from debootstrap's own choice.
    pub mirror: Option<String>,
}

/// How the images are had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Of packages, here.
    Build,
    /// From a registry.
    Pull,
}

/// Gets the images; tells its steps on standard error.
pub fn main(how: How, wish: &Wish) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.context("starting").and_then(|runtime| runtime.block_on(get(how, wish))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn get(how: How, wish: &Wish) -> anyhow::Result<()> {
    let stack = Stack::parse(&wish.stack)?;
    let stacks = stacks::all(wish.stacks_dir.as_deref())?;
    let Some(definition) = stacks.get(&stack) else {
        let known: Vec<_> = stacks.keys().map(Stack::as_str).collect();
        bail!("there is no stack `{stack}`, only {}", known.join(", "));
    };
    let daemon = Daemon::connect(&wish.socket).await?;
    let (pins, command) = definition.both(&stack);
    match (how, &definition.debootstrap) {
        (How::Build, Some(recipe)) => build(&daemon, definition, recipe, wish.mirror.as_deref()).await?,
        (How::Pull, None) => pull(&daemon, &pins).await?,
        _ => bail!("the images of `{stack}` are had in another way: `{command}`"),
    }
    for pin in &pins {
        let image = daemon.pin(pin).await?;
        eprintln!("{stack}: {} is {}.", pin.reference(), image.digest.unwrap_or(image.id));
    }
    let swept = daemon.sweep_pins().await?;
    if swept > 0 {
        eprintln!("Removed {swept} earlier images that nothing runs in.");
    }
    Ok(())
}

async fn pull(daemon: &Daemon, pins: &[Pin]) -> anyhow::Result<()> {
    for pin in pins {
        let mut bar = Bar::new(pin.reference());
        daemon.pull(pin.reference(), |so_far| bar.tell(so_far)).await?;
        bar.end();
    }
    Ok(())
}

/// One line that is written over on a terminal; elsewhere a line for each tenth.
struct Bar {
    what: String,
    terminal: bool,
    last: Option<u64>,
}

impl Bar {
    fn new(what: &Reference) -> Self {
        let terminal = std::io::stderr().is_terminal();
        eprintln!("Pulling {what} …");
        Self { what: what.to_string(), terminal, last: None }
    }

    fn tell(&mut self, so_far: Pulled) {
        let step = if self.terminal { 100 } else { 10 };
        let part = (so_far.bytes * step).checked_div(so_far.of);
        if part.is_none() || part == self.last {
            return;
        }
        self.last = part;
        let (begin, end) = if self.terminal { ("\r", "\x1b[K") } else { ("", "\n") };
        let mib = |bytes: u64| bytes >> 20;
        eprint!("{begin}{}: {} of {} MiB{end}", self.what, mib(so_far.bytes), mib(so_far.of));
    }

    fn end(self) {
        if self.terminal && self.last.is_some() {
            eprintln!();
        }
    }
}

async fn build(
    daemon: &Daemon,
    definition: &Definition,
    recipe: &Debootstrap,
    mirror: Option<&str>,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("making a folder")?;
    let root = folder.path().join("root");
    eprintln!("Gathering Debian {} and {} packages …", recipe.suite, recipe.include.len());
    debootstrap(recipe, &root, mirror).await?;
    add_app(&root).context("adding the user of apps")?;
    import(daemon, &root, &definition.run).await?;
    if definition.build != definition.run {
        import(daemon, &root, &definition.build).await?;
    }
    Ok(())
}

async fn debootstrap(recipe: &Debootstrap, root: &Path, mirror: Option<&str>) -> anyhow::Result<()> {
    let include = format!("--include={}", recipe.include.join(","));
    let mut command = Command::new("debootstrap");
    command.args(["--variant=minbase", &include, &recipe.suite]).arg(root).args(mirror).stdout(Stdio::null());
    let status =
        command.status().await.context("`debootstrap` cannot be started: install Debian's package of that name")?;
    if !status.success() {
        bail!("debootstrap failed ({status}); it needs root, and a mirror that can be reached (--mirror URL)");
    }
    for left_over in ["var/cache/apt/archives", "var/lib/apt/lists"] {
        std::fs::remove_dir_all(root.join(left_over)).with_context(|| format!("emptying {left_over}"))?;
    }
    Ok(())
}

/// Every app's user; its home is the slug.
fn add_app(root: &Path) -> std::io::Result<()> {
    let append = |file: &str, line: &str| {
        use std::io::Write as _;
        std::fs::File::options().append(true).open(root.join(file))?.write_all(line.as_bytes())
    };
    append("etc/passwd", "app:x:1000:1000::/app:/bin/bash\n")?;
    append("etc/group", "app:x:1000:\n")
}

async fn import(daemon: &Daemon, root: &Path, image: &Reference) -> anyhow::Result<()> {
    let arguments = [OsStr::new("--create"), OsStr::new("--directory"), root.as_os_str(), OsStr::new(".")];
    let mut tar = Command::new("tar").args(arguments).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let archive = tar.stdout.take().context("tar says nothing")?;
    daemon.import(image, ReaderStream::with_capacity(archive, 64 * 1024)).await?;
    let status = tar.wait().await?;
    if !status.success() {
        bail!("the file system could not be read whole: tar failed ({status})");
    }
    Ok(())
}

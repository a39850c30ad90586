//! `gigalixir stacks:build`: makes a stack's image on this very machine, of Debian's own packages.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, bail};
use tokio::process::Command;
use tokio_util::io::ReaderStream;

use super::domain::Stack;
use super::runtime::docker::Docker;
use super::stacks::{self, Debootstrap};

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

/// Makes the image; tells its steps on standard error.
pub fn main(wish: &Wish) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.context("starting").and_then(|runtime| runtime.block_on(make(wish))) {
        Ok(image) => {
            eprintln!("Made the image {image}.");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn make(wish: &Wish) -> anyhow::Result<String> {
    let stack = Stack::parse(&wish.stack)?;
    let stacks = stacks::all(wish.stacks_dir.as_deref())?;
    let Some(definition) = stacks.get(&stack) else {
        let known: Vec<_> = stacks.keys().map(Stack::as_str).collect();
        bail!("there is no stack `{stack}`, only {}", known.join(", "));
    };
    let Some(recipe) = &definition.debootstrap else {
        bail!("`{stack}` is not made here: `docker pull {}`", definition.run);
    };
    let folder = tempfile::tempdir().context("making a folder")?;
    let root = folder.path().join("root");
    eprintln!("Gathering Debian {} and {} packages …", recipe.suite, recipe.include.len());
    debootstrap(recipe, &root, wish.mirror.as_deref()).await?;
    add_app(&root).context("adding the user of apps")?;
    for images in [&definition.run, &definition.build] {
        import(&root, images, &wish.socket).await?;
    }
    Ok(definition.run.clone())
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

async fn import(root: &Path, image: &str, socket: &Path) -> anyhow::Result<()> {
    let arguments = [OsStr::new("--create"), OsStr::new("--directory"), root.as_os_str(), OsStr::new(".")];
    let mut tar = Command::new("tar").args(arguments).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let archive = tar.stdout.take().context("tar says nothing")?;
    Docker::import(socket, image, ReaderStream::with_capacity(archive, 64 * 1024)).await?;
    let status = tar.wait().await?;
    if !status.success() {
        bail!("the file system could not be read whole: tar failed ({status})");
    }
    Ok(())
}

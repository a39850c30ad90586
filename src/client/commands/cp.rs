//! `cp`: files and folders into and out of a replica, as a tar stream through a program there.
//!
//! What comes out is unpacked into a folder of its own beside its destination and then put in its place: nothing is
//! written anywhere else whatever the other side sends, and what is not whole does not appear.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_util::io::SyncIoBridge;

use super::inside::Place;
use crate::api::inside::{ERRORS, Exec, PIECE, Told, Typed};
use crate::client::channel::{Ear, Heard, Mouth};
use crate::client::error::Error;
use crate::client::{Client, console};

/// Packs `$2` of the folder `$1`. Runs inside the replica; paths are arguments, never part of it.
const PACK: &str = r#"
if [ ! -e "$1/$2" ] && [ ! -L "$1/$2" ]; then echo "there is no $2 in $1" >&2; exit 1; fi
exec tar -cf - -C "$1" -- "$2""#;
/// Unpacks into the folder `$1`, or as `$1` what the archive calls `$2`.
const UNPACK: &str = r#"
if [ -d "$1" ]; then exec tar -xf - -C "$1"; fi
if [ -z "$2" ]; then echo "$1 is no folder" >&2; exit 1; fi
if [ ! -d "$(dirname -- "$1")" ]; then echo "there is no folder $(dirname -- "$1")" >&2; exit 1; fi
folder=$(mktemp -d -- "$(dirname -- "$1")/.copy-XXXXXX") || exit
tar -xf - -C "$folder" && mv -T -- "$folder/$2" "$1"
code=$?
rm -rf -- "$folder"
exit $code"#;

/// Arguments of `cp`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir cp :/app/erl_crash.dump .
  gigalixir cp seeds.exs :/tmp/seeds.exs
  gigalixir cp -a my-app --replica web.2 ./data :/app/priv/

Paths with a colon in front are in the replica, relative ones in /app. Folders are copied whole.")]
pub struct Copy {
    #[command(flatten)]
    place: Place,
    /// What to copy, and last where to
    #[arg(required = true, num_args = 2.., value_name = "PATH")]
    paths: Vec<String>,
}

/// Copies.
pub async fn copy(client: &Client, args: Copy) -> Result<(), Error> {
    let Some((to, from)) = args.paths.split_last() else { return Err(sides()) };
    let place = args.place.resolve(client)?;
    match to.strip_prefix(':') {
        Some(to) => {
            let from: Vec<_> = from.iter().map(|path| here(path)).collect::<Result<_, _>>()?;
            copy_in(client, &place, &from, to).await?;
        }
        None => {
            for path in from {
                let path = path.strip_prefix(':').ok_or_else(sides)?;
                copy_out(client, &place, path, Path::new(to)).await?;
            }
        }
    }
    client.output.status(format!("Copied to {to}."));
    client.output.result(&serde_json::json!({ "copied": from, "to": to }), || Ok(String::new()))
}

fn sides() -> Error {
    Error::usage("one side must be in the replica, with a colon in front: `gigalixir cp FILE :/tmp/` or `cp :FILE .`")
}

fn here(path: &str) -> Result<PathBuf, Error> {
    if path.starts_with(':') { Err(sides()) } else { Ok(PathBuf::from(path)) }
}

async fn begin(
    client: &Client,
    place: &(String, Option<String>),
    script: &str,
    args: [&str; 2],
) -> Result<(Mouth, Ear), Error> {
    let command = ["sh", "-c", script, "copy", args[0], args[1]].map(str::to_owned).to_vec();
    console::open(client, &place.0, &Exec { command, replica: place.1.clone(), terminal: None }).await
}

/// The last part of a path that has a name.
fn name_of(path: &Path) -> Result<String, Error> {
    let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    name.ok_or_else(|| Error::usage(format!("`{}` does not end in a name", path.display())))
}

async fn copy_out(client: &Client, place: &(String, Option<String>), from: &str, to: &Path) -> Result<(), Error> {
    let from = Path::new(from);
    let name = name_of(from)?;
    let folder = from.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (mouth, mut ear) = begin(client, place, PACK, [&folder.to_string_lossy(), &name]).await?;
    let target = if to.is_dir() { to.join(&name) } else { to.to_owned() };
    let beside = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error: io::Error| Error::io(format_args!("could not write {}", target.display()), &error);
    let unpacked = tempfile::tempdir_in(beside).map_err(failed)?;
    let (mut into, archive) = tokio::io::duplex(PIECE);
    let folder = unpacked.path().to_owned();
    let unpacking = tokio::task::spawn_blocking(move || {
        let mut archive = SyncIoBridge::new(archive);
        tar::Archive::new(&mut archive).unpack(folder)?;
        // What pads the archive is read as well, so that who sends it is not held up.
        io::copy(&mut archive, &mut io::sink()).map(drop)
    });
    let told = attend(&mut ear, Some(&mut into)).await;
    drop(into);
    drop(mouth);
    finish(told?)?;
    unpacking.await.map_err(io::Error::other).and_then(|done| done).map_err(failed)?;
    std::fs::rename(unpacked.path().join(&name), &target).map_err(failed)
}

async fn copy_in(client: &Client, place: &(String, Option<String>), from: &[PathBuf], to: &str) -> Result<(), Error> {
    let names: Vec<String> = from.iter().map(|path| name_of(path)).collect::<Result<_, _>>()?;
    for path in from {
        path.symlink_metadata()
            .map_err(|error| Error::io(format_args!("could not read {}", path.display()), &error))?;
    }
    let only = if let [name] = &names[..] { name } else { "" };
    let to = if to.is_empty() { "." } else { to };
    let (mut mouth, mut ear) = begin(client, place, UNPACK, [to, only]).await?;
    let (archive, mut out) = tokio::io::duplex(PIECE);
    let sources: Vec<_> = from.iter().cloned().zip(names.iter().cloned()).collect();
    let packing = tokio::task::spawn_blocking(move || pack(archive, &sources));
    let send = async {
        let mut piece = vec![0; PIECE];
        loop {
            tokio::select! {
                read = out.read(&mut piece) => match read {
                    Ok(count @ 1..) => mouth.data(&piece[..count]).await?,
                    _ => break,
                },
                () = mouth.time_to_ping() => mouth.ping().await?,
            }
        }
        let packed = packing.await.map_err(io::Error::other).and_then(|done| done);
        packed.map_err(|error| Error::io("could not read what is to be copied", &error))?;
        mouth.say(&Typed::Eof).await?;
        loop {
            mouth.time_to_ping().await;
            mouth.ping().await?;
        }
    };
    let told = tokio::select! {
        told = attend(&mut ear, None) => told,
        failed = send => failed,
    };
    finish(told?)
}

/// The end of the program over there. Its code says nothing that a code of ours means.
fn finish(told: Told) -> Result<(), Error> {
    match told {
        Told::Exited(code @ 1..) => {
            Err(Error::failed(format!("nothing was copied: tar in the replica ended with code {code}")))
        }
        other => console::finish(other),
    }
}

fn pack(into: DuplexStream, sources: &[(PathBuf, String)]) -> io::Result<()> {
    let mut archive = tar::Builder::new(SyncIoBridge::new(into));
    archive.follow_symlinks(false);
    for (path, name) in sources {
        if path.symlink_metadata()?.is_dir() {
            archive.append_dir_all(name, path)?;
        } else {
            archive.append_path_with_name(path, name)?;
        }
    }
    let mut bridge = archive.into_inner()?;
    bridge.flush()?;
    bridge.shutdown()
}

/// Hands on what comes, shows complaints, until the last word.
async fn attend(ear: &mut Ear, mut into: Option<&mut DuplexStream>) -> Result<Told, Error> {
    loop {
        match ear.next().await? {
            Some(Heard::Data(bytes)) => match (bytes.split_first(), &mut into) {
                (Some((&ERRORS, text)), _) => drop(io::stderr().write_all(text)),
                // An unpacking that failed reads no more, and says why itself.
                (Some((_, data)), Some(into)) => drop(into.write_all(data).await),
                _ => {}
            },
            Some(Heard::Text(text)) => return console::told(&text),
            None => return Err(console::cut_off()),
        }
    }
}

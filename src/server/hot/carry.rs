//! The new release's files into a replica, beside the old ones.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use tar::EntryType;
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::server::domain::UpgradePlan;
use crate::server::runtime::session::{Command, Ended, Session};
use crate::server::runtime::{Runtime, RuntimeError};

/// What a failing program says is shown up to this.
const SAID: u64 = 2000;
const BUFFER: usize = 256 << 10;

/// What a replica that runs the old release lacks of the new one, as a tar archive on disk.
#[derive(Debug)]
pub struct Bundle(NamedTempFile);

impl Bundle {
    /// Takes from the archive `slug` the applications that differ and the release's own folder. What is booted next
    /// (`releases/start_erl.data`) is not among it.
    pub async fn of(slug: PathBuf, plan: &UpgradePlan) -> io::Result<Self> {
        let libs = plan
            .apps
            .iter()
            .filter_map(|app| Some(Path::new("lib").join(format!("{}-{}", app.name, app.to.as_ref()?))));
        let wanted: Vec<PathBuf> = libs.chain([Path::new("releases").join(&plan.to)]).collect();
        tokio::task::spawn_blocking(move || pick(&slug, &wanted).map(Self)).await.map_err(io::Error::other)?
    }

    /// Unpacks it into the replica's `/app`. Files of an earlier attempt are replaced, nothing else is touched.
    pub async fn carry(&self, runtime: &dyn Runtime, replica: &str) -> Result<(), RuntimeError> {
        let argv = ["tar", "-xf", "-", "-C", "/app", "--no-same-owner"].map(str::to_owned).to_vec();
        let session = runtime.exec(replica, Command { argv, ..Command::default() }).await?;
        let Session { mut input, mut output, errors, control, ended } = session;
        let mut archive = tokio::fs::File::open(self.0.path()).await.map_err(failed)?;
        let write = async {
            // A program that ends early says why.
            let _ = tokio::io::copy(&mut archive, &mut input).await;
            let _ = input.shutdown().await;
            drop(input);
        };
        let rest = async {
            let _ = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
        };
        let errors = async {
            let mut said = Vec::new();
            if let Some(mut errors) = errors {
                let _ = (&mut errors).take(SAID).read_to_end(&mut said).await;
                let _ = tokio::io::copy(&mut errors, &mut tokio::io::sink()).await;
            }
            String::from_utf8_lossy(&said).trim().to_owned()
        };
        let ((), (), said, ended) = tokio::join!(write, rest, errors, ended);
        drop(control);
        match ended {
            Ok(Ended::Exited(0)) => Ok(()),
            _ if said.is_empty() => Err(failed(io::Error::other("tar did not end well"))),
            _ => Err(failed(io::Error::other(said))),
        }
    }
}

fn pick(slug: &Path, wanted: &[PathBuf]) -> io::Result<NamedTempFile> {
    let bundle = NamedTempFile::new()?;
    let mut out = tar::Builder::new(BufWriter::with_capacity(BUFFER, bundle.as_file().try_clone()?));
    let mut archive = tar::Archive::new(GzDecoder::new(BufReader::with_capacity(BUFFER, File::open(slug)?)));
    for entry in archive.entries()? {
        let entry = entry?;
        let path = entry.path()?;
        let path = path.strip_prefix(".").unwrap_or(&path).to_owned();
        if !wanted.iter().any(|folder| path.starts_with(folder)) {
            continue;
        }
        let mut header = entry.header().clone();
        match (header.entry_type(), entry.link_name()?) {
            (EntryType::Symlink | EntryType::Link, Some(target)) => out.append_link(&mut header, &path, target)?,
            _ => out.append_data(&mut header, &path, entry)?,
        }
    }
    out.into_inner()?.flush()?;
    Ok(bundle)
}

fn failed(source: io::Error) -> RuntimeError {
    RuntimeError::Io { context: "bringing the new release into a replica".to_owned(), source }
}

//! The tree of somebody else's repository, for buildpacks. Only http and https; nothing is kept but the files.

use std::path::Path;

use gix::ObjectId;
use gix::progress::Discard;
use gix::remote::fetch::Shallow;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::Limits;
use super::checkout::{Budget, write_commit};
use super::error::reasons;
use super::interrupt::Interrupt;
use super::submodules::{hidden, patient_for, shown};

pub(super) fn fetch(
    url: &Url,
    reference: Option<&str>,
    into: &Path,
    work: &Path,
    limits: &Limits,
) -> Result<(), String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("URLs that begin with `{}:` are not fetched; use https", url.scheme()));
    }
    let folder = tempfile::Builder::new().prefix("remote-").tempdir_in(work).map_err(|error| error.to_string())?;
    let interrupt = Interrupt::within(&CancellationToken::new(), limits.submodule_time);
    let repository = cloned(url, reference, &folder.path().join("bare"), limits, &interrupt)?;
    let commit = repository.head_commit().map_err(|error| reasons(&error))?.id;
    let mut budget = Budget { files: limits.tree_files as u64, bytes: limits.tree_bytes };
    write_commit(&repository, commit, into, &mut budget, &interrupt).map(drop)
}

/// Fetches one commit of the repository, bare, with `HEAD` on it.
fn cloned(
    url: &Url,
    reference: Option<&str>,
    into: &Path,
    limits: &Limits,
    interrupt: &Interrupt,
) -> Result<gix::Repository, String> {
    let told = |error: gix::Error| format!("{} cannot be fetched: {}", shown(url), hidden(url, reasons(&error)));
    let fetch = gix::clone::PrepareFetch::new(
        url.as_str(),
        into,
        gix::create::Kind::Bare,
        gix::create::Options::default(),
        gix::open::Options::isolated(),
    )
    .map_err(told)?;
    let is_commit = reference.is_some_and(|name| ObjectId::from_hex(name.as_bytes()).is_ok());
    let fetch = if is_commit {
        fetch.with_revision(reference.map(str::to_owned)).map_err(told)?
    } else {
        fetch.with_ref_name(reference).map_err(|error| error.to_string())?
    };
    let time = limits.submodule_time;
    let shallow = Shallow::DepthAtRemote(std::num::NonZeroU32::MIN);
    let mut fetch = fetch.with_shallow(shallow).configure_connection(move |connection| {
        connection.set_credentials(|_| Ok(None)).set_transport_options(patient_for(time));
        Ok(())
    });
    let (repository, _) = fetch.fetch_only(Discard, interrupt.flag()).map_err(told)?;
    Ok(repository)
}

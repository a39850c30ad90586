//! Submodules of a pushed commit, fetched into its checkout. Only over http and https, which gix speaks itself: the
//! other transports would start programs or read this machine's files. No credentials are asked for or sent besides
//! those in the URL, which are never shown. Levels, number and time are bounded, loops are found.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gix::ObjectId;
use gix::bstr::ByteSlice;
use gix::progress::Discard;
use gix::protocol::transport::client::blocking_io::http;
use gix::remote::fetch::Shallow;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::checkout::{Budget, Gitlink, Wanted, Written, warn_of_lfs, write_commit};
use super::error::reasons;
use super::interrupt::Interrupt;

/// Fetches all submodules of one checkout.
pub(super) struct Fetcher<'a> {
    wanted: &'a Wanted,
    cancelled: &'a CancellationToken,
    say: &'a dyn Fn(String),
    budget: Budget,
    left: usize,
    /// The URLs and commits from the top to here.
    chain: Vec<(Url, ObjectId)>,
}

impl<'a> Fetcher<'a> {
    pub(super) fn new(
        wanted: &'a Wanted,
        cancelled: &'a CancellationToken,
        say: &'a dyn Fn(String),
        budget: Budget,
    ) -> Self {
        Self { wanted, cancelled, say, budget, left: wanted.limits.submodules, chain: Vec::new() }
    }

    /// Fetches what `written` left empty below `folder`, and what those leave empty in turn.
    pub(super) fn fetch(
        &mut self,
        repository: &gix::Repository,
        commit: ObjectId,
        written: Written,
        folder: &Path,
    ) -> Result<(), String> {
        if written.gitlinks.is_empty() {
            return Ok(());
        }
        let Some(modules) = modules(repository, commit)? else {
            let path = &written.gitlinks[0].path;
            return Err(format!("`{path}` is a submodule, but the commit has no `.gitmodules` that says where from"));
        };
        for Gitlink { path, commit } in written.gitlinks {
            let name = modules.name_by_path(path.as_bstr());
            let raw = name.and_then(|name| modules.config().string_by("submodule", Some(name), "url"));
            let raw = raw.ok_or_else(|| format!("`.gitmodules` has no URL for the submodule `{path}`"))?;
            let place = folder.join(gix::path::from_bstr(path.as_bstr()).map_err(|error| error.to_string())?);
            let explained = |reason: String| format!("submodule `{path}`: {reason}");
            let url = self.url(&raw.to_str_lossy()).map_err(explained)?;
            self.enter(&url, commit).map_err(explained)?;
            (self.say)(format!("Fetching submodule `{path}` from {}", shown(&url)));
            self.one(&url, commit, &place).map_err(explained)?;
            self.chain.pop();
        }
        Ok(())
    }

    fn enter(&mut self, url: &Url, commit: ObjectId) -> Result<(), String> {
        let limits = &self.wanted.limits;
        if self.chain.iter().any(|(above, at)| above == url && *at == commit) {
            return Err(format!("{} contains itself", shown(url)));
        }
        if self.chain.len() == limits.submodule_depth {
            return Err(format!("submodules are nested more than {} levels deep", limits.submodule_depth));
        }
        self.left =
            self.left.checked_sub(1).ok_or_else(|| format!("there are more than {} submodules", limits.submodules))?;
        self.chain.push((url.clone(), commit));
        Ok(())
    }

    fn one(&mut self, url: &Url, commit: ObjectId, place: &Path) -> Result<(), String> {
        let clone = tempfile::Builder::new().prefix("submodule-").tempdir_in(&self.wanted.work);
        let clone = clone.map_err(|error| error.to_string())?;
        let interrupt = Interrupt::within(self.cancelled, self.wanted.limits.submodule_time);
        let shallow = Shallow::DepthAtRemote(std::num::NonZeroU32::MIN);
        let repository = self
            .cloned(url, commit, &clone.path().join("shallow"), shallow, &interrupt)
            // Not every server serves a part of a history.
            .or_else(|reason| match interrupt.is_raised() {
                true => Err(reason),
                false => self.cloned(url, commit, &clone.path().join("whole"), Shallow::NoChange, &interrupt),
            })?;
        std::fs::create_dir_all(place).map_err(|error| error.to_string())?;
        let written = write_commit(&repository, commit, place, &mut self.budget, &interrupt)?;
        warn_of_lfs(&written.lfs, self.say);
        self.fetch(&repository, commit, written, place)
    }

    /// Fetches the one commit, bare.
    fn cloned(
        &self,
        url: &Url,
        commit: ObjectId,
        into: &Path,
        shallow: Shallow,
        interrupt: &Interrupt,
    ) -> Result<gix::Repository, String> {
        let told = |error: gix::Error| match interrupt.is_raised() && !self.cancelled.is_cancelled() {
            true => format!("{} took longer than {:?}", shown(url), self.wanted.limits.submodule_time),
            false => format!("{} cannot be fetched: {}", shown(url), hidden(url, reasons(&error))),
        };
        let mut fetch = gix::clone::PrepareFetch::new(
            url.as_str(),
            into,
            gix::create::Kind::Bare,
            gix::create::Options::default(),
            gix::open::Options::isolated(),
        )
        .and_then(|fetch| fetch.with_revision(Some(commit.to_string())))
        .map_err(told)?
        .with_shallow(shallow)
        .configure_connection({
            let time = self.wanted.limits.submodule_time;
            move |connection| {
                connection.set_credentials(|_| Ok(None)).set_transport_options(patient_for(time));
                Ok(())
            }
        });
        let (repository, _) = fetch.fetch_only(Discard, interrupt.flag()).map_err(told)?;
        Ok(repository)
    }

    /// The absolute URL to fetch from.
    fn url(&self, raw: &str) -> Result<Url, String> {
        let relative = raw.starts_with("./") || raw.starts_with("../");
        let url = match (relative, self.chain.last(), &self.wanted.limits.submodule_base) {
            (false, ..) => Url::parse(raw).map_err(|_| "its URL is none that can be fetched; use https".to_owned())?,
            (true, Some((above, _)), _) => joined(above, raw)?,
            (true, None, Some(base)) => joined(&joined(base, &format!("./{}", self.wanted.app))?, raw)?,
            (true, None, None) => {
                return Err(format!("the URL `{raw}` is relative, and this server does not know to what; use https"));
            }
        };
        match url.scheme() {
            "http" | "https" => Ok(url),
            other => Err(format!("URLs that begin with `{other}:` are not fetched; use https")),
        }
    }
}

/// How long to wait for a single byte: gix looks at its flag only between two of them.
pub(super) fn patient_for(time: Duration) -> Box<dyn std::any::Any> {
    let client = http::reqwest::Options {
        configure_client: Some(Box::new(move |client| Ok(client.timeout(time)))),
        ..http::reqwest::Options::default()
    };
    Box::new(http::Options { backend: Some(Arc::new(Mutex::new(client))), ..http::Options::default() })
}

/// What is relative is so to the URL as to a folder (gitmodules).
fn joined(base: &Url, relative: &str) -> Result<Url, String> {
    let mut folder = base.clone();
    folder.set_path(&format!("{}/", base.path().trim_end_matches('/')));
    folder.join(relative).map_err(|error| format!("the URL `{relative}` cannot be resolved: {error}"))
}

/// A URL without what may be secret.
pub(super) fn shown(url: &Url) -> Url {
    let mut shown = url.clone();
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown
}

/// An error's text without the URL's secrets.
pub(super) fn hidden(url: &Url, text: String) -> String {
    let mut text = text.replace(url.as_str(), shown(url).as_str());
    if let Some(password) = url.password() {
        text = text.replace(password, "***");
    }
    text
}

fn modules(repository: &gix::Repository, commit: ObjectId) -> Result<Option<gix::submodule::File>, String> {
    let told = |error: gix::Error| reasons(&error);
    let tree = repository.find_commit(commit).and_then(|commit| commit.tree()).map_err(told)?;
    let Some(entry) = tree.find_entry(".gitmodules") else { return Ok(None) };
    if !entry.mode().is_blob() {
        return Err("`.gitmodules` is not a file".to_owned());
    }
    let blob = entry.object().map_err(told)?;
    let config = repository.config_snapshot();
    gix::submodule::File::from_bytes(&blob.data, None, &config)
        .map(Some)
        .map_err(|error| format!("`.gitmodules` cannot be read: {}", reasons(&error)))
}

//! A commit's tree as files for the builder. Nothing is ever written outside the folder, nor through a link: names
//! are checked before anything is written, files are made only where nothing is, and links are made last.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gix::ObjectId;
use gix::bstr::BString;
use gix::index::entry::Mode;
use gix::progress::Discard;
use gix::worktree::stack::state::attributes::Source;

use super::error::{ReceiverError, reasons};
use super::intake::Intake;
use super::interrupt::Interrupt;
use super::{Limits, attributes, blocking, submodules, tree_rules};
use crate::server::domain::AppName;
use crate::server::progress::Progress;

/// The source of a push: a folder of its own, gone when this is dropped, and the way to make the objects durable.
#[derive(Debug)]
pub struct Checkout {
    path: PathBuf,
    folder: Option<tempfile::TempDir>,
    intake: Arc<Intake>,
}

impl Drop for Checkout {
    /// A built tree has many files: they are removed where blocking is allowed.
    fn drop(&mut self) {
        let folder = self.folder.take();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || drop(folder));
        }
    }
}

impl Checkout {
    /// The checked-out tree; the builder may change it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the push's objects part of the repository, durably, so that the ref can be moved even after a restart
    /// ([`super::Receiver::move_ref`]). Idempotent. To be called before the deploy's commit point.
    pub async fn promote(&self) -> Result<(), ReceiverError> {
        let intake = Arc::clone(&self.intake);
        blocking(move || intake.promote()).await
    }
}

/// What to check out.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) app: AppName,
    pub(super) commit: ObjectId,
    pub(super) work: PathBuf,
    pub(super) limits: Limits,
}

/// What a checkout may still write.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// A submodule's place and commit.
#[derive(Debug, Clone)]
pub(super) struct Gitlink {
    pub(super) path: BString,
    pub(super) commit: ObjectId,
}

/// What a tree held besides its files.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) gitlinks: Vec<Gitlink>,
    pub(super) lfs: Vec<BString>,
}

/// Checks the commit and its submodules out. The error is a sentence for the pusher.
pub(super) async fn prepare(wanted: Wanted, intake: Arc<Intake>, progress: &Progress) -> Result<Checkout, String> {
    let interrupt = Interrupt::on(progress.cancelled());
    let runtime = tokio::runtime::Handle::current();
    let told = progress.clone();
    tokio::task::spawn_blocking(move || {
        let say = |text: String| runtime.block_on(told.line(text));
        let folder = tempfile::Builder::new().prefix("checkout-").tempdir_in(&wanted.work);
        let folder = folder.map_err(|error| format!("cannot make a folder to check out into: {error}"))?;
        let repository = intake.repository().map_err(|error| error.to_string())?;
        let mut budget = Budget { files: wanted.limits.tree_files as u64, bytes: wanted.limits.tree_bytes };
        let written = write_commit(&repository, wanted.commit, folder.path(), &mut budget, &interrupt)?;
        warn_of_lfs(&written.lfs, &say);
        submodules::Fetcher::new(&wanted, told.cancelled(), &say, budget).fetch(
            &repository,
            wanted.commit,
            written,
            folder.path(),
        )?;
        Ok(Checkout { path: folder.path().to_owned(), folder: Some(folder), intake })
    })
    .await
    .map_err(|error| format!("the checkout ended unexpectedly: {error}"))?
}

/// Says what is missing from the build.
pub(super) fn warn_of_lfs(lfs: &[BString], say: &dyn Fn(String)) {
    if let Some(first) = lfs.first() {
        let count = lfs.len();
        say(format!(
            "Warning: {count} file(s), `{first}` the first, are Git LFS pointers; their contents are not here."
        ));
    }
}

/// Writes a commit's tree into an empty folder.
pub(super) fn write_commit(
    repository: &gix::Repository,
    commit: ObjectId,
    into: &Path,
    budget: &mut Budget,
    interrupt: &Interrupt,
) -> Result<Written, String> {
    let told = |error: gix::Error| reasons(&error);
    let tree = repository.find_commit(commit).and_then(|commit| Ok(commit.tree_id()?.detach())).map_err(told)?;
    spend(budget, tree_rules::measure(repository, tree)?)?;
    let mut index = repository.index_from_tree(&tree).map_err(told)?;
    let marked = attributes::read(repository, &index).map_err(|error| error.to_string())?;
    let mut left_out = marked.left_out.iter();
    index.remove_entries(|_, _, _| left_out.next().copied().unwrap_or(false));
    let gitlinks = index.entries().iter().filter(|entry| entry.mode == Mode::COMMIT);
    let gitlinks = gitlinks.map(|entry| Gitlink { path: entry.path(&index).to_owned(), commit: entry.id }).collect();
    let mut options = repository.checkout_options(Source::IdMapping).map_err(told)?;
    options.destination_is_initially_empty = true;
    let objects = repository.objects.clone().into_arc().map_err(|error| error.to_string())?;
    let outcome =
        gix::worktree::state::checkout(&mut index, into, objects, &Discard, &Discard, interrupt.flag(), options)
            .map_err(told)?;
    if interrupt.is_raised() {
        return Err("cancelled".to_owned());
    }
    if let Some(collision) = outcome.collisions.first() {
        return Err(format!("`{}` and another path are the same file on this machine", collision.path));
    }
    if let Some(error) = outcome.errors.first() {
        return Err(format!("`{}` cannot be checked out: {}", error.path, reasons(&error.error)));
    }
    Ok(Written { gitlinks, lfs: marked.lfs })
}

fn spend(budget: &mut Budget, measure: tree_rules::Measure) -> Result<(), String> {
    let refusal = |what: &str| format!("the tree with its submodules has too many {what} to be checked out");
    budget.files = budget.files.checked_sub(measure.files).ok_or_else(|| refusal("files"))?;
    budget.bytes = budget.bytes.checked_sub(measure.bytes).ok_or_else(|| refusal("bytes"))?;
    Ok(())
}

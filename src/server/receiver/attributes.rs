//! What `.gitattributes` say about a tree's files that matters to a checkout: `export-ignore`, and Git LFS.

use gix::bstr::{BStr, BString, ByteSlice};
use gix::index::State;
use gix::index::entry::Mode;
use gix::worktree::stack::state::attributes::Source;

use super::error::ReceiverError;

/// Each file's attributes in the order of the index.
#[derive(Debug, Default)]
pub(super) struct Marked {
    /// Left out of the checkout, by index entry.
    pub(super) left_out: Vec<bool>,
    /// Kept elsewhere by Git LFS: what is in the tree is a pointer.
    pub(super) lfs: Vec<BString>,
}

/// Reads the attributes of every file of `index`.
pub(super) fn read(repository: &gix::Repository, index: &State) -> Result<Marked, ReceiverError> {
    let mut stack = repository.attributes_only(index, Source::IdMapping)?;
    let mut matches = stack.selected_attribute_matches(["export-ignore", "filter"]);
    let mut folders = Folders::default();
    let mut marked = Marked::default();
    for entry in index.entries() {
        let path = entry.path(index);
        let mut ignored = folders.enter(path, |folder| {
            stack.at_entry(folder, Some(Mode::DIR))?.matching_attributes(&mut matches);
            Ok::<_, ReceiverError>(is_export_ignored(&matches))
        })?;
        stack.at_entry(path, Some(entry.mode))?.matching_attributes(&mut matches);
        ignored |= is_export_ignored(&matches);
        if !ignored && is_lfs(&matches) && is_pointer(repository, entry) {
            marked.lfs.push(path.to_owned());
        }
        marked.left_out.push(ignored);
    }
    Ok(marked)
}

fn is_export_ignored(matches: &gix::attrs::search::Outcome) -> bool {
    matches.iter_selected().any(|found| {
        found.assignment.name.as_str() == "export-ignore" && found.assignment.state == gix::attrs::StateRef::Set
    })
}

fn is_lfs(matches: &gix::attrs::search::Outcome) -> bool {
    matches.iter_selected().any(|found| {
        found.assignment.name.as_str() == "filter"
            && found.assignment.state.as_bstr().is_some_and(|value| value == "lfs")
    })
}

/// A pointer is a small text file (git-lfs specification); anything else was committed around LFS and is complete.
fn is_pointer(repository: &gix::Repository, entry: &gix::index::Entry) -> bool {
    let small = repository.find_header(entry.id).is_ok_and(|header| header.size() < 1024);
    small
        && repository
            .find_object(entry.id)
            .is_ok_and(|blob| blob.data.starts_with(b"version https://git-lfs.github.com/"))
}

/// The folders above the current path and whether each is left out, so that each is asked about once.
#[derive(Debug, Default)]
struct Folders {
    open: Vec<(BString, bool)>,
}

impl Folders {
    /// Whether a folder above `path` is left out.
    fn enter<E>(&mut self, path: &BStr, mut ask: impl FnMut(&BStr) -> Result<bool, E>) -> Result<bool, E> {
        self.open
            .retain(|(folder, _)| path.strip_prefix(folder.as_slice()).is_some_and(|rest| rest.first() == Some(&b'/')));
        let known = self.open.last().map_or(0, |(folder, _)| folder.len() + 1);
        for at in (known..path.len()).filter(|at| path[*at] == b'/') {
            let folder = path[..at].as_bstr();
            let ignored = self.open.last().is_some_and(|(_, ignored)| *ignored) || ask(folder)?;
            self.open.push((folder.to_owned(), ignored));
        }
        Ok(self.open.last().is_some_and(|(_, ignored)| *ignored))
    }
}

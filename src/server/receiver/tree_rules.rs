//! What a tree may look like to be checked out, found out before a single file is written. Trees are shared, so a few
//! kilobytes of them can stand for billions of files: each is looked at once, and the sums are taken from there.

use std::collections::{HashMap, HashSet};

use gix::ObjectId;
use gix::bstr::{BStr, BString, ByteSlice};
use gix::objs::TreeRefIter;
use gix::objs::tree::EntryMode;

use super::error::reasons;

/// Levels of folders.
const DEPTH: usize = 100;
/// A path from the top; the system takes 4096 with the checkout's own folder before it.
const PATH_BYTES: usize = 3000;
/// A name, the most that file systems take.
const NAME_BYTES: usize = 255;

/// What is below a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Measure {
    /// Files and links.
    pub(super) files: u64,
    /// Their sizes as git has them.
    pub(super) bytes: u64,
    depth: usize,
    longest: usize,
}

/// Measures a tree. The error is a sentence for the pusher.
pub(super) fn measure(repository: &gix::Repository, tree: ObjectId) -> Result<Measure, String> {
    let mut rules = Rules { repository, trees: HashMap::new(), sizes: HashMap::new() };
    let measure = rules.tree(tree, &mut Vec::new())?;
    if measure.longest > PATH_BYTES {
        return Err(format!("a path in the tree is longer than {PATH_BYTES} bytes"));
    }
    Ok(measure)
}

struct Rules<'a> {
    repository: &'a gix::Repository,
    trees: HashMap<ObjectId, Measure>,
    sizes: HashMap<ObjectId, u64>,
}

struct Named {
    name: BString,
    mode: EntryMode,
    id: ObjectId,
}

impl Rules<'_> {
    /// `place` is where we are, for sentences.
    fn tree(&mut self, id: ObjectId, place: &mut Vec<BString>) -> Result<Measure, String> {
        if let Some(measure) = self.trees.get(&id) {
            return Ok(*measure);
        }
        if place.len() > DEPTH {
            return Err(format!("the tree has more than {DEPTH} levels of folders"));
        }
        let mut sum = Measure::default();
        for Named { name, mode, id } in self.entries(id, place)? {
            let below = if mode.is_tree() {
                place.push(name.clone());
                let below = self.tree(id, place)?;
                place.pop();
                below
            } else if mode.is_commit() {
                Measure::default()
            } else {
                Measure { files: 1, bytes: self.size(id)?, ..Measure::default() }
            };
            sum.files = sum.files.saturating_add(below.files);
            sum.bytes = sum.bytes.saturating_add(below.bytes);
            sum.depth = sum.depth.max(below.depth + 1);
            sum.longest = sum.longest.max(below.longest + name.len() + 1);
        }
        if sum.depth > DEPTH {
            return Err(format!("the tree has more than {DEPTH} levels of folders"));
        }
        self.trees.insert(id, sum);
        Ok(sum)
    }

    fn entries(&self, id: ObjectId, place: &[BString]) -> Result<Vec<Named>, String> {
        let tree = self.repository.find_tree(id).map_err(|error| reasons(&error))?;
        let (mut names, mut entries) = (HashSet::new(), Vec::new());
        for entry in TreeRefIter::from_bytes(&tree.data, gix::hash::Kind::Sha1) {
            let entry = entry.map_err(|error| format!("tree {id} is broken: {error}"))?;
            check_name(entry.filename, entry.mode)
                .map_err(|why| format!("`{}` {why}", shown(place, entry.filename)))?;
            if !names.insert(entry.filename.to_owned()) {
                return Err(format!("`{}` is in its folder twice", shown(place, entry.filename)));
            }
            let (name, mode, id) = (entry.filename.to_owned(), entry.mode, entry.oid.to_owned());
            entries.push(Named { name, mode, id });
        }
        Ok(entries)
    }

    fn size(&mut self, id: ObjectId) -> Result<u64, String> {
        if let Some(size) = self.sizes.get(&id) {
            return Ok(*size);
        }
        let size = self.repository.find_header(id).map_err(|error| reasons(&error))?.size();
        self.sizes.insert(id, size);
        Ok(size)
    }
}

fn shown(place: &[BString], name: &BStr) -> String {
    let mut path = place.iter().map(|part| part.to_str_lossy().into_owned() + "/").collect::<String>();
    path.push_str(&name.to_str_lossy());
    path.escape_debug().collect()
}

/// Names that lead out of the folder, or that git takes for its own on any system.
fn check_name(name: &BStr, mode: EntryMode) -> Result<(), String> {
    if name.len() > NAME_BYTES {
        return Err(format!("is longer than {NAME_BYTES} bytes"));
    }
    let options =
        gix::validate::path::component::Options { protect_windows: false, protect_hfs: true, protect_ntfs: true };
    let link = mode.is_link().then_some(gix::validate::path::component::Mode::Symlink);
    gix::validate::path::component(name, link, options)
        .map(|_| ())
        .map_err(|error| format!("is a name that is not checked out: {error}"))
}

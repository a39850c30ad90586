//! Which objects are reachable from which: the one question behind the connectivity check, fetches and repacking.

use gix::ObjectId;
use gix::hashtable::HashSet;
use gix::objs::{CommitRefIter, Find, Kind, TagRefIter, TreeRefIter};

use super::error::{ReceiverError, reasons};

/// Why a walk ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum WalkError {
    /// Something reachable is not there.
    #[error("object {0} is missing")]
    Missing(ObjectId),
    /// An object is not what it should be.
    #[error("object {0} is broken: {1}")]
    Broken(ObjectId, String),
    /// Somebody asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl From<WalkError> for ReceiverError {
    fn from(error: WalkError) -> Self {
        Self::Git(error.to_string())
    }
}

/// Every object reachable from `tips`, each once, parents before what they need. `enter` is asked once about each
/// object: false leaves it, and what only it reaches, out. Commits named by trees (submodules) are left out.
pub(super) fn walk(
    objects: &impl Find,
    tips: impl IntoIterator<Item = ObjectId>,
    mut enter: impl FnMut(&ObjectId) -> Result<bool, WalkError>,
) -> Result<Vec<ObjectId>, WalkError> {
    let (mut seen, mut found, mut buffer) = (HashSet::<ObjectId>::default(), Vec::new(), Vec::new());
    let mut open: Vec<Link> = Vec::new();
    for id in tips {
        if seen.insert(id) && enter(&id)? {
            open.push(Link { id, leaf: false });
        }
    }
    while let Some(Link { id, leaf }) = open.pop() {
        found.push(id);
        if leaf {
            continue;
        }
        for_each_link(objects, id, &mut buffer, |link| {
            if seen.insert(link.id) && enter(&link.id)? {
                open.push(link);
            }
            Ok(())
        })?;
    }
    Ok(found)
}

/// The commits reachable from `tips` (tags are followed, trees are not).
pub(super) fn commits(
    objects: &impl Find,
    tips: impl IntoIterator<Item = ObjectId>,
) -> Result<HashSet<ObjectId>, WalkError> {
    let mut seen = HashSet::<ObjectId>::default();
    let mut open: Vec<ObjectId> = tips.into_iter().collect();
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            open.extend(nearest(objects, id)?);
        }
    }
    Ok(seen)
}

/// A commit's parents, or what a tag is of; nothing for other objects.
pub(super) fn nearest(objects: &impl Find, id: ObjectId) -> Result<Vec<ObjectId>, WalkError> {
    let mut buffer = Vec::new();
    let object = find(objects, id, &mut buffer)?;
    Ok(match object.kind {
        Kind::Commit => CommitRefIter::from_bytes(object.data, object.object_hash).parent_ids().collect(),
        Kind::Tag => {
            let target = TagRefIter::from_bytes(object.data, object.object_hash).target_id();
            vec![target.map_err(|error| WalkError::Broken(id, reasons(&error)))?]
        }
        Kind::Tree | Kind::Blob => Vec::new(),
    })
}

/// A reference from one object to another; a leaf (a blob) refers to nothing.
#[derive(Debug, Clone, Copy)]
struct Link {
    id: ObjectId,
    leaf: bool,
}

fn find<'a>(objects: &impl Find, id: ObjectId, buffer: &'a mut Vec<u8>) -> Result<gix::objs::Data<'a>, WalkError> {
    match objects.try_find(&id, buffer) {
        Ok(Some(object)) => Ok(object),
        Ok(None) => Err(WalkError::Missing(id)),
        Err(error) => Err(WalkError::Broken(id, reasons(&error))),
    }
}

fn for_each_link(
    objects: &impl Find,
    id: ObjectId,
    buffer: &mut Vec<u8>,
    mut link: impl FnMut(Link) -> Result<(), WalkError>,
) -> Result<(), WalkError> {
    let object = find(objects, id, buffer)?;
    let broken = |error: gix::Error| WalkError::Broken(id, reasons(&error));
    match object.kind {
        Kind::Blob => {}
        Kind::Commit => {
            let mut commit = CommitRefIter::from_bytes(object.data, object.object_hash);
            let tree = commit.tree_id().map_err(broken)?;
            for parent in CommitRefIter::from_bytes(object.data, object.object_hash).parent_ids() {
                link(Link { id: parent, leaf: false })?;
            }
            link(Link { id: tree, leaf: false })?;
        }
        Kind::Tree => {
            for entry in TreeRefIter::from_bytes(object.data, object.object_hash) {
                let entry = entry.map_err(broken)?;
                if !entry.mode.is_commit() {
                    link(Link { id: entry.oid.to_owned(), leaf: !entry.mode.is_tree() })?;
                }
            }
        }
        Kind::Tag => {
            let target = TagRefIter::from_bytes(object.data, object.object_hash).target_id();
            link(Link { id: target.map_err(broken)?, leaf: false })?;
        }
    }
    Ok(())
}

//! The `fetch` command of protocol v2 (gitprotocol-v2): what the client wants, what it has, and so what it needs.

use gix::ObjectId;
use gix::hashtable::{HashMap, HashSet};
use gix::objs::{CommitRefIter, Exists, Find, Kind};

use super::protocol::{self, Wrong};
use super::walk::{WalkError, commits, nearest, walk};

/// What is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) wants: Vec<ObjectId>,
    pub(super) haves: Vec<ObjectId>,
    pub(super) done: bool,
    pub(super) quiet: bool,
    include_tag: bool,
}

impl Request {
    /// Takes one argument line.
    pub(super) fn argument(&mut self, line: &str) -> Result<(), Wrong> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "want" => self.wants.push(protocol::object_id(rest.as_bytes())?),
            "have" => self.haves.push(protocol::object_id(rest.as_bytes())?),
            "done" => self.done = true,
            "no-progress" => self.quiet = true,
            "include-tag" => self.include_tag = true,
            // Both allow what is never made use of, respectively done.
            "thin-pack" | "ofs-delta" => {}
            "shallow" | "deepen" | "deepen-since" | "deepen-not" | "deepen-relative" => {
                return Err("this server does not serve shallow clones; clone without --depth".into());
            }
            other => return Err(format!("`{}` is not served", other.escape_debug())),
        }
        Ok(())
    }
}

/// What both sides have, and whether that is enough to make a pack.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Common {
    pub(super) commits: Vec<ObjectId>,
    /// Every want descends from something common.
    pub(super) ready: bool,
}

/// Compares what the client has with what is here.
pub(super) fn common(repository: &gix::Repository, request: &Request) -> Result<Common, WalkError> {
    let shared: Vec<_> = request.haves.iter().copied().filter(|id| repository.objects.exists(id)).collect();
    if shared.is_empty() {
        return Ok(Common { commits: shared, ready: false });
    }
    let known: HashSet<ObjectId> = shared.iter().copied().collect();
    let descendants = descendants(repository, &request.wants, &known)?;
    let ready = request.wants.iter().all(|want| descendants.contains(want));
    Ok(Common { commits: shared, ready })
}

/// What lies between `tips` and `known`, both included: the commits that descend from something known.
fn descendants(
    repository: &gix::Repository,
    tips: &[ObjectId],
    known: &HashSet<ObjectId>,
) -> Result<HashSet<ObjectId>, WalkError> {
    let mut children: HashMap<ObjectId, Vec<ObjectId>> = HashMap::default();
    let (mut seen, mut open) = (HashSet::<ObjectId>::default(), tips.to_vec());
    while let Some(id) = open.pop() {
        if known.contains(&id) || !seen.insert(id) {
            continue;
        }
        for parent in nearest(&repository.objects, id)? {
            children.entry(parent).or_default().push(id);
            open.push(parent);
        }
    }
    let (mut found, mut open) = (HashSet::<ObjectId>::default(), known.iter().copied().collect::<Vec<_>>());
    while let Some(id) = open.pop() {
        if found.insert(id) {
            open.extend(children.get(&id).into_iter().flatten());
        }
    }
    Ok(found)
}

/// The objects that the client lacks: all that is reachable from the wants, less what its commits hold.
pub(super) fn needed(
    repository: &gix::Repository,
    request: &Request,
    common: &[ObjectId],
) -> Result<Vec<ObjectId>, WalkError> {
    let objects = &repository.objects;
    let mut known = commits(objects, common.iter().copied())?;
    let fresh = commits(objects, request.wants.iter().copied())?;
    for edge in edges(objects, &fresh, &known)? {
        // Trees and files of the commits at the edge: most of a new commit's are among them.
        let tree = tree_of(objects, edge)?;
        known.extend(walk(objects, tree, |id| Ok(!known.contains(id)))?);
    }
    let mut tips = request.wants.clone();
    if request.include_tag {
        tips.extend(tags_of(repository, &fresh, &known));
    }
    walk(objects, tips, |id| Ok(!known.contains(id)))
}

/// Known commits that a fresh one is a child of.
fn edges(
    objects: &impl Find,
    fresh: &HashSet<ObjectId>,
    known: &HashSet<ObjectId>,
) -> Result<HashSet<ObjectId>, WalkError> {
    let mut edges = HashSet::default();
    for id in fresh.iter().filter(|id| !known.contains(*id)) {
        edges.extend(nearest(objects, *id)?.into_iter().filter(|parent| known.contains(parent)));
    }
    Ok(edges)
}

/// A commit's tree; other objects have none.
fn tree_of(objects: &impl Find, commit: ObjectId) -> Result<Option<ObjectId>, WalkError> {
    let mut buffer = Vec::new();
    let broken = |reason: String| WalkError::Broken(commit, reason);
    let object = objects.try_find(&commit, &mut buffer).map_err(|error| broken(super::error::reasons(&error)))?;
    let object = object.ok_or(WalkError::Missing(commit))?;
    if object.kind != Kind::Commit {
        return Ok(None);
    }
    let tree = CommitRefIter::from_bytes(object.data, object.object_hash).tree_id();
    tree.map(Some).map_err(|error| broken(error.to_string()))
}

/// Annotated tags of commits that are sent, so that the client need not come again for them.
fn tags_of(repository: &gix::Repository, fresh: &HashSet<ObjectId>, known: &HashSet<ObjectId>) -> Vec<ObjectId> {
    let Ok(refs) = super::refs::snapshot(repository) else { return Vec::new() };
    let tags = refs.into_iter().filter(|(name, _)| name.starts_with("refs/tags/")).map(|(_, id)| id);
    tags.filter(|id| {
        let Ok(object) = repository.find_object(*id) else { return false };
        object.kind == Kind::Tag
            && object.peel_tags_to_end().is_ok_and(|end| fresh.contains(&end.id) && !known.contains(&end.id))
    })
    .collect()
}

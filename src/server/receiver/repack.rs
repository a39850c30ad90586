//! Many packs into one, in the background. What is reachable goes into one new pack; what is not, but is younger than
//! the grace, into another, with all that it needs. Old packs go only when every object that any ref reaches is known
//! to lie in what stays. A kill at any point leaves packs too many, never objects too few.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufReader, BufWriter, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use gix::ObjectId;
use gix::hash::Kind;
use gix::hashtable::HashSet;
use gix::objs::Exists;
use gix_pack::index;

use super::error::ReceiverError;
use super::quarantine::Quarantine;
use super::walk::{WalkError, walk};
use super::{Receiver, Room, blocking, pack_writer, refs, repository, sync_folder};
use crate::server::domain::AppName;

/// Beside a pack: its objects were unreachable when it was made; its age is theirs.
pub(super) const UNREACHABLE: &str = "unreachable";

/// Starts a repack if there are too many packs and none is at work.
pub(super) fn when_due(receiver: &Arc<Receiver>, app: &AppName) {
    let (receiver, app) = (Arc::clone(receiver), app.clone());
    tokio::spawn(async move {
        if let Err(error) = run(&receiver, &app).await {
            tracing::warn!(app.name = %app, error = super::error::reasons(&error), "A repository could not be repacked");
        }
    });
}

/// Repacks if due; false if not.
pub(super) async fn run(receiver: &Receiver, app: &AppName) -> Result<bool, ReceiverError> {
    let room = receiver.room(app);
    let Ok(_repack) = room.repack.try_lock() else { return Ok(false) };
    let (path, limits) = (receiver.path(app), receiver.limits.clone());
    let counted = path.clone();
    let old = blocking(move || packs(&counted)).await?;
    if old.iter().filter(|pack| !pack.unreachable).count() <= limits.packs {
        return Ok(false);
    }
    let _place = receiver.packs.take_any().await.map_err(|error| ReceiverError::Git(error.to_string()))?;
    let made = {
        // Nobody else deletes packs while `repack` is held.
        let (path, old, grace, bytes) = (path.clone(), old.clone(), limits.garbage_grace, limits.object_bytes);
        blocking(move || make(&path, &old, grace, bytes)).await?
    };
    retire(&room, path, old, made, limits.garbage_grace).await?;
    tracing::info!(app.name = %app, "Repacked a repository");
    Ok(true)
}

/// A pack's path without extension, and what is to be known of it.
#[derive(Debug, Clone)]
struct Pack {
    path: PathBuf,
    made: SystemTime,
    unreachable: bool,
}

fn packs(path: &Path) -> Result<Vec<Pack>, ReceiverError> {
    let context = || ReceiverError::io("cannot list the packs of a repository");
    let mut packs = Vec::new();
    for entry in fs::read_dir(path.join("objects/pack")).map_err(context())? {
        let path = entry.map_err(context())?.path();
        if path.extension().is_some_and(|extension| extension == "idx") {
            let made = fs::metadata(&path).and_then(|metadata| metadata.modified()).map_err(context())?;
            let unreachable = path.with_extension(UNREACHABLE).exists();
            packs.push(Pack { path: path.with_extension(""), made, unreachable });
        }
    }
    Ok(packs)
}

fn tips(repository: &gix::Repository) -> Result<BTreeSet<ObjectId>, ReceiverError> {
    Ok(refs::snapshot(repository)?.into_values().collect())
}

fn is_young(pack: &Pack, grace: Duration) -> bool {
    pack.made.elapsed().is_ok_and(|age| age < grace)
}

/// Writes the new packs; returns their paths without extension.
fn make(path: &Path, old: &[Pack], grace: Duration, object_bytes: usize) -> Result<Vec<PathBuf>, ReceiverError> {
    let repository = repository::open(path)?;
    let reachable = walk(&repository.objects, tips(&repository)?, |_| Ok(true))?;
    let known: HashSet<ObjectId> = reachable.iter().copied().collect();
    let mut young = Vec::new();
    for pack in old.iter().filter(|pack| !pack.unreachable && is_young(pack, grace)) {
        let index = index::File::at(pack.path.with_extension("idx"), Kind::Sha1)?;
        young.extend(index.iter().map(|entry| entry.oid).filter(|id| !known.contains(id)));
    }
    // What an unreachable object needs is kept with it: were it pushed again, it would be taken as complete.
    let kept = walk(&repository.objects, young, |id| Ok(!known.contains(id) && repository.objects.exists(id)))?;
    let mut made = Vec::new();
    for (objects, unreachable) in [(kept, true), (reachable, false)] {
        if !objects.is_empty() {
            made.extend(make_one(path, &repository, objects, unreachable, object_bytes)?);
        }
    }
    Ok(made)
}

fn make_one(
    path: &Path,
    repository: &gix::Repository,
    objects: Vec<ObjectId>,
    unreachable: bool,
    object_bytes: usize,
) -> Result<Option<PathBuf>, ReceiverError> {
    let context = || ReceiverError::io("cannot write a new pack");
    let mut file = tempfile::tempfile_in(path.join("objects")).map_err(context())?;
    pack_writer::write(repository, objects, || (), BufWriter::new(&mut file))?;
    file.seek(SeekFrom::Start(0)).map_err(context())?;
    // The way of a push: indexed and checked apart, then moved in at once.
    let quarantine = Quarantine::new(path)?;
    quarantine.receive(&mut BufReader::new(file), object_bytes, &AtomicBool::new(false)).map_err(ReceiverError::Git)?;
    let Some(made) = quarantine.promote()? else { return Ok(None) };
    if unreachable {
        fs::write(made.with_extension(UNREACHABLE), b"").map_err(context())?;
    }
    Ok(Some(made))
}

/// Deletes the old packs, unless a ref, or a push that has come meanwhile, needs something that only they have.
async fn retire(
    room: &Room,
    path: PathBuf,
    old: Vec<Pack>,
    made: Vec<PathBuf>,
    grace: Duration,
) -> Result<(), ReceiverError> {
    let _alone = room.objects.write().await;
    blocking(move || {
        let stays = |pack: &Pack| made.contains(&pack.path) || (pack.unreachable && is_young(pack, grace));
        let retired: Vec<&Pack> = old.iter().filter(|pack| !stays(pack)).collect();
        let repository = repository::open(&path)?;
        let (mut staying, mut tips) = (Vec::new(), tips(&repository)?);
        for pack in packs(&path)?.iter().filter(|pack| !retired.iter().any(|old| old.path == pack.path)) {
            let index = index::File::at(pack.path.with_extension("idx"), Kind::Sha1)?;
            if !made.contains(&pack.path) && !pack.unreachable {
                tips.extend(index.iter().map(|entry| entry.oid));
            }
            staying.push(index);
        }
        walk(&repository.objects, tips, |id| {
            let is_kept = staying.iter().any(|index| index.lookup(id).is_some());
            if is_kept { Ok(true) } else { Err(WalkError::Missing(*id)) }
        })?;
        delete(&path, &retired).map_err(ReceiverError::io("cannot delete an old pack"))
    })
    .await
}

/// The index first: a pack without one is not seen, and is swept at the next start.
fn delete(path: &Path, packs: &[&Pack]) -> std::io::Result<()> {
    for pack in packs {
        for extension in ["idx", "pack", UNREACHABLE] {
            match fs::remove_file(pack.path.with_extension(extension)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    sync_folder(&path.join("objects/pack"))
}

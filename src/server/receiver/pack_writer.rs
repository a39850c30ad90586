//! Objects out of a repository as a pack: deltas are copied as they lie, nothing is compressed anew unless its base
//! stays behind.

use std::io::Write;

use gix::ObjectId;
use gix::parallel::InOrderIter;
use gix::progress::Discard;
use gix_pack::data::Version;
use gix_pack::data::output::bytes::FromEntriesIter;
use gix_pack::data::output::count::PackLocation;
use gix_pack::data::output::entry::iter_from_counts;
use gix_pack::data::output::{Count, entry};

use super::error::{ReceiverError, reasons};

/// Objects per unit of work; a unit is held in memory until it is written.
const CHUNK: usize = 50;

/// Writes a pack of exactly `objects`, each of which the repository must have. `located` is called when the packs
/// that hold them have been opened and need not stay in place any longer.
pub(super) fn write(
    repository: &gix::Repository,
    objects: Vec<ObjectId>,
    located: impl FnOnce(),
    out: impl Write,
) -> Result<(), ReceiverError> {
    let count = u32::try_from(objects.len()).map_err(|_| ReceiverError::Git("too many objects for a pack".into()))?;
    let counts = objects.into_iter().map(|id| Count { id, entry_pack_location: PackLocation::NotLookedUp }).collect();
    let mut database = repository.objects.clone().into_inner();
    database.prevent_pack_unload();
    let options = entry::iter_from_counts::Options {
        // A thin pack's bases may be unknown to who has asked, as behind a shallow boundary.
        allow_thin_pack: false,
        chunk_size: CHUNK,
        ..entry::iter_from_counts::Options::default()
    };
    let database = database.into_arc().map_err(ReceiverError::io("cannot share the object database"))?;
    let entries = iter_from_counts(counts, database, Box::new(Discard), options)?;
    located();
    let mut missing = None;
    let entries = InOrderIter::from(entries).inspect(|chunk| {
        if let Ok(entries) = chunk {
            missing = missing.or_else(|| entries.iter().find(|entry| entry.is_invalid()).map(|entry| entry.id));
        }
    });
    let pack = FromEntriesIter::new(entries, out, count, Version::V2, gix::hash::Kind::Sha1);
    for written in pack {
        written.map_err(|error| ReceiverError::Git(reasons(&error)))?;
    }
    match missing {
        Some(_) => Err(ReceiverError::Git("an object went missing while a pack was written".into())),
        None => Ok(()),
    }
}

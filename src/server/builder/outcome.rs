//! What a build has made: a release that the packs put into `CACHE/out`, or else the built tree.
//!
//! Everything read here was written by an app's code, whose processes are all gone: nothing changes under us, but
//! nothing is to be believed either.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;
use tar::EntryType;
use tokio_util::sync::CancellationToken;

use super::about::About;
use super::archive::{self, Digesting, Sizes};
use super::error::BuildError;
use super::procfile::{self, Processes};
use super::{BuiltSlug, app_json, tree};
use crate::server::domain::{ProcessType, SchedulePlan, SlugDigest, SlugKind};

/// Bytes of a small file that a pack writes for us.
const MAX_NOTE: u64 = 64 * 1024;

/// Where to look, and where to put the slug.
#[derive(Debug)]
pub(super) struct Made {
    /// The tree as the packs left it.
    pub(super) tree: PathBuf,
    /// The cache.
    pub(super) cache: PathBuf,
    /// The driver's folder.
    pub(super) result: PathBuf,
    /// A file that does not exist yet.
    pub(super) archive: PathBuf,
    /// How large the slug may be.
    pub(super) sizes: Sizes,
}

/// Makes the slug. Blocks.
pub(super) fn collect(made: &Made, cancelled: &CancellationToken) -> Result<BuiltSlug, BuildError> {
    match release_file(&made.cache.join("out"))? {
        Some(file) => release_slug(made, &file),
        None => tree_slug(made, cancelled),
    }
}

/// What `out` may hold from an earlier build.
pub(super) fn forget_release(cache: &Path) -> io::Result<()> {
    let out = cache.join("out");
    match fs::symlink_metadata(&out) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(out),
        Ok(_) => fs::remove_file(out),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn tree_slug(made: &Made, cancelled: &CancellationToken) -> Result<BuiltSlug, BuildError> {
    let read = |name| tree::read(&made.tree, name, procfile::MAX_BYTES).map_err(BuildError::file(name));
    let processes = processes(read("Procfile")?.as_deref(), made)?;
    let kind = if read("mix.exs")?.is_some() { SlugKind::Mix } else { SlugKind::Other };
    let ignored = archive::slugignore(read(".slugignore")?.as_deref())?;
    let (digest, size) = archive::write(&made.tree, &ignored, &made.archive, made.sizes, cancelled)?;
    Ok(BuiltSlug {
        archive: made.archive.clone(),
        digest,
        size,
        kind,
        processes,
        customer_app_name: None,
        customer_app_version: None,
        capabilities: capabilities(made)?,
        schedules: schedules(made)?,
    })
}

fn release_slug(made: &Made, file: &ReleaseFile) -> Result<BuiltSlug, BuildError> {
    let (digest, size, procfile) = inspect(&file.path, made.sizes)?;
    let processes = processes(procfile.as_deref(), made)?;
    let moved = fs::rename(&file.path, &made.archive).or_else(|error| match error.kind() {
        io::ErrorKind::CrossesDevices => fs::copy(&file.path, &made.archive).map(drop),
        _ => Err(error),
    });
    moved.map_err(BuildError::io("taking the release"))?;
    Ok(BuiltSlug {
        archive: made.archive.clone(),
        digest,
        size,
        kind: SlugKind::Release,
        processes,
        customer_app_name: Some(file.app.clone()),
        customer_app_version: Some(file.version.clone()),
        capabilities: capabilities(made)?,
        schedules: schedules(made)?,
    })
}

/// `APP-VERSION.tar.gz`; Erlang's names have no `-`, versions may.
struct ReleaseFile {
    path: PathBuf,
    app: String,
    version: String,
}

fn release_file(out: &Path) -> Result<Option<ReleaseFile>, BuildError> {
    if !fs::symlink_metadata(out).is_ok_and(|metadata| metadata.is_dir()) {
        return Ok(None);
    }
    let names = tree::names(out).map_err(BuildError::io("reading the build's result"))?;
    let mut releases = names.iter().filter_map(|name| Some((name, name.strip_suffix(".tar.gz")?)));
    let Some((name, stem)) = releases.next() else { return Ok(None) };
    if let Some((other, _)) = releases.next() {
        return Err(BuildError::BadResult(format!("it made two releases, `{name}` and `{other}`; one is deployed")));
    }
    let (app, version) = stem.split_once('-').unwrap_or((stem, ""));
    let path = out.join(name);
    if app.is_empty() || version.is_empty() || !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
        return Err(BuildError::BadResult(format!("`{name}` is no file called APP-VERSION.tar.gz")));
    }
    Ok(Some(ReleaseFile { path, app: app.to_owned(), version: version.to_owned() }))
}

/// Reads a release's archive once: its digest, its size, its Procfile; refuses names that lead out, devices and too
/// much of anything.
fn inspect(path: &Path, sizes: Sizes) -> Result<(SlugDigest, u64, Option<String>), BuildError> {
    let io = BuildError::io("reading the release");
    let bad = |error: io::Error| match error.kind() {
        io::ErrorKind::FileTooLarge => BuildError::SlugTooLarge { limit: sizes.packed, unpacked: false },
        _ => BuildError::BadResult(format!("the release's archive is broken: {error}")),
    };
    let packed = BufReader::with_capacity(256 * 1024, Digesting::new(File::open(path).map_err(io)?, sizes.packed));
    let mut tar = tar::Archive::new(MultiGzDecoder::new(packed).take(sizes.unpacked + 1));
    let (mut procfile, mut about) = (None, About::default());
    for entry in tar.entries().map_err(bad)?.raw(true) {
        let mut entry = entry.map_err(bad)?;
        if about.hear(&mut entry).map_err(bad)? {
            continue;
        }
        let name = std::mem::take(&mut about).name(entry.header());
        let plain = matches!(
            entry.header().entry_type(),
            EntryType::Regular | EntryType::Directory | EntryType::Symlink | EntryType::Link
        );
        let inside = name.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !plain || !inside {
            return Err(BuildError::BadResult(format!("`{}` has no place in a release", name.display())));
        }
        if name == Path::new("Procfile") || name == Path::new("./Procfile") {
            let mut text = String::new();
            (&mut entry).take(procfile::MAX_BYTES).read_to_string(&mut text).map_err(BuildError::file("Procfile"))?;
            procfile = Some(text);
        }
    }
    if about != About::default() {
        return Err(bad(io::Error::other("it ends where a file should begin")));
    }
    let mut rest = tar.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(bad)?;
    if rest.limit() == 0 {
        return Err(BuildError::SlugTooLarge { limit: sizes.unpacked, unpacked: true });
    }
    let mut packed = rest.into_inner().into_inner();
    io::copy(&mut packed, &mut io::sink()).map_err(bad)?;
    let (digest, size) = packed.into_inner().digest().map_err(bad)?;
    Ok((digest, size, procfile))
}

/// The Procfile's processes, else those that the last pack named.
fn processes(procfile: Option<&str>, made: &Made) -> Result<Processes, BuildError> {
    let own = procfile::parse(procfile.unwrap_or_default())?;
    if !own.is_empty() {
        return Ok(own);
    }
    let note = tree::read(&made.result, "release", MAX_NOTE).map_err(BuildError::file("bin/release"))?;
    let named = default_processes(note.as_deref().unwrap_or_default())?;
    if named.is_empty() { Err(BuildError::NoProcesses) } else { Ok(named) }
}

fn schedules(made: &Made) -> Result<Vec<SchedulePlan>, BuildError> {
    let text = tree::read(&made.tree, app_json::FILE, app_json::MAX_BYTES).map_err(BuildError::file(app_json::FILE))?;
    app_json::schedules(text.as_deref().unwrap_or("{}"))
        .map_err(|problem| BuildError::BadFile { file: app_json::FILE, problem })
}

/// What `bin/release` prints, as far as it is of use here.
#[derive(Debug, Default, Deserialize)]
struct ReleaseNote {
    default_process_types: Option<BTreeMap<String, String>>,
}

fn default_processes(note: &str) -> Result<Processes, BuildError> {
    let bad = |problem: String| BuildError::BadResult(format!("`bin/release`: {problem}"));
    let note: Option<ReleaseNote> = serde_yaml_ng::from_str(note).map_err(|error| bad(error.to_string()))?;
    let types = note.and_then(|note| note.default_process_types).unwrap_or_default().into_iter();
    let valid = |(name, command): (String, String)| Ok((ProcessType::parse(&name)?, command));
    types.map(valid).collect::<Result<_, crate::server::domain::Invalid>>().map_err(|invalid| bad(invalid.to_string()))
}

fn capabilities(made: &Made) -> Result<serde_json::Value, BuildError> {
    let note = tree::read(&made.cache, "out/capabilities", MAX_NOTE).map_err(BuildError::file("capabilities"))?;
    let empty = || serde_json::Value::Object(serde_json::Map::new());
    note.map_or_else(|| Ok(empty()), |text| serde_json::from_str(&text))
        .map_err(|error| BuildError::BadResult(format!("`capabilities` is no JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_packs_name() {
        let read =
            |note| default_processes(note).map(|p| p.into_iter().map(|(p, c)| format!("{p}={c}")).collect::<Vec<_>>());
        assert_eq!(read("---\ndefault_process_types:\n  web: a: b\n").ok(), None);
        assert_eq!(
            read("---\ndefault_process_types:\n  web: bin/a start\n  x: y\n").unwrap(),
            ["web=bin/a start", "x=y"]
        );
        for nothing in ["", "---", "--- {}", "addons: []\n", "---\ndefault_process_types:\n"] {
            assert!(read(nothing).unwrap().is_empty(), "{nothing}");
        }
        assert!(read("default_process_types:\n  Web: x\n").is_err());
        assert!(read("- 1").is_err());
    }

    #[test]
    fn a_release_that_leads_out_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let sizes = Sizes { packed: 1 << 20, unpacked: 1 << 20 };
        let pack = |name: &[u8], kind: EntryType| {
            let path = dir.path().join("x.tar.gz");
            let gzip = flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
            let mut tar = tar::Builder::new(gzip);
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..name.len()].copy_from_slice(name);
            header.set_entry_type(kind);
            header.set_size(6);
            header.set_cksum();
            tar.append(&header, &b"web: a"[..]).unwrap();
            tar.into_inner().unwrap().finish().unwrap();
            inspect(&path, sizes)
        };
        assert_eq!(pack(b"./Procfile", EntryType::Regular).unwrap().2.as_deref(), Some("web: a"));
        assert!(matches!(pack(b"../x", EntryType::Regular), Err(BuildError::BadResult(_))));
        assert!(matches!(pack(b"/etc/x", EntryType::Regular), Err(BuildError::BadResult(_))));
        assert!(matches!(pack(b"null", EntryType::Char), Err(BuildError::BadResult(_))));
        fs::write(dir.path().join("x.tar.gz"), "none").unwrap();
        assert!(matches!(inspect(&dir.path().join("x.tar.gz"), sizes), Err(BuildError::BadResult(_))));
    }

    #[test]
    fn a_release_that_says_too_much_of_a_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let sizes = Sizes { packed: 1 << 20, unpacked: 8 << 20 };
        let pack = |write: &dyn Fn(&mut tar::Builder<Vec<u8>>)| {
            let mut tar = tar::Builder::new(Vec::new());
            write(&mut tar);
            let path = dir.path().join("x.tar.gz");
            let mut gzip = flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
            io::Write::write_all(&mut gzip, &tar.into_inner().unwrap()).unwrap();
            gzip.finish().unwrap();
            inspect(&path, sizes).map(|(_, _, procfile)| procfile)
        };
        let add = |tar: &mut tar::Builder<Vec<u8>>, kind, name: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, name, bytes).unwrap();
        };
        let file = |tar: &mut tar::Builder<Vec<u8>>, name: &str| add(tar, EntryType::Regular, name, b"web: a");
        let far = format!("{}/x", "long/".repeat(100));
        let procfile = pack(&|tar| {
            file(tar, &far);
            tar.append_pax_extensions([("path", &b"Procfile"[..]), ("mtime", b"1.5")]).unwrap();
            file(tar, "other");
        });
        assert_eq!(procfile.unwrap().as_deref(), Some("web: a"), "long names are fine");
        let outside = pack(&|tar| {
            tar.append_pax_extensions([("path", &b"../x"[..])]).unwrap();
            file(tar, "x");
        });
        assert!(outside.unwrap_err().to_string().contains("no place in a release"));
        let much = vec![b'x'; 1 << 20];
        for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
            let refused = pack(&|tar| {
                add(tar, kind, "y", &much);
                file(tar, "x");
            });
            assert!(refused.unwrap_err().to_string().contains("too long"), "{kind:?}");
        }
        for record in ["size", "GNU.sparse.realsize"] {
            let refused = pack(&|tar| {
                tar.append_pax_extensions([(record, &b"3"[..])]).unwrap();
                file(tar, "x");
            });
            assert!(refused.unwrap_err().to_string().contains("two sizes"), "{record}");
        }
        let cut = pack(&|tar| add(tar, EntryType::GNULongName, "y", b"x"));
        assert!(cut.unwrap_err().to_string().contains("ends where a file should begin"));
    }

    #[test]
    fn a_link_in_out_is_no_release() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret"), "x").unwrap();
        let out = dir.path().join("out");
        fs::create_dir(&out).unwrap();
        assert!(release_file(&out).unwrap().is_none());
        std::os::unix::fs::symlink("../secret", out.join("app-1.tar.gz")).unwrap();
        assert!(release_file(&out).is_err());
        forget_release(dir.path()).unwrap();
        std::os::unix::fs::symlink(dir.path(), &out).unwrap();
        assert!(release_file(&out).unwrap().is_none());
        forget_release(dir.path()).unwrap();
        assert!(dir.path().join("secret").exists() && !out.exists());
    }
}

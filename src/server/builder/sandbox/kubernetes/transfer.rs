//! Folders on their way to a build and back.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempPath};
use walkdir::WalkDir;

use super::inside;
use crate::server::builder::sandbox::Folder;

/// Bytes of archive that a cluster can be told as a secret, with all else that is in it.
const SECRETS: u64 = 512 << 10;
/// Of an archive: each file has one for its name and such, and is padded to whole ones; an archive's end is two.
const BLOCK: u64 = 512;

/// Folders on their way to a build.
pub(super) struct Packed {
    /// An archive of what lies in volumes.
    pub(super) parcel: TempPath,
    /// Another, of what is read only there and small.
    pub(super) secrets: Vec<u8>,
    /// What lies beside the volumes, by path.
    pub(super) files: Vec<(String, String)>,
}

/// Packs what lies in volumes, at its place. The volumes themselves are there already.
pub(super) async fn pack(folders: &[Folder], volumes: &[String], parcel: NamedTempFile) -> io::Result<Packed> {
    let (folders, volumes) = (folders.to_vec(), volumes.to_vec());
    let packed = tokio::task::spawn_blocking(move || {
        let in_volume = |path: &str| volumes.iter().any(|volume| path == volume || inside(volume, path).is_some());
        let (mut large, mut small) = (archive(parcel.reopen()?), archive(Vec::new()));
        let (mut files, mut left) = (Vec::new(), SECRETS);
        for folder in &folders {
            let is_volume = volumes.contains(&folder.inside);
            if !in_volume(&folder.inside) {
                files.push((folder.inside.clone(), std::fs::read_to_string(&folder.host)?));
            } else if let Some(bytes) = size(folder, left).filter(|_| !folder.writable && !is_volume) {
                left -= bytes;
                add(&mut small, folder, false)?;
            } else {
                add(&mut large, folder, is_volume)?;
            }
        }
        large.into_inner()?;
        Ok(Packed { parcel: parcel.into_temp_path(), secrets: small.into_inner()?, files })
    });
    packed.await.map_err(io::Error::other)?
}

fn archive<W: Write>(to: W) -> tar::Builder<W> {
    let mut archive = tar::Builder::new(to);
    archive.follow_symlinks(false);
    archive.sparse(false);
    archive
}

/// The bytes that it takes in an archive, if they are no more than `most`.
fn size(folder: &Folder, most: u64) -> Option<u64> {
    let mut bytes = 0;
    for entry in WalkDir::new(&folder.host) {
        // Long names take blocks of their own.
        bytes += entry.ok()?.metadata().ok()?.len().next_multiple_of(BLOCK) + 4 * BLOCK;
        if bytes > most {
            return None;
        }
    }
    Some(bytes)
}

/// Sockets and devices are left out: nobody could bring them anywhere.
fn add(archive: &mut tar::Builder<impl Write>, folder: &Folder, is_volume: bool) -> io::Result<()> {
    let at = Path::new(folder.inside.trim_start_matches('/'));
    for entry in WalkDir::new(&folder.host).min_depth(usize::from(is_volume)) {
        let entry = entry?;
        let kind = entry.file_type();
        if !(kind.is_dir() || kind.is_file() || kind.is_symlink()) {
            continue;
        }
        let below = entry.path().strip_prefix(&folder.host).map_err(io::Error::other)?;
        let name = if below == Path::new("") { at.to_owned() } else { at.join(below) };
        archive.append_path_with_name(entry.path(), name)?;
    }
    Ok(())
}

/// Puts archives, one after the other in one file, in the place of what these folders hold; false, and nothing more is put
/// anywhere, when it would be more than `most` bytes. What an archive names outside of its folder, by whatever way, is not
/// written; pipes and devices become empty files.
pub(super) async fn unpack(archives: File, folders: Vec<PathBuf>, most: u64) -> io::Result<bool> {
    let work = move || {
        let (mut archives, mut left) = (BufReader::new(archives), most);
        for folder in &folders {
            let parent = folder.parent().ok_or_else(|| io::Error::other("it is no folder of a job"))?;
            let new = tempfile::tempdir_in(parent)?;
            match unpacked(&mut archives, new.path(), left)? {
                Some(bytes) => left -= bytes,
                None => return Ok(false),
            }
            std::fs::set_permissions(new.path(), std::fs::metadata(folder)?.permissions())?;
            std::fs::remove_dir_all(folder)?;
            std::fs::rename(new.keep(), folder)?;
        }
        Ok(true)
    };
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Unpacks the next archive; the bytes that it took. A file may say that it is larger than what there is of it in the
/// archive, which is why they are counted. Folders come last, for what their permissions are may keep files out.
fn unpacked(archives: &mut impl Read, into: &Path, most: u64) -> io::Result<Option<u64>> {
    let into = into.canonicalize()?;
    let (mut archive, mut left, mut folders) = (tar::Archive::new(&mut *archives), most, Vec::new());
    for entry in archive.entries()? {
        let mut entry = entry?;
        match left.checked_sub(entry.size()) {
            Some(after) => left = after,
            None => return Ok(None),
        }
        if entry.header().entry_type().is_dir() {
            folders.push(entry);
        } else {
            entry.unpack_in(&into)?;
        }
    }
    folders.sort_by(|one, other| other.path_bytes().cmp(&one.path_bytes()));
    for mut folder in folders {
        folder.unpack_in(&into)?;
    }
    // Of the two blocks at its end one is read.
    archives.read_exact(&mut [0; BLOCK as usize])?;
    Ok(Some(most - left))
}

#[cfg(test)]
mod tests {
    use std::io::Seek as _;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    use std::process::Command;

    use super::*;

    fn folder(host: &Path, inside: &str, writable: bool) -> Folder {
        Folder { host: host.to_owned(), inside: inside.to_owned(), writable }
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    /// As `config/kubernetes/build` packs.
    fn tar(folder: &Path) -> Vec<u8> {
        Command::new("tar").args(["-c", "--blocking-factor=1", "-C"]).arg(folder).arg(".").output().unwrap().stdout
    }

    #[tokio::test]
    async fn folders_go_and_come_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["app/bin", "tmp", "cache", "env"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        std::fs::write(at("app/bin/run"), "run").unwrap();
        std::fs::set_permissions(at("app/bin/run"), std::fs::Permissions::from_mode(0o755)).unwrap();
        symlink("/app", at("tmp/build")).unwrap();
        std::fs::write(at("cache/kept"), "kept").unwrap();
        std::fs::write(at("driver"), "driver").unwrap();
        std::fs::write(at("passwd"), "me").unwrap();
        std::fs::write(at("env/KEY"), "secret").unwrap();
        std::fs::write(at("large"), vec![b'x'; SECRETS as usize]).unwrap();
        let folders = [
            folder(&at("passwd"), "/etc/passwd", false),
            folder(&at("app"), "/app", true),
            folder(&at("tmp"), "/tmp", true),
            folder(&at("driver"), "/tmp/driver", false),
            folder(&at("cache"), "/tmp/cache", true),
            folder(&at("env"), "/tmp/env", false),
            folder(&at("large"), "/tmp/large", false),
        ];
        let volumes = super::super::volumes(&folders);
        assert_eq!(volumes, ["/app", "/tmp"]);
        let packed = pack(&folders, &volumes, NamedTempFile::new().unwrap()).await.unwrap();
        assert_eq!(packed.files, [("/etc/passwd".to_owned(), "me".to_owned())]);
        assert!(packed.secrets.len() < 20_000, "{}", packed.secrets.len());
        let (pod, secrets) = (at("pod"), at("secrets"));
        for place in [&pod, &secrets] {
            std::fs::create_dir(place).unwrap();
        }
        tar::Archive::new(packed.secrets.as_slice()).unpack(&secrets).unwrap();
        tar::Archive::new(File::open(&packed.parcel).unwrap()).unpack(&pod).unwrap();
        assert_eq!(std::fs::read_to_string(secrets.join("tmp/env/KEY")).unwrap(), "secret");
        assert!(secrets.join("tmp/driver").exists() && !secrets.join("app").exists());
        assert!(pod.join("tmp/large").exists() && !pod.join("tmp/env").exists() && !pod.join("tmp/driver").exists());
        assert_eq!(std::fs::read_to_string(pod.join("tmp/cache/kept")).unwrap(), "kept");
        assert_eq!(std::fs::read_link(pod.join("tmp/build")).unwrap(), Path::new("/app"));

        std::fs::write(pod.join("tmp/cache/new"), "new").unwrap();
        std::fs::remove_file(pod.join("tmp/cache/kept")).unwrap();
        std::fs::write(pod.join("app/made"), "made").unwrap();
        let back = [tar(&pod.join("app")), tar(&pod.join("tmp/cache"))].concat();
        let mode = std::fs::metadata(at("cache")).unwrap().mode();
        let places = || vec![at("app"), at("cache")];
        assert!(unpack(file(&back), places(), 10).await.unwrap());
        assert_eq!(std::fs::metadata(at("cache")).unwrap().mode(), mode);
        assert!(at("cache/new").exists() && !at("cache/kept").exists() && at("app/made").exists());
        assert!(!unpack(file(&back), places(), 9).await.unwrap());
        assert!(at("cache/new").exists(), "what was there stays");
        assert!(unpack(file(&back[..back.len() - 1024]), places(), 10).await.is_err(), "one is not whole");
    }

    fn header(kind: tar::EntryType, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        header
    }

    #[tokio::test]
    async fn an_archive_does_not_leave_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        let (outside, folder) = (dir.path().join("outside"), dir.path().join("folder"));
        for one in [&outside, &folder] {
            std::fs::create_dir(one).unwrap();
        }
        let mut archive = tar::Builder::new(Vec::new());
        archive.append_link(&mut header(tar::EntryType::Symlink, 0), "way", &outside).unwrap();
        archive.append_data(&mut header(tar::EntryType::Regular, 4), "way/evil", &b"evil"[..]).unwrap();
        let bytes = archive.into_inner().unwrap();
        assert!(unpack(file(&bytes), vec![folder], 1 << 20).await.is_err());
        assert!(!outside.join("evil").exists());
    }

    /// Such a file takes a few bytes in an archive, and as many on the disk as it likes.
    #[tokio::test]
    async fn holes_count_as_what_they_become() {
        let dir = tempfile::tempdir().unwrap();
        let (holes, folder) = (dir.path().join("holes"), dir.path().join("folder"));
        for one in [&holes, &folder] {
            std::fs::create_dir(one).unwrap();
        }
        File::create(holes.join("file")).unwrap().set_len(1 << 40).unwrap();
        let packed = Command::new("tar").args(["-c", "--sparse", "--format=gnu", "-C"]).arg(&holes).arg(".").output();
        let packed = packed.unwrap().stdout;
        assert!(packed.len() < 20_000, "{}", packed.len());
        assert!(!unpack(file(&packed), vec![folder], 1 << 30).await.unwrap());
    }
}

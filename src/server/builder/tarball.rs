//! A buildpack from a `.tgz`: streamed to disk, unpacked within bounds, nothing of it outside its folder.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use tar::EntryType;
use url::Url;

use super::about::About;

/// Bytes of the download.
const MAX_PACKED: u64 = 100 << 20;
/// Bytes of the tar in it.
const MAX_UNPACKED: u64 = 500 << 20;
/// Entries of the tar in it.
const MAX_ENTRIES: usize = 50_000;

/// Fetches `url` and unpacks it into the empty folder `into`. A single folder around everything, as forges add it, is
/// taken off. The error is for the pusher and shows nothing of the address.
pub(super) async fn fetch(http: &reqwest::Client, url: &Url, into: &Path) -> Result<(), String> {
    let mut file = tempfile::tempfile_in(into).map_err(|error| error.to_string())?;
    let download = async {
        let response = http.get(url.clone()).send().await.and_then(reqwest::Response::error_for_status);
        let mut response = response.map_err(|error| error.without_url().to_string())?;
        let mut bytes = 0;
        while let Some(chunk) = response.chunk().await.map_err(|error| error.without_url().to_string())? {
            bytes += chunk.len() as u64;
            if bytes > MAX_PACKED {
                return Err(format!("it is larger than {} MiB", MAX_PACKED >> 20));
            }
            file.write_all(&chunk).map_err(|error| error.to_string())?;
        }
        file.rewind().map_err(|error| error.to_string())
    };
    download.await?;
    let into = into.to_owned();
    let unpacked = tokio::task::spawn_blocking(move || unpack(file, &into).and_then(|()| take_off_folder(&into))).await;
    unpacked
        .map_err(io::Error::other)
        .and_then(|result| result)
        .map_err(|error| format!("it cannot be unpacked: {error}"))
}

fn unpack(mut file: File, into: &Path) -> io::Result<()> {
    let mut about = About::default();
    for entry in tar::Archive::new(MultiGzDecoder::new(&file).take(MAX_UNPACKED)).entries()?.raw(true) {
        if !about.hear(&mut entry?)? {
            about = About::default();
        }
    }
    file.rewind()?;
    let mut tar = tar::Archive::new(MultiGzDecoder::new(file).take(MAX_UNPACKED));
    for (count, entry) in tar.entries()?.enumerate() {
        let mut entry = entry?;
        if count >= MAX_ENTRIES {
            return Err(io::Error::other("too many files"));
        }
        let plain = matches!(
            entry.header().entry_type(),
            EntryType::Regular | EntryType::Directory | EntryType::Symlink | EntryType::Link | EntryType::Continuous
        );
        // `unpack_in` follows no link and leaves out what has `..` in its name.
        if plain && !entry.unpack_in(into)? {
            return Err(io::Error::other("a name in it leads outside"));
        }
    }
    if tar.into_inner().limit() == 0 { Err(io::Error::other("too large")) } else { Ok(()) }
}

fn take_off_folder(into: &Path) -> io::Result<()> {
    let entries: Vec<_> = fs::read_dir(into)?.collect::<Result<_, _>>()?;
    if let [only] = entries.as_slice()
        && only.file_type()?.is_dir()
        && only.file_name() != "bin"
    {
        for entry in fs::read_dir(only.path())? {
            let entry = entry?;
            fs::rename(entry.path(), into.join(entry.file_name()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_file_does_not_fill_memory() {
        let into = tempfile::tempdir().unwrap();
        let pack = |link: &[u8]| {
            let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
            for (kind, name, bytes) in [(EntryType::GNULongLink, "y", link), (EntryType::Regular, "bin/compile", b"x")]
            {
                let mut header = tar::Header::new_gnu();
                header.set_entry_type(kind);
                header.set_size(bytes.len() as u64);
                tar.append_data(&mut header, name, bytes).unwrap();
            }
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&tar.into_inner().unwrap().finish().unwrap()).unwrap();
            file.rewind().unwrap();
            unpack(file, into.path())
        };
        assert!(pack(&vec![b'x'; 1 << 20]).unwrap_err().to_string().contains("too long"));
        pack(b"x").unwrap();
        assert!(into.path().join("bin/compile").is_file());
    }
}

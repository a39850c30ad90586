//! What `GET info/refs` answers.

use std::path::Path;

use bytes::{Bytes, BytesMut};
use gix::ObjectId;

use super::error::ReceiverError;
use super::sideband::{self, FLUSH};
use super::{refs, repository};

/// How the server names itself.
const AGENT: &str = concat!("agent=gigalixir/", env!("CARGO_PKG_VERSION"));

/// What receive-pack takes; protocol v0, which is all that git has for pushing.
const PUSH: &str = "report-status report-status-v2 delete-refs side-band-64k quiet atomic ofs-delta \
                    object-format=sha1 push-options";

/// The refs with what receive-pack takes behind the first.
pub(super) fn receive_pack(path: &Path) -> Result<Bytes, ReceiverError> {
    let refs = refs::snapshot(&repository::open(path)?)?;
    let mut out = BytesMut::new();
    sideband::line(&mut out, b"# service=git-receive-pack\n");
    out.extend_from_slice(FLUSH);
    if refs.is_empty() {
        let null = ObjectId::null(gix::hash::Kind::Sha1);
        sideband::line(&mut out, format!("{null} capabilities^{{}}\0{PUSH} {AGENT}\n").as_bytes());
    }
    for (n, (name, id)) in refs.iter().enumerate() {
        let text = if n == 0 { format!("{id} {name}\0{PUSH} {AGENT}\n") } else { format!("{id} {name}\n") };
        sideband::line(&mut out, text.as_bytes());
    }
    out.extend_from_slice(FLUSH);
    Ok(out.freeze())
}

/// The capabilities of protocol v2, or a sentence for a client that does not speak it.
pub(super) fn upload_pack(version: Option<&str>) -> Bytes {
    let speaks_v2 = version.is_some_and(|version| version.split(':').any(|word| word == "version=2"));
    let mut out = BytesMut::new();
    sideband::line(&mut out, b"# service=git-upload-pack\n");
    out.extend_from_slice(FLUSH);
    if speaks_v2 {
        for text in ["version 2", AGENT, "ls-refs=unborn", "fetch", "object-format=sha1"] {
            sideband::line(&mut out, format!("{text}\n").as_bytes());
        }
        out.extend_from_slice(FLUSH);
    } else {
        let text = b"ERR this server speaks git protocol version 2 only; use git 2.26 or newer, or `git -c protocol.version=2`\n";
        sideband::line(&mut out, text);
    }
    out.freeze()
}

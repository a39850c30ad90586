//! How two nodes get to know each other: each proves that it knows the cookie without telling it.

use std::io;

use md5::{Digest as _, Md5};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::BeamError;

/// What we understand: all that OTP 25 to 28 insist on, by name and as a digest, and nothing else. That we are hidden
/// is one that is not here.
const FLAGS: u64 = {
    const EXTENDED_REFERENCES: u64 = 0x4;
    const FUN_TAGS: u64 = 0x10;
    const NEW_FUN_TAGS: u64 = 0x80;
    const EXTENDED_PIDS_PORTS: u64 = 0x100;
    const EXPORT_PTR_TAG: u64 = 0x200;
    const BIT_BINARIES: u64 = 0x400;
    const NEW_FLOATS: u64 = 0x800;
    const UTF8_ATOMS: u64 = 0x1_0000;
    const MAP_TAG: u64 = 0x2_0000;
    const BIG_CREATION: u64 = 0x4_0000;
    const HANDSHAKE_23: u64 = 0x100_0000;
    const UNLINK_ID: u64 = 0x200_0000;
    const MANDATORY_25_DIGEST: u64 = 0x400_0000;
    const V4_NC: u64 = 0x4 << 32;
    EXTENDED_REFERENCES
        | FUN_TAGS
        | NEW_FUN_TAGS
        | EXTENDED_PIDS_PORTS
        | EXPORT_PTR_TAG
        | BIT_BINARIES
        | NEW_FLOATS
        | UTF8_ATOMS
        | MAP_TAG
        | BIG_CREATION
        | HANDSHAKE_23
        | UNLINK_ID
        | MANDATORY_25_DIGEST
        | V4_NC
};

/// Introduces `own`; the other's name comes back.
pub(super) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    own: &str,
    creation: u32,
    cookie: &str,
) -> Result<String, BeamError> {
    let mut hello = vec![b'N'];
    hello.extend(FLAGS.to_be_bytes());
    hello.extend(creation.to_be_bytes());
    hello.extend(u16::try_from(own.len()).map_err(io::Error::other)?.to_be_bytes());
    hello.extend(own.as_bytes());
    send(stream, &hello).await?;

    let status = receive(stream).await.map_err(|_| BeamError::NotANode)?;
    match status.strip_prefix(b"s") {
        Some(b"ok" | b"ok_simultaneous") => {}
        Some(other) => return Err(BeamError::Refused(String::from_utf8_lossy(other).into_owned())),
        None => return Err(BeamError::NotANode),
    }
    let (challenge, name) = challenge(&receive(stream).await?).ok_or(BeamError::NotANode)?;

    let ours = rand::random::<u32>();
    let mut reply = vec![b'r'];
    reply.extend(ours.to_be_bytes());
    reply.extend(digest(cookie, challenge));
    send(stream, &reply).await?;
    // Whoever has another cookie hangs up.
    let proof = receive(stream).await.map_err(|_| BeamError::Cookie)?;
    if proof.strip_prefix(b"a") != Some(&digest(cookie, ours)[..]) {
        return Err(BeamError::Cookie);
    }
    Ok(name)
}

/// The other's challenge and its name.
fn challenge(message: &[u8]) -> Option<(u32, String)> {
    let rest = message.strip_prefix(b"N")?;
    let challenge = u32::from_be_bytes(rest.get(8..12)?.try_into().ok()?);
    let length = u16::from_be_bytes(rest.get(16..18)?.try_into().ok()?);
    let name = rest.get(18..18 + usize::from(length))?;
    Some((challenge, String::from_utf8_lossy(name).into_owned()))
}

fn digest(cookie: &str, challenge: u32) -> [u8; 16] {
    Md5::digest(format!("{cookie}{challenge}")).into()
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, message: &[u8]) -> Result<(), BeamError> {
    let mut framed = u16::try_from(message.len()).map_err(io::Error::other)?.to_be_bytes().to_vec();
    framed.extend(message);
    stream.write_all(&framed).await?;
    Ok(stream.flush().await?)
}

async fn receive<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, BeamError> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

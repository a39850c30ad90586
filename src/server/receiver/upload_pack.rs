//! Answers `POST git-upload-pack`: protocol v2's two commands over what is stored.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{OwnedRwLockReadGuard, mpsc};
use tokio::time::timeout;

use super::body::Body;
use super::error::{ReceiverError, Rejected};
use super::places::Place;
use super::protocol::{Head, Wrong};
use super::sideband::{self, Band, DELIMITER, FLUSH, on_band};
use super::{ByteStream, Room, Still, blocking, fetch, ls_refs, pack_writer, repository};

/// A request, which lists at most what the client has.
const REQUEST_BYTES: u64 = 16 << 20;

/// Packets of a pack on their way.
const IN_FLIGHT: usize = 8;

enum Command {
    LsRefs(ls_refs::Request),
    Fetch(fetch::Request),
}

/// What is fetched from.
pub(super) struct At {
    pub(super) path: PathBuf,
    pub(super) room: Arc<Room>,
    /// To be waited for by who sends a pack.
    pub(super) place: BoxFuture<'static, Option<Place>>,
    /// How long the client may take nothing.
    pub(super) standstill: Duration,
}

/// The body of the response.
pub(super) async fn answer(at: At, body: ByteStream, gzip: bool, still: Still) -> Result<ByteStream, Rejected> {
    let mut body = Body::new(body, gzip, REQUEST_BYTES);
    let command = read(&mut body).await;
    body.drain().await;
    let allowed = still.await;
    match allowed.and(command) {
        Ok(None) => Ok(futures_util::stream::empty().boxed()),
        Ok(Some(Command::LsRefs(request))) => Ok(whole(blocking(move || request.answer(&at.path)).await?)),
        Ok(Some(Command::Fetch(request))) => Ok(stream(at, request)),
        Err(wrong) => {
            let mut out = BytesMut::new();
            sideband::line(&mut out, format!("ERR {wrong}\n").as_bytes());
            Ok(whole(out.freeze()))
        }
    }
}

fn whole(bytes: Bytes) -> ByteStream {
    futures_util::stream::iter([Ok(bytes)]).boxed()
}

/// Reads one command with its arguments; none if there is only a flush.
async fn read(body: &mut Body) -> Result<Option<Command>, Wrong> {
    let (mut line, mut command, mut in_arguments) = (Vec::new(), None, false);
    loop {
        match body.head().await? {
            Head::Flush => return Ok(command),
            Head::Delimiter => in_arguments = true,
            Head::Data(size) => {
                let text = String::from_utf8_lossy(body.data(&mut line, size).await?);
                let text = text.trim_end_matches('\n');
                match (&mut command, in_arguments) {
                    (Some(Command::LsRefs(request)), true) => request.argument(text),
                    (Some(Command::Fetch(request)), true) => request.argument(text)?,
                    (None, true) => return Err("the request names no command".into()),
                    (_, false) => named(text, &mut command)?,
                }
            }
        }
    }
}

fn named(text: &str, command: &mut Option<Command>) -> Result<(), Wrong> {
    match text.split_once('=') {
        Some(("command", "ls-refs")) => *command = Some(Command::LsRefs(ls_refs::Request::default())),
        Some(("command", "fetch")) => *command = Some(Command::Fetch(fetch::Request::default())),
        Some(("command", other)) => return Err(format!("the command `{}` is not served", other.escape_debug())),
        Some(("object-format", format)) if format != "sha1" => return Err(format!("`{format}` is not served")),
        _ => {}
    }
    Ok(())
}

/// The answer to a fetch, written by a thread that stops when nobody reads on.
fn stream(At { path, room, place, standstill }: At, request: fetch::Request) -> ByteStream {
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    tokio::spawn(async move {
        let place = tokio::select! {
            place = place => place,
            () = sender.closed() => None,
        };
        let Some(place) = place else { return };
        let packs_stay = Arc::clone(&room.objects).read_owned().await;
        let runtime = Handle::current();
        let task = tokio::task::spawn_blocking(move || {
            let _place = place;
            let mut out = Out { sender, buffer: BytesMut::new(), runtime, standstill, gone: false };
            if let Err(error) = serve(&path, &request, packs_stay, &mut out)
                && !out.is_gone()
            {
                tracing::error!(error = super::error::reasons(&error), "A fetch failed in the repository");
                out.raw(on_band(Band::Error, b"the server could not read the repository\n"));
            }
        });
        // Its failures have been told.
        let _ = task.await;
    });
    tokio_stream::wrappers::ReceiverStream::new(receiver).map(Ok).boxed()
}

fn serve(
    path: &std::path::Path,
    request: &fetch::Request,
    packs_stay: OwnedRwLockReadGuard<()>,
    out: &mut Out,
) -> Result<(), ReceiverError> {
    let repository = repository::open(path)?;
    if let Some(want) = request.wants.iter().find(|want| !repository.has_object(want)) {
        let mut refusal = BytesMut::new();
        sideband::line(&mut refusal, format!("ERR upload-pack: not our ref {want}\n").as_bytes());
        out.raw(refusal.freeze());
        return Ok(());
    }
    let common = fetch::common(&repository, request)?;
    let mut head = BytesMut::new();
    if !request.done {
        sideband::line(&mut head, b"acknowledgments\n");
        for id in &common.commits {
            sideband::line(&mut head, format!("ACK {id}\n").as_bytes());
        }
        if common.commits.is_empty() {
            sideband::line(&mut head, b"NAK\n");
        }
        if !common.ready {
            head.extend_from_slice(FLUSH);
            out.raw(head.freeze());
            return Ok(());
        }
        sideband::line(&mut head, b"ready\n");
        head.extend_from_slice(DELIMITER);
    }
    sideband::line(&mut head, b"packfile\n");
    out.raw(head.freeze());
    let objects = fetch::needed(&repository, request, &common.commits)?;
    if !request.quiet {
        out.raw(on_band(Band::Progress, format!("Sending {} objects.\n", objects.len()).as_bytes()));
    }
    pack_writer::write(&repository, objects, || drop(packs_stay), &mut *out)?;
    out.flush().map_err(ReceiverError::io("cannot send a pack"))?;
    out.raw(Bytes::from_static(FLUSH));
    Ok(())
}

/// Collects what is written into packets on band 1; waits while the reader is slow.
struct Out {
    sender: mpsc::Sender<Bytes>,
    buffer: BytesMut,
    runtime: Handle,
    standstill: Duration,
    /// The reader has not taken anything for too long.
    gone: bool,
}

const PACKET: usize = 65515;

impl Out {
    /// Passes packets on as they are. That nobody reads them any more is seen at the next write.
    fn raw(&mut self, packets: Bytes) {
        if !self.is_gone() {
            let sent = self.runtime.block_on(timeout(self.standstill, self.sender.send(packets)));
            self.gone = !matches!(sent, Ok(Ok(())));
        }
    }

    fn is_gone(&self) -> bool {
        self.gone || self.sender.is_closed()
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.is_gone() {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        let taken = bytes.len().min(PACKET - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == PACKET {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if !self.buffer.is_empty() {
            let packet = on_band(Band::Data, &self.buffer);
            self.buffer.clear();
            self.raw(packet);
        }
        Ok(())
    }
}

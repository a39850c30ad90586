//! A pod's output on its way from its node, which keeps it, to the logs: run after run, in order.

use std::io;
use std::time::Duration;

use futures_util::{AsyncBufRead, AsyncBufReadExt as _, Stream, StreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::names::CONTAINER;
use super::pods::{Seen, observe};
use super::watch::Word;
use crate::server::runtime::passage::{LONGEST, Passage, Piece, Position, stamped};

const AGAIN: Duration = Duration::from_millis(500);
/// What is under way when a run's end is known: the last run of a pod is read once more after it,
const LAST_WORDS: Duration = Duration::from_millis(200);
/// while another one may follow upon it at once, so that only what follows it is sure to be its own. Nodes look every few
/// seconds whether there will be more.
const LAST_WORDS_BEFORE_ANOTHER: Duration = Duration::from_secs(6);

/// Whose output, and where it goes.
pub(super) struct Output {
    pub(super) pods: Api<Pod>,
    pub(super) name: String,
    pub(super) words: watch::Receiver<Word>,
    pub(super) passage: Passage,
}

/// Which of a pod's runs the node is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Present,
    Previous,
}

impl Output {
    /// Hands on all there is and all that comes, until the pod will say no more.
    pub(super) async fn follow(mut self) {
        // An earlier server may have left in the middle of the run before this one.
        let mut done = None;
        if let (Some(position), Some(seen)) = (self.passage.position(), self.seen())
            && seen.earlier.as_ref() == Some(&position.container)
        {
            self.read(&mut position.clone(), Which::Previous, false).await;
            done = Some(position.container);
        }
        while let Some(run) = self.next_run(done.as_ref()).await {
            self.carry(&run).await;
            done = Some(run);
        }
    }

    /// The next run that says something; `None` when there will be none.
    async fn next_run(&mut self, done: Option<&String>) -> Option<String> {
        loop {
            let word = self.words.borrow_and_update().clone();
            let seen = observe(&word.pod)?;
            match seen.run.filter(|run| Some(run) != done) {
                Some(run) => return Some(run),
                None if word.gone || seen.is_over => {
                    return None;
                }
                None => self.words.changed().await.ok()?,
            }
        }
    }

    /// All of one run.
    async fn carry(&mut self, run: &str) {
        let mut position = self.passage.of(run);
        loop {
            let is_over = |word: &Word| word.gone || observe(&word.pod).is_none_or(|seen| !goes_on(&seen, run));
            let mut words = self.words.clone();
            let over = async {
                let _ = words.wait_for(is_over).await;
            };
            {
                let following = self.read(&mut position, Which::Present, true);
                tokio::pin!(following);
                tokio::select! {
                    () = &mut following => {}
                    () = over => {
                        let is_last = self.seen().is_none_or(|seen| seen.is_final(&self.words.borrow()));
                        let patience = if is_last { LAST_WORDS } else { LAST_WORDS_BEFORE_ANOTHER };
                        let _ = timeout(patience, following).await;
                    }
                }
            }
            let word = self.words.borrow().clone();
            if is_over(&word) {
                return self.rest(run, &mut position, &word).await;
            }
            sleep(AGAIN).await;
        }
    }

    /// What following a run that has ended may have left out.
    async fn rest(&self, run: &str, position: &mut Position, word: &Word) {
        let Some(seen) = observe(&word.pod) else { return };
        let which = if seen.run.as_deref() == Some(run) { Which::Present } else { Which::Previous };
        // Whatever is started anew may have begun to speak: then this is no longer its own.
        let stays = seen.is_final(word);
        if stays || which == Which::Previous {
            self.read(position, which, false).await;
        }
    }

    async fn read(&self, position: &mut Position, which: Which, follow: bool) {
        let since = (position.at > Timestamp::UNIX_EPOCH).then(|| Timestamp::from_second(position.at.as_second()).ok());
        let wish = LogParams {
            container: Some(CONTAINER.to_owned()),
            follow,
            previous: which == Which::Previous,
            since_time: since.flatten(),
            timestamps: true,
            ..LogParams::default()
        };
        // Nothing was said yet, or nothing is left of it.
        let Ok(said) = self.pods.log_stream(&self.name, &wish).await else { return };
        let id = position.container.rsplit('/').next().unwrap_or_default().to_owned();
        // What broke off comes again.
        let whole = pieces(said, id).filter_map(async |piece| piece.ok());
        self.passage.carry(position, whole).await;
    }

    fn seen(&self) -> Option<Seen> {
        observe(&self.words.borrow().pod)
    }
}

impl Seen {
    /// Whether the container that ran last is the last one of its pod.
    fn is_final(&self, word: &Word) -> bool {
        word.gone || self.is_over
    }
}

fn goes_on(seen: &Seen, run: &str) -> bool {
    seen.runs && seen.run.as_deref() == Some(run)
}

/// Each line with the node's stamp; what is too long goes on as pieces under the same stamp. The same output comes in the
/// same pieces, however it travels; a piece of which the rest is lost is an error, and the last item.
pub(super) fn pieces(said: impl AsyncBufRead + Unpin, container: String) -> impl Stream<Item = io::Result<Piece>> {
    stream::try_unfold((said, None, container), |(mut said, mut line, container)| async move {
        loop {
            let Some(mut piece) = piece(&mut said).await? else { return Ok(None) };
            let ends = piece.ends_with(b"\n");
            if !ends {
                cut_complaint(&mut piece, &container);
            }
            let (at, text) = match line {
                Some(at) => (at, piece),
                None => match stamped(&piece) {
                    Some(stamped) => stamped,
                    None => continue,
                },
            };
            line = (!ends).then_some(at);
            return Ok(Some(((at, text), (said, line, container))));
        }
    })
}

/// A node that has thrown a container away says so at the end of its output, as if the container had said it.
fn cut_complaint(piece: &mut Vec<u8>, container: &str) {
    const COMPLAINT: &[u8] = b"rpc error: code = ";
    let at = piece.windows(COMPLAINT.len()).rposition(|window| window == COMPLAINT);
    if let Some(at) = at.filter(|at| String::from_utf8_lossy(&piece[*at..]).contains(container)) {
        piece.truncate(at);
    }
}

/// Up to a line's end, or as much as is bearable; `None` at the end.
async fn piece(said: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut piece = Vec::new();
    while !piece.ends_with(b"\n") && piece.len() < LONGEST {
        let there = said.fill_buf().await?;
        if there.is_empty() {
            break;
        }
        let end = there.iter().position(|byte| *byte == b'\n').map_or(there.len(), |at| at + 1);
        let used = end.min(LONGEST - piece.len());
        piece.extend_from_slice(&there[..used]);
        said.consume_unpin(used);
    }
    Ok((!piece.is_empty()).then_some(piece))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn texts(said: &str) -> Vec<String> {
        let pieces = pieces(said.as_bytes(), "e247".to_owned()).collect::<Vec<_>>().await;
        pieces.into_iter().map(|piece| String::from_utf8(piece.unwrap().1).unwrap()).collect()
    }

    #[tokio::test]
    async fn lines_lose_their_stamps_and_long_ones_keep_theirs() {
        let stamp = "2026-11-26T01:00:00.5Z";
        assert_eq!(texts(&format!("{stamp} a\n{stamp} \n{stamp} end")).await, ["a\n", "\n", "end"]);
        let long = texts(&format!("{stamp} {}\n{stamp} b\n", "x".repeat(2 * LONGEST))).await;
        assert_eq!(long.concat(), format!("{}\nb\n", "x".repeat(2 * LONGEST)));
    }

    #[tokio::test]
    async fn of_what_breaks_off_only_whole_lines_count() {
        use futures_util::TryStreamExt as _;
        let said = stream::iter([
            Ok(&b"2026-11-26T01:00:00.5Z a\n2026-11-26T01:00:00.6Z b"[..]),
            Err(io::Error::other("reset")),
        ]);
        let pieces = pieces(said.into_async_read(), String::new()).collect::<Vec<_>>().await;
        assert!(matches!(&pieces[..], [Ok((_, text)), Err(_)] if text == b"a\n"), "{pieces:?}");
    }

    #[tokio::test]
    async fn what_the_node_says_of_itself_is_no_output() {
        let (stamp, gone) =
            ("2026-11-26T01:00:00.5Z", "rpc error: code = NotFound desc = container \"e247\": not found");
        assert_eq!(texts(&format!("{stamp} a\n{gone}")).await, ["a\n"]);
        assert_eq!(texts(&format!("{stamp} no end{gone}")).await, ["no end"]);
        assert_eq!(texts(&format!("{stamp} rpc error: code = 5")).await, ["rpc error: code = 5"]);
    }
}

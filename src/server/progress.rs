//! How a slow step tells the person who waits for it what it is doing, and learns that nobody waits any more.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The sending end: cheap to clone. Text goes to the pusher's terminal as it is; a listener that has gone away is no
/// error, its `cancelled` token says so instead.
#[derive(Clone)]
pub struct Progress {
    output: Option<mpsc::Sender<Bytes>>,
    ear: Option<Ear>,
    cancelled: CancellationToken,
}

/// Hears what is said besides the listener; must not block.
pub type Ear = Arc<dyn Fn(&[u8]) + Send + Sync>;

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Progress(cancelled: {})", self.cancelled.is_cancelled())
    }
}

/// The listening end. Dropping it cancels the work.
#[derive(Debug)]
pub struct Listener {
    /// What was said, in order; ends when every [`Progress`] is gone.
    pub output: mpsc::Receiver<Bytes>,
    _cancel_on_drop: tokio_util::sync::DropGuard,
}

impl Progress {
    /// A pair. At most 64 messages wait in between: a slow listener slows the work, it does not fill memory.
    pub fn channel() -> (Self, Listener) {
        let (sender, output) = mpsc::channel(64);
        let cancelled = CancellationToken::new();
        let guard = cancelled.clone().drop_guard();
        (Self { output: Some(sender), ear: None, cancelled }, Listener { output, _cancel_on_drop: guard })
    }

    /// For work nobody watches: never cancelled.
    pub fn silent() -> Self {
        Self { output: None, ear: None, cancelled: CancellationToken::new() }
    }

    /// The same, overheard by `ear`.
    pub fn overheard(&self, ear: Ear) -> Self {
        Self { ear: Some(ear), ..self.clone() }
    }

    /// Says one line (a line end is added).
    pub async fn line(&self, text: impl std::fmt::Display) {
        self.bytes(Bytes::from(format!("{text}\n"))).await;
    }

    /// Passes a program's output on as it came.
    pub async fn bytes(&self, chunk: Bytes) {
        if let Some(ear) = &self.ear {
            ear(&chunk);
        }
        if let Some(output) = &self.output {
            // A closed channel is reported through `cancelled`.
            let _ = output.send(chunk).await;
        }
    }

    /// Fires when the listener has gone.
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }
}

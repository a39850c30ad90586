//! What a build says, told twice: to the pusher as it comes, to the app's log line by line.

use crate::server::progress::{Listener, Progress};

/// Bytes of a line that never ends.
const LONGEST_LINE: usize = 16 * 1024;

/// Passes everything on until the speaker has ended. When the pusher has gone, stops listening, which cancels the work.
pub(super) async fn pass_on(mut listener: Listener, pusher: &Progress, log: impl Fn(String)) {
    let mut lines = Lines::default();
    loop {
        tokio::select! {
            chunk = listener.output.recv() => match chunk {
                None => break,
                Some(chunk) => {
                    lines.take(&chunk, &log);
                    pusher.bytes(chunk).await;
                }
            },
            () = pusher.cancelled().cancelled() => break,
        }
    }
    lines.end(&log);
}

/// Puts lines together from chunks that end anywhere.
#[derive(Debug, Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn take(&mut self, chunk: &[u8], log: &impl Fn(String)) {
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.begun.len() > LONGEST_LINE {
                self.end(log);
            }
        }
    }

    fn end(&mut self, log: &impl Fn(String)) {
        let line = String::from_utf8_lossy(&self.begun).trim_end().to_owned();
        self.begun.clear();
        if !line.is_empty() {
            log(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[tokio::test]
    async fn the_pusher_hears_bytes_and_the_log_lines() {
        let (speaker, listener) = Progress::channel();
        let (pusher, mut heard) = Progress::channel();
        let speak = async {
            for chunk in ["one\ntw", "o\r\n\n", "ünd", "e"] {
                speaker.bytes(chunk.into()).await;
            }
            drop(speaker);
        };
        let log = RefCell::new(Vec::new());
        tokio::join!(speak, pass_on(listener, &pusher, |line| log.borrow_mut().push(line)));
        assert_eq!(log.into_inner(), ["one", "two", "ünde"]);
        drop(pusher);
        let mut all = Vec::new();
        while let Some(chunk) = heard.output.recv().await {
            all.extend_from_slice(&chunk);
        }
        assert_eq!(all, "one\ntwo\r\n\nünde".as_bytes());
    }

    #[tokio::test]
    async fn who_goes_away_cancels_the_work() {
        let (speaker, listener) = Progress::channel();
        let (pusher, heard) = Progress::channel();
        drop(heard);
        pass_on(listener, &pusher, drop).await;
        assert!(speaker.cancelled().is_cancelled());
    }
}

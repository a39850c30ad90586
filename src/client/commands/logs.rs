//! `logs`: an app's log, as the server streams it.

use clap::Args;
use serde_json::json;

use super::target::Target;
use crate::api::log::LogQuery;
use crate::client::Client;
use crate::client::error::Error;
use crate::client::http::Stream;

/// Arguments of `logs`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gigalixir logs
  gigalixir logs -n 100 --no-tail
  gigalixir logs my-app --process web")]
pub struct Logs {
    #[command(flatten)]
    target: Target,
    /// How many old lines first
    #[arg(short, long, value_name = "N")]
    num: Option<u32>,
    /// End after the old lines
    #[arg(short = 't', long, alias = "no_tail")]
    no_tail: bool,
    /// Only lines of this process type
    #[arg(short, long, value_name = "TYPE")]
    process: Option<String>,
}

/// Copies the log until the server ends it. There is no reconnecting: lines could be lost or doubled without a word.
pub async fn follow(client: &Client, args: Logs) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    let query = LogQuery {
        num_lines: args.num.map(|lines| lines.to_string()),
        follow: Some(if args.no_tail { "False" } else { "True" }.to_owned()),
        process: args.process,
    };
    let mut stream = client.api()?.stream(&["api", "apps", &name, "logs"], &query).await?;
    copy(client, &mut stream).await
}

/// Copies lines as they come; with `--json` each as an object.
pub(super) async fn copy(client: &Client, stream: &mut Stream) -> Result<(), Error> {
    if !client.output.json {
        while let Some(bytes) = stream.next().await? {
            client.output.raw(bytes.as_ref())?;
        }
        return Ok(());
    }
    let mut lines = Lines::default();
    while let Some(bytes) = stream.next().await? {
        for line in lines.push(bytes.as_ref()) {
            client.output.print(&json!({ "line": line }).to_string())?;
        }
    }
    lines.rest().map_or(Ok(()), |line| client.output.print(&json!({ "line": line }).to_string()))
}

/// Cuts a stream of bytes into lines. A line that never ends is cut at [`Lines::LONGEST`], so memory stays bounded.
#[derive(Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    const LONGEST: usize = 1 << 20;

    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut whole = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.begun.len() >= Self::LONGEST {
                whole.extend(self.rest());
            }
        }
        whole
    }

    fn rest(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.begun);
        if line.is_empty() {
            return None;
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.strip_suffix('\n').unwrap_or(&line);
        Some(line.strip_suffix('\r').unwrap_or(line).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let mut lines = Lines::default();
        assert!(lines.push(b"a").is_empty());
        assert_eq!(lines.push(b"b\n\nc\r\nd\xc3"), ["ab", "", "c"]);
        assert_eq!(lines.push(b"\xa9"), Vec::<String>::new());
        assert_eq!(lines.rest().as_deref(), Some("dé"));
        assert_eq!(lines.rest(), None);
    }
}

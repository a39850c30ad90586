//! `logs`: an app's log, as the server streams it.

use clap::Args;
use serde_json::{Value, json};

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
  gigalixir logs my-app --process web
  gigalixir logs --replica web.2
  gigalixir logs --json --no-tail | jq -r 'select(.source == \"app\") | .text'

With --json each line is an object: `time`, `source` (app, gigalixir, build or router), `replica` and `process` where a
replica said it, `text`; and `line`, all of it as it came.")]
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
    /// Only lines of this replica: its name, or as `web.2`
    #[arg(long, value_name = "NAME")]
    replica: Option<String>,
}

/// Copies the log until the server ends it. There is no reconnecting: lines could be lost or doubled without a word.
pub async fn follow(client: &Client, args: Logs) -> Result<(), Error> {
    let name = args.target.resolve(client)?;
    let query = LogQuery {
        num_lines: args.num.map(|lines| lines.to_string()),
        follow: Some(if args.no_tail { "False" } else { "True" }.to_owned()),
        process: args.process,
        replica: args.replica,
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
            client.output.print(&told(&line).to_string())?;
        }
    }
    lines.rest().map_or(Ok(()), |line| client.output.print(&told(&line).to_string()))
}

/// A line's parts. A line in another form (a job's own words, say) is nothing but `line`.
fn told(line: &str) -> Value {
    parts(line).unwrap_or_else(|| json!({ "line": line }))
}

fn parts(line: &str) -> Option<Value> {
    let (time, rest) = line.split_once(" app[")?;
    time.parse::<jiff::Timestamp>().ok()?;
    let (name, text) = rest.split_once("]: ")?;
    if ["gigalixir", "build", "router"].contains(&name) {
        return Some(json!({ "line": line, "time": time, "source": name, "text": text }));
    }
    let (process, text) = text.split_once(" | ")?;
    let process = process.trim_end();
    Some(json!({ "line": line, "time": time, "source": "app", "replica": name, "process": process, "text": text }))
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

    #[test]
    fn lines_are_taken_apart() {
        let time = "2019-05-29T13:01:58.840950+00:00";
        let line = format!("{time} app[hill-web-1-k7x2p]: web.1  | a | b]: c");
        let expected = json!({
            "line": line, "time": time, "source": "app", "replica": "hill-web-1-k7x2p", "process": "web.1", "text": "a | b]: c"
        });
        assert_eq!(told(&line), expected);
        let line = format!("{time} app[gigalixir]: Deployed v1 | fine");
        let expected = json!({ "line": line, "time": time, "source": "gigalixir", "text": "Deployed v1 | fine" });
        assert_eq!(told(&line), expected);
        for odd in ["", "its own words", "soon app[x]: web.1 | y", &format!("{time} app[x]: y")] {
            assert_eq!(told(odd), json!({ "line": odd }), "{odd}");
        }
    }
}

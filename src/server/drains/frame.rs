//! Lines as the other side reads them: syslog frames, each after its length in bytes (RFC 6587 3.4.1). Pure.
//!
//! Over HTTP the frames are logplex's, which leave structured data away and end with a line end; over TCP and TLS they
//! are RFC 5424's. HOSTNAME is the replica, APP-NAME the app, PROCID the process (`web.1`).

use std::fmt::Write as _;

use super::target::Carrier;
use crate::server::domain::{AppName, LogLine, LogSource};

/// local7.info, for what the app says.
const APP: u8 = 190;
/// local3.info, for what the platform says of it.
const PLATFORM: u8 = 158;
/// Bytes of a message; a longer line is sent as several. Every receiver takes so much (RFC 5425 4.3.1).
const MESSAGE: usize = 8000;
/// RFC 5424 6: the longest APP-NAME.
const NAME: usize = 48;

/// Appends a line's frames; how many.
pub(super) fn frame(out: &mut Vec<u8>, carrier: Carrier, app: &AppName, line: &LogLine) -> usize {
    let (priority, host, process) = match &line.source {
        LogSource::Instance { name, process, index } => (APP, name.as_str(), format!("{process}.{index}")),
        LogSource::Platform => (PLATFORM, "gigalixir", "gigalixir".to_owned()),
        LogSource::Build => (PLATFORM, "gigalixir", "build".to_owned()),
        LogSource::Router => (PLATFORM, "gigalixir", "router".to_owned()),
    };
    let time = line.at.strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00");
    let name = &app.as_str()[..app.as_str().len().min(NAME)];
    let (data, end) = match carrier {
        Carrier::Http => ("", "\n"),
        Carrier::Tcp | Carrier::Tls => ("- ", ""),
    };
    let mut count = 0;
    for text in pieces(&line.text) {
        let mut frame = String::with_capacity(text.len() + 160);
        // Writing to a string cannot fail.
        let _ = write!(frame, "<{priority}>1 {time} {host} {name} {process} - {data}{text}{end}");
        out.extend_from_slice(format!("{} ", frame.len()).as_bytes());
        out.extend_from_slice(frame.as_bytes());
        count += 1;
    }
    count
}

/// The text in pieces that end between characters; an empty one is one piece.
fn pieces(mut text: &str) -> impl Iterator<Item = &str> {
    let mut first = true;
    std::iter::from_fn(move || {
        if text.is_empty() && !first {
            return None;
        }
        first = false;
        let (piece, rest) = text.split_at(text.floor_char_boundary(MESSAGE.min(text.len())));
        text = rest;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::domain::ProcessType;

    fn framed(carrier: Carrier, source: LogSource, text: &str) -> String {
        let line = LogLine { at: "2019-05-29T13:01:58.84095Z".parse().unwrap(), source, text: text.into() };
        let mut out = Vec::new();
        frame(&mut out, carrier, &AppName::parse("hill").unwrap(), &line);
        String::from_utf8(out).unwrap()
    }

    fn web() -> LogSource {
        LogSource::Instance { name: "hill-web-3-bcdfg".into(), process: ProcessType::web(), index: 1 }
    }

    #[test]
    fn frames_of_both_kinds() {
        assert_eq!(
            framed(Carrier::Http, web(), "hi ä"),
            "76 <190>1 2019-05-29T13:01:58.840950+00:00 hill-web-3-bcdfg hill web.1 - hi ä\n"
        );
        assert_eq!(
            framed(Carrier::Tls, LogSource::Platform, ""),
            "69 <158>1 2019-05-29T13:01:58.840950+00:00 gigalixir hill gigalixir - - "
        );
    }

    #[test]
    fn a_long_line_is_cut_between_characters_and_nothing_is_lost() {
        let text = "aä€".repeat(5000);
        let all = framed(Carrier::Tcp, web(), &text);
        let mut rest = all.as_bytes();
        let mut found = String::new();
        while !rest.is_empty() {
            let blank = rest.iter().position(|byte| *byte == b' ').unwrap();
            let length: usize = std::str::from_utf8(&rest[..blank]).unwrap().parse().unwrap();
            let frame = std::str::from_utf8(&rest[blank + 1..blank + 1 + length]).unwrap();
            let message = frame.split_once("web.1 - - ").unwrap().1;
            assert!(message.len() <= MESSAGE);
            found.push_str(message);
            rest = &rest[blank + 1 + length..];
        }
        assert!(found == text);
    }
}

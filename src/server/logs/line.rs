//! A line as it is sent and as it is kept, which is the same (see [`crate::api::log`]):
//! `2019-05-29T13:01:58.840950+00:00 app[POD]: web.1  | text`, and `app[gigalixir]: text` or `app[build]: text`, `app[router]: text`.

use std::fmt::Write;

use jiff::Timestamp;

use crate::server::domain::{LogLine, LogSource, ProcessType};

const PLATFORM: &str = "gigalixir";
const BUILD: &str = "build";
const ROUTER: &str = "router";

/// The line without its line end. Times lose what is below a microsecond.
pub fn format(line: &LogLine) -> String {
    let mut out = String::with_capacity(line.text.len() + 80);
    write_to(&mut out, line);
    out
}

pub(super) fn write_to(out: &mut String, line: &LogLine) {
    let LogLine { at, source, text } = line;
    let time = at.strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00");
    // Writing to a string cannot fail.
    let _ = match source {
        LogSource::Instance { name, process, index } => {
            let process = format!("{process}.{index}");
            write!(out, "{time} app[{name}]: {process:<6} | {text}")
        }
        LogSource::Platform => write!(out, "{time} app[{PLATFORM}]: {text}"),
        LogSource::Build => write!(out, "{time} app[{BUILD}]: {text}"),
        LogSource::Router => write!(out, "{time} app[{ROUTER}]: {text}"),
    };
}

/// `None` for what is not a line of ours: torn by a crash, or edited by hand.
pub(super) fn parse(line: &str) -> Option<LogLine> {
    let (time, rest) = line.split_once(" app[")?;
    let at: Timestamp = time.parse().ok()?;
    let (name, rest) = rest.split_once("]: ")?;
    let (source, text) = match name {
        PLATFORM => (LogSource::Platform, rest),
        BUILD => (LogSource::Build, rest),
        ROUTER => (LogSource::Router, rest),
        _ => {
            let (process, text) = rest.split_once(" | ")?;
            let (process, index) = process.trim_end().rsplit_once('.')?;
            let (process, index) = (ProcessType::parse(process).ok()?, index.parse().ok()?);
            (LogSource::Instance { name: name.to_owned(), process, index }, text)
        }
    };
    Some(LogLine { at, source, text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn web(text: &str) -> LogLine {
        let source = LogSource::Instance { name: "hill-web-3-1".into(), process: ProcessType::web(), index: 1 };
        LogLine { at: "2019-05-29T13:01:58.84095Z".parse().unwrap(), source, text: text.into() }
    }

    #[test]
    fn lines_look_as_the_contract_says() {
        assert_eq!(format(&web("hi")), "2019-05-29T13:01:58.840950+00:00 app[hill-web-3-1]: web.1  | hi");
        let platform = LogLine { source: LogSource::Platform, ..web("Deployed v3") };
        assert_eq!(format(&platform), "2019-05-29T13:01:58.840950+00:00 app[gigalixir]: Deployed v3");
    }

    #[test]
    fn what_is_no_line_is_no_line() {
        for torn in ["", "2019-05", "2019-05-29T13:01:58.840950+00:00 app[x]: web", "x app[gigalixir]: y"] {
            assert_eq!(parse(torn), None, "{torn}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(text in "[^\n\r\0]*", process in "[a-z][a-z0-9_-]{0,31}", index: u32) {
            let process = ProcessType::parse(&process).unwrap();
            let source = LogSource::Instance { name: format!("a-{process}-1-{index}"), process, index };
            for source in [source, LogSource::Platform, LogSource::Build, LogSource::Router] {
                let line = LogLine { source, ..web(&text) };
                prop_assert_eq!(parse(&format(&line)), Some(line));
            }
        }
    }
}

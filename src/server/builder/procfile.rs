//! The Procfile: which process types an app has, and the command line of each. Pure.

use std::collections::BTreeMap;

use crate::server::domain::ProcessType;

/// Bytes that a Procfile may have.
pub const MAX_BYTES: u64 = 64 * 1024;

/// Process type → command line, which a shell inside the instance will read.
pub type Processes = BTreeMap<ProcessType, String>;

/// A line that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ProcfileError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// Reads `TYPE: COMMAND` lines. Blank lines and lines that begin with `#` are skipped, Windows line ends forgiven. A
/// line that is neither is refused, and so is a type named twice: a process that silently does not run is worse.
pub fn parse(text: &str) -> Result<Processes, ProcfileError> {
    let mut processes = Processes::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let refuse = |problem: String| ProcfileError { line: index + 1, problem };
        let (name, command) = line.split_once(':').ok_or_else(|| refuse("no `TYPE: COMMAND`".to_owned()))?;
        let process = ProcessType::parse(name.trim_end()).map_err(|invalid| refuse(invalid.to_string()))?;
        let command = command.trim();
        if command.is_empty() {
            return Err(refuse(format!("`{process}` has no command")));
        }
        if command.contains('\0') {
            return Err(refuse("a NUL character".to_owned()));
        }
        if processes.contains_key(&process) {
            return Err(refuse(format!("`{process}` is there twice")));
        }
        processes.insert(process, command.to_owned());
    }
    Ok(processes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line_of(text: &str) -> usize {
        parse(text).expect_err(text).line
    }

    #[test]
    fn types_and_commands() {
        let text = "\u{feff}# what runs\r\n\r\nweb: FOO=1 bin/app start -p $PORT: x\r\nclock-2 :\tcron\n  # no\n";
        let processes: Vec<_> = parse(text).unwrap().into_iter().map(|(p, c)| (p.to_string(), c)).collect();
        let wanted = [("clock-2", "cron"), ("web", "FOO=1 bin/app start -p $PORT: x")];
        assert_eq!(processes, wanted.map(|(p, c)| (p.to_owned(), c.to_owned())));
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn bad_lines_are_named() {
        assert_eq!(line_of("web: a\n\nworker\n"), 3);
        assert_eq!(line_of("web:\n"), 1);
        assert_eq!(line_of("web: a\nweb: b"), 2);
        assert_eq!(line_of("Web: a"), 1);
        assert_eq!(line_of("#\n: a"), 2);
        assert_eq!(line_of("web: a\0b"), 1);
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_written_is_read(pairs in prop::collection::btree_map("[a-z][a-z0-9_-]{0,31}", "[!-~]([ -~]{0,60}[!-~])?", 0..8)) {
            let text: String = pairs.iter().map(|(name, command)| format!("{name}: {command}\n")).collect();
            let read: BTreeMap<_, _> = parse(&text).unwrap().into_iter().map(|(p, c)| (p.to_string(), c)).collect();
            prop_assert_eq!(read, pairs);
        }
    }
}

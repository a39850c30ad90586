//! report-status and report-status-v2 (gitprotocol-pack): what became of each command. The two differ only in option
//! lines, which are about refs a server moved elsewhere; none are.

use bytes::{Bytes, BytesMut};

use super::sideband::{self, FLUSH};

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    /// Whether the pack was good, or why not.
    pub(super) unpack: Result<(), String>,
    /// Each ref, in the order of the commands, and the one-line reason if it did not move.
    pub(super) refs: Vec<(String, Result<(), String>)>,
}

impl Report {
    /// The packet lines, not yet on a band.
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match &self.unpack {
            Ok(()) => sideband::line(&mut out, b"unpack ok\n"),
            Err(reason) => sideband::line(&mut out, format!("unpack {}\n", one_line(reason)).as_bytes()),
        }
        for (name, outcome) in &self.refs {
            let text = match outcome {
                Ok(()) => format!("ok {name}\n"),
                Err(reason) => format!("ng {name} {}\n", one_line(reason)),
            };
            sideband::line(&mut out, text.as_bytes());
        }
        out.extend_from_slice(FLUSH);
        out.freeze()
    }
}

fn one_line(text: &str) -> String {
    let flat: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1000).collect();
    if flat.trim().is_empty() { "refused".to_owned() } else { flat.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_stays_on_its_line() {
        let report = Report {
            unpack: Ok(()),
            refs: vec![("refs/heads/a".into(), Ok(())), ("refs/heads/b".into(), Err("no\nok refs/heads/b".into()))],
        };
        assert_eq!(
            &report.encode()[..],
            b"000eunpack ok\n0014ok refs/heads/a\n0027ng refs/heads/b no ok refs/heads/b\n0000"
        );
    }
}

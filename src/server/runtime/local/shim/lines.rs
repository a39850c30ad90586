//! Bytes into lines.

/// A line longer than this goes on as a line of its own.
const LONGEST: usize = 64 * 1024;

/// Cuts what comes in pieces at line ends.
#[derive(Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// The whole lines that `piece` completes, without their ends.
    pub(super) fn push(&mut self, piece: &[u8]) -> Vec<Vec<u8>> {
        let mut whole = Vec::new();
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(part);
            while self.rest.len() > LONGEST + 1 {
                let more = self.rest.split_off(LONGEST);
                whole.push(std::mem::replace(&mut self.rest, more));
            }
            if self.rest.ends_with(b"\n") {
                whole.extend(self.end());
            }
        }
        whole
    }

    /// The last line, which has no end.
    pub(super) fn end(&mut self) -> Option<Vec<u8>> {
        let mut line = std::mem::take(&mut self.rest);
        if line.is_empty() {
            return None;
        }
        for end in [b'\n', b'\r'] {
            if line.last() == Some(&end) {
                line.pop();
            }
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_lines() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"a\r\nb"), [b"a"]);
        assert_eq!(lines.push(b"c\n\nd"), [b"bc".to_vec(), b"".to_vec()]);
        assert_eq!(lines.end(), Some(b"d".to_vec()));
        assert_eq!(lines.end(), None);
    }

    #[test]
    fn a_long_line_is_cut_and_nothing_of_it_lost() {
        let mut lines = Lines::default();
        let mut long = vec![b'x'; 3 * LONGEST + 5];
        long.push(b'\n');
        let mut seen: Vec<Vec<u8>> = long.chunks(1000).flat_map(|piece| lines.push(piece)).collect();
        seen.extend(lines.end());
        assert_eq!(seen.iter().map(Vec::len).collect::<Vec<_>>(), [LONGEST, LONGEST, LONGEST, 5]);
        assert_eq!(lines.push(&[vec![b'y'; LONGEST], b"\n".to_vec()].concat()).len(), 1);
    }
}

//! What a push says before its pack (gitprotocol-pack, "Reference Update Request"): shallow lines, commands with the
//! capabilities behind the first, a flush, and push options with a flush of their own. Pure: packets in, request out.

use gix::ObjectId;
use gix_packetline::PacketLineRef;
use gix_packetline::decode::{PacketLineOrWantedSize, hex_prefix};

/// Push options: how many, and how long one may be.
const OPTIONS: usize = 64;
const OPTION_BYTES: usize = 1024;
/// A ref's name; paths of refs are file names below the repository.
const NAME_BYTES: usize = 1024;
/// The data of one packet (gitprotocol-common).
const PACKET_BYTES: usize = 65516;

/// One packet's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// `0000`.
    Flush,
    /// `0001`.
    Delimiter,
    /// That many bytes follow.
    Data(usize),
}

/// What is wrong with a request, in words for its sender.
pub(super) type Wrong = String;

/// Reads a packet's four length digits.
pub(super) fn head(digits: [u8; 4]) -> Result<Head, Wrong> {
    match hex_prefix(&digits) {
        Ok(PacketLineOrWantedSize::Line(PacketLineRef::Flush)) => Ok(Head::Flush),
        Ok(PacketLineOrWantedSize::Line(PacketLineRef::Delimiter)) => Ok(Head::Delimiter),
        Ok(PacketLineOrWantedSize::Wanted(size)) if usize::from(size) <= PACKET_BYTES => Ok(Head::Data(size.into())),
        _ => Err(format!("`{}` is not the length of a packet line", digits.escape_ascii())),
    }
}

/// One wish about one ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    /// What the client believes the ref names; null for one that does not exist.
    pub(super) old: ObjectId,
    /// What it should name; null to delete it.
    pub(super) new: ObjectId,
    /// The full name, not validated beyond UTF-8 and length.
    pub(super) name: String,
}

impl Command {
    pub(super) fn deletes(&self) -> bool {
        self.new.is_null()
    }
}

/// What the client can do, of what matters here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Capabilities {
    pub(super) report_status: bool,
    pub(super) side_band: bool,
    pub(super) atomic: bool,
    pub(super) push_options: bool,
}

/// All that precedes the pack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) commands: Vec<Command>,
    pub(super) capabilities: Capabilities,
    pub(super) options: Vec<String>,
}

impl Request {
    /// Whether a pack follows: not if there are only deletions.
    pub(super) fn has_pack(&self) -> bool {
        self.commands.iter().any(|command| !command.deletes())
    }
}

/// Takes packets until the request is whole.
#[derive(Debug)]
pub(super) struct Parser {
    request: Request,
    max_commands: usize,
    in_options: bool,
}

impl Parser {
    pub(super) fn new(max_commands: usize) -> Self {
        Self { request: Request::default(), max_commands, in_options: false }
    }

    /// Takes a flush; true when the request is whole.
    pub(super) fn flush(&mut self) -> bool {
        let more = !self.in_options && self.request.capabilities.push_options && !self.request.commands.is_empty();
        self.in_options = true;
        !more
    }

    /// Takes a packet's data.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<(), Wrong> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if self.in_options {
            self.option(line)
        } else if let Some(id) = line.strip_prefix(b"shallow ") {
            // The boundary of the client's history. The connectivity check asks the repository itself instead.
            object_id(id).map(|_| ())
        } else {
            self.command(line)
        }
    }

    /// The request, after [`Parser::flush`] returned true.
    pub(super) fn finish(self) -> Request {
        self.request
    }

    fn option(&mut self, line: &[u8]) -> Result<(), Wrong> {
        if self.request.options.len() == OPTIONS || line.len() > OPTION_BYTES {
            return Err(format!("at most {OPTIONS} push options of {OPTION_BYTES} bytes are taken"));
        }
        self.request.options.push(String::from_utf8_lossy(line).into_owned());
        Ok(())
    }

    fn command(&mut self, line: &[u8]) -> Result<(), Wrong> {
        if self.request.commands.len() == self.max_commands {
            return Err(format!("at most {} refs can be pushed at once", self.max_commands));
        }
        let mut halves = line.splitn(2, |byte| *byte == 0);
        let wish = halves.next().unwrap_or_default();
        if let (Some(list), true) = (halves.next(), self.request.commands.is_empty()) {
            self.request.capabilities = capabilities(list)?;
        }
        self.request.commands.push(command(wish)?);
        Ok(())
    }
}

fn command(wish: &[u8]) -> Result<Command, Wrong> {
    let malformed = || format!("`{}` is not a ref update", wish[..wish.len().min(200)].escape_ascii());
    let mut parts = wish.splitn(3, |byte| *byte == b' ');
    let (Some(old), Some(new), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(malformed());
    };
    let name = std::str::from_utf8(name).map_err(|_| format!("{}: ref names must be UTF-8", malformed()))?;
    if name.is_empty() || name.len() > NAME_BYTES {
        return Err(format!("a ref's name must have 1 to {NAME_BYTES} bytes"));
    }
    Ok(Command { old: object_id(old)?, new: object_id(new)?, name: name.to_owned() })
}

fn capabilities(list: &[u8]) -> Result<Capabilities, Wrong> {
    let mut found = Capabilities::default();
    for word in list.split(|byte| *byte == b' ') {
        match word {
            b"report-status" | b"report-status-v2" => found.report_status = true,
            b"side-band-64k" => found.side_band = true,
            // `quiet` is sent whenever no terminal watches; what a build says is told all the same, as hooks' output is.
            b"atomic" => found.atomic = true,
            b"push-options" => found.push_options = true,
            _ => {
                if let Some(format) = word.strip_prefix(b"object-format=")
                    && format != b"sha1"
                {
                    return Err(format!("the object format `{}` is not sha1", format.escape_ascii()));
                }
            }
        }
    }
    Ok(found)
}

/// 40 hex digits.
pub(super) fn object_id(hex: &[u8]) -> Result<ObjectId, Wrong> {
    let shown = &hex[..hex.len().min(80)];
    ObjectId::from_hex(hex).map_err(|_| format!("`{}` is not an object's name", shown.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(mut bytes: &[u8]) -> Result<Request, Wrong> {
        let mut parser = Parser::new(8);
        loop {
            let (digits, rest) = bytes.split_first_chunk::<4>().ok_or("short")?;
            bytes = rest;
            match head(*digits)? {
                Head::Flush if parser.flush() => return Ok(parser.finish()),
                Head::Flush => {}
                Head::Delimiter => return Err("delimiter".into()),
                Head::Data(size) => {
                    let (line, rest) = bytes.split_at_checked(size).ok_or("short")?;
                    bytes = rest;
                    parser.line(line)?;
                }
            }
        }
    }

    fn encode(request: &Request) -> Vec<u8> {
        let mut out = bytes::BytesMut::new();
        for (n, command) in request.commands.iter().enumerate() {
            let mut line = format!("{} {} {}", command.old, command.new, command.name);
            if n == 0 {
                line.push_str("\0 report-status side-band-64k object-format=sha1 agent=git/2");
                for (word, wanted) in
                    [(" atomic", request.capabilities.atomic), (" push-options", request.capabilities.push_options)]
                {
                    line.push_str(if wanted { word } else { "" });
                }
            }
            super::super::sideband::line(&mut out, line.as_bytes());
        }
        out.extend_from_slice(b"0000");
        if request.capabilities.push_options {
            for option in &request.options {
                super::super::sideband::line(&mut out, option.as_bytes());
            }
            out.extend_from_slice(b"0000");
        }
        out.to_vec()
    }

    prop_compose! {
        fn any_command()(old in any::<[u8; 20]>(), new in any::<[u8; 20]>(), name in "refs/[a-z]{1,8}/[a-zA-Z0-9 é.-]{1,20}") -> Command {
            Command { old: ObjectId::from_bytes_or_panic(&old), new: ObjectId::from_bytes_or_panic(&new), name }
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn nearly_right_bytes_never_panic(at in 0..200usize, with in any::<u8>(), command in any_command()) {
            let mut bytes = encode(&Request { commands: vec![command], ..Request::default() });
            let at = at.min(bytes.len() - 1);
            bytes[at] = with;
            let _ = parse(&bytes);
        }

        #[test]
        fn what_is_written_is_read(
            commands in proptest::collection::vec(any_command(), 1..8),
            options in proptest::collection::vec("[a-z=. ]{1,20}", 0..4),
            atomic: bool, push_options: bool,
        ) {
            let capabilities = Capabilities { report_status: true, side_band: true, atomic, push_options };
            let options = if push_options { options } else { Vec::new() };
            let request = Request { commands, capabilities, options };
            prop_assert_eq!(parse(&encode(&request)), Ok(request));
        }
    }

    #[test]
    fn bounds_and_oddities() {
        assert_eq!(parse(b"0000"), Ok(Request::default()));
        let line = format!("{} {} refs/heads/a", ObjectId::null(gix::hash::Kind::Sha1), "1".repeat(40));
        let packet = format!("{:04x}{line}", line.len() + 4);
        assert!(parse(format!("{}0000", packet.repeat(8)).as_bytes()).is_ok());
        assert!(parse(format!("{}0000", packet.repeat(9)).as_bytes()).is_err(), "too many");
        let shallow = format!("shallow {}", "2".repeat(40));
        let with_shallow = format!("{:04x}{shallow}{packet}0000", shallow.len() + 4);
        assert_eq!(parse(with_shallow.as_bytes()).unwrap().commands.len(), 1);
        for bad in ["0003", "0004", "fff1", "-001", "0007abc", "0002"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let sha256 = format!("{line}\0object-format=sha256");
        assert!(parse(format!("{:04x}{sha256}0000", sha256.len() + 4).as_bytes()).unwrap_err().contains("sha1"));
    }
}

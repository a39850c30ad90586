//! The head of an app's answer, as the lane reads it and as it hands it on. Pure.

use httparse::{EMPTY_HEADER, Header, Status};

/// Header lines of an answer; hyper's limit too.
const MOST: usize = 100;
/// Bytes of an answer's head.
pub(super) const LONGEST: usize = 128 * 1024;

/// What there is of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// More has to come.
    Partial,
    /// So many bytes are no answer yet, but a word in between (1xx).
    Informational(usize),
    /// It is none, or none that was asked for.
    Nonsense,
    Answer(Answer),
}

/// An answer, its body still to come.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Bytes of the head.
    pub length: usize,
    pub status: u16,
    pub body: Framing,
    /// Whether the connection can be asked again.
    pub keep: bool,
}

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none, whatever its length is said to be.
    None,
    Length(u64),
    Chunked,
    /// By the end of the connection.
    Close,
}

/// Reads an answer, and appends its head as the visitor shall see it, without the empty line. `head_only`: to a `HEAD`.
pub(super) fn read(bytes: &[u8], head_only: bool, out: &mut Vec<u8>) -> Head {
    let mut headers = [EMPTY_HEADER; MOST];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) if bytes.len() < LONGEST => return Head::Partial,
        Ok(Status::Partial) | Err(_) => return Head::Nonsense,
    };
    match response.code {
        Some(100 | 102..=199) => return Head::Informational(length),
        Some(200..) => {}
        // A change of protocols that nobody asked for is none.
        _ => return Head::Nonsense,
    }
    match translate(&response, length, head_only, out) {
        Some(answer) => Head::Answer(answer),
        None => Head::Nonsense,
    }
}

fn translate(
    response: &httparse::Response<'_, '_>,
    length: usize,
    head_only: bool,
    out: &mut Vec<u8>,
) -> Option<Answer> {
    let status = response.code?;
    let mut keep = response.version == Some(1);
    let (mut said, mut chunked, mut dated) = (None, false, false);
    let named: &[u8] = connection(response.headers);
    status_line(status, response.reason.unwrap_or_default(), out);
    for header in response.headers.iter() {
        match kind(header.name) {
            Kind::Length => {
                let bytes = std::str::from_utf8(header.value).ok()?;
                let digits = !bytes.is_empty() && bytes.bytes().all(|byte| byte.is_ascii_digit());
                let number = bytes.parse::<u64>().ok().filter(|_| digits)?;
                if said.is_some_and(|before| before != number) {
                    return None;
                }
                if said.replace(number).is_some() {
                    continue;
                }
            }
            Kind::Coding if header.value.eq_ignore_ascii_case(b"chunked") && !chunked => {
                chunked = true;
                continue;
            }
            Kind::Coding => return None,
            Kind::Connection => {
                keep &= !tokens(header.value).any(|token| token.eq_ignore_ascii_case(b"close"));
                continue;
            }
            Kind::Hop => continue,
            Kind::Date => dated = true,
            Kind::Passes if tokens(named).any(|token| token.eq_ignore_ascii_case(header.name.as_bytes())) => continue,
            Kind::Passes => {}
        }
        for part in [header.name.as_bytes(), &b": "[..], header.value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    // Which one counts would be the reader's choice (RFC 9112 6.3).
    if chunked && said.is_some() {
        return None;
    }
    if !dated {
        date(out);
    }
    let body = match (status, chunked, said) {
        _ if head_only => Framing::None,
        (204 | 304, ..) => Framing::None,
        (_, true, _) => Framing::Chunked,
        (_, false, Some(0)) => Framing::None,
        (_, false, Some(length)) => Framing::Length(length),
        (_, false, None) => Framing::Close,
    };
    if matches!(body, Framing::Chunked | Framing::Close) {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    Some(Answer { length, status, body, keep: keep && body != Framing::Close })
}

fn status_line(status: u16, reason: &str, out: &mut Vec<u8>) {
    if status == 200 && reason == "OK" {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(format!("HTTP/1.1 {status} {reason}\r\n").as_bytes());
}

/// RFC 9110 6.6.1: who hands on an answer without a date gives it one.
pub(super) fn date(out: &mut Vec<u8>) {
    if let Ok(now) = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&jiff::Timestamp::now()) {
        out.extend_from_slice(format!("date: {now}\r\n").as_bytes());
    }
}

enum Kind {
    Passes,
    Length,
    Coding,
    Connection,
    Date,
    /// Ends at this hop, or is written by us.
    Hop,
}

fn kind(name: &str) -> Kind {
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    match name.len() {
        2 if is("te") => Kind::Hop,
        4 if is("date") => Kind::Date,
        7 if is("upgrade") => Kind::Hop,
        10 if is("connection") => Kind::Connection,
        10 if is("keep-alive") => Kind::Hop,
        12 if is("x-request-id") => Kind::Hop,
        14 if is("content-length") => Kind::Length,
        16 if is("proxy-connection") => Kind::Hop,
        17 if is("transfer-encoding") => Kind::Coding,
        18 if is("proxy-authenticate") => Kind::Hop,
        _ => Kind::Passes,
    }
}

/// The names that `Connection` takes with it; a second such line names nothing that matters.
fn connection<'a>(headers: &[Header<'a>]) -> &'a [u8] {
    let line = headers.iter().find(|header| matches!(kind(header.name), Kind::Connection));
    line.map_or(&[], |header| header.value)
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, head_only: bool) -> (Head, String) {
        let mut out = Vec::new();
        let head = read(text.as_bytes(), head_only, &mut out);
        (head, String::from_utf8(out).unwrap())
    }

    const DATE: &str = "date: Thu, 26 Nov 2026 01:00:00 GMT\r\n";

    #[test]
    fn answers_are_handed_on_without_their_hops_headers() {
        let lines = "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nX-Request-Id: app's\r\nX-End: 1\r\n";
        let (head, text) = told(&format!("HTTP/1.1 200 OK\r\n{DATE}{lines}Content-Length: 2\r\n\r\nok"), false);
        assert_eq!(text, format!("HTTP/1.1 200 OK\r\n{DATE}X-End: 1\r\nContent-Length: 2\r\n"));
        let Head::Answer(answer) = head else { panic!("{head:?}") };
        assert_eq!((answer.status, answer.body, answer.keep), (200, Framing::Length(2), true));
        let (_, undated) = told("HTTP/1.1 404 Not Here\r\nContent-Length: 2\r\n\r\n", false);
        assert!(undated.starts_with("HTTP/1.1 404 Not Here\r\nContent-Length: 2\r\ndate: "), "{undated}");
        assert!(undated.ends_with(" GMT\r\n"), "{undated}");
    }

    #[test]
    fn the_end_of_a_body_is_known() {
        for (lines, head_only, body, keep) in [
            ("200 OK\r\nContent-Length: 7\r\nContent-Length: 7", false, Framing::Length(7), true),
            ("200 OK\r\nContent-Length: 0", false, Framing::None, true),
            ("200 OK\r\nContent-Length: 7", true, Framing::None, true),
            ("204 No Content\r\nX: 1", false, Framing::None, true),
            ("304 Not Modified\r\nContent-Length: 7", false, Framing::None, true),
            ("200 OK\r\nTransfer-Encoding: Chunked", false, Framing::Chunked, true),
            ("200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close", false, Framing::Chunked, false),
            ("200 OK\r\nX: 1", false, Framing::Close, false),
        ] {
            let (head, text) = told(&format!("HTTP/1.1 {lines}\r\n\r\n"), head_only);
            let Head::Answer(answer) = head else { panic!("{lines}: {head:?}") };
            assert_eq!((answer.body, answer.keep), (body, keep), "{lines}");
            let coded = matches!(body, Framing::Chunked | Framing::Close);
            assert_eq!(text.matches("transfer-encoding: chunked\r\n").count(), usize::from(coded), "{text}");
            assert!(text.matches("Content-Length").count() <= 1, "{text}");
        }
        let (old, _) = told("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", false);
        assert!(matches!(old, Head::Answer(Answer { keep: false, .. })));
    }

    #[test]
    fn nonsense_is_no_answer() {
        for lines in [
            "101 Switching Protocols\r\nUpgrade: x",
            "200 OK\r\nContent-Length: 7\r\nContent-Length: 8",
            "200 OK\r\nContent-Length: +7",
            "200 OK\r\nContent-Length: 7, 7",
            "200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked",
            "200 OK\r\nTransfer-Encoding: gzip, chunked",
            "200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "200 OK\r\n folded: 1",
            "20 OK\r\nX: 1",
            "what",
        ] {
            assert_eq!(told(&format!("HTTP/1.1 {lines}\r\n\r\n"), false).0, Head::Nonsense, "{lines}");
        }
        assert_eq!(told("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP", false).0, Head::Informational(37));
        assert_eq!(told("HTTP/1.1 200 OK\r\n", false).0, Head::Partial);
        assert_eq!(told(&format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(LONGEST)), false).0, Head::Nonsense);
    }
}

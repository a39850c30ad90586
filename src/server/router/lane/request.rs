//! The head of a request, as the lane reads it and as it hands it on. Pure.
//!
//! Every byte that decides where a request ends or begins is checked by the same parser that hyper uses; whatever is not
//! wholly ordinary is [`Head::Unusual`], and nothing of it has been used up.

use std::ops::Range;

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue};
use httparse::{EMPTY_HEADER, Header, Status};

/// Header lines that the lane looks at; hyper has its own, configured, limit.
const MOST: usize = 64;

/// What there is of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// More has to come.
    Partial,
    /// Not for the lane.
    Unusual,
    Plain(Plain),
}

/// An ordinary request without a body. Ranges are those of the bytes it was read from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plain {
    /// Bytes of the head.
    pub length: usize,
    /// `HEAD`, and not `GET`.
    pub head_only: bool,
    path: Range<usize>,
    host: Range<usize>,
    /// A line that ends at this hop.
    connection: Option<Range<usize>>,
    /// From the end of the request line to the empty line.
    lines: Range<usize>,
}

/// Reads a head.
pub(super) fn read(bytes: &[u8]) -> Head {
    let mut headers = [EMPTY_HEADER; MOST];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Head::Partial,
        Err(_) => return Head::Unusual,
    };
    plain(bytes, &request, length).map_or(Head::Unusual, Head::Plain)
}

fn plain(bytes: &[u8], request: &httparse::Request<'_, '_>, length: usize) -> Option<Plain> {
    let head_only = match (request.method?, request.version?) {
        ("GET", 1) => false,
        ("HEAD", 1) => true,
        _ => return None,
    };
    let path = request.path?;
    // Some readers end lines at a bare LF, and some do not; the parser has found no other use of a CR.
    let lines = bytes[..length].iter().filter(|byte| **byte == b'\r').count();
    let strict = lines == request.headers.len() + 2 && bytes.first().is_some_and(u8::is_ascii_uppercase);
    if !strict || !path.starts_with('/') || !path.bytes().all(is_ordinary) {
        return None;
    }
    let (mut host, mut connection) = (None, None);
    for header in request.headers.iter() {
        match kind(header) {
            Kind::Passes => {}
            Kind::Host if host.is_none() => host = Some(range(bytes, header.value)),
            Kind::KeepAlive if connection.is_none() => connection = Some(line(bytes, header)?),
            Kind::Host | Kind::KeepAlive | Kind::Unusual => return None,
        }
    }
    let path = range(bytes, path.as_bytes());
    // The request line ends with ` HTTP/1.1` and its line end.
    let lines = path.end + b" HTTP/1.1\r\n".len()..length - 2;
    bytes[..lines.start].ends_with(b"\r\n").then_some(())?;
    Some(Plain { length, head_only, path, host: host?, connection, lines })
}

/// RFC 3986's characters, and no others.
fn is_ordinary(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/?%=&-._~:@!$'()*+,;".contains(&byte)
}

enum Kind {
    Passes,
    Host,
    /// `Connection: keep-alive`, which HTTP/1.1 does not need.
    KeepAlive,
    Unusual,
}

/// What a line means to us; most are told by their first letter.
fn kind(header: &Header<'_>) -> Kind {
    let name = header.name.as_bytes();
    let is = |other: &str| header.name.eq_ignore_ascii_case(other);
    let begins = |start: &[u8]| name.get(..start.len()).is_some_and(|part| part.eq_ignore_ascii_case(start));
    let unusual = match name.first().map(u8::to_ascii_lowercase) {
        Some(b'h') if is("host") => return Kind::Host,
        Some(b'c') if is("connection") => {
            return if header.value.eq_ignore_ascii_case(b"keep-alive") { Kind::KeepAlive } else { Kind::Unusual };
        }
        Some(b'c') => is("content-length"),
        Some(b't') => is("te") || is("trailer") || is("transfer-encoding"),
        Some(b'u') => is("upgrade"),
        Some(b'e') => is("expect"),
        Some(b'k') => is("keep-alive"),
        Some(b'h') => is("http2-settings"),
        Some(b'p') => begins(b"proxy"),
        Some(b'f') => begins(b"forwarded"),
        // What we write ourselves, and its look-alikes.
        Some(b'x') => {
            let rest = name.get(2..).unwrap_or_default();
            let family = |start: &[u8]| rest.get(..start.len()).is_some_and(|part| part.eq_ignore_ascii_case(start));
            family(b"forwarded") || family(b"request") || family(b"real") || family(b"client")
        }
        _ => false,
    };
    if unusual { Kind::Unusual } else { Kind::Passes }
}

/// Where a part of the bytes is in them.
fn range(bytes: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr() - bytes.as_ptr().addr();
    start..start + part.len()
}

/// A header's whole line.
fn line(bytes: &[u8], header: &Header<'_>) -> Option<Range<usize>> {
    let start = range(bytes, header.name.as_bytes()).start;
    let length = bytes.get(start..)?.windows(2).position(|pair| pair == b"\r\n")?;
    Some(start..start + length + 2)
}

/// What form of page the client of an ordinary request wants.
pub(super) fn accept(bytes: &[u8]) -> HeaderMap {
    let mut headers = [EMPTY_HEADER; MOST];
    let mut request = httparse::Request::new(&mut headers);
    let mut found = HeaderMap::new();
    if request.parse(bytes).is_ok() {
        for header in request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("accept")) {
            found.extend(HeaderValue::from_bytes(header.value).map(|value| (ACCEPT, value)));
        }
    }
    found
}

impl Plain {
    /// The `Host` header, if it is text.
    pub(super) fn host<'a>(&self, bytes: &'a [u8]) -> Option<&'a str> {
        std::str::from_utf8(bytes.get(self.host.clone())?).ok()
    }

    /// The path and the query.
    pub(super) fn path<'a>(&self, bytes: &'a [u8]) -> Option<&'a str> {
        std::str::from_utf8(bytes.get(self.path.clone())?).ok()
    }

    /// Appends the head as an app shall see it, `told` being the lines that we add.
    pub(super) fn write(&self, bytes: &[u8], told: &[&[u8]], out: &mut Vec<u8>) {
        // The request line is the app's too.
        out.extend_from_slice(&bytes[..self.lines.start]);
        match &self.connection {
            Some(dropped) => {
                out.extend_from_slice(&bytes[self.lines.start..dropped.start]);
                out.extend_from_slice(&bytes[dropped.end..self.lines.end]);
            }
            None => out.extend_from_slice(&bytes[self.lines.clone()]),
        }
        told.iter().for_each(|part| out.extend_from_slice(part));
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Option<String> {
        let Head::Plain(plain) = read(text.as_bytes()) else { return None };
        assert_eq!(plain.length, text.find("\r\n\r\n").unwrap() + 4);
        let mut out = Vec::new();
        plain.write(text.as_bytes(), &[b"x-told: ", b"1", b"\r\n"], &mut out);
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn ordinary_requests_are_handed_on_as_they_are() {
        let head =
            "GET /a?b=%20 HTTP/1.1\r\nHost: shop.test\r\nAccept: */*\r\nCookie: a=1\r\nx-other: 2\r\n\r\nGET /next";
        let wanted =
            "GET /a?b=%20 HTTP/1.1\r\nHost: shop.test\r\nAccept: */*\r\nCookie: a=1\r\nx-other: 2\r\nx-told: 1\r\n\r\n";
        assert_eq!(written(head).as_deref(), Some(wanted));
        let kept = "HEAD / HTTP/1.1\r\nConnection: Keep-Alive\r\nHost: a\r\n\r\n";
        assert_eq!(written(kept).as_deref(), Some("HEAD / HTTP/1.1\r\nHost: a\r\nx-told: 1\r\n\r\n"));
        assert_eq!(
            written("GET / HTTP/1.1\r\nHost: a\r\nConnection:keep-alive\r\n\r\n").as_deref(),
            Some("GET / HTTP/1.1\r\nHost: a\r\nx-told: 1\r\n\r\n")
        );
    }

    #[test]
    fn whatever_else_is_for_hyper() {
        for line in [
            "Content-Length: 0",
            "Transfer-Encoding: chunked",
            "Connection: close",
            "Connection: keep-alive, x",
            "Upgrade: x",
            "Expect: 100-continue",
            "TE: trailers",
            "Trailer: x",
            "Keep-Alive: 5",
            "Proxy: x",
            "Proxy-Connection: x",
            "Forwarded: for=1",
            "X-Forwarded-For: 1",
            "X_Forwarded_For: 1",
            "x-real-ip: 1",
            "X-Client-IP: 1",
            "X-Request-Id: 1",
            "HTTP2-Settings: x",
            "Host: b",
            "Transfer-Encoding : chunked",
            " folded: 1",
            "X-A: a\rb",
            "X A: b",
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n");
            assert_eq!(read(head.as_bytes()), Head::Unusual, "{line}");
        }
        for head in [
            "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\"<> HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\r\nA: 1\nB: 2\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ] {
            assert_eq!(read(head.as_bytes()), Head::Unusual, "{head:?}");
        }
        assert_eq!(read(b"GET / HTTP/1.1\r\nHost: a\r\n"), Head::Partial);
        assert_eq!(read(b""), Head::Partial);
    }
}

//! A WebSocket as a visitor holds it: text out, text back.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An open one.
pub struct WebSocket {
    stream: BufReader<TcpStream>,
}

impl WebSocket {
    /// `GET http://HOST/PATH`, upgraded, sent to `address`.
    pub fn open(address: SocketAddr, host: &str, path: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.get_mut().write_all(request.as_bytes())?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, head));
            }
        }
        let accepted = head.starts_with("HTTP/1.1 101") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        if accepted { Ok(Self { stream }) } else { Err(io::Error::other(head)) }
    }

    /// Says `text`, of less than 126 bytes, and returns what comes back.
    pub fn ask(&mut self, text: &str) -> io::Result<String> {
        let mask = [1, 2, 3, 4];
        let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).map_err(io::Error::other)?];
        frame.extend(mask);
        frame.extend(text.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.stream.get_mut().write_all(&frame)?;
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        let mut answer = vec![0; head[1].into()];
        self.stream.read_exact(&mut answer)?;
        String::from_utf8(answer).map_err(io::Error::other)
    }
}

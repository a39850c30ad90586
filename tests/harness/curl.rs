//! curl as a visitor over TLS: names are led to the server, and only one CA is trusted.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A visitor that trusts one CA.
pub struct Curl {
    ca: PathBuf,
    https: SocketAddr,
}

/// What came back.
#[derive(Debug)]
pub struct Fetched {
    /// curl's own exit code: 0, or why there was no answer (35: handshake, 60: certificate).
    pub code: i32,
    pub status: u16,
    /// "1.1" or "2".
    pub version: String,
    pub body: String,
    pub errors: String,
}

impl Curl {
    /// Trusts `ca`, a PEM file.
    pub fn trusting(ca: &Path, https: SocketAddr) -> Self {
        Self { ca: ca.to_owned(), https }
    }

    /// `curl OPTIONS https://HOST:PORT/PATH`.
    pub fn get(&self, host: &str, path: &str, options: &[&str]) -> Fetched {
        let port = self.https.port();
        let output = Command::new("curl")
            .args(["-sS", "-o", "-", "-w", "\n%{http_code} %{http_version}", "--max-time", "30", "--noproxy", "*"])
            .arg("--cacert")
            .arg(&self.ca)
            .args(["--connect-to", &format!("{host}:{port}:{}:{port}", self.https.ip())])
            .args(options)
            .arg(format!("https://{host}:{port}{path}"))
            .output()
            .expect("curl");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, last) = text.rsplit_once('\n').unwrap_or(("", &text));
        let (status, version) = last.split_once(' ').unwrap_or_default();
        Fetched {
            code: output.status.code().unwrap_or(-1),
            status: status.parse().unwrap_or(0),
            version: version.to_owned(),
            body: body.to_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

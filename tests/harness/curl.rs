//! curl as a visitor over TLS: names are led to the server, and only one CA is trusted.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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

/// The serial number of the certificate that a host is served with, lower case; empty if there is none.
pub fn serial(https: SocketAddr, host: &str) -> String {
    let shown = Command::new("openssl")
        .args(["s_client", "-connect", &https.to_string(), "-servername", host, "-showcerts"])
        .stdin(Stdio::null())
        .output()
        .expect("openssl");
    let mut x509 = Command::new("openssl")
        .args(["x509", "-noout", "-serial"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl");
    std::io::Write::write_all(&mut x509.stdin.take().expect("stdin"), &shown.stdout).expect("write");
    let output = x509.wait_with_output().expect("openssl");
    String::from_utf8_lossy(&output.stdout).trim().trim_start_matches("serial=").to_lowercase()
}

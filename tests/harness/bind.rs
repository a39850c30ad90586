//! bind9, a name server that takes updates signed with TSIG, for one zone.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::pebble::free_ports;
use super::wait_until;

/// The TSIG key `gigalixir`.
pub const KEY: &str = "c2VjcmV0LWtleS1mb3ItdGhlLXRlc3RzLW9ubHkhISE=";

/// A running name server.
pub struct Bind {
    _folder: TempDir,
    child: Child,
    pub address: SocketAddr,
}

impl Bind {
    /// One for `zone`, in which everything leads to 127.0.0.1; `None`, loudly, on a machine without it.
    pub fn start(zone: &str) -> Option<Self> {
        if Command::new("named").arg("-v").stdout(Stdio::null()).status().is_err() {
            println!("SKIPPED: bind9 is not installed (tests/setup does)");
            return None;
        }
        let folder = tempfile::tempdir().expect("folder");
        let here = folder.path().display();
        let [port] = free_ports();
        let records = "@ 60 IN SOA ns hostmaster 1 60 60 60 60\n@ 60 IN NS ns\nns 60 IN A 127.0.0.1\n@ 60 IN A 127.0.0.1\n* 60 IN A 127.0.0.1\nfar 60 IN A 192.0.2.7\nbare 60 IN TXT x\n";
        std::fs::write(folder.path().join("zone"), records).expect("zone");
        let config = format!(
            "key gigalixir {{ algorithm hmac-sha256; secret \"{KEY}\"; }};\n\
             options {{ directory \"{here}\"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; \
             pid-file \"{here}/pid\"; session-keyfile \"{here}/session\"; managed-keys-directory \"{here}\"; \
             recursion no; dnssec-validation no; notify no; }};\n\
             controls {{ }};\n\
             zone \"{zone}\" {{ type primary; file \"{here}/zone\"; update-policy {{ grant gigalixir zonesub ANY; }}; }};\n"
        );
        std::fs::write(folder.path().join("named.conf"), config).expect("config");
        let mut command = Command::new("named");
        command.args(["-f", "-n", "1", "-c"]).arg(folder.path().join("named.conf"));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("named");
        let bind = Self { _folder: folder, child, address: SocketAddr::from(([127, 0, 0, 1], port)) };
        wait_until("bind answers", Duration::from_secs(30), || std::net::TcpStream::connect(bind.address).is_ok());
        Some(bind)
    }

    /// Changes the zone by a line of nsupdate's.
    pub fn update(&self, zone: &str, line: &str) {
        let script = format!("server 127.0.0.1 {}\nzone {zone}\nupdate {line}\nsend\n", self.address.port());
        let mut command = Command::new("nsupdate");
        let mut child = command
            .args(["-y", &format!("hmac-sha256:gigalixir:{KEY}")])
            .stdin(Stdio::piped())
            .spawn()
            .expect("nsupdate");
        std::io::Write::write_all(&mut child.stdin.take().expect("stdin"), script.as_bytes()).expect("write");
        assert!(child.wait().expect("nsupdate").success(), "{line}");
    }

    /// The zone as it is on disk and in the journal, by transfer: every TXT record's text.
    pub fn texts(&self, zone: &str) -> Vec<String> {
        let (server, port) = (format!("@{}", self.address.ip()), self.address.port().to_string());
        let output = Command::new("dig")
            .args([&server, "-p", &port, "+tcp", "+short", "TXT", &format!("_acme-challenge.{zone}")])
            .output()
            .expect("dig");
        String::from_utf8_lossy(&output.stdout).lines().map(|line| line.trim_matches('"').to_owned()).collect()
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

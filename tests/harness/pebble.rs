//! Pebble, a CA for tests, with its checks on, and the name server it asks (`pebble-challtestsrv`).

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::wait_until;

/// Where a CA will be; it runs from [`Pebble::start`] on.
pub struct Pebble {
    folder: TempDir,
    directory: u16,
    management: u16,
    dns: u16,
    names: Child,
    ca: Option<Child>,
}

/// What is different from the usual.
pub struct Wishes<'a> {
    /// Seconds that a certificate is valid.
    pub validity: u64,
    /// Whether an external account (kid `kid-1`) is asked for.
    pub eab: bool,
    /// The name server to ask, if not the test's own.
    pub dns: Option<SocketAddr>,
    /// Further lines of its environment.
    pub env: &'a [(&'a str, &'a str)],
}

impl Default for Wishes<'_> {
    fn default() -> Self {
        Self { validity: 157_766_400, eab: false, dns: None, env: &[("PEBBLE_WFE_NONCEREJECT", "5")] }
    }
}

/// The key of `kid-1`, base64url.
pub const EAB_KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

impl Pebble {
    /// Its places; `None`, loudly, on a machine without it.
    pub fn prepare() -> Option<Self> {
        if Command::new("pebble-challtestsrv").arg("-help").stderr(Stdio::null()).status().is_err() {
            println!("SKIPPED: pebble is not installed (tests/setup does)");
            return None;
        }
        let folder = tempfile::tempdir().expect("folder");
        certificate_of_its_own(folder.path());
        let [directory, management, dns, control] = free_ports();
        let names = Command::new("pebble-challtestsrv")
            .args(["-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""])
            .args(["-dns01", &format!("127.0.0.1:{dns}"), "-management", &format!("127.0.0.1:{control}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("pebble-challtestsrv");
        Some(Self { folder, directory, management, dns, names, ca: None })
    }

    /// Its directory.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.directory)
    }

    /// Lines of `[tls]` for a server that asks it.
    pub fn config(&self) -> String {
        self.config_for(&[self.url()], &[self])
    }

    /// The same for one that asks it before another.
    pub fn config_before(&self, other: &Self) -> String {
        self.config_for(&[self.url(), other.url()], &[self, other])
    }

    /// The same for one that asks it by these addresses; `asked` are who answers there.
    pub fn config_for(&self, directories: &[String], asked: &[&Self]) -> String {
        let (file, roots) =
            (self.folder.path().join("roots.pem"), asked.iter().map(|one| one.folder.path().join("root.pem")));
        let roots: String = roots.map(|root| std::fs::read_to_string(root).expect("root")).collect();
        std::fs::write(&file, roots).expect("roots");
        format!(
            "mode = \"acme\"\ncontact = \"ops@paas.test\"\ndirectories = {directories:?}\nca_file = \"{}\"\ndns_servers = [\"127.0.0.1:{}\"]\n",
            file.display(),
            self.dns
        )
    }

    /// Where things of its own are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its directory's port.
    pub fn port(&self) -> u16 {
        self.directory
    }

    /// Runs it; challenges are looked for at the server's ports.
    pub fn start(&mut self, http: SocketAddr, https: SocketAddr, wishes: &Wishes<'_>) {
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{}", self.directory),
            "managementListenAddress": format!("127.0.0.1:{}", self.management),
            "certificate": self.folder.path().join("cert.pem"),
            "privateKey": self.folder.path().join("key.pem"),
            "httpPort": http.port(),
            "tlsPort": https.port(),
            "certificateValidityPeriod": wishes.validity,
            "externalAccountBindingRequired": wishes.eab,
            "externalAccountMACKeys": { "kid-1": EAB_KEY },
        }});
        let file = self.folder.path().join("pebble.json");
        std::fs::write(&file, config.to_string()).expect("config");
        let dns = wishes.dns.unwrap_or(SocketAddr::from(([127, 0, 0, 1], self.dns)));
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log")).expect("log");
        let mut command = Command::new("pebble");
        command.args(["-strict", "-config"]).arg(&file).args(["-dnsserver", &dns.to_string()]);
        command.env("PEBBLE_VA_NOSLEEP", "1").envs(wishes.env.iter().copied());
        self.ca = Some(command.stdout(log).stderr(Stdio::null()).spawn().expect("pebble"));
        let ports = [self.directory, self.management];
        wait_until("pebble listens", Duration::from_secs(30), || {
            ports.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
        });
    }

    /// Ends it; its accounts and orders are gone.
    pub fn stop(&mut self) {
        if let Some(mut ca) = self.ca.take() {
            let _ = ca.kill();
            let _ = ca.wait();
        }
    }

    /// The root that signs its certificates, as a file.
    pub fn root(&self) -> PathBuf {
        let path = self.folder.path().join("issuer.pem");
        std::fs::write(&path, self.manage("/roots/0")).expect("root");
        path
    }

    /// Its management interface's answer.
    pub fn manage(&self, path: &str) -> String {
        let url = format!("https://127.0.0.1:{}{path}", self.management);
        let output = Command::new("curl").args(["-sSk", "--max-time", "20", &url]).output().expect("curl");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("--- pebble's last lines ---\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
        self.stop();
        let _ = self.names.kill();
        let _ = self.names.wait();
    }
}

/// Ports that are free now.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("bind"));
    listeners.map(|listener| listener.local_addr().expect("address").port())
}

/// What its own https is served with.
fn certificate_of_its_own(folder: &Path) {
    let (root_key, key) = (KeyPair::generate().expect("key"), KeyPair::generate().expect("key"));
    let mut root = CertificateParams::new(Vec::<String>::new()).expect("root");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(folder.join("root.pem"), root.self_signed(&root_key).expect("root").pem()).expect("write");
    let mut leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("leaf");
    leaf.is_ca = IsCa::ExplicitNoCa;
    let leaf = leaf.signed_by(&key, &Issuer::new(root, root_key)).expect("leaf");
    std::fs::write(folder.join("cert.pem"), leaf.pem()).expect("write");
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).expect("write");
}

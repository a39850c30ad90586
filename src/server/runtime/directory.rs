//! What a replica needs to ask the platform who else there is of its app, in the way that it would ask Kubernetes: the
//! name of the server, a token, the server's authority, and the name of its own namespace (the app's).
//!
//! libcluster builds its address from a fixed host name and `CLUSTER_DOMAIN`, without a port. Where the server could not
//! have port 443, the domain carries the port; versions before 3.3 do not know that variable and need 443.
//!
//! Deliberately absent: host names for replicas other than one's own (libcluster's `:dns` mode); nodes go by address.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files;
use crate::server::domain::AppName;

/// Where the files lie inside, as in a pod.
pub(in crate::server::runtime) const INSIDE: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// What a replica shows to be let in: the app's key, which is in its environment anyway.
const KEY: &str = "GIGALIXIR__APP_KEY";
const DOMAIN: &str = "cluster.local";
const SERVER: &str = "kubernetes.default.svc";
const HTTPS: u16 = 443;

/// Where replicas ask who else there is of their app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// The port is 443 if that could be had.
    pub address: SocketAddr,
    /// Who vouches for it.
    pub authority_pem: String,
}

/// The directory as one replica sees it. Secret.
#[derive(Clone, Serialize, Deserialize)]
pub(in crate::server::runtime) struct Membership {
    address: SocketAddr,
    authority_pem: String,
    token: String,
    namespace: String,
}

impl Directory {
    /// What a replica of `app` is shown; its environment gets what libraries look for.
    pub(in crate::server::runtime) fn membership(
        &self,
        app: &AppName,
        env: &mut BTreeMap<String, String>,
    ) -> Membership {
        // The server's certificate has its loopback address and its names; elsewhere the name leads to the address.
        let ip = self.address.ip();
        let host = if ip.is_loopback() { ip.to_string() } else { SERVER.to_owned() };
        let port = self.address.port().to_string();
        let mut otherwise = |name: &str, value: String| {
            env.entry(name.to_owned()).or_insert(value);
        };
        otherwise("MY_POD_NAMESPACE", app.to_string());
        otherwise("KUBERNETES_SERVICE_HOST", host);
        otherwise("KUBERNETES_SERVICE_PORT", port.clone());
        otherwise("KUBERNETES_SERVICE_PORT_HTTPS", port.clone());
        if self.address.port() != HTTPS {
            otherwise("CLUSTER_DOMAIN", format!("{DOMAIN}:{port}"));
        }
        Membership {
            address: self.address,
            authority_pem: self.authority_pem.clone(),
            token: env.get(KEY).cloned().unwrap_or_default(),
            namespace: app.to_string(),
        }
    }
}

impl Membership {
    /// Names that it shall find: the server's, and its own as a pod's.
    pub(in crate::server::runtime) fn names(&self, ip: IpAddr) -> Vec<(String, IpAddr)> {
        let full = format!("{SERVER}.{DOMAIN}");
        let server = [format!("{full}.{DOMAIN}"), full, SERVER.to_owned(), "kubernetes.default".to_owned()];
        let own = format!("{}.{}.pod.{DOMAIN}", ip.to_string().replace('.', "-"), self.namespace);
        server.into_iter().map(|name| (name, self.address.ip())).chain([(own, ip)]).collect()
    }

    /// Lines of its hosts file.
    pub(in crate::server::runtime) fn hosts(&self, ip: IpAddr) -> String {
        self.names(ip).into_iter().map(|(name, ip)| format!("{ip} {name}\n")).collect()
    }

    /// The files that lie at [`INSIDE`].
    pub(in crate::server::runtime) fn files(&self) -> [(&'static str, &str); 3] {
        [("ca.crt", &self.authority_pem), ("token", &self.token), ("namespace", &self.namespace)]
    }

    /// Writes the files that lie at [`INSIDE`].
    pub(in crate::server::runtime) fn write(&self, dir: &Path) -> io::Result<()> {
        files::make(dir)?;
        for (name, text) in self.files() {
            files::remove_file(&dir.join(name))?;
            File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(dir.join(name))?
                .write_all(text.as_bytes())?;
        }
        Ok(())
    }
}

/// The machine's own names for itself and its neighbours, as they are at this moment.
pub(in crate::server::runtime) fn machine_hosts() -> String {
    fs::read_to_string("/etc/hosts").map(|text| format!("{}\n", text.trim_end())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env_at(port: u16, given: &[(&str, &str)]) -> BTreeMap<String, String> {
        let address = SocketAddr::from(([127, 63, 1, 2], port));
        let mut env = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let directory = Directory { address, authority_pem: "pem".to_owned() };
        let shown = directory.membership(&AppName::parse("shop").unwrap(), &mut env);
        assert_eq!(shown.token, "key");
        let hosts = shown.hosts([127, 64, 0, 9].into());
        assert!(hosts.contains("\n127.63.1.2 kubernetes.default.svc.cluster.local\n"), "{hosts}");
        assert!(hosts.ends_with("\n127.64.0.9 127-64-0-9.shop.pod.cluster.local\n"), "{hosts}");
        env
    }

    #[test]
    fn libraries_find_what_they_look_for() {
        let env = env_at(443, &[(KEY, "key")]);
        assert_eq!(
            (env["KUBERNETES_SERVICE_HOST"].as_str(), env["KUBERNETES_SERVICE_PORT"].as_str()),
            ("127.63.1.2", "443")
        );
        assert!(!env.contains_key("CLUSTER_DOMAIN"));
        assert_eq!(env_at(4443, &[(KEY, "key")])["CLUSTER_DOMAIN"], "cluster.local:4443");
        let own = env_at(4443, &[(KEY, "key"), ("CLUSTER_DOMAIN", "example.com")]);
        assert_eq!(own["CLUSTER_DOMAIN"], "example.com");
    }
}

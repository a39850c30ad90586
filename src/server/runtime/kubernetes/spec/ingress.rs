//! The ways from the cluster's own ingress to an app: an Ingress for each of its hosts, the Secret with the host's
//! certificate, and a Service that is the server's own router.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::IngressConfig;
use super::super::ingress::IngressHost;
use super::app::{AppObjects, WEB_SERVICE};
use crate::server::domain::Pem;

/// The server's router, as pods of an app's namespace know it.
pub(in super::super) const PLATFORM: &str = "platform";
/// Where a CA looks for the answer to its challenge (RFC 8555).
const CHALLENGES: &str = "/.well-known/acme-challenge/";

impl AppObjects<'_> {
    /// The server's router under a name. It is no pod, so nobody but the server knows its address.
    pub(in super::super) fn platform(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": PLATFORM, "labels": self.labels()},
            "spec": {"ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]},
        })
    }

    /// Where it is.
    pub(in super::super) fn platform_address(&self, config: &IngressConfig) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": PLATFORM, "labels": self.labels()},
            "subsets": [{
                "addresses": [{"ip": config.router.ip().to_string()}],
                "ports": [{"name": "http", "port": config.router.port(), "protocol": "TCP"}],
            }],
        })
    }

    /// What leads a host's visitors, and CAs that want to see whose it is. Objects of a host are called as [`IngressHost::object`] says.
    pub(in super::super) fn ingress(&self, config: &IngressConfig, host: &IngressHost) -> Value {
        let path = |path: &str, service: &str| {
            let backend = json!({"service": {"name": service, "port": {"number": 80}}});
            json!({"path": path, "pathType": "Prefix", "backend": backend})
        };
        let to = if host.straight { WEB_SERVICE } else { PLATFORM };
        let (name, object) = (host.name.as_str(), host.object());
        let mut ingress = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": object, "labels": self.labels()},
            "spec": {
                "ingressClassName": config.class,
                "rules": [{"host": name, "http": {"paths": [path(CHALLENGES, PLATFORM), path("/", to)]}}],
            },
        });
        // Without one a controller would show a certificate of its own, and might send visitors there.
        if host.certificate.is_some() {
            ingress["spec"]["tls"] = json!([{"hosts": [name], "secretName": object}]);
        }
        ingress
    }

    /// A host's certificate.
    pub(in super::super) fn certificate(&self, host: &IngressHost, pem: &Pem) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": host.object(), "labels": self.labels()},
            "type": "kubernetes.io/tls",
            "data": {"tls.crt": STANDARD.encode(&pem.chain), "tls.key": STANDARD.encode(&pem.key)},
        })
    }
}

//! What all of an app has in common: its namespace and what lies in it.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::super::names::{APP, REPO, SERVER, WEB};
use super::pod::PORT;
use crate::server::domain::AppName;

/// The service account of an app's replicas.
pub(super) const ACCOUNT: &str = "app";
/// The web replicas, for whoever looks for them by a name.
pub(super) const WEB_SERVICE: &str = "web";
/// What pods pull their images with.
const REGISTRIES: &str = "registries";
/// What replicas may see of their own namespace, and the right to it.
const PEERS: &str = "peers";
/// What the server may do in an app's namespace: a ClusterRole of `config/kubernetes/rbac.yaml`.
const SERVERS_ROLE: &str = "gigalixir-app";
/// What it may do in that of builds.
pub(super) const BUILDERS_ROLE: &str = "gigalixir-builds";

/// The platform's own files in every pod. They never change under a replica: others have another name.
pub(in super::super) struct Scripts {
    name: String,
    /// Key, where it lies below the platform's folder, text.
    files: Vec<(&'static str, &'static str, &'static str)>,
}

macro_rules! script {
    ($key:literal, $path:literal, $file:literal) => {
        ($key, $path, include_str!(concat!("../../../../../config/", $file)))
    };
}

impl Scripts {
    /// As they are in this program.
    pub(in super::super) fn embedded() -> Self {
        let files = vec![
            script!("start", "start", "kubernetes/start"),
            script!("init", "init", "init"),
            script!("entrypoint", "entrypoint", "entrypoint"),
            script!("session", "session", "session"),
            script!("framed", "framed", "kubernetes/framed"),
            script!("signal", "signal", "kubernetes/signal"),
            script!("transfer", "transfer", "kubernetes/transfer"),
            script!("build", "build", "kubernetes/build"),
            script!("gigalixir_run", "bin/gigalixir_run", "gigalixir_run"),
            script!("gigalixir_run", "bin/run-cmd", "gigalixir_run"),
            script!("gigalixir_run", "bin/epmd", "gigalixir_run"),
            script!("migrate.exs", "migrate.exs", "migrate.exs"),
        ];
        let mut digest = Sha256::new();
        for (key, path, text) in &files {
            digest.update(format!("{key}\0{path}\0{text}\0"));
        }
        Self { name: format!("gigalixir-{}", hex::encode(&digest.finalize()[..4])), files }
    }

    /// The volume of a pod that shows them.
    pub(super) fn volume(&self) -> Value {
        let items: Vec<_> =
            self.files.iter().map(|(key, path, _)| json!({"key": key, "path": path, "mode": 0o755})).collect();
        json!({"name": "platform", "configMap": {"name": self.name, "items": items}})
    }

    pub(in super::super) fn config_map(&self, labels: &Value) -> Value {
        let data: serde_json::Map<String, Value> =
            self.files.iter().map(|(key, _, text)| ((*key).to_owned(), (*text).into())).collect();
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": self.name, "labels": labels},
            "immutable": true, "data": data,
        })
    }
}

/// An app in a cluster.
pub(in super::super) struct AppObjects<'a> {
    pub(in super::super) server: &'a str,
    pub(in super::super) app: &'a AppName,
    pub(in super::super) namespace: &'a str,
    /// Addresses from which the server's router and others outside the cluster come.
    pub(in super::super) visitors: &'a [IpAddr],
    /// What registries want to be signed in with: a `.dockerconfigjson`.
    pub(in super::super) registries: Option<&'a str>,
}

impl AppObjects<'_> {
    /// Every object of an app has these.
    pub(in super::super) fn labels(&self) -> Value {
        json!({SERVER: self.server, APP: self.app.as_str()})
    }

    /// Pods in it may have no privilege at all, whoever makes them.
    pub(in super::super) fn namespace(&self) -> Value {
        let mut labels = self.labels();
        labels["pod-security.kubernetes.io/enforce"] = "restricted".into();
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}})
    }

    /// What makes the namespace the server's own: `subject` is the account that it signs in with.
    pub(in super::super) fn own_rights(&self, subject: &Value) -> Value {
        servers_rights(&self.labels(), ("gigalixir", SERVERS_ROLE), subject)
    }

    /// Whoever runs as it pulls with its secrets, so that pods need not know of them.
    pub(in super::super) fn account(&self) -> Value {
        account(&self.labels(), self.registries)
    }

    /// What its pods pull their images with, where registries want to know who asks.
    pub(in super::super) fn registries(&self) -> Option<Value> {
        Some(registries(&self.labels(), self.registries?))
    }

    /// What a cluster library reads.
    pub(in super::super) fn role(&self) -> Value {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": PEERS, "labels": self.labels()},
            "rules": [{"apiGroups": [""], "resources": ["endpoints", "pods"], "verbs": ["get", "list", "watch"]}],
        })
    }

    pub(in super::super) fn role_binding(&self) -> Value {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": PEERS, "labels": self.labels()},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": PEERS},
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": self.namespace}],
        })
    }

    /// All replicas, for those that look for their peers by endpoints: it has no address and leads no visitor.
    pub(in super::super) fn peers(&self) -> Value {
        let mut labels = self.labels();
        labels[REPO] = self.app.as_str().into();
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": PEERS, "labels": labels},
            "spec": {
                "clusterIP": "None",
                "selector": {REPO: self.app.as_str()},
                // Old servers cannot merge ports that do not name their protocol.
                "ports": [{"name": "app", "port": PORT, "targetPort": PORT, "protocol": "TCP"}],
            },
        })
    }

    /// The web replicas under one name, for other pods of the app.
    pub(in super::super) fn service(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": WEB_SERVICE, "labels": self.labels()},
            "spec": {
                "selector": {REPO: self.app.as_str(), WEB: "true"},
                "ports": [{"name": "http", "port": 80, "targetPort": PORT, "protocol": "TCP"}],
            },
        })
    }

    /// Replicas of one app reach each other; pods of other apps reach nothing. Whoever is no app reaches what visitors
    /// may: an ingress controller, the server's router.
    pub(in super::super) fn network_policy(&self) -> Value {
        let not_an_app = json!({"namespaceSelector": {"matchExpressions": [{"key": APP, "operator": "DoesNotExist"}]}});
        let block = |ip: &IpAddr| {
            let bits = if ip.is_ipv4() { 32 } else { 128 };
            json!({"ipBlock": {"cidr": format!("{ip}/{bits}")}})
        };
        let from: Vec<_> = std::iter::once(not_an_app).chain(self.visitors.iter().map(block)).collect();
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": "app", "labels": self.labels()},
            "spec": {
                "podSelector": {},
                "policyTypes": ["Ingress"],
                "ingress": [{"from": [{"podSelector": {}}]}, {"from": from}],
            },
        })
    }
}

/// A service account without any right of its own.
pub(super) fn account(labels: &Value, registries: Option<&str>) -> Value {
    let pulls: Vec<_> = registries.iter().map(|_| json!({"name": REGISTRIES})).collect();
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "labels": labels},
        "automountServiceAccountToken": false, "imagePullSecrets": pulls,
    })
}

/// What it pulls images with.
pub(super) fn registries(labels: &Value, config: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": REGISTRIES, "labels": labels},
        "type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": STANDARD.encode(config)},
    })
}

/// What makes a namespace the server's own: a binding of that name, of that role.
pub(super) fn servers_rights(labels: &Value, (name, role): (&str, &str), subject: &Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": name, "labels": labels},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    })
}

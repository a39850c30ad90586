//! A build's pod, and the namespace of builds.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::names::{APP, CONTAINER, SERVER};
use super::app::{ACCOUNT, account, registries, servers_rights};
use super::pod::UID;
use crate::server::domain::Stack;

/// What a build may ask of a node's memory before it has it: it may take more, where there is more.
const MEMORY_ASKED: u64 = 512 << 20;

/// A pod that waits for programs.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Its name.
    pub name: String,
    /// Whose build image it has.
    pub stack: Stack,
    /// Folders that can be written, empty at first.
    pub volumes: Vec<String>,
    /// Files beside them, and what is in them.
    pub files: Vec<(String, String)>,
    /// Bytes.
    pub memory_bytes: u64,
    /// Thousandths of a core that it has when others want it too.
    pub cpu_milli: u64,
    /// Bytes of all volumes.
    pub disk_bytes: u64,
    /// Until the cluster ends it.
    pub time: Duration,
}

/// Builds in a cluster.
pub(in super::super) struct BuildObjects<'a> {
    pub(in super::super) server: &'a str,
    pub(in super::super) namespace: &'a str,
    pub(in super::super) registries: Option<&'a str>,
}

impl BuildObjects<'_> {
    fn labels(&self) -> Value {
        json!({SERVER: self.server})
    }

    /// With the label of an app's, of none: so it is none of those that apps let in.
    pub(in super::super) fn namespace(&self) -> Value {
        let labels = json!({SERVER: self.server, APP: "", "pod-security.kubernetes.io/enforce": "restricted"});
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}})
    }

    pub(in super::super) fn own_rights(&self, subject: &Value) -> Value {
        servers_rights(&self.labels(), subject)
    }

    pub(in super::super) fn registries(&self) -> Option<Value> {
        Some(registries(&self.labels(), self.registries?))
    }

    /// It may do nothing.
    pub(in super::super) fn account(&self) -> Value {
        account(&self.labels(), self.registries)
    }

    /// Nobody reaches a build.
    pub(in super::super) fn network_policy(&self) -> Value {
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": "builds", "labels": self.labels()},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": []},
        })
    }

    /// The files that no volume is for.
    pub(in super::super) fn files(&self, wish: &Wish) -> Value {
        let data: serde_json::Map<String, Value> =
            wish.files.iter().zip(0..).map(|((_, text), key)| (key_of(key), text.as_str().into())).collect();
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": wish.name, "labels": self.labels()}, "data": data,
        })
    }

    /// The pod. Its first program does nothing but take up what others leave behind.
    pub(in super::super) fn pod(&self, wish: &Wish, image: &str) -> Value {
        let volume = |number: usize| format!("volume-{number}");
        let dirs = wish.volumes.iter().enumerate();
        let mut mounts: Vec<_> =
            dirs.clone().map(|(number, path)| json!({"name": volume(number), "mountPath": path})).collect();
        let files = wish.files.iter().zip(0..);
        mounts.extend(files.map(
            |((path, _), key)| json!({"name": "files", "mountPath": path, "subPath": key_of(key), "readOnly": true}),
        ));
        let mut volumes: Vec<_> = dirs.map(|(number, _)| json!({"name": volume(number), "emptyDir": {}})).collect();
        volumes.push(json!({"name": "files", "configMap": {"name": wish.name}}));
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": wish.name, "labels": self.labels()},
            "spec": {
                "serviceAccountName": ACCOUNT,
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "restartPolicy": "Never",
                "activeDeadlineSeconds": wish.time.as_secs(),
                "terminationGracePeriodSeconds": 1,
                "hostname": "build",
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": UID, "runAsGroup": UID,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{
                    "name": CONTAINER,
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["/bin/bash", "-c", "sleep infinity & wait"],
                    "resources": {
                        "requests": {
                            "cpu": format!("{}m", wish.cpu_milli),
                            "memory": wish.memory_bytes.min(MEMORY_ASKED).to_string(),
                            "ephemeral-storage": "0",
                        },
                        "limits": {
                            "memory": wish.memory_bytes.to_string(), "ephemeral-storage": wish.disk_bytes.to_string(),
                        },
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": mounts,
                }],
                "volumes": volumes,
            },
        })
    }
}

fn key_of(number: usize) -> String {
    format!("file-{number}")
}

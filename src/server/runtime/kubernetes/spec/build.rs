//! A build's Job with all that it is told, and the namespace of builds.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::names::{self, APP, BUILD, CONTAINER, SERVER};
use super::app::{ACCOUNT, BUILDERS_ROLE, Scripts, account, registries, servers_rights};
use super::pod::{PLATFORM, UID, literal, unheard};
use crate::server::domain::ClusterBuild;

/// What a build may ask of a node's memory before it has it: it may take more, where there is more.
const MEMORY_ASKED: u64 = 512 << 20;
/// How many seconds an ended build stays that nobody has removed: longer than this server may be without the cluster.
const FORGOTTEN: u64 = 900;
/// Where a build finds the archive that the cluster was told.
const TOLD: &str = "/opt/gigalixir-build";

/// Builds in a cluster.
pub(in super::super) struct BuildObjects<'a> {
    pub(in super::super) server: &'a str,
    pub(in super::super) namespace: &'a str,
    pub(in super::super) registries: Option<&'a str>,
    pub(in super::super) scripts: &'a Scripts,
}

impl BuildObjects<'_> {
    fn labels(&self) -> Value {
        json!({SERVER: self.server})
    }

    fn labels_of(&self, name: &str) -> Value {
        json!({SERVER: self.server, BUILD: name})
    }

    /// With the label of an app's, of none: so it is none of those that apps let in.
    pub(in super::super) fn namespace(&self) -> Value {
        let labels = json!({SERVER: self.server, APP: "", "pod-security.kubernetes.io/enforce": "restricted"});
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}})
    }

    pub(in super::super) fn own_rights(&self, subject: &Value) -> Value {
        servers_rights(&self.labels(), (BUILDERS_ROLE, BUILDERS_ROLE), subject)
    }

    pub(in super::super) fn registries(&self) -> Option<Value> {
        Some(registries(&self.labels(), self.registries?))
    }

    /// It may do nothing.
    pub(in super::super) fn account(&self) -> Value {
        account(&self.labels(), self.registries)
    }

    pub(in super::super) fn scripts(&self) -> Value {
        self.scripts.config_map(&self.labels())
    }

    /// Nobody reaches a build.
    pub(in super::super) fn network_policy(&self) -> Value {
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": "builds", "labels": self.labels()},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": []},
        })
    }

    /// What the build is told and nobody else. It is told after its Job, whose pod waits for it: so it goes with the Job,
    /// whoever removes that.
    pub(in super::super) fn secret(&self, build: &ClusterBuild, job: &str) -> Value {
        let name = names::build(&build.name);
        let mut data = serde_json::Map::new();
        let mut tell = |key: &str, bytes: &[u8]| data.insert(key.to_owned(), STANDARD.encode(bytes).into());
        tell("fetch", build.fetch.as_bytes());
        tell("hand-in", build.hand_in.as_bytes());
        tell("folders", &build.secrets);
        for ((_, text), number) in build.files.iter().zip(0..) {
            tell(&file(number), text.as_bytes());
        }
        let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job});
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": data,
            "metadata": {"name": name, "labels": self.labels_of(&name), "ownerReferences": [owner]},
        })
    }

    /// One pod, once. The cluster ends it for its time, also one that nobody waits for any more.
    pub(in super::super) fn job(&self, build: &ClusterBuild, image: &str) -> Value {
        let name = names::build(&build.name);
        let labels = self.labels_of(&name);
        json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "labels": labels},
            "spec": {
                "parallelism": 1,
                "completions": 1,
                "backoffLimit": 0,
                "activeDeadlineSeconds": (ClusterBuild::STARTING + build.time).as_secs(),
                "ttlSecondsAfterFinished": FORGOTTEN,
                "template": {"metadata": {"labels": labels}, "spec": self.pod(build, &name, image)},
            },
        })
    }

    fn pod(&self, build: &ClusterBuild, secret: &str, image: &str) -> Value {
        let volume = |number: usize| format!("volume-{number}");
        let mut volumes: Vec<_> =
            (0..build.volumes.len()).map(|number| json!({"name": volume(number), "emptyDir": {}})).collect();
        volumes.extend([self.scripts.volume(), json!({"name": "told", "secret": {"secretName": secret}})]);
        json!({
            "serviceAccountName": ACCOUNT,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": build.time.as_secs(),
            "terminationGracePeriodSeconds": 1,
            "hostname": "build",
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": UID, "runAsGroup": UID,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "tolerations": (["not-ready", "unreachable"].map(unheard)),
            "containers": [self.container(build, secret, image)],
            "volumes": volumes,
        })
    }

    fn container(&self, build: &ClusterBuild, secret: &str, image: &str) -> Value {
        let told =
            |name: &str, key: &str| json!({"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}});
        let mut mounts = vec![
            json!({"name": "platform", "mountPath": PLATFORM, "readOnly": true}),
            json!({"name": "told", "mountPath": format!("{TOLD}/folders"), "subPath": "folders", "readOnly": true}),
        ];
        mounts.extend(
            build
                .volumes
                .iter()
                .zip(0..)
                .map(|(path, number)| json!({"name": format!("volume-{number}"), "mountPath": path})),
        );
        mounts.extend(build.files.iter().zip(0..).map(
            |((path, _), number)| json!({"name": "told", "mountPath": path, "subPath": file(number), "readOnly": true}),
        ));
        json!({
            "name": CONTAINER,
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["/bin/bash", format!("{PLATFORM}/build")],
            "args": arguments(build),
            "env": [told("GIGALIXIR__FETCH", "fetch"), told("GIGALIXIR__HAND_IN", "hand-in")],
            "resources": {
                "requests": {
                    "cpu": format!("{}m", build.cpu_milli),
                    "memory": build.memory_bytes.min(MEMORY_ASKED).to_string(),
                    "ephemeral-storage": "0",
                },
                "limits": {
                    "memory": build.memory_bytes.to_string(), "ephemeral-storage": build.disk_bytes.to_string(),
                },
            },
            "securityContext": {
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": mounts,
        })
    }
}

/// As `config/kubernetes/build` reads them. A file's size counts in KiB there.
fn arguments(build: &ClusterBuild) -> Vec<String> {
    let variables = build.env.iter().map(|(name, value)| format!("{name}={value}"));
    let words = [(build.disk_bytes / 1024).to_string(), build.workdir.clone()].into_iter();
    let words = words.chain(build.changed.iter().cloned()).chain(["--".to_owned()]);
    let words = words.chain(build.kept.iter().cloned()).chain(["--".to_owned()]);
    let program = ["/usr/bin/env".to_owned(), "-i".to_owned()].into_iter().chain(variables);
    words.chain(program).chain(build.command.iter().cloned()).map(|word| literal(&word)).collect()
}

fn file(number: usize) -> String {
    format!("file-{number}")
}

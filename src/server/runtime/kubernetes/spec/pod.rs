//! A replica's pod, the deployment that keeps one, and the secrets it starts with.
//!
//! Each place of a workload (its index) has a deployment of its own with one pod: so a replica knows its index before it
//! starts, keeps it wherever it is started anew, and of a workload that shrinks the highest goes and no other.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::names::{
    self, APP, CONTAINER, GENERATION, HEALTH, INDEX, PROCESS, RELEASE, REPO, SERVER, SIZE, UPTIME, WEB, WORKLOAD,
};
use super::app::{ACCOUNT, Scripts};
use crate::server::domain::{HealthCheck, Lifetime, ProcessType, Workload};
use crate::server::runtime::erlang;
use crate::server::runtime::spec::{self, FILES_FOLDER, Place as Inside};

/// Where an app listens: a pod has its address for itself.
pub(in super::super) const PORT: u16 = 4000;
/// The user of every app.
pub(super) const UID: u64 = 1000;
/// Where the platform's own files are.
pub(super) const PLATFORM: &str = "/opt/gigalixir";
/// Where the slug's archive is kept, for the next run of the same pod.
const SLUG: &str = "/var/lib/gigalixir";
/// Which variables are files below [`FILES_FOLDER`] too, for `config/kubernetes/start`.
const FILES: &str = "GIGALIXIR__FILES";
/// How many seconds in a row a ready replica may not answer before the cluster's services are told: a load peak is no death.
const DEAF: u32 = 30;
/// For an answer to a health check; an app may compile a page on its first request.
const ANSWER: u32 = 10;
/// How many seconds a web replica serves on that is to go: its cluster tells services and ingresses at the same time as the
/// replica, and they take their time. The server's router knows at once, but others may remove pods too.
const LINGER: u64 = 5;
/// How many seconds a pod stays on a node of which nothing is heard. By default it would be five minutes.
const UNHEARD: u64 = 30;
/// Stands for what only the cluster knows while the environment is put together; no variable can contain it.
const ADDRESS: &str = "\0address";
const NAME: &str = "\0name";

/// What a pod is made of.
pub(in super::super) struct Place<'a> {
    pub(in super::super) server: &'a str,
    pub(in super::super) workload: &'a Workload,
    pub(in super::super) index: u32,
    pub(in super::super) image: &'a str,
    pub(in super::super) scripts: &'a Scripts,
    /// Seconds between SIGTERM and SIGKILL, when nobody says otherwise.
    pub(in super::super) grace: u64,
}

/// Seconds that a process of this type goes on before it is asked to end; its grace comes after them.
pub(in super::super) fn linger(process: &ProcessType) -> u64 {
    if process.is_web() { LINGER } else { 0 }
}

/// What a container of a generation is given when it starts, as variables: the app's own, which slug, and an address from
/// which that can be had, signed anew from time to time. It is all of a generation that may change, and it changes in one
/// piece: nothing starts with the variables of one release and the slug of another. Nodes hear of changes by a watch, unless
/// whoever set them up has told their kubelets otherwise.
pub(in super::super) fn start(server: &str, workload: &Workload, url: &str) -> Value {
    let own = workload.env.iter().filter(|(name, _)| !name.is_empty() && name.as_str() != "PORT");
    let mut variables: BTreeMap<&str, &str> = own.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    variables.extend([("GIGALIXIR__SLUG_URL", url), ("GIGALIXIR__SLUG_DIGEST", workload.slug.as_str())]);
    let data: BTreeMap<_, _> = variables.iter().map(|(name, value)| (name, STANDARD.encode(value))).collect();
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": names::start(&workload.id), "labels": labels(server, workload),
            "annotations": {RELEASE: workload.release.0.to_string()},
        },
        "type": "Opaque", "data": data,
    })
}

/// The deployment of a place. Its one pod is replaced by whoever changes it, before the old one goes; so nothing is in it
/// that may change while its pod stays ([`start`]).
pub(in super::super) fn deployment(place: &Place<'_>) -> Value {
    let workload = place.workload;
    let mut labels = labels(place.server, workload);
    labels[INDEX] = place.index.to_string().into();
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": names::place(&workload.id, place.index), "labels": labels, "annotations": annotations(workload),
        },
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 0,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": {
                APP: workload.id.app.as_str(), WORKLOAD: names::workload(&workload.id), INDEX: place.index.to_string(),
            }},
            "template": {"metadata": pod_metadata(place), "spec": pod(place)},
        },
    })
}

/// The pod of what runs once: it has no deployment, and nobody starts it anew.
pub(in super::super) fn once(place: &Place<'_>) -> Value {
    let mut metadata = pod_metadata(place);
    metadata["name"] = names::place(&place.workload.id, place.index).into();
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod(place)})
}

fn labels(server: &str, workload: &Workload) -> Value {
    json!({SERVER: server, APP: workload.id.app.as_str(), WORKLOAD: names::workload(&workload.id)})
}

fn annotations(workload: &Workload) -> Value {
    let mut all = json!({
        PROCESS: workload.id.process.as_str(),
        GENERATION: workload.id.generation.to_string(),
        SIZE: workload.size.milli().to_string(),
    });
    match &workload.health {
        HealthCheck::Uptime(enough) => all[UPTIME] = enough.as_millis().to_string().into(),
        HealthCheck::Http(path) => all[HEALTH] = path.as_str().into(),
        HealthCheck::Tcp => {}
    }
    all
}

fn pod_metadata(place: &Place<'_>) -> Value {
    let workload = place.workload;
    let mut labels = labels(place.server, workload);
    if is_peer(workload) {
        labels[REPO] = workload.id.app.as_str().into();
    }
    labels[INDEX] = place.index.to_string().into();
    labels[WEB] = workload.id.process.is_web().to_string().into();
    json!({"labels": labels, "annotations": annotations(workload)})
}

fn pod(place: &Place<'_>) -> Value {
    let workload = place.workload;
    let mut spec = json!({
        "serviceAccountName": ACCOUNT,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": place.grace + linger(&workload.id.process),
        "restartPolicy": if workload.lifetime == Lifetime::Service { "Always" } else { "Never" },
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": UID, "runAsGroup": UID, "fsGroup": UID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {APP: workload.id.app.as_str(), WORKLOAD: names::workload(&workload.id)}},
        }],
        "containers": [container(place)],
        "volumes": [
            place.scripts.volume(),
            {"name": "app", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "slug", "emptyDir": {}},
            {"name": "variables", "emptyDir": {"medium": "Memory"}},
        ],
    });
    if clusters(workload) {
        push(&mut spec["volumes"], credentials());
    }
    if workload.lifetime == Lifetime::Service {
        spec["tolerations"] = ["not-ready", "unreachable"].map(unheard).into();
    }
    spec
}

/// Bears a node in that state for a while.
pub(super) fn unheard(state: &str) -> Value {
    let key = format!("node.kubernetes.io/{state}");
    json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": UNHEARD})
}

/// Whether its nodes shall find each other: unless Erlang's distribution is off, as its config says.
fn clusters(workload: &Workload) -> bool {
    workload.env.get("RELEASE_DISTRIBUTION").is_none_or(|distribution| distribution != "none")
        && workload.lifetime == Lifetime::Service
}

/// Whether the app's nodes shall look for one there: not in what runs once, and not where an upgrade is only tried.
fn is_peer(workload: &Workload) -> bool {
    workload.lifetime == Lifetime::Service && workload.id.process != ProcessType::rehearsal()
}

/// What a cluster library signs in with, where it looks for it. What it opens is in the app's Role.
fn credentials() -> Value {
    json!({"name": "peers", "projected": {"defaultMode": 0o440, "sources": [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}], "optional": true}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]}})
}

fn push(list: &mut Value, one: Value) {
    if let Some(list) = list.as_array_mut() {
        list.push(one);
    }
}

fn container(place: &Place<'_>) -> Value {
    let workload = place.workload;
    let args: Vec<_> =
        std::iter::once(&workload.command).chain(&workload.arguments).map(|word| literal(word)).collect();
    let memory = workload.size.memory_bytes().to_string();
    let mut container = json!({
        "name": CONTAINER,
        "image": place.image,
        "imagePullPolicy": "IfNotPresent",
        "workingDir": "/app",
        "command": ["/bin/bash", format!("{PLATFORM}/start")],
        "args": args,
        "env": environment(place),
        "envFrom": [{"secretRef": {"name": names::start(&workload.id)}}],
        "resources": {
            "requests": {"cpu": format!("{}m", workload.size.cpu_milli().max(1)), "memory": memory},
            // Of the processor it may have what nobody else wants: a share, as everywhere on the platform, no ceiling.
            "limits": {"memory": memory},
        },
        "securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "platform", "mountPath": PLATFORM, "readOnly": true},
            {"name": "app", "mountPath": "/app"},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "slug", "mountPath": SLUG},
            {"name": "variables", "mountPath": FILES_FOLDER},
        ],
    });
    if clusters(workload) {
        let at = "/var/run/secrets/kubernetes.io/serviceaccount";
        push(&mut container["volumeMounts"], json!({"name": "peers", "mountPath": at, "readOnly": true}));
    }
    if workload.id.process.is_web() {
        container["lifecycle"] = json!({"preStop": {"exec": {"command": ["sleep", LINGER.to_string()]}}});
        container["ports"] = json!([{"name": "http", "containerPort": PORT, "protocol": "TCP"}]);
    }
    match &workload.health {
        HealthCheck::Tcp => container["readinessProbe"] = probe(json!({"tcpSocket": {"port": PORT}})),
        HealthCheck::Http(path) => {
            let slash = if path.starts_with('/') { "" } else { "/" };
            let headers =
                json!([{"name": "Host", "value": "localhost"}, {"name": "User-Agent", "value": "gigalixir-health"}]);
            let get = json!({"path": format!("{slash}{path}"), "port": PORT, "scheme": "HTTP", "httpHeaders": headers});
            container["readinessProbe"] = probe(json!({"httpGet": get}));
        }
        HealthCheck::Uptime(_) => {}
    }
    container
}

fn probe(mut probe: Value) -> Value {
    probe["periodSeconds"] = 1.into();
    probe["timeoutSeconds"] = ANSWER.into();
    probe["failureThreshold"] = DEAF.into();
    probe
}

/// What the cluster alone knows comes as references, which are resolved when the pod starts; the rest as it is. These
/// come after the app's own variables and hide none of them: what an app sets is not among them.
fn environment(place: &Place<'_>) -> Vec<Value> {
    let workload = place.workload;
    let inside = Inside { name: NAME, index: place.index, ip: ADDRESS, port: PORT };
    let mut all = spec::environment(workload, &inside);
    all.retain(|name, _| name == "PORT" || !workload.env.contains_key(name));
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let mut env = Vec::new();
    // First those that others refer to.
    for (name, value) in &all {
        match value.as_str() {
            NAME => env.push(field(name, "metadata.name")),
            ADDRESS => env.push(field(name, "status.podIP")),
            _ => {}
        }
    }
    if !workload.env.contains_key("MY_POD_NAMESPACE") {
        env.push(field("MY_POD_NAMESPACE", "metadata.namespace"));
    }
    for (name, value) in all.iter().filter(|(_, value)| value.as_str() != NAME && value.as_str() != ADDRESS) {
        // A name is only built from an address that the app has not set: `MY_POD_IP` is among those above.
        let value = literal(value).replace(ADDRESS, "$(MY_POD_IP)");
        env.push(json!({"name": name, "value": value}));
    }
    env.push(json!({"name": FILES, "value": spec::named_files()}));
    if let Some((name, port)) = erlang::own_node(&workload.env) {
        env.push(json!({"name": name, "value": port.to_string()}));
    }
    if let Lifetime::Once { limit } = workload.lifetime {
        env.push(json!({"name": "GIGALIXIR__LIMIT", "value": format!("{:.3}", limit.as_secs_f64())}));
    }
    env
}

/// A text in which the cluster finds nothing to replace.
pub(super) fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

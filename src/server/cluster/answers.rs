//! What is answered: pure. The shapes are those of Kubernetes' v1 API, as far as cluster libraries read them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Member;
use super::selector::Selector;

/// What a path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Endpoints,
    Pods,
}

/// Namespace and kind of `/api/v1/namespaces/NAMESPACE/KIND`.
pub(super) fn asked(path: &str) -> Option<(&str, Kind)> {
    let (namespace, kind) = path.strip_prefix("/api/v1/namespaces/")?.split_once('/')?;
    match kind.trim_end_matches('/') {
        "endpoints" => Some((namespace, Kind::Endpoints)),
        "pods" => Some((namespace, Kind::Pods)),
        _ => None,
    }
}

/// The list that answers for an app's ready replicas.
pub(super) fn list(kind: Kind, app: &str, members: &[Member], selector: &Selector) -> Value {
    match kind {
        Kind::Endpoints => endpoints(app, members, selector),
        Kind::Pods => pods(app, members, selector),
    }
}

/// One object, named after the app: all replicas are behind one service.
fn endpoints(app: &str, members: &[Member], selector: &Selector) -> Value {
    let labels = BTreeMap::from([("repo", app.to_owned()), ("app", app.to_owned())]);
    let address = |member: &Member| {
        json!({
            "ip": member.ip,
            "hostname": member.name,
            "targetRef": {"kind": "Pod", "namespace": app, "name": member.name},
        })
    };
    let subsets = match members.is_empty() {
        true => json!([]),
        false => json!([{"addresses": members.iter().map(address).collect::<Vec<_>>()}]),
    };
    let metadata = json!({"name": app, "namespace": app, "labels": labels});
    let item = json!({"metadata": metadata, "subsets": subsets});
    let items: Vec<_> = selector.matches(&labels).then_some(item).into_iter().collect();
    json!({"kind": "EndpointsList", "apiVersion": "v1", "metadata": {}, "items": items})
}

fn pods(app: &str, members: &[Member], selector: &Selector) -> Value {
    let pod = |member: &Member| {
        let labels = BTreeMap::from([
            ("repo", app.to_owned()),
            ("app", app.to_owned()),
            ("process", member.process.clone()),
            ("release", member.release.to_string()),
        ]);
        selector.matches(&labels).then(|| {
            json!({
                "metadata": {"name": member.name, "namespace": app, "labels": labels},
                "spec": {"hostname": member.name},
                "status": {
                    "phase": "Running",
                    "podIP": member.ip,
                    "podIPs": [{"ip": member.ip}],
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            })
        })
    };
    let items: Vec<_> = members.iter().filter_map(pod).collect();
    json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
}

/// A refusal.
pub(super) fn refusal(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members() -> Vec<Member> {
        let member = |name: &str, process: &str, last| Member {
            name: name.to_owned(),
            ip: [127, 64, 0, last].into(),
            process: process.to_owned(),
            release: 3,
        };
        vec![member("shop-web-1-a", "web", 1), member("shop-worker-1-b", "worker", 2)]
    }

    #[test]
    fn paths_are_kubernetes() {
        assert_eq!(asked("/api/v1/namespaces/shop/endpoints"), Some(("shop", Kind::Endpoints)));
        assert_eq!(asked("/api/v1/namespaces/shop/pods"), Some(("shop", Kind::Pods)));
        for other in ["/", "/api/v1/pods", "/api/v1/namespaces/shop/secrets", "/api/v1/namespaces/shop/pods/x"] {
            assert_eq!(asked(other), None, "{other}");
        }
    }

    /// The very paths that libcluster matches on.
    #[test]
    fn libcluster_reads_these_paths() {
        let repo = Selector::parse("repo=shop").unwrap();
        let list = list(Kind::Endpoints, "shop", &members(), &repo);
        let addresses = &list["items"][0]["subsets"][0]["addresses"];
        assert_eq!(
            (addresses[0]["ip"].as_str(), addresses[1]["ip"].as_str()),
            (Some("127.64.0.1"), Some("127.64.0.2"))
        );
        assert_eq!(addresses[0]["targetRef"]["namespace"], "shop");
        assert!(endpoints("shop", &[], &repo)["items"][0]["subsets"].is_array());
        let pods = pods("shop", &members(), &Selector::parse("repo=shop,process=worker").unwrap());
        assert_eq!(pods["items"].as_array().unwrap().len(), 1);
        let pod = &pods["items"][0];
        assert_eq!(
            (pod["status"]["podIP"].as_str(), pod["metadata"]["namespace"].as_str()),
            (Some("127.64.0.2"), Some("shop"))
        );
        assert_eq!(pod["spec"]["hostname"], "shop-worker-1-b");
    }

    #[test]
    fn what_is_not_selected_is_not_there() {
        let other = Selector::parse("repo=blog").unwrap();
        for kind in [Kind::Endpoints, Kind::Pods] {
            assert_eq!(list(kind, "shop", &members(), &other)["items"], json!([]));
        }
    }
}

//! How our objects are called, and how they are known again. Pure. Names are for people; what a program needs to know of
//! an object is in its labels and annotations.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sha2::{Digest as _, Sha256};

use crate::server::domain::{AppName, ProcessType, ReleaseVersion, Size, WorkloadId};

/// Who applies our objects' fields.
pub(super) const MANAGER: &str = "gigalixir";
/// The container of a pod.
pub(super) const CONTAINER: &str = "app";

/// Label: which server's it is.
pub(super) const SERVER: &str = "gigalixir.server";
/// Label: which app's.
pub(super) const APP: &str = "gigalixir.app";
/// Label: the app, by the name that cluster libraries select it by.
pub(super) const REPO: &str = "repo";
/// Label: process type and generation, as [`workload`] calls them.
pub(super) const WORKLOAD: &str = "gigalixir.workload";
/// Label: which build's, as [`build`] calls it.
pub(super) const BUILD: &str = "gigalixir.build";
/// Label: whether visitors are led to it.
pub(super) const WEB: &str = "gigalixir.web";
/// Label.
pub(super) const INDEX: &str = "gigalixir.index";
/// Annotation: a process type need not be a label's value.
pub(super) const PROCESS: &str = "gigalixir.process";
/// Annotation.
pub(super) const GENERATION: &str = "gigalixir.generation";
/// Annotation: of what a generation's containers start with; pods made by earlier servers have it too.
pub(super) const RELEASE: &str = "gigalixir.release";
/// Annotation: thousandths.
pub(super) const SIZE: &str = "gigalixir.size";
/// Annotation: thousandths of a second that a process without a port has to run.
pub(super) const UPTIME: &str = "gigalixir.uptime";
/// Annotation: the path that is asked, where readiness is asked for by HTTP.
pub(super) const HEALTH: &str = "gigalixir.health";

/// The longest name of a namespace and the longest value of a label.
const LONGEST: usize = 63;

/// An app's namespace.
pub(super) fn namespace(prefix: &str, app: &AppName) -> String {
    fitting(format!("{prefix}{app}"))
}

/// A build's Job: a DNS label and a label's value. It begins as the build's name does.
pub(super) fn build(name: &str) -> String {
    fitting(name.to_owned())
}

fn fitting(whole: String) -> String {
    if whole.len() <= LONGEST {
        whole
    } else {
        format!("{}-{}", whole[..LONGEST - 9].trim_end_matches('-'), mark(&whole))
    }
}

/// One generation of one process type, within its namespace: a DNS label and a label's value.
pub(super) fn workload(id: &WorkloadId) -> String {
    format!("{}-{}", process(&id.process), id.generation)
}

/// A process type as a DNS label; two of them never become one.
fn process(process: &ProcessType) -> String {
    let text = process.as_str();
    let plain = text.replace('_', "-");
    let plain = plain.trim_end_matches('-');
    if plain == text { plain.to_owned() } else { format!("{plain}-{}", mark(text)) }
}

/// The deployment of one place, or the pod of what runs once. The pods of a deployment begin with it.
pub(super) fn place(id: &WorkloadId, index: u32) -> String {
    format!("{}-{}-{index}", id.app, workload(id))
}

/// The secret with what its containers start with.
pub(super) fn start(id: &WorkloadId) -> String {
    format!("{}-start", workload(id))
}

fn mark(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..4])
}

/// What an object of ours says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) id: WorkloadId,
    pub(super) index: u32,
    /// Where the server has noted none.
    pub(super) release: ReleaseVersion,
    pub(super) size: Size,
}

/// Reads labels and annotations; `None` if somebody else wrote them.
pub(super) fn told(meta: &ObjectMeta) -> Option<Told> {
    let (labels, annotations) = (meta.labels.as_ref()?, meta.annotations.as_ref()?);
    let id = WorkloadId {
        app: AppName::parse(labels.get(APP)?).ok()?,
        process: ProcessType::parse(annotations.get(PROCESS)?).ok()?,
        generation: annotations.get(GENERATION)?.parse().ok()?,
    };
    let release = annotations.get(RELEASE).and_then(|release| release.parse().ok()).unwrap_or_default();
    Some(Told {
        id,
        index: labels.get(INDEX)?.parse().ok()?,
        release: ReleaseVersion(release),
        size: Size::from_milli(annotations.get(SIZE)?.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(app: &str, process: &str) -> WorkloadId {
        WorkloadId {
            app: AppName::parse(app).unwrap(),
            process: ProcessType::parse(process).unwrap(),
            generation: i64::MAX,
        }
    }

    #[test]
    fn names_fit_and_differ() {
        let app = AppName::parse(&"a".repeat(63)).unwrap();
        assert_eq!(namespace("", &app), app.as_str());
        let prefixed = namespace("apps-", &app);
        assert!(prefixed.len() == LONGEST && prefixed.starts_with("apps-aaa"), "{prefixed}");
        assert_ne!(prefixed, namespace("apps-", &AppName::parse(&format!("{}b", "a".repeat(62))).unwrap()));
        let long = build(&format!("build-1234abcd-{}-1", "a".repeat(60)));
        assert!(long.len() <= LONGEST && long.starts_with("build-1234abcd-aaa"), "{long}");
        let names: std::collections::BTreeSet<_> =
            ["a_b", "a-b", "a-b-", "a-b_"].iter().map(|process| workload(&id("shop", process))).collect();
        assert_eq!(names.len(), 4, "{names:?}");
        for name in names {
            assert!(name.len() <= LONGEST && !name.contains('_'), "{name}");
        }
        assert!(workload(&id("shop", &"a_".repeat(16))).len() <= LONGEST);
        assert_eq!(place(&id("shop", "web"), 2), format!("shop-web-{}-2", i64::MAX));
    }
}

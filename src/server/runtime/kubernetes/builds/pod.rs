//! A build's pod: as it changes, and what it says of itself.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, Pod};
use kube::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::server::domain::ClusterBuildEnd;
use crate::server::runtime::kubernetes::pods::hopeless;
use crate::server::runtime::kubernetes::watch::Word;

/// How a node says that it was the node, not the pod, that had too little of something.
const OF_THE_NODE: &[&str] = &["The node was low on", "The node had condition"];

/// The pod of a build, watched as long as somebody has it.
#[derive(Clone)]
pub(super) struct BuildPod {
    words: watch::Receiver<Option<Word>>,
    _watching: Arc<AbortOnDropHandle<()>>,
}

impl BuildPod {
    /// The first one that is found. Another one that the cluster makes is none of ours: it would say everything again.
    pub(super) fn watch(pods: Api<Pod>, selector: String) -> Self {
        let (tell, words) = watch::channel(None);
        let watching = AbortOnDropHandle::new(tokio::spawn(follow(pods, selector, tell)));
        Self { words, _watching: Arc::new(watching) }
    }

    /// The last word on it, once there is one.
    pub(super) fn word(&self) -> Option<Word> {
        self.words.borrow().clone()
    }

    /// The first word on it of which this is true; `None` when there will be none.
    pub(super) async fn wait_for(&mut self, is: impl Fn(&Word) -> bool) -> Option<Word> {
        let word = self.words.wait_for(|word| word.as_ref().is_some_and(&is)).await.ok()?;
        word.clone()
    }
}

/// A watch that breaks is begun again by listing anew.
async fn follow(pods: Api<Pod>, selector: String, tell: watch::Sender<Option<Word>>) {
    let mut events = std::pin::pin!(watcher(pods, watcher::Config::default().labels(&selector)).default_backoff());
    let mut listed = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed = false,
            Ok(Event::InitApply(pod)) => listed |= tell_of(&tell, pod, false),
            Ok(Event::InitDone) if !listed => drop(tell.send_if_modified(|word| match word {
                Some(word) => !std::mem::replace(&mut word.gone, true),
                None => false,
            })),
            Ok(Event::InitDone) => {}
            Ok(Event::Apply(pod)) => drop(tell_of(&tell, pod, false)),
            Ok(Event::Delete(pod)) => drop(tell_of(&tell, pod, true)),
            Err(error) => tracing::debug!("watching a build's pod, begun again: {error}"),
        }
    }
}

/// Whether it is the one.
fn tell_of(tell: &watch::Sender<Option<Word>>, pod: Pod, gone: bool) -> bool {
    tell.send_if_modified(|word| {
        let is_other = word.as_ref().is_some_and(|known| known.pod.metadata.uid != pod.metadata.uid);
        if !is_other {
            *word = Some(Word { pod: Arc::new(pod), gone });
        }
        !is_other
    })
}

/// Returns when there is no such pod any more.
pub(super) async fn gone(pods: Api<Pod>, selector: &str) {
    let mut events = std::pin::pin!(watcher(pods, watcher::Config::default().labels(selector)).default_backoff());
    let (mut there, mut known) = (HashSet::new(), false);
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => {
                there.clear();
                known = false;
            }
            Ok(Event::InitApply(pod) | Event::Apply(pod)) => drop(there.insert(pod.metadata.uid)),
            Ok(Event::InitDone) => known = true,
            Ok(Event::Delete(pod)) => drop(there.remove(&pod.metadata.uid)),
            Err(error) => tracing::debug!("watching builds' pods go, begun again: {error}"),
        }
        if known && there.is_empty() {
            return;
        }
    }
}

/// The id of the container that ran, without which what a node says of a container that it has thrown away is not known
/// from what the container said.
pub(super) fn container(pod: &Pod) -> String {
    let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()?.first());
    let id = status.and_then(|status| status.container_id.as_deref()).unwrap_or_default();
    id.rsplit('/').next().unwrap_or_default().to_owned()
}

fn state(pod: &Pod) -> Option<&ContainerState> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()?.state.as_ref()
}

/// Whether it has begun: it may have ended since.
pub(super) fn runs(word: &Word) -> bool {
    state(&word.pod).is_some_and(|state| state.running.is_some() || state.terminated.is_some())
}

/// Why nothing will come of it.
pub(super) fn trouble(word: &Word) -> Option<String> {
    if runs(word) {
        return None;
    }
    match ended(word) {
        Some(ClusterBuildEnd::Lost(why)) => Some(why),
        Some(_) => Some("it ended before it began".to_owned()),
        None => state(&word.pod).and_then(hopeless),
    }
}

/// Why nothing has come of it so far.
pub(super) fn waits_for(pod: &Pod) -> String {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let unmet = conditions.into_iter().find(|one| one.type_ == "PodScheduled" && one.status != "True");
    unmet.and_then(|one| one.message).unwrap_or_else(|| "its image is still being pulled".to_owned())
}

/// How it ended, if it has: by the cluster's word, then by its own, then by its absence.
pub(super) fn ended(word: &Word) -> Option<ClusterBuildEnd> {
    let status = word.pod.status.as_ref();
    let message = status.and_then(|status| status.message.clone()).unwrap_or_default();
    let terminated = state(&word.pod).and_then(|state| state.terminated.as_ref());
    match (status.and_then(|status| status.reason.as_deref()), terminated) {
        (Some("DeadlineExceeded"), _) => Some(ClusterBuildEnd::Time),
        (Some("Evicted"), _) if OF_THE_NODE.iter().any(|words| message.starts_with(words)) => {
            Some(ClusterBuildEnd::Lost(message))
        }
        (Some("Evicted"), _) => Some(ClusterBuildEnd::Disk),
        (_, Some(terminated)) => Some(last_word(terminated)),
        _ if word.gone || word.pod.metadata.deletion_timestamp.is_some() => {
            Some(ClusterBuildEnd::Lost("its pod was removed".to_owned()))
        }
        (reason, None) if status.and_then(|status| status.phase.as_deref()) == Some("Failed") => {
            let why = if message.is_empty() { reason.unwrap_or("its pod has failed").to_owned() } else { message };
            Some(ClusterBuildEnd::Lost(why))
        }
        _ => None,
    }
}

/// As `config/kubernetes/build` leaves it. One that was killed leaves none.
fn last_word(terminated: &ContainerStateTerminated) -> ClusterBuildEnd {
    let word = terminated.message.as_deref().unwrap_or_default().trim();
    if let Some(code) = word.strip_prefix("ended ").and_then(|code| code.parse().ok()) {
        return ClusterBuildEnd::Exited(code);
    }
    let out_of_memory = terminated.reason.as_deref() == Some("OOMKilled");
    match word.strip_prefix("failed ") {
        Some(doing) => ClusterBuildEnd::Failed(doing.to_owned()),
        None if word == "memory" || out_of_memory => ClusterBuildEnd::Memory,
        None => ClusterBuildEnd::Lost(format!("its container ended with code {}", terminated.exit_code)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn word(status: Value) -> Word {
        let pod = serde_json::from_value(json!({"metadata": {"name": "build"}, "status": status})).unwrap();
        Word { pod: Arc::new(pod), gone: false }
    }

    fn terminated(code: i32, reason: &str, message: &str) -> Word {
        let end = json!({"terminated": {"exitCode": code, "reason": reason, "message": message}});
        word(json!({"phase": "Failed", "containerStatuses": [container_status(end)]}))
    }

    fn container_status(state: Value) -> Value {
        json!({
            "name": "app", "image": "i", "imageID": "i", "ready": false, "restartCount": 0,
            "containerID": "containerd://e247", "state": state,
        })
    }

    #[test]
    fn an_end_is_told_by_the_script_before_the_container() {
        use ClusterBuildEnd::{Exited, Failed, Lost, Memory};
        for (code, reason, message, end) in [
            (0, "Completed", "ended 0", Exited(0)),
            (3, "Error", "ended 3\n", Exited(3)),
            // Something of it was, and it went on without that.
            (0, "OOMKilled", "ended 0", Exited(0)),
            (137, "Error", "memory", Memory),
            (137, "OOMKilled", "", Memory),
            (1, "Error", "failed fetching its folders", Failed("fetching its folders".to_owned())),
            (137, "Error", "", Lost("its container ended with code 137".to_owned())),
            (1, "Error", "ended badly", Lost("its container ended with code 1".to_owned())),
        ] {
            let word = terminated(code, reason, message);
            assert_eq!(ended(&word), Some(end), "{code} {reason} {message}");
            assert!(runs(&word) && trouble(&word).is_none());
            assert_eq!(container(&word.pod), "e247");
        }
    }

    #[test]
    fn an_end_that_the_cluster_made_is_told_by_the_cluster() {
        let failed = |reason: &str, message: &str| {
            ended(&word(json!({"phase": "Failed", "reason": reason, "message": message})))
        };
        assert_eq!(failed("DeadlineExceeded", "Pod was active too long"), Some(ClusterBuildEnd::Time));
        let own = "Pod ephemeral local storage usage exceeds the total limit of containers 200Mi. ";
        assert_eq!(failed("Evicted", own), Some(ClusterBuildEnd::Disk));
        let low = "The node was low on resource: memory.";
        assert_eq!(failed("Evicted", low), Some(ClusterBuildEnd::Lost(low.to_owned())));
        assert_eq!(failed("OutOfmemory", ""), Some(ClusterBuildEnd::Lost("OutOfmemory".to_owned())));
    }

    #[test]
    fn what_has_not_begun_says_why() {
        let pending = word(json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"},
        ]}));
        assert!(!runs(&pending) && ended(&pending).is_none() && trouble(&pending).is_none());
        assert_eq!(waits_for(&pending.pod), "0/1 nodes are available");
        let no_image = json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}});
        let no_image = word(json!({"phase": "Pending", "containerStatuses": [container_status(no_image)]}));
        assert_eq!(trouble(&no_image).as_deref(), Some("Back-off (ImagePullBackOff)"));
        assert_eq!(waits_for(&no_image.pod), "its image is still being pulled");
        let gone = Word { gone: true, ..pending };
        assert_eq!(trouble(&gone).as_deref(), Some("its pod was removed"));
        let running =
            word(json!({"phase": "Running", "containerStatuses": [container_status(json!({"running": {}}))]}));
        assert!(runs(&running) && ended(&running).is_none());
        assert!(ended(&Word { gone: true, ..running }).is_some());
    }
}

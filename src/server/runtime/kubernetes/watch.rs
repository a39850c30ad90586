//! The cluster's pods as they change: one list and one watch for all of this server's, wherever they are. A watch that
//! breaks is begun again by listing anew, so nothing is missed for good.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use tokio::sync::{oneshot, watch};
use tokio_util::task::AbortOnDropHandle;

use super::attend::Replica;
use super::shared::Shared;

/// The last word on a pod.
#[derive(Debug, Clone)]
pub(super) struct Word {
    pub(super) pod: Arc<Pod>,
    /// There is no such pod any more.
    pub(super) gone: bool,
}

/// The pods that are attended to.
#[derive(Default)]
struct Attended {
    /// By uid: a pod that is made anew under the same name is another one.
    pods: HashMap<String, (watch::Sender<Word>, AbortOnDropHandle<()>)>,
}

/// Attends to all pods of this server, for ever. The answer comes when those that exist are known.
pub(super) async fn watch(shared: Arc<Shared>, known: oneshot::Sender<()>) {
    let pods: Api<Pod> = Api::all(shared.cluster.client.clone());
    let config = watcher::Config::default().labels(&shared.cluster.ours());
    let mut events = std::pin::pin!(watcher(pods, config).default_backoff());
    let (mut attended, mut listed, mut known) = (Attended::default(), HashSet::new(), Some(known));
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(pod)) => {
                listed.extend(pod.metadata.uid.clone());
                attended.see(&shared, pod, false);
            }
            Ok(Event::InitDone) => {
                attended.keep(&listed);
                if let Some(known) = known.take() {
                    let _ = known.send(());
                }
            }
            Ok(Event::Apply(pod)) => attended.see(&shared, pod, false),
            Ok(Event::Delete(pod)) => attended.see(&shared, pod, true),
            Err(error) => tracing::debug!("watching pods, begun again: {error}"),
        }
    }
}

impl Attended {
    fn see(&mut self, shared: &Arc<Shared>, pod: Pod, gone: bool) {
        let Some(uid) = pod.metadata.uid.clone() else { return };
        self.pods.retain(|_, (_, task)| !task.is_finished());
        let word = Word { pod: Arc::new(pod), gone };
        match self.pods.get(&uid) {
            Some((words, _)) => drop(words.send_replace(word)),
            None if gone => {}
            None => {
                let (words, heard) = watch::channel(word);
                let Some(replica) = Replica::new(shared.clone(), heard) else { return };
                let task = AbortOnDropHandle::new(shared.tasks.spawn(replica.attend()));
                self.pods.insert(uid, (words, task));
            }
        }
    }

    /// Those that were not listed went while nobody watched.
    fn keep(&self, listed: &HashSet<String>) {
        for (uid, (words, _)) in &self.pods {
            if !listed.contains(uid) {
                words.send_modify(|word| word.gone = true);
            }
        }
    }
}

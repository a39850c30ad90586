//! Why a pod does not get on, in the cluster's own words: its warnings about it, for as long as it is not ready.

use std::sync::Arc;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{Event as Note, Pod};
use kube::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use tokio::sync::watch;

use super::pods::observe;
use super::shared::Shared;
use super::watch::Word;

/// What is wrong with the cluster's own services, and keeps no pod from getting on.
const OF_NO_MATTER: &[&str] = &["DNSConfigForming", "MissingClusterDNS"];
/// Of a message that names every node of a large cluster.
const LONGEST: usize = 500;

/// Listens while the pod is not ready, and again whenever it is not any more.
pub(super) async fn listen(
    shared: Arc<Shared>,
    namespace: String,
    pod: Arc<Pod>,
    mut words: watch::Receiver<Word>,
    tell: watch::Sender<Option<String>>,
) {
    let Some(uid) = pod.metadata.uid.clone() else { return };
    loop {
        let troubled = |word: &Word| !word.gone && observe(&word.pod).is_some_and(|seen| !seen.ready && !seen.is_spent);
        if words.wait_for(troubled).await.is_err() {
            return;
        }
        let well = words.wait_for(|word| !troubled(word));
        tokio::select! {
            well = well => if well.is_err() { return },
            () = hear(shared.cluster.of(&namespace), &uid, &tell) => return,
        }
        tell.send_if_modified(|trouble| trouble.take().is_some());
    }
}

async fn hear(notes: Api<Note>, uid: &str, tell: &watch::Sender<Option<String>>) {
    let config = watcher::Config::default().fields(&format!("involvedObject.uid={uid},type=Warning"));
    let mut events = std::pin::pin!(watcher(notes, config).default_backoff());
    while let Some(event) = events.next().await {
        if let Ok(Event::Apply(note) | Event::InitApply(note)) = event
            && let Some(text) = text(&note)
        {
            tell.send_if_modified(|trouble| trouble.replace(text.clone()).as_ref() != Some(&text));
        }
    }
}

/// A warning on one line.
pub(super) fn text(note: &Note) -> Option<String> {
    if note.reason.as_deref().is_some_and(|reason| OF_NO_MATTER.contains(&reason)) {
        return None;
    }
    let message = note.message.as_deref().filter(|message| !message.is_empty());
    let text = message.or(note.reason.as_deref())?.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut = text.char_indices().nth(LONGEST).map(|(at, _)| &text[..at]);
    Some(cut.map_or_else(|| text.clone(), |cut| format!("{cut} …")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_one_line_of_bearable_length() {
        let note = |message: &str| Note {
            message: Some(message.to_owned()),
            reason: Some("Failed".to_owned()),
            ..Note::default()
        };
        assert_eq!(
            text(&note("0/1 nodes are available:\n 1 Insufficient memory.")).unwrap(),
            "0/1 nodes are available: 1 Insufficient memory."
        );
        assert_eq!(text(&note("")).unwrap(), "Failed");
        assert_eq!(text(&note(&"é".repeat(600))).unwrap().chars().count(), LONGEST + 2);
    }
}

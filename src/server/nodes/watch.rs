//! Looking by itself: soon after replicas change, again while something is wrong, and rarely otherwise.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::super::domain::{AppName, InstanceState};
use super::super::runtime::InstanceEvent;
use super::{Nodes, Seen};

/// After a replica has come or gone.
const SOON: Duration = Duration::from_secs(3);
/// While something is wrong.
const AGAIN: Duration = Duration::from_secs(5);
/// While nothing is.
const RARELY: Duration = Duration::from_secs(30);
/// A worker counts as ready before its node is up: so long after a change it may still appear.
const APPEARING: Duration = Duration::from_mins(1);
/// What is wrong for less is nobody's business: libcluster looks every five seconds.
const LASTING: Duration = Duration::from_secs(15);

/// When an app is looked at next, and what is known to be wrong with it.
struct Plan {
    due: Instant,
    changed: Instant,
    /// By replica: since when, and whether it was told.
    wrong: HashMap<String, (Instant, bool)>,
}

pub(super) async fn watch(
    nodes: Nodes,
    running: Vec<AppName>,
    mut events: broadcast::Receiver<InstanceEvent>,
    stop: CancellationToken,
) {
    let mut plans: HashMap<AppName, Plan> = HashMap::new();
    running.into_iter().for_each(|app| note(&mut plans, app));
    loop {
        let next = plans.values().map(|plan| plan.due).min();
        tokio::select! {
            () = stop.cancelled() => return,
            event = events.recv() => match event {
                Ok(event) => {
                    if let Some(app) = touched(event) {
                        note(&mut plans, app);
                    }
                }
                // Whoever is known is looked at in time; whoever is not will change again.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                let now = Instant::now();
                let due: Vec<_> = plans.iter().filter(|(_, plan)| plan.due <= now).map(|(app, _)| app.clone()).collect();
                for app in due {
                    if let Some(plan) = plans.remove(&app) {
                        let looked = look(&nodes, &app, plan).await;
                        plans.extend(looked.map(|plan| (app, plan)));
                    }
                }
            }
        }
    }
}

/// Whose replica has become ready or has gone.
fn touched(event: InstanceEvent) -> Option<AppName> {
    match event {
        InstanceEvent::Changed(instance) if instance.state != InstanceState::Ready => None,
        InstanceEvent::Changed(instance) | InstanceEvent::Gone(instance) => Some(instance.workload.app),
    }
}

fn note(plans: &mut HashMap<AppName, Plan>, app: AppName) {
    let now = Instant::now();
    let plan = plans.entry(app).or_insert_with(|| Plan { due: now, changed: now, wrong: HashMap::new() });
    (plan.due, plan.changed) = (now + SOON, now);
}

/// Looks, tells, and says when to look again; never, if there is nothing to see.
async fn look(nodes: &Nodes, app: &AppName, mut plan: Plan) -> Option<Plan> {
    let seen = nodes.seen(app);
    let mut seen = seen.lock().await;
    nodes.look(app, &mut seen).await;
    if seen.sights.is_empty() {
        drop(seen);
        nodes.forget(app);
        return None;
    }
    if let Some(text) = news(&mut plan.wrong, &seen, Instant::now()) {
        nodes.0.world.tell(app, text).await;
    }
    let now = Instant::now();
    let pause = match (plan.wrong.is_empty(), seen.has_nodes()) {
        (false, _) => AGAIN,
        (true, true) => RARELY,
        (true, false) if plan.changed.elapsed() < APPEARING => AGAIN,
        (true, false) => return None,
    };
    Some(Plan { due: now + pause, ..plan })
}

/// What people should hear: what has been wrong for long enough, once; and that all is well again.
fn news(wrong: &mut HashMap<String, (Instant, bool)>, seen: &Seen, now: Instant) -> Option<String> {
    let troubles = seen.troubles();
    let had_told = wrong.values().any(|(_, told)| *told);
    let still: HashSet<&String> = troubles.keys().collect();
    wrong.retain(|replica, _| still.contains(replica));
    for replica in troubles.keys() {
        wrong.entry(replica.clone()).or_insert((now, false));
    }
    let mut lasting = BTreeMap::new();
    for (replica, (since, told)) in wrong.iter_mut() {
        if !*told && now.duration_since(*since) >= LASTING {
            *told = true;
            lasting.insert(replica.clone(), &troubles[replica]);
        }
    }
    if !lasting.is_empty() {
        let label = |replica: &String| seen.sights.get(replica).map_or("", |(replica, _)| replica.label.as_str());
        let each = lasting.iter().map(|(replica, trouble)| format!("{} ({replica}) {trouble}", label(replica)));
        return Some(format!("The cluster is not whole: {}.", each.collect::<Vec<_>>().join("; ")));
    }
    (had_told && wrong.is_empty()).then(|| "The cluster is whole again: every node sees every other.".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::{Replica, Sight};
    use super::*;

    fn seen(silent: bool) -> Seen {
        let replica = |n: u8| Replica {
            name: format!("shop-web-1-{n}"),
            label: format!("web.{n}"),
            node: ([127, 64, 0, n], 32_001).into(),
            run: String::new(),
            cookies: Vec::new(),
        };
        let node = |n: u8, other: u8| Sight::Node { name: n.to_string(), sees: vec![other.to_string()], version: None };
        let second = if silent { Sight::Silent } else { node(2, 1) };
        let sights = [(replica(1), node(1, 2)), (replica(2), second)];
        let sights = sights.into_iter().map(|(replica, sight)| (replica.name.clone(), (replica, sight))).collect();
        Seen { sights, clusters: true, ..Seen::default() }
    }

    #[test]
    fn what_lasts_is_told_once_and_its_end_too() {
        let (mut wrong, start) = (HashMap::new(), Instant::now());
        let mut at = |seconds, silent| news(&mut wrong, &seen(silent), start + Duration::from_secs(seconds));
        assert_eq!(at(0, true), None, "it has only begun");
        assert_eq!(at(5, false), None, "it was never told");
        assert_eq!(at(10, true), None);
        let told = at(25, true).unwrap();
        assert_eq!(told, "The cluster is not whole: web.2 (shop-web-1-2) does not answer.");
        assert_eq!(at(40, true), None, "once is enough");
        assert!(at(60, false).unwrap().contains("whole again"));
        assert_eq!(at(65, false), None);
    }
}

//! What stands and how it does, in memory: the database's workloads, the runtime's instances. Every change rebuilds the
//! route of its app and publishes the table; nobody asks the database or the runtime on behalf of a visitor.
//!
//! One writer per fact: workloads change by operations (after the database has them), instances by the runtime's events.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::server::domain::{
    AppId, AppName, Backend, Front, Hostname, Instance, InstanceState, Route, RouteState, RouteTable, Workload,
    WorkloadId,
};
use crate::server::runtime::InstanceEvent;
use crate::server::store::WorkloadState;

use super::plan::Plan;
use super::routes::{backend, route_state};

/// The fleet.
#[derive(Debug)]
pub(super) struct Fleet {
    domain: Hostname,
    /// False until the instances are known: half a table would lead visitors to error pages.
    known: AtomicBool,
    apps: Mutex<HashMap<AppName, AppFleet>>,
    routes: watch::Sender<Arc<RouteTable>>,
    changes: watch::Sender<u64>,
    /// Every table there was: a watch channel keeps only the last one.
    #[cfg(test)]
    pub(super) history: Mutex<Vec<Arc<RouteTable>>>,
}

#[derive(Debug)]
struct AppFleet {
    id: AppId,
    deployed: bool,
    front: Front,
    standing: BTreeMap<WorkloadId, (Workload, WorkloadState)>,
    instances: HashMap<String, Instance>,
    retiring: HashSet<WorkloadId>,
}

/// A serving generation and the instances that it has too many.
pub(super) struct Wish {
    pub(super) workload: Workload,
    pub(super) surplus: Vec<Backend>,
}

impl Fleet {
    pub(super) fn new(domain: Hostname) -> Self {
        let routes = watch::Sender::new(Arc::new(RouteTable::default()));
        Self {
            domain,
            known: AtomicBool::new(false),
            apps: Mutex::default(),
            routes,
            changes: watch::Sender::new(0),
            #[cfg(test)]
            history: Mutex::default(),
        }
    }

    /// The table, now and whenever it changes.
    pub(super) fn routes(&self) -> watch::Receiver<Arc<RouteTable>> {
        self.routes.subscribe()
    }

    /// Wakes at every change of an instance.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Makes an app known; one that is known stays as it is.
    pub(super) fn add_app(&self, id: AppId, app: &AppName, deployed: bool) {
        let mut apps = self.lock();
        apps.entry(app.clone()).or_insert_with(|| AppFleet {
            id,
            deployed,
            front: Front::default(),
            standing: BTreeMap::new(),
            instances: HashMap::new(),
            retiring: HashSet::new(),
        });
        self.publish(&apps, app);
    }

    /// The app is no more: its hosts lead nowhere.
    pub(super) fn remove_app(&self, app: &AppName) {
        let mut apps = self.lock();
        if let Some(gone) = apps.remove(app) {
            self.publish_without(&apps, app, &self.hosts(app, &gone.front));
        }
        // Whoever has its name next has not been asked for its visitors.
        let mut left = Vec::new();
        for (name, fleet) in apps.iter_mut() {
            if fleet.front.canary.take_if(|canary| canary.app == *app).is_some() {
                left.push(name.clone());
            }
        }
        left.iter().for_each(|name| self.publish(&apps, name));
    }

    /// What visitors meet before the replicas. Nothing happens if the name is another app's by now.
    /// A canary that is no more, or not yet known, is none.
    pub(super) fn set_front(&self, id: AppId, app: &AppName, mut front: Front) {
        let mut apps = self.lock();
        front.canary.take_if(|canary| !apps.contains_key(&canary.app));
        if let Some(fleet) = apps.get_mut(app).filter(|fleet| fleet.id == id) {
            let before = std::mem::replace(&mut fleet.front, front);
            let gone: Vec<_> = before.hosts.difference(&fleet.front.hosts).cloned().collect();
            self.publish_without(&apps, app, &gone);
        }
    }

    /// Makes a generation known, in the state in which the database has it.
    pub(super) fn add(&self, workload: Workload, state: WorkloadState) {
        let app = workload.id.app.clone();
        self.change(&app, |fleet| {
            fleet.standing.insert(workload.id.clone(), (workload, state));
        });
    }

    /// What a commit changes, in one go: visitors meet the old generations or the new ones, never both or neither.
    pub(super) fn commit(&self, app: &AppName, generation: i64, plan: &Plan, deployed: bool) {
        self.change(app, |fleet| {
            fleet.deployed = deployed;
            for (id, (workload, state)) in &mut fleet.standing {
                if id.generation == generation {
                    *state = WorkloadState::Serving;
                }
                if plan.retire.contains(id) {
                    *state = WorkloadState::Draining;
                }
                if let Some((_, replicas)) = plan.resize.iter().find(|(resized, _)| resized == id) {
                    workload.replicas = *replicas;
                }
            }
        });
    }

    /// Standing generations are wished otherwise from now on; how many replicas they have stays as it is.
    pub(super) fn renew(&self, app: &AppName, renewed: &[Workload]) {
        self.change(app, |fleet| {
            for new in renewed {
                if let Some((workload, _)) = fleet.standing.get_mut(&new.id) {
                    *workload = Workload { replicas: workload.replicas, ..new.clone() };
                }
            }
        });
    }

    /// An undone rollout's generation has only to go.
    pub(super) fn fail(&self, app: &AppName, generation: i64) {
        self.change(app, |fleet| {
            for (id, (_, state)) in &mut fleet.standing {
                if id.generation == generation {
                    *state = WorkloadState::Draining;
                }
            }
        });
    }

    /// The runtime has removed it.
    pub(super) fn forget(&self, id: &WorkloadId) {
        self.change(&id.app, |fleet| {
            fleet.standing.remove(id);
            fleet.retiring.remove(id);
            fleet.instances.retain(|_, instance| instance.workload != *id);
        });
    }

    /// Claims the ending of a generation; false when somebody is already at it, or it has gone.
    pub(super) fn claim_retiring(&self, id: &WorkloadId) -> bool {
        let mut apps = self.lock();
        apps.get_mut(&id.app).is_some_and(|fleet| fleet.standing.contains_key(id) && fleet.retiring.insert(id.clone()))
    }

    /// Gives the claim back, for a later try.
    pub(super) fn unclaim_retiring(&self, id: &WorkloadId) {
        if let Some(fleet) = self.lock().get_mut(&id.app) {
            fleet.retiring.remove(id);
        }
    }

    /// Takes an event in. The instance as it was before comes back.
    pub(super) fn observe(&self, event: &InstanceEvent) -> Option<Instance> {
        let (InstanceEvent::Changed(instance) | InstanceEvent::Gone(instance)) = event;
        let mut before = None;
        self.change(&instance.workload.app, |fleet| {
            before = match event {
                InstanceEvent::Changed(now) => fleet.instances.insert(now.name.clone(), now.clone()),
                InstanceEvent::Gone(gone) => fleet.instances.remove(&gone.name),
            };
        });
        before
    }

    /// Takes a whole list in: what is not in it is gone. The first one makes the table public.
    pub(super) fn observe_all(&self, instances: Vec<Instance>) {
        let mut apps = self.lock();
        for fleet in apps.values_mut() {
            fleet.instances.clear();
        }
        for instance in instances {
            if let Some(fleet) = apps.get_mut(&instance.workload.app) {
                fleet.instances.insert(instance.name.clone(), instance);
            }
        }
        self.known.store(true, Ordering::Relaxed);
        let names: Vec<_> = apps.keys().cloned().collect();
        for app in &names {
            self.publish(&apps, app);
        }
        self.changes.send_modify(|count| *count += 1);
    }

    /// An app's instances, by process, generation and index.
    pub(super) fn instances(&self, app: &AppName) -> Vec<Instance> {
        let apps = self.lock();
        let mut all: Vec<_> = apps.get(app).map(|f| f.instances.values().cloned().collect()).unwrap_or_default();
        all.sort_by(|a: &Instance, b| (&a.workload, a.index).cmp(&(&b.workload, b.index)));
        all
    }

    /// An app's ready instances of serving generations, in the same order.
    pub(super) fn ready(&self, app: &AppName) -> Vec<Instance> {
        let serving: HashSet<WorkloadId> = {
            let apps = self.lock();
            apps.get(app).map(|fleet| fleet.serving().map(|workload| workload.id.clone()).collect()).unwrap_or_default()
        };
        let mut all = self.instances(app);
        all.retain(|one| one.state == InstanceState::Ready && serving.contains(&one.workload));
        all
    }

    /// An app's serving generations.
    pub(super) fn serving(&self, app: &AppName) -> Vec<Workload> {
        let apps = self.lock();
        let serving = |fleet: &AppFleet| fleet.serving().cloned().collect();
        apps.get(app).map(serving).unwrap_or_default()
    }

    /// Every generation there is, with its app's row and its state.
    pub(super) fn standing(&self) -> Vec<(AppId, WorkloadId, WorkloadState)> {
        let apps = self.lock();
        let of = |fleet: &AppFleet| {
            let id = fleet.id;
            fleet.standing.values().map(move |(workload, state)| (id, workload.id.clone(), *state)).collect::<Vec<_>>()
        };
        apps.values().flat_map(of).collect()
    }

    /// Whether the generation should exist in any way.
    pub(super) fn knows(&self, id: &WorkloadId) -> bool {
        self.lock().get(&id.app).is_some_and(|fleet| fleet.standing.contains_key(id))
    }

    /// A generation's instances as the router knows them.
    pub(super) fn backends(&self, id: &WorkloadId) -> Vec<Backend> {
        let apps = self.lock();
        let of =
            |fleet: &AppFleet| fleet.instances.values().filter(|i| i.workload == *id).filter_map(backend).collect();
        apps.get(&id.app).map(of).unwrap_or_default()
    }

    /// A serving generation as it is wished now; `None` when it does not serve.
    pub(super) fn wish(&self, id: &WorkloadId) -> Option<Wish> {
        let apps = self.lock();
        let fleet = apps.get(&id.app)?;
        let (workload, state) = fleet.standing.get(id)?;
        let too_many = |instance: &&Instance| instance.workload == *id && instance.index > workload.replicas;
        let surplus = fleet.instances.values().filter(too_many).filter_map(backend).collect();
        (*state == WorkloadState::Serving).then(|| Wish { workload: workload.clone(), surplus })
    }

    fn change(&self, app: &AppName, change: impl FnOnce(&mut AppFleet)) {
        let mut apps = self.lock();
        if let Some(fleet) = apps.get_mut(app) {
            change(fleet);
            self.publish(&apps, app);
            self.changes.send_modify(|count| *count += 1);
        }
    }

    fn publish(&self, apps: &HashMap<AppName, AppFleet>, app: &AppName) {
        self.publish_without(apps, app, &[]);
    }

    /// The hosts that lead to an app.
    fn hosts(&self, app: &AppName, front: &Front) -> Vec<Hostname> {
        std::iter::once(Hostname::of_app(app, &self.domain)).chain(front.hosts.iter().cloned()).collect()
    }

    /// Under the lock, so that tables appear in the order of the changes. `gone` are hosts that were the app's.
    fn publish_without(&self, apps: &HashMap<AppName, AppFleet>, app: &AppName, gone: &[Hostname]) {
        if !self.known.load(Ordering::Relaxed) {
            return;
        }
        let route = apps.get(app).map(|fleet| (Arc::new(fleet.route(app)), self.hosts(app, &fleet.front)));
        let (route, own) = route.unzip();
        let own = own.unwrap_or_default();
        self.routes.send_if_modified(|table| {
            let leads = |host: &Hostname| table.hosts.get(host) == route.as_ref();
            if own.iter().all(leads) && !gone.iter().any(|host| table.hosts.contains_key(host)) {
                return false;
            }
            let mut hosts = table.hosts.clone();
            gone.iter().for_each(|host| drop(hosts.remove(host)));
            // All hosts share one route: the router tells by that that they share their backends' turns.
            hosts.extend(own.iter().cloned().zip(route.iter().cycle().cloned()));
            *table = Arc::new(RouteTable { hosts });
            true
        });
        #[cfg(test)]
        self.history.lock().unwrap().push(self.routes.borrow().clone());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AppName, AppFleet>> {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AppFleet {
    fn serving(&self) -> impl Iterator<Item = &Workload> + Clone {
        let serves = |(_, state): &&(Workload, WorkloadState)| *state == WorkloadState::Serving;
        self.standing.values().filter(serves).map(|(workload, _)| workload)
    }

    fn route(&self, app: &AppName) -> Route {
        let rules = Arc::clone(&self.front.rules);
        if self.front.maintenance {
            return Route { app: app.clone(), state: RouteState::Maintenance, canary: None, rules };
        }
        let web = self.serving().filter(|workload| workload.id.process.is_web());
        let state = route_state(self.deployed, web, self.instances.values());
        Route { app: app.clone(), state, canary: self.front.canary.clone(), rules }
    }
}

/// Whether an event tells that an instance has just ended by itself.
pub(super) fn has_crashed(before: Option<&Instance>, now: &Instance) -> bool {
    now.state == InstanceState::Crashed && before.is_none_or(|before| before.state != InstanceState::Crashed)
}

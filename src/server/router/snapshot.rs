//! The table in force, with what the router adds to it: a pool and a load for each backend.
//!
//! Readers load one pointer. Writing (a new table) happens under a lock that no request takes; a backend that stays
//! keeps its pool and its load across tables.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::affinity::Tag;
use super::inflight::Lease;
use super::traffic::Tally;
use super::upstream::Upstream;
use crate::server::domain::{AppName, Backend, Route, RouteState, RouteTable, Rules};

/// Where a host leads, with its backends' connections.
pub(super) struct Target {
    route: Arc<Route>,
    upstreams: Box<[Arc<Upstream>]>,
    /// Who is looked at first, so that equals take turns.
    turn: AtomicUsize,
    /// It serves, and nothing is to be looked at before that.
    plain: bool,
    /// Requests that were divided between the app and its canary; kept across tables.
    divided: Arc<AtomicUsize>,
    /// Kept across tables too.
    tally: Arc<Tally>,
}

impl Target {
    pub(super) fn app(&self) -> &AppName {
        &self.route.app
    }

    pub(super) fn state(&self) -> &RouteState {
        &self.route.state
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.route.rules
    }

    pub(super) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// The backend that a browser has been with, if it is still there.
    pub(super) fn again(&self, tag: Tag) -> Option<(usize, Lease)> {
        let index = self.upstreams.iter().position(|upstream| upstream.tag() == tag)?;
        Lease::of(&self.upstreams[index]).map(|lease| (index, lease))
    }

    /// The app that gets the next request, if it is the canary. Of any hundred in a row it gets exactly its weight, evenly
    /// spread.
    fn canary(&self) -> Option<&AppName> {
        let canary = self.route.canary.as_ref()?;
        let count = self.divided.fetch_add(1, Relaxed) % 100;
        let due = |count: usize| count * usize::from(canary.weight) / 100;
        (due(count + 1) > due(count)).then_some(&canary.app)
    }

    /// The backend with the fewest requests in flight that is not in `tried`; equals take turns.
    pub(super) fn pick(&self, tried: &[usize]) -> Option<(usize, Lease)> {
        let count = self.upstreams.len();
        let mut refused = Vec::new();
        let first = if count > 1 { self.turn.fetch_add(1, Relaxed) } else { 0 };
        loop {
            let index = (0..count)
                .map(|step| first.wrapping_add(step) % count)
                .filter(|index| !tried.contains(index) && !refused.contains(index))
                .min_by_key(|index| self.upstreams[*index].load().requests())?;
            match Lease::of(&self.upstreams[index]) {
                Some(lease) => return Some((index, lease)),
                None => refused.push(index),
            }
        }
    }
}

/// One table, ready to be read.
#[derive(Default)]
pub(super) struct Snapshot {
    hosts: HashMap<String, Arc<Target>>,
    /// By what the hosts are below of which each is one label more.
    wild: HashMap<String, Arc<Target>>,
    apps: HashMap<AppName, Arc<Target>>,
}

impl Snapshot {
    fn find(&self, host: &str) -> Option<&Arc<Target>> {
        let wild = || self.wild.get(host.split_once('.')?.1);
        self.hosts.get(host).or_else(wild)
    }
}

/// The table in force.
pub(super) struct Published {
    current: ArcSwap<Snapshot>,
    /// Visitors of nobody.
    strays: Arc<Tally>,
    book: Mutex<Book>,
}

struct Book {
    table: watch::Receiver<Arc<RouteTable>>,
    applied: Arc<RouteTable>,
    /// Every backend of the table, and those retired ones that still have requests in flight.
    upstreams: HashMap<Backend, Arc<Upstream>>,
}

impl Published {
    pub(super) fn new(table: watch::Receiver<Arc<RouteTable>>) -> Self {
        let book = Book { table, applied: Arc::default(), upstreams: HashMap::new() };
        let published = Self { current: ArcSwap::default(), strays: Arc::default(), book: Mutex::new(book) };
        published.refresh();
        published
    }

    /// Where a host (lower case, no port) leads.
    pub(super) fn target(&self, host: &str) -> Option<Arc<Target>> {
        self.current.load().find(host).cloned()
    }

    /// Where the next request for a host goes: there, or to its canary if that serves. The canary's own canary is not
    /// asked.
    pub(super) fn next_target(&self, host: &str) -> Option<Arc<Target>> {
        let current = self.current.load();
        let target = current.find(host)?;
        let canary = target.canary().and_then(|app| current.apps.get(app));
        let canary = canary.filter(|canary| matches!(canary.state(), RouteState::Serving(_)));
        Some(Arc::clone(canary.unwrap_or(target)))
    }

    /// Where a host leads, if every request for it simply goes to one of the app's replicas.
    pub(super) fn plain_target(&self, host: &str) -> Option<Arc<Target>> {
        self.current.load().find(host).filter(|target| target.plain).cloned()
    }

    /// Whether a host is the same app's as `target`.
    pub(super) fn is_of(&self, host: &str, target: &Target) -> bool {
        self.current.load().find(host).is_some_and(|other| other.app() == target.app())
    }

    /// Every app's counters.
    pub(super) fn tallies(&self) -> Vec<(AppName, Arc<Tally>)> {
        let current = self.current.load();
        current.apps.iter().map(|(app, target)| (app.clone(), Arc::clone(&target.tally))).collect()
    }

    pub(super) fn strays(&self) -> &Arc<Tally> {
        &self.strays
    }

    pub(super) fn upstream(&self, backend: &Backend) -> Option<Arc<Upstream>> {
        self.book().upstreams.get(backend).cloned()
    }

    /// Puts the newest table in force.
    pub(super) fn refresh(&self) {
        let mut book = self.book();
        let table = Arc::clone(&book.table.borrow_and_update());
        if Arc::ptr_eq(&table, &book.applied) {
            return;
        }
        let old = std::mem::take(&mut book.upstreams);
        let (snapshot, upstreams) = build(&table, &old, &self.current.load().apps);
        book.applied = table;
        book.upstreams = upstreams;
        self.current.store(Arc::new(snapshot));
        for (backend, upstream) in old {
            if let Entry::Vacant(free) = book.upstreams.entry(backend) {
                upstream.load().set_retired(true);
                upstream.close_idle();
                if !upstream.load().is_drained() {
                    free.insert(upstream);
                }
            }
        }
    }

    /// Closes connections idle for longer than `limit`, and forgets backends that are drained.
    fn sweep(&self, limit: Duration) {
        let mut book = self.book();
        book.upstreams.retain(|_, upstream| !upstream.load().is_drained());
        let upstreams: Vec<_> = book.upstreams.values().cloned().collect();
        drop(book);
        upstreams.iter().for_each(|upstream| upstream.close_idle_since(limit));
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn build(
    table: &RouteTable,
    old: &HashMap<Backend, Arc<Upstream>>,
    before: &HashMap<AppName, Arc<Target>>,
) -> (Snapshot, HashMap<Backend, Arc<Upstream>>) {
    let mut upstreams: HashMap<Backend, Arc<Upstream>> = HashMap::new();
    let mut targets: HashMap<*const Route, Arc<Target>> = HashMap::new();
    let mut upstream = |backend: &Backend| {
        let kept = upstreams.entry(backend.clone()).or_insert_with(|| match old.get(backend) {
            Some(known) => Arc::clone(known),
            None => Arc::new(Upstream::new(backend.clone())),
        });
        kept.load().set_retired(false);
        Arc::clone(kept)
    };
    let (mut hosts, mut wild) = (HashMap::with_capacity(table.hosts.len()), HashMap::new());
    for (host, route) in &table.hosts {
        // Hosts of one app share one route, and with it the turns its backends take.
        let target = targets.entry(Arc::as_ptr(route)).or_insert_with(|| {
            let backends: &[Backend] = if let RouteState::Serving(list) = &route.state { list } else { &[] };
            let upstreams = backends.iter().map(&mut upstream).collect();
            let kept = before.get(&route.app).map(|old| (Arc::clone(&old.divided), Arc::clone(&old.tally)));
            let (divided, tally) = kept.unwrap_or_default();
            let (turn, plain) = (AtomicUsize::new(0), is_plain(route));
            Arc::new(Target { route: Arc::clone(route), upstreams, turn, plain, divided, tally })
        });
        match host.below() {
            Some(base) => wild.insert(base.to_owned(), Arc::clone(target)),
            None => hosts.insert(host.as_str().to_owned(), Arc::clone(target)),
        };
    }
    let apps = targets.into_values().map(|target| (target.app().clone(), target)).collect();
    (Snapshot { hosts, wild, apps }, upstreams)
}

fn is_plain(route: &Route) -> bool {
    // The page is for other times.
    let none = Rules { maintenance_page: route.rules.maintenance_page.clone(), ..Rules::default() };
    matches!(route.state, RouteState::Serving(_)) && route.canary.is_none() && *route.rules == none
}

/// Follows the table until `stop`.
pub(super) fn spawn_keeper(
    published: Arc<Published>,
    mut table: watch::Receiver<Arc<RouteTable>>,
    idle_limit: Duration,
    stop: CancellationToken,
) {
    tokio::spawn(async move {
        let mut sweep = tokio::time::interval((idle_limit / 2).max(Duration::from_millis(10)));
        let mut open = true;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = table.changed(), if open => match changed {
                    Ok(()) => published.refresh(),
                    // Nobody will send a table again; the last one stays in force.
                    Err(_) => open = false,
                },
                _ = sweep.tick() => published.sweep(idle_limit),
            }
        }
    });
}

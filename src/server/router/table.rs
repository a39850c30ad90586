//! Building a [`RouteTable`]. Pure; the router itself only reads tables.

use std::sync::Arc;

use crate::server::domain::{AppName, Backend, Hostname, Route, RouteState, RouteTable};

/// The route of an app that has been deployed and wants `replicas` of `web`, of which these are ready.
pub fn serving(app: AppName, replicas: u32, ready: Vec<Backend>) -> Route {
    let state = match (replicas, ready.is_empty()) {
        (0, true) => RouteState::ScaledToZero,
        (_, true) => RouteState::Failing,
        (_, false) => RouteState::Serving(ready),
    };
    Route { app, state, canary: None, rules: Arc::default() }
}

/// A table of apps, each reached by any of its hosts. A host named twice belongs to the first that named it.
pub fn table(apps: impl IntoIterator<Item = (Route, Vec<Hostname>)>) -> RouteTable {
    let mut table = RouteTable::default();
    for (route, hosts) in apps {
        let route = Arc::new(route);
        for host in hosts {
            table.hosts.entry(host).or_insert_with(|| Arc::clone(&route));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend() -> Backend {
        Backend { name: "a-web-1-0".into(), address: ([127, 0, 0, 1], 9).into() }
    }

    #[test]
    fn a_route_tells_why_nobody_serves() {
        let app = AppName::parse("shop").unwrap();
        assert_eq!(serving(app.clone(), 0, vec![]).state, RouteState::ScaledToZero);
        assert_eq!(serving(app.clone(), 2, vec![]).state, RouteState::Failing);
        assert_eq!(serving(app.clone(), 2, vec![backend()]).state, RouteState::Serving(vec![backend()]));
        // Scaled down to 0 a moment ago, and the last one still answers.
        assert_eq!(serving(app, 0, vec![backend()]).state, RouteState::Serving(vec![backend()]));
    }

    #[test]
    fn the_first_app_keeps_a_host() {
        let host = Hostname::parse("a.example").unwrap();
        let route = |name: &str| serving(AppName::parse(name).unwrap(), 0, vec![]);
        let built = table([(route("one"), vec![host.clone()]), (route("two"), vec![host.clone()])]);
        assert_eq!(built.hosts[&host].app.as_str(), "one");
    }
}

//! What visitors meet who come by a cluster's own ingress: the same routes that the router follows, and the certificates
//! that visitors of the server itself are shown, handed to the runtime whenever either changes.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::domain::{Route, RouteState, RouteTable, Rules};
use super::runtime::kubernetes::{IngressHost, IngressHosts, Kubernetes};
use super::tls::Tls;

/// Keeps the cluster's ingress until `closed`.
pub(super) fn follow(
    cluster: &Kubernetes,
    mut routes: watch::Receiver<Arc<RouteTable>>,
    tls: Tls,
    closed: CancellationToken,
) -> JoinHandle<()> {
    let mut certificates = tls.changes();
    let (wish, wished) = watch::channel(Arc::new(hosts(&routes.borrow_and_update(), &tls)));
    cluster.keep_ingress(wished);
    tokio::spawn(async move {
        loop {
            let changed = tokio::select! {
                changed = routes.changed() => changed,
                changed = certificates.changed() => changed,
                () = closed.cancelled() => return,
            };
            if changed.is_err() {
                return;
            }
            let now = hosts(&routes.borrow_and_update(), &tls);
            wish.send_if_modified(|wish| {
                let differs = **wish != now;
                *wish = Arc::new(now);
                differs
            });
        }
    })
}

fn hosts(routes: &RouteTable, tls: &Tls) -> IngressHosts {
    let mut all = IngressHosts::new();
    for (name, route) in routes.hosts.iter().filter(|(_, route)| route.state != RouteState::NothingDeployed) {
        let certificate = tls.pem(name.as_str());
        let host = IngressHost { name: name.clone(), straight: is_straight(route), certificate };
        all.entry(route.app.clone()).or_default().push(host);
    }
    all.values_mut().for_each(|hosts| hosts.sort_by(|a, b| a.name.cmp(&b.name)));
    all
}

/// Whether the replicas alone can answer, as the app's people wish it. Without any that is ready there is still a page
/// to show.
fn is_straight(route: &Route) -> bool {
    // The maintenance page shows in maintenance only.
    let rules = Rules { maintenance_page: None, ..(*route.rules).clone() };
    matches!(route.state, RouteState::Serving(_)) && route.canary.is_none() && rules == Rules::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::domain::{AppName, Backend, Canary};

    #[test]
    fn what_only_the_router_can_do_goes_by_the_router() {
        let backend = Backend { name: "shop-1".to_owned(), address: ([10, 1, 2, 3], 4000).into() };
        let shop = AppName::parse("shop").unwrap();
        let serving =
            Route { app: shop.clone(), state: RouteState::Serving(vec![backend]), canary: None, rules: Arc::default() };
        assert!(is_straight(&serving));
        let page = Rules { maintenance_page: Some("soon".into()), ..Rules::default() };
        assert!(is_straight(&Route { rules: Arc::new(page), ..serving.clone() }));
        let rules = Rules { access_log: true, ..Rules::default() };
        for other in [
            Route { state: RouteState::Maintenance, ..serving.clone() },
            Route { state: RouteState::Failing, ..serving.clone() },
            Route { canary: Some(Canary { app: shop, weight: 1 }), ..serving.clone() },
            Route { rules: Arc::new(rules), ..serving.clone() },
        ] {
            assert!(!is_straight(&other), "{other:?}");
        }
    }
}

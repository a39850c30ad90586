//! Which certificates there should be, from the hosts that visitors can come for. Pure.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::OWN_LABELS;
use crate::server::domain::{Certificate, CertificateName, CertificateSource, Hostname, RouteState, RouteTable};

/// Every certificate that is wanted of a CA, each as its names. `writes`: whether challenges for a name can be written into
/// the DNS, without which there is no wildcard.
pub(super) fn wanted(
    routes: &RouteTable,
    domain: &Hostname,
    writes: impl Fn(&str) -> bool,
) -> BTreeSet<Vec<CertificateName>> {
    let (below, wildcard) = (CertificateName::wildcard(domain), writes(domain.as_str()));
    let together = || vec![below.clone(), domain.clone().into()];
    let own = OWN_LABELS.iter().filter_map(|label| Hostname::parse(&format!("{label}.{domain}")).ok());
    // A name that leads to nothing yet is not worth a CA's time, and may never be.
    let deployed = routes.hosts.iter().filter(|(_, route)| route.state != RouteState::NothingDeployed);
    let hosts = own.chain(deployed.map(|(host, _)| host.clone()));
    // For a wildcard a CA looks into the DNS only.
    let possible = |host: &Hostname| host.below().is_none_or(&writes);
    hosts
        .filter(possible)
        .map(|host| match wildcard && below.covers(host.as_str()) {
            true => together(),
            false => vec![host.into()],
        })
        .collect()
}

/// Whether an own certificate does the work of one of a CA.
pub(super) fn is_provided(names: &[CertificateName], own: &[&Certificate], now: Timestamp) -> bool {
    let valid = |own: &&&Certificate| own.source == CertificateSource::Own && own.not_after > now;
    let covered = |name: &CertificateName| {
        own.iter().filter(valid).any(|own| own.names.iter().any(|by| by == name || by.covers(name.as_str())))
    };
    names.iter().all(covered)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::server::domain::{AppName, Route};

    fn routes(hosts: &[(&str, RouteState)]) -> RouteTable {
        let app = AppName::parse("shop").unwrap();
        let route = |state: &RouteState| {
            Arc::new(Route { app: app.clone(), state: state.clone(), canary: None, rules: Arc::default() })
        };
        RouteTable {
            hosts: hosts.iter().map(|(host, state)| (Hostname::parse_domain(host).unwrap(), route(state))).collect(),
        }
    }

    fn shown(writable: &[&str]) -> Vec<String> {
        let table = routes(&[
            ("shop.example.org", RouteState::Failing),
            ("new.example.org", RouteState::NothingDeployed),
            ("www.shop.example", RouteState::ScaledToZero),
            ("*.shop.example", RouteState::ScaledToZero),
        ]);
        let found = wanted(&table, &Hostname::parse("example.org").unwrap(), |name| writable.contains(&name));
        found.iter().map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn every_deployed_host_gets_its_own_certificate_or_shares_the_wildcard() {
        assert_eq!(shown(&[]), ["api.example.org", "git.example.org", "shop.example.org", "www.shop.example"]);
        assert_eq!(shown(&["example.org"]), ["*.example.org example.org", "www.shop.example"]);
        let both = ["*.example.org example.org", "*.shop.example", "www.shop.example"];
        assert_eq!(shown(&["example.org", "shop.example"]), both);
    }
}

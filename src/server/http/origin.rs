//! Where a request comes from, for the rate limits.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRef, FromRequestParts, Request, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use ipnet::IpNet;

use super::error::HttpError;
use super::routes::{Part, Sheet};
use crate::server::actions::ActionError;
use crate::server::actions::account::{Accounts, network};

/// Proxies whose word is taken.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(pub Arc<[IpNet]>);

/// The asker's network: the peer's, or, behind trusted proxies, the nearest one they were reached from.
#[derive(Debug, Clone, Copy)]
pub struct Origin(pub IpAddr);

impl<S> FromRequestParts<S> for Origin
where
    S: Send + Sync,
    TrustedProxies: FromRef<S>,
{
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let Some(ConnectInfo(peer)) = parts.extensions.get::<ConnectInfo<SocketAddr>>() else {
            return Err(ActionError::internal("the listener does not say who connected").into());
        };
        Ok(Self(network(TrustedProxies::from_ref(state).client(peer.ip(), &parts.headers))))
    }
}

/// Lets a request in, unless its network has asked too often.
pub(super) async fn admitted(
    State(accounts): State<Arc<Accounts>>,
    Origin(from): Origin,
    request: Request,
    next: Next,
) -> Result<Response, HttpError> {
    accounts.admit(from)?;
    Ok(next.run(request).await)
}

impl Part for Origin {
    fn describe(_: &mut Sheet) {}
}

impl TrustedProxies {
    /// Reads `X-Forwarded-For` from its end for as long as trusted proxies vouch for it.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let lines: Vec<&str> =
            headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok()).collect();
        for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
            if !self.0.iter().any(|net| net.contains(&client)) {
                break;
            }
            let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
            client = address.to_canonical();
        }
        client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        let trusted = TrustedProxies(trusted.iter().map(|net| net.parse().unwrap()).collect());
        trusted.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let nets = &["127.0.0.0/8", "10.0.0.0/8"][..];
        assert_eq!(client(nets, "192.0.2.1", &["203.0.113.9"]), "192.0.2.1", "a stranger says what it likes");
        assert_eq!(client(nets, "127.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client(nets, "127.0.0.1", &["1.1.1.1, 203.0.113.9, 10.0.0.3"]), "203.0.113.9", "not the forged one");
        assert_eq!(client(nets, "127.0.0.1", &["1.1.1.1", "203.0.113.9"]), "203.0.113.9", "two lines are one list");
        assert_eq!(client(nets, "127.0.0.1", &["unknown"]), "127.0.0.1");
        assert_eq!(client(nets, "127.0.0.1", &[]), "127.0.0.1");
        assert_eq!(client(&[], "127.0.0.1", &["203.0.113.9"]), "127.0.0.1");
        assert_eq!(client(nets, "::ffff:127.0.0.1", &["203.0.113.9"]), "203.0.113.9");
    }
}

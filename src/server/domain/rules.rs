use std::num::NonZeroU32;
use std::sync::Arc;

/// What an app's people have decided about the requests of its visitors. By default nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Requests and upgraded connections at a time; more are refused.
    pub connections: Option<NonZeroU32>,
    /// Bytes of a request's body; more are refused.
    pub body_bytes: Option<u64>,
    /// Whether a browser comes to the same replica again.
    pub affinity: bool,
    /// Whether replicas are spoken to by HTTP/2 without TLS ("h2c" with prior knowledge), as gRPC needs.
    pub h2c: bool,
    /// Which of `www.HOST` and `HOST` visitors of the other are sent to, if the app has both.
    pub canonical: Option<Canonical>,
    /// Whether every request is a line in the app's log.
    pub access_log: bool,
    /// HTML for whoever comes while the app is under maintenance.
    pub maintenance_page: Option<Arc<str>>,
}

/// One of two hosts that lead to the same app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canonical {
    /// `www.HOST`.
    Www,
    /// `HOST`.
    Apex,
}

impl Canonical {
    /// As it is stored and told.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Www => "www",
            Self::Apex => "apex",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Www, Self::Apex].into_iter().find(|one| one.as_str() == text)
    }

    /// The host to go to from `host`, when it is not there yet.
    pub fn instead_of(self, host: &str) -> Option<String> {
        match (self, host.strip_prefix("www.")) {
            (Self::Www, None) => Some(format!("www.{host}")),
            (Self::Apex, Some(apex)) => Some(apex.to_owned()),
            (Self::Www, Some(_)) | (Self::Apex, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_two_hosts_is_left() {
        for (wish, host, instead) in [
            (Canonical::Www, "shop.example", Some("www.shop.example")),
            (Canonical::Www, "www.shop.example", None),
            (Canonical::Apex, "www.shop.example", Some("shop.example")),
            (Canonical::Apex, "shop.example", None),
        ] {
            assert_eq!(wish.instead_of(host).as_deref(), instead);
            assert_eq!(Canonical::parse(wish.as_str()), Some(wish));
        }
    }
}

//! Where a connection wants to go, which ssh tells in the user's name.

/// `APP`, `APP.web.2`, `APP.web` or `APP.POD`, each with or without `root@` before it: OpenSSH reads
/// `root@APP@host`, as Gigalixir's own client writes it, as the user `root@APP` at `host`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Destination<'a> {
    /// As it was given; whether there is such an app is for others to find out.
    pub(super) app: &'a str,
    /// What the replica is called, if it matters.
    pub(super) replica: Option<&'a str>,
}

impl<'a> Destination<'a> {
    /// `None` where no app is named.
    pub(super) fn parse(user: &'a str) -> Option<Self> {
        let name = user.strip_prefix("root@").unwrap_or(user);
        // A name has no dots in it, so the first one ends it.
        let (app, replica) = name.split_once('.').map_or((name, None), |(app, replica)| (app, Some(replica)));
        let said = !app.is_empty() && app != "root" && replica != Some("");
        said.then_some(Self { app, replica })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(user: &str) -> Option<(&str, Option<&str>)> {
        Destination::parse(user).map(|destination| (destination.app, destination.replica))
    }

    #[test]
    fn an_app_and_perhaps_a_replica() {
        assert_eq!(read("hill"), Some(("hill", None)));
        assert_eq!(read("root@hill"), Some(("hill", None)));
        assert_eq!(read("hill.web.2"), Some(("hill", Some("web.2"))));
        assert_eq!(read("root@hill.hill-web-3-abcde"), Some(("hill", Some("hill-web-3-abcde"))));
        for nowhere in ["", "root", "root@", ".web.1", "root@.x", "hill."] {
            assert_eq!(read(nowhere), None, "{nowhere}");
        }
    }

    #[test]
    fn what_is_no_name_is_left_for_others_to_refuse() {
        assert_eq!(read("../etc"), None, "a dot at the beginning");
        assert_eq!(read("ann@hill"), Some(("ann@hill", None)));
    }
}

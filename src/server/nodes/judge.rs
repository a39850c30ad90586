//! What is wrong with a cluster: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::super::beam::Term;

/// What was seen of one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// It is no node, as far as can be known.
    NoNode,
    /// A node that has another cookie than the app's.
    OtherCookie,
    /// Something accepts connections there and says nothing.
    Silent,
    /// A node.
    Node {
        /// Its name.
        name: String,
        /// The nodes that it is connected to, hidden ones not among them.
        sees: Vec<String>,
        /// The version of the release that it runs, if it is one.
        version: Option<String>,
    },
}

/// What is wrong with one replica's node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Its cookie is another.
    OtherCookie,
    /// It does not answer.
    Silent,
    /// It is connected to none of the others.
    Alone,
    /// It is connected to some and not to these.
    Misses(Vec<String>),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherCookie => f.write_str("has another cookie than the app's"),
            Self::Silent => f.write_str("does not answer"),
            Self::Alone => f.write_str("sees nobody"),
            Self::Misses(nodes) => write!(f, "does not see {}", nodes.join(", ")),
        }
    }
}

/// The names in an answer of `nodes()`, sorted, and the version beside it.
pub(super) fn looked(answer: &Term) -> (Vec<String>, Option<String>) {
    let Term::Tuple(parts) = answer else { return (Vec::new(), None) };
    let mut names: Vec<_> = match parts.first() {
        Some(Term::List(nodes)) => nodes.iter().map(Term::to_text).collect(),
        _ => Vec::new(),
    };
    names.sort();
    let version = parts.get(1).filter(|version| matches!(version, Term::Binary(_)));
    (names, version.map(Term::to_text))
}

/// Whether any two of the nodes are connected.
pub(super) fn connected<'a>(sights: impl Iterator<Item = &'a Sight> + Clone) -> bool {
    let all = members(sights.clone());
    sights
        .into_iter()
        .any(|sight| matches!(sight, Sight::Node { sees, .. } if sees.iter().any(|name| all.contains(name))))
}

/// What is wrong with whom. Nodes of which no two were ever connected (`clusters`) form no cluster on purpose.
pub(super) fn judge<'a>(
    sights: impl Iterator<Item = (&'a str, &'a Sight)> + Clone,
    clusters: bool,
) -> BTreeMap<String, Trouble> {
    let all = members(sights.clone().map(|(_, sight)| sight));
    let trouble = |sight: &Sight| match sight {
        Sight::NoNode => None,
        Sight::OtherCookie => Some(Trouble::OtherCookie),
        Sight::Silent => Some(Trouble::Silent),
        Sight::Node { .. } if !clusters => None,
        Sight::Node { name, sees, .. } => {
            let missed: Vec<_> = all.iter().filter(|other| *other != name && !sees.contains(other)).cloned().collect();
            match missed.len() {
                0 => None,
                most if most + 1 == all.len() => Some(Trouble::Alone),
                _ => Some(Trouble::Misses(missed)),
            }
        }
    };
    sights.filter_map(|(name, sight)| Some((name.to_owned(), trouble(sight)?))).collect()
}

fn members<'a>(sights: impl Iterator<Item = &'a Sight>) -> BTreeSet<String> {
    let name = |sight: &Sight| match sight {
        Sight::Node { name, .. } => Some(name.clone()),
        _ => None,
    };
    sights.filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, sees: &[&str]) -> Sight {
        Sight::Node { name: name.to_owned(), sees: sees.iter().map(|name| (*name).to_owned()).collect(), version: None }
    }

    fn judged(sights: &[Sight], clusters: bool) -> Vec<String> {
        let names: Vec<String> = (1..=sights.len()).map(|n| n.to_string()).collect();
        let named = names.iter().map(String::as_str).zip(sights);
        judge(named, clusters).into_iter().map(|(name, trouble)| format!("{name} {trouble}")).collect()
    }

    #[test]
    fn what_is_wrong_is_told_of_whom_it_is_wrong_with() {
        let nothing: [&str; 0] = [];
        assert_eq!(judged(&[node("a", &["b", "c"]), node("b", &["a", "c"]), node("c", &["a", "b"])], true), nothing);
        assert_eq!(judged(&[node("a", &[])], true), nothing, "one is not alone");
        assert_eq!(judged(&[node("a", &["old"]), Sight::NoNode], true), nothing);
        assert_eq!(judged(&[node("a", &[]), node("b", &[])], false), nothing, "no cluster was ever wished");
        assert_eq!(judged(&[node("a", &[]), node("b", &["x"])], true), ["1 sees nobody", "2 sees nobody"]);
        let split = [node("a", &["b"]), node("b", &["a"]), node("c", &[])];
        assert_eq!(judged(&split, true), ["1 does not see c", "2 does not see c", "3 sees nobody"]);
        let odd = [Sight::OtherCookie, Sight::Silent, node("c", &[])];
        assert_eq!(judged(&odd, false), ["1 has another cookie than the app's", "2 does not answer"]);
        assert!(connected(split.iter()) && !connected(odd.iter()));
    }
}

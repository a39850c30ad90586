//! Kubernetes' label selectors: pure. `repo=shop`, `a==b`, `a!=b`, `a`, `!a`, `a in (b,c)`, `a notin (b)`, joined by
//! commas. What cannot be read selects nothing.

use std::collections::BTreeMap;

/// A wish about labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selector(Vec<Term>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    label: String,
    /// `None`: it only has to be there.
    values: Option<Vec<String>>,
    not: bool,
}

impl Selector {
    /// `None` if it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let terms: Option<Vec<Term>> = split(text).iter().map(|term| parse_term(term.trim())).collect();
        terms.map(Self)
    }

    pub(super) fn matches(&self, labels: &BTreeMap<&str, String>) -> bool {
        self.0.iter().all(|term| {
            let has = match (&term.values, labels.get(term.label.as_str())) {
                (None, found) => found.is_some(),
                (Some(wished), Some(value)) => wished.contains(value),
                (Some(_), None) => false,
            };
            has != term.not
        })
    }
}

/// At the commas that are not within brackets.
fn split(text: &str) -> Vec<&str> {
    let (mut terms, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms.retain(|term| !term.trim().is_empty());
    terms
}

fn parse_term(text: &str) -> Option<Term> {
    let term = |label: &str, values: Option<Vec<String>>, not: bool| {
        let label = label.trim().to_owned();
        let sound = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        (!label.is_empty() && label.chars().all(sound)).then_some(Term { label, values, not })
    };
    if let Some((label, value)) = text.split_once("!=") {
        return term(label, Some(vec![value.trim().to_owned()]), true);
    }
    if let Some((label, value)) = text.split_once('=') {
        return term(label, Some(vec![value.trim_start_matches('=').trim().to_owned()]), false);
    }
    if let Some((head, list)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        let values = Some(list.split(',').map(|value| value.trim().to_owned()).collect());
        let (label, word) = head.trim().rsplit_once(' ')?;
        return match word {
            "in" => term(label, values, false),
            "notin" => term(label, values, true),
            _ => None,
        };
    }
    match text.strip_prefix('!') {
        Some(label) => term(label, None, true),
        None => term(text, None, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_select() {
        let labels = BTreeMap::from([("repo", "shop".to_owned()), ("process", "web".to_owned())]);
        for (text, wanted) in [
            ("", true),
            ("repo=shop", true),
            ("repo==shop,process=web", true),
            ("repo=blog", false),
            ("repo!=blog", true),
            ("process in (web, worker)", true),
            ("process in (worker),repo=shop", false),
            ("process notin (worker)", true),
            ("repo", true),
            ("!repo", false),
            ("!release", true),
            ("release=1", false),
        ] {
            assert_eq!(Selector::parse(text).unwrap().matches(&labels), wanted, "{text}");
        }
        for nonsense in ["=", "a b", "a of (b)", "(b)", "a b=c"] {
            assert_eq!(Selector::parse(nonsense), None, "{nonsense}");
        }
    }
}

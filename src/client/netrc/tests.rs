use proptest::prelude::*;

use super::*;

fn with(text: &str, machine: &str) -> String {
    let bytes = Netrc::parse(text.as_bytes()).unwrap().with(machine, "me@x.org", "KEY").unwrap();
    String::from_utf8(bytes).unwrap()
}

fn without(text: &str, machine: &str) -> String {
    String::from_utf8(Netrc::parse(text.as_bytes()).unwrap().without(machine)).unwrap()
}

const OURS: &str = "machine localhost\n\tlogin me@x.org\n\tpassword KEY\n";

#[test]
fn a_new_entry_goes_to_the_end() {
    for (before, after) in [
        ("", OURS.to_owned()),
        ("machine a login b password c\n", format!("machine a login b password c\n{OURS}")),
        ("machine a login b password c", format!("machine a login b password c\n{OURS}")),
        ("# only a comment", format!("# only a comment\n{OURS}")),
        ("macdef init\ncd /tmp\n", format!("macdef init\ncd /tmp\n\n{OURS}")),
        ("macdef init\ncd /tmp", format!("macdef init\ncd /tmp\n\n{OURS}")),
        ("macdef init\ncd /tmp\n\n", format!("macdef init\ncd /tmp\n\n{OURS}")),
        ("machine a\r\nlogin b\r\n", format!("machine a\r\nlogin b\r\n{}", OURS.replace('\n', "\r\n"))),
    ] {
        assert_eq!(with(before, "localhost"), after, "{before:?}");
    }
}

#[test]
fn nothing_is_found_behind_default_so_ours_goes_before_it() {
    let default = "  default login anonymous password me@\n";
    assert_eq!(with(default, "localhost"), format!("{OURS}{default}"));
    let hidden = format!("{default}machine localhost login old password old\n# end\n");
    assert_eq!(with(&hidden, "localhost"), format!("{OURS}{default}# end\n"));
    assert_eq!(
        with("machine a login b default login c", "localhost"),
        format!("machine a login b {OURS}default login c")
    );
}

#[test]
fn an_entry_that_stands_is_changed_in_place() {
    for (before, after) in [
        (
            "# mine\nmachine  localhost\n  login \"old one\"\n  # why\n\tpassword old # note\nmachine b password c\n",
            "# mine\nmachine  localhost\n  login me@x.org\n  # why\n\tpassword KEY # note\nmachine b password c\n",
        ),
        ("machine LOCALHOST password old login old", "machine LOCALHOST password KEY login me@x.org"),
        ("machine localhost", "machine localhost login me@x.org password KEY"),
        ("machine localhost login x", "machine localhost password KEY login me@x.org"),
        ("machine localhost user x passwd y port 21\r\n", "machine localhost user me@x.org passwd KEY port 21\r\n"),
        (
            "machine localhost login a password b\nmachine x login y\nmachine localhost login c password d\n",
            "machine localhost login me@x.org password KEY\nmachine x login y\n",
        ),
        (
            "machine localhost login a password b machine localhost login c machine localhost login d\n",
            "machine localhost login me@x.org password KEY\n",
        ),
    ] {
        assert_eq!(with(before, "localhost"), after, "{before:?}");
    }
}

#[test]
fn leaving_takes_only_our_words() {
    for (before, after) in [
        ("machine localhost login a password b\n", ""),
        ("machine localhost login a password b", ""),
        (
            "machine x login y\n\nmachine localhost\n\tlogin a\n\tpassword b\n\n# end\n",
            "machine x login y\n\n\n# end\n",
        ),
        ("machine x login y machine localhost login a machine z login w", "machine x login y machine z login w"),
        ("machine x login y machine localhost login a\nmachine z", "machine x login y\nmachine z"),
        ("  machine localhost login a # note\n", "  # note\n"),
        ("machine localhost\n# keep\nlogin a\npassword b\nmachine x\n", "# keep\nmachine x\n"),
        ("machine localhost login a\nmacdef m\nls\n\npassword b\nmachine x\n", "macdef m\nls\n\nmachine x\n"),
        ("machine localhost login a\r\nmachine x\r\n", "machine x\r\n"),
        ("machine other login a\n", "machine other login a\n"),
    ] {
        assert_eq!(without(before, "localhost"), after, "{before:?}");
    }
}

#[test]
fn values_are_read_as_curl_reads_them() {
    let find = |text: &str| Netrc::parse(text.as_bytes()).unwrap().find("h");
    let pair = |login: &str, password: &str| Some((login.to_owned(), password.to_owned()));
    assert_eq!(find("machine h login a password b"), pair("a", "b"));
    assert_eq!(find("machine h login \"a b\" password \"c\\\"\\\\d\""), pair("a b", "c\"\\d"));
    assert_eq!(find("machine h login login password #hash"), pair("login", "#hash"));
    assert_eq!(find("machine h login a password b\nmachine h login c password d"), pair("a", "b"));
    assert_eq!(find("machine h login a"), None, "half an entry is no credential");
    assert_eq!(find("default login a password b"), None);
    assert_eq!(find("macdef m\nmachine h login a password b\n\n"), None, "that is a macro's text");
    assert_eq!(find("# machine h login a password b"), None);
}

#[test]
fn what_cannot_be_read_is_refused_without_quoting_it() {
    for (text, error) in [
        ("machine h login a password two words\n", NetrcError::NotAKeyword { line: 1 }),
        ("# c\n\nhunter2", NetrcError::NotAKeyword { line: 3 }),
        ("machine h\nlogin", NetrcError::NoValue { line: 2, keyword: "login" }),
        ("machine h\nlogin \"open\n", NetrcError::OpenQuote { line: 2 }),
        ("machine h login \"open\\", NetrcError::OpenQuote { line: 1 }),
    ] {
        let found = Netrc::parse(text.as_bytes()).unwrap_err();
        assert_eq!(found, error, "{text:?}");
        assert!(!found.to_string().contains("words") && !found.to_string().contains("hunter2"));
    }
}

#[test]
fn values_that_programs_read_differently_are_not_written() {
    let netrc = Netrc::parse(b"").unwrap();
    for odd in ["", "a b", "a\nb", "a\"b", "a\\b", "#a", "a\u{7f}"] {
        assert_eq!(netrc.with("h", "me", odd), Err(NetrcError::Unwritable { what: "password" }), "{odd:?}");
        assert_eq!(netrc.with("h", odd, "k"), Err(NetrcError::Unwritable { what: "login" }), "{odd:?}");
    }
}

#[test]
fn machines_that_share_a_key_are_found() {
    let text = b"machine a login l password p machine b login l password q machine c password p login l";
    assert_eq!(Netrc::parse(text).unwrap().machines_of("l", "p"), ["a", "c"]);
}

/// Pieces of files in the wild; those of `other` machines must survive as they are.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("\n".to_owned()),
        Just("  \t\r\n".to_owned()),
        "# [a-z #\"]{0,12}\n",
        "machine other[0-9] login [a-z\u{e9}#]{1,8}\tpassword \"(\\\\\\\\|[a-z #]){0,6}\"( # [a-z ]{0,6})?\r?\n",
        "machine\n other[0-9]\n\n account [a-z]{1,5}\n",
        "macdef [a-z]{1,4}\n([a-z][a-z #\"]{0,9}\n){0,3}\n",
        "machine localhost\n(  # [a-z ]{0,6}\n)?  login [a-z]{1,6}\n  password [a-z]{1,6}\n",
        "machine localhost login [a-z]{1,6}\n",
    ]
}

/// All that is not ours and not white space: what an edit must not change.
fn foreign(text: &[u8]) -> Vec<u8> {
    let mut left = Netrc::parse(text).unwrap().without("localhost");
    left.retain(|byte| !is_space(*byte));
    left
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(netrc) = Netrc::parse(&text) {
            if !netrc.has("localhost") {
                prop_assert_eq!(netrc.without("localhost"), text.clone());
            }
            let written = netrc.with("localhost", "me", "key").unwrap();
            let again = Netrc::parse(&written).unwrap();
            prop_assert_eq!(again.find("localhost"), Some(("me".to_owned(), "key".to_owned())));
        }
    }

    #[test]
    fn edits_keep_foreign_bytes_and_are_idempotent(pieces in proptest::collection::vec(piece(), 0..8), cut in any::<bool>()) {
        let mut text = pieces.concat();
        if cut && text.ends_with('\n') {
            text.pop();
        }
        let text = text.as_bytes();
        let netrc = Netrc::parse(text).unwrap();
        let written = netrc.with("localhost", "me", "key").unwrap();
        let again = Netrc::parse(&written).unwrap();
        prop_assert_eq!(again.find("localhost"), Some(("me".to_owned(), "key".to_owned())));
        prop_assert_eq!(again.with("localhost", "me", "key").unwrap(), written.clone());
        prop_assert_eq!(foreign(&written), foreign(text));
        let left = again.without("localhost");
        prop_assert!(!Netrc::parse(&left).unwrap().has("localhost"));
        for piece in pieces.iter().filter(|piece| !piece.contains("localhost")) {
            let piece = piece.trim_end().as_bytes();
            let found = piece.is_empty() || left.windows(piece.len()).any(|window| window == piece);
            prop_assert!(found, "{:?} lost", String::from_utf8_lossy(piece));
        }
        if !netrc.has("localhost") {
            prop_assert!(written.starts_with(text));
        }
    }
}

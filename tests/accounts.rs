//! Accounts, from the terminal.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::harness::{Person, Server, newest_mail, wait_until};

const PASSWORD: &str = "correct horse battery";

#[test]
fn the_first_account_is_the_operators_and_then_signups_close() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    assert!(ada.run(&["account"]).ok().contains("ada@example.com"));
    let eve = Person::stranger(&server);
    let refused = eve.run(&["signup:start", "-e", "eve@example.com"]).fails();
    assert!(refused.contains("closed"), "{refused}");
}

#[test]
fn netrc_keeps_every_foreign_byte() {
    let server = Server::start();
    let ada = Person::stranger(&server);
    let foreign = "# mine\nmachine other.example login me password \"a b\"\n\n\ndefault login x password y";
    std::fs::write(ada.home().join(".netrc"), foreign).expect("netrc");
    let ada = Person::sign_up_at_home(&server, "ada@example.com", ada);
    let text = std::fs::read_to_string(ada.home().join(".netrc")).expect("netrc");
    assert!(text.contains("machine other.example login me password \"a b\"\n"), "{text}");
    assert!(text.contains("default login x password y"), "{text}");
    let mode = std::fs::metadata(ada.home().join(".netrc")).expect("netrc").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    ada.run(&["logout"]).ok();
    assert_eq!(std::fs::read_to_string(ada.home().join(".netrc")).expect("netrc"), foreign);
    assert!(ada.run(&["account"]).fails().contains("login"), "it says what to do");
}

#[test]
fn passwords_are_changed_and_reset() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    ada.run(&["account:password:change", "-p", PASSWORD, "-n", "another good one"]).ok();
    let _ = ada.run(&["login", "-e", "ada@example.com", "-p", PASSWORD, "-y"]).fails();
    ada.run(&["login", "-e", "ada@example.com", "-p", "another good one", "-y"]).ok();
    ada.run(&["account:password:reset", "-e", "ada@example.com"]).ok();
    // The mail goes out after the answer: whether there is an account is not to be told by time.
    wait_until("the mail", Duration::from_secs(10), || newest_mail(&server, "ada@example.com").contains("Token:"));
    let mail = newest_mail(&server, "ada@example.com");
    let token = mail.lines().find_map(|l| l.trim().strip_prefix("Token:")).expect("a token in the mail").trim();
    ada.run(&["account:password:set", "-t", token, "-p", "a third fine one"]).ok();
    ada.run(&["login", "-e", "ada@example.com", "-p", "a third fine one", "-y"]).ok();
    assert!(ada.run(&["account:password:set", "-t", token, "-p", "a fourth fine one"]).fails().contains("token"));
}

#[test]
fn resetting_the_key_ends_the_old_ones() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let old = std::fs::read_to_string(ada.home().join(".netrc")).expect("netrc");
    ada.run(&["account:api_key:reset", "-p", PASSWORD, "-y"]).ok();
    ada.run(&["account"]).ok();
    std::fs::write(ada.home().join(".netrc"), old).expect("netrc");
    let _ = ada.run(&["account"]).fails();
}

#[test]
fn guessing_passwords_is_slowed_down() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let guess = |n| ada.run(&["login", "-e", "ada@example.com", "-p", &format!("wrong guess {n}"), "-y"]).fails();
    let answers: Vec<String> = (0..30).map(guess).collect();
    assert!(answers[29].contains("too many"), "the thirtieth guess is refused unheard: {}", answers[29]);
}

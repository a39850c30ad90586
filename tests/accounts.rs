//! Accounts, from the terminal.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use crate::harness::{Person, Project, Server, newest_mail, wait_until};

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
    let token = &token_in(&newest_mail(&server, "ada@example.com"));
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
    let begun = std::time::Instant::now();
    let answers: Vec<String> = (0..30).map(guess).collect();
    // Ten at once, and one more every six seconds.
    let allowed = 10 + begun.elapsed().as_secs() as usize / 6 + 1;
    let heard = answers.iter().filter(|answer| !answer.contains("too many")).count();
    assert!((10..=allowed).contains(&heard), "{heard} guesses were heard, {allowed} may be: {answers:?}");
}

#[test]
fn ssh_keys_by_both_spellings() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ada@home";
    assert!(ada.run(&["account:ssh_keys:add", "nonsense"]).fails().contains("ssh key has invalid format"));
    ada.run(&["add_ssh_key", key]).ok();
    assert!(ada.run(&["account:ssh_keys:add", key]).fails().contains("already"));
    let listed = ada.run(&["ssh_keys"]).ok();
    let row = listed.lines().nth(1).unwrap_or_else(|| panic!("no key in {listed}"));
    assert!(row.contains("SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU") && row.contains("ada@home"), "{row}");
    let id = row.split_whitespace().next().expect("an id");
    ada.run(&["delete_ssh_key", id]).ok();
    assert_eq!(ada.run(&["account:ssh_keys:remove", id]).code, Some(4), "no such key");
    assert_eq!(ada.run(&["account:ssh_keys", "--json"]).ok().trim(), "[]");
}

#[test]
fn the_address_changes_and_the_account_ends() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    ada.run(&["account:email:set", "-e", "ada@new.example", "-p", PASSWORD]).ok();
    // Signed up nowhere else, so a mail to it is the one.
    wait_until("the mail", Duration::from_secs(10), || has_mail(&server, "To: ada@new.example"));
    let token = token_in(&newest_mail(&server, "To: ada@new.example"));
    assert!(ada.run(&["account:email:confirm", "-t", "wrong"]).fails().contains("token is wrong"));
    ada.run(&["account:email:confirm", "-t", &token]).ok();
    ada.run(&["login", "-e", "ada@new.example", "-p", PASSWORD]).ok();
    assert!(ada.run(&["account"]).ok().contains("ada@new.example"));

    let project = Project::empty(&ada, "last");
    project.create_app(&ada);
    let destroy = ["account:destroy", "-y", "-e", "ada@new.example", "-p", PASSWORD];
    assert!(ada.run(&destroy).fails().contains("destroy them first"));
    ada.run_in(&project, &["apps:destroy", "--confirm", "last"]).ok();
    assert_eq!(ada.run(&[&destroy[..1], &destroy[2..]].concat()).code, Some(2), "nobody can be asked, so -y is needed");
    ada.run(&destroy).ok();
    assert_eq!(ada.run(&["account"]).code, Some(3));
    Person::sign_up(&server, "ada@example.com").run(&["account"]).ok();
}

#[test]
fn a_login_asks_for_the_second_factor() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let mut activation = ada
        .command(env!("CARGO_BIN_EXE_gigalixir"))
        .args(["account:mfa:activate"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("client");
    let mut said = BufReader::new(activation.stderr.take().expect("stderr")).lines().map_while(Result::ok);
    let url = said.find(|line| line.contains("otpauth://")).expect("the secret's url");
    let app = totp_rs::Totp::from_url(url.trim()).expect("a url");
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("clock").as_secs();
    writeln!(activation.stdin.take().expect("stdin"), "{}", app.generate(now())).expect("answer");
    said.for_each(drop);
    let done = activation.wait_with_output().expect("client");
    assert!(done.status.success());
    let codes = String::from_utf8(done.stdout).expect("codes");
    assert_eq!(codes.lines().count(), 10, "{codes}");

    let login = ["login", "-e", "ada@example.com", "-p", PASSWORD];
    let _ = ada.run(&login).fails();
    let refused = ada.run_with_input(&login, "000000\n").fails();
    assert!(refused.contains("mfa token is wrong"), "{refused}");
    ada.run_with_input(&login, &format!("{}\n", app.generate(now() + 30))).ok();
    ada.run(&[&login[..], &["-t", codes.lines().next().expect("a code")]].concat()).ok();
    ada.run(&["account:mfa:deactivate"]).ok();
    ada.run(&login).ok();
}

fn has_mail(server: &Server, word: &str) -> bool {
    let mails = std::fs::read_dir(server.data().join("outbox")).expect("outbox").flatten();
    mails.map(|mail| std::fs::read_to_string(mail.path()).unwrap_or_default()).any(|text| text.contains(word))
}

fn token_in(mail: &str) -> String {
    mail.lines().find_map(|line| line.strip_prefix("Token:")).expect("a token in the mail").trim().to_owned()
}

//! Mail to a real SMTP server (aiosmtpd, where Python has it) and into the outbox.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::*;
use crate::server::config::SmtpTls;

const RECEIVER: &str = r#"
import asyncio, sys
from aiosmtpd.smtp import SMTP, AuthResult

class Folder:
    count = 0
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refused"):
            return "550 no such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"
    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        text = envelope.content.decode("utf8")
        head = f"FROM {envelope.mail_from} TO {','.join(envelope.rcpt_tos)}\n"
        open(f"{sys.argv[1]}/{self.count}", "w").write(head + text)
        return "250 OK"

def allowed(server, session, envelope, mechanism, data):
    right = (data.login, data.password) == (b"gigalixir", b"hush")
    return AuthResult(success=right, handled=right)

async def main():
    folder, auth = Folder(), sys.argv[2] == "auth"
    make = lambda: SMTP(folder, hostname="test", authenticator=allowed if auth else None, auth_required=auth,
                        auth_require_tls=False)
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"#;

struct Receiver {
    process: Child,
    port: u16,
    mails: tempfile::TempDir,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `None`, said loudly, where Python has no aiosmtpd.
fn receiver(auth: &str) -> Option<Receiver> {
    use std::io::{BufRead, BufReader};
    let known = Command::new("python3").args(["-c", "import aiosmtpd.smtp"]).stderr(Stdio::null()).status();
    if !known.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: python3 has no aiosmtpd (pip install aiosmtpd): SMTP is not tested");
        return None;
    }
    let mails = tempfile::tempdir().unwrap();
    let mut process = Command::new("python3")
        .args(["-c", RECEIVER, mails.path().to_str().unwrap(), auth])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    Some(Receiver { process, port: line.trim().parse().unwrap(), mails })
}

fn plain(port: u16) -> SmtpConfig {
    SmtpConfig { host: Some("127.0.0.1".into()), port: Some(port), tls: SmtpTls::None, ..SmtpConfig::default() }
}

fn mailer(config: &SmtpConfig) -> Mailer {
    let nowhere = Path::new("/nonexistent/outbox").to_owned();
    Mailer::new(config, &Hostname::parse("paas.example.org").unwrap(), nowhere).unwrap()
}

fn letter() -> Letter {
    Letter { subject: "Grüße".into(), body: "Your code is\n\n    ABCD2345\n\n.\nEnd: ü\n".into() }
}

fn to(address: &str) -> Email {
    Email::parse(address).unwrap()
}

#[tokio::test]
async fn a_relay_takes_mail() {
    let Some(receiver) = receiver("open") else { return };
    let mailer = mailer(&plain(receiver.port));
    for _ in 0..2 {
        mailer.deliver(&to("me+x@example.org"), letter()).await.unwrap();
    }
    let text = std::fs::read_to_string(receiver.mails.path().join("2")).unwrap();
    assert!(text.starts_with("FROM gigalixir@paas.example.org TO me+x@example.org\n"), "{text}");
    for part in ["From: Gigalixir <gigalixir@paas.example.org>", "Message-ID: <", "Date: ", "Subject: =?utf-8?b?"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn a_posted_mail_arrives_later() {
    let Some(receiver) = receiver("open") else { return };
    mailer(&plain(receiver.port)).post(&to("me@example.org"), letter());
    let deadline = Instant::now() + Duration::from_secs(10);
    while !receiver.mails.path().join("1").exists() {
        assert!(Instant::now() < deadline, "it never came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_relay_wants_the_right_password() {
    let Some(receiver) = receiver("auth") else { return };
    let with = |password: &str| SmtpConfig {
        username: Some("gigalixir".into()),
        password: Some(password.into()),
        ..plain(receiver.port)
    };
    let refused = mailer(&with("wrong")).deliver(&to("me@example.org"), letter()).await.unwrap_err();
    assert!(refused.to_string().contains("535") && !refused.to_string().contains("wrong"), "{refused}");
    mailer(&with("hush")).deliver(&to("me@example.org"), letter()).await.unwrap();
}

#[tokio::test]
async fn what_the_relay_refuses_is_told() {
    let Some(receiver) = receiver("open") else { return };
    let refused = mailer(&plain(receiver.port)).deliver(&to("refused@example.org"), letter()).await.unwrap_err();
    assert!(refused.to_string().contains("no such person"), "{refused}");
    let tls = SmtpConfig { tls: SmtpTls::Starttls, ..plain(receiver.port) };
    let refused = mailer(&tls).deliver(&to("me@example.org"), letter()).await.unwrap_err();
    assert!(matches!(refused, MailError::Relay(_)), "a relay without TLS gets no mail when TLS is wanted: {refused}");
    let text = std::fs::read_dir(receiver.mails.path()).unwrap().count();
    assert_eq!(text, 0);
}

#[tokio::test]
async fn no_relay_is_an_error_soon() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let begun = Instant::now();
    let refused = mailer(&plain(port)).deliver(&to("me@example.org"), letter()).await.unwrap_err();
    assert!(matches!(refused, MailError::Relay(_)), "{refused}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn more_than_a_bound_are_refused() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mailer = mailer(&plain(silent.local_addr().unwrap().port()));
    for _ in 0..UNDER_WAY {
        mailer.post(&to("me@example.org"), letter());
    }
    let refused = mailer.deliver(&to("me@example.org"), letter()).await.unwrap_err();
    assert!(matches!(refused, MailError::Busy));
}

#[test]
fn a_bad_sender_is_refused_at_start() {
    let config = SmtpConfig { from: Some("nobody".into()), ..SmtpConfig::default() };
    let refused = Mailer::new(&config, &Hostname::localhost(), tempfile::tempdir().unwrap().path().join("o"));
    assert!(refused.err().unwrap().to_string().contains("`from`"));
}

#[tokio::test]
async fn the_outbox_is_private_and_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = folder.path().join("outbox");
    let mailer = Mailer::new(&SmtpConfig::default(), &Hostname::localhost(), outbox.clone()).unwrap();
    for n in 0..outbox::KEPT {
        std::fs::write(outbox.join(format!("19700101T000000000-{n}.eml")), "old").unwrap();
    }
    mailer.deliver(&to("me@example.org"), letter()).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&outbox), 0o700);
    let files: Vec<PathBuf> = std::fs::read_dir(&outbox).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), outbox::KEPT, "the oldest gave way");
    let newest = files.iter().max().unwrap();
    assert_eq!(mode(newest), 0o600);
    let text = std::fs::read_to_string(newest).unwrap();
    assert!(text.contains("To: me@example.org\r\n") && text.contains("ABCD2345"), "{text}");
}

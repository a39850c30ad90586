//! The ssh door, by a client that does what OpenSSH's never would.

use std::sync::Arc;
use std::time::Duration;

use russh::client::{Config, Handle, Handler, Msg, connect};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_secret_key};
use russh::{Channel, ChannelMsg, Sig};
use tokio::time::timeout;

use crate::harness::{Person, Project, Server, Ssh};

const LONG: Duration = Duration::from_secs(60);

struct Trusting;

impl Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

/// A server with an app, and Ada, whose key it knows.
struct Home {
    server: Server,
    ada: Person,
}

impl Home {
    fn new(config: &str) -> Self {
        let server = Server::with_config(config);
        let ada = Person::sign_up(&server, "ada@example.com");
        Project::greeting(&ada, "hello", "one").push(&ada);
        Ssh::known(&ada, &server);
        Self { server, ada }
    }

    async fn connect(&self) -> Handle<Trusting> {
        let mut handle = connect(Arc::new(Config::default()), self.server.ssh, Trusting).await.expect("connects");
        let key = load_secret_key(Ssh::of(&self.ada, &self.server).key(), None).expect("key");
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
        assert!(handle.authenticate_publickey("hello", key).await.expect("an answer").success());
        handle
    }
}

fn run<F: Future>(work: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    runtime.block_on(async { timeout(LONG, work).await.expect("in time") })
}

/// All that a channel says until it is closed: output, errors, how it ended.
async fn rest(channel: &mut Channel<Msg>) -> (String, String, Option<String>) {
    let (mut out, mut err, mut end) = (Vec::new(), Vec::new(), None);
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } => out.extend_from_slice(&data),
            ChannelMsg::ExtendedData { data, .. } => err.extend_from_slice(&data),
            ChannelMsg::ExitStatus { exit_status } => end = Some(exit_status.to_string()),
            ChannelMsg::ExitSignal { signal_name, .. } => end = Some(format!("{signal_name:?}")),
            _ => {}
        }
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(out), text(err), end)
}

async fn first_data(channel: &mut Channel<Msg>) -> String {
    loop {
        match channel.wait().await.expect("it goes on") {
            ChannelMsg::Data { data } => return String::from_utf8_lossy(&data).into_owned(),
            _ => continue,
        }
    }
}

#[test]
fn signals_reach_the_program_and_its_end_is_told() {
    let home = Home::new("");
    run(async {
        let handle = home.connect().await;
        let mut channel = handle.channel_open_session().await.expect("a channel");
        let line = "trap 'echo caught; exit 9' USR1; echo in; while :; do sleep 0.1; done";
        channel.exec(true, line).await.expect("exec");
        assert_eq!(first_data(&mut channel).await, "in\n");
        channel.signal(Sig::USR1).await.expect("signal");
        let (out, _, end) = rest(&mut channel).await;
        assert_eq!((out.as_str(), end.as_deref()), ("caught\n", Some("9")));

        let mut channel = handle.channel_open_session().await.expect("a channel");
        channel.exec(true, "echo in; exec sleep 1000").await.expect("exec");
        assert_eq!(first_data(&mut channel).await, "in\n");
        channel.signal(Sig::Custom("NONSENSE".into())).await.expect("signal");
        channel.signal(Sig::TERM).await.expect("signal");
        let (_, _, end) = rest(&mut channel).await;
        assert!(end.is_some_and(|end| end.contains("TERM")));
    });
}

#[test]
fn a_program_ends_with_its_channel() {
    let home = Home::new("");
    run(async {
        let handle = home.connect().await;
        let mut channel = handle.channel_open_session().await.expect("a channel");
        channel.exec(true, "echo $$; exec sleep 1000").await.expect("exec");
        let pid = first_data(&mut channel).await;
        channel.close().await.expect("close");
        let look = format!("while kill -0 {} 2>/dev/null; do sleep 0.1; done; echo gone", pid.trim());
        let mut looking = handle.channel_open_session().await.expect("a channel");
        looking.exec(true, look).await.expect("exec");
        assert_eq!(rest(&mut looking).await.0, "gone\n");

        // And with its connection.
        let mut channel = handle.channel_open_session().await.expect("a channel");
        channel.exec(true, "echo $$; exec sleep 1000").await.expect("exec");
        let pid = first_data(&mut channel).await;
        drop((channel, looking, handle));
        let handle = home.connect().await;
        let look = format!("while kill -0 {} 2>/dev/null; do sleep 0.1; done; echo gone", pid.trim());
        let mut looking = handle.channel_open_session().await.expect("a channel");
        looking.exec(true, look).await.expect("exec");
        assert_eq!(rest(&mut looking).await.0, "gone\n");
    });
}

#[test]
fn channels_are_counted() {
    let home = Home::new("[gateway]\nchannels_per_connection = 5\n");
    run(async {
        let handle = home.connect().await;
        let mut open = Vec::new();
        for _ in 0..5 {
            open.push(handle.channel_open_session().await.expect("a channel"));
        }
        for _ in 0..50 {
            assert!(handle.channel_open_session().await.is_err(), "one too many");
            assert!(handle.channel_open_direct_tcpip("localhost", 1, "x", 1).await.is_err(), "of any kind");
        }
        let mut used = open.pop().expect("one");
        used.exec(true, "echo one").await.expect("exec");
        assert!(used.exec(false, "echo two").await.is_ok());
        assert_eq!(rest(&mut used).await.0, "one\n", "one program for one channel");
        let mut again = handle.channel_open_session().await.expect("the place is free again");
        again.exec(true, "echo three").await.expect("exec");
        assert_eq!(rest(&mut again).await.0, "three\n");
    });
}

#[test]
fn who_sends_more_than_may_wait_is_told_and_others_go_on() {
    let home = Home::new("[gateway]\nbuffer_mib = 2\n");
    run(async {
        let handle = home.connect().await;
        let mut sibling = handle.channel_open_session().await.expect("a channel");
        sibling.exec(true, "cat").await.expect("exec");
        let mut channel = handle.channel_open_session().await.expect("a channel");
        channel.exec(true, "sleep 1000").await.expect("exec");
        let sending = async {
            let chunk = vec![0; 32_768];
            // It fails once the channel is gone.
            for _ in 0..400 {
                if channel.data(&chunk[..]).await.is_err() {
                    break;
                }
            }
        };
        let _ = timeout(Duration::from_secs(5), sending).await;
        let (_, err, end) = rest(&mut channel).await;
        assert!(err.contains("does not read its input") && end.as_deref() == Some("255"), "{err} {end:?}");
        sibling.data(&b"still here"[..]).await.expect("data");
        sibling.eof().await.expect("eof");
        assert_eq!(rest(&mut sibling).await.0, "still here");
    });
}

#[test]
fn variables_and_terminals_that_are_no_such_things_are_refused() {
    let home = Home::new("");
    run(async {
        let handle = home.connect().await;
        let mut channel = handle.channel_open_session().await.expect("a channel");
        for (name, value) in
            [("LC_ALL", "C.UTF-8"), ("LD_PRELOAD", "/x"), ("LC_", "x"), ("LANG", "a\nb"), ("PATH", "/")]
        {
            channel.set_env(true, name, value).await.expect("env");
        }
        channel.request_pty(true, "x\u{1b}[0m", 80, 24, 0, 0, &[]).await.expect("pty");
        channel.request_pty(true, "xterm", 4_000_000_000, 24, 0, 0, &[]).await.expect("pty");
        channel.exec(true, "echo $LC_ALL-$LD_PRELOAD-$LANG-$TERM; command -v ls").await.expect("exec");
        let mut answers = Vec::new();
        let mut out = Vec::new();
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Success => answers.push(true),
                ChannelMsg::Failure => answers.push(false),
                ChannelMsg::Data { data } => out.extend_from_slice(&data),
                _ => {}
            }
        }
        assert_eq!(answers, [true, false, false, false, false, false, true, true]);
        let out = String::from_utf8_lossy(&out);
        assert!(out.starts_with("C.UTF-8---xterm") && out.contains("/ls"), "{out}");
    });
}

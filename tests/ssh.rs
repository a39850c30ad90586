//! The ssh door, by the real OpenSSH client.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Person, Place, Project, Server, Ssh, get, wait_until};

crate::on_every_runtime! {
    at_a_terminal
    files_are_copied
}

/// Generous: the machine may be busy.
const SOON: Duration = Duration::from_secs(30);

/// Ada, her app, which runs, and her ssh.
struct Home {
    server: Server,
    ada: Person,
    project: Project,
}

impl Home {
    fn new() -> Self {
        Self::with_config("")
    }

    fn with_config(config: &str) -> Self {
        Self::at(Place::Local, config)
    }

    fn at(place: Place, config: &str) -> Self {
        let server = place.server(config);
        let ada = Person::sign_up(&server, "ada@example.com");
        let project = Project::greeting(&ada, "hello", "one");
        project.push(&ada);
        Self { server, ada, project }
    }

    /// With everything that was written: a program in a folder that the app's profile puts on the PATH.
    fn push_a_tool(&self) {
        self.project.write(".profile.d/tools.sh", "export PATH=/app/tools:$PATH\n");
        self.project.write("tools/tool", "#!/bin/sh\necho tooled\n");
        self.ada.git(&self.project, &["add", "-A"]).ok();
        self.ada.git(&self.project, &["update-index", "--chmod=+x", "tools/tool"]).ok();
        self.ada.git(&self.project, &["commit", "-q", "-m", "tools"]).ok();
        self.project.push(&self.ada);
    }

    fn ssh(&self) -> Ssh<'_> {
        Ssh::known(&self.ada, &self.server)
    }

    fn scale(&self, replicas: &str) {
        self.ada.run_in(&self.project, &["ps:scale", replicas]).ok();
    }

    fn activity(&self) -> String {
        self.ada.run_in(&self.project, &["apps:activity"]).ok()
    }
}

fn open_to_others() -> Home {
    Home::with_config("signups = \"open\"\n")
}

/// Bytes that no protocol could have made up.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    std::iter::repeat_with(word).flat_map(u64::to_le_bytes).take(bytes).collect()
}

#[test]
fn a_command_runs_in_the_replica_as_the_app_does() {
    let home = Home::new();
    home.push_a_tool();
    let ssh = home.ssh();
    // The first connection tells of a new host key.
    assert_eq!(ssh.run(&["hello@host", "tool"]).ok(), "tooled\n", "what .profile.d sets counts");
    let ran = ssh.run(&["hello@host", "echo out; echo err >&2; exit 42"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.trim()), (Some(42), "out\n", "err"), "{ran:?}");
    let place = ssh.run(&["root@hello@host", "pwd; echo $PORT-$HOST_INDEX-$APP_NAME"]).ok();
    let lines: Vec<&str> = place.lines().collect();
    assert!(lines[0] == "/app" && lines[1].ends_with("-1-hello"), "{place}");
    assert_eq!(
        ssh.run_with_input(&["hello@host", "wc -c"], "twelve bytes").ok().trim(),
        "12",
        "the end of input arrives"
    );
    assert_eq!(
        ssh.run_with_input(&["hello@host"], "echo $((6*7)); exit 3\n").code,
        Some(3),
        "a shell without a terminal"
    );
    let quoted = ssh.run(&["hello@host", r#"echo "a  b" '$HOME' \;"#]).ok();
    assert_eq!(quoted, "a  b $HOME ;\n");
    let set = ssh.command("ssh", &["-o", "SendEnv=LC_TELL LD_PRELOAD", "hello@host", "echo $LC_TELL-$LD_PRELOAD"]);
    let output = { set }.env("LC_TELL", "told").env("LD_PRELOAD", "").output().expect("ssh");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "told-\n");
    assert_eq!(ssh.run(&["hello@host", "kill -KILL $$"]).code, Some(255), "a signal's end, as OpenSSH tells it");
    wait_until("the visits are recorded", SOON, || home.activity().matches("by ssh").count() >= 8);
    let activity = home.activity();
    assert!(activity.contains("ada@example.com") && activity.contains("Enter hello-web-"), "{activity}");
    assert!(!activity.contains("LC_TELL"), "what was typed is nobody's business: {activity}");
    let logs = home.ada.run_in(&home.project, &["logs", "--no-tail"]).ok();
    assert!(logs.contains("ada@example.com entered hello-web-") && logs.contains(" by ssh"), "{logs}");
}

fn at_a_terminal(on: Place) {
    let home = Home::at(on, "");
    let ssh = home.ssh();
    let steps = json!([
        ["type", "PS1=ready-$((1+1))'> '\n"],
        ["expect", "ready-2> "],
        ["type", "stty size; echo $TERM; tty && echo is-$((1+1))-a\n"],
        ["expect", "30 100"],
        ["expect", "xterm-256color"],
        ["expect", "is-2-a"],
        ["expect", "ready-2> "],
        ["resize", 132, 50],
        ["type", "until [ \"$(stty size)\" = '50 132' ]; do sleep 0.1; done; echo re-$((1+1))-sized\n"],
        ["expect", "re-2-sized"],
        ["expect", "ready-2> "],
        ["type", "sh -c 'echo sleeps-$((1+1)); exec sleep 1000'\n"],
        ["expect", "sleeps-2"],
        ["type", "\u{3}"],
        ["expect", "ready-2> "],
        ["type", "echo still-$((40+2))\n"],
        ["expect", "still-42"],
        ["type", "exit 7\n"],
        ["end"]
    ]);
    let ran = ssh.at_terminal(&["hello@host"], &steps);
    assert_eq!(ran.code, Some(7), "{ran:?}");
    let forced = ssh.run(&["-tt", "hello@host", "test -t 0 && test -t 2 && echo both"]);
    assert_eq!((forced.code, forced.stdout.trim()), (Some(0), "both"), "{forced:?}");
}

/// What sshd gives, too: who names no command has a login shell, a command's shell is none. Neither costs the app's own
/// programs.
#[test]
fn a_shell_is_a_login_shell_and_a_commands_is_none() {
    let home = Home::new();
    home.project.write(".profile", "export LOGGED_IN=yes\n");
    home.push_a_tool();
    let ssh = home.ssh();
    let typed = "echo \"<$LOGGED_IN>\"; tool; command -v gigalixir_run; exit 3\n";
    let wanted = "<yes>\ntooled\n/opt/gigalixir/bin/gigalixir_run\n";
    let shell = ssh.run_with_input(&["hello@host"], typed);
    assert_eq!((shell.code, shell.stdout.as_str()), (Some(3), wanted), "{shell:?}");
    let by_api = home.ada.run_with_input(&["ps:ssh", "-a", "hello"], typed);
    assert_eq!((by_api.code, by_api.stdout.as_str()), (Some(3), wanted), "{by_api:?}");
    assert_eq!(ssh.run(&["hello@host", "echo \"<$LOGGED_IN>\"; tool"]).ok(), "<>\ntooled\n");
    let steps = json!([["type", "tool; echo \"<$LOGGED_IN>\"; exit 4\n"], ["expect", "<yes>"], ["end"]]);
    let shown = ssh.at_terminal(&["hello@host"], &steps);
    assert!(shown.code == Some(4) && shown.stdout.contains("tooled\r\n"), "{shown:?}");
}

#[test]
fn one_connection_is_one_replica() {
    let home = Home::new();
    home.scale("web=2");
    let ssh = home.ssh();
    let masters = ["hello.web.1@host", "hello.web.2@host", "hello@host"];
    for destination in masters {
        let master = ["-M", "-N", "-f", "-o", "ControlPersist=yes", destination];
        let status =
            ssh.command("ssh", &master).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(status.expect("ssh").success());
        let index = || ssh.run(&[destination, "echo $HOST_INDEX"]).ok().trim().to_owned();
        let first = index();
        assert!(
            destination == "hello@host" || destination == format!("hello.web.{first}@host"),
            "{destination}: {first}"
        );
        assert!((0..5).all(|_| index() == first), "{destination} stays where it is");
        let many: Vec<_> = (0..8).map(|_| ssh.start(&[destination, "sleep 0.3; echo $HOST_INDEX"])).collect();
        for one in many {
            assert_eq!(one.end().ok().trim(), first);
        }
    }
    let seen: std::collections::BTreeSet<String> =
        (0..20).map(|_| ssh.run(&["-S", "none", "hello@host", "echo $HOST_INDEX"]).ok()).collect();
    assert_eq!(seen.len(), 2, "new connections go to either");
    for destination in masters {
        ssh.run(&["-O", "exit", destination]).ok();
    }
    let none = ssh.run(&["hello.web.9@host", "true"]).fails();
    assert!(none.contains("no replica `web.9` of `hello`"), "{none}");
    home.scale("web=0");
    let none = ssh.run(&["hello@host", "true"]).fails();
    assert!(none.contains("no replica of `hello` is running"), "{none}");
}

fn files_are_copied(on: Place) {
    let home = Home::at(on, "");
    let ssh = home.ssh();
    let (there, back) = (home.ada.home().join("there"), home.ada.home().join("back"));
    std::fs::write(&there, noise(3_000_001)).expect("file");
    let (here, again) = (there.to_str().expect("path"), back.to_str().expect("path"));
    for program in ["sftp", "scp", "scp -O"] {
        let _ = std::fs::remove_file(&back);
        match program {
            "sftp" => {
                let batch = format!("put {here} /tmp/a\nmkdir /tmp/d\nrename /tmp/a /tmp/d/b\nget /tmp/d/b {again}\n");
                ssh.run_program("sftp", &["-b", "-", "hello@host"], &batch).ok();
            }
            scp => {
                let options: Vec<&str> = scp.split(' ').skip(1).collect();
                ssh.run_program("scp", &[&options[..], &["-q", here, "hello@host:/tmp/c"]].concat(), "").ok();
                ssh.run_program("scp", &[&options[..], &["-q", "hello@host:/tmp/c", again]].concat(), "").ok();
            }
        }
        assert!(std::fs::read(&back).expect("back") == noise(3_000_001), "{program}");
    }
}

#[test]
fn much_goes_both_ways() {
    let home = Home::new();
    let ssh = home.ssh();
    let (there, back) = (home.ada.home().join("there"), home.ada.home().join("back"));
    let data = noise(48 << 20);
    std::fs::write(&there, &data).expect("file");
    ssh.run_with_files(&["hello@host", "cat"], &there, &back).ok();
    assert!(std::fs::read(&back).expect("back") == data);
}

#[test]
fn a_program_that_does_not_read_holds_up_nobody_else() {
    let home = Home::new();
    let ssh = home.ssh();
    let master = ["-M", "-N", "-f", "-o", "ControlPersist=yes", "hello@host"];
    let status = ssh.command("ssh", &master).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.expect("ssh").success());
    let flood = home.ada.home().join("flood");
    std::fs::write(&flood, noise(30 << 20)).expect("file");
    let command = "until [ -e /tmp/go ]; do sleep 0.1; done; wc -c";
    let mut slow = ssh.command("ssh", &["hello@host", command]);
    slow.stdin(std::fs::File::open(&flood).expect("flood")).stdout(Stdio::piped());
    let slow = slow.spawn().expect("ssh");
    // Its input stands still, its siblings do not.
    for n in 0..10 {
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(ssh.run(&["hello@host", &format!("echo {n}")]).ok().trim(), n.to_string());
    }
    let sibling = ssh.run(&["hello@host", "head -c 5000000 /dev/zero"]).ok();
    assert_eq!(sibling.len(), 5_000_000);
    ssh.run(&["hello@host", "touch /tmp/go"]).ok();
    let output = slow.wait_with_output().expect("ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), (30 << 20).to_string());

    // A client that does not read holds up nobody either.
    let mut deaf = ssh.command("ssh", &["hello@host", "head -c 30000000 /dev/zero"]);
    let mut deaf = deaf.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("ssh");
    for n in 0..5 {
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(ssh.run(&["hello@host", &format!("echo {n}")]).ok().trim(), n.to_string());
    }
    let mut heard = Vec::new();
    deaf.stdout.take().expect("stdout").read_to_end(&mut heard).expect("read");
    assert!(deaf.wait().expect("ends").success() && heard.len() == 30_000_000, "{}", heard.len());
    ssh.run(&["-O", "exit", "hello@host"]).ok();
}

#[test]
fn ports_of_the_replica_are_forwarded_and_no_others() {
    let home = Home::new();
    let ssh = home.ssh();
    let port = ssh.run(&["hello@host", "echo $PORT"]).ok().trim().to_owned();
    let local = free_port();
    let forward = format!("127.0.0.1:{local}:localhost:{port}");
    let elsewhere = free_port();
    let refused = format!("127.0.0.1:{elsewhere}:example.com:80");
    let nobody = free_port();
    let closed = format!("127.0.0.1:{nobody}:127.0.0.1:{}", free_port());
    let mut tunnel = ssh.start(&["-N", "-L", &forward, "-L", &refused, "-L", &closed, "hello@host"]);
    let address = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    wait_until("the tunnel", SOON, || get(address(local), "localhost", "/").status == 200);
    assert!(get(address(local), "localhost", "/").body.starts_with("one "));
    for port in [elsewhere, nobody] {
        let mut stream = TcpStream::connect(address(port)).expect("the client listens");
        stream.set_read_timeout(Some(SOON)).expect("timeout");
        assert_eq!(stream.read(&mut [0; 1]).expect("closed"), 0);
    }
    tunnel.child.kill().expect("kill");
    let told = tunnel.end().stderr;
    assert!(told.contains("administratively prohibited") && told.contains("connect failed"), "{told}");
}

#[test]
fn what_is_not_served_is_refused() {
    let home = Home::new();
    let ssh = home.ssh();
    let remote = ssh.run(&["-o", "ExitOnForwardFailure=yes", "-R", "0:localhost:1", "hello@host", "true"]).fails();
    assert!(remote.contains("remote port forwarding failed"), "{remote}");
    let agent = ssh.command("ssh", &["-A", "-o", "IdentityAgent=SSH_AUTH_SOCK", "hello@host", "echo -$SSH_AUTH_SOCK-"]);
    let output = { agent }.output().expect("ssh");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "--\n");
    let display = ssh.command("ssh", &["-Y", "hello@host", "echo -$DISPLAY-"]);
    let output = { display }.env("DISPLAY", "localhost:10").output().expect("ssh");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "--\n");
    assert!(ssh.run(&["-s", "hello@host", "netconf"]).fails().contains("subsystem request failed"));
    let password = ["-o", "PubkeyAuthentication=no", "-o", "PreferredAuthentications=password", "hello@host", "true"];
    assert!(ssh.run(&password).fails().contains("Permission denied (publickey)"));
}

#[test]
fn who_may_in() {
    let home = open_to_others();
    let (ada, ben) = (home.ssh(), Person::sign_up(&home.server, "ben@example.com"));
    let stranger = Ssh::of(&ben, &home.server);
    let denied = stranger.run(&["hello@host", "true"]).fails();
    assert!(denied.contains("Permission denied (publickey)"), "{denied}");
    let ben_ssh = Ssh::known(&ben, &home.server);
    let absent = ben_ssh.run(&["goodbye@host", "true"]).fails();
    let others = ben_ssh.run(&["hello@host", "true"]).fails();
    assert!(others.contains("there is no app `hello` of yours"), "{others}");
    let alike = |text: &str| text.lines().find(|line| line.contains("no app")).expect("a line").to_owned();
    assert_eq!(alike(&others), alike(&absent).replace("goodbye", "hello"));
    for nowhere in ["root", "root@.x"] {
        let told = ada.run(&["-l", nowhere, "host", "true"]).fails();
        assert!(told.contains("say which app"), "{told}");
    }

    let share = |role: &str| {
        home.ada.run_in(&home.project, &["access:add", "ben@example.com", "--role", role]).ok();
    };
    share("VIEWER");
    let viewer = ben_ssh.run(&["hello@host", "true"]).fails();
    assert!(viewer.contains("your role in `hello` is VIEWER"), "{viewer}");
    share("COLLABORATOR");
    ben_ssh.run(&["hello@host", "true"]).ok();
    let mut open = ben_ssh.start(&["hello@host", "echo in; sleep 1000"]);
    first_line(&mut open.child, "in");
    home.ada.run_in(&home.project, &["access:remove", "ben@example.com"]).ok();
    let ended = open.end_with_input_open();
    assert!(ended.code == Some(255) && ended.stderr.contains("there is no app `hello` of yours"), "{ended:?}");
    ada.run(&["hello@host", "true"]).ok();
}

#[test]
fn keys_count_at_once() {
    let home = Home::new();
    let ssh = Ssh::of(&home.ada, &home.server);
    assert!(ssh.run(&["hello@host", "true"]).fails().contains("Permission denied"));
    let id = ssh.add_key();
    ssh.run(&["hello@host", "true"]).ok();
    let mut open = ssh.start(&["hello@host", "echo in; sleep 1000"]);
    first_line(&mut open.child, "in");
    let mut tunnel = ssh.start(&["-N", "hello@host"]);
    home.ada.run(&["account:ssh_keys:remove", &id]).ok();
    let ended = open.end_with_input_open();
    assert!(ended.code == Some(255) && ended.stderr.contains("has been removed"), "{ended:?}");
    wait_until("the tunnel's end", SOON, || tunnel.child.try_wait().expect("wait").is_some());
    assert!(ssh.run(&["hello@host", "true"]).fails().contains("Permission denied"));
    let replica = || home.ada.run_in(&home.project, &["logs", "--no-tail"]).ok();
    wait_until("its end is told", SOON, || replica().contains("left hello-web-"));

    for kind in ["rsa", "ecdsa"] {
        let path = home.ada.home().join(kind);
        ssh.make_key(&path, kind);
        let public = std::fs::read_to_string(path.with_extension("pub")).expect("key");
        home.ada.run(&["account:ssh_keys:add", public.trim()]).ok();
        let key = path.to_str().expect("path");
        ssh.run(&["-i", key, "hello@host", "true"]).ok();
        if kind == "rsa" {
            let old = ["-o", "PubkeyAcceptedAlgorithms=ssh-rsa", "-i", key, "hello@host", "true"];
            assert!(ssh.run(&old).fails().contains("Permission denied"), "SHA-1");
        }
    }
}

#[test]
fn a_restart_ends_visits_and_changes_no_key() {
    let mut home = Home::with_config("[gateway]\ndrain_seconds = 2\n");
    let ssh = home.ssh();
    ssh.run(&["hello@host", "true"]).ok();
    let mut open = ssh.start(&["hello@host", "echo in; sleep 1000"]);
    first_line(&mut open.child, "in");
    let mut short = ssh.start(&["hello@host", "echo in; sleep 1; echo finished"]);
    first_line(&mut short.child, "in");
    let mut idle = ssh.start(&["-N", "hello@host"]);
    wait_until("three visits", SOON, || log_lines(&home, "entered hello-web-") >= 4);
    let address = home.server.ssh;
    assert_eq!(home.server.terminate(), Some(0));
    assert!(short.end_with_input_open().ok().contains("finished"), "what can be finished is");
    let ended = open.end_with_input_open();
    assert!(ended.stderr.contains("the server is being stopped"), "{ended:?}");
    wait_until("the idle one's end", SOON, || idle.child.try_wait().expect("wait").is_some());
    home.server.start_again();
    assert_eq!(home.server.ssh, address);
    let ssh = Ssh::of(&home.ada, &home.server);
    ssh.run(&["-o", "StrictHostKeyChecking=yes", "hello@host", "true"]).ok();
    wait_until("all five are recorded", SOON, || home.activity().matches("by ssh").count() == 5);
}

fn log_lines(home: &Home, text: &str) -> usize {
    home.ada.run_in(&home.project, &["logs", "--no-tail"]).ok().matches(text).count()
}

#[test]
fn limits_hold() {
    let home = Home::with_config(
        "[gateway]\nlogin_seconds = 2\nidle_seconds = 3\nattempts_per_address = 6\nconnections_per_account = 2\n",
    );
    let ssh = home.ssh();
    let start = Instant::now();
    let mut mute = TcpStream::connect(home.server.ssh).expect("connects");
    mute.set_read_timeout(Some(SOON)).expect("timeout");
    let mut told = Vec::new();
    mute.read_to_end(&mut told).expect("closed");
    assert!(told.starts_with(b"SSH-2.0-gigalixir\r\n") && start.elapsed() >= Duration::from_secs(1));

    let mut first = ssh.start(&["-N", "hello@host"]);
    let busy = ssh.start(&["hello@host", "for i in 1 2 3 4 5 6; do echo $i; sleep 1; done"]);
    wait_until("both are in", SOON, || log_lines(&home, "entered hello-web-") >= 2);
    let third = ssh.run(&["hello@host", "true"]).fails();
    assert!(third.contains("as many ssh connections"), "{third}");
    wait_until("the idle one's end", SOON, || first.child.try_wait().expect("wait").is_some());
    assert!(first.end().stderr.contains("nothing has happened for 3 s"));
    assert_eq!(busy.end().ok().lines().count(), 6, "one that says something stays");

    let wrong = home.ada.home().join("wrong");
    ssh.make_key(&wrong, "ed25519");
    let wrong = ["-i", wrong.to_str().expect("path"), "-o", "IdentityFile=none", "hello@host", "true"];
    let config = std::fs::read_to_string(ssh.config()).expect("config");
    let only_wrong: String =
        config.lines().filter(|line| !line.contains("IdentityFile")).map(|l| format!("{l}\n")).collect();
    std::fs::write(ssh.config(), only_wrong).expect("config");
    for _ in 0..8 {
        ssh.run(&wrong).fails();
    }
    std::fs::write(ssh.config(), config).expect("config");
    let right = ssh.run(&["hello@host", "true"]).fails();
    assert!(!right.contains("Permission denied"), "not even asked for a key: {right}");
    assert!(home.server.log().contains("too many have failed"));
}

#[test]
fn nonsense_harms_nobody() {
    let home = Home::with_config("[gateway]\nattempts_per_address = 0\n");
    let ssh = home.ssh();
    let banner = b"SSH-2.0-nonsense\r\n".to_vec();
    let huge = [banner.clone(), vec![0xff; 100_000]].concat();
    let long = vec![b'x'; 1_000_000];
    let http = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    let zeros = [banner.clone(), vec![0; 100_000]].concat();
    let random = [banner, noise(500_000)].concat();
    for nonsense in [huge, long, http, zeros, random, Vec::new()] {
        let mut stream = TcpStream::connect(home.server.ssh).expect("connects");
        stream.set_read_timeout(Some(SOON)).expect("timeout");
        // It may be closed before it has heard all.
        let _ = stream.write_all(&nonsense);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    ssh.run(&["hello@host", "true"]).ok();
    assert!(!home.server.log().contains("panicked"), "{}", home.server.log());
}

/// Waits for the first line that a running client's program prints.
#[track_caller]
fn first_line(child: &mut std::process::Child, wanted: &str) {
    let stdout = child.stdout.as_mut().expect("stdout");
    let mut line = Vec::new();
    let mut byte = [0; 1];
    while !line.ends_with(b"\n") {
        assert_eq!(stdout.read(&mut byte).expect("read"), 1, "it ended after {:?}", String::from_utf8_lossy(&line));
        line.push(byte[0]);
    }
    assert_eq!(String::from_utf8_lossy(&line).trim(), wanted);
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("address").port()
}

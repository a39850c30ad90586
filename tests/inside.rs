//! Getting into running replicas from the terminal: programs, consoles, copies, tunnels.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::harness::{PASSWORD, Person, Place, Project, Server, Ssh, get, wait_until};

crate::on_every_runtime! {
    a_release_is_driven_from_inside
}

/// A process of this test's, which does not outlive it.
pub struct Beside(Child);

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn pushed(server: &Server, example: &str) -> (Person, Project) {
    let ada = Person::sign_up(server, "ada@example.com");
    let project = Project::example(&ada, "example", example);
    project.push(&ada);
    (ada, project)
}

pub fn last_line(text: &str) -> &str {
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()
}

#[test]
fn programs_copies_and_tunnels() {
    let server = Server::with_config("signups = \"open\"\n");
    let (ada, project) = pushed(&server, "python-hello");
    let ran = ada.run_in(&project, &["ps:run", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(7), "out\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("err\n"), "{}", ran.stderr);
    let big = "0123456789abcde\n".repeat(2_000_000);
    let ran = ada.run_with_input(&["ps:run", "-a", "example", "--replica", "web.1", "cat"], &big);
    assert!(ran.code == Some(0) && ran.stdout == big, "{} bytes, {}", ran.stdout.len(), ran.stderr);
    let ran = ada.run_with_input(&["ssh", "example"], "echo $((6*7)) $HOME; exit 3\n");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), "42 /app\n"), "{}", ran.stderr);
    let why = ada.run_in(&project, &["ps:run", "--replica", "web.9", "true"]).fails();
    assert!(why.contains("web.9"), "{why}");
    let why = ada.run_in(&project, &["ps:remote_console"]).fails();
    assert!(why.contains("no console"), "{why}");

    let folder = ada.home().join("tree");
    std::fs::create_dir_all(folder.join("deep")).unwrap();
    std::fs::write(folder.join("deep/data"), &big).unwrap();
    std::fs::write(folder.join("run"), "#!/bin/sh\necho ran\n").unwrap();
    std::fs::set_permissions(folder.join("run"), PermissionsExt::from_mode(0o755)).unwrap();
    ada.run(&["cp", "-a", "example", "tree", ":/tmp/copied"]).ok();
    assert_eq!(ada.run_in(&project, &["ps:run", "/tmp/copied/run"]).ok(), "ran\n");
    ada.run(&["cp", "-a", "example", ":/tmp/copied", "back"]).ok();
    assert!(std::fs::read_to_string(ada.home().join("back/deep/data")).unwrap() == big);
    assert!(std::fs::metadata(ada.home().join("back/run")).unwrap().permissions().mode() & 0o111 != 0);
    let why = ada.run(&["cp", "-a", "example", ":/tmp/nothing", "here"]).fails();
    assert!(why.contains("nothing") && !ada.home().join("here").exists(), "{why}");

    let port = ada.run_in(&project, &["ps:run", "printenv", "PORT"]).ok();
    let (_forward, address) = forwards(&ada, port.trim());
    for _ in 0..3 {
        let answer = get(address, "example", "/");
        assert!(answer.status == 200 && answer.body.contains("Hello"), "{}", answer.body);
    }

    let ben = Person::sign_up(&server, "ben@example.com");
    ada.run_in(&project, &["access:add", "ben@example.com", "--role", "VIEWER"]).ok();
    let ran = ben.run(&["ps:run", "-a", "example", "true"]);
    assert!(ran.code == Some(3) && ran.stderr.contains("VIEWER"), "{:?} {}", ran.code, ran.stderr);
    let activity = ada.run_in(&project, &["apps:activity"]).ok();
    assert!(activity.contains("by the API") && activity.contains("ada@example.com"), "{activity}");
}

/// A program in a replica that says `in` and stays; it has said it.
fn stays(person: &Person) -> Beside {
    let mut command = person.command(env!("CARGO_BIN_EXE_gigalixir"));
    command.args(["ps:run", "-a", "example", "--", "sh", "-c", "echo in; cat"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut program = Beside(command.spawn().unwrap());
    let mut said = [0; 3];
    program.0.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(&said, b"in\n");
    program
}

/// A forwarded port, and the address where it is had.
pub fn forwards(person: &Person, port: &str) -> (Beside, SocketAddr) {
    let mut command = person.command(env!("CARGO_BIN_EXE_gigalixir"));
    command.args(["ps:forward", "-a", "example", &format!("0:{port}")]).stdout(Stdio::piped());
    let mut forward = Beside(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(forward.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (forward, line.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn who_loses_access_is_shown_out_and_nobody_has_too_many_visits() {
    let server = Server::with_config("signups = \"open\"\n[limits]\nsessions_per_account = 2\n");
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "example", "one");
    project.push(&ada);
    let ben = Person::sign_up(&server, "ben@example.com");
    ada.run_in(&project, &["access:add", "ben@example.com"]).ok();
    let port = ada.run_in(&project, &["ps:run", "printenv", "PORT"]).ok();

    let mut program = stays(&ben);
    let (_forward, address) = forwards(&ben, port.trim());
    let mut tunnel = TcpStream::connect(address).unwrap();
    tunnel.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    tunnel.write_all(b"GET / HTTP/1.1\r\nHost: example\r\n\r\nGET").unwrap();
    let mut answer = [0; 12];
    tunnel.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let why = ben.run(&["ps:run", "-a", "example", "true"]).fails();
    assert!(why.contains("2 consoles and tunnels open"), "{why}");
    let mut hers = stays(&ada);

    ada.run_in(&project, &["access:remove", "ben@example.com"]).ok();
    let mut why = String::new();
    program.0.stderr.take().unwrap().read_to_string(&mut why).unwrap();
    assert!(!program.0.wait().unwrap().success() && why.contains("no app `example` of yours"), "{why}");
    let ended = tunnel.read_to_end(&mut Vec::new());
    let waited = |error: std::io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
    assert!(!ended.is_err_and(waited), "the tunnel is closed, or reset");
    assert!(ben.run(&["ps:run", "-a", "example", "true"]).fails().contains("no app"), "his places are free again");
    hers.0.stdin.take().unwrap().write_all(b"still here\n").unwrap();
    let mut said = String::new();
    hers.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "still here\n");
}

/// Whoever may have the old key is shown out; what came by a key of another kind stays.
#[test]
fn a_key_that_is_reset_ends_what_it_opened() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "example", "one");
    project.push(&ada);
    let port = ada.run_in(&project, &["ps:run", "printenv", "PORT"]).ok();
    let ssh = Ssh::known(&ada, &server);
    let mut by_ssh = ssh.start(&["example@host", "echo in; cat"]);
    let mut said = [0; 3];
    by_ssh.child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    let mut program = stays(&ada);
    let (_forward, address) = forwards(&ada, port.trim());
    let mut tunnel = TcpStream::connect(address).unwrap();
    tunnel.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    tunnel.write_all(b"GET / HTTP/1.1\r\nHost: example\r\n\r\nGET").unwrap();
    let mut answer = [0; 12];
    tunnel.read_exact(&mut answer).unwrap();

    ada.run_with_input(&["account:api_key:reset", "--password-stdin"], PASSWORD).ok();
    let mut why = String::new();
    program.0.stderr.take().unwrap().read_to_string(&mut why).unwrap();
    assert!(!program.0.wait().unwrap().success() && why.contains("API key that you came with is no more"), "{why}");
    let ended = tunnel.read_to_end(&mut Vec::new());
    let waited = |error: std::io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
    assert!(!ended.is_err_and(waited), "the tunnel is closed, or reset");

    by_ssh.child.stdin.take().unwrap().write_all(b"still here\n").unwrap();
    let mut said = String::new();
    by_ssh.child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "still here\n");
    ada.run_in(&project, &["ps:run", "true"]).ok();
}

fn a_release_is_driven_from_inside(on: Place) {
    let server = on.server("");
    let (ada, project) = pushed(&server, "elixir-release");
    let run = |args: &[&str]| ada.run_in(&project, args).ok();
    let cookie = run(&["ps:run", "cat", "/kube-env-vars/ERLANG_COOKIE"]);
    for spelling in ["distillery-eval", "distillery_eval"] {
        let seen = run(&["ps:run", "gigalixir_run", spelling, "--", "Node.get_cookie()"]);
        assert_eq!(last_line(&seen), cookie.trim(), "{seen}");
    }
    let node = run(&["ps:run", "printenv", "RELEASE_NODE"]);
    assert_eq!(
        last_line(&run(&["ps:run", "gigalixir_run", "distillery-eval", "--", "node()."])).trim_matches('\''),
        node.trim()
    );
    assert_eq!(last_line(&run(&["ps:distillery", "rpc", "IO.puts(6 * 7)"])), "42");
    assert_eq!(last_line(&run(&["ps:run", "/opt/gigalixir/run-cmd", "rpc", "IO.puts(6 * 7)"])), "42");
    assert!(run(&["ps:migrate"]).contains("does not use Ecto"));
    assert!(run(&["migrate", "-m", "nothing"]).contains("no application nothing"));
    assert!(run(&["ps:run", "epmd", "-names"]).contains("at port"));
    attaches(&ada, &project, node.trim());
}

#[test]
fn a_mix_project_is_driven_from_inside() {
    let server = Server::start();
    let (ada, project) = pushed(&server, "elixir-mix");
    let node = ada.run_in(&project, &["ps:run", "printenv", "MY_NODE_NAME"]).ok();
    let seen = ada.run_in(&project, &["ps:run", "gigalixir_run", "distillery-eval", "--", "node()"]).ok();
    assert_eq!(last_line(&seen), node.trim(), "{seen}");
    attaches(&ada, &project, node.trim());
}

/// Opens a console on a real terminal and asks the node who it is.
pub fn attaches(ada: &Person, project: &Project, node: &str) {
    let client = env!("CARGO_BIN_EXE_gigalixir");
    let mut command = ada.command("script");
    command.args(["-qec", &format!("{client} ps:remote_console"), "/dev/null"]).current_dir(project.path());
    command.env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut console = Beside(command.spawn().expect("script, of bsdutils"));
    let (mut stdin, mut stdout) = (console.0.stdin.take().unwrap(), console.0.stdout.take().unwrap());
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = stdout.read(&mut piece) {
            let _ = tell.send(String::from_utf8_lossy(&piece[..count]).into_owned());
        }
    });
    let mut seen = String::new();
    let mut read_until = |wanted: &str| {
        let begun = Instant::now();
        while !seen.contains(wanted) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{wanted} did not come, but {seen:?}");
            seen.extend(told.recv_timeout(Duration::from_millis(200)));
        }
    };
    read_until(&format!("iex({node})1>"));
    stdin.write_all(b"IO.puts(\"it is \" <> inspect(6 * 7))\r").unwrap();
    read_until("it is 42");
    drop(console);
    // What was left of it in the replica is gone with it.
    wait_until("the console's end", Duration::from_secs(30), || {
        let left = ada.run_in(project, &["ps:run", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"]).ok();
        !left.contains("remsh")
    });
}

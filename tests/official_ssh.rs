//! Gigalixir's own client and its ssh commands, unmodified, against our ssh door.

use serde_json::json;

use crate::harness::{Official, Person, Project, Server, Ssh, get, wait_until};

/// Somebody with an account of ours, a key, and the official client.
struct Home {
    server: Server,
    official: Official,
    ada: Person,
}

impl Home {
    fn new() -> Option<Self> {
        let server = Server::start();
        let official = Official::of(&server)?;
        let ada = Person::sign_up(&server, "ada@example.com");
        Some(Self { server, official, ada })
    }

    fn app(&self) -> Project {
        let project = Project::greeting(&self.ada, "hello", "one");
        project.push(&self.ada);
        project
    }

    /// `gigalixir COMMAND -a hello -o OPTIONS ARGS`; the options keep the machine's own ssh settings out.
    fn run(&self, project: &Project, command: &str, args: &[&str]) -> crate::harness::Ran {
        let ssh = Ssh::of(&self.ada, &self.server);
        // `-T`: there is no terminal here.
        let options = format!("-T -F {}", ssh.config().display());
        let all = [&[command, "-a", project.app.as_str(), "-o", options.as_str()], args].concat();
        self.official.lend_to(&self.ada, project, &all)
    }
}

#[test]
fn its_ssh_commands_lead_into_a_replica() {
    let Some(home) = Home::new() else { return };
    let project = home.app();
    let keyless = home.run(&project, "ps:ssh", &["true"]).fails();
    assert!(keyless.contains("ssh key"), "{keyless}");
    let ssh = Ssh::known(&home.ada, &home.server);
    let ran = home.run(&project, "ps:ssh", &["echo", "$HOST_INDEX", "two  words"]).ok();
    assert_eq!(ran.trim(), "$HOST_INDEX two words", "quoted by the client, split and joined by it too");
    assert_eq!(home.run(&project, "ps:ssh", &["pwd"]).ok().trim(), "/app");
    assert_eq!(home.run(&project, "ps:run", &["echo", "run"]).ok().trim(), "run");
    let console = home.run(&project, "ps:remote_console", &[]).fails();
    assert!(console.contains("no Elixir release"), "{console}");
    let migrate = home.run(&project, "ps:migrate", &[]);
    assert!(format!("{migrate:?}").contains("gigalixir_run"), "{migrate:?}");

    // At a terminal the client adds `-t` by itself.
    let steps = json!([["expect", "two"], ["end"]]);
    let shown = ssh.at_terminal(&["-t", "root@hello@host", "echo one; sleep 1; echo two"], &steps).ok();
    assert!(shown.contains("one\r\n"), "{shown}");
}

/// The steps of `ps:observer` that need no root: a master, forwarding added to it, and commands through it.
#[test]
fn the_steps_of_its_observer() {
    let Some(home) = Home::new() else { return };
    home.app();
    let ssh = Ssh::known(&home.ada, &home.server);
    let socket = home.ada.home().join("gigalixir-cm");
    let socket = socket.to_str().expect("path");
    let destination = ["root@hello@127.0.0.1", "-p", &home.server.ssh.port().to_string()].map(str::to_owned);
    let with = |options: &[&str], rest: &[&str]| -> Vec<String> {
        let all = options.iter().map(|text| (*text).to_owned()).chain(destination.clone());
        all.chain(rest.iter().map(|text| (*text).to_owned())).collect()
    };
    let borrowed = |args: &[String]| -> Vec<String> { args.to_vec() };
    let master = with(&["-S", socket], &["-N", "-M"]);
    let mut master = ssh.start(&borrowed(&master).iter().map(String::as_str).collect::<Vec<_>>());
    wait_until("the master", std::time::Duration::from_secs(30), || std::path::Path::new(socket).exists());
    let run = |options: &[&str], rest: &[&str]| {
        let args = with(options, rest);
        ssh.run(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let answer = run(&["-S", socket, "-t"], &["gigalixir_run shell -- echo hello@127.0.0.1"]).ok();
    assert_eq!(answer.trim().lines().last(), Some("hello@127.0.0.1"));
    let port = run(&["-S", socket], &["echo $PORT"]).ok().trim().to_owned();
    let local = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("port").local_addr().expect("address");
    let forward = format!("{}:localhost:{port}", local.port());
    run(&["-S", socket, "-O", "forward", "-L", &forward], &[]).ok();
    let answer = get(local, "localhost", "/");
    assert!(answer.status == 200 && answer.body.starts_with("one "), "{answer:?}");
    run(&["-S", socket, "-O", "exit"], &[]).ok();
    assert!(master.child.wait().expect("ends").code().is_some());
}

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

/// `ps:distillery` and the whole of `ps:observer`, unmodified, on a machine of its own: a network in which it is root and
/// from which only the API and ssh can be reached.
#[test]
fn its_observer_reaches_the_node() {
    let Some(home) = Home::new() else { return };
    let project = Project::example(&home.ada, "seen", "elixir-cluster");
    project.push(&home.ada);
    let ssh = Ssh::known(&home.ada, &home.server);
    let evaluated = home.run(&project, "ps:distillery", &["rpc", "IO.puts(6*7)"]).ok();
    assert_eq!(evaluated.trim(), "42");

    let machine = Machine::new(&home);
    let options = format!("-F {}", ssh.config().display());
    let script = machine.script(&home, &["ps:observer", "-a", "seen", "-o", &options]);
    let ran = home.official.lend_program_to(&home.ada, &project, "unshare", &["-r", "-n", "bash", "-c", &script]);
    let shown = format!("{}{}", ran.stdout, ran.stderr);
    assert!(shown.contains("observed seen@127.64.") && shown.contains(" from a hidden node"), "{shown}");
    assert!(shown.contains("Cleaning up route") && ran.code == Some(0), "{shown}");
}

/// Another machine, as far as a network of its own makes one. Two ways lead out, by files.
struct Machine {
    folder: tempfile::TempDir,
    ways: Vec<std::process::Child>,
}

/// In place of the windows, which need a display: what they would show has been asked of the node.
const ERL: &str = r#"#!/bin/bash
for word in "$@"; do
  case $word in -run | observer) ;; *) words+=("$word") ;; esac
  [[ $word = *@* ]] && host=${word#*@}
done
exec "$REAL_ERL" -noinput "${words[@]}" -eval "
  Node = list_to_atom(\"seen@$host\"),
  pong = net_adm:ping(Node),
  Hidden = lists:member(node(), rpc:call(Node, erlang, nodes, [hidden])),
  io:format(\"observed ~s ~s~n\", [rpc:call(Node, erlang, node, []), [\"from a hidden node\" || Hidden]]),
  halt()."
"#;

impl Machine {
    fn new(home: &Home) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        for (name, text) in [("erl", ERL), ("sudo", "#!/bin/sh\nexec \"$@\"\n")] {
            std::fs::write(folder.path().join(name), text).expect("program");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(folder.path().join(name), mode).expect("mode");
        }
        let way = |(name, to): (&str, std::net::SocketAddr)| {
            let from = format!("UNIX-LISTEN:{},fork", folder.path().join(name).display());
            let mut command = std::process::Command::new("socat");
            command.args([from, format!("TCP:{to}")]).spawn().expect("socat; tests/setup installs it")
        };
        let ways = [("api", home.server.api), ("ssh", home.server.ssh)].map(way).into();
        wait_until("the ways out", std::time::Duration::from_secs(30), || {
            ["api", "ssh"].iter().all(|name| folder.path().join(name).exists())
        });
        Self { folder, ways }
    }

    /// What is run there: the ways out, then the official client.
    fn script(&self, home: &Home, args: &[&str]) -> String {
        let way = |(name, to): (&str, std::net::SocketAddr)| {
            let file = self.folder.path().join(name);
            format!("socat TCP-LISTEN:{},bind=127.0.0.1,fork UNIX-CONNECT:{} & ", to.port(), file.display())
        };
        let ways: String = [("api", home.server.api), ("ssh", home.server.ssh)].map(way).concat();
        let args = args.iter().map(|word| format!("'{word}' ")).collect::<String>();
        format!(
            "export REAL_ERL=$(type -P erl) PATH={}:$PATH; ip link set lo up; {ways} \
             until ss -Hltn | grep -q {} && ss -Hltn | grep -q {}; do sleep 0.1; done; \
             \"$OFFICIAL\" {args}; code=$?; kill $(jobs -p); exit $code",
            self.folder.path().display(),
            home.server.api.port(),
            home.server.ssh.port(),
        )
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for way in &mut self.ways {
            let _ = way.kill();
            let _ = way.wait();
        }
    }
}

/// Our own client by the same way.
#[test]
fn our_client_goes_by_ssh_if_asked() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    let config = Ssh::known(&ada, &server).config();
    let options = format!("-F {}", config.display());
    let run = |args: &[&str]| ada.run_in(&project, &[&args[..1], &["--ssh", "-o", &options], &args[1..]].concat());
    let quoted = run(&["ps:run", "sh", "-c", "echo \"$0  $HOST_INDEX\"; exit 5", "it's"]);
    assert_eq!((quoted.code, quoted.stdout.as_str()), (Some(5), "it's  1\n"), "{quoted:?}");
    assert_eq!(run(&["ps:ssh", "--", "pwd"]).ok().trim(), "/app");
    assert!(run(&["ps:ssh", "--replica", "web.7", "--", "pwd"]).fails().contains("no replica `web.7`"));
    assert!(run(&["ps:remote_console"]).fails().contains("no Elixir release"));
    let mut command = ada.command(env!("CARGO_BIN_EXE_gigalixir"));
    command.args(["ps:ssh", "--ssh", "-a", "hello"]).env("PATH", "/nonexistent");
    let output = command.output().expect("runs");
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no `ssh`"), "{output:?}");
}

//! What a runtime is, continued: programs beside an instance's own process, and connections to it.

use std::time::Duration;

use gigalixir::server::runtime::RuntimeError;
use gigalixir::server::runtime::session::{Command, Control, Ended, Session, Terminal, TerminalSize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::runtime_contract::{SERVER, Stage, inside, logged, ready, until, web, workload};
use gigalixir::server::domain::*;

const GRACE: Duration = Duration::from_secs(10);
/// Long enough for a busy machine; what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(30);

fn command(argv: &[&str]) -> Command {
    Command { argv: argv.iter().map(|word| (*word).to_owned()).collect(), ..Command::default() }
}

fn on_terminal(argv: &[&str]) -> Command {
    let size = TerminalSize { columns: 81, rows: 25 };
    Command { terminal: Some(Terminal { term: "xterm-256color".to_owned(), size }), ..command(argv) }
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Reads until the text has come.
async fn read_until(output: &mut (impl AsyncRead + Unpin), wanted: &str) -> String {
    let mut seen = Vec::new();
    let reading = async {
        loop {
            let mut piece = [0; 4096];
            let count = output.read(&mut piece).await.unwrap();
            seen.extend_from_slice(&piece[..count]);
            if count == 0 || String::from_utf8_lossy(&seen).contains(wanted) {
                return;
            }
        }
    };
    let came = timeout(PATIENCE, reading).await.is_ok();
    let seen = String::from_utf8_lossy(&seen).into_owned();
    assert!(came && seen.contains(wanted), "`{wanted}` did not come, but {seen:?}");
    seen
}

/// Types, and does what else is to be done, again and again until the text has come.
async fn read_while(session: &mut Session, wanted: &str, typed: &[u8], also: Option<Control>) -> String {
    let (mut seen, begun) = (String::new(), std::time::Instant::now());
    while !seen.contains(wanted) {
        assert!(begun.elapsed() < PATIENCE, "{wanted:?} did not come, but {:?}", &seen[..seen.len().min(1000)]);
        if let Some(control) = also {
            session.control.send(control).await.unwrap();
        }
        session.input.write_all(typed).await.unwrap();
        let mut piece = [0; 4096];
        tokio::time::sleep(Duration::from_millis(100)).await;
        if let Ok(Ok(count)) = timeout(Duration::from_millis(200), session.output.read(&mut piece)).await {
            seen.push_str(&String::from_utf8_lossy(&piece[..count]));
        }
    }
    seen
}

/// All that it says, apart, and how it ended.
async fn whole(mut session: Session) -> (String, String, Ended) {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    session.input.shutdown().await.unwrap();
    let reading = async {
        match &mut session.errors {
            Some(stderr) => {
                tokio::try_join!(session.output.read_to_end(&mut output), stderr.read_to_end(&mut errors)).map(drop)
            }
            None => session.output.read_to_end(&mut output).await.map(drop),
        }
    };
    soon("the end of its output", reading).await.unwrap();
    let ended = soon("its end", session.ended).await.expect("how it ended");
    (String::from_utf8(output).unwrap(), String::from_utf8(errors).unwrap(), ended)
}

async fn one<S: Stage>(stage: &S, web: &Workload) -> Instance {
    stage.runtime().apply(web).await.unwrap();
    until(&stage.runtime(), "one ready", ready(1)).await.remove(0)
}

pub(crate) async fn a_program_runs_beside_and_says_how_it_ended<S: Stage>() {
    let stage = S::begin().await;
    let (runtime, web) = (stage.runtime(), web(&stage, "shop"));
    let one = one(&stage, &web).await;
    let session = runtime.exec(&one.name, command(&["sh", "-c", "echo out; echo err >&2; exit 7"])).await.unwrap();
    assert_eq!(whole(session).await, ("out\n".to_owned(), "err\n".to_owned(), Ended::Exited(7)));
    let odd = ["printf", "%s|", "two words", "$HOME", "'", "a\nb", ""];
    let session = runtime.exec(&one.name, command(&odd)).await.unwrap();
    assert_eq!(whole(session).await.0, "two words|$HOME|'|a\nb||", "arguments come as they are");
    let session = runtime.exec(&one.name, command(&["no-such-program", "-x"])).await.unwrap();
    let (_, errors, ended) = whole(session).await;
    assert!(errors.contains("no-such-program") && ended == Ended::Exited(127), "{errors} {ended:?}");
    let session = runtime.exec(&one.name, command(&["sh", "-c", "kill -9 $$"])).await.unwrap();
    assert_eq!(whole(session).await.2, Ended::Signaled(9));
    // However soon it comes: at a terminal there is more to do between the begin and listening for the end.
    for _ in 0..10 {
        let session = runtime.exec(&one.name, on_terminal(&["true"])).await.unwrap();
        assert_eq!(whole(session).await.2, Ended::Exited(0));
    }
    assert!(matches!(runtime.exec("nobody", command(&["true"])).await, Err(RuntimeError::NotRunning(_))));
    runtime.remove(&web.id, GRACE).await.unwrap();
    assert!(matches!(runtime.exec(&one.name, command(&["true"])).await, Err(RuntimeError::NotRunning(_))));
}

pub(crate) async fn a_program_has_the_instances_place_and_environment<S: Stage>() {
    let stage = S::begin().await;
    let runtime = stage.runtime();
    let slug = stage.slug(&[("server.py", SERVER), (".profile.d/x.sh", "export FROM_PROFILE=\"$HOME/x\"\n")]);
    let web = workload("shop", "web", slug, "python3 server.py", HealthCheck::Tcp);
    let one = one(&stage, &web).await;
    inside(&one, "echo from the app > /app/shared; echo too > /tmp/shared").await;
    let script =
        "env; pwd; id -u; cat /app/shared /tmp/shared; cat /proc/[0-9]*/comm; printf 'GREETING:%s' \"$GREETING\"";
    let mut wish = command(&["sh", "-c", script]);
    wish.env.insert("OF_THE_SESSION".to_owned(), "yes".to_owned());
    let (seen, errors, ended) = whole(runtime.exec(&one.name, wish).await.unwrap()).await;
    assert_eq!(ended, Ended::Exited(0), "{errors}");
    let own = inside(&one, "env").await;
    let path = |env: &str| env.lines().find_map(|line| line.strip_prefix("PATH=")).expect("PATH").to_owned();
    assert!(path(&seen).ends_with(&path(&own)), "{seen}");
    for name in ["PORT", "HOST_INDEX", "HOSTNAME", "MY_POD_IP", "RELEASE_NODE", "HOME"] {
        let line = own.lines().find(|line| line.starts_with(&format!("{name}="))).unwrap_or_else(|| panic!("{name}"));
        assert!(seen.lines().any(|have| have == line), "{line} is missing in {seen}");
    }
    for line in ["OF_THE_SESSION=yes", "FROM_PROFILE=/app/x", "/app", "1000", "from the app", "too", "python3"] {
        assert!(seen.lines().any(|have| have == line), "{line} is missing in {seen}");
    }
    assert!(seen.ends_with("GREETING:hello $world 'x'\n\"y\""), "{seen}");
    assert!(!seen.contains("CARGO") && !seen.contains("NEXTEST"), "the server's environment is inside: {seen}");
    runtime.remove(&web.id, GRACE).await.unwrap();
}

pub(crate) async fn a_program_may_do_no_more_than_the_app<S: Stage>() {
    let stage = S::begin().await;
    let (runtime, web) = (stage.runtime(), web(&stage, "shop"));
    let one = one(&stage, &web).await;
    let rights = "grep -E '^(Cap|NoNewPrivs|Uid|Gid)' /proc/self/status; ls -l /proc/self/fd >/tmp/fds; wc -l </tmp/fds; ls /; ulimit -c";
    let session = runtime.exec(&one.name, command(&["sh", "-c", rights])).await.unwrap();
    let seen = whole(session).await.0;
    assert_eq!(seen, inside(&one, rights).await);
    let session =
        runtime.exec(&one.name, command(&["sh", "-c", "touch /usr/x /x; cat /etc/shadow; exit 0"])).await.unwrap();
    let (seen, errors, _) = whole(session).await;
    assert!(!seen.contains("root:") && errors.matches("cannot touch").count() == 2, "{seen} {errors}");
    runtime.remove(&web.id, GRACE).await.unwrap();
}

pub(crate) async fn much_data_goes_both_ways<S: Stage>() {
    const BYTES: usize = 40_000_000;
    let stage = S::begin().await;
    let (runtime, web) = (stage.runtime(), web(&stage, "shop"));
    let one = one(&stage, &web).await;
    let mut session = runtime.exec(&one.name, command(&["cat"])).await.unwrap();
    let sent: Vec<u8> = (0..BYTES).map(|at| (at * 7 % 251) as u8).collect();
    let mut back = Vec::new();
    let both = async {
        let send = async {
            session.input.write_all(&sent).await.unwrap();
            session.input.shutdown().await.unwrap();
        };
        tokio::join!(send, session.output.read_to_end(&mut back)).1.unwrap()
    };
    soon("all of it back", both).await;
    assert!(back == sent, "{} of {BYTES} bytes came back, or changed", back.len());
    assert_eq!(soon("its end", session.ended).await, Ok(Ended::Exited(0)));
    // Who does not read holds up the program, and nobody else.
    let stalled = runtime.exec(&one.name, command(&["sh", "-c", "yes | head -c 10000000; sleep 1000"])).await.unwrap();
    assert_eq!(inside(&one, "echo alive").await, "alive\n");
    let session = runtime.exec(&one.name, command(&["seq", "1", "300000"])).await.unwrap();
    assert_eq!(whole(session).await.0.lines().count(), 300_000);
    drop(stalled);
    runtime.remove(&web.id, GRACE).await.unwrap();
}

pub(crate) async fn a_terminal_has_a_size_and_changes_it<S: Stage>() {
    let stage = S::begin().await;
    let (runtime, web) = (stage.runtime(), web(&stage, "shop"));
    let one = one(&stage, &web).await;
    let script = "trap 'echo now $(stty size)' WINCH; tty; echo $TERM; stty size; echo set; while true; do read -r line && echo \"got $line\"; done";
    let mut session = runtime.exec(&one.name, on_terminal(&["bash", "-c", script])).await.unwrap();
    assert!(session.errors.is_none());
    let seen = read_until(&mut session.output, "set\r\n").await;
    assert!(seen.contains("/dev/pts/") && seen.contains("xterm-256color\r\n25 81\r\n"), "{seen:?}");
    let size = TerminalSize { columns: 132, rows: 50 };
    session.control.send(Control::Resize(size)).await.unwrap();
    // The shell looks at its traps when it has read a line.
    let seen = read_while(&mut session, "now 50 132", b"typed\n", None).await;
    assert!(seen.contains("typed"), "{seen:?}");
    session.input.write_all(b"\x03").await.unwrap();
    assert_eq!(soon("its end by ^C", session.ended).await, Ok(Ended::Signaled(2)));
    let session = runtime.exec(&one.name, on_terminal(&["cat"])).await.unwrap();
    assert_eq!(whole(session).await.2, Ended::Exited(0), "the end of input is ^D");
    runtime.remove(&web.id, GRACE).await.unwrap();
}

pub(crate) async fn a_shell_on_a_terminal_controls_its_jobs<S: Stage>() {
    let stage = S::begin().await;
    let (runtime, web) = (stage.runtime(), web(&stage, "shop"));
    let one = one(&stage, &web).await;
    let mut session = runtime.exec(&one.name, on_terminal(&["bash", "--norc", "-i"])).await.unwrap();
    // What is typed is shown by the terminal before the shell is there; a signal would end what comes before the shell.
    session.input.write_all(b"sh -c 'echo before-$((1+1)); exec sleep 1000'\n").await.unwrap();
    read_until(&mut session.output, "before-2").await;
    // The job, not the shell, is in the foreground; it takes a moment to get there.
    let seen = read_while(&mut session, "42\r\n", b"echo $((6*7))\n", Some(Control::Signal(2))).await;
    assert!(!seen.contains("no job control"), "{seen:?}");
    session.input.write_all(b"stty -echo\nexit 5\n").await.unwrap();
    assert_eq!(whole(session).await.2, Ended::Exited(5));
    runtime.remove(&web.id, GRACE).await.unwrap();
}

pub(crate) async fn signals_reach_the_whole_group<S: Stage>() {
    let stage = S::begin().await;
    let (runtime, web) = (stage.runtime(), web(&stage, "shop"));
    let one = one(&stage, &web).await;
    let script = "bash -c 'trap \"echo child; exit\" USR1; echo set; while true; do sleep 0.05; done' & \
                  trap 'echo parent; wait; exit 3' USR1; echo set; wait; wait";
    let mut session = runtime.exec(&one.name, command(&["bash", "-c", script])).await.unwrap();
    read_until(&mut session.output, "set\nset\n").await;
    session.control.send(Control::Signal(10)).await.unwrap();
    let (seen, _, ended) = whole(session).await;
    assert!(seen.contains("child") && seen.contains("parent"), "{seen:?}");
    assert_eq!(ended, Ended::Exited(3));
    runtime.remove(&web.id, GRACE).await.unwrap();
}

/// How many of the programs that a session starts are there.
const LEFT: &str =
    "for one in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$one; echo; done 2>/dev/null | grep -c '^sleep 98765'";

async fn nothing_is_left(one: &Instance) {
    soon("nothing to be left", async {
        while inside(one, LEFT).await.trim() != "0" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

pub(crate) async fn a_session_let_go_leaves_nothing<S: Stage>() {
    let stage = S::begin().await;
    let (runtime, web) = (stage.runtime(), web(&stage, "shop"));
    let one = one(&stage, &web).await;
    let script =
        "trap '' HUP; sleep 98765 & setsid sleep 98765 & (setsid sh -c 'sleep 98765 & wait' &) ; echo begun; wait";
    for wish in [command(&["sh", "-c", script]), on_terminal(&["sh", "-c", script])] {
        let mut session = runtime.exec(&one.name, wish).await.unwrap();
        read_until(&mut session.output, "begun").await;
        soon("all three to be there", async {
            while inside(&one, LEFT).await.trim() != "3" {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        drop(session);
        nothing_is_left(&one).await;
    }
    // One that has ended takes with it what it left in the background, too.
    let session =
        runtime.exec(&one.name, command(&["sh", "-c", "sleep 98765 >/dev/null 2>&1 & exit 0"])).await.unwrap();
    assert_eq!(whole(session).await.2, Ended::Exited(0));
    nothing_is_left(&one).await;
    runtime.remove(&web.id, GRACE).await.unwrap();
}

pub(crate) async fn sessions_leave_no_file_open<S: Stage>() {
    let stage = S::begin().await;
    let (runtime, web) = (stage.runtime(), web(&stage, "shop"));
    let one = one(&stage, &web).await;
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    for _ in 0..8 {
        for wish in [command(&["cat"]), on_terminal(&["cat"])] {
            whole(runtime.exec(&one.name, wish).await.unwrap()).await;
        }
    }
    // A runtime may keep a connection or two for what it will be asked next.
    let closed = async {
        while open() > before + 4 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    assert!(timeout(PATIENCE, closed).await.is_ok(), "{before} files were open before, now {}", open());
    runtime.remove(&web.id, GRACE).await.unwrap();
}

pub(crate) async fn a_session_ends_with_its_instance<S: Stage>() {
    let stage = S::begin().await;
    let (runtime, web) = (stage.runtime(), web(&stage, "shop"));
    let one = one(&stage, &web).await;
    let mut session =
        runtime.exec(&one.name, command(&["sh", "-c", "trap '' TERM HUP; echo on; sleep 1000"])).await.unwrap();
    read_until(&mut session.output, "on\n").await;
    runtime.remove(&web.id, GRACE).await.unwrap();
    assert_eq!(soon("its end", session.ended).await, Ok(Ended::Signaled(9)));
    assert_eq!(runtime.instances().await.unwrap(), []);
}

pub(crate) async fn a_session_ends_with_the_server_and_the_instance_goes_on<S: Stage>() {
    let mut stage = S::begin().await;
    let web = web(&stage, "shop");
    let before = one(&stage, &web).await;
    let mut session = stage.runtime().exec(&before.name, command(&["sh", "-c", "echo on; sleep 98765"])).await.unwrap();
    read_until(&mut session.output, "on\n").await;
    stage.restart().await;
    let left = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep 98765'";
    soon("nothing to be left", async {
        while inside(&before, left).await.trim() != "1" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(stage.runtime().instances().await.unwrap(), std::slice::from_ref(&before));
    let again = stage.runtime().exec(&before.name, command(&["echo", "again"])).await.unwrap();
    assert_eq!(whole(again).await.0, "again\n", "a new server starts programs as well");
    stage.runtime().remove(&web.id, GRACE).await.unwrap();
}

pub(crate) async fn ports_of_an_instance_can_be_reached<S: Stage>() {
    let stage = S::begin().await;
    let (runtime, web) = (stage.runtime(), web(&stage, "shop"));
    let one = one(&stage, &web).await;
    logged(&stage, "listening").await;
    let port: u16 = inside(&one, "printf $PORT").await.parse().unwrap();
    let mut stream = runtime.connect(&one.name, port).await.unwrap();
    stream.write_all(b"GET /run/echo+hello HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    soon("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 OK"), "{answer}");
    assert!(matches!(runtime.connect(&one.name, 1).await, Err(RuntimeError::Io { .. })), "nobody listens there");
    runtime.remove(&web.id, GRACE).await.unwrap();
    assert!(matches!(runtime.connect(&one.name, port).await, Err(RuntimeError::NotRunning(_))));
}

//! Between visitors and apps: rules, numbers, load balancers in front, and nobody who is lost while something changes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine;
use rustix::process::Signal;

use crate::harness::{Crowd, Curl, Person, Project, Server, Visitors, children_of_data, get, kill, wait_until};

/// An app that speaks WebSocket too.
fn echo(ada: &Person) -> Project {
    let project = Project::greeting(ada, "hello", "one");
    project.write("server.py", include_str!("harness/echo.py"));
    project.commit(ada, "echo");
    project.push(ada);
    project
}

fn root(server: &Server) -> PathBuf {
    let path = server.data().join("fetched-root.pem");
    std::fs::write(&path, get(server.api, "api", "/ca.pem").body).expect("root");
    path
}

/// Sends bytes; what comes back until the connection ends.
fn raw(server: &Server, text: &str) -> String {
    let mut stream = TcpStream::connect(server.http).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    stream.write_all(text.as_bytes()).expect("write");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn metrics(server: &Server, credentials: &str) -> String {
    let basic = base64::prelude::BASE64_STANDARD.encode(credentials);
    let mut stream = TcpStream::connect(server.api).expect("connect");
    let head = format!("GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Basic {basic}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("write");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn rules_hold_at_once_and_after_a_restart() {
    let mut server = Server::with_config("[router]\nmetrics_key = \"collector\"\n");
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    ada.run_in(&project, &["domains:add", "hello.test"]).ok();
    ada.run_in(&project, &["domains:add", "www.hello.test"]).ok();
    let set = ["router:set", "--max-body", "1K", "--affinity", "on", "--canonical", "www", "--access-log", "on"];
    let shown = ada.run_in(&project, &set).ok();
    assert!(shown.contains("1024 bytes") && shown.contains("www"), "{shown}");
    std::fs::write(project.path().join("sorry.html"), "<h1>Back soon</h1>").expect("page");
    ada.run_in(&project, &["maintenance:page", "sorry.html"]).ok();
    assert!(ada.run_in(&project, &["router:set", "--canonical", "up"]).fails().contains("www, apex or none"));

    for _ in 0..2 {
        let moved = raw(&server, "GET /p HTTP/1.1\r\nHost: hello.test\r\nConnection: close\r\n\r\n");
        assert!(moved.starts_with("HTTP/1.1 308") && moved.contains("http://www.hello.test/p"), "{moved}");
        let served = raw(&server, "GET /p HTTP/1.1\r\nHost: www.hello.test\r\nConnection: close\r\n\r\n");
        assert!(served.starts_with("HTTP/1.1 200") && served.contains("gigalixir_replica="), "{served}");
        let large = format!(
            "POST / HTTP/1.1\r\nHost: www.hello.test\r\nConnection: close\r\nContent-Length: 1025\r\n\r\n{}",
            "x".repeat(1025)
        );
        assert!(raw(&server, &large).starts_with("HTTP/1.1 413"));
        ada.run_in(&project, &["maintenance:on", "-y"]).ok();
        let page =
            raw(&server, "GET / HTTP/1.1\r\nHost: www.hello.test\r\nAccept: text/html\r\nConnection: close\r\n\r\n");
        assert!(page.starts_with("HTTP/1.1 503") && page.ends_with("<h1>Back soon</h1>"), "{page}");
        ada.run_in(&project, &["maintenance:off"]).ok();
        server.kill();
        server.start_again();
    }
    wait_until("the access log", Duration::from_secs(20), || {
        let logs = ada.run_in(&project, &["logs", "--no-tail"]).ok();
        logs.lines().any(|line| {
            line.contains("app[router]: method=GET path=\"/p\" host=www.hello.test")
                && line.contains(" status=200 bytes=")
        })
    });
    raw(&server, "GET /p HTTP/1.1\r\nHost: www.hello.test\r\nConnection: close\r\n\r\n");
    raw(&server, "GET /p HTTP/1.1\r\nHost: nobody.test\r\nConnection: close\r\n\r\n");
    wait_until("what passed is counted", Duration::from_secs(20), || {
        let all = metrics(&server, ":collector");
        let counted = "gigalixir_http_requests_total{app=\"hello\",class=\"2xx\"} 1\n";
        all.contains("text/plain; version=0.0.4")
            && all.contains(counted)
            && all.contains("{app=\"\",class=\"4xx\"} 1\n")
    });
    assert!(metrics(&server, ":wrong").starts_with("HTTP/1.1 401"));
}

#[test]
fn a_browser_comes_to_the_same_replica_again_until_it_is_gone() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    ada.run_in(&project, &["ps:scale", "--replicas", "3"]).ok();
    ada.run_in(&project, &["router:set", "--affinity", "on"]).ok();
    // Who answered, and the cookie that came with it.
    let ask = |cookie: &str| {
        let cookie = if cookie.is_empty() { String::new() } else { format!("Cookie: a=1; {cookie}\r\n") };
        let get = "GET /env/PORT HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n";
        let answer = raw(&server, &format!("{get}{cookie}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let set = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap_or_default().to_owned();
        (
            answer.rsplit("\r\n").next().unwrap_or_default().to_owned(),
            set.split(';').next().unwrap_or_default().to_owned(),
        )
    };
    let mut cookies = std::collections::BTreeMap::new();
    wait_until("all three have been met", Duration::from_secs(30), || {
        let (replica, cookie) = ask("");
        cookies.insert(replica, cookie);
        cookies.len() == 3
    });
    for (replica, cookie) in &cookies {
        for _ in 0..10 {
            assert_eq!(ask(cookie), (replica.clone(), String::new()), "{cookie}");
        }
    }
    ada.run_in(&project, &["ps:scale", "--replicas", "1"]).ok();
    wait_until("one is left", Duration::from_secs(60), || {
        let met: Vec<_> = cookies.values().map(|cookie| ask(cookie)).collect();
        met.iter().all(|(replica, _)| *replica == met[0].0)
            && met.iter().filter(|(_, set)| !set.is_empty()).count() == 2
    });
}

/// The table is in the router's own tests; here some of each kind go all the way, plain and over TLS.
#[test]
fn nothing_is_smuggled_to_an_app() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    let root = root(&server);
    let secured = |text: &str| {
        let mut openssl = std::process::Command::new("openssl")
            .args([
                "s_client",
                "-quiet",
                "-ign_eof",
                "-connect",
                &server.https.to_string(),
                "-servername",
                "hello.localhost",
            ])
            .arg("-CAfile")
            .arg(&root)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("openssl");
        openssl.stdin.take().expect("stdin").write_all(text.as_bytes()).expect("write");
        String::from_utf8_lossy(&openssl.wait_with_output().expect("openssl").stdout).into_owned()
    };
    let ordinary = "GET /ordinary HTTP/1.1\r\nHost: hello.localhost\r\n\r\n";
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: hello.localhost\r\n\r\n";
    for (name, odd) in [
        ("two lengths", "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
        ("a list of lengths", "Content-Length: 3, 4\r\n\r\nabcd"),
        ("an unknown coding", "Transfer-Encoding: cow\r\n\r\n0\r\n\r\n"),
        ("a blank before the colon", "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        ("a folded line", "X-A: 1\r\n Transfer-Encoding: chunked\r\n\r\n"),
        ("a bare CR", "X-A: a\rTransfer-Encoding: chunked\r\n\r\n"),
        ("two hosts", "Host: other.test\r\n\r\n"),
        ("a length and chunks", "Content-Length: 90\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("a chunk without an end", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc"),
        ("a prefixed size", "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n"),
    ] {
        for method in ["GET", "POST"] {
            let text = format!("{ordinary}{method} /odd HTTP/1.1\r\nHost: hello.localhost\r\n{odd}{smuggled}");
            for answer in [raw(&server, &text), secured(&text)] {
                assert!(answer.starts_with("HTTP/1.1 200"), "{name}, {method}: {answer}");
                assert!(answer.matches("HTTP/1.1 ").count() <= 2, "{name}, {method}: {answer}");
            }
        }
    }
    raw(&server, "GET /last HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n");
    wait_until("the app has said what it was asked for", Duration::from_secs(20), || {
        let logs = ada.run_in(&project, &["logs", "--no-tail"]).ok();
        assert!(!logs.contains("/smuggled"), "{logs}");
        logs.contains("request /last") && logs.contains("request /ordinary")
    });
}

#[test]
fn a_load_balancer_says_where_visitors_are() {
    let server = Server::with_config("[router]\nproxy_protocol = [\"127.0.0.1\"]\n");
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    let ask = "GET /headers HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n";
    let answer = raw(&server, &format!("PROXY TCP4 192.0.2.7 127.0.0.1 8080 80\r\n{ask}")).to_lowercase();
    assert!(answer.contains("x-forwarded-for: 192.0.2.7"), "{answer}");
    assert_eq!(raw(&server, ask), "", "one that says nothing is not served");
    let curl = Curl::trusting(&root(&server), server.https);
    let secure = curl.get("hello.localhost", "/headers", &["--haproxy-protocol", "--http1.1"]);
    assert!(secure.status == 200 && secure.body.to_lowercase().contains("x-forwarded-for: 127.0.0.1"), "{secure:?}");
    assert_ne!(curl.get("hello.localhost", "/headers", &[]).code, 0);
}

/// The server's own process, not those of its replicas.
fn process(server: &Server) -> i32 {
    let all = children_of_data(&server.data());
    let serving: Vec<i32> = all.iter().filter(|(_, line)| line.contains(" server ")).map(|(pid, _)| *pid).collect();
    *serving.iter().max().expect("a server")
}

#[test]
fn another_server_takes_over_and_nobody_is_lost() {
    let mut server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = echo(&ada);
    let crowd = Crowd { http1: 6, http2: 3, sockets: 8, socket_lasts: Duration::from_secs(3) };
    let visitors = Visitors::come(crowd, "hello.localhost", server.http, server.https, Some(&root(&server)));
    wait_until("they are served", Duration::from_secs(20), || visitors.served() > 100);

    // A mistake in the configuration costs nothing.
    let first = process(&server);
    server.reconfigure("no_such_key = 1\n");
    server.write_config();
    kill(first, Signal::HUP);
    wait_until("it says why not", Duration::from_secs(20), || server.log().contains("this one goes on"));
    assert_eq!(process(&server), first);
    server.reconfigure("[limits]\nlog_mib = 3\n");
    server.write_config();

    let mut pid = first;
    for round in 0..2 {
        let before = visitors.served();
        kill(pid, Signal::HUP);
        wait_until("another serves", Duration::from_secs(60), || {
            server.log().matches("Ready: ").count() == 2 + round && process(&server) != pid
        });
        wait_until("the one before has ended", Duration::from_secs(60), || {
            let all = children_of_data(&server.data());
            all.iter().filter(|(_, line)| line.contains(" server ")).count() == 1
        });
        pid = process(&server);
        wait_until("visitors are served", Duration::from_secs(20), || visitors.served() > before + 100);
        // It is a whole server: what is deployed to it is served.
        project.greet(&ada, &format!("round {round}"));
        project.push(&ada);
        assert_eq!(server.visit("hello", "/").body, format!("round {round}"));
    }
    let report = visitors.leave();
    assert_eq!(report.failures, Vec::<String>::new(), "{report:?}");
    assert!(report.answers > 200 && report.messages > 50, "{report:?}");
    kill(pid, Signal::TERM);
    wait_until("it ends", Duration::from_secs(60), || {
        !children_of_data(&server.data()).iter().any(|(_, line)| line.contains(" server "))
    });
}

/// `tests/bench/run deploys-visitors` makes it a minute and 500 WebSockets.
#[test]
fn deploys_in_a_row_lose_no_visitor() {
    let number =
        |name: &str, default| std::env::var_os(name).and_then(|text| text.to_str()?.parse().ok()).unwrap_or(default);
    let (seconds, sockets) = (number("GIGALIXIR_BENCH_SECONDS", 8), number("GIGALIXIR_BENCH_SOCKETS", 30));
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = echo(&ada);
    let crowd = Crowd { http1: 8, http2: 4, sockets: sockets as usize, socket_lasts: Duration::from_secs(4) };
    let visitors = Visitors::come(crowd, "hello.localhost", server.http, server.https, Some(&root(&server)));
    wait_until("they are served", Duration::from_secs(30), || visitors.served() > 100);
    let (end, mut deploys) = (Instant::now() + Duration::from_secs(seconds), 0);
    while Instant::now() < end {
        let next = Instant::now() + Duration::from_secs(1);
        deploys += 1;
        project.greet(&ada, &format!("deploy {deploys}"));
        project.push(&ada);
        assert_eq!(server.visit("hello", "/").body, format!("deploy {deploys}"));
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let report = visitors.leave();
    println!(
        "{deploys} deploys in {seconds} s: {} answers, {} messages, {} repeated, {} failures",
        report.answers,
        report.messages,
        report.repeated,
        report.failures.len()
    );
    assert_eq!(report.failures, Vec::<String>::new());
    assert!(report.answers > 100 && report.messages > 50, "{report:?}");
}

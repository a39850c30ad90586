//! The daemon itself: what it prints, refuses, survives and leaves behind.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::harness::{Person, Project, Server, children_of_data, get, kill, wait_until};

#[test]
fn it_is_ready_at_once_and_says_so() {
    let start = Instant::now();
    let server = Server::start();
    // Generous for a debug build on a busy machine; the benchmark measures the real figure.
    assert!(start.elapsed() < Duration::from_secs(10));
    let health = get(server.api, "localhost", "/healthz");
    assert_eq!(health.status, 200, "{}", health.body);
    let mode = std::fs::metadata(server.data()).expect("data").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn sigterm_ends_it_with_exit_code_0_and_the_apps_run_on() {
    let mut server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    let replicas = || {
        let mut all = children_of_data(&server.data());
        all.retain(|(_, line)| line.contains(" shim "));
        all
    };
    let before = replicas();
    assert!(!before.is_empty());
    assert_eq!(server.terminate(), Some(0));
    let replicas = || {
        let mut all = children_of_data(&server.data());
        all.retain(|(_, line)| line.contains(" shim "));
        all
    };
    assert_eq!(replicas(), before, "replicas outlive the server");
    server.start_again();
    wait_until("it answers", Duration::from_secs(20), || server.visit("hello", "/").status == 200);
    let after: Vec<_> =
        children_of_data(&server.data()).into_iter().filter(|(_, line)| line.contains(" shim ")).collect();
    assert_eq!(after, before, "the same processes, taken over");
}

#[test]
fn nothing_of_the_log_is_lost_or_doubled_while_the_server_is_away() {
    let mut server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "counter", "one");
    project.write(
        "Procfile",
        "web: (i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.05; done) & exec python3 -u server.py\n",
    );
    project.commit(&ada, "ticking");
    project.push(&ada);
    server.kill();
    std::thread::sleep(Duration::from_secs(1));
    server.start_again();
    std::thread::sleep(Duration::from_secs(2));
    let logs = ada.run_in(&project, &["logs", "--no-tail", "--num", "1000"]).ok();
    let ticks: Vec<u32> = logs.lines().filter_map(|l| l.split("tick ").nth(1)?.trim().parse().ok()).collect();
    assert!(ticks.len() > 30, "{logs}");
    let wanted: Vec<u32> = (1..=ticks.len() as u32).collect();
    assert_eq!(ticks, wanted);
}

/// What a second server on the same data says and ends with.
fn another_on(server: &Server) -> std::process::Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_gigalixir"))
        .args(["server", "--api", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ssh", "127.0.0.1:0", "--data-dir"])
        .arg(server.data())
        .output()
        .expect("runs")
}

#[test]
fn a_database_from_the_future_is_refused_with_a_sentence() {
    let mut server = Server::start();
    assert_eq!(server.terminate(), Some(0));
    let db = std::fs::read_dir(server.data()).expect("data").flatten().map(|e| e.path());
    let db = db.into_iter().find(|p| p.extension().is_some_and(|e| e == "db")).expect("a database");
    let script =
        format!("import sqlite3; c = sqlite3.connect({:?}); c.execute('PRAGMA user_version = 9999'); c.commit()", db);
    assert!(std::process::Command::new("python3").args(["-c", &script]).status().expect("python3").success());
    let output = another_on(&server);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("9999") && stderr.contains("newer"), "{stderr}");
}

#[test]
fn two_servers_do_not_share_a_data_folder() {
    let server = Server::start();
    let output = another_on(&server);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("already"), "{output:?}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let server = Server::start();
    let other = tempfile::tempdir().expect("folder");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_gigalixir"))
        .args([
            "server",
            "--http",
            "127.0.0.1:0",
            "--ssh",
            "127.0.0.1:0",
            "--api",
            &server.api.to_string(),
            "--data-dir",
        ])
        .arg(other.path())
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains(&server.api.to_string()), "{stderr}");
}

#[test]
fn with_a_socket_that_outlives_it_visitors_do_not_notice_a_restart() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    // An app is deployed by an ordinary server first.
    let mut first = Server::start();
    let ada = Person::sign_up(&first, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    let api = first.api.to_string();
    first.terminate();

    let mut holder = std::process::Command::new("python3")
        .arg("-c")
        .arg(include_str!("harness/activate.py"))
        .arg(env!("CARGO_BIN_EXE_gigalixir"))
        .args(["server", "--api", &api, "--ssh", "127.0.0.1:0", "--data-dir"])
        .arg(first.data())
        .env("HOME", &data)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("python3");
    let mut port = String::new();
    let mut stdout = std::io::BufReader::new(holder.stdout.take().expect("stdout"));
    std::io::BufRead::read_line(&mut stdout, &mut port).expect("port");
    let address = format!("127.0.0.1:{}", port.trim()).parse().expect("address");
    wait_until("it answers", Duration::from_secs(20), || get(address, "hello.localhost", "/").status == 200);

    let server = || {
        let all = children_of_data(&first.data());
        all.into_iter().find(|(_, line)| line.contains(" server ") && !line.contains("python3")).map(|(pid, _)| pid)
    };
    for _ in 0..3 {
        let before = server().expect("a server");
        kill(before, rustix::process::Signal::TERM);
        let end = Instant::now() + Duration::from_secs(20);
        while server().is_none_or(|pid| pid == before) {
            assert!(Instant::now() < end, "no new server came");
            let answer = get(address, "hello.localhost", "/");
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
        assert_eq!(get(address, "hello.localhost", "/").status, 200);
    }
    drop(holder.stdin.take());
    holder.wait().expect("ends");
}

//! The examples, built as they are and then started from their slugs.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;

use super::fixtures::{Bench, unpacked};
use crate::server::builder::BuiltSlug;
use crate::server::domain::{ProcessType, SlugKind};

/// A fresh checkout of an example, without what a developer's own build left in it.
fn example(bench: &Bench, name: &str) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let to = bench.app(&[]);
    let copied = Command::new("cp").arg("-R").arg(from.join(".")).arg(&to).status().unwrap();
    assert!(copied.success());
    for left in ["_build", "deps"] {
        let _ = std::fs::remove_dir_all(to.join(left));
    }
    to
}

fn needs(program: &str) {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(found.is_ok(), "this test needs `{program}`: install it, or run the tests that need less");
}

/// Unpacks the slug, starts its `web` there and returns the first answer to `/`.
fn visit(bench: &Bench, slug: &BuiltSlug) -> String {
    let app = tempfile::tempdir_in(bench.path(".")).unwrap();
    let archive = std::fs::File::open(&slug.archive).unwrap();
    tar::Archive::new(GzDecoder::new(archive)).unpack(app.path()).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut web = Command::new("bash")
        .args(["-c", &format!("exec {}", slug.processes[&ProcessType::web()])])
        .current_dir(app.path())
        .env("PORT", port.to_string())
        .env("MIX_ENV", "prod")
        .env("RELEASE_DISTRIBUTION", "none")
        .env("MY_NODE_NAME", format!("test{port}@127.0.0.1"))
        .env("MY_COOKIE", "cookie")
        .env("PATH", "/usr/bin:/bin")
        .spawn()
        .unwrap();
    let answer = answer(port);
    stop(&mut web);
    answer.expect("the app answers within 20 seconds")
}

fn answer(port: u16) -> Option<String> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(20) {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            return Some(text);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    None
}

/// SIGTERM, and five seconds to heed it.
fn stop(web: &mut Child) {
    let pid = rustix::process::Pid::from_child(web);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        if web.try_wait().unwrap().is_some() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    web.kill().unwrap();
    panic!("SIGTERM was not heeded");
}

#[tokio::test]
async fn elixir_release() {
    needs("elixir");
    let bench = Bench::new();
    let (built, said) = bench.build_tree(example(&bench, "elixir-release")).await;
    let slug = built.unwrap();
    assert!(said.contains("-----> Making the release hello"), "{said}");
    assert_eq!(slug.kind, SlugKind::Release);
    assert_eq!(
        (slug.customer_app_name.as_deref(), slug.customer_app_version.as_deref()),
        (Some("hello"), Some("0.1.0"))
    );
    assert_eq!(slug.processes[&ProcessType::web()], "bin/hello start");
    assert_eq!(slug.capabilities["distillery"]["start_command"], "start");
    assert!(visit(&bench, &slug).ends_with("Visit number 1.\n"));

    // The same code again: nothing is compiled, the slug is the same.
    let (again, said) = bench.build_tree(example(&bench, "elixir-release")).await;
    assert_eq!(again.unwrap().digest, slug.digest);
    assert!(!said.contains("Compiling"), "{said}");

    // One file changes: that file is compiled.
    let changed = example(&bench, "elixir-release");
    let file = changed.join("lib/hello/counter.ex");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("count + 1, count + 1", "count + 7, count + 7")).unwrap();
    let (built, said) = bench.build_tree(changed).await;
    assert!(said.contains("Compiling 1 file"), "{said}");
    assert!(visit(&bench, &built.unwrap()).ends_with("Visit number 7.\n"));
}

#[tokio::test]
async fn elixir_mix() {
    needs("elixir");
    let bench = Bench::new();
    let (built, _) = bench.build_tree(example(&bench, "elixir-mix")).await;
    let slug = built.unwrap();
    assert_eq!(slug.kind, SlugKind::Mix);
    assert_eq!(
        slug.processes[&ProcessType::web()],
        "elixir --name $MY_NODE_NAME --cookie $MY_COOKIE -S mix run --no-halt"
    );
    let files = unpacked(&slug);
    assert!(files.contains_key("_build/prod/lib/hello_mix/ebin/Elixir.HelloMix.beam"));
    assert!(files[".profile.d/elixir_mix.sh"].contains("MIX_ENV"));
    let answer = visit(&bench, &slug);
    assert!(answer.contains("Hello from mix"), "{answer}");
    let (_, said) = bench.build_tree(example(&bench, "elixir-mix")).await;
    assert!(!said.contains("Compiling 2 files"), "{said}");
}

#[tokio::test]
async fn web_worker() {
    needs("elixir");
    let bench = Bench::new();
    let slug = bench.build_tree(example(&bench, "web-worker")).await.0.unwrap();
    let types: Vec<_> = slug.processes.keys().map(ProcessType::as_str).collect();
    assert_eq!(types, ["web", "worker"]);
    assert!(visit(&bench, &slug).contains("Hello from web"));
}

#[tokio::test]
async fn python_hello() {
    needs("python3");
    let bench = Bench::new();
    let slug = bench.build_tree(example(&bench, "python-hello")).await.0.unwrap();
    assert_eq!(slug.kind, SlugKind::Other);
    assert!(visit(&bench, &slug).contains("Hello from Python"));
}

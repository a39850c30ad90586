//! The big push, side by side with `git http-backend`: about 50,000 objects and 200 MB. Run it alone and optimised:
//! `cargo test --release --lib big_push -- --ignored --nocapture`.

use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::TryStreamExt;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_util::io::{ReaderStream, StreamReader};

use super::harness::{Work, house};

/// Anonymous memory of a process and its descendants but for `git push` and its helpers, in kB.
fn anonymous(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let own = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")?.parse().ok());
    own.unwrap_or(0)
}

/// All processes whose command line holds `word`, largest anonymous memory so far.
struct Peak {
    peak: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Peak {
    fn of(who: impl Fn() -> Vec<u32> + Send + 'static) -> Self {
        let (peak, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (largest, ended) = (Arc::clone(&peak), Arc::clone(&stop));
        std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                largest.fetch_max(who().into_iter().map(anonymous).sum(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Self { peak, stop }
    }

    fn kilobytes(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.peak.load(Ordering::Relaxed)
    }
}

fn git_servers() -> Vec<u32> {
    let ids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let serves = |id: &u32| {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        ["index-pack", "receive-pack", "rev-list", "unpack-objects"]
            .iter()
            .any(|name| String::from_utf8_lossy(&line).contains(name))
            && !String::from_utf8_lossy(&line).contains("send-pack")
    };
    ids.filter(serves).collect()
}

/// A bare repository served by `git http-backend`, as any web server does it.
async fn cgi(State(root): State<std::path::PathBuf>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let mut child = tokio::process::Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "me")
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("CONTENT_TYPE", header("content-type"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut reader = StreamReader::new(body.into_data_stream().map_err(std::io::Error::other));
    tokio::io::copy_buf(&mut reader, &mut input).await.unwrap();
    drop(input);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let (mut response, mut line) = (Response::builder(), String::new());
    while output.read_line(&mut line).await.unwrap() > 2 {
        let (name, value) = line.trim_end().split_once(": ").unwrap();
        response = match name {
            "Status" => response.status(value[..3].parse::<u16>().unwrap()),
            _ => response.header(name, value),
        };
        line.clear();
    }
    response.body(Body::from_stream(ReaderStream::new(output))).unwrap()
}

/// 2,200 commits, each with 20 files of 10 kB of which half are edits of what was there.
fn big(work: &Work) {
    use rand::Rng;
    let mut import = work.command(&["fast-import", "--quiet", "--force"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut out = std::io::BufWriter::new(import.stdin.take().unwrap());
    let mut content = vec![0; 9_100];
    for n in 0..2200 {
        writeln!(out, "commit refs/heads/big\ncommitter me <me@example.com> {} +0000\ndata 1\nx", 1_700_000_000 + n)
            .unwrap();
        for file in 0..10 {
            rand::rng().fill_bytes(&mut content);
            for edit in ["", "edited"] {
                content[..edit.len()].copy_from_slice(edit.as_bytes());
                write!(out, "M 644 inline folder{}/{file}{edit}\ndata {}\n", n % 100, content.len()).unwrap();
                out.write_all(&content).unwrap();
                out.write_all(b"\n").unwrap();
            }
        }
    }
    drop(out);
    assert!(import.wait().unwrap().success());
}

#[ignore = "takes a minute and wants the machine for itself"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_big_push_beside_git_http_backend() {
    let house = house().await;
    let work = house.working_copy("work", "my-app");
    big(&work);
    let counted = work.ok(&["count-objects", "-vH"]);
    let root = house.dir.path().join("bare");
    work.ok(&["init", "-q", "--bare", root.join("my-app.git").to_str().unwrap()]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = format!("http://127.0.0.1:{}/my-app.git", listener.local_addr().unwrap().port());
    let router = axum::Router::new().fallback(cgi).with_state(root.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let before = anonymous(std::process::id());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for n in 0..3 {
        let peak = Peak::of(|| vec![std::process::id()]);
        let start = Instant::now();
        work.ok(&["push", &house.url(&format!("my-app{n}")), "big"]);
        ours.push((start.elapsed().as_secs_f64(), peak.kilobytes() / 1024));
        let peak = Peak::of(git_servers);
        let start = Instant::now();
        work.ok(&["push", &other, "big"]);
        theirs.push((start.elapsed().as_secs_f64(), peak.kilobytes() / 1024));
        std::fs::remove_dir_all(root.join("my-app.git")).unwrap();
        work.ok(&["init", "-q", "--bare", root.join("my-app.git").to_str().unwrap()]);
    }
    let line = format!(
        "{counted}\nidle {} MB anonymous\nreceiver (seconds, peak MB) {ours:?}\nhttp-backend {theirs:?}\n",
        before / 1024
    );
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    assert!(ours.iter().all(|(_, peak)| *peak < 96), "the push was held in memory: {line}");
}

//! Log drains and metering as people use them: the real server, real listeners.

use std::io::{BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Person, Project, Server, wait_until};

const LIMIT: Duration = Duration::from_secs(60);
const PRIVATE: &str = "[limits]\nprivate_drains = true\n[billing]\nenabled = true\nprice = 100.0\ncurrency = \"EUR\"\n";

/// A syslog receiver: what it heard, frame by frame.
#[derive(Clone)]
struct Sink {
    address: SocketAddr,
    frames: Arc<Mutex<Vec<String>>>,
}

impl Sink {
    fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
        let sink = Self { address: listener.local_addr().expect("address"), frames: Arc::default() };
        let this = sink.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let this = this.clone();
                std::thread::spawn(move || this.hear(BufReader::new(stream)));
            }
        });
        sink
    }

    fn hear(&self, mut stream: impl Read) {
        loop {
            let mut length = 0;
            loop {
                let mut byte = [0];
                if stream.read_exact(&mut byte).is_err() {
                    return;
                }
                if byte[0] == b' ' {
                    break;
                }
                length = length * 10 + usize::from(byte[0] - b'0');
            }
            let mut frame = vec![0; length];
            if stream.read_exact(&mut frame).is_err() {
                return;
            }
            self.frames.lock().expect("frames").push(String::from_utf8_lossy(&frame).into_owned());
        }
    }

    fn count(&self, text: &str) -> usize {
        self.frames.lock().expect("frames").iter().filter(|frame| frame.contains(text)).count()
    }
}

fn json(person: &Person, project: &Project, args: &[&str]) -> Value {
    serde_json::from_str(&person.run_in(project, args).ok()).expect("json")
}

#[test]
fn an_apps_lines_reach_a_drain_over_restarts_of_the_server() {
    let mut server = Server::with_config(PRIVATE);
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    let sink = Sink::listen();
    let refused = ada.run_in(&project, &["drains:add", "gopher://x.org"]).fails();
    assert!(refused.contains("https://"), "{refused}");
    ada.run_in(&project, &["drains:add", &format!("syslog://{}", sink.address)]).ok();
    project.push(&ada);
    server.visit("hello", "/env/BEFORE");
    wait_until("the build, the platform and the app are heard", LIMIT, || {
        sink.count(" hello build - - ") > 0
            && sink.count(" gigalixir hello gigalixir - - ") > 0
            && sink.count(" hello web.1 - - request /env/BEFORE") == 1
    });
    for round in 0..3 {
        if round == 0 {
            server.terminate();
        } else {
            server.kill();
        }
        // The app lives on and is heard of later.
        server.start_again();
        let path = format!("/env/ROUND{round}");
        wait_until("it answers", LIMIT, || server.visit("hello", &path).status != 0);
        wait_until("it is heard", LIMIT, || sink.count(&format!("request {path}")) >= 1);
    }
    let shown = json(&ada, &project, &["drains", "--json"]);
    assert!(shown[0]["delivered"].as_u64() > Some(5) && shown[0]["dropped"] == 0, "{shown}");
    let table = ada.run_in(&project, &["drains"]).ok();
    assert!(table.starts_with("ID ") && table.contains(&sink.address.to_string()), "{table}");
    let id = shown[0]["id"].as_str().expect("id");
    ada.run_in(&project, &["drains:remove", id]).ok();
    assert!(ada.run_in(&project, &["drains:remove", id]).fails().contains("no drain"));
    assert_eq!(json(&ada, &project, &["drains", "--json"]), serde_json::json!([]));
}

#[test]
fn by_default_a_drain_may_not_lead_into_the_machine() {
    let server = Server::start();
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    let refused = ada.run_in(&project, &["drains:add", "http://127.0.0.1:4000/"]).fails();
    assert!(refused.contains("limits.private_drains"), "{refused}");
}

#[test]
fn use_is_counted_over_a_kill_and_kept_when_the_app_goes() {
    let mut server = Server::with_config(PRIVATE);
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    assert_eq!(json(&ada, &project, &["account:usage", "--json"]), serde_json::json!([]));
    project.push(&ada);
    let running = || json(&ada, &project, &["account:usage:running", "--json"]);
    wait_until("the meter has heard of it", LIMIT, || running() != serde_json::json!([]));
    let running = running();
    assert_eq!((running[0]["app"].as_str(), running[0]["replicas"].as_u64()), (Some("hello"), Some(1)), "{running}");
    assert_eq!(running[0]["size"], 0.5);
    let used = |person: &Person| {
        let usage = json(person, &project, &["account:usage", "--json"]);
        usage[0]["amount_cents"].as_i64().expect("cents")
    };
    let before = used(&ada);
    server.kill();
    std::thread::sleep(Duration::from_secs(3));
    server.start_again();
    // 100 a second for size 1: half a second costs 25.00.
    let after = used(&ada);
    assert!(after - before >= 3 * 5000, "the time without a server counts: {before} {after}");
    let days = json(&ada, &project, &["apps:usage", "--json"]);
    let day: i64 = days.as_array().expect("days").iter().map(|day| day["amount_cents"].as_i64().expect("cents")).sum();
    assert!(day >= after && days[0]["currency"] == "EUR", "{days}");
    ada.run_in(&project, &["apps:destroy", "hello", "-y"]).ok();
    let last = used(&ada);
    assert!(last >= day, "{last}");
    wait_until("nothing runs", LIMIT, || {
        json(&ada, &project, &["account:usage:running", "--json"]) == serde_json::json!([])
    });
    assert_eq!(json(&ada, &project, &["account:invoices", "--json"]), serde_json::json!([]), "no period is over");
    assert!(ada.run(&["account:usage"]).ok().contains("EUR"));
}

//! Choosing among replicas, keeping connections, and what is tried again.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::*;
use crate::server::domain::Canary;

/// Answers its requests over one connection, counting connections; closes after each answer when told to.
async fn counted(name: &'static str, per_connection: usize) -> (Backend, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    let backend = raw_app(name, move |mut stream| {
        counter.fetch_add(1, SeqCst);
        async move {
            for _ in 0..per_connection {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            }
        }
    })
    .await;
    (backend, connections)
}

#[tokio::test]
async fn connections_are_kept() {
    let (backend, connections) = counted("a", 1000).await;
    let stage = Stage::serving(&[backend]).await;
    for _ in 0..50 {
        assert_eq!(stage.get("/").await.status, 200);
    }
    assert_eq!(connections.load(SeqCst), 1);
}

#[tokio::test]
async fn a_stale_connection_is_never_seen() {
    // It promises keep-alive and closes after every answer.
    let (backend, connections) = counted("a", 1).await;
    let stage = Stage::serving(&[backend]).await;
    for _ in 0..50 {
        assert_eq!(stage.get("/").await.status, 200);
    }
    assert_eq!(connections.load(SeqCst), 50);
}

#[tokio::test]
async fn a_connection_that_dies_under_a_get_is_replaced() {
    // Reads the second request of a connection and hangs up on it.
    let backend = raw_app("a", |mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        let _ = stream.read(&mut [0; 100]).await;
    })
    .await;
    let stage = Stage::serving(&[backend]).await;
    assert_eq!(stage.get("/").await.status, 200);
    assert_eq!(stage.get("/").await.status, 200, "repeated on a fresh connection");
    let post = || Request::post("/").header("host", "shop.test").body(empty()).unwrap();
    assert_eq!(stage.request(post()).await.unwrap().status, 200);
    assert_eq!(stage.request(post()).await.unwrap().status, 502, "the app may have acted on it: not repeated");
}

#[tokio::test]
async fn an_upload_does_not_use_a_connection_that_was_idle_for_long() {
    let (backend, connections) = counted("a", 1000).await;
    let stage = Stage::serving(&[backend]).await;
    stage.get("/").await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let post = Request::post("/").header("host", "shop.test").body(empty()).unwrap();
    assert_eq!(stage.request(post).await.unwrap().status, 200);
    assert_eq!(connections.load(SeqCst), 2);
    stage.get("/").await;
    assert_eq!(connections.load(SeqCst), 2);
}

#[tokio::test]
async fn idle_connections_are_closed_in_time_and_with_their_backend() {
    let open = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&open);
    let backend = raw_app("a", move |mut stream| {
        let counter = Arc::clone(&counter);
        async move {
            counter.fetch_add(1, SeqCst);
            while let Ok(1..) = stream.read(&mut [0; 4096]).await {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            }
            counter.fetch_sub(1, SeqCst);
        }
    })
    .await;
    let config = RouterConfig { backend_idle_timeout: Duration::from_millis(300), ..RouterConfig::default() };
    let stage = Stage::new(config, &shop(std::slice::from_ref(&backend))).await;
    stage.get("/").await;
    assert_eq!(open.load(SeqCst), 1);
    eventually("closed after its time", || open.load(SeqCst) == 0).await;

    let stage = Stage::serving(&[backend]).await;
    stage.get("/").await;
    assert_eq!(open.load(SeqCst), 1);
    stage.publish(&[("shop.test", RouteState::ScaledToZero)]);
    eventually("closed with its backend", || open.load(SeqCst) == 0).await;
}

#[tokio::test]
async fn equals_take_turns_and_the_busy_are_spared() {
    let (free, busy) = (named("free").await, silent("busy").await);
    let stage = Stage::serving(&[free.clone(), named("other").await]).await;
    let mut counts = HashMap::new();
    for _ in 0..40 {
        *counts.entry(stage.get("/").await.body).or_insert(0) += 1;
    }
    assert_eq!((counts["free"], counts["other"]), (20, 20));

    let stage = Stage::serving(&[free, busy.clone()]).await;
    let mut hanging = Vec::new();
    for _ in 0..4 {
        let mut client = stage.connect().await;
        client.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        hanging.push(client);
    }
    assert!(stage.inflight.requests(&busy) > 0);
    for _ in 0..40 {
        assert_eq!(stage.get("/").await.body, "free");
    }
}

#[tokio::test]
async fn a_replica_that_refuses_costs_nothing() {
    let (dead, alive) = (nobody("dead").await, mirror("alive").await);
    let stage = Stage::serving(&[dead, alive]).await;
    for _ in 0..6 {
        let post = Request::post("/").header("host", "shop.test").body(full("the body")).unwrap();
        let seen = stage.request(post).await.unwrap();
        assert!(seen.status == 200 && seen.body.ends_with("\n\nthe body"), "{seen:?}");
    }
}

#[tokio::test]
async fn when_all_refuse_the_newest_table_is_asked() {
    // Accepts nothing, but takes long enough to say so that the table changes meanwhile.
    let config = RouterConfig { connect_timeout: Duration::from_millis(300), ..RouterConfig::default() };
    let full_queue = full_queue().await;
    let stage = Stage::new(config, &shop(&[backend("stuck", full_queue.0)])).await;
    let request = stage.get("/");
    let swap = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stage.publish(&shop(&[named("new").await]));
    };
    let (seen, ()) = tokio::join!(request, swap);
    assert_eq!((seen.status.as_u16(), seen.body.as_str()), (200, "new"));
}

/// A listener whose queue is full: connecting to it hangs.
async fn full_queue() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
        held.push(stream);
    }
    (address, listener, held)
}

/// `shop.test`, whose canary is the second app of the table.
fn with_canary(states: &[(&str, RouteState)], weight: u8) -> RouteTable {
    let mut table = table(states);
    let app = AppName::parse("secret-name-1").unwrap();
    let host = Hostname::parse("shop.test").unwrap();
    let route = Route { canary: Some(Canary { app, weight }), ..(*table.hosts[&host]).clone() };
    table.hosts.insert(host, Arc::new(route));
    table
}

async fn named(name: &'static str) -> Backend {
    app(name, move |_| async move { Response::new(full(name)) }).await
}

#[tokio::test]
async fn a_canary_gets_exactly_its_part_across_tables() {
    let (main, canary) = (named("main").await, named("canary").await);
    let states = [
        ("shop.test", RouteState::Serving(vec![main.clone()])),
        ("next.test", RouteState::Serving(vec![canary.clone()])),
    ];
    let stage = Stage::new(RouterConfig::default(), &states).await;
    let mut seen = Vec::new();
    for round in 0..4 {
        // A table is published for every change of any app.
        stage.table.send_replace(Arc::new(with_canary(&states, 7)));
        for _ in 0..[13, 50, 100, 37][round] {
            seen.push(stage.get("/").await.body);
        }
    }
    for hundred in seen.windows(100) {
        assert_eq!(hundred.iter().filter(|body| *body == "canary").count(), 7);
    }
    for (weight, expected) in [(0, "main"), (100, "canary")] {
        stage.table.send_replace(Arc::new(with_canary(&states, weight)));
        // The router follows in its own time.
        until_all(&stage, expected).await;
    }
}

#[tokio::test]
async fn a_canary_that_does_not_serve_takes_no_visitor_away() {
    let main = named("main").await;
    let gone = backend("gone", ([127, 0, 0, 1], 1).into());
    for state in [RouteState::Failing, RouteState::Maintenance, RouteState::Serving(vec![gone])] {
        let states = [("shop.test", RouteState::Serving(vec![main.clone()])), ("next.test", state)];
        let stage = Stage::new(RouterConfig::default(), &states).await;
        stage.table.send_replace(Arc::new(with_canary(&states, 100)));
        until_all(&stage, "main").await;
    }
}

/// Ten in a row, all answered by this app.
async fn until_all(stage: &Stage, name: &str) {
    let all = async {
        let mut row = 0;
        while row < 10 {
            row = if stage.get("/").await.body == name { row + 1 } else { 0 };
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), all).await.unwrap();
}

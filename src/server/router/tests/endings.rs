//! Table swaps, drains, shutdown, and clients that take their time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use super::*;

/// Runs `clients` keep-alive clients until `stop`; how many answers came, and what went wrong.
async fn load(address: SocketAddr, clients: usize, stop: Arc<AtomicBool>) -> (usize, Vec<String>) {
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..clients {
        let stop = Arc::clone(&stop);
        tasks.spawn(async move {
            let (mut answers, mut failures) = (0, Vec::new());
            let mut connection = None;
            while !stop.load(SeqCst) {
                if connection.is_none() {
                    let Ok(stream) = TcpStream::connect(address).await else { break };
                    let (sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
                    tokio::spawn(driver);
                    connection = Some(sender);
                }
                let sender = connection.as_mut().unwrap();
                if sender.ready().await.is_err() {
                    connection = None;
                    continue;
                }
                let method = if number % 2 == 0 { "GET" } else { "POST" };
                let body = if number % 2 == 0 { empty() } else { full("some body") };
                let request =
                    Request::builder().method(method).uri("/").header("host", "shop.test").body(body).unwrap();
                match sender.send_request(request).await {
                    Ok(response) if response.status() == 200 => match response.into_body().collect().await {
                        Ok(_) => answers += 1,
                        Err(error) => failures.push(format!("{method} body: {error:?}")),
                    },
                    Ok(response) => failures.push(format!("{method}: {}", response.status())),
                    Err(error) => failures.push(format!("{method}: {error:?}")),
                }
            }
            (answers, failures)
        });
    }
    let mut total = (0, Vec::new());
    while let Some(done) = tasks.join_next().await {
        let (answers, failures) = done.unwrap();
        total.0 += answers;
        total.1.extend(failures);
    }
    total
}

/// An app that can be killed: once killed it accepts nothing and drops its connections.
async fn mortal(name: String) -> (Backend, CancellationToken) {
    let killed = CancellationToken::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let token = killed.clone();
    tokio::spawn(async move {
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => accepted.unwrap().0,
                () = token.cancelled() => return,
            };
            let token = token.clone();
            tokio::spawn(async move {
                let service = service_fn(|request: Request<Incoming>| async {
                    request.into_body().collect().await.map(|_| Response::new(full("fine")))
                });
                let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::select! { _ = served => {}, () = token.cancelled() => {} }
            });
        }
    });
    (backend(&name, address), killed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_while_replicas_come_and_go() {
    let (mut current, mut kill) = mortal("generation-0".into()).await;
    let stage = Stage::serving(std::slice::from_ref(&current)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients = tokio::spawn(load(stage.address, 8, Arc::clone(&stop)));
    for generation in 1..=40 {
        let (next, next_kill) = mortal(format!("generation-{generation}")).await;
        stage.publish(&shop(std::slice::from_ref(&next)));
        // The old one dies the instant it is said to be drained.
        tokio::time::timeout(SOON, stage.inflight.draining(&current)).await.expect("drains");
        kill.cancel();
        (current, kill) = (next, next_kill);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.store(true, SeqCst);
    let (answers, failures) = clients.await.unwrap();
    assert_eq!(failures, Vec::<String>::new());
    assert!(answers > 500, "{answers}");
}

#[tokio::test]
async fn draining_waits_for_the_last_answer_and_for_the_table() {
    let release = CancellationToken::new();
    let token = release.clone();
    let slow = app("slow", move |_| {
        let token = token.clone();
        async move {
            token.cancelled().await;
            Response::new(full("late"))
        }
    })
    .await;
    let stage = Stage::serving(std::slice::from_ref(&slow)).await;
    tokio::time::timeout(SOON, stage.inflight.draining(&nobody("stranger").await)).await.expect("never in a table");
    let waiting = Duration::from_millis(100);
    assert!(tokio::time::timeout(waiting, stage.inflight.draining(&slow)).await.is_err(), "still in the table");

    let request = stage.get("/");
    let deploy = async {
        eventually("in flight", || stage.inflight.requests(&slow) == 1).await;
        stage.publish(&shop(&[named("new").await]));
        assert!(tokio::time::timeout(waiting, stage.inflight.draining(&slow)).await.is_err(), "still in flight");
        release.cancel();
        tokio::time::timeout(SOON, stage.inflight.draining(&slow)).await.expect("drained");
    };
    let (seen, ()) = tokio::join!(request, deploy);
    assert_eq!(seen.body, "late");
}

#[tokio::test]
async fn a_backend_that_comes_back_serves_again() {
    let (one, two) = (named("one").await, named("two").await);
    let stage = Stage::serving(std::slice::from_ref(&one)).await;
    for _ in 0..5 {
        stage.publish(&shop(std::slice::from_ref(&two)));
        tokio::time::timeout(SOON, stage.inflight.draining(&one)).await.expect("drained");
        assert_eq!(stage.get("/").await.body, "two");
        stage.publish(&shop(std::slice::from_ref(&one)));
        tokio::time::timeout(SOON, stage.inflight.draining(&two)).await.expect("drained");
        assert_eq!(stage.get("/").await.body, "one");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_loses_no_request_when_another_takes_the_port() {
    let (backend, _kill) = mortal("a".into()).await;
    let (_table, receiver) = watch::channel(Arc::new(table(&shop(std::slice::from_ref(&backend)))));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let inherit = || TcpListener::from_std(listener.try_clone().unwrap()).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut shutdown = CancellationToken::new();
    let start = |token: &CancellationToken| {
        Router::start(inherit(), RouterConfig::default(), receiver.clone(), token.clone()).1
    };
    let mut running = start(&shutdown);
    let clients = tokio::spawn(load(address, 8, Arc::clone(&stop)));
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let next = CancellationToken::new();
        let newer = start(&next);
        shutdown.cancel();
        tokio::time::timeout(SOON, running).await.expect("stops in time").unwrap();
        (shutdown, running) = (next, newer);
    }
    stop.store(true, SeqCst);
    let (answers, failures) = clients.await.unwrap();
    assert_eq!(failures, Vec::<String>::new());
    assert!(answers > 500, "{answers}");
}

#[tokio::test]
async fn shutdown_finishes_what_is_in_flight_and_closes_what_is_idle() {
    let started = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&started);
    let backend = app("slow", move |_| {
        counter.fetch_add(1, SeqCst);
        async {
            tokio::time::sleep(Duration::from_millis(800)).await;
            Response::new(full("late"))
        }
    })
    .await;
    let Stage { address, shutdown, router, inflight, table, .. } = Stage::serving(&[backend]).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    let mut busy = TcpStream::connect(address).await.unwrap();
    busy.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").await.unwrap();
    eventually("in flight", || started.load(SeqCst) == 1).await;
    let begin = std::time::Instant::now();
    shutdown.cancel();
    assert_eq!(read_to_end(&mut idle).await, "");
    assert!(begin.elapsed() < Duration::from_millis(790), "an idle connection does not wait for busy ones");
    let answer = read_to_end(&mut busy).await;
    assert!(answer.ends_with("late") && answer.contains("connection: close"), "{answer}");
    tokio::time::timeout(SOON, router).await.expect("ends").unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    drop((inflight, table));
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let config = RouterConfig { drain_timeout: Duration::from_millis(700), ..RouterConfig::default() };
    let hanging = silent("hanging").await;
    let stage = Stage::new(config, &shop(std::slice::from_ref(&hanging))).await;
    let mut client = stage.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").await.unwrap();
    eventually("in flight", || stage.inflight.requests(&hanging) == 1).await;
    let begin = std::time::Instant::now();
    stage.shutdown.cancel();
    tokio::time::timeout(SOON, stage.router).await.expect("ends").unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(700));
    assert_eq!(stage.inflight.requests(&hanging), 0);
}

#[tokio::test]
async fn slow_clients_are_not_waited_for() {
    let config = RouterConfig {
        header_timeout: Duration::from_millis(300),
        keep_alive_timeout: Duration::from_millis(900),
        ..RouterConfig::default()
    };
    let slow = app("slow", |_| async {
        tokio::time::sleep(Duration::from_millis(1200)).await;
        Response::new(full("late"))
    })
    .await;
    let stage = Stage::new(
        config,
        &[("shop.test", shop(&[named("a").await])[0].1.clone()), ("slow.test", RouteState::Serving(vec![slow]))],
    )
    .await;
    let lasted = |begin: std::time::Instant, at_least: u64, below: u64| {
        let lasted = begin.elapsed().as_millis() as u64;
        assert!((at_least..below).contains(&lasted), "{lasted} ms");
    };
    let begin = std::time::Instant::now();
    read_to_end(&mut stage.connect().await).await;
    lasted(begin, 290, 800);

    // A byte now and then does not help.
    let mut client = stage.connect().await;
    let begin = std::time::Instant::now();
    for byte in b"GET / HT" {
        let _ = client.write_all(&[*byte]).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest).await;
    lasted(begin, 290, 800);

    // Between requests there is more time, within the next head there is not.
    let mut client = stage.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").await.unwrap();
    read_until(&mut client, "\r\n\r\na").await;
    let begin = std::time::Instant::now();
    read_to_end(&mut client).await;
    lasted(begin, 850, 1500);
    let mut client = stage.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").await.unwrap();
    read_until(&mut client, "\r\n\r\na").await;
    client.write_all(b"GET").await.unwrap();
    let begin = std::time::Instant::now();
    read_to_end(&mut client).await;
    lasted(begin, 250, 800);

    // A slow app is none of the client's fault.
    let answer = stage.raw("GET / HTTP/1.1\r\nHost: slow.test\r\nConnection: close\r\n\r\n").await;
    assert!(answer.ends_with("late"), "{answer}");
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_their_turn() {
    let config = RouterConfig { max_connections: 2, ..RouterConfig::default() };
    let stage = Stage::new(config, &shop(&[named("a").await])).await;
    let ask = b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n";
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = stage.connect().await;
        client.write_all(ask).await.unwrap();
        read_until(&mut client, "\r\n\r\na").await;
        held.push(client);
    }
    let mut third = stage.connect().await;
    third.write_all(ask).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(200), third.read(&mut [0; 10])).await;
    assert!(early.is_err(), "it waits");
    held.pop();
    read_until(&mut third, "\r\n\r\na").await;

    stage.shutdown.cancel();
    tokio::time::timeout(SOON, stage.router).await.expect("being full does not hinder its end").unwrap();
}

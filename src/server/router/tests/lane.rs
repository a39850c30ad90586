//! The fast lane beside the other half: visitors cannot tell them apart.

use super::*;

/// The same request by both halves: `Connection: close` is not for the lane.
async fn both(stage: &Stage, lines: &str) -> [String; 2] {
    let mut client = stage.connect().await;
    client.write_all(format!("GET /p HTTP/1.1\r\nHost: shop.test\r\n{lines}\r\n").as_bytes()).await.unwrap();
    let lane = read_until(&mut client, "end").await;
    let other = stage.raw(format!("GET /p HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n{lines}\r\n")).await;
    [lane, other]
}

/// Lines in order, without what differs from request to request.
fn comparable(text: &str) -> Vec<String> {
    let varies = ["x-request-id", "x-request-start", "date", "connection: close"];
    let mut lines: Vec<_> = text.to_lowercase().lines().map(str::to_owned).collect();
    lines.retain(|line| !varies.iter().any(|name| line.starts_with(name)));
    lines.sort();
    lines
}

#[tokio::test]
async fn both_halves_tell_the_app_and_the_visitor_the_same() {
    let backend = app("a", |request: Request<Incoming>| async move {
        let mut text = format!("{} {} {:?}\n", request.method(), request.uri(), request.version());
        for (name, value) in request.headers() {
            text += &format!("{name}: {}\n", value.to_str().unwrap());
        }
        Response::builder().header("x-own", "1").header("keep-alive", "5").body(full(text + "end")).unwrap()
    })
    .await;
    let stage = Stage::serving(&[backend]).await;
    let [lane, other] = both(&stage, "Accept: */*\r\nCookie: a=1; b=2\r\nUser-Agent: x\r\n").await;
    assert_eq!(comparable(&lane), comparable(&other));
    for name in ["x-request-id: ", "x-request-start: ", "x-forwarded-for: 127.0.0.1"] {
        assert!(lane.contains(name) && other.contains(name), "{name} in\n{lane}\n{other}");
    }
    assert!(lane.matches("date: ").count() == 1 && !lane.contains("keep-alive"), "{lane}");
}

/// An app that answers with these bytes, and hangs up afterwards if told to.
async fn answering(bytes: &'static str, hang_up: bool) -> Backend {
    raw_app("raw", move |mut stream| async move {
        while let Ok(1..) = stream.read(&mut [0; 4096]).await {
            for piece in bytes.as_bytes().chunks(7) {
                stream.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            if hang_up {
                return;
            }
        }
    })
    .await
}

#[tokio::test]
async fn whatever_the_framing_the_next_answer_is_the_next() {
    for (bytes, hang_up, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, "\r\n\r\nhello"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, "\r\n\r\n"),
        ("HTTP/1.1 204 No Content\r\n\r\n", false, "\r\n\r\n"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nX-Sum: 1\r\n\r\n",
            false,
            "\r\n0\r\nX-Sum: 1\r\n\r\n",
        ),
        ("HTTP/1.1 200 OK\r\n\r\nhello", true, "\r\n0\r\n\r\n"),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", true, "\r\n\r\nhello"),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", true, "\r\n\r\nhello"),
        (
            "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            false,
            "\r\n\r\nhello",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 junk\r\n\r\n", false, "\r\n\r\nhello"),
    ] {
        let stage = Stage::serving(&[answering(bytes, hang_up).await]).await;
        let mut client = stage.connect().await;
        for _ in 0..3 {
            client.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").await.unwrap();
            let answer = read_until(&mut client, body).await;
            assert!(answer.starts_with("HTTP/1.1 20") && !answer.contains("junk"), "{bytes:?}: {answer}");
            assert!(answer.ends_with(body), "{bytes:?}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_broken_answer_is_a_page_or_an_end() {
    for bytes in [
        "what?\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent",
    ] {
        let stage = Stage::serving(&[answering(bytes, true).await]).await;
        let mut client = stage.connect().await;
        for _ in 0..2 {
            let ask = b"GET / HTTP/1.1\r\nHost: shop.test\r\nAccept: application/json\r\n\r\n";
            client.write_all(ask).await.unwrap();
            let page = read_until(&mut client, "request_id").await;
            assert!(page.starts_with("HTTP/1.1 502") && page.contains("\"no_answer\""), "{bytes:?}: {page}");
            read_until(&mut client, "\n").await;
        }
    }
    let stage =
        Stage::serving(&[answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", false).await]).await;
    let mut client = stage.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").await.unwrap();
    assert!(!read_to_end(&mut client).await.contains("\r\n0\r\n\r\n"), "it is not taken for whole");
}

#[tokio::test]
async fn one_connection_goes_from_half_to_half_and_requests_may_wait_in_line() {
    let stage = Stage::serving(&[mirror("a").await]).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    let post = "POST /3 HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 4\r\n\r\nbody";
    let last = "GET /5 HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n";
    let answer = stage.raw(format!("{}{}{post}{}{last}", get("/1"), get("/2"), get("/4"))).await;
    let places: Vec<_> =
        ["GET /1", "GET /2", "POST /3", "\n\nbody", "GET /4", "GET /5"].map(|text| answer.find(text)).into();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} in {answer}");
    let seen = stage.traffic.counts();
    assert_eq!(seen[0].classes, [0, 5, 0, 0, 0]);
}

#[tokio::test]
async fn large_answers_pass_whole_and_slow_apps_are_given_up() {
    let size = 3 << 20;
    let backend = app("large", move |_| async move { Response::new(full(vec![b'x'; size])) }).await;
    let config = RouterConfig { response_timeout: Some(Duration::from_millis(300)), ..RouterConfig::default() };
    let states = [
        ("shop.test", RouteState::Serving(vec![backend])),
        ("slow.test", RouteState::Serving(vec![silent("s").await])),
    ];
    let stage = Stage::new(config, &states).await;
    let mut client = stage.connect().await;
    for _ in 0..3 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").await.unwrap();
        let head = read_until(&mut client, "\r\n\r\n").await;
        let mut left = size - (head.len() - head.find("\r\n\r\n").unwrap() - 4);
        let mut part = vec![0; 1 << 16];
        while left > 0 {
            let most = left.min(part.len());
            let read = client.read(&mut part[..most]).await.unwrap();
            assert!(read > 0 && part[..read].iter().all(|byte| *byte == b'x'));
            left -= read;
        }
    }
    client.write_all(b"GET / HTTP/1.1\r\nHost: slow.test\r\n\r\n").await.unwrap();
    let page = read_until(&mut client, "Request id").await;
    assert!(page.starts_with("HTTP/1.1 504"), "{page}");
}

#[tokio::test]
async fn an_app_that_never_comes_to_its_answer_is_given_up() {
    let backend = raw_app("endless", |mut stream| async move {
        let words = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".repeat(100);
        // Until the router hangs up.
        while stream.write_all(&words).await.is_ok() {}
    })
    .await;
    let stage = Stage::serving(&[backend]).await;
    let mut client = stage.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").await.unwrap();
    let page = read_until(&mut client, "Request id").await;
    assert!(page.starts_with("HTTP/1.1 502"), "{page}");
}

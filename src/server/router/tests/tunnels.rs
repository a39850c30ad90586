//! WebSockets and other changes of protocol.

use futures_util::{SinkExt, StreamExt};
use http::header::{CONNECTION, UPGRADE};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::*;

/// Echoes WebSocket messages.
async fn echo(name: &str) -> Backend {
    app(name, |mut request| async move {
        let Some(key) = request.headers().get("sec-websocket-key") else { return Response::new(full("no socket")) };
        let accept = derive_accept_key(key.as_bytes());
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let io = TokioIo::new(upgrade.await.unwrap());
            let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
            while let Some(Ok(message)) = socket.next().await {
                if message.is_text() || message.is_binary() {
                    socket.send(message).await.unwrap();
                }
            }
        });
        let response = Response::builder().status(101).header(CONNECTION, "Upgrade").header(UPGRADE, "websocket");
        response.header("sec-websocket-accept", accept).body(empty()).unwrap()
    })
    .await
}

async fn socket(stage: &Stage) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
    let mut request = format!("ws://{}/socket", stage.address).into_client_request().unwrap();
    request.headers_mut().insert("host", "shop.test".parse().unwrap());
    tokio_tungstenite::client_async(request, MaybeTlsStream::Plain(stage.connect().await)).await.unwrap().0
}

async fn echoes(socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>, text: &str) {
    socket.send(Message::text(text)).await.unwrap();
    let answer = tokio::time::timeout(SOON, socket.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(answer.to_text().unwrap(), text);
}

#[tokio::test]
async fn a_websocket_outlives_its_table_and_holds_up_the_drain() {
    let (old, new) = (echo("old").await, echo("new").await);
    let stage = Stage::serving(std::slice::from_ref(&old)).await;
    let mut before = socket(&stage).await;
    for round in 0..100 {
        echoes(&mut before, &format!("round {round}")).await;
    }
    echoes(&mut before, &"x".repeat(3 * 1024 * 1024)).await;

    stage.publish(&shop(std::slice::from_ref(&new)));
    let mut drained = std::pin::pin!(stage.inflight.draining(&old));
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut drained).await.is_err(), "it is still in use");
    echoes(&mut before, "still here").await;
    let mut after = socket(&stage).await;
    echoes(&mut after, "new here").await;
    assert_eq!((stage.inflight.requests(&old), stage.inflight.requests(&new)), (1, 1));

    before.close(None).await.unwrap();
    while let Some(Ok(_)) = before.next().await {}
    drop(before);
    tokio::time::timeout(SOON, drained).await.expect("drained when the last socket is gone");
}

/// Answers 101 and then: reads to the end, and says only then how much there was.
async fn summing() -> Backend {
    raw_app("summing", |mut stream| async move {
        let head = read_until(&mut stream, "\r\n\r\n").await;
        assert!(head.contains("upgrade: sum\r\n") && head.contains("connection: upgrade\r\n"), "{head}");
        let early = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: sum\r\n\r\nhello ";
        stream.write_all(early.as_bytes()).await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        stream.write_all(format!("{} bytes", all.len()).as_bytes()).await.unwrap();
    })
    .await
}

const ASK: &str = "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: sum\r\n\r\n";

#[tokio::test]
async fn one_side_may_end_before_the_other() {
    let stage = Stage::serving(&[summing().await]).await;
    let mut client = stage.connect().await;
    // The client does not wait for the 101 before it goes on.
    client.write_all(format!("{ASK}early").as_bytes()).await.unwrap();
    let head = read_until(&mut client, "\r\n\r\nhello ").await;
    assert!(head.starts_with("HTTP/1.1 101") && head.contains("upgrade: sum\r\n"), "{head}");
    client.write_all(&[b'x'; 1000]).await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut client).await, "1005 bytes");
}

#[tokio::test]
async fn a_silent_tunnel_ends_when_configured() {
    let config = RouterConfig { tunnel_idle_timeout: Some(Duration::from_millis(300)), ..RouterConfig::default() };
    let stage = Stage::new(config, &shop(&[summing().await])).await;
    let mut client = stage.connect().await;
    client.write_all(ASK.as_bytes()).await.unwrap();
    read_until(&mut client, "hello ").await;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        client.write_all(b"x").await.unwrap();
    }
    let silent = std::time::Instant::now();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(SOON, client.read_to_end(&mut rest)).await.expect("it ends");
    assert!(silent.elapsed() > Duration::from_millis(200));
}

#[tokio::test]
async fn an_app_may_decline() {
    let stage = Stage::serving(&[mirror("a").await]).await;
    let mut client = stage.connect().await;
    for _ in 0..2 {
        client.write_all(ASK.as_bytes()).await.unwrap();
        let answer = read_until(&mut client, "x-request-start").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("upgrade: sum\n"), "{answer}");
    }
}

#[tokio::test]
async fn h2c_is_not_passed_on_and_nobody_is_switched_unasked() {
    let stage = Stage::serving(&[mirror("a").await]).await;
    let ask = "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n";
    let answer = stage.raw(ask).await.to_lowercase();
    assert!(answer.starts_with("http/1.1 200") && !answer.contains("h2c") && !answer.contains("http2"), "{answer}");

    let pushy = raw_app("pushy", |mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.read(&mut [0; 10]).await;
    })
    .await;
    let stage = Stage::serving(&[pushy]).await;
    assert_eq!(stage.get("/").await.status, 502);
}

/// RFC 8441's handshake.
fn connect(path: &str, protocol: &'static str) -> Request<BoxBody<Bytes, std::io::Error>> {
    let request = Request::connect(format!("https://shop.test{path}")).header("sec-websocket-version", "13");
    request.extension(hyper::ext::Protocol::from_static(protocol)).body(empty()).unwrap()
}

#[tokio::test]
async fn websockets_over_http2_become_ordinary_ones() {
    let backend = echo("a").await;
    for h2c in [false, true] {
        let rules = Rules { h2c, ..Rules::default() };
        let stage = Stage::ruled(rules, RouteState::Serving(vec![backend.clone()]), Neighbours::default()).await;
        let mut visitor = stage.visitor2().await;
        let mut sockets = Vec::new();
        for number in 0..3 {
            let answer = visitor.send_request(connect("/socket", "websocket")).await.unwrap();
            assert_eq!(answer.status(), 200);
            for name in ["upgrade", "connection", "sec-websocket-accept", "content-length"] {
                assert!(!answer.headers().contains_key(name), "{name}");
            }
            let io = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
            let mut socket = WebSocketStream::from_raw_socket(io, Role::Client, None).await;
            socket.send(Message::text(format!("socket {number}"))).await.unwrap();
            sockets.push(socket);
        }
        assert_eq!(stage.inflight.requests(&backend), 3, "a deploy waits for them");
        for (number, socket) in sockets.iter_mut().enumerate() {
            for text in [format!("socket {number}"), "x".repeat(1 << 20)] {
                if text.len() > 10 {
                    socket.send(Message::text(text.clone())).await.unwrap();
                }
                let answer = tokio::time::timeout(SOON, socket.next()).await.unwrap().unwrap().unwrap();
                assert!(answer.to_text().unwrap() == text);
            }
        }
        let mut first = sockets.remove(0);
        first.close(None).await.unwrap();
        while let Some(Ok(_)) = first.next().await {}
        drop((first, sockets));
        eventually("they are over", || stage.inflight.requests(&backend) == 0).await;
        assert_eq!(stage.traffic.counts()[0].classes, [3, 0, 0, 0, 0], "counted as what they are");
    }
}

#[tokio::test]
async fn a_handshake_over_http2_that_the_app_does_not_take_is_refused() {
    let backend = app("a", |request: Request<Incoming>| async move {
        let answer = match request.uri().path() {
            "/none" => Response::builder().status(404),
            // Whoever hears 200 would take it for an open socket.
            "/page" => Response::builder().status(200),
            _ => {
                let switching = Response::builder().status(101).header(CONNECTION, "Upgrade");
                switching.header(UPGRADE, "websocket").header("sec-websocket-accept", "made up")
            }
        };
        answer.body(empty()).unwrap()
    })
    .await;
    let stage = Stage::serving(std::slice::from_ref(&backend)).await;
    let mut visitor = stage.visitor2().await;
    for (path, protocol, status) in [
        ("/none", "websocket", 404),
        ("/page", "websocket", 502),
        ("/odd", "websocket", 502),
        ("/none", "connect-udp", 400),
    ] {
        let answer = visitor.send_request(connect(path, protocol)).await.unwrap();
        assert_eq!(answer.status(), status, "{path} {protocol}");
    }
    eventually("nothing is left", || stage.inflight.requests(&backend) == 0).await;
}

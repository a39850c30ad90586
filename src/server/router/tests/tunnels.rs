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

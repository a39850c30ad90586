//! Serving the door's connections: HTTP/1.1 only (git over HTTP/2 has hung before, and proxies in front speak 1.1),
//! bounded in number, patient with slow bodies but not with slow headers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::future::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 2048;
/// For a request's headers to arrive, and for the next request on a kept connection.
const HEADERS: Duration = Duration::from_secs(60);
/// After an accept failed, most likely for want of file descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// Serves `router` until `closed`; then idle connections end at once and requests under way are finished.
pub fn serve(listener: TcpListener, router: Router, closed: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        let (graceful, places) = (GracefulShutdown::new(), Arc::new(Semaphore::new(CONNECTIONS)));
        while let Some(Ok(place)) = places.clone().acquire_owned().with_cancellation_token(&closed).await {
            match listener.accept().with_cancellation_token(&closed).await {
                None => break,
                Some(Err(error)) => {
                    tracing::error!(cause = %error, "a connection to the API could not be accepted");
                    tokio::time::sleep(BREATH).await;
                }
                Some(Ok((stream, peer))) => {
                    let connection = graceful.watch(connection(stream, peer, router.clone()));
                    tokio::spawn(async move {
                        if let Err(error) = connection.await {
                            tracing::debug!(client.address = %peer, cause = %error, "a connection broke");
                        }
                        drop(place);
                    });
                }
            }
        }
        drop(listener);
        graceful.shutdown().await;
    })
}

fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = Box<dyn std::error::Error + Send + Sync>> {
    // Answers are small and written at once; a refused option costs a little latency only.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned()
}

#[cfg(test)]
mod tests {
    use axum::routing::{get, post};
    use bytes::Bytes;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn served(router: Router) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, closed) = (listener.local_addr().unwrap(), CancellationToken::new());
        (address, closed.clone(), serve(listener, router, closed))
    }

    async fn ask(stream: &mut TcpStream, text: &str) -> String {
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let length = stream.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    }

    #[tokio::test]
    async fn the_handler_knows_who_asks_and_connections_are_kept() {
        let who = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() };
        let (address, closed, task) = served(Router::new().route("/", get(who))).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let me = stream.local_addr().unwrap().to_string();
        for _ in 0..2 {
            let answer = ask(&mut stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(&me), "{answer}");
        }
        closed.cancel();
        tokio::time::timeout(Duration::from_secs(5), task).await.expect("an idle connection does not hold it").unwrap();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0, "and is closed");
    }

    #[tokio::test]
    async fn a_request_under_way_is_finished() {
        let echo = |body: Bytes| async move { body };
        let (address, closed, task) = served(Router::new().route("/", post(echo))).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nExpect: 100-continue\r\n\r\n";
        assert!(ask(&mut stream, head).await.starts_with("HTTP/1.1 100"));
        closed.cancel();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!task.is_finished(), "it waits");
        assert!(TcpStream::connect(address).await.is_err(), "nobody else is let in");
        let answer = ask(&mut stream, "abcdef").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("abcdef"), "{answer}");
        tokio::time::timeout(Duration::from_secs(5), task).await.expect("then it ends").unwrap();
    }
}

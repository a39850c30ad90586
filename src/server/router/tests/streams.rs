//! Bodies of any size, both ways, as they come.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::task::{Context, Poll};

use http_body::{Body, Frame};
use http_body_util::StreamBody;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::*;

const MEGABYTE: usize = 1024 * 1024;

/// So many megabytes, made as they are asked for.
fn megabytes(count: usize) -> BoxBody<Bytes, std::io::Error> {
    let chunk = Bytes::from(vec![b'x'; MEGABYTE / 4]);
    let chunks = (0..count * 4).map(move |_| Ok::<_, Infallible>(Frame::data(chunk.clone())));
    StreamBody::new(tokio_stream::iter(chunks)).map_err(|never| match never {}).boxed()
}

/// A body that is fed by hand.
pub(super) fn fed() -> (mpsc::Sender<Frame<Bytes>>, BoxBody<Bytes, std::io::Error>) {
    let (sender, receiver) = mpsc::channel(1);
    let body = StreamBody::new(ReceiverStream::new(receiver).map(Ok::<_, std::io::Error>));
    (sender, BodyExt::boxed(body))
}

pub(super) fn data(text: &'static str) -> Frame<Bytes> {
    Frame::data(Bytes::from_static(text.as_bytes()))
}

async fn counting() -> Backend {
    app("counting", |request| async {
        let mut body = request.into_body();
        let mut count = 0;
        while let Some(frame) = body.frame().await {
            count += frame.unwrap().into_data().map_or(0, |data| data.len());
        }
        Response::new(full(count.to_string()))
    })
    .await
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn large_uploads_and_downloads_are_not_held() {
    let stage = Stage::new(
        RouterConfig::default(),
        &[
            ("up.test", RouteState::Serving(vec![counting().await])),
            ("down.test", RouteState::Serving(vec![app("down", |_| async { Response::new(megabytes(200)) }).await])),
        ],
    )
    .await;
    let before = resident();
    let peak = Arc::new(AtomicU64::new(0));
    let watching = Arc::clone(&peak);
    let watch = tokio::spawn(async move {
        loop {
            watching.fetch_max(resident(), SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let upload = Request::post("/").header("host", "up.test").body(megabytes(200)).unwrap();
    assert_eq!(stage.request(upload).await.unwrap().body, (200 * MEGABYTE).to_string());
    let download = Request::get("/").header("host", "down.test").body(empty()).unwrap();
    let mut body = stage.open(download).await.unwrap().into_body();
    let mut count = 0;
    while let Some(frame) = body.frame().await {
        count += frame.unwrap().into_data().map_or(0, |data| data.len());
    }
    assert_eq!(count, 200 * MEGABYTE);
    watch.abort();
    let grown = peak.load(SeqCst).saturating_sub(before);
    assert!(grown < 16 * MEGABYTE as u64, "grew by {grown} bytes");
}

#[tokio::test]
async fn a_slow_reader_slows_the_app() {
    let produced = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&produced);
    let backend = app("fast", move |_| {
        let counter = Arc::clone(&counter);
        async move {
            let chunk = Bytes::from(vec![b'x'; MEGABYTE / 4]);
            let chunks = (0..400).map(move |_| {
                counter.fetch_add(chunk.len() as u64, SeqCst);
                Ok::<_, std::io::Error>(Frame::data(chunk.clone()))
            });
            Response::new(BodyExt::boxed(StreamBody::new(tokio_stream::iter(chunks))))
        }
    })
    .await;
    let stage = Stage::serving(&[backend]).await;
    let mut client = stage.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n").await.unwrap();
    read_until(&mut client, "\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let waiting = produced.load(SeqCst);
    assert!(waiting < 30 * MEGABYTE as u64, "{waiting} bytes are under way");
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() > 99 * MEGABYTE);
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    let (feed, body) = fed();
    let body = std::sync::Mutex::new(Some(body));
    let body = Arc::new(body);
    let backend = app("events", move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async move { Response::builder().header("content-type", "text/event-stream").body(body).unwrap() }
    })
    .await;
    let stage = Stage::serving(&[backend]).await;
    let mut client = stage.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").await.unwrap();
    read_until(&mut client, "text/event-stream").await;
    for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        feed.send(data(event)).await.unwrap();
        read_until(&mut client, event).await;
    }
    drop(feed);
    read_until(&mut client, "0\r\n\r\n").await;
}

#[tokio::test]
async fn both_directions_flow_at_once() {
    let backend = app("echo", |request| async {
        Response::new(BodyExt::boxed(request.into_body().map_err(std::io::Error::other)))
    })
    .await;
    let stage = Stage::serving(&[backend]).await;
    let (feed, body) = fed();
    let request = Request::post("/").header("host", "shop.test").body(body).unwrap();
    feed.send(data("first")).await.unwrap();
    let mut echo = stage.open(request).await.unwrap().into_body();
    assert_eq!(echo.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
    feed.send(data("second")).await.unwrap();
    assert_eq!(echo.frame().await.unwrap().unwrap().into_data().unwrap(), "second");
    drop(feed);
    assert!(echo.frame().await.is_none());
}

/// The app answers at once and at length, the client reads nothing before it has sent everything.
#[tokio::test]
async fn an_early_answer_does_not_stop_the_upload() {
    let received = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&received);
    let backend = app("early", move |request: Request<Incoming>| {
        let counter = Arc::clone(&counter);
        async move {
            tokio::spawn(async move {
                let mut body = request.into_body();
                while let Some(Ok(frame)) = body.frame().await {
                    counter.fetch_add(frame.into_data().map_or(0, |data| data.len() as u64), SeqCst);
                }
            });
            Response::new(megabytes(30))
        }
    })
    .await;
    let stage = Stage::serving(&[backend]).await;
    let mut client = stage.connect().await;
    let size = 60 * MEGABYTE;
    let head = format!("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    let chunk = vec![b'x'; MEGABYTE];
    let sending = async {
        for _ in 0..60 {
            client.write_all(&chunk).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), sending).await.expect("the upload goes on");
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() > 30 * MEGABYTE);
    assert_eq!(received.load(SeqCst), size as u64);
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let backend = app("trailers", |request| async {
        let collected = request.into_body().collect().await.unwrap();
        let sum = collected.trailers().unwrap()["x-sum"].clone();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-back", sum);
        let frames = [Ok::<_, std::io::Error>(data("body")), Ok(Frame::trailers(trailers))];
        let body = BodyExt::boxed(StreamBody::new(tokio_stream::iter(frames)));
        Response::builder().header("trailer", "x-back").body(body).unwrap()
    })
    .await;
    let stage = Stage::serving(&[backend]).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "42".parse().unwrap());
    let (feed, body) = fed();
    let request = Request::post("/").header("host", "shop.test").header("trailer", "x-sum").header("te", "trailers");
    let sending = tokio::spawn(async move {
        feed.send(data("up")).await.unwrap();
        feed.send(Frame::trailers(trailers)).await.unwrap();
    });
    let seen = stage.request(request.body(body).unwrap()).await.unwrap();
    sending.await.unwrap();
    assert_eq!((seen.body.as_str(), &seen.trailers.unwrap()["x-back"]), ("body", &"42".parse().unwrap()));
}

/// Tells when it is dropped before its end.
pub(super) struct Endless(pub(super) Arc<AtomicBool>);

impl Body for Endless {
    type Data = Bytes;
    type Error = std::io::Error;
    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        context.waker().wake_by_ref();
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 1024])))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_with_it() {
    let dropped = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&dropped);
    let backend = app("endless", move |request: Request<Incoming>| {
        let endless = Endless(Arc::clone(&flag));
        async move {
            if request.uri().path() == "/wait" {
                std::future::pending::<()>().await;
            }
            Response::new(BodyExt::boxed(endless))
        }
    })
    .await;
    let stage = Stage::serving(std::slice::from_ref(&backend)).await;
    for path in ["/stream", "/wait"] {
        dropped.store(false, SeqCst);
        let mut client = stage.connect().await;
        client.write_all(format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\n\r\n").as_bytes()).await.unwrap();
        eventually("it is in flight", || stage.inflight.requests(&backend) == 1).await;
        drop(client);
        eventually(path, || dropped.load(SeqCst) && stage.inflight.requests(&backend) == 0).await;
    }
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_not_taken_for_a_whole() {
    let failed = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&failed);
    let backend = app("picky", move |request: Request<Incoming>| {
        let flag = Arc::clone(&flag);
        async move {
            flag.store(request.into_body().collect().await.is_err(), SeqCst);
            Response::new(empty())
        }
    })
    .await;
    let stage = Stage::serving(&[backend]).await;
    let mut client = stage.connect().await;
    let part = "POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    client.write_all(part.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(client);
    eventually("the app sees that it broke off", || failed.load(SeqCst)).await;
}

#[tokio::test]
async fn an_app_killed_mid_answer_is_not_taken_for_done() {
    for head in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let backend = raw_app("dying", move |mut stream| async move {
            read_until(&mut stream, "\r\n\r\n").await;
            let part = if head.starts_with('C') { "part" } else { "4\r\npart\r\n" };
            stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{part}").as_bytes()).await.unwrap();
        })
        .await;
        let stage = Stage::serving(std::slice::from_ref(&backend)).await;
        let request = Request::get("/").header("host", "shop.test").body(empty()).unwrap();
        let mut body = stage.open(request).await.unwrap().into_body();
        let mut text = Vec::new();
        let failed = loop {
            match body.frame().await {
                Some(Ok(frame)) => text.extend_from_slice(&frame.into_data().unwrap()),
                Some(Err(_)) => break true,
                None => break false,
            }
        };
        assert!(failed, "{head}: ended as if whole");
        assert_eq!(text, b"part");
        eventually("it is no longer in flight", || stage.inflight.requests(&backend) == 0).await;
    }
}

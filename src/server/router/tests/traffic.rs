//! What is counted and what is written down.

use std::sync::Mutex;

use super::super::{Counts, Journal};
use super::*;

/// Of the only app, or of nobody.
fn counts(stage: &Stage, of_an_app: bool) -> Counts {
    let all = stage.traffic.counts();
    all.into_iter().find(|counts| counts.app.is_some() == of_an_app).unwrap()
}

#[tokio::test]
async fn requests_are_counted_by_app() {
    let backend = app("a", |request| async move {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::builder().status(if body.is_empty() { 200 } else { 404 }).body(full("12345")).unwrap()
    })
    .await;
    let stage = Stage::serving(&[backend]).await;
    stage.get("/").await;
    let post = Request::post("/").header("host", "shop.test").body(full("abc")).unwrap();
    stage.request(post).await.unwrap();
    stage.raw("GET / HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n").await;
    eventually("all are over", || counts(&stage, true).classes.iter().sum::<u64>() == 2).await;
    let seen = counts(&stage, true);
    assert_eq!((seen.classes, seen.received, seen.sent, seen.open), ([0, 1, 0, 1, 0], 3, 10, 0));
    assert_eq!(seen.buckets.iter().sum::<u64>(), 2);
    assert!(seen.seconds > 0.0 && seen.seconds < 5.0, "{}", seen.seconds);
    eventually("nobody's too", || counts(&stage, false).classes == [0, 0, 0, 1, 0]).await;
    assert_eq!(seen.app.unwrap().as_str(), "secret-name-0");

    // Counts go on over tables, as long as the app is there.
    let table = Arc::clone(&stage.table.borrow());
    stage.table.send_replace(Arc::new(RouteTable::clone(&table)));
    stage.get("/").await;
    eventually("counted on", || counts(&stage, true).classes[1] == 2).await;
}

#[tokio::test]
async fn what_is_under_way_tried_again_and_given_up_is_counted() {
    let (gone, silent) = (nobody("gone").await, silent("silent").await);
    let stage = Stage::serving(&[gone, silent.clone()]).await;
    let mut client = stage.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").await.unwrap();
    eventually("under way", || stage.inflight.requests(&silent) == 1).await;
    let seen = counts(&stage, true);
    assert_eq!((seen.open, seen.classes), (1, [0; 5]));
    drop(client);
    eventually("left", || counts(&stage, true).open == 0).await;
    assert_eq!(counts(&stage, true).classes, [0, 0, 0, 1, 0], "one that left is 499");
    // Equals take turns: one of two visitors meets the one that refuses first.
    let stage = Stage::serving(&[nobody("gone").await, named("here").await]).await;
    for _ in 0..2 {
        assert_eq!(stage.get("/").await.body, "here");
    }
    assert!(counts(&stage, true).retries >= 1, "{:?}", counts(&stage, true));
}

#[tokio::test]
async fn tunnels_are_counted_while_they_last() {
    let backend = raw_app("echo", |mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
        stream.write_all(switch.as_bytes()).await.unwrap();
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await;
    let stage = Stage::serving(&[backend]).await;
    let mut client = stage.connect().await;
    let ask = "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    client.write_all(ask.as_bytes()).await.unwrap();
    read_until(&mut client, "\r\n\r\n").await;
    client.write_all(b"12345678").await.unwrap();
    read_until(&mut client, "12345678").await;
    let seen = counts(&stage, true);
    assert_eq!((seen.open, seen.classes, seen.received, seen.sent), (1, [1, 0, 0, 0, 0], 8, 8));
    drop(client);
    eventually("it has ended", || counts(&stage, true).open == 0).await;
    let seen = counts(&stage, true);
    assert_eq!((seen.classes, seen.buckets.iter().sum::<u64>()), ([1, 0, 0, 0, 0], 0), "its length is no request's");
}

#[derive(Default)]
struct Book(Mutex<Vec<String>>);

impl Journal for Book {
    fn wrote(&self, app: &AppName, line: String) {
        self.0.lock().unwrap().push(format!("{app} {line}"));
    }
}

#[tokio::test]
async fn an_access_log_is_kept_on_demand() {
    let book = Arc::new(Book::default());
    let neighbours = Neighbours { journal: Some(book.clone()), ..Neighbours::default() };
    for (access_log, lines) in [(false, 0), (true, 1)] {
        let rules = Rules { access_log, ..Rules::default() };
        let stage = Stage::ruled(rules, RouteState::Serving(vec![named("web-1").await]), neighbours.clone()).await;
        stage.raw("GET /a\"b?c=1 HTTP/1.1\r\nHost: shop.test\r\nX-Request-Id: id-1\r\nConnection: close\r\n\r\n").await;
        eventually("the lines", || book.0.lock().unwrap().len() == lines).await;
    }
    let line = book.0.lock().unwrap().pop().unwrap();
    let (start, took) = line.rsplit_once(" took=").unwrap();
    assert_eq!(
        start,
        "secret-name-0 method=GET path=\"/a\\\"b?c=1\" host=shop.test fwd=\"127.0.0.1\" request_id=id-1 scheme=http \
         protocol=http/1.1 replica=web-1 status=200 bytes=5"
    );
    assert!(took.ends_with("ms"), "{line}");
}

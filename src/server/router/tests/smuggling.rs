//! Requests that two readers could read differently never reach an app as they came.

use std::sync::Mutex;

use super::*;

/// What a backend was sent over all its connections, and a router in front of it.
async fn stage() -> (Stage, Arc<Mutex<Vec<u8>>>) {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&sent);
    let backend = raw_app("a", move |mut stream| {
        let record = Arc::clone(&record);
        async move {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                record.lock().unwrap().extend_from_slice(&buffer[..count]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await;
    (Stage::serving(&[backend]).await, sent)
}

/// One for the lane.
const ORDINARY: &str = "GET /ordinary HTTP/1.1\r\nHost: shop.test\r\n\r\n";

#[tokio::test]
async fn ambiguous_requests_are_refused() {
    let (stage, sent) = stage().await;
    for (name, lines) in [
        ("two lengths", "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
        ("a list of lengths", "Content-Length: 3, 4\r\n\r\nabcd"),
        ("a signed length", "Content-Length: +3\r\n\r\nabc"),
        ("a negative length", "Content-Length: -3\r\n\r\nabc"),
        ("a hex length", "Content-Length: 0x3\r\n\r\nabc"),
        ("an endless length", "Content-Length: 99999999999999999999\r\n\r\nabc"),
        ("an unknown coding", "Transfer-Encoding: cow\r\n\r\n0\r\n\r\n"),
        ("a coding after chunked", "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        ("a second coding line", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n"),
        ("a coding with a tab", "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
        ("a blank before the colon", "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        ("a folded line", "X-A: 1\r\n Transfer-Encoding: chunked\r\n\r\n"),
        ("a line that begins with a blank", " X-A: 1\r\n\r\n"),
        ("a NUL", "X-A: a\0b\r\n\r\n"),
        ("a bare CR", "X-A: a\rTransfer-Encoding: chunked\r\n\r\n"),
        ("an empty name", ": a\r\n\r\n"),
        ("a name with a blank", "X A: a\r\n\r\n"),
        ("no colon", "nonsense\r\n\r\n"),
        ("two hosts", "Host: other.test\r\n\r\n"),
    ] {
        // The lane reads first what begins like its own, and hyper what comes after it.
        for (before, method) in [("", "POST"), ("", "GET"), (ORDINARY, "GET"), (ORDINARY, "HEAD")] {
            let odd = format!("{method} /odd HTTP/1.1\r\nHost: shop.test\r\n{lines}");
            let answer = stage.raw(format!("{before}{odd}GET /smuggled HTTP/1.1\r\nHost: shop.test\r\n\r\n")).await;
            let served = answer.matches("HTTP/1.1 200").count();
            assert!(answer.contains("HTTP/1.1 400"), "{name}, {method}: {answer}");
            assert_eq!(served, usize::from(!before.is_empty()), "{name}, {method}: {answer}");
        }
    }
    for head in [
        "GET / HTTP/1.1 \r\nHost: shop.test\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: shop.test\r\n\r\n",
        "GET /\0 HTTP/1.1\r\nHost: shop.test\r\n\r\n",
        "GET / HTTP/1.2\r\nHost: shop.test\r\n\r\n",
        "GET / HTTP/9\r\nHost: shop.test\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "CONNECT shop.test:80 HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n",
        "GET http://u@shop.test/ HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let answer = stage.raw(head).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{head:?}: {answer}");
        assert!(!answer.contains("200"), "{head:?}: {answer}");
    }
    let sent = String::from_utf8_lossy(&sent.lock().unwrap()).into_owned();
    assert!(!sent.contains("odd") && !sent.contains("smuggled"), "nothing of it reached the app: {sent}");
    assert_eq!(sent.matches("HTTP/1.1\r\n").count(), sent.matches("GET /ordinary ").count(), "{sent}");
}

#[tokio::test]
async fn broken_chunks_end_the_exchange() {
    for (name, body) in [
        ("no size", "x\r\n"),
        ("a negative size", "-1\r\nabc\r\n"),
        ("a prefixed size", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("an endless size", "fffffffffffffffff\r\nabc"),
        ("no end of a chunk", "3\r\nabcGET /smuggled HTTP/1.1\r\n"),
        ("a bare LF in an extension", "3;x\ny\r\nabc\r\n0\r\n\r\n"),
    ] {
        let (stage, sent) = stage().await;
        let head = "POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = stage.raw(format!("{head}{body}GET /smuggled HTTP/1.1\r\nHost: shop.test\r\n\r\n")).await;
        assert!(answer.matches("HTTP/1.1").count() <= 1, "{name}: one answer at most: {answer}");
        let sent = String::from_utf8_lossy(&sent.lock().unwrap()).into_owned();
        assert!(!sent.contains("smuggled") && !sent.ends_with("0\r\n\r\n"), "{name}: {sent}");
    }
}

/// RFC 9112 6.3: a message with both is read by its coding alone, and is the connection's last.
#[tokio::test]
async fn a_length_beside_chunks_is_dropped_and_ends_the_connection() {
    for lines in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 6",
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\nContent-Length: 7",
    ] {
        let (stage, sent) = stage().await;
        let request = format!(
            "POST / HTTP/1.1\r\nHost: shop.test\r\n{lines}\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: shop.test\r\n\r\n"
        );
        let answer = stage.raw(request).await;
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        let sent = String::from_utf8_lossy(&sent.lock().unwrap()).to_lowercase();
        assert!(!sent.contains("content-length") && !sent.contains("smuggled"), "{sent}");
        assert_eq!(sent.matches("transfer-encoding").count(), 1, "{sent}");
    }
}

/// The app must not take a body for its next request, whatever the method.
#[tokio::test]
async fn bodies_stay_bodies() {
    let stage = Stage::serving(&[mirror("a").await]).await;
    for method in ["GET", "DELETE", "OPTIONS", "POST"] {
        let request = format!(
            "{method} / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
             1e\r\nGET /smuggled HTTP/1.1\r\n\r\nabcd\r\n0\r\n\r\n"
        );
        let answer = stage.raw(request).await;
        assert!(answer.ends_with("\n\nGET /smuggled HTTP/1.1\r\n\r\nabcd"), "{method}: {answer}");
    }
}

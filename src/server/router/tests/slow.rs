//! Clients that begin a body and stop.

use super::*;

async fn impatient(backend: Backend) -> Stage {
    let config = RouterConfig { body_timeout: Duration::from_millis(300), ..RouterConfig::default() };
    Stage::new(config, &shop(&[backend])).await
}

#[tokio::test]
async fn a_body_that_stops_coming_is_not_waited_for() {
    let stage = impatient(mirror("a").await).await;
    let mut client = stage.connect().await;
    client.write_all(b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 10\r\n\r\n").await.unwrap();
    // As long as something comes now and then it may take its time.
    for byte in b"12345" {
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.write_all(&[*byte]).await.unwrap();
    }
    let answer = read_to_end(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("did not arrive in time"), "{answer}");
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_given_up() {
    let backend = app("large", |_| async { Response::new(full(vec![b'x'; 64 << 20])) }).await;
    let stage = impatient(backend.clone()).await;
    let mut client = stage.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").await.unwrap();
    eventually("it is under way", || stage.inflight.requests(&backend) == 1).await;
    eventually("it is given up", || stage.inflight.requests(&backend) == 0).await;
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest).await;
    assert!(rest.len() < 64 << 20, "it was cut off");
}

#[tokio::test]
async fn an_answer_that_is_taken_slowly_is_not() {
    let size = 24 << 20;
    let backend = app("large", move |_| async move { Response::new(full(vec![b'x'; size])) }).await;
    let stage = impatient(backend).await;
    let mut client = stage.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut taken = 0;
    let mut part = vec![0; 2 << 20];
    // Each pause is shorter than what is allowed, all together are much longer.
    loop {
        let mut filled = 0;
        while filled < part.len() {
            match client.read(&mut part[filled..]).await.unwrap() {
                0 => {
                    assert!(taken + filled > size, "{} of {size}", taken + filled);
                    return;
                }
                more => filled += more,
            }
        }
        taken += filled;
        tokio::time::sleep(Duration::from_millis(80)).await;
    }
}

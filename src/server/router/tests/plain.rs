//! Hosts, headers, pages, the odd cases of HTTP.

use super::*;
use crate::server::announced::Announced;

#[tokio::test]
async fn hosts_lead_to_their_apps() {
    let (one, two) = (named("one").await, named("two").await);
    let stage = Stage::new(
        RouterConfig::default(),
        &[("one.test", RouteState::Serving(vec![one])), ("two.test", RouteState::Serving(vec![two]))],
    )
    .await;
    for (host, wanted) in [
        ("one.test", "one"),
        ("ONE.Test", "one"),
        ("two.test:8080", "two"),
        ("two.test.", "two"),
        ("two.test.:80", "two"),
        ("three.test", "There is no app"),
        ("one.test.evil", "There is no app"),
        ("bad host", "not a host name"),
    ] {
        let answer = stage.raw(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.contains(wanted), "{host}: {answer}");
    }
    let absolute = "GET http://two.test/x HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n";
    assert!(stage.raw(absolute).await.ends_with("two"));
    let old = stage.raw("GET / HTTP/1.0\r\nHost: one.test\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200") && old.ends_with("one"), "{old}");
    let missing = stage.raw("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert!(missing.starts_with("HTTP/1.1 400"), "{missing}");
}

#[tokio::test]
async fn an_app_is_told_of_the_client() {
    let stage = Stage::serving(&[mirror("a").await]).await;
    let head = "GET http://Shop.test:81/p?q=1 HTTP/1.1\r\nHost: ignored.test\r\nX-Forwarded-For: 6.6.6.6\r\n\
                Connection: close, x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nX-Request-Id: mine-1\r\n\r\n";
    let answer = stage.raw(head).await;
    for line in [
        "GET /p?q=1 HTTP/1.1\n",
        "host: Shop.test:81\n",
        "x-forwarded-for: 127.0.0.1\n",
        "x-forwarded-proto: http\n",
        "x-forwarded-host: Shop.test:81\n",
        "x-forwarded-port: 81\n",
        "forwarded: for=127.0.0.1;proto=http;host=\"Shop.test:81\"\n",
        "x-request-id: mine-1\n",
        "x-request-start: 1",
        "te: trailers\n",
    ] {
        assert!(answer.contains(line), "{line:?} in {answer}");
    }
    for gone in ["6.6.6.6", "x-hop", "keep-alive", "transfer-encoding", "content-length: 0\n", "ignored"] {
        assert!(!answer.contains(gone), "{gone:?} in {answer}");
    }
    assert!(answer.contains("x-request-id: mine-1\r\n"), "the answer names the request too: {answer}");
}

#[tokio::test]
async fn a_trusted_proxy_is_believed() {
    let config = RouterConfig { trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()], ..RouterConfig::default() };
    let stage = Stage::new(config, &shop(&[mirror("a").await])).await;
    let head = "GET / HTTP/1.1\r\nHost: shop.test\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n";
    let answer = stage.raw(head).await;
    assert!(answer.contains("x-forwarded-for: 6.6.6.6, 127.0.0.1\n"), "{answer}");
    assert!(answer.contains("x-forwarded-proto: https\n"), "{answer}");
}

#[tokio::test]
async fn visitors_are_where_a_load_balancer_says() {
    let announced = Announced::by(&["127.0.0.1/32".parse().unwrap()]);
    let config = RouterConfig { announced, ..RouterConfig::default() };
    let stage = Stage::new(config, &shop(&[mirror("a").await])).await;
    let ask = "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n";
    let answer = stage.raw(format!("PROXY TCP4 192.0.2.7 127.0.0.1 8080 80\r\n{ask}")).await;
    assert!(answer.contains("x-forwarded-for: 192.0.2.7\n"), "{answer}");
    let second =
        [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x08\x7f\0\0\x01\0\x50\0\x50"[..], ask.as_bytes()].concat();
    let answer = stage.raw(second).await;
    assert!(answer.contains("x-forwarded-for: 192.0.2.8\n"), "{answer}");
    assert_eq!(stage.raw(ask).await, "", "one that says nothing is not served");
}

#[tokio::test]
async fn an_answers_hop_headers_end_here() {
    let backend = raw_app("a", |mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let answer = "HTTP/1.1 200 Fine\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nX-End: 1\r\n\
                      Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok";
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let stage = Stage::serving(&[backend]).await;
    let seen = stage.get("/").await;
    assert_eq!((seen.status.as_u16(), seen.body.as_str()), (200, "ok"));
    assert!(seen.headers.contains_key("x-end") && seen.headers.contains_key("x-request-id"));
    assert_eq!(seen.headers.get_all("set-cookie").iter().count(), 2);
    for gone in ["x-hop", "keep-alive", "connection"] {
        assert!(!seen.headers.contains_key(gone), "{gone}");
    }
}

#[tokio::test]
async fn pages_tell_what_is_wrong_and_name_no_app() {
    let stage = Stage::new(
        RouterConfig { response_timeout: Some(Duration::from_millis(200)), ..RouterConfig::default() },
        &[
            ("new.test", RouteState::NothingDeployed),
            ("off.test", RouteState::ScaledToZero),
            ("ill.test", RouteState::Failing),
            ("gone.test", RouteState::Serving(vec![nobody("gone").await])),
            ("slow.test", RouteState::Serving(vec![silent("slow").await])),
            ("rude.test", RouteState::Serving(vec![raw_app("rude", |_s| async {}).await])),
            (
                "odd.test",
                RouteState::Serving(vec![
                    raw_app("odd", |mut s| async move {
                        read_until(&mut s, "\r\n\r\n").await;
                        s.write_all(b"what?\r\n\r\n").await.unwrap();
                    })
                    .await,
                ]),
            ),
        ],
    )
    .await;
    for (host, status, says) in [
        ("none.test", 404, "no app"),
        ("new.test", 503, "git push gigalixir main"),
        ("off.test", 503, "gigalixir ps:scale"),
        ("ill.test", 503, "gigalixir logs"),
        ("gone.test", 502, "gigalixir ps"),
        ("slow.test", 504, "too long"),
        ("rude.test", 502, "without a proper answer"),
        ("odd.test", 502, "without a proper answer"),
    ] {
        for (accept, kind) in
            [("text/html", "text/html"), ("*/*", "text/plain"), ("application/json", "application/json")]
        {
            let request = Request::get("/").header("host", host).header("accept", accept).body(empty()).unwrap();
            let seen = stage.request(request).await.unwrap();
            assert_eq!(seen.status.as_u16(), status, "{host}");
            assert!(seen.headers["content-type"].to_str().unwrap().starts_with(kind), "{host}");
            assert!(seen.body.contains(says), "{host}: {}", seen.body);
            assert!(seen.body.contains(seen.headers["x-request-id"].to_str().unwrap()), "{host}");
            assert!(!seen.body.contains("secret-name") && !seen.body.contains("127.0.0.1"), "{}", seen.body);
        }
    }
}

#[tokio::test]
async fn answers_without_bodies_keep_their_headers() {
    let backend = raw_app("a", |mut stream| async move {
        loop {
            let head = read_until(&mut stream, "\r\n\r\n").await;
            let answer = match head.split_whitespace().nth(1).unwrap() {
                "/length" => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
                "/chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                _ => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    let stage = Stage::serving(&[backend]).await;
    // All over one connection: a wrong length would swallow the next answer.
    let mut client = stage.connect().await;
    for (line, status, has, lacks) in [
        ("HEAD /length", 200, "content-length: 1234", "transfer-encoding"),
        ("HEAD /chunked", 200, "200 OK", "content-length"),
        ("GET /204", 204, "204", "content-length"),
        ("GET /304", 304, "etag: \"x\"", "content-length"),
        ("HEAD /length", 200, "content-length: 1234", "transfer-encoding"),
    ] {
        client.write_all(format!("{line} HTTP/1.1\r\nHost: shop.test\r\n\r\n").as_bytes()).await.unwrap();
        let answer = read_until(&mut client, "\r\n\r\n").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{line}: {answer}");
        let lower = answer.to_lowercase();
        assert!(lower.contains(&has.to_lowercase()) && !lower.contains(lacks), "{line}: {answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{line}: {answer}");
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let stage = Stage::serving(&[mirror("a").await]).await;
    let answer = stage
        .raw(
            "GET /1 HTTP/1.1\r\nHost: shop.test\r\n\r\nGET /2 HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n",
        )
        .await;
    let (one, two) = (answer.find("GET /1").unwrap(), answer.find("GET /2").unwrap());
    assert!(one < two, "{answer}");
}

#[tokio::test]
async fn large_heads_are_refused() {
    let stage = Stage::serving(&[mirror("a").await]).await;
    let fits = format!("GET / HTTP/1.1\r\nHost: shop.test\r\nX: {}\r\nConnection: close\r\n\r\n", "y".repeat(30_000));
    assert!(stage.raw(fits).await.starts_with("HTTP/1.1 200"));
    let many = format!("GET / HTTP/1.1\r\nHost: shop.test\r\n{}\r\n", "X: y\r\n".repeat(101));
    assert!(stage.raw(many).await.starts_with("HTTP/1.1 431"));
    let mut client = stage.connect().await;
    let large = format!("GET / HTTP/1.1\r\nHost: shop.test\r\nX: {}", "y".repeat(70_000));
    let _ = client.write_all(large.as_bytes()).await;
    assert!(read_until(&mut client, "\r\n").await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn the_wish_to_continue_is_granted_when_the_body_is_wanted() {
    let stage = Stage::serving(&[mirror("a").await]).await;
    let mut client = stage.connect().await;
    let head =
        "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_until(&mut client, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"body").await.unwrap();
    let answer = read_to_end(&mut client).await;
    assert!(answer.ends_with("\n\nbody") && !answer.contains("expect"), "{answer}");

    let mut client = stage.connect().await;
    client.write_all(head.replace("shop.test", "none.test").as_bytes()).await.unwrap();
    assert!(read_until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 404"), "not wanted, not asked for");
}

/// The page arrives although the client was still sending; and the connection goes on when it sent all of it.
#[tokio::test]
async fn a_page_is_not_lost_to_an_unwanted_upload() {
    let stage = Stage::new(RouterConfig::default(), &[("ill.test", RouteState::Failing)]).await;
    let size = 4 * 1024 * 1024;
    let mut client = stage.connect().await;
    for _ in 0..2 {
        let head = format!("POST / HTTP/1.1\r\nHost: ill.test\r\nContent-Length: {size}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(&vec![b'x'; size]).await.unwrap();
        assert!(read_until(&mut client, "Request id").await.starts_with("HTTP/1.1 503"));
        read_until(&mut client, "\n").await;
    }
    let endless = "POST / HTTP/1.1\r\nHost: ill.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.write_all(endless.as_bytes()).await.unwrap();
    read_until(&mut client, "Request id").await;
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let sending = async { while client.write_all(chunk.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(SOON, sending).await.expect("it is not read for ever");
}

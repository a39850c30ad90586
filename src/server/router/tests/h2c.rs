//! Apps that are spoken to in HTTP/2.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use http_body::Frame;

use super::streams::{Endless, data, fed};
use super::*;

/// An app that speaks HTTP/2 only, and how many connections it has had.
async fn app2<F, R>(answer: F) -> (Backend, Arc<AtomicUsize>)
where
    F: Fn(Request<Incoming>) -> R + Send + Sync + Clone + 'static,
    R: Future<Output = Response<BoxBody<Bytes, std::io::Error>>> + Send + 'static,
{
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    let backend = raw_app("two", move |stream| {
        counter.fetch_add(1, SeqCst);
        let answer = answer.clone();
        async move {
            let service = service_fn(|request| {
                let answering = answer(request);
                async { Ok::<_, std::convert::Infallible>(answering.await) }
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await;
    (backend, connections)
}

fn h2c() -> Rules {
    Rules { h2c: true, ..Rules::default() }
}

async fn stage(rules: Rules, backends: &[Backend], config: RouterConfig) -> Stage {
    let mut table = table(&shop(backends));
    for route in table.hosts.values_mut() {
        *route = Arc::new(Route { rules: Arc::new(rules.clone()), ..Route::clone(route) });
    }
    Stage::of(config, Neighbours::default(), table).await
}

/// What the app was told, and its body and trailers back.
async fn telling(request: Request<Incoming>) -> Response<BoxBody<Bytes, std::io::Error>> {
    let (head, body) = request.into_parts();
    let mut text = format!("{} {} {:?}\n", head.method, head.uri, head.version);
    for (name, value) in &head.headers {
        text += &format!("{name}: {}\n", value.to_str().unwrap());
    }
    let told = Bytes::from(text);
    let first = futures_util::stream::once(async { Ok(Frame::data(told)) });
    let rest = http_body_util::BodyStream::new(body.map_err(std::io::Error::other));
    let all = futures_util::StreamExt::chain(first, rest);
    Response::new(BodyExt::boxed(http_body_util::StreamBody::new(all)))
}

async fn next(body: &mut Incoming) -> Frame<Bytes> {
    tokio::time::timeout(SOON, body.frame()).await.unwrap().unwrap().unwrap()
}

#[tokio::test]
async fn both_sides_talk_to_each_other_and_end_with_trailers() {
    let (app, connections) = app2(telling).await;
    // What is bounded is a body that an app waits for, not a talk.
    let config = RouterConfig { body_timeout: Duration::from_millis(300), ..RouterConfig::default() };
    let stage = stage(h2c(), std::slice::from_ref(&app), config).await;
    let mut visitor = stage.visitor2().await;
    for _ in 0..3 {
        let (feed, body) = fed();
        let request = Request::post("https://shop.test:444/svc/Call?a=b").header("te", "trailers");
        let request = request.header("content-type", "application/grpc").body(body).unwrap();
        let answer = visitor.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut body = answer.into_body();
        let told = String::from_utf8(next(&mut body).await.into_data().unwrap().to_vec()).unwrap();
        assert!(told.starts_with("POST http://shop.test:444/svc/Call?a=b HTTP/2.0\n"), "{told}");
        for line in ["te: trailers\n", "x-forwarded-proto: https\n", "x-forwarded-port: 444\n", "x-request-id: "] {
            assert!(told.contains(line), "{line} in {told}");
        }
        assert!(!told.contains("\nhost: ") && !told.contains("transfer-encoding"), "{told}");
        for word in ["one", "two", "three"] {
            feed.send(data(word)).await.unwrap();
            assert_eq!(next(&mut body).await.into_data().unwrap(), word);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        feed.send(Frame::trailers(trailers)).await.unwrap();
        drop(feed);
        assert_eq!(next(&mut body).await.into_trailers().unwrap()["grpc-status"], "0");
        assert!(body.frame().await.is_none());
        eventually("it is over", || stage.inflight.requests(&app) == 0).await;
    }
    assert_eq!(connections.load(SeqCst), 1, "connections are kept");
}

#[tokio::test]
async fn a_visitor_over_http1_is_served_too() {
    let (app, _) = app2(telling).await;
    let stage = stage(h2c(), &[nobody("dead").await, app], RouterConfig::default()).await;
    for framing in ["Content-Length: 4\r\n\r\nbody", "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"] {
        let answer = stage
            .raw(format!("PUT /p HTTP/1.1\r\nHost: shop.test\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n{framing}"))
            .await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("PUT http://shop.test/p HTTP/2.0\n"), "{answer}");
        assert!(answer.contains("body") && !answer.contains("x-hop"), "{answer}");
    }
    for _ in 0..4 {
        assert!(
            stage.get("/q").await.body.starts_with("GET http://shop.test/q HTTP/2.0\n"),
            "who refuses costs nothing"
        );
    }
}

#[tokio::test]
async fn rules_hold_there_too_and_a_broken_body_is_the_visitors_fault() {
    let collecting = |request: Request<Incoming>| async move {
        let whole = request.into_body().collect().await.is_ok();
        Response::new(full(whole.to_string()))
    };
    let (app, _) = app2(collecting).await;
    let rules = Rules { body_bytes: Some(10), connections: NonZeroU32::new(10), ..h2c() };
    let config = RouterConfig { body_timeout: Duration::from_millis(300), ..RouterConfig::default() };
    let stage = stage(rules, &[app], config).await;
    let post = "POST / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (body, status) in [
        ("5\r\n01234\r\n0\r\n\r\n", "200"),
        ("5\r\n01234\r\n6\r\n56789a\r\n0\r\n\r\n", "413"),
        ("5\r\n01234\r\nnonsense", "400"),
        ("5\r\n01234\r\n", "408"),
    ] {
        let answer = stage.raw(format!("{post}{body}")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{body:?}: {answer}");
    }
}

#[tokio::test]
async fn a_visitor_who_leaves_takes_the_request_along() {
    let dropped = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&dropped);
    let (app, _) = app2(move |_| {
        let endless = Endless(Arc::clone(&flag));
        async move { Response::new(BodyExt::boxed(endless)) }
    })
    .await;
    let stage = stage(h2c(), std::slice::from_ref(&app), RouterConfig::default()).await;
    let mut visitor = stage.visitor2().await;
    let answer = visitor.send_request(Request::get("https://shop.test/").body(empty()).unwrap()).await.unwrap();
    let mut body = answer.into_body();
    next(&mut body).await;
    drop(body);
    eventually("the app's stream is reset", || dropped.load(SeqCst) && stage.inflight.requests(&app) == 0).await;
}

#[tokio::test]
async fn an_app_that_speaks_something_else_is_told_of() {
    let stage = stage(h2c(), &[named("one").await], RouterConfig::default()).await;
    assert_eq!(stage.get("/").await.status, 502);
}

#[tokio::test]
async fn the_rule_holds_from_one_request_to_the_next() {
    let both = raw_app("both", |stream| async move {
        let service = service_fn(|request: Request<Incoming>| async move {
            Ok::<_, std::convert::Infallible>(Response::new(full(format!("{:?}", request.version()))))
        });
        let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
        let _ = server.serve_connection(TokioIo::new(stream), service).await;
    })
    .await;
    let stage = stage(Rules::default(), std::slice::from_ref(&both), RouterConfig::default()).await;
    for (rules, version) in [(Rules::default(), "HTTP/1.1"), (h2c(), "HTTP/2.0"), (Rules::default(), "HTTP/1.1")] {
        let mut table = table(&shop(std::slice::from_ref(&both)));
        for route in table.hosts.values_mut() {
            *route = Arc::new(Route { rules: Arc::new(rules.clone()), ..Route::clone(route) });
        }
        stage.table.send_replace(Arc::new(table));
        // Puts the table in force.
        stage.inflight.draining(&nobody("nobody").await).await;
        for _ in 0..3 {
            assert_eq!(stage.get("/").await.body, version);
        }
    }
}

//! What an app's people decide about its visitors.

use std::num::NonZeroU32;

use super::*;
use crate::server::domain::Canonical;

async fn ruled(rules: Rules, backends: &[Backend]) -> Stage {
    Stage::ruled(rules, RouteState::Serving(backends.to_vec()), Neighbours::default()).await
}

#[tokio::test]
async fn no_more_at_a_time_than_allowed() {
    let release = CancellationToken::new();
    let token = release.clone();
    let slow = app("slow", move |_| {
        let token = token.clone();
        async move {
            token.cancelled().await;
            Response::new(full("late"))
        }
    })
    .await;
    let rules = Rules { connections: NonZeroU32::new(2), ..Rules::default() };
    let stage = ruled(rules, std::slice::from_ref(&slow)).await;
    let (one, two) = (stage.get("/"), stage.get("/"));
    let third = async {
        eventually("two are under way", || stage.inflight.requests(&slow) == 2).await;
        let seen = stage.get("/").await;
        assert_eq!((seen.status.as_u16(), seen.headers["retry-after"].to_str().unwrap()), (503, "10"));
        assert!(seen.body.contains("as many visitors as it can serve"), "{}", seen.body);
        release.cancel();
    };
    let (one, two, ()) = tokio::join!(one, two, third);
    assert_eq!((one.body.as_str(), two.body.as_str()), ("late", "late"));
    assert_eq!(stage.get("/").await.status, 200, "there is room again");
}

#[tokio::test]
async fn bodies_are_as_large_as_allowed() {
    let rules = Rules { body_bytes: Some(10), ..Rules::default() };
    let stage = ruled(rules, &[mirror("a").await]).await;
    let post = |framing: &str| format!("POST / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n{framing}");
    for (framing, status) in [
        ("Content-Length: 10\r\n\r\n0123456789", 200),
        ("Content-Length: 11\r\n\r\n0123456789a", 413),
        ("Content-Length: 11\r\nExpect: 100-continue\r\n\r\n", 413),
        ("Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n", 200),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n6\r\n56789a\r\n0\r\n\r\n", 413),
    ] {
        let answer = stage.raw(post(framing)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{framing}: {answer}");
    }
}

#[tokio::test]
async fn a_browser_comes_to_the_same_replica_again() {
    let rules = Rules { affinity: true, ..Rules::default() };
    let names = ["one", "two", "three"];
    let mut backends = Vec::new();
    for name in names {
        backends.push(named(name).await);
    }
    let stage = ruled(rules.clone(), &backends).await;
    let ask = async |cookie: &str| {
        let request = Request::get("/").header("host", "shop.test").header("cookie", cookie).body(empty()).unwrap();
        stage.request(request).await.unwrap()
    };
    let first = stage.get("/").await;
    let cookie = first.headers["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.ends_with("; HttpOnly; SameSite=Lax; Path=/"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    for _ in 0..9 {
        let again = ask(&format!("a=1; {cookie}")).await;
        assert_eq!(again.body, first.body);
        assert!(!again.headers.contains_key("set-cookie"), "it has been told");
    }
    // Without it they take turns, and a replica that is gone is replaced by another, with its own cookie.
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..9 {
        seen.insert(ask("gigalixir_replica=0000000000000001").await.body);
    }
    assert_eq!(seen.len(), 3);
    let left: Vec<_> = backends.into_iter().filter(|backend| backend.name != first.body).collect();
    let mut table = table(&[("shop.test", RouteState::Serving(left))]);
    for route in table.hosts.values_mut() {
        *route = Arc::new(Route { rules: Arc::new(rules.clone()), ..Route::clone(route) });
    }
    stage.table.send_replace(Arc::new(table));
    // Puts the table in force.
    stage.inflight.draining(&nobody("nobody").await).await;
    let moved = ask(&cookie).await;
    assert_ne!(moved.body, first.body);
    assert!(moved.headers.contains_key("set-cookie"));
}

#[tokio::test]
async fn visitors_are_sent_to_one_of_two_hosts() {
    for (canonical, from, to) in
        [(Canonical::Www, "shop.test", "www.shop.test"), (Canonical::Apex, "www.shop.test", "shop.test")]
    {
        let rules = Rules { canonical: Some(canonical), ..Rules::default() };
        let stage = ruled(rules, &[named("a").await]).await;
        let get = |host: &str| format!("GET /p?q=1 HTTP/1.1\r\nHost: {host}:81\r\nConnection: close\r\n\r\n");
        let answer = stage.raw(get(from)).await;
        assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
        assert!(answer.contains(&format!("location: http://{to}:81/p?q=1\r\n")), "{answer}");
        assert!(stage.raw(get(to)).await.ends_with("\r\n\r\na"));
    }
    // The other one is not the app's: nobody is sent into the void.
    let rules = Rules { canonical: Some(Canonical::Www), ..Rules::default() };
    let stage = ruled(rules, &[named("a").await]).await;
    let mut table = RouteTable::clone(&stage.table.borrow());
    table.hosts.retain(|host, _| host.as_str() == "shop.test");
    stage.table.send_replace(Arc::new(table));
    stage.inflight.draining(&nobody("nobody").await).await;
    assert_eq!(stage.get("/").await.body, "a");
}

#[tokio::test]
async fn a_wildcard_leads_to_its_app_where_nobody_else_is() {
    let (one, two) = (named("one").await, named("two").await);
    let mut table =
        table(&[("shop.test", RouteState::Serving(vec![one])), ("b.shop.test", RouteState::Serving(vec![two]))]);
    let route = Arc::clone(&table.hosts[&Hostname::parse("shop.test").unwrap()]);
    table.hosts.insert(Hostname::parse_domain("*.shop.test").unwrap(), route);
    let stage = Stage::of(RouterConfig::default(), Neighbours::default(), table).await;
    for (host, status, body) in [
        ("shop.test", 200, "one"),
        ("a.shop.test", 200, "one"),
        ("b.shop.test", 200, "two"),
        ("a.b.shop.test", 404, ""),
        ("ashop.test", 404, ""),
        ("*.shop.test", 400, ""),
        ("test", 404, ""),
    ] {
        for connection in ["keep-alive", "close"] {
            let mut client = stage.connect().await;
            let get = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: {connection}\r\n\r\n");
            client.write_all(get.as_bytes()).await.unwrap();
            let answer = read_until(&mut client, if status == 200 { body } else { "Request id" }).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{host}: {answer}");
        }
    }
}

#[tokio::test]
async fn an_app_has_its_own_page_for_maintenance() {
    let rules = Rules { maintenance_page: Some("<h1>Back at 5</h1><script></script>".into()), ..Rules::default() };
    let stage = Stage::ruled(rules, RouteState::Maintenance, Neighbours::default()).await;
    let ask = async |accept: &str| {
        let request = Request::get("/").header("host", "shop.test").header("accept", accept).body(empty()).unwrap();
        stage.request(request).await.unwrap()
    };
    let page = ask("text/html,*/*").await;
    assert_eq!((page.status.as_u16(), page.body.as_str()), (503, "<h1>Back at 5</h1><script></script>"));
    assert!(page.headers.contains_key("retry-after") && page.headers.contains_key("x-request-id"));
    let json = ask("application/json").await;
    assert!(json.status == 503 && json.body.contains("\"maintenance\""), "{}", json.body);
}

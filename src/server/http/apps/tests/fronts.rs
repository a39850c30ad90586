//! Domains, maintenance mode and activity: what is answered, and what the router is told.

use super::*;
use crate::server::domain::RouteState;

impl Platform {
    /// How a host's route stands; `None` if it leads nowhere.
    fn route(&self, host: &str) -> Option<(String, RouteState)> {
        let table = self.deployer.routes().borrow().clone();
        let route = table.hosts.get(&Hostname::parse(host).unwrap())?;
        Some((route.app.to_string(), route.state.clone()))
    }
}

#[tokio::test]
async fn a_domain_leads_to_the_app_at_once_and_is_free_again_with_it() {
    let platform = Platform::new().await;
    platform.ann("POST", "/api/apps", json!({"unique_name": "hill"})).await;
    platform.push("hill", "web: serve", "1").await;
    let (path, www) = ("/api/apps/hill/domains", json!({"fqdn": "WWW.Hill.test."}));
    let (status, added) = platform.ask(ANN, "POST", path, www.clone()).await;
    assert_eq!((status, &added["data"]), (201, &json!({"fqdn": "www.hill.test", "cname": "hill.example.com"})));
    platform.ann("POST", path, json!({"fqdn": "hill.test"})).await;
    assert_eq!(platform.ann("GET", path, json!(null)).await, json!(["hill.test", "www.hill.test"]));
    let own = platform.route("hill.example.com").unwrap();
    assert!(matches!(own.1, RouteState::Serving(_)), "{own:?}");
    assert_eq!(platform.route("www.hill.test"), Some(own.clone()));

    platform.ann("PUT", "/api/apps/hill/scale", json!({"replicas": 0})).await;
    platform.ann("PUT", "/api/apps/hill/scale", json!({"replicas": 2})).await;
    assert_eq!(platform.route("www.hill.test"), platform.route("hill.example.com"), "it follows every change");

    platform.ann("DELETE", path, www).await;
    assert_eq!(platform.route("www.hill.test"), None);
    assert!(platform.route("hill.test").is_some() && platform.route("hill.example.com").is_some());
    assert_eq!(platform.refused("DELETE", path, json!({"fqdn": "www.hill.test"})).await.0, 404);

    platform.ann("POST", "/api/apps", json!({"unique_name": "dale"})).await;
    let (status, text) = platform.refused("POST", "/api/apps/dale/domains", json!({"fqdn": "hill.test"})).await;
    assert!(status == 422 && text.contains("already been taken"), "{text}");
    assert_eq!(platform.refused("DELETE", "/api/apps/dale/domains", json!({"fqdn": "hill.test"})).await.0, 404);
    assert_eq!(platform.route("hill.test").unwrap().0, "hill");

    platform.ann("DELETE", "/api/apps/hill", json!(null)).await;
    assert_eq!(platform.route("hill.test"), None);
    platform.ann("POST", "/api/apps/dale/domains", json!({"fqdn": "hill.test"})).await;
    assert_eq!(platform.route("hill.test").unwrap().0, "dale");
}

#[tokio::test]
async fn domains_that_cannot_be_are_refused() {
    let platform = Platform::new().await;
    platform.ann("POST", "/api/apps", json!({"unique_name": "hill"})).await;
    for (fqdn, reason) in [
        ("", "invalid format"),
        ("a_b.test", "invalid format"),
        ("*.*.hill.test", "invalid format"),
        ("*.hill", "should have a dot"),
        ("*.example.com", "belongs to the platform"),
        ("hill", "should have a dot"),
        ("192.0.2.7", "not an address"),
        ("example.com", "belongs to the platform"),
        ("dale.Example.com", "belongs to the platform"),
        ("git.example.com.", "belongs to the platform"),
        ("api.platform.test", "belongs to the platform"),
        ("ssh.platform.test", "belongs to the platform"),
        ("*.platform.test", "belongs to the platform"),
    ] {
        let (status, text) = platform.refused("POST", "/api/apps/hill/domains", json!({"fqdn": fqdn})).await;
        assert!(status == 422 && text.contains("fqdn") && text.contains(reason), "{fqdn}: {status} {text}");
    }
    assert_eq!(platform.refused("POST", "/api/apps/hill/domains", json!({})).await.0, 422);
    for number in 0..3 {
        let fqdn = format!("not-{number}-example.com");
        platform.ann("POST", "/api/apps/hill/domains", json!({ "fqdn": fqdn })).await;
    }
    let (status, text) = platform.refused("POST", "/api/apps/hill/domains", json!({"fqdn": "d.test"})).await;
    assert!(status == 422 && text.contains("3 domains"), "{text}");
    assert_eq!(platform.route("d.test"), None);
}

#[tokio::test]
async fn maintenance_mode_stands_before_the_app_until_it_is_switched_off() {
    let platform = Platform::new().await;
    platform.ann("POST", "/api/apps", json!({"unique_name": "hill"})).await;
    platform.ann("POST", "/api/apps/hill/domains", json!({"fqdn": "hill.test"})).await;
    platform.ann("PUT", "/api/apps/hill/maintenance", json!({"enable": true})).await;
    platform.push("hill", "web: serve", "1").await;
    for host in ["hill.example.com", "hill.test"] {
        assert_eq!(platform.route(host).unwrap().1, RouteState::Maintenance, "a deploy does not end it");
    }
    assert_eq!(platform.ann("GET", "/api/apps/hill", json!(null)).await["maintenance"], true);
    platform.ann("PUT", "/api/apps/hill/maintenance", json!({"enable": false})).await;
    assert!(matches!(platform.route("hill.test").unwrap().1, RouteState::Serving(_)));
    assert_eq!(platform.refused("PUT", "/api/apps/hill/maintenance", json!({})).await.0, 422);
}

#[tokio::test]
async fn a_canary_is_set_changed_taken_away_and_goes_with_its_app() {
    let platform = Platform::new().await;
    let path = "/api/apps/hill/canaries";
    for name in ["hill", "dale"] {
        platform.ann("POST", "/api/apps", json!({"unique_name": name})).await;
        platform.push(name, "web: serve", "1").await;
    }
    platform.ask(BEN, "POST", "/api/apps", json!({"unique_name": "bens"})).await;
    let told = || {
        let table = platform.deployer.routes().borrow().clone();
        let route = &table.hosts[&Hostname::parse("hill.example.com").unwrap()];
        route.canary.as_ref().map(|canary| (canary.app.to_string(), canary.weight))
    };
    for (body, status, reason) in [
        (json!({"weight": 5}), 422, "canary"),
        (json!({"canary": "dale"}), 422, "weight"),
        (json!({"canary": "dale", "weight": 101}), 422, "0 to 100"),
        (json!({"canary": "dale", "weight": -1}), 422, "0 to 100"),
        (json!({"canary": "hill", "weight": 5}), 422, "another app"),
        (json!({"canary": "bens", "weight": 5}), 404, "bens"),
    ] {
        let (found, text) = platform.refused("PUT", path, body).await;
        assert!(found == status && text.contains(reason), "{found} {text}");
    }
    assert_eq!((told(), platform.ann("GET", path, json!(null)).await), (None, json!([])));

    platform.ann("PUT", path, json!({"canary": "dale", "weight": 5})).await;
    let set = platform.ann("PUT", path, json!({"weight": 30})).await;
    assert_eq!((told(), set), (Some(("dale".into(), 30)), json!([{"canary": "dale", "weight": 30}])));
    assert_eq!(platform.refused("DELETE", "/api/apps/hill/canaries/bens", json!(null)).await.0, 404);
    platform.ann("DELETE", "/api/apps/hill/canaries/dale", json!(null)).await;
    assert_eq!(told(), None);

    platform.ann("PUT", path, json!({"canary": "dale", "weight": 5})).await;
    platform.ann("DELETE", "/api/apps/dale", json!(null)).await;
    platform.ask(BEN, "POST", "/api/apps", json!({"unique_name": "dale"})).await;
    assert_eq!((told(), platform.ann("GET", path, json!(null)).await), (None, json!([])), "another's app of that name");
}

#[tokio::test]
async fn a_killed_replica_is_replaced_by_a_new_one() {
    let platform = Platform::new().await;
    platform.ann("POST", "/api/apps", json!({"unique_name": "hill"})).await;
    platform.push("hill", "web: serve", "1").await;
    let pods = || async { platform.ann("GET", "/api/apps/hill/status", json!(null)).await["pods"].take() };
    let before = pods().await[0]["name"].as_str().unwrap().to_owned();
    let (status, answer) = platform.ask(ANN, "DELETE", &format!("/api/apps/hill/pods/{before}"), json!(null)).await;
    assert_eq!(status, 202, "{answer}");
    // The runtime's word travels to the fleet by itself.
    let after = async {
        loop {
            let now = pods().await;
            if now[0]["name"] != json!(before) && now[0]["status"] == "Healthy" {
                return now;
            }
            tokio::task::yield_now().await;
        }
    };
    let after = tokio::time::timeout(Duration::from_secs(10), after).await.unwrap();
    assert_eq!(after.as_array().unwrap().len(), 1);
    let (status, text) = platform.refused("DELETE", &format!("/api/apps/hill/pods/{before}"), json!(null)).await;
    assert!(status == 404 && text.contains("gigalixir ps"), "{text}");
    assert_eq!(platform.ann("GET", "/api/apps/hill/activity", json!(null)).await[0]["kind"], "kill");
}

#[tokio::test]
async fn activity_tells_who_did_what_and_no_secret() {
    let platform = Platform::new().await;
    platform.ann("POST", "/api/apps", json!({"unique_name": "hill"})).await;
    platform.push("hill", "web: serve", "1").await;
    let grant = json!({"email": BEN, "role": "collaborator"});
    platform.ann("POST", "/api/apps/hill/permissions", grant).await;
    let ben = |method: &'static str, path: &'static str, body: Value| {
        let platform = &platform;
        async move {
            let (status, answer) = platform.ask(BEN, method, &format!("/api/apps/hill{path}"), body).await;
            assert!(status < 300, "{method} {path}: {answer}");
        }
    };
    ben("POST", "/configs", json!({"configs": {"WORD": "swordfish"}})).await;
    ben("PUT", "/scale", json!({"replicas": 2})).await;
    ben("PUT", "/restart", json!(null)).await;
    ben("POST", "/releases/1/rollback", json!(null)).await;
    ben("PUT", "/stack", json!({"stack": "debian-13"})).await;
    ben("POST", "/domains", json!({"fqdn": "hill.test"})).await;
    ben("PUT", "/maintenance", json!({"enable": true})).await;
    ben("PUT", "/maintenance", json!({"enable": true})).await;

    let done = platform.ann("GET", "/api/apps/hill/activity", json!(null)).await;
    assert!(!done.to_string().contains("swordfish"));
    let text = |deed: &Value, field| deed[field].as_str().unwrap().to_owned();
    let told = done.as_array().unwrap().iter().map(|deed| (text(deed, "kind"), text(deed, "summary")));
    let expected = [
        ("maintenance", "Maintenance mode on."),
        ("domain", "Add the domain hill.test."),
        ("stack", "Set the stack to debian-13."),
        ("rollback", "Rollback to v1."),
        ("restart", "Restart."),
        ("scale", "Scale to web=2, size 0.5."),
        ("config", "Set `WORD` config var."),
        ("access", "Give ben@example.com the role COLLABORATOR."),
        ("deploy", "Deploy 1111111"),
    ];
    let expected = expected.map(|(kind, summary)| (kind.to_owned(), summary.to_owned()));
    assert_eq!(told.collect::<Vec<_>>(), expected);
    assert_eq!((&done[0]["created_by"], &done[8]["created_by"]), (&json!(BEN), &json!(ANN)));
}

#[tokio::test]
async fn of_two_changes_of_rules_at_once_neither_is_lost() {
    let platform = Platform::new().await;
    platform.ann("POST", "/api/apps", json!({"unique_name": "hill"})).await;
    let path = "/api/apps/hill/router";
    let change = |wish| platform.ann("PATCH", path, wish);
    tokio::join!(
        change(json!({"affinity": true})),
        change(json!({"access_log": true})),
        change(json!({"canonical": "www"})),
        change(json!({"max_connections": 7})),
    );
    let rules = platform.ann("GET", path, json!(null)).await;
    let expected = (&json!(true), &json!(true), &json!("www"), &json!(7));
    assert_eq!((&rules["affinity"], &rules["access_log"], &rules["canonical"], &rules["max_connections"]), expected);
}

//! Use, drains, and what replicas and ingresses ask, through the whole door.

use super::*;
use crate::server::metering::Metering;

/// More than any test takes, in cents of size 0.5 at 1.00 a second.
const SLACK: i64 = 100 * 50;

impl Platform {
    async fn metering(&self) -> Metering {
        let price = Price::parse(1.0).unwrap();
        Metering::start(self.store.clone(), self.runtime.clone(), self.clock.clone(), price).await.unwrap()
    }
}

#[track_caller]
fn about(found: &Value, wanted: i64) {
    let found = found.as_i64().unwrap();
    assert!((wanted..wanted + SLACK).contains(&found), "{found} instead of {wanted}");
}

#[tokio::test]
async fn use_is_told_by_app_and_period_and_an_ended_period_is_an_invoice() {
    const HOUR: i64 = 3600 * 50;
    let platform = Platform::new().await;
    let metering = platform.metering().await;
    for path in ["/api/usage", "/api/usage/run_rate", "/api/invoices"] {
        assert_eq!(platform.ann("GET", path, json!(null)).await, json!([]), "{path}");
    }
    platform.ann("POST", "/api/apps", json!({"unique_name": "hill"})).await;
    platform.push("hill", "web: serve", "1").await;
    // The meter hears of it by an event.
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while platform.ann("GET", "/api/usage/run_rate", json!(null)).await == json!([]) {
        assert!(std::time::Instant::now() < end, "no meter");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    platform.clock.pass(Duration::from_secs(3600));
    let usage = platform.ann("GET", "/api/usage", json!(null)).await;
    about(&usage[0]["amount_cents"], HOUR);
    assert_eq!((&usage[0]["app"], &usage[0]["currency"]), (&json!("hill"), &json!("EUR")));
    assert_eq!(platform.ask(BEN, "GET", "/api/usage", json!(null)).await.1["data"], json!([]), "not another's");
    let rate = platform.ann("GET", "/api/usage/run_rate", json!(null)).await;
    let days = rate[0]["amount_cents"].as_i64().unwrap() / (24 * HOUR);
    assert!((28..=31).contains(&days) && rate[0]["replicas"] == 1 && rate[0]["size"] == 0.5, "{rate}");

    platform.clock.pass(Duration::from_secs(32 * 86_400));
    let invoices = platform.ann("GET", "/api/invoices", json!(null)).await;
    let usage = platform.ann("GET", "/api/usage", json!(null)).await;
    assert_eq!(invoices.as_array().unwrap().len(), 1, "{invoices}");
    assert_eq!((&invoices[0]["app_name"], &invoices[0]["paid"]), (&json!("hill"), &json!(false)));
    assert_eq!(invoices[0]["period_end"], usage[0]["period_start"]);
    let both = json!(invoices[0]["amount_cents"].as_i64().unwrap() + usage[0]["amount_cents"].as_i64().unwrap());
    about(&both, (32 * 24 + 1) * HOUR);
    let by_day = platform.ann("GET", "/api/apps/hill/usage", json!(null)).await;
    let by_day = by_day.as_array().unwrap();
    assert!(by_day.is_sorted_by(|a, b| a["day"].as_str() > b["day"].as_str()), "newest first: {by_day:?}");
    about(&json!(by_day.iter().map(|day| day["amount_cents"].as_i64().unwrap()).sum::<i64>()), (32 * 24 + 1) * HOUR);

    platform.ann("DELETE", "/api/apps/hill", json!(null)).await;
    metering.close().await;
    assert_eq!(platform.ann("GET", "/api/usage/run_rate", json!(null)).await, json!([]));
    about(
        &platform.ann("GET", "/api/usage", json!(null)).await[0]["amount_cents"],
        usage[0]["amount_cents"].as_i64().unwrap(),
    );
    let mut after = platform.ann("GET", "/api/invoices", json!(null)).await;
    // What had not been settled before was told by clocks that were read one after the other.
    about(&after[0]["amount_cents"].take(), invoices[0]["amount_cents"].as_i64().unwrap() - 1);
    let mut before = invoices;
    before[0]["amount_cents"].take();
    assert_eq!(after, before, "an app's end changes no invoice");
}

#[tokio::test]
async fn drains_are_listed_and_only_who_may_change_them_sees_the_whole_address() {
    let platform = Platform::new().await;
    platform.ann("POST", "/api/apps", json!({"unique_name": "hill"})).await;
    platform.ann("POST", "/api/apps/hill/permissions", json!({"email": DAN, "role": "VIEWER"})).await;
    let path = "/api/apps/hill/drains";
    let url = "http://me:hush@127.0.0.1:9/hush?k=hush";
    let (status, made) = platform.ask(ANN, "POST", path, json!({"url": url})).await;
    assert_eq!((status, &made["data"]["url"]), (201, &json!(url)), "{made}");
    let id = made["data"]["id"].as_str().unwrap().to_owned();
    assert!(made["data"]["token"].as_str().unwrap().starts_with("d."));
    assert_eq!(platform.ann("GET", path, json!(null)).await[0]["url"], url);
    let seen = platform.ask(DAN, "GET", path, json!(null)).await.1;
    assert_eq!(seen["data"][0]["url"], "http://127.0.0.1:9");
    let log = platform.send(DAN, "GET", "/api/apps/hill/logs?follow=False", json!(null)).await;
    let log = log.into_body().collect().await.unwrap().to_bytes();
    let told = String::from_utf8_lossy(&log).into_owned()
        + &platform.ann("GET", "/api/apps/hill/activity", json!(null)).await.to_string();
    assert!(told.contains("127.0.0.1:9") && !told.contains("hush"), "{told}");

    platform.ann("POST", path, json!({"url": "syslog://127.0.0.1:9"})).await;
    for (body, reason) in [
        (json!({"url": "syslog://127.0.0.1:9"}), "2 drains"),
        (json!({"url": "nonsense"}), "invalid format"),
        (json!({}), "url"),
    ] {
        let (status, text) = platform.refused("POST", path, body).await;
        assert!(status == 422 && text.contains(reason), "{status} {text}");
    }
    for gone in [json!({"drain_id": "0"}), json!({"drain_id": "x"}), json!({"drain_id": 4711})] {
        assert_eq!(platform.refused("DELETE", path, gone).await.0, 404);
    }
    assert_eq!(platform.ann("DELETE", path, json!({"drain_id": id})).await, "deleted");
    let left = platform.ann("GET", path, json!(null)).await;
    let number: i64 = left[0]["id"].as_str().unwrap().parse().unwrap();
    platform.ann("DELETE", path, json!({"drain_id": number})).await;
    assert_eq!(platform.ann("GET", path, json!(null)).await, json!([]));
}

#[tokio::test]
async fn a_replica_is_told_all_that_its_app_needs() {
    let platform = Platform::new().await;
    platform.ann("POST", "/api/apps", json!({"unique_name": "hill"})).await;
    let app = platform.store.app_by_name(&AppName::parse("hill").unwrap()).await.unwrap();
    let secrets = platform.releases.secrets(app.id).await.unwrap();
    let ask =
        async |path: &str| platform.ask_with("hill", &secrets.app_key, "GET", &format!("/api/apps/hill{path}")).await;
    assert_eq!(ask("/releases/current").await.0, 404, "nothing was pushed");
    platform.push("hill", "web: serve", "1").await;
    platform.ann("POST", "/api/apps/hill/configs", json!({"configs": {"A": "1"}})).await;
    let (status, answer) = ask("/releases/current").await;
    assert_eq!(status, 200);
    let release = &answer["data"];
    assert_eq!(release["config"], json!({"A": "1"}));
    assert_eq!((&release["version"], &release["replicas"]), (&json!(2), &json!(1)));
    assert_eq!(release["sha"], "1".repeat(40));
    assert_eq!((&release["customer_app_name"], &release["cloud"]), (&json!("hill"), &json!("local")));
    assert!(release["capabilities"]["distillery"].is_object());
    assert_eq!(release["secret_key_base"], secrets.secret_key_base);
    assert_eq!(release["libcluster_kubernetes_selector"], "repo=hill");
    let url = Url::parse(release["slug_url"].as_str().unwrap()).unwrap();
    assert_eq!(url.host_str(), Some("api.platform.test"));
    let query: std::collections::HashMap<_, _> = url.query_pairs().into_owned().collect();
    let digest = SlugDigest::parse(&hex::encode(Sha256::digest("1"))).unwrap();
    assert!(platform.slugs.verify(&digest, query["expires"].parse().unwrap(), &query["signature"]));

    let host = platform.deployer.status(&app.name).pop().unwrap().name;
    assert_eq!(ask(&format!("/host_indexes/{host}/assign")).await.1, json!({"data": {"index": 1}}));
    assert_eq!(ask("/host_indexes/another/assign").await.0, 404);

    let keys = ["AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"; 3]
        .map(|key| format!("ssh-ed25519 {key}"));
    for (who, role, key) in
        [(ANN, None, &keys[0]), (BEN, Some("COLLABORATOR"), &keys[1]), (DAN, Some("VIEWER"), &keys[2])]
    {
        if let Some(role) = role {
            platform.ann("POST", "/api/apps/hill/permissions", json!({"email": who, "role": role})).await;
        }
        let key = format!("{key} {who}");
        assert_eq!(platform.ask(who, "POST", "/api/ssh_keys", json!({"ssh_key": key})).await.0, 201);
    }
    let open = ask("/ssh_keys").await.1;
    assert_eq!(open["data"], json!([format!("{} {ANN}", keys[0]), format!("{} {BEN}", keys[1])]), "no viewer's");
}

#[tokio::test]
async fn an_ingress_is_told_what_stands_between() {
    let platform = Platform::new().await;
    for app in ["hill", "dell"] {
        platform.ann("POST", "/api/apps", json!({"unique_name": app})).await;
    }
    platform.push("hill", "web: serve", "1").await;
    let ask = async |key: &str, host: &str| {
        platform.ask_with("", key, "GET", &format!("/api/default_backend/domain?domain={host}")).await
    };
    for (host, status) in [
        ("hill.example.com", "ok"),
        ("dell.example.com", "release_not_found"),
        ("dale.example.com", "app_not_found"),
        ("www.example.org", "domain_not_found"),
        ("", "domain_not_found"),
    ] {
        assert_eq!(ask("ingress", host).await, (200, json!({"data": {"status": status}})), "{host}");
    }
    platform.ann("PUT", "/api/apps/hill/scale", json!({"replicas": 0})).await;
    assert_eq!(ask("ingress", "hill.example.com").await.1["data"]["status"], "replicas_not_found");
    for key in ["", "other"] {
        assert_eq!(ask(key, "hill.example.com").await.0, 401);
    }
    assert_eq!(platform.ask(ANN, "GET", "/api/default_backend/domain?domain=x", json!(null)).await.0, 401);
}

#[tokio::test]
async fn what_is_not_offered_says_so() {
    let platform = Platform::new().await;
    for (method, path) in [("POST", "/api/oauth/google"), ("GET", "/api/oauth/google/session")] {
        let (status, text) = platform.refused(method, path, json!(null)).await;
        assert!(status == 404 && text.contains("gigalixir login"), "{status} {text}");
        assert_eq!(platform.ask_with("nobody", "", method, path).await.0, 404, "for strangers");
    }
}

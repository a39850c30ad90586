//! Ssh keys through the whole door.

use serde_json::{Value, json};

use crate::server::config::Signups;
use crate::server::http::testing::{Arrived, Platform};

const ANN: &str = "ann@example.org";
const BEN: &str = "ben@example.org";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ann@home";

async fn ask(platform: &Platform, who: (&str, &str), method: &str, path: &str, body: Value) -> Arrived {
    platform.ask(method, path, Some(who), Some(body)).await
}

/// A well-formed key that differs by `n`.
fn numbered(n: u8) -> String {
    use base64::Engine;
    let blob = [&[0, 0, 0, 11][..], b"ssh-ed25519", &[0, 0, 0, 32], &[n; 32]].concat();
    format!("ssh-ed25519 {}", base64::prelude::BASE64_STANDARD.encode(blob))
}

#[tokio::test]
async fn keys_come_and_go_in_both_forms() {
    let platform = Platform::new(Signups::Open);
    let key = platform.signed_up(ANN, "a fine password").await;
    let ann = (ANN, key.as_str());
    assert_eq!(platform.ask("GET", "/api/ssh_keys", Some(ann), None).await.body, json!({ "data": [] }));
    let added = ask(&platform, ann, "POST", "/api/ssh_keys", json!({ "ssh_key": KEY })).await;
    assert_eq!(added.status, 201, "{added:?}");
    let listed = platform.ask("GET", "/api/ssh_keys", Some(ann), None).await.body;
    let (id, shown) = (&listed["data"][0]["id"], &listed["data"][0]);
    assert_eq!((shown["key"].as_str(), shown), (Some(KEY), &added.body["data"]));
    let again = ask(&platform, ann, "POST", "/api/ssh_keys", json!({ "ssh_key": KEY.replace("home", "work") })).await;
    assert_eq!((again.status.as_u16(), again.refusal()), (422, ("ssh_key", "has already been added")));
    let removed = ask(&platform, ann, "DELETE", "/api/ssh_keys", json!({ "id": id })).await;
    assert_eq!(removed.status, 200, "{removed:?}");
    let added = ask(&platform, ann, "POST", "/api/ssh_keys", json!({ "ssh_key": KEY })).await;
    let path = format!("/api/ssh_keys/{}", added.body["data"]["id"].as_str().unwrap());
    assert_eq!(platform.ask("DELETE", &path, Some(ann), None).await.status, 200);
    assert_eq!(platform.ask("DELETE", &path, Some(ann), None).await.status, 404);
    assert_eq!(platform.ask("GET", "/api/ssh_keys", Some(ann), None).await.body, json!({ "data": [] }));
}

#[tokio::test]
async fn what_is_no_key_or_not_mine_is_refused() {
    let platform = Platform::new(Signups::Open);
    let (ann, ben) =
        (platform.signed_up(ANN, "a fine password").await, platform.signed_up(BEN, "another password").await);
    let (ann, ben) = ((ANN, ann.as_str()), (BEN, ben.as_str()));
    for (text, why) in [("", "blank"), ("hello", "invalid format"), ("-----BEGIN RSA PRIVATE KEY-----", "private")] {
        let refused = ask(&platform, ann, "POST", "/api/ssh_keys", json!({ "ssh_key": text })).await;
        assert_eq!((refused.status.as_u16(), refused.refusal().0), (422, "ssh_key"));
        assert!(refused.refusal().1.contains(why), "{refused:?}");
    }
    let added = ask(&platform, ann, "POST", "/api/ssh_keys", json!({ "ssh_key": KEY })).await;
    let id = added.body["data"]["id"].clone();
    assert_eq!(ask(&platform, ben, "DELETE", "/api/ssh_keys", json!({ "id": id })).await.status, 404, "Ann's");
    assert_eq!(ask(&platform, ben, "POST", "/api/ssh_keys", json!({ "ssh_key": KEY })).await.status, 201);
    for id in [json!("x"), json!(-1), json!("99999999999999999999")] {
        assert_eq!(ask(&platform, ann, "DELETE", "/api/ssh_keys", json!({ "id": id })).await.status, 404);
    }
    assert_eq!(ask(&platform, ann, "DELETE", "/api/ssh_keys", json!({ "id": "" })).await.status, 422);
    assert_eq!(ask(&platform, ann, "DELETE", "/api/ssh_keys", json!({})).await.status, 422);
    for method in ["GET", "POST", "DELETE"] {
        assert_eq!(platform.ask(method, "/api/ssh_keys", None, None).await.status, 401, "{method}");
    }
}

#[tokio::test]
async fn there_is_an_end_to_them() {
    let platform = Platform::new(Signups::Open);
    let key = platform.signed_up(ANN, "a fine password").await;
    for n in 0..50 {
        let body = json!({ "ssh_key": numbered(n) });
        assert_eq!(ask(&platform, (ANN, &key), "POST", "/api/ssh_keys", body).await.status, 201);
    }
    let refused = ask(&platform, (ANN, &key), "POST", "/api/ssh_keys", json!({ "ssh_key": numbered(50) })).await;
    assert_eq!(refused.status, 422);
    assert!(refused.refusal().1.contains("at most 50"), "{refused:?}");
}

//! Payment methods through the whole door.

use axum::body::Body;
use axum::http::{Request, header};
use base64::Engine;
use serde_json::json;

use crate::server::config::Signups;
use crate::server::domain::UserId;
use crate::server::http::testing::{Arrived, Platform};

const ME: &str = "me@example.org";

async fn put_as(platform: &Platform, agent: &str, key: &str) -> Arrived {
    let basic = base64::prelude::BASE64_STANDARD.encode(format!("{ME}:{key}"));
    let request = Request::builder()
        .method("PUT")
        .uri("/api/payment_methods")
        .header(header::USER_AGENT, agent)
        .header(header::AUTHORIZATION, format!("Basic {basic}"))
        .body(Body::from(json!({ "stripe_token": "tok_visa_4242" }).to_string()));
    platform.send(request.unwrap()).await
}

#[tokio::test]
async fn a_token_is_kept_and_never_shown() {
    let platform = Platform::new(Signups::Open);
    let key = platform.signed_up(ME, "a fine password").await;
    let me = Some((ME, key.as_str()));
    assert_eq!(platform.ask("GET", "/api/payment_methods", me, None).await.status, 404);
    assert_eq!(put_as(&platform, "GigalixirCLI/1.16.1", &key).await.status, 200);
    assert_eq!(put_as(&platform, "python-requests/2.13.0", &key).await.status, 201, "2017 knows only this");
    let shown = platform.ask("GET", "/api/payment_methods", me, None).await;
    assert_eq!(shown.status, 200);
    assert!(!shown.body.to_string().contains("4242"), "{shown:?}");
    for field in ["brand", "last4", "exp_month", "exp_year"] {
        assert!(shown.body["data"].get(field).is_some(), "{shown:?}");
    }
}

#[tokio::test]
async fn an_upgrade_changes_no_tier_and_a_promotion_is_refused() {
    let platform = Platform::new(Signups::Open);
    let key = platform.signed_up(ME, "a fine password").await;
    let me = Some((ME, key.as_str()));
    let body = json!({ "stripe_token": "tok_1", "promo_code": "HALF" });
    assert_eq!(platform.ask("POST", "/api/upgrade", me, Some(body)).await.refusal().0, "promo_code");
    assert_eq!(platform.ask("GET", "/api/payment_methods", me, None).await.status, 404, "nothing was kept");
    assert_eq!(platform.ask("POST", "/api/upgrade", me, Some(json!({ "stripe_token": "tok_1" }))).await.status, 200);
    assert_eq!(platform.ask("GET", "/api/users", me, None).await.body["data"]["tier"], "FREE");
    for token in ["", " ", &"x".repeat(1025)] {
        let refused = platform.ask("PUT", "/api/payment_methods", me, Some(json!({ "stripe_token": token }))).await;
        assert_eq!((refused.status.as_u16(), refused.refusal().0), (422, "stripe_token"));
    }
    assert_eq!(platform.ask("GET", "/api/payment_methods", None, None).await.status, 401);
}

/// The kept token of the only account.
async fn kept(platform: &Platform) -> String {
    let sealed = platform.store.payment_method(UserId(1)).await.unwrap().expect("a token");
    assert!(!sealed.windows(4).any(|four| four == b"tok_"), "it is sealed");
    String::from_utf8(platform.sealer.unseal("user:1/payment", &sealed).unwrap()).unwrap()
}

#[tokio::test]
async fn where_use_has_a_price_a_signup_may_bring_a_token() {
    let platform = Platform::with_billing();
    let uuid = platform.confirmed(ME).await;
    let step = async |step: serde_json::Value| {
        let mut step = step;
        step["uuid"] = uuid.as_str().into();
        platform.ask("POST", "/api/signup", None, Some(step)).await
    };
    assert_eq!(step(json!({ "password": "a fine password" })).await.status, 200);
    assert_eq!(step(json!({ "promo_code": "HALF" })).await.refusal().0, "promo_code", "nothing is given away");
    assert_eq!(step(json!({ "tier": "STANDARD" })).await.refusal().0, "stripe_token", "not without a token");
    assert_eq!(step(json!({ "tier": "GOLD" })).await.refusal(), ("tier", "should be FREE or STANDARD"));
    assert_eq!(step(json!({ "stripe_token": "" })).await.refusal().0, "stripe_token");
    assert_eq!(step(json!({ "stripe_token": "tok_first" })).await.status, 200);
    assert_eq!(step(json!({ "stripe_token": "tok_second" })).await.status, 200, "the newest counts");
    let done = step(json!({ "tier": "STANDARD" })).await;
    assert_eq!(done.status, 200, "{done:?}");
    let key = done.body["data"]["key"].as_str().unwrap().to_owned();
    let me = Some((ME, key.as_str()));
    assert_eq!(platform.ask("GET", "/api/users", me, None).await.body["data"]["tier"], "STANDARD");
    assert_eq!(platform.ask("GET", "/api/payment_methods", me, None).await.status, 200);
    assert_eq!(kept(&platform).await, "tok_second");
    let stranger = json!({ "uuid": "none", "stripe_token": "tok_1" });
    assert_eq!(platform.ask("POST", "/api/signup", None, Some(stranger)).await.refusal().0, "uuid");
}

#[tokio::test]
async fn a_token_of_a_free_signup_is_forgotten_and_an_upgrade_brings_another() {
    let platform = Platform::with_billing();
    let uuid = platform.confirmed(ME).await;
    for step in [json!({ "password": "a fine password" }), json!({ "stripe_token": "tok_1" })] {
        let mut step = step;
        step["uuid"] = uuid.as_str().into();
        assert_eq!(platform.ask("POST", "/api/signup", None, Some(step)).await.status, 200);
    }
    let done = platform.ask("POST", "/api/signup", None, Some(json!({ "uuid": uuid, "tier": "FREE" }))).await;
    let key = done.body["data"]["key"].as_str().unwrap().to_owned();
    let me = Some((ME, key.as_str()));
    assert_eq!(platform.ask("GET", "/api/payment_methods", me, None).await.status, 404);
    let upgraded = platform.ask("POST", "/api/upgrade", me, Some(json!({ "stripe_token": "tok_3" }))).await;
    assert_eq!(upgraded.status, 200, "{upgraded:?}");
    assert_eq!(platform.ask("GET", "/api/users", me, None).await.body["data"]["tier"], "STANDARD");
    assert_eq!(kept(&platform).await, "tok_3");
}

#[tokio::test]
async fn a_signup_of_2017_brings_its_token_at_once() {
    let platform = Platform::with_billing();
    let wish = json!({ "email": ME, "password": "a fine password", "stripe_token": "tok_2017" });
    assert_eq!(platform.ask("POST", "/api/users", None, Some(wish)).await.status, 200);
    // A long line is broken in a mail.
    let mail = platform.mails(ME, 1).await.pop().unwrap().replace("=\r\n", "");
    let path =
        mail.split_whitespace().find_map(|word| word.strip_prefix("http://api.test")).expect("a link").to_owned();
    assert_eq!(platform.ask("POST", &path, None, None).await.status, 200);
    let login = platform.ask("GET", "/api/login", Some((ME, "a fine password")), None).await;
    let key = login.body["data"]["key"].as_str().unwrap().to_owned();
    assert_eq!(platform.ask("GET", "/api/users", Some((ME, &key)), None).await.body["data"]["tier"], "STANDARD");
    assert_eq!(kept(&platform).await, "tok_2017");
}

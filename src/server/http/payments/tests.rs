//! Payment methods through the whole door.

use axum::body::Body;
use axum::http::{Request, header};
use base64::Engine;
use serde_json::json;

use crate::server::config::Signups;
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

//! Second factors through the whole door.

use std::time::Duration;

use serde_json::{Value, json};
use totp_rs::Totp;

use crate::server::config::Signups;
use crate::server::http::testing::{Arrived, Platform};

const ME: &str = "me@example.org";
const PASSWORD: &str = "a fine password";

/// An authenticator app.
struct App(Totp);

impl App {
    fn token(&self, platform: &Platform) -> String {
        self.0.generate(platform.clock.now().as_second() as u64).to_string()
    }

    fn wrong(&self, platform: &Platform) -> String {
        let right: u32 = self.token(platform).parse().unwrap();
        format!("{:06}", (right + 500_000) % 1_000_000)
    }
}

async fn login(platform: &Platform, token: &str) -> Arrived {
    let path = if token.is_empty() { "/api/login".to_owned() } else { format!("/api/login?mfa_token={token}") };
    platform.ask("GET", &path, Some((ME, PASSWORD)), None).await
}

async fn start(platform: &Platform, key: &str) -> App {
    let begun = platform.ask("POST", "/api/mfa/start", Some((ME, key)), Some(json!({}))).await;
    assert_eq!(begun.status, 200, "{begun:?}");
    let url = begun.body["data"]["url"].as_str().unwrap();
    assert!(url.starts_with("otpauth://totp/") && url.contains("secret="), "{url}");
    App(Totp::from_url(url).unwrap())
}

async fn verify(platform: &Platform, key: &str, token: &str) -> Arrived {
    platform.ask("POST", "/api/mfa/verify", Some((ME, key)), Some(json!({ "mfa_token": token }))).await
}

/// A platform with a person who has a second factor: their key, app and recovery codes. The step is over.
async fn activated() -> (Platform, String, App, Vec<String>) {
    let platform = Platform::new(Signups::Open);
    let key = platform.signed_up(ME, PASSWORD).await;
    let app = start(&platform, &key).await;
    let done = verify(&platform, &key, &app.token(&platform)).await;
    assert_eq!(done.status, 200, "{done:?}");
    let codes = codes(&done.body);
    platform.clock.advance(Duration::from_secs(30));
    (platform, key, app, codes)
}

fn codes(body: &Value) -> Vec<String> {
    serde_json::from_value(body["data"]["recovery_codes"].clone()).unwrap()
}

#[tokio::test]
async fn a_login_needs_the_token_once_it_is_active() {
    let platform = Platform::new(Signups::Open);
    let key = platform.signed_up(ME, PASSWORD).await;
    let other = login(&platform, "").await.body["data"]["key"].as_str().unwrap().to_owned();
    let app = start(&platform, &key).await;
    assert_eq!(login(&platform, "").await.status, 200, "begun is not active");
    assert_eq!(verify(&platform, &key, &app.wrong(&platform)).await.refusal(), ("mfa_token", "is wrong"));
    let used = app.token(&platform);
    assert_eq!(verify(&platform, &key, &used).await.status, 200);
    assert_eq!(platform.ask("GET", "/api/users", Some((ME, &key)), None).await.status, 200, "the key in use stays");
    assert_eq!(platform.ask("GET", "/api/users", Some((ME, &other)), None).await.status, 401, "all others ended");

    let asked = login(&platform, "").await;
    assert_eq!(asked.status, 303);
    assert!(!asked.headers.contains_key("location"), "{asked:?}");
    assert_eq!(login(&platform, &used).await.status, 401, "the token was used to activate");
    platform.clock.advance(Duration::from_secs(30));
    assert_eq!(login(&platform, &app.wrong(&platform)).await.refusal().0, "mfa_token");
    let token = app.token(&platform);
    assert_eq!(login(&platform, &token).await.status, 200);
    assert_eq!(login(&platform, &token).await.status, 401, "a token is good once");
    let wrong = platform.ask("GET", "/api/login", Some((ME, "not this one")), None).await;
    assert_eq!(wrong.status, 401, "without the password nobody learns of it");
}

#[tokio::test]
async fn the_forms_of_2017_are_no_way_around_it() {
    let (platform, _, app, _) = activated().await;
    let me = Some((ME, PASSWORD));
    assert_eq!(platform.ask("POST", "/api/api_keys", me, None).await.status, 303);
    let body = json!({ "new_password": "another password" });
    assert_eq!(platform.ask("PATCH", "/api/users", me, Some(body)).await.status, 303);
    let path = format!("/api/api_keys?mfa_token={}", app.token(&platform));
    assert_eq!(platform.ask("POST", &path, me, None).await.status, 201);
}

#[tokio::test]
async fn recovery_codes_are_good_once_and_replaced_together() {
    let (platform, key, _, codes) = activated().await;
    assert_eq!(codes.len(), 10);
    assert_eq!(login(&platform, &codes[0].to_uppercase().replace('-', "%20")).await.status, 200);
    assert_eq!(login(&platform, &codes[0]).await.status, 401);
    let renewed = platform.ask("POST", "/api/mfa/recovery_codes", Some((ME, &key)), Some(json!({}))).await;
    assert_eq!(renewed.status, 200, "{renewed:?}");
    assert_eq!(login(&platform, &codes[1]).await.status, 401, "the earlier ones are void");
    assert_eq!(login(&platform, &self::codes(&renewed.body)[0]).await.status, 200);
}

#[tokio::test]
async fn it_is_switched_off_and_on_again() {
    let (platform, key, app, codes) = activated().await;
    let me = Some((ME, key.as_str()));
    assert_eq!(platform.ask("POST", "/api/mfa/start", me, None).await.status, 409, "active already");
    assert_eq!(verify(&platform, &key, &app.token(&platform)).await.status, 409, "nothing is begun");
    assert_eq!(platform.ask("DELETE", "/api/mfa", me, Some(json!({}))).await.status, 200);
    assert_eq!(platform.ask("DELETE", "/api/mfa", me, Some(json!({}))).await.status, 409);
    assert_eq!(platform.ask("POST", "/api/mfa/recovery_codes", me, None).await.status, 409);
    assert_eq!(login(&platform, "").await.status, 200);
    let fresh = start(&platform, &key).await;
    assert_eq!(verify(&platform, &key, &app.wrong(&platform)).await.status, 422);
    assert_eq!(verify(&platform, &key, &fresh.token(&platform)).await.status, 200);
    assert_eq!(login(&platform, &codes[2]).await.status, 401, "codes go with their secret");
}

#[tokio::test]
async fn guessing_is_slowed_down() {
    let (platform, _, app, codes) = activated().await;
    for _ in 0..10 {
        assert_eq!(login(&platform, &app.wrong(&platform)).await.status, 401);
    }
    let slowed = login(&platform, &codes[0]).await;
    assert_eq!(slowed.status, 429, "{slowed:?}");
    assert!(slowed.headers.contains_key("retry-after"));
    assert_eq!(platform.ask("POST", "/api/mfa/start", None, None).await.status, 401);
}

//! Changes of address and the end of an account, through the whole door.

use std::time::Duration;

use serde_json::json;

use crate::server::config::Signups;
use crate::server::http::testing::{Arrived, Platform};

const OLD: &str = "old@example.org";
const NEW: &str = "new@example.org";
const PASSWORD: &str = "a fine password";

async fn whoami(platform: &Platform, email: &str, key: &str) -> u16 {
    platform.ask("GET", "/api/users", Some((email, key)), None).await.status.as_u16()
}

async fn wish(platform: &Platform, key: &str, next: &str, password: &str) -> Arrived {
    let body = json!({ "next_email": next, "current_password": password });
    platform.ask("POST", "/api/users/email", Some((OLD, key)), Some(body)).await
}

async fn hand_in(platform: &Platform, verb: &str, token: &str) -> Arrived {
    platform.ask("POST", &format!("/api/users/email/{verb}"), None, Some(json!({ "token": token }))).await
}

fn token_in(mail: &str) -> String {
    mail.lines().find_map(|line| line.strip_prefix("Token: ")).unwrap_or_else(|| panic!("no token: {mail}")).to_owned()
}

/// Somebody at the old address who asked for the new one: key, the new address's token, the old one's.
async fn asked(platform: &Platform) -> (String, String, String) {
    let key = platform.signed_up(OLD, PASSWORD).await;
    let asked = wish(platform, &key, NEW, PASSWORD).await;
    assert_eq!(asked.status, 200, "{asked:?}");
    let confirm = token_in(&platform.mails(NEW, 1).await[0]);
    let revoke = token_in(&platform.mails(OLD, 2).await[1]);
    (key, confirm, revoke)
}

#[tokio::test]
async fn the_new_address_has_to_confirm() {
    let platform = Platform::new(Signups::Open);
    let (key, confirm, revoke) = asked(&platform).await;
    assert_eq!(whoami(&platform, OLD, &key).await, 200, "nothing has changed yet");
    assert_eq!(hand_in(&platform, "confirm", &revoke).await.status, 422, "the other mail's token");
    assert_eq!(hand_in(&platform, "confirm", "x").await.refusal().0, "token");
    platform.ask("PUT", "/api/users/reset_password", None, Some(json!({ "email": OLD }))).await;
    let reset = token_in(&platform.mails(OLD, 3).await[2]);
    let done = hand_in(&platform, "confirm", &confirm).await;
    assert_eq!((done.status.as_u16(), done.body["data"]["email"].as_str()), (200, Some(NEW)));
    assert_eq!((whoami(&platform, OLD, &key).await, whoami(&platform, NEW, &key).await), (401, 200));
    assert_eq!(platform.ask("GET", "/api/login", Some((NEW, PASSWORD)), None).await.status, 200);
    assert_eq!(hand_in(&platform, "confirm", &confirm).await.status, 422, "once");
    let reset = json!({ "token": reset, "password": "an intruder's" });
    let late = platform.ask("POST", "/api/users/reset_password", None, Some(reset)).await;
    assert_eq!(late.status, 422, "the former address sets no password any more");
}

#[tokio::test]
async fn the_old_address_can_undo_it() {
    let platform = Platform::new(Signups::Open);
    let (key, confirm, revoke) = asked(&platform).await;
    assert_eq!(hand_in(&platform, "confirm", &confirm).await.status, 200);
    platform.clock.advance(Duration::from_secs(6 * 24 * 3600));
    let undone = hand_in(&platform, "revoke", &revoke).await;
    assert_eq!((undone.status.as_u16(), undone.body["data"]["email"].as_str()), (200, Some(OLD)));
    assert_eq!((whoami(&platform, NEW, &key).await, whoami(&platform, OLD, &key).await), (401, 401), "keys have ended");
    assert_eq!(platform.ask("GET", "/api/login", Some((OLD, PASSWORD)), None).await.status, 200);
    assert_eq!(hand_in(&platform, "revoke", &revoke).await.status, 422, "once");
}

#[tokio::test]
async fn the_old_address_can_stop_it_and_time_does_too() {
    let platform = Platform::new(Signups::Open);
    let (_, confirm, revoke) = asked(&platform).await;
    assert_eq!(hand_in(&platform, "revoke", &revoke).await.status, 200);
    assert_eq!(hand_in(&platform, "confirm", &confirm).await.status, 422);

    let platform = Platform::new(Signups::Open);
    let (_, confirm, revoke) = asked(&platform).await;
    platform.clock.advance(Duration::from_secs(25 * 3600));
    assert_eq!(hand_in(&platform, "confirm", &confirm).await.status, 422, "a day is over");
    platform.clock.advance(Duration::from_secs(7 * 24 * 3600));
    assert_eq!(hand_in(&platform, "revoke", &revoke).await.status, 422, "a week is over");
}

#[tokio::test]
async fn wishes_that_are_refused() {
    let platform = Platform::new(Signups::Open);
    let key = platform.signed_up(OLD, PASSWORD).await;
    platform.signed_up("taken@example.org", PASSWORD).await;
    assert_eq!(wish(&platform, &key, "nonsense", PASSWORD).await.refusal(), ("next_email", "has invalid format"));
    assert_eq!(wish(&platform, &key, OLD, PASSWORD).await.refusal().0, "next_email");
    assert_eq!(wish(&platform, &key, NEW, "wrong").await.refusal(), ("current_password", "is incorrect"));
    let free = wish(&platform, &key, NEW, PASSWORD).await;
    let taken = wish(&platform, &key, "taken@example.org", PASSWORD).await;
    assert_eq!((taken.status, taken.body), (free.status, free.body), "who has an account is nobody's business");
    assert!(!platform.mails("taken@example.org", 2).await[1].contains("Token:"));
    assert_eq!(platform.ask("POST", "/api/users/email", None, None).await.status, 401);

    let token = token_in(&platform.mails(NEW, 1).await[0]);
    platform.signed_up(NEW, PASSWORD).await;
    assert_eq!(hand_in(&platform, "confirm", &token).await.refusal(), ("email", "has already been taken"));
    assert_eq!(whoami(&platform, OLD, &key).await, 200);
}

#[tokio::test]
async fn an_account_ends_for_its_owner_only() {
    let platform = Platform::new(Signups::Open);
    let key = platform.signed_up(OLD, PASSWORD).await;
    let destroy = async |email: &str, password: &str| {
        let body = json!({ "email": email, "current_password": password });
        platform.ask("DELETE", "/api/users/destroy", Some((OLD, &key)), Some(body)).await
    };
    assert_eq!(destroy(OLD, "wrong").await.refusal().0, "current_password");
    assert_eq!(destroy(NEW, PASSWORD).await.refusal().0, "email");
    assert_eq!(platform.ask("DELETE", "/api/users/destroy", None, None).await.status, 401);
    assert_eq!(whoami(&platform, OLD, &key).await, 200);
    assert_eq!(destroy("OLD@example.org", PASSWORD).await.status, 200);
    assert_eq!(whoami(&platform, OLD, &key).await, 401);
    assert_eq!(platform.ask("GET", "/api/login", Some((OLD, PASSWORD)), None).await.status, 401);
    platform.signed_up("other@example.org", PASSWORD).await;
}

#[tokio::test]
async fn the_routes_of_2017() {
    let platform = Platform::new(Signups::Open);
    let valid = platform.ask("GET", "/api/validate_email?email=me%40example.org", None, None).await;
    assert_eq!(valid.status, 200);
    let invalid = platform.ask("GET", "/api/validate_email?email=me", None, None).await;
    assert_eq!((invalid.status.as_u16(), &invalid.body), (422, &json!({ "errors": ["email has invalid format"] })));
    for (path, email) in [("/api/users", NEW), ("/api/free_users", OLD)] {
        let body = json!({ "email": email, "password": PASSWORD, "stripe_token": "tok_1" });
        let begun = platform.ask("POST", path, None, Some(body)).await;
        assert_eq!(begun.status, 200, "{begun:?}");
        let login = async || platform.ask("GET", "/api/login", Some((email, PASSWORD)), None).await.status.as_u16();
        assert_eq!(login().await, 401, "not before the address is confirmed");
        let sent = platform.mails(email, 1).await.pop().unwrap().replace("=\r\n", "");
        platform.ask("PUT", "/api/users/reconfirm_email", None, Some(json!({ "email": email }))).await;
        let again = platform.mails(email, 2).await.pop().unwrap().replace("=\r\n", "");
        let link = |mail: &str| mail.lines().find_map(|line| line.strip_prefix("http://api.test")).unwrap().to_owned();
        assert_ne!(link(&sent), link(&again), "the second one replaces the first");
        assert_eq!(platform.ask("POST", &link(&sent), None, None).await.status, 422);
        let done = platform.ask("POST", &link(&again), None, None).await;
        assert_eq!(done.status, 200, "{done:?}");
        assert_eq!(login().await, 200);
        assert_eq!(platform.ask("POST", &link(&again), None, None).await.status, 422, "once");
    }
    let short = json!({ "email": "x@example.org", "password": "abc" });
    assert_eq!(platform.ask("POST", "/api/users", None, Some(short)).await.refusal().0, "password");
    let google = platform.ask("POST", "/api/signup", None, Some(json!({ "oauth": "google" }))).await;
    assert!(google.status == 422 && google.refusal().1.contains("Google"), "{google:?}");
    let closed = Platform::new(Signups::Closed);
    let body = json!({ "email": NEW, "password": PASSWORD });
    assert_eq!(closed.ask("POST", "/api/users", None, Some(body)).await.status, 403);
}

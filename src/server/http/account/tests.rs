//! Every account route through the whole door, refusals first.

use std::collections::HashSet;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};

use crate::server::config::{Rates, Signups, SmtpConfig};
use crate::server::http::testing::{Arrived, Platform, generous, secret_in};

const ME: &str = "me+x@example.org";
const PASSWORD: &str = "p:a ss/é%41";

async fn signup(platform: &Platform, step: Value) -> Arrived {
    platform.ask("POST", "/api/signup", None, Some(step)).await
}

async fn login(platform: &Platform, email: &str, password: &str) -> Arrived {
    platform.ask("GET", "/api/login", Some((email, password)), None).await
}

async fn whoami(platform: &Platform, key: &str) -> Arrived {
    platform.ask("GET", "/api/users", Some((ME, key)), None).await
}

fn key_of(arrived: &Arrived) -> String {
    arrived.body["data"]["key"].as_str().unwrap_or_else(|| panic!("no key: {arrived:?}")).to_owned()
}

fn quoted(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[tokio::test]
async fn from_signup_to_account() {
    let platform = Platform::new(Signups::First);
    let key = platform.signed_up("ME+x@Example.org", PASSWORD).await;
    let account = whoami(&platform, &key).await;
    assert_eq!(account.status, 200);
    let data = &account.body["data"];
    assert_eq!(
        (data["email"].as_str(), data["tier"].as_str(), data["credit_cents"].as_i64()),
        (Some(ME), Some("FREE"), Some(0))
    );
    let expires: jiff::Timestamp = data["api_key_expires_at"].as_str().unwrap().parse().unwrap();
    let days = (expires - jiff::Timestamp::now()).total(jiff::Unit::Hour).unwrap() / 24.0;
    assert!((364.9..=365.0).contains(&days), "{days}");
    let encoded = platform.ask("GET", "/api/users", Some((&quoted(ME), &quoted(&key))), None).await;
    assert_eq!(encoded.status, 200, "the GitHub action encodes on every call");
}

#[tokio::test]
async fn steps_out_of_order_are_refused() {
    let platform = Platform::new(Signups::Open);
    assert_eq!(signup(&platform, json!({})).await.refusal(), ("email", "can't be blank"));
    for email in ["", "me", "@x", "a b@x", "a@x..org"] {
        assert_eq!(signup(&platform, json!({ "email": email })).await.refusal(), ("email", "has invalid format"));
    }
    let begun = signup(&platform, json!({ "email": ME })).await;
    let uuid = begun.body["data"]["uuid"].as_str().unwrap();
    let early = signup(&platform, json!({ "uuid": uuid, "password": PASSWORD })).await;
    assert_eq!((early.status.as_u16(), early.refusal().0), (422, "confirmation_code"));
    let early = signup(&platform, json!({ "uuid": uuid, "tier": "FREE" })).await;
    assert_eq!((early.status.as_u16(), early.refusal().0), (422, "uuid"));
    for step in [json!({ "confirmation_code": "AAAA", "uuid": "x" }), json!({ "password": PASSWORD, "uuid": "x" })] {
        assert_eq!(signup(&platform, step).await.refusal().0, "uuid", "no such signup");
    }
}

#[tokio::test]
async fn what_is_not_sold_is_refused() {
    let platform = Platform::new(Signups::Open);
    let uuid = platform.confirmed(ME).await;
    for password in ["", "seven77", &"x".repeat(1025)] {
        let refused = signup(&platform, json!({ "uuid": uuid, "password": password })).await;
        assert_eq!((refused.status.as_u16(), refused.refusal().0), (422, "password"));
    }
    for (field, value) in [("promo_code", "HALF"), ("stripe_token", "tok_1"), ("tier", "STANDARD")] {
        let refused = signup(&platform, json!({ "uuid": uuid, field: value })).await;
        assert_eq!((refused.status.as_u16(), refused.refusal().0), (422, field));
    }
    assert_eq!(signup(&platform, json!({ "uuid": uuid, "tier": "FREE" })).await.status, 422, "the password is missing");
}

#[tokio::test]
async fn a_code_is_good_for_a_few_attempts() {
    let platform = Platform::new(Signups::Open);
    let begun = signup(&platform, json!({ "email": ME })).await;
    let uuid = begun.body["data"]["uuid"].as_str().unwrap();
    let code = secret_in(&platform.mails(ME, 1).await[0]);
    for _ in 0..5 {
        let wrong = signup(&platform, json!({ "uuid": uuid, "confirmation_code": "AAAAAAAA" })).await;
        assert_eq!((wrong.status.as_u16(), wrong.refusal()), (422, ("confirmation_code", "is wrong")));
    }
    let right = json!({ "uuid": uuid, "confirmation_code": code });
    assert_eq!(signup(&platform, right.clone()).await.status, 429, "even the right one comes too late");
    platform.ask("PUT", "/api/users/reconfirm_email", None, Some(json!({ "email": ME }))).await;
    let again = secret_in(&platform.mails(ME, 2).await[1]);
    assert_eq!(signup(&platform, json!({ "uuid": uuid, "confirmation_code": again })).await.status, 429);
}

#[tokio::test]
async fn a_code_expires_and_can_be_asked_for_again() {
    let platform = Platform::new(Signups::Open);
    let begun = signup(&platform, json!({ "email": ME })).await;
    let uuid = begun.body["data"]["uuid"].as_str().unwrap();
    let code = secret_in(&platform.mails(ME, 1).await[0]);
    platform.clock.advance(Duration::from_secs(21 * 60));
    let late = signup(&platform, json!({ "uuid": uuid, "confirmation_code": code })).await;
    assert_eq!(late.status, 422);
    assert!(late.refusal().1.contains("expired"), "{late:?}");
    let resent = platform.ask("PUT", "/api/users/reconfirm_email", None, Some(json!({ "email": ME }))).await;
    assert_eq!(resent.status, 200);
    let fresh = secret_in(&platform.mails(ME, 2).await[1]).to_lowercase();
    assert_eq!(signup(&platform, json!({ "uuid": uuid, "confirmation_code": fresh })).await.status, 200);
    let stranger = platform.ask("PUT", "/api/users/reconfirm_email", None, Some(json!({ "email": "no@x.org" }))).await;
    assert_eq!((stranger.status.as_u16(), stranger.body), (200, resent.body), "strangers learn nothing");
}

#[tokio::test]
async fn an_address_with_an_account_is_not_given_away() {
    let platform = Platform::new(Signups::Open);
    platform.signed_up(ME, PASSWORD).await;
    let again = signup(&platform, json!({ "email": ME })).await;
    assert_eq!(again.status, 200);
    let mails = platform.mails(ME, 2).await;
    assert!(mails[1].contains("has an account already"), "{}", mails[1]);
    let uuid = &again.body["data"]["uuid"];
    let code = signup(&platform, json!({ "uuid": uuid, "confirmation_code": "" })).await;
    assert_eq!(code.refusal(), ("confirmation_code", "is wrong"), "no code is right");
}

#[tokio::test]
async fn first_means_one() {
    let platform = Platform::new(Signups::First);
    let (one, two) = (platform.confirmed("one@x.org").await, platform.confirmed("two@x.org").await);
    for uuid in [&one, &two] {
        let chosen = signup(&platform, json!({ "uuid": uuid, "password": PASSWORD })).await;
        assert_eq!(chosen.status, 200, "beginning does not close it for others");
    }
    let finish = |uuid: String| signup(&platform, json!({ "uuid": uuid, "tier": "FREE" }));
    let (a, b) = tokio::join!(Box::pin(finish(one)), Box::pin(finish(two)));
    let statuses = HashSet::from([a.status.as_u16(), b.status.as_u16()]);
    assert_eq!(statuses, HashSet::from([200, 403]), "{a:?} {b:?}");
    let third = signup(&platform, json!({ "email": "three@x.org" })).await;
    assert_eq!(third.status, 403);
    assert!(third.refusal().1.contains("sign-ups are closed"), "{third:?}");
}

#[tokio::test]
async fn closed_means_nobody_and_open_everybody() {
    let closed = Platform::new(Signups::Closed);
    assert_eq!(signup(&closed, json!({ "email": ME })).await.status, 403);
    let open = Platform::new(Signups::Open);
    let keys = [open.signed_up("one@x.org", PASSWORD).await, open.signed_up("two@x.org", PASSWORD).await];
    let crossed = open.ask("GET", "/api/users", Some(("one@x.org", &keys[1])), None).await;
    assert_eq!(crossed.status, 401, "a key is good for its own address only");
}

#[tokio::test]
async fn two_signups_of_one_address_make_one_account() {
    let platform = Platform::new(Signups::Open);
    let one = platform.confirmed(ME).await;
    let begun = signup(&platform, json!({ "email": ME })).await;
    let two = begun.body["data"]["uuid"].as_str().unwrap();
    let code = secret_in(&platform.mails(ME, 2).await[1]);
    assert_eq!(signup(&platform, json!({ "uuid": two, "confirmation_code": code })).await.status, 200);
    for uuid in [one.as_str(), two] {
        assert_eq!(signup(&platform, json!({ "uuid": uuid, "password": PASSWORD })).await.status, 200);
    }
    assert_eq!(signup(&platform, json!({ "uuid": one, "tier": "FREE" })).await.status, 200);
    assert_eq!(signup(&platform, json!({ "uuid": two, "tier": "FREE" })).await.status, 422);
}

#[tokio::test]
async fn signing_in() {
    let platform = Platform::new(Signups::First);
    let first = platform.signed_up(ME, PASSWORD).await;
    let raw = login(&platform, ME, PASSWORD).await;
    assert_eq!(raw.status, 200);
    let encoded = login(&platform, &quoted(ME), &quoted(PASSWORD)).await;
    assert_eq!(encoded.status, 200);
    let keys = HashSet::from([first, key_of(&raw), key_of(&encoded)]);
    assert_eq!(keys.len(), 3, "each sign-in has a key of its own");
    for key in &keys {
        assert_eq!(whoami(&platform, key).await.status, 200, "and all live");
        assert!(uuid::Uuid::parse_str(key).is_ok());
    }
    let wrong = login(&platform, ME, "not it, really").await;
    let nobody = login(&platform, "nobody@example.org", "not it, really").await;
    assert_eq!((wrong.status, &wrong.body), (nobody.status, &nobody.body), "which was wrong is not told");
    assert_eq!((wrong.status.as_u16(), wrong.refusal()), (401, ("email", "or password is incorrect.")));
    assert_eq!(platform.ask("GET", "/api/login", None, None).await.status, 401);
    assert_eq!(login(&platform, ME, keys.iter().next().unwrap()).await.status, 401, "a key is no password");
    assert_eq!(whoami(&platform, PASSWORD).await.status, 401, "a password is no key");
}

#[tokio::test]
async fn a_person_has_a_bounded_number_of_keys() {
    let platform = Platform::new(Signups::First);
    let first = platform.signed_up(ME, PASSWORD).await;
    let second = key_of(&login(&platform, ME, PASSWORD).await);
    for _ in 0..49 {
        assert_eq!(login(&platform, ME, PASSWORD).await.status, 200);
    }
    assert_eq!(whoami(&platform, &first).await.status, 401, "the oldest made room");
    assert_eq!(whoami(&platform, &second).await.status, 200);
}

#[tokio::test]
async fn keys_expire_and_are_reset() {
    let platform = Platform::new(Signups::First);
    let old = [platform.signed_up(ME, PASSWORD).await, key_of(&login(&platform, ME, PASSWORD).await)];
    let reset = |query: String| {
        let path = format!("/api/api_keys/regenerate{query}");
        async move { path }
    };
    let wrong = reset("?current_password=wrong-password".into()).await;
    let refused = platform.ask("POST", &wrong, Some((ME, &old[0])), None).await;
    assert_eq!((refused.status.as_u16(), refused.refusal()), (422, ("current_password", "is incorrect")));
    assert_eq!(platform.ask("POST", "/api/api_keys/regenerate", Some((ME, &old[0])), None).await.status, 422);
    let right = reset(format!("?current_password={}", quoted(PASSWORD))).await;
    let made = platform.ask("POST", &right, Some((ME, &old[0])), None).await;
    assert_eq!(made.status, 201);
    for key in &old {
        assert_eq!(whoami(&platform, key).await.status, 401, "older keys end");
    }
    let key = key_of(&made);
    assert_eq!(
        platform.ask("POST", "/api/api_keys", Some((ME, &key)), None).await.status,
        401,
        "2017's takes the password"
    );
    let made = platform.ask("POST", "/api/api_keys", Some((ME, PASSWORD)), None).await;
    assert_eq!(made.status, 201);
    assert_eq!(whoami(&platform, &key).await.status, 401, "and ends the older keys as well");
    let key = key_of(&made);
    platform.clock.advance(Duration::from_secs(364 * 24 * 3600));
    assert_eq!(whoami(&platform, &key).await.status, 200);
    platform.clock.advance(Duration::from_secs(2 * 24 * 3600));
    let expired = whoami(&platform, &key).await;
    assert_eq!(expired.status, 401);
    assert!(expired.refusal().1.contains("expired"), "{expired:?}");
}

#[tokio::test]
async fn changing_the_password() {
    let platform = Platform::new(Signups::First);
    let key = platform.signed_up(ME, PASSWORD).await;
    let change = |body: Value, basic: (&str, &str), path: &str| {
        let (path, basic) = (path.to_owned(), (basic.0.to_owned(), basic.1.to_owned()));
        let platform = &platform;
        async move { platform.ask("PATCH", &path, Some((&basic.0, &basic.1)), Some(body)).await }
    };
    let path = "/api/users/change_password";
    let body = json!({ "current_password": "wrong-password", "new_password": "another-one" });
    assert_eq!(change(body, (ME, &key), path).await.refusal(), ("current_password", "is incorrect"));
    let body = json!({ "current_password": PASSWORD, "new_password": "short" });
    assert_eq!(change(body, (ME, &key), path).await.refusal().0, "password");
    let body = json!({ "current_password": PASSWORD, "new_password": "another-one" });
    assert_eq!(change(body.clone(), (ME, "no-key"), path).await.status, 401);
    let changed = change(body, (ME, &key), path).await;
    assert_eq!(changed.status, 200);
    assert!(changed.body["data"]["message"].is_string());
    assert_eq!(login(&platform, ME, PASSWORD).await.status, 401);
    assert_eq!(login(&platform, ME, "another-one").await.status, 200);
    assert_eq!(whoami(&platform, &key).await.status, 200, "keys stay");
    let body = json!({ "new_password": "a third one" });
    assert_eq!(change(body.clone(), (ME, &key), "/api/users").await.status, 401, "2017's form takes the password");
    assert_eq!(change(body, (ME, "another-one"), "/api/users").await.status, 200);
    assert_eq!(login(&platform, ME, "a third one").await.status, 200);
    assert!(platform.mails(ME, 3).await[1].contains("was changed"), "the owner is told");
}

#[tokio::test]
async fn resetting_the_password() {
    let platform = Platform::new(Signups::First);
    let key = platform.signed_up(ME, PASSWORD).await;
    let path = "/api/users/reset_password";
    let known = platform.ask("PUT", path, None, Some(json!({ "email": ME }))).await;
    let unknown = platform.ask("PUT", path, None, Some(json!({ "email": "no@x.org" }))).await;
    assert_eq!((known.status.as_u16(), &known.body), (200, &unknown.body), "strangers learn nothing");
    let token = secret_in(&platform.mails(ME, 2).await[1]);
    let set = |token: &str, password: &str| {
        let body = json!({ "token": token, "password": password });
        let platform = &platform;
        async move { platform.ask("POST", path, None, Some(body)).await }
    };
    assert_eq!(set("wrong", "another-one").await.refusal().0, "token");
    assert_eq!(set(&token, "short").await.refusal().0, "password");
    assert_eq!(set(&token, "another-one").await.status, 200, "a refused password does not use the token up");
    assert_eq!(set(&token, "a third one").await.refusal().0, "token", "single use");
    assert_eq!(login(&platform, ME, "another-one").await.status, 200);
    assert_eq!(whoami(&platform, &key).await.status, 401, "all keys have ended");
    platform.ask("PUT", path, None, Some(json!({ "email": ME }))).await;
    let late = secret_in(&platform.mails(ME, 4).await[3]);
    assert_ne!(late, token);
    platform.clock.advance(Duration::from_secs(3601));
    assert_eq!(set(&late, "a fourth one").await.refusal().0, "token", "it expired");
}

#[tokio::test]
async fn a_stale_header_does_not_stand_in_the_way_of_public_routes() {
    let platform = Platform::new(Signups::Open);
    let stale = Some((ME, "00000000-0000-4000-8000-000000000000"));
    for (method, path, body) in [
        ("POST", "/api/signup", json!({ "email": ME })),
        ("PUT", "/api/users/reset_password", json!({ "email": ME })),
        ("PUT", "/api/users/reconfirm_email", json!({ "email": ME })),
    ] {
        assert_eq!(platform.ask(method, path, stale, Some(body)).await.status, 200, "{path}");
    }
    let set = json!({ "token": "x", "password": "long enough" });
    assert_eq!(platform.ask("POST", "/api/users/reset_password", stale, Some(set)).await.status, 422);
}

#[tokio::test]
async fn strangers_may_not_try_for_ever() {
    let rates = Rates { logins_per_address: 3, logins_per_account: 1000, ..generous() };
    let platform = Platform::with(Signups::First, rates, &SmtpConfig::default());
    platform.signed_up(ME, PASSWORD).await;
    for _ in 0..6 {
        assert_eq!(login(&platform, ME, PASSWORD).await.status, 200, "success costs nothing");
    }
    for _ in 0..3 {
        assert_eq!(login(&platform, ME, "wrong-password").await.status, 401);
    }
    let refused = login(&platform, ME, PASSWORD).await;
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    let key = platform.ask("GET", "/api/users", Some((ME, "no-key")), None).await;
    assert_eq!(key.status, 401, "keys are not passwords: nothing to guess");
}

#[tokio::test]
async fn one_account_is_not_tried_for_ever_from_anywhere() {
    let rates = Rates { logins_per_account: 2, ..generous() };
    let platform = Platform::with(Signups::Open, rates, &SmtpConfig::default());
    platform.signed_up(ME, PASSWORD).await;
    platform.signed_up("other@x.org", PASSWORD).await;
    for _ in 0..2 {
        assert_eq!(login(&platform, ME, "wrong-password").await.status, 401);
    }
    assert_eq!(login(&platform, ME, PASSWORD).await.status, 429);
    assert_eq!(login(&platform, "other@x.org", PASSWORD).await.status, 200);
    for status in [401, 401, 429] {
        assert_eq!(login(&platform, "nobody@x.org", "wrong-password").await.status, status, "unknown ones alike");
    }
}

#[tokio::test]
async fn steps_and_mails_are_rationed() {
    let rates = Rates { codes_per_address: 4, ..generous() };
    let platform = Platform::with(Signups::Open, rates, &SmtpConfig::default());
    let step = json!({ "confirmation_code": "AAAA", "uuid": "x" });
    for status in [422, 422, 422, 422, 429] {
        assert_eq!(signup(&platform, step.clone()).await.status, status);
    }
    let rates = Rates { mails_per_recipient: 2, ..generous() };
    let platform = Platform::with(Signups::Open, rates, &SmtpConfig::default());
    for status in [200, 200, 429] {
        assert_eq!(signup(&platform, json!({ "email": ME })).await.status, status);
    }
    let reset = platform.ask("PUT", "/api/users/reset_password", None, Some(json!({ "email": ME }))).await;
    assert_eq!(reset.status, 200, "a refused mail is not told here: it would tell of others' mails");
}

#[tokio::test]
async fn the_envelope_holds_everywhere() {
    let platform = Platform::new(Signups::First);
    let nowhere = platform.ask("GET", "/api/nonsense", None, None).await;
    assert_eq!((nowhere.status.as_u16(), nowhere.refusal().0), (404, ""));
    let wrong = platform.ask("DELETE", "/api/login", None, None).await;
    assert_eq!((wrong.status.as_u16(), wrong.refusal().0), (405, ""));
    let unsigned = platform.ask("GET", "/api/users", None, None).await;
    assert_eq!(unsigned.status, 401);
    assert!(unsigned.headers.contains_key("x-request-id"));
    assert!(!unsigned.headers.contains_key("x-latest-version"));
    let health = platform.ask("GET", "/healthz", None, None).await;
    assert_eq!((health.status.as_u16(), health.body), (200, json!({ "data": "ok" })));
    let panicked = platform.ask("GET", "/panic", None, None).await;
    let id = panicked.headers["x-request-id"].to_str().unwrap();
    assert_eq!(panicked.status, 500);
    assert!(panicked.refusal().1.contains(id) && !panicked.refusal().1.contains("purpose"), "{panicked:?}");
    let post = |body: &'static str| Request::post("/api/signup").body(Body::from(body)).unwrap();
    assert_eq!(platform.send(post("{")).await.status, 400);
    assert_eq!(platform.send(post("[1]")).await.status, 422);
    assert_eq!(platform.send(post("{\"email\": 5}")).await.status, 422);
    assert_eq!(platform.send(post(" \n")).await.refusal(), ("email", "can't be blank"), "blank is empty");
    let large = Request::post("/api/signup").body(Body::from("x".repeat(70_000))).unwrap();
    assert_eq!(platform.send(large).await.status, 413);
}

//! How much of everything: each limit of `server.toml` as somebody meets it.

use serde_json::{Value, json};

use crate::harness::{Reply, Server, Wire};

const ADA: &str = "ada@example.com";

const SMALL: &str = "signups = \"open\"\n[limits]\nbody_kib = 4\nconfig_kib = 1\nssh_keys_per_account = 2\n\
    apps_per_account = 2\ndomains_per_app = 2\npeople_per_app = 2\n[rates]\ncodes_per_address = 0\n";

/// ed25519 keys differ in their last 32 bytes.
fn ssh_key(number: u8) -> String {
    use base64::Engine;
    let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    blob.extend([number; 32]);
    format!("ssh-ed25519 {} key{number}", base64::prelude::BASE64_STANDARD.encode(blob))
}

#[test]
fn each_limit_is_told_and_what_is_within_passes() {
    let server = Server::with_config(SMALL);
    let wire = Wire::of(&server);
    let key = wire.sign_up(&server, ADA);
    let people: Vec<String> = (0..3).map(|n| format!("p{n}@example.com")).collect();
    people.iter().for_each(|email| drop(wire.sign_up(&server, email)));
    let ada = |method: &str, path: &str, body: Value| wire.ask(Some((ADA, &key)), method, path, body);
    let post = |path: &'static str| move |body: Value| ada("POST", path, body);
    let many = |make: &dyn Fn(u8) -> Value| (1..=3).map(make).collect::<Vec<Value>>();
    let half = "x".repeat(400);

    type Send<'a> = Box<dyn Fn(Value) -> Reply + 'a>;
    // What is sent three times, the first two of which pass; the field and the words of the third's refusal.
    let table: Vec<(Send<'_>, Vec<Value>, &str)> = vec![
        (Box::new(post("/api/apps")), many(&|n| json!({ "unique_name": format!("app-{n}") })), "2 apps"),
        (Box::new(post("/api/ssh_keys")), many(&|n| json!({ "ssh_key": ssh_key(n) })), "an account has at most 2"),
        (
            Box::new(post("/api/apps/app-1/domains")),
            many(&|n| json!({ "fqdn": format!("d{n}.test") })),
            "may have 2 domains",
        ),
        (
            Box::new(post("/api/apps/app-1/permissions")),
            people.iter().map(|email| json!({ "email": email })).collect(),
            "2 people",
        ),
        (
            Box::new(post("/api/apps/app-1/configs")),
            many(&|n| json!({ "configs": { format!("K{n}"): half } })),
            "at most 1024 are allowed",
        ),
    ];
    for (send, bodies, words) in table {
        assert_eq!(bodies.len(), 3);
        for within in &bodies[..2] {
            send(within.clone()).data(201);
        }
        let refused = send(bodies[2].clone()).refusal(422);
        assert!(refused.contains(words), "{words}: {refused}");
    }
    let large = ada("POST", "/api/apps/app-1/configs", json!({ "configs": { "K1": "x".repeat(5000) } }));
    assert!(large.refusal(413).contains("too large"));
    let kept = ada("GET", "/api/apps/app-1/configs", json!(null)).data(200);
    assert_eq!(kept, json!({ "K1": half, "K2": half }), "what was refused did nothing");
}

#[test]
fn who_asks_too_often_waits() {
    let rates = "[rates]\nrequests_per_account = 20\nrequests_per_address = 60\ncodes_per_address = 0\n";
    let server = Server::with_config(&format!("signups = \"open\"\ntrusted_proxies = [\"127.0.0.1\"]\n{rates}"));
    let wire = Wire::of(&server);
    let key = wire.sign_up(&server, ADA);
    let me = |from: &str| wire.ask_from(from, Some((ADA, &key)), "GET", "/api/users", json!(null));
    // From many addresses: the account's own share ends.
    let refused = (0..100).map(|n| me(&format!("192.0.2.{n}"))).find(|reply| reply.status == 429).expect("a refusal");
    let wait: u64 = refused.headers["retry-after"].to_str().expect("text").parse().expect("seconds");
    assert!((1..=60).contains(&wait) && refused.refusal(429).contains("try again in"), "{refused:?}");
    // From one address without an account: that address's share ends, its neighbour's does not.
    let health = |from: &str| wire.ask_from(from, None, "GET", "/healthz", json!(null)).status;
    let passed = (0..200).take_while(|_| health("198.51.100.1") == 200).count();
    assert!((60..200).contains(&passed), "{passed} passed");
    assert_eq!(health("198.51.100.2"), 200);
    // Nobody can choose another address: only what the proxy itself saw counts.
    assert_eq!(health("203.0.113.7, 198.51.100.1"), 429);
}

//! Who may do what: every route of an app for everybody.

use super::*;
use crate::server::domain::Role;

/// Method, path below the app, a body that is right, and the least role that may. In an order in which each can be
/// tried after the one before.
fn table() -> Vec<(&'static str, &'static str, Value, Role)> {
    use Role::{Collaborator, Owner, Viewer};
    vec![
        ("GET", "", json!(null), Viewer),
        ("GET", "/status", json!(null), Viewer),
        ("GET", "/releases", json!(null), Viewer),
        ("GET", "/releases/{which}", json!(null), Viewer),
        ("GET", "/logs", json!(null), Viewer),
        ("GET", "/domains", json!(null), Viewer),
        ("GET", "/permissions", json!(null), Viewer),
        ("GET", "/activity", json!(null), Viewer),
        ("GET", "/configs", json!(null), Collaborator),
        ("GET", "/ssh_ip", json!(null), Collaborator),
        ("POST", "/configs", json!({"configs": {"A": "1"}}), Collaborator),
        ("DELETE", "/configs", json!({"key": "A"}), Collaborator),
        ("POST", "/configs/copy", json!({"from": "hill"}), Collaborator),
        ("POST", "/releases/{which}/rollback", json!(null), Collaborator),
        ("PUT", "/scale", json!({"replicas": 1}), Collaborator),
        ("PUT", "/restart", json!(null), Collaborator),
        ("POST", "/cookie", json!(null), Collaborator),
        ("GET", "/observer", json!(null), Collaborator),
        ("GET", "/observer/node", json!(null), Collaborator),
        ("DELETE", "/pods/{pod}", json!(null), Collaborator),
        ("PUT", "/stack", json!({"stack": "debian-12"}), Collaborator),
        ("GET", "/exec", json!(null), Collaborator),
        ("GET", "/tunnel", json!(null), Collaborator),
        ("GET", "/releases/migrate-command", json!(null), Collaborator),
        ("GET", "/observer-commands", json!(null), Collaborator),
        ("POST", "/domains", json!({"fqdn": "hill.test"}), Collaborator),
        ("DELETE", "/domains", json!({"fqdn": "hill.test"}), Collaborator),
        ("GET", "/canaries", json!(null), Viewer),
        ("PUT", "/canaries", json!({"canary": "dell", "weight": 5}), Collaborator),
        ("DELETE", "/canaries/{canary}", json!(null), Collaborator),
        ("PUT", "/maintenance", json!({"enable": true}), Collaborator),
        ("POST", "/permissions", json!({"email": CAT, "role": "VIEWER"}), Owner),
        ("DELETE", "/permissions", json!({"email": CAT}), Owner),
        ("PATCH", "", json!({"unique_name": "vale"}), Owner),
        ("PUT", "", json!({"unique_name": "vale"}), Owner),
        ("DELETE", "", json!(null), Owner),
    ]
}

/// Every method and path below `/api/apps/{app}` in the router's own list.
fn below_an_app() -> Vec<(String, String)> {
    let rows = routes().rows().to_vec().into_iter();
    let below =
        rows.filter_map(|row| Some((row.method.to_string(), row.path.strip_prefix("/api/apps/{app}")?.to_owned())));
    let mut found: Vec<_> = below.collect();
    found.sort();
    found
}

#[test]
fn every_route_has_a_row() {
    let mut rows: Vec<_> = table().iter().map(|row| (row.0.to_owned(), row.1.to_owned())).collect();
    rows.sort();
    assert_eq!(rows, below_an_app());
}

#[tokio::test]
async fn everybody_may_what_their_role_may_and_no_more() {
    let platform = Platform::new().await;
    platform.ann("POST", "/api/apps", json!({"unique_name": "hill"})).await;
    platform.push("hill", "web: serve", "1").await;
    platform.ann("POST", "/api/apps", json!({"unique_name": "dell"})).await;
    for app in ["hill", "dell"] {
        platform.ann("POST", &format!("/api/apps/{app}/permissions"), json!({"email": BEN})).await;
    }
    for (who, role) in
        [(CAT, None), (DAN, Some(Role::Viewer)), (BEN, Some(Role::Collaborator)), (ANN, Some(Role::Owner))]
    {
        // Cat's role is given and taken by the owner's rows, so the viewer is Dan; two people may have one.
        if who == DAN {
            platform.ann("POST", "/api/apps/hill/permissions", json!({"email": DAN, "role": "VIEWER"})).await;
        }
        if who == ANN {
            platform.ann("DELETE", "/api/apps/hill/permissions", json!({"email": DAN})).await;
        }
        for (method, path, body, least) in table() {
            let pods = platform.ann("GET", "/api/apps/hill/status", json!(null)).await;
            let pod = pods["pods"][0]["name"].as_str().unwrap().to_owned();
            let path = path
                .replace("{which}", "1")
                .replace("{pod}", &pod)
                .replace("{canary}", "dell")
                .replace("/logs", "/logs?follow=False")
                .replace("/tunnel", "/tunnel?port=4000");
            let response = platform.send(who, method, &format!("/api/apps/hill{path}"), body.clone()).await;
            let status = response.status().as_u16();
            let text = response.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8_lossy(&text).into_owned();
            let seen = format!("{who} {method} {path}: {status} {text}");
            match role {
                None => {
                    let absent = platform.ask(who, method, &format!("/api/apps/dale{path}"), body).await.1;
                    assert_eq!((status, &text), (404, &absent.to_string().replace("`dale`", "`hill`")), "{seen}");
                }
                Some(role) if role < least => {
                    let needs = format!("your role in `hill` is {}: ", role.as_str());
                    assert!(status == 403 && text.contains(&needs) && text.contains(least.as_str()), "{seen}");
                }
                // What runs here is no node, whoever asks.
                Some(_) if path.starts_with("/observer") && text.contains("replica") => {}
                // A name cannot be changed, whoever asks.
                Some(_) if text.contains("unique_name") && text.contains("cannot be changed") => {}
                // A WebSocket is asked for otherwise; who may not come in is told that before.
                Some(_) if status == 426 => assert!(text.contains("WebSocket"), "{seen}"),
                Some(_) => assert!(status < 300, "{seen}"),
            }
        }
    }
    assert_eq!(platform.refused("GET", "/api/apps/hill", json!(null)).await.0, 404, "the owner's last row was its end");
}

#[tokio::test]
async fn roles_are_given_changed_listed_and_taken() {
    let platform = Platform::new().await;
    let path = "/api/apps/hill/permissions";
    platform.ann("POST", "/api/apps", json!({"unique_name": "hill"})).await;
    let (status, _) = platform.ask(ANN, "POST", path, json!({"email": "BEN@example.com"})).await;
    assert_eq!(status, 201);
    platform.ann("POST", path, json!({"email": CAT, "role": "VIEWER"})).await;
    let people = json!({"owner": ANN, "collaborators": [BEN], "viewers": [CAT]});
    assert_eq!(platform.ann("GET", path, json!(null)).await, people);
    assert_eq!(platform.ask(CAT, "GET", "/api/apps", json!(null)).await.1["data"][0]["unique_name"], "hill");

    for (body, reason) in [
        (json!({"email": DAN}), "2 people"),
        (json!({"email": "nobody@example.com"}), "sign up first"),
        (json!({"email": ANN}), "the owner's"),
        (json!({"email": "x"}), "invalid format"),
        (json!({"email": BEN, "role": "OWNER"}), "COLLABORATOR or VIEWER"),
    ] {
        let (status, text) = platform.refused("POST", path, body).await;
        assert!(status == 422 && text.contains(reason), "{status} {text}");
    }
    assert_eq!(platform.ann("GET", path, json!(null)).await, people, "no refusal did anything");

    platform.ann("POST", path, json!({"email": BEN, "role": "VIEWER"})).await;
    let scale = platform.ask(BEN, "PUT", "/api/apps/hill/scale", json!({"replicas": 2})).await;
    assert_eq!(scale.0, 403, "the new role holds at once");
    assert_eq!(platform.ask(BEN, "DELETE", path, json!({"email": CAT})).await.0, 403);
    assert_eq!(platform.ask(BEN, "DELETE", path, json!({"email": BEN})).await.0, 200, "one's own can be given up");
    assert_eq!(platform.ask(BEN, "GET", "/api/apps/hill", json!(null)).await.0, 404);
    assert_eq!(platform.ask(BEN, "GET", "/api/apps", json!(null)).await.1["data"], json!([]));
    assert_eq!(platform.refused("DELETE", path, json!({"email": BEN})).await.0, 404);
    assert_eq!(platform.refused("DELETE", path, json!({"email": ANN})).await.0, 404, "an owner stays");
}

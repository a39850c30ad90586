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
        ("GET", "/usage", json!(null), Viewer),
        ("GET", "/configs", json!(null), Collaborator),
        ("POST", "/configs", json!({"configs": {"A": "1"}}), Collaborator),
        ("DELETE", "/configs", json!({"key": "A"}), Collaborator),
        ("POST", "/configs/copy", json!({"from": "hill"}), Collaborator),
        ("POST", "/releases/{which}/rollback", json!(null), Collaborator),
        ("PUT", "/scale", json!({"replicas": 1}), Collaborator),
        ("PUT", "/restart", json!(null), Collaborator),
        ("DELETE", "/pods/{pod}", json!(null), Collaborator),
        ("PUT", "/stack", json!({"stack": "debian-12"}), Collaborator),
        ("POST", "/domains", json!({"fqdn": "hill.test"}), Collaborator),
        ("DELETE", "/domains", json!({"fqdn": "hill.test"}), Collaborator),
        ("GET", "/canaries", json!(null), Viewer),
        ("PUT", "/canaries", json!({"canary": "dell", "weight": 5}), Collaborator),
        ("DELETE", "/canaries/{canary}", json!(null), Collaborator),
        ("GET", "/drains", json!(null), Viewer),
        ("POST", "/drains", json!({"url": "syslog://127.0.0.1:9"}), Collaborator),
        ("DELETE", "/drains", json!({"drain_id": "{drain}"}), Collaborator),
        ("GET", "/databases", json!(null), Viewer),
        ("POST", "/databases", json!({"size": 0.6}), Viewer),
        ("POST", "/free_databases", json!({}), Viewer),
        ("PUT", "/databases/{id}", json!({"size": null}), Viewer),
        ("DELETE", "/databases/{id}", json!(null), Viewer),
        ("GET", "/databases/{id}/read_replicas", json!(null), Viewer),
        ("POST", "/databases/{id}/read_replicas", json!({"size": 0.6}), Viewer),
        ("GET", "/databases/{id}/backups", json!(null), Viewer),
        ("POST", "/databases/{id}/backups/{backup}/restore", json!(null), Viewer),
        ("POST", "/databases/{id}/upgrade", json!({"version": "POSTGRES_16"}), Viewer),
        ("PUT", "/databases/{id}/restart", json!(null), Viewer),
        ("PUT", "/databases/{id}/stop", json!(null), Viewer),
        ("PUT", "/databases/{id}/start", json!(null), Viewer),
        ("PUT", "/maintenance", json!({"enable": true}), Collaborator),
        ("POST", "/permissions", json!({"email": CAT, "role": "VIEWER"}), Owner),
        ("DELETE", "/permissions", json!({"email": CAT}), Owner),
        ("PATCH", "", json!({"unique_name": "vale"}), Owner),
        ("PUT", "", json!({"unique_name": "vale"}), Owner),
        ("DELETE", "", json!(null), Owner),
    ]
}

/// The routes that are for the app's replicas, who are nobody's: no person may, whatever the role.
fn of_replicas() -> Vec<(&'static str, &'static str)> {
    vec![("GET", "/host_indexes/{host}/assign"), ("GET", "/releases/current"), ("GET", "/ssh_keys"), ("POST", "/flame")]
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
    rows.extend(of_replicas().into_iter().map(|(method, path)| (method.to_owned(), path.to_owned())));
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
            let drains = platform.ann("GET", "/api/apps/hill/drains", json!(null)).await;
            let drain = drains.as_array().unwrap().last().map(|drain| drain["id"].as_str().unwrap().to_owned());
            let body = body.to_string().replace("{drain}", drain.as_deref().unwrap_or("0"));
            let body: Value = serde_json::from_str(&body).unwrap();
            let pods = platform.ann("GET", "/api/apps/hill/status", json!(null)).await;
            let pod = pods["pods"][0]["name"].as_str().unwrap().to_owned();
            let path = path
                .replace("{which}", "1")
                .replace("{pod}", &pod)
                .replace("{canary}", "dell")
                .replace("/logs", "/logs?follow=False");
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
                // Nobody gets what is not offered; and who sees the app is told so.
                Some(_) if status == 404 && text.contains("offers no databases") => {}
                // A name cannot be changed, whoever asks.
                Some(_) if text.contains("unique_name") && text.contains("cannot be changed") => {}
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

#[tokio::test]
async fn a_replica_may_what_is_its_own_apps_and_no_person_may() {
    let platform = Platform::new().await;
    for app in ["hill", "dell"] {
        platform.ann("POST", "/api/apps", json!({"unique_name": app})).await;
        platform.push(app, "web: serve", "1").await;
    }
    let key = async |app: &str| {
        let app = platform.store.app_by_name(&AppName::parse(app).unwrap()).await.unwrap();
        platform.releases.secrets(app.id).await.unwrap().app_key
    };
    let (own, other) = (key("hill").await, key("dell").await);
    let host = platform.deployer.status(&AppName::parse("hill").unwrap())[0].name.clone();
    for (method, path) in of_replicas() {
        let path = format!("/api/apps/hill{path}").replace("{host}", &host);
        let (status, answer) = platform.ask_with("hill", &own, method, &path).await;
        let refused = status == 404 && answer.to_string().contains("FLAME");
        assert!(status == 200 || refused, "{method} {path}: {status} {answer}");
        for (name, key) in [("hill", &other), ("dell", &other), ("dell", &own), ("hill", &String::new()), ("", &own)] {
            assert_eq!(platform.ask_with(name, key, method, &path).await.0, 401, "{name} {method} {path}");
        }
        for who in [ANN, BEN] {
            assert_eq!(platform.ask(who, method, &path, json!(null)).await.0, 401, "{who} {method} {path}");
        }
        let nowhere = path.replace("hill", "dale");
        assert_eq!(platform.ask_with("dale", &own, method, &nowhere).await.0, 401, "{nowhere}");
    }
    // And nothing else: the key opens no route of a person's.
    for (method, path, _, _) in table() {
        let path = format!("/api/apps/hill{path}").replace("{which}", "1").replace("{pod}", &host);
        assert_eq!(platform.ask_with("hill", &own, method, &path).await.0, 401, "{method} {path}");
    }
    assert_eq!(platform.ask_with("hill", &own, "GET", "/api/apps").await.0, 401);
}

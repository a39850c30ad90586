use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use insta::assert_json_snapshot;

use super::super::{IngressConfig, IngressHost};
use super::*;
use crate::server::domain::{
    AppName, ClusterBuild, HealthCheck, Hostname, Lifetime, Pem, ProcessType, ReleaseVersion, Size, SlugDigest, Stack,
    Workload, WorkloadId,
};

fn workload(process: &str, config: &[(&str, &str)]) -> Workload {
    Workload {
        id: WorkloadId {
            app: AppName::parse("shop").unwrap(),
            process: ProcessType::parse(process).unwrap(),
            generation: 7,
        },
        release: ReleaseVersion(3),
        replicas: 2,
        slug: SlugDigest::parse(&"a".repeat(64)).unwrap(),
        stack: Stack::parse("debian-12").unwrap(),
        command: "exec bin/shop start $(nproc) $$".to_owned(),
        arguments: Vec::new(),
        env: config.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        size: Size::from_milli(500),
        health: HealthCheck::Tcp,
        lifetime: Lifetime::Service,
    }
}

fn place<'a>(workload: &'a Workload, scripts: &'a Scripts) -> Place<'a> {
    Place { server: "5e7f", workload, index: 2, image: "debian-12", scripts, grace: 30 }
}

/// The scripts' texts and the name made of them change with the platform.
fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter("gigalixir-[0-9a-f]{8}", "gigalixir-SCRIPTS");
    settings.set_prepend_module_to_snapshot(false);
    settings
}

#[test]
fn a_web_replica() {
    let (web, scripts) = (workload("web", &[("GREETING", "a\n$(b)"), ("PORT", "80")]), Scripts::embedded());
    settings().bind(|| {
        assert_json_snapshot!("deployment", deployment(&place(&web, &scripts)));
        assert_json_snapshot!("start", start("5e7f", &web, "http://192.0.2.1:4000/slugs/x"));
    });
}

#[test]
fn a_job() {
    let scripts = Scripts::embedded();
    let mut job = workload("run", &[]);
    job.arguments = vec!["echo".to_owned(), "$HOME".to_owned()];
    job.health = HealthCheck::Uptime(Duration::ZERO);
    job.lifetime = Lifetime::Once { limit: Duration::from_millis(1500) };
    settings().bind(|| assert_json_snapshot!("once", once(&place(&job, &scripts))));
}

fn objects<'a>(app: &'a AppName, registries: Option<&'a str>) -> AppObjects<'a> {
    let visitors = const { &[std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1))] };
    AppObjects { server: "5e7f", app, namespace: "apps-shop", visitors, registries }
}

#[test]
fn what_an_ingress_leads_to() {
    let app = AppName::parse("shop").unwrap();
    let objects = objects(&app, None);
    let config = IngressConfig { class: "nginx".to_owned(), router: "192.0.2.1:8080".parse().unwrap() };
    let pem = Arc::new(Pem { chain: "chain".to_owned(), key: "key".to_owned() });
    let host = |name: &str, straight: bool, certificate: Option<&Arc<Pem>>| IngressHost {
        name: Hostname::parse(name).unwrap(),
        straight,
        certificate: certificate.cloned(),
    };
    let (own, custom) = (host("shop.example.org", false, None), host("www.shop.example", true, Some(&pem)));
    let all = BTreeMap::from([
        ("1 service", objects.platform()),
        ("2 endpoints", objects.platform_address(&config)),
        ("3 by the router, without a certificate", objects.ingress(&config, &own)),
        ("4 straight, with one", objects.ingress(&config, &custom)),
        ("5 certificate", objects.certificate(&custom, &pem)),
    ]);
    settings().bind(|| assert_json_snapshot!("ingress", all));
}

#[test]
fn what_images_are_pulled_with() {
    let app = AppName::parse("shop").unwrap();
    let objects = objects(&app, Some(r#"{"auths": {}}"#));
    settings().bind(|| assert_json_snapshot!("registries", [objects.registries().unwrap(), objects.account()]));
}

#[test]
fn a_build() {
    let scripts = Scripts::embedded();
    let objects = BuildObjects { server: "5e7f", namespace: "builds", registries: None, scripts: &scripts };
    let subject = serde_json::json!({"kind": "ServiceAccount", "namespace": "gigalixir", "name": "gigalixir"});
    let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let build = ClusterBuild {
        name: "build-1".to_owned(),
        stack: Stack::parse("debian-12").unwrap(),
        command: text(&["/tmp/driver", "$(HOME)"]),
        env: vec![("HOME".to_owned(), "/app".to_owned())],
        workdir: "/app".to_owned(),
        volumes: text(&["/app", "/tmp"]),
        files: vec![("/etc/passwd".to_owned(), "me".to_owned())],
        secrets: b"archive".to_vec(),
        fetch: "http://192.0.2.1:4000/fetch".to_owned(),
        hand_in: "http://192.0.2.1:4000/hand-in".to_owned(),
        changed: text(&["/app", "/tmp", "/tmp/cache"]),
        kept: text(&["/etc/passwd", "/tmp/env"]),
        memory_bytes: 4 << 30,
        cpu_milli: 500,
        disk_bytes: 10 << 30,
        time: Duration::from_mins(31),
    };
    let all = BTreeMap::from([
        ("1 namespace", objects.namespace()),
        ("2 account", objects.account()),
        ("3 the server's rights", objects.own_rights(&subject)),
        ("4 network policy", objects.network_policy()),
        ("5 job", objects.job(&build, "debian-12-build")),
        ("6 secret", objects.secret(&build, "uid")),
    ]);
    settings().bind(|| assert_json_snapshot!("build", all));
}

#[test]
fn what_an_app_has_in_common() {
    let app = AppName::parse("shop").unwrap();
    let objects = objects(&app, None);
    let subject = serde_json::json!({"kind": "ServiceAccount", "namespace": "gigalixir", "name": "gigalixir"});
    let all = BTreeMap::from([
        ("1 namespace", objects.namespace()),
        ("2 the server's rights", objects.own_rights(&subject)),
        ("3 account", objects.account()),
        ("4 role", objects.role()),
        ("5 role binding", objects.role_binding()),
        ("6 peers", objects.peers()),
        ("7 service", objects.service()),
        ("8 network policy", objects.network_policy()),
    ]);
    settings().bind(|| assert_json_snapshot!("app", all));
}

fn variables(workload: &Workload) -> BTreeMap<String, String> {
    let scripts = Scripts::embedded();
    let deployment = deployment(&place(workload, &scripts));
    let env = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    let value = |one: &serde_json::Value| {
        let path = one["valueFrom"]["fieldRef"]["fieldPath"].as_str();
        path.or(one["value"].as_str()).unwrap_or("a secret").to_owned()
    };
    env.iter().map(|one| (one["name"].as_str().unwrap().to_owned(), value(one))).collect()
}

/// The contract of `runtime/spec.rs`, with what only the cluster knows left to it.
#[test]
fn config_wins_and_names_follow_it_but_the_port_stays() {
    let plain = variables(&workload("web", &[]));
    assert_eq!((plain["MY_POD_IP"].as_str(), plain["HOSTNAME"].as_str()), ("status.podIP", "metadata.name"));
    assert_eq!((plain["RELEASE_NODE"].as_str(), plain["HOST_INDEX"].as_str()), ("shop@$(MY_POD_IP)", "2"));
    let told = variables(&workload("web", &[("MY_POD_IP", "$(X)"), ("PORT", "80"), ("RELEASE_DISTRIBUTION", "none")]));
    assert!(!told.contains_key("MY_POD_IP") && !told.contains_key("RELEASE_DISTRIBUTION"), "{told:?}");
    assert_eq!((told["RELEASE_NODE"].as_str(), told["PORT"].as_str()), ("shop@$$(X)", "4000"));
}

/// A deployment that was told anew would replace its pod.
#[test]
fn what_may_change_is_not_in_a_deployment() {
    let (old, scripts) = (workload("web", &[("GREETING", "one"), ("MY_COOKIE", "x")]), Scripts::embedded());
    let new = Workload {
        release: ReleaseVersion(4),
        slug: SlugDigest::parse(&"b".repeat(64)).unwrap(),
        ..workload("web", &[("GREETING", "two"), ("NEW", "here")])
    };
    assert_eq!(deployment(&place(&old, &scripts)), deployment(&place(&new, &scripts)));
    assert_ne!(start("5e7f", &old, "http://x"), start("5e7f", &new, "http://x"));
}

/// Whoever looks for the app's nodes finds those that serve and no others.
#[test]
fn only_what_serves_is_a_peer() {
    let scripts = Scripts::embedded();
    let repo = |workload: &Workload| once(&place(workload, &scripts))["metadata"]["labels"]["repo"].clone();
    let mut job = workload("run", &[]);
    job.lifetime = Lifetime::Once { limit: Duration::from_secs(1) };
    assert_eq!(repo(&workload("worker", &[])), "shop");
    assert!(repo(&job).is_null() && repo(&workload("rehearsal", &[])).is_null());
}

/// As everywhere: whoever names the node by themselves finds others by themselves.
#[test]
fn a_node_listens_where_it_is_looked_for() {
    let port = |config: &[(&str, &str)]| variables(&workload("web", config)).get("GIGALIXIR__NODE_PORT").cloned();
    assert_eq!(port(&[]).as_deref(), Some("32000"));
    assert_eq!(port(&[("RELEASE_NODE", "me@here")]), None);
}

/// References go to what was named before.
#[test]
fn what_is_referred_to_comes_first() {
    let (web, scripts) = (workload("web", &[]), Scripts::embedded());
    let env = deployment(&place(&web, &scripts))["spec"]["template"]["spec"]["containers"][0]["env"].clone();
    let names: Vec<_> = env.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    let at = |name: &str| names.iter().position(|one| *one == name).unwrap();
    assert!(at("MY_POD_IP") < at("RELEASE_NODE"), "{names:?}");
}

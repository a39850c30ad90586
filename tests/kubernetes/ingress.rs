//! Apps behind the cluster's own ingress: objects for every host, as people change their minds; and what comes through the
//! services that those lead to. No controller is here: what one would do is done by whoever asks the services.

use std::net::SocketAddr;

use base64::Engine as _;
use serde_json::{Value, json};

use super::{LONG, Platform, Wishes, status};
use crate::harness::cluster::Cluster;
use crate::harness::guests::{Guests, visit};
use crate::harness::pebble::{self, Pebble};
use crate::harness::{Person, Project, get, wait_until};

const CLASS: &str = "ingress_class = \"some-class\"";

impl Platform {
    fn service(&self, app: &str, name: &str) -> SocketAddr {
        let service = self.get(app, "service", name).expect("the service");
        format!("{}:80", service["spec"]["clusterIP"].as_str().expect("an address")).parse().expect("an address")
    }

    /// Where a host's visitors are led.
    fn leads(&self, app: &str, host: &str) -> Option<String> {
        let ingress = self.get(app, "ingress", host)?;
        let paths = ingress["spec"]["rules"][0]["http"]["paths"].as_array().expect("paths").clone();
        let path = paths.iter().find(|one| one["path"] == "/").expect("the root");
        Some(path["backend"]["service"]["name"].as_str().expect("a service").to_owned())
    }

    fn certificate(&self, app: &str, host: &str) -> Option<String> {
        let secret = self.get(app, "secret", host)?;
        assert_eq!(secret["type"], "kubernetes.io/tls");
        let text = base64::prelude::BASE64_STANDARD.decode(secret["data"]["tls.crt"].as_str()?).ok()?;
        assert!(secret["data"]["tls.key"].as_str().is_some_and(|key| !key.is_empty()));
        String::from_utf8(text).ok()
    }
}

/// A server that may do no more than is described follows its people.
#[test]
fn hosts_come_and_go_with_their_domains_and_certificates() {
    let Some(cluster) = Cluster::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = cluster.as_server(folder.path());
    let wishes = Wishes { kubernetes: CLASS, kubeconfig: Some(&kubeconfig), ..Wishes::default() };
    let platform = Platform::with(cluster, wishes);
    let (server, ada) = (&platform.server, Person::sign_up(&platform.server, "ada@example.com"));
    let project = Project::greeting(&ada, "hello", "one");
    assert!(platform.get("hello", "ingress", "hello.localhost").is_none(), "nothing is deployed");
    project.push(&ada);
    let is = |host: &'static str, to: Option<&'static str>| {
        let begun = std::time::Instant::now();
        wait_until(&format!("{host} leads to {to:?}"), LONG, || platform.leads("hello", host).as_deref() == to);
        eprintln!("{host} leads to {to:?} after {:?}", begun.elapsed());
    };
    is("hello.localhost", Some("web"));
    let ingress = platform.get("hello", "ingress", "hello.localhost").unwrap();
    assert_eq!(ingress["spec"]["ingressClassName"], "some-class");
    assert_eq!(
        (&ingress["spec"]["rules"][0]["host"], &ingress["spec"]["tls"]),
        (&json!("hello.localhost"), &Value::Null)
    );
    let challenges = &ingress["spec"]["rules"][0]["http"]["paths"][0];
    assert_eq!(challenges["path"], "/.well-known/acme-challenge/");
    assert_eq!(challenges["backend"]["service"]["name"], "platform");

    // As a controller would ask.
    let (web, router) = (platform.service("hello", "web"), platform.service("hello", "platform"));
    wait_until("the replica answers", LONG, || get(web, "hello.localhost", "/").body.starts_with("one "));
    wait_until("the router answers", LONG, || get(router, "hello.localhost", "/").body.starts_with("one "));

    ada.run_in(&project, &["domains:add", "www.shop.example"]).ok();
    is("www.shop.example", Some("web"));
    for (chain, key) in [made("www.shop.example"), made("www.shop.example")] {
        let files = [("chain.pem", &chain), ("key.pem", &key)];
        files.iter().for_each(|(name, text)| project.write(name, text));
        let add = ["certs:add", "www.shop.example", "--cert", "chain.pem", "--key", "key.pem"];
        ada.run_in(&project, &add).ok();
        wait_until("the secret has it", LONG, || {
            platform.certificate("hello", "www.shop.example").is_some_and(|kept| kept.trim() == chain.trim())
        });
    }
    wait_until("the ingress names it", LONG, || {
        let ingress = platform.get("hello", "ingress", "www.shop.example").unwrap();
        ingress["spec"]["tls"] == json!([{"hosts": ["www.shop.example"], "secretName": "www.shop.example"}])
    });
    assert!(platform.certificate("hello", "hello.localhost").is_none());
    // The controller sends people to https, if anybody does: it decrypts for the router.
    assert_eq!(get(router, "www.shop.example", "/").status, 200);
    ada.run_in(&project, &["certs:remove", "www.shop.example"]).ok();
    wait_until("the secret is gone", LONG, || platform.certificate("hello", "www.shop.example").is_none());

    ada.run_in(&project, &["domains:add", "*.wide.example"]).ok();
    is("wc--any.wide.example", Some("web"));
    let wide = platform.get("hello", "ingress", "wc--any.wide.example").unwrap();
    assert_eq!(wide["spec"]["rules"][0]["host"], "*.wide.example");

    ada.run_in(&project, &["maintenance:on"]).ok();
    is("hello.localhost", Some("platform"));
    assert_eq!(get(router, "hello.localhost", "/").status, 503);
    ada.run_in(&project, &["maintenance:off"]).ok();
    is("hello.localhost", Some("web"));
    ada.run_in(&project, &["router:set", "--access-log", "on"]).ok();
    is("www.shop.example", Some("platform"));
    ada.run_in(&project, &["domains:remove", "www.shop.example"]).ok();
    is("www.shop.example", None);
    ada.run_in(&project, &["router:set", "--access-log", "off"]).ok();
    is("hello.localhost", Some("web"));
    ada.run_in(&project, &["ps:scale", "web=0"]).ok();
    is("hello.localhost", Some("platform"));
    ada.run_in(&project, &["apps:destroy", "-y"]).ok();
    is("hello.localhost", None);
    assert!(!server.log().contains("its ingress is not as it should be"), "{}", server.log());
}

/// What others put beside it stays.
#[test]
fn without_a_class_nothing_of_it_is_left() {
    let Some(cluster) = Cluster::find() else { return };
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = cluster.as_server(folder.path());
    let with = |kubernetes| Wishes { kubernetes, kubeconfig: Some(&kubeconfig), ..Wishes::default() };
    let mut platform = Platform::with(cluster, with(CLASS));
    let ada = Person::sign_up(&platform.server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    let (host, (chain, key)) = ("www.shop.example", made("www.shop.example"));
    ada.run_in(&project, &["domains:add", host]).ok();
    [("chain.pem", &chain), ("key.pem", &key)].iter().for_each(|(name, text)| project.write(name, text));
    ada.run_in(&project, &["certs:add", host, "--cert", "chain.pem", "--key", "key.pem"]).ok();
    let ours = [
        ("ingress", "hello.localhost"),
        ("ingress", host),
        ("secret", host),
        ("service", "platform"),
        ("endpoints", "platform"),
    ];
    let there =
        |platform: &Platform| ours.iter().filter(|(kind, name)| platform.get("hello", kind, name).is_some()).count();
    wait_until("all is there", LONG, || there(&platform) == ours.len());

    let own = platform.get("hello", "ingress", host).unwrap();
    let mut foreign = json!([own, platform.get("hello", "secret", host).unwrap()]);
    for one in foreign.as_array_mut().unwrap() {
        one["metadata"] = json!({"name": "theirs", "namespace": own["metadata"]["namespace"]});
    }
    platform.cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": foreign}));
    platform.start_again_with(&with(""));
    wait_until("nothing is left", LONG, || there(&platform) == 0);
    for kind in ["ingress", "secret"] {
        assert!(platform.get("hello", kind, "theirs").is_some(), "{kind}");
    }
    assert!(platform.server.visit("hello", "/").body.starts_with("one "));
    platform.start_again_with(&with(CLASS));
    wait_until("all is there again", LONG, || there(&platform) == ours.len());
    assert!(!platform.server.log().contains("its ingress is not as it should be"), "{}", platform.server.log());
}

fn made(host: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec![host.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// What a CA signed is in the cluster, the next one too; and what an earlier server told is told of by the next.
#[test]
fn certificates_of_a_ca_are_secrets() {
    let Some(cluster) = Cluster::find() else { return };
    let Some(mut ca) = Pebble::prepare() else { return };
    let tls = format!("[tls]\n{}challenge = \"http-01\"\n", ca.config());
    let wishes = Wishes { first: "domain = \"paas.test\"", kubernetes: CLASS, more: &tls, ..Wishes::default() };
    let mut platform = Platform::with(cluster, wishes);
    let ada = Person::sign_up(&platform.server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push_to(&ada, &platform.server);
    ca.start(platform.server.http, platform.server.https, &pebble::Wishes::default());
    let host = "hello.paas.test";
    wait_until("the CA's certificate is there", LONG, || platform.certificate("hello", host).is_some());
    let first = platform.certificate("hello", host).unwrap();
    assert_eq!(first.matches("BEGIN CERTIFICATE").count(), 2, "the chain is whole: {first}");
    ada.run(&["certs:renew", host, "-a", "hello"]).ok();
    wait_until("the next one is there", LONG, || platform.certificate("hello", host).is_some_and(|now| now != first));
    let ingress = platform.get("hello", "ingress", host).unwrap();
    assert_eq!(ingress["spec"]["tls"][0]["secretName"], host);

    ada.run_in(&project, &["domains:add", "gone.example"]).ok();
    wait_until("it is there", LONG, || platform.leads("hello", "gone.example").is_some());
    platform.server.terminate();
    let namespace = format!("p{}-hello", std::process::id());
    let touched = platform.cluster.kubectl(&["delete", "ingress", host, "-n", &namespace]);
    assert!(touched.status.success());
    platform.server.start_again();
    wait_until("what others removed is there again", LONG, || platform.leads("hello", host).is_some());
    ada.run_in(&project, &["domains:remove", "gone.example"]).ok();
    wait_until("it is gone", LONG, || platform.leads("hello", "gone.example").is_none());
}

/// Our deploys, and what others do to our objects: whoever comes by the service notices nothing.
#[test]
fn nobody_who_comes_by_the_service_is_lost() {
    let Some(platform) = Platform::start() else { return };
    let ada = Person::sign_up(&platform.server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push(&ada);
    let web = platform.service("hello", "web");
    wait_until("the service leads somewhere", LONG, || visit(web, "hello.localhost").is_ok());
    let guests = Guests::come(web, "hello.localhost");
    let generations = || {
        let pods = status(&ada, &project)["pods"].as_array().cloned().unwrap_or_default();
        pods.iter().filter(|pod| pod["status"] != "Stopping").count()
    };
    for word in ["a", "b", "c"] {
        ada.run_in(&project, &["config:set", &format!("WORD={word}")]).ok();
        wait_until("the old one is gone", LONG, || {
            status(&ada, &project)["pods"].as_array().is_some_and(|pods| pods.len() == 1)
        });
    }
    // As somebody does who knows nothing of us.
    let namespace = format!("p{}-hello", std::process::id());
    let before = status(&ada, &project)["pods"][0]["name"].clone();
    let restarted = platform.cluster.kubectl(&["rollout", "restart", "deployment", "-n", &namespace]);
    assert!(restarted.status.success(), "{}", String::from_utf8_lossy(&restarted.stderr));
    wait_until("another one has taken over", LONG, || {
        let pods = status(&ada, &project)["pods"].as_array().cloned().unwrap_or_default();
        pods.len() == 1 && pods[0]["name"] != before && pods[0]["status"] == "Healthy"
    });
    assert_eq!(generations(), 1);
    let served = guests.leave();
    assert!(served > 100, "{served}");
}

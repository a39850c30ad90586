//! Certificates by ACME, from a real CA with its checks on: all three challenges, renewal, revocation, a CA that is down,
//! that rejects nonces, that wants an account of its own; a server killed between any two steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use gigalixir::server::steps;

use crate::harness::bind::{self, Bind};
use crate::harness::pebble::{EAB_KEY, Pebble, Wishes, free_ports};
use crate::harness::{Curl, Person, Project, Server, get, serial, wait_until};

pub const LIMIT: Duration = Duration::from_secs(90);
pub const HOST: &str = "hello.paas.test";

pub struct World {
    pub server: Server,
    pub ada: Person,
    pub project: Project,
    pub pebble: Pebble,
}

/// `[tls]` and what is before it.
fn config(pebble: &Pebble, more: &str) -> String {
    format!("domain = \"paas.test\"\n[tls]\n{}{more}\n", pebble.config())
}

impl World {
    /// An app is deployed; the CA does not run yet.
    fn without_ca(more: &str) -> Option<Self> {
        let pebble = Pebble::prepare()?;
        let server = Server::with_config(&config(&pebble, more));
        let ada = Person::sign_up(&server, "ada@example.com");
        let project = Project::greeting(&ada, "hello", "one");
        project.push_to(&ada, &server);
        Some(Self { server, ada, project, pebble })
    }

    pub fn start_ca(&mut self, wishes: &Wishes<'_>) {
        self.pebble.start(self.server.http, self.server.https, wishes);
    }

    pub fn certs(&self) -> serde_json::Value {
        serde_json::from_str(&self.ada.run(&["certs", "hello", "--json"]).ok()).expect("json")
    }

    fn curl(&self) -> Curl {
        Curl::trusting(&self.pebble.root(), self.server.https)
    }

    #[track_caller]
    pub fn wait_for_certificate(&self, host: &str) {
        let curl = self.curl();
        wait_until(&format!("{host} has a certificate"), LIMIT, || curl.get(host, "/", &[]).code == 0);
    }

    /// The serial number of what a host is served with.
    fn serial(&self, host: &str) -> String {
        serial(self.server.https, host)
    }
}

#[test]
fn a_ca_that_was_down_is_asked_again_and_a_certificate_can_be_renewed_and_revoked() {
    let Some(mut world) = World::without_ca("challenge = \"http-01\"\nhsts_seconds = 300\n") else { return };
    assert_eq!(get(world.server.http, HOST, "/").status, 200, "without a certificate nobody is sent anywhere");
    wait_until("the failure is shown", LIMIT, || world.certs()[0]["last_error"].is_string());
    let shown = world.ada.run(&["certs", "hello"]).ok_stderr();
    assert!(shown.contains("hello.paas.test: "), "{shown}");

    world.start_ca(&Wishes::default());
    for host in [HOST, "api.paas.test", "git.paas.test"] {
        world.wait_for_certificate(host);
    }
    let curl = world.curl();
    let answer = curl.get(HOST, "/", &["--http2", "-D", "/dev/stderr"]);
    assert!(answer.body.starts_with("one ") && answer.errors.contains("max-age=300"), "{answer:?}");
    let cert = &world.certs()[0];
    assert_eq!((&cert["source"], &cert["next"]), (&"acme".into(), &"renew".into()), "{cert}");
    assert!(cert["issuer"].as_str().expect("issuer").contains("Pebble"), "{cert}");

    let plain = get(world.server.http, HOST, "/a?b=c");
    assert_eq!(plain.status, 308, "{plain:?}");
    assert_eq!(get(world.server.http, HOST, "/.well-known/acme-challenge/x").status, 308, "no open question");
    assert_eq!(curl.get("api.paas.test", "/healthz", &[]).status, 200);

    let before = world.serial(HOST);
    assert_eq!(before.len(), 16, "{before}");
    world.ada.run(&["certs:renew", HOST, "-a", "hello", "--revoke"]).ok();
    wait_until("another certificate serves", LIMIT, || {
        let now = world.serial(HOST);
        now.len() == 16 && now != before
    });
    wait_until("the old one is revoked", LIMIT, || {
        world.pebble.manage(&format!("/cert-status-by-serial/{before}")).contains("Revoked")
    });
    assert_eq!(curl.get(HOST, "/", &[]).status, 200);

    // Another CA's data is gone, and the account with it: a new one is made.
    world.pebble.stop();
    world.start_ca(&Wishes::default());
    let before = world.serial(HOST);
    world.ada.run(&["certs:renew", HOST, "-a", "hello"]).ok();
    wait_until("a new account is made", LIMIT, || world.serial(HOST) != before);
}

#[test]
fn certificates_are_renewed_in_time_and_swapped_under_load_without_a_failure() {
    let Some(mut world) = World::without_ca("challenge = \"tls-alpn-01\"\n") else { return };
    world.start_ca(&Wishes { validity: 30, ..Wishes::default() });
    world.wait_for_certificate(HOST);
    let first = world.serial(HOST);
    let (done, served, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::default());
    let visitors: Vec<_> = (0..2)
        .map(|_| {
            let (curl, done, served) = (world.curl(), done.clone(), served.clone());
            let failed: Arc<std::sync::Mutex<Vec<String>>> = Arc::clone(&failed);
            std::thread::spawn(move || {
                while !done.load(SeqCst) {
                    let answer = curl.get(HOST, "/", &[]);
                    served.fetch_add(1, SeqCst);
                    if answer.status != 200 {
                        failed.lock().expect("lock").push(format!("{answer:?}"));
                    }
                }
            })
        })
        .collect();
    let mut seen = vec![first];
    wait_until("two renewals", Duration::from_secs(120), || {
        let now = world.serial(HOST);
        if !now.is_empty() && seen.last() != Some(&now) {
            seen.push(now);
        }
        seen.len() > 2
    });
    done.store(true, SeqCst);
    visitors.into_iter().for_each(|visitor| visitor.join().expect("visitor"));
    let failed = failed.lock().expect("lock");
    assert!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), served.load(SeqCst));
    assert!(served.load(SeqCst) > 20);
}

#[test]
fn a_ca_that_wants_an_account_of_its_own_gets_its_binding() {
    let Some(mut world) = World::without_ca("") else { return };
    world.start_ca(&Wishes { eab: true, ..Wishes::default() });
    wait_until("the CA's reason is shown", LIMIT, || {
        world.certs()[0]["last_error"].as_str().is_some_and(|text| text.contains("externalAccount"))
    });
    world.server.terminate();
    let eab = format!("[tls.eab]\nkid = \"kid-1\"\nkey = \"{EAB_KEY}\"\n");
    world.server.reconfigure(&config(&world.pebble, &eab));
    world.server.start_again();
    world.ada.run(&["certs:renew", HOST, "-a", "hello"]).ok();
    world.wait_for_certificate(HOST);
}

#[test]
fn a_server_killed_at_any_step_of_an_order_goes_on() {
    let Some(mut world) = World::without_ca("challenge = \"http-01\"\n") else { return };
    world.server.kill();
    world.start_ca(&Wishes::default());
    for step in steps::OF_A_CERTIFICATE {
        if world.server.start_again_crashing(step) {
            world.server.wait_dead(LIMIT);
        }
    }
    world.server.start_again();
    for host in [HOST, "api.paas.test", "git.paas.test"] {
        world.wait_for_certificate(host);
    }
    // The deploy of before still answers, and the name is said where it should be.
    assert!(world.curl().get(HOST, "/", &[]).body.starts_with("one "));
    world.project.greet(&world.ada, "two");
    world.project.push_to(&world.ada, &world.server);
    assert!(world.curl().get(HOST, "/", &[]).body.starts_with("two "));
}

#[test]
fn a_wildcard_comes_by_dns_from_a_server_that_takes_signed_updates() {
    let (Some(mut world_pebble), Some(bind)) = (Pebble::prepare(), Bind::start("paas.test")) else { return };
    let dns = format!(
        "[tls.dns]\nprovider = \"rfc2136\"\nserver = \"{}\"\nkey_name = \"gigalixir\"\nsecret = \"{}\"\nwait_seconds = 0\n",
        bind.address,
        bind::KEY
    );
    let server = Server::with_config(&config(&world_pebble, &dns));
    world_pebble.start(server.http, server.https, &Wishes { dns: Some(bind.address), ..Wishes::default() });
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push_to(&ada, &server);
    let world = World { server, ada, project, pebble: world_pebble };
    world.wait_for_certificate(HOST);
    let cert = &world.certs()[0];
    assert_eq!(cert["names"], serde_json::json!(["*.paas.test", "paas.test"]), "{cert}");
    // One certificate for all: the next app has it before its first deploy.
    Project::greeting(&world.ada, "other", "else");
    assert_eq!(world.curl().get("other.paas.test", "/", &[]).status, 503);
    assert_eq!(world.curl().get("api.paas.test", "/healthz", &[]).status, 200);
    wait_until("the challenges are taken out of the DNS", LIMIT, || bind.texts("paas.test").is_empty());
    let before = world.serial(HOST);
    world.ada.run(&["certs:renew", HOST, "-a", "hello"]).ok();
    wait_until("renewed by the same way", LIMIT, || world.serial(HOST) != before);
    assert!(world.project.path().exists());
}

#[test]
fn a_program_of_the_operators_can_write_into_the_dns() {
    let (Some(pebble), Some(bind)) = (Pebble::prepare(), Bind::start("paas.test")) else { return };
    // nsupdate is bind's own client: what it needs is written to its standard input by three lines of Python.
    let hook = tempfile::tempdir().expect("folder");
    let program = hook.path().join("hook.py");
    let text = format!(
        "import subprocess, sys\nverb, name, value = sys.argv[-3:]\n\
         line = f'add {{name}} 1 TXT \"{{value}}\"' if verb == 'set' else f'delete {{name}} TXT \"{{value}}\"'\n\
         subprocess.run(['nsupdate', '-y', 'hmac-sha256:gigalixir:{}'], check=True, text=True,\n\
         input=f'server {} {}\\nzone paas.test\\nupdate {{line}}\\nsend\\n')\n",
        bind::KEY,
        bind.address.ip(),
        bind.address.port()
    );
    std::fs::write(&program, text).expect("hook");
    let dns = format!(
        "[tls.dns]\nprovider = \"exec\"\ncommand = [\"python3\", \"{}\"]\nwait_seconds = 0\n",
        program.display()
    );
    let mut pebble = pebble;
    let server = Server::with_config(&config(&pebble, &dns));
    pebble.start(server.http, server.https, &Wishes { dns: Some(bind.address), ..Wishes::default() });
    let curl = Curl::trusting(&pebble.root(), server.https);
    wait_until("the wildcard serves", LIMIT, || curl.get("api.paas.test", "/healthz", &[]).status == 200);
    wait_until("the challenges are taken out of the DNS", LIMIT, || bind.texts("paas.test").is_empty());
}

/// acme-dns' own API (`acme_dns.py`), until dropped.
struct AcmeDns(std::process::Child);

impl Drop for AcmeDns {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_wildcard_comes_by_acme_dns() {
    let (Some(mut pebble), Some(bind)) = (Pebble::prepare(), Bind::start("paas.test")) else { return };
    let ([port], folder) = (free_ports(), tempfile::tempdir().expect("folder"));
    let program = folder.path().join("acme_dns.py");
    std::fs::write(&program, include_str!("harness/acme_dns.py")).expect("write");
    let mut command = std::process::Command::new("python3");
    command.arg(&program).args([&port.to_string(), &bind.address.port().to_string(), bind::KEY, "paas.test"]);
    let _acme_dns = AcmeDns(command.stderr(std::process::Stdio::null()).spawn().expect("python3"));
    wait_until("acme-dns listens", LIMIT, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let url = format!("http://127.0.0.1:{port}");
    let registered =
        std::process::Command::new("curl").args(["-sS", "-X", "POST", &format!("{url}/register")]).output();
    let account: serde_json::Value = serde_json::from_slice(&registered.expect("curl").stdout).expect("account");
    let accounts = folder.path().join("accounts.json");
    std::fs::write(&accounts, serde_json::json!({ "Paas.test": account }).to_string()).expect("write");
    let target = account["fulldomain"].as_str().expect("fulldomain");
    bind.update("paas.test", &format!("add _acme-challenge.paas.test. 60 CNAME {target}."));

    let provider =
        format!("provider = \"acme-dns\"\nurl = \"{url}\"\naccounts_file = {accounts:?}\nwait_seconds = 0\n");
    let server = Server::with_config(&config(&pebble, &format!("[tls.dns]\n{provider}")));
    pebble.start(server.http, server.https, &Wishes { dns: Some(bind.address), ..Wishes::default() });
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push_to(&ada, &server);
    let world = World { server, ada, project, pebble };
    world.wait_for_certificate(HOST);
    let cert = &world.certs()[0];
    assert_eq!(cert["names"], serde_json::json!(["*.paas.test", "paas.test"]), "{cert}");
    let before = world.serial(HOST);
    world.ada.run(&["certs:renew", HOST, "-a", "hello"]).ok();
    wait_until("renewed by the same way", LIMIT, || world.serial(HOST) != before);
    assert!(bind.texts("paas.test").iter().any(|text| text.len() == 43), "where the name leads");
}

#[test]
fn an_app_has_a_wildcard_of_its_own() {
    let (Some(mut pebble), Some(bind)) = (Pebble::prepare(), Bind::start("test")) else { return };
    let dns = format!(
        "[tls.dns]\nprovider = \"rfc2136\"\nzone = \"test\"\nserver = \"{}\"\nkey_name = \"gigalixir\"\nsecret = \"{}\"\nwait_seconds = 0\n",
        bind.address,
        bind::KEY
    );
    let server = Server::with_config(&config(&pebble, &dns));
    pebble.start(server.http, server.https, &Wishes { dns: Some(bind.address), ..Wishes::default() });
    let ada = Person::sign_up(&server, "ada@example.com");
    let project = Project::greeting(&ada, "hello", "one");
    project.push_to(&ada, &server);
    let mut world = World { server, ada, project, pebble };
    for bad in ["*.paas.test", "*.test", "*", "a.*.shop.test", "*.*.shop.test"] {
        let refused = world.ada.run(&["domains:add", bad, "-a", "hello"]).fails();
        assert!(
            refused.contains("invalid format") || refused.contains("platform") || refused.contains("dot"),
            "{bad}: {refused}"
        );
    }
    world.ada.run(&["domains:add", "*.shop.test", "-a", "hello"]).ok();
    world.wait_for_certificate("a.shop.test");
    let certs = world.certs();
    let theirs = certs.as_array().expect("certs").iter().find(|cert| cert["fqdn"] == "*.shop.test").expect("listed");
    assert_eq!(theirs["names"], serde_json::json!(["*.shop.test"]), "{theirs}");
    for host in ["a.shop.test", "b.shop.test"] {
        assert!(world.curl().get(host, "/", &[]).body.starts_with("one "), "{host}");
        assert_eq!(get(world.server.http, host, "/").status, 308, "{host}");
    }
    assert_ne!(world.curl().get("a.b.shop.test", "/", &[]).code, 0);
    world.server.kill();
    world.server.start_again();
    assert!(world.curl().get("c.shop.test", "/", &[]).body.starts_with("one "));
    world.ada.run(&["domains:remove", "*.shop.test", "-a", "hello"]).ok();
    wait_until("its certificate is shown to nobody", LIMIT, || world.curl().get("a.shop.test", "/", &[]).code == 35);
    assert_eq!(get(world.server.http, "a.shop.test", "/").status, 404, "it leads nowhere any more");
    // Whether there is such an app, a certificate for all of them does not say.
    world.wait_for_certificate("unknown.paas.test");
    assert_eq!(world.curl().get("unknown.paas.test", "/", &[]).status, 404);
}

#[test]
fn a_domain_that_was_removed_is_as_if_it_had_never_been_there() {
    let Some(mut world) = World::without_ca("challenge = \"http-01\"\n") else { return };
    world.start_ca(&Wishes::default());
    let domain = "www.shop.example";
    let run = |world: &World, what: &str| drop(world.ada.run(&[what, domain, "-a", "hello"]).ok());
    run(&world, "domains:add");
    for host in [HOST, domain] {
        world.wait_for_certificate(host);
    }
    let (curl, first, others) = (world.curl(), world.serial(domain), world.serial(HOST));
    assert_eq!(get(world.server.http, domain, "/").status, 308);

    run(&world, "domains:remove");
    let plain = get(world.server.http, domain, "/");
    assert_eq!(plain.status, 404, "{plain:?}");
    assert_eq!(curl.get(domain, "/", &[]).code, 35, "no certificate, as for whoever is unknown");
    wait_until("it is given up", LIMIT, || world.server.log().contains("was given up"));
    world.server.kill();
    world.server.start_again();
    assert_eq!((get(world.server.http, domain, "/").status, curl.get(domain, "/", &[]).code), (404, 35));

    run(&world, "domains:add");
    assert_eq!(curl.get(HOST, "/", &[]).status, 200, "nobody else minds");
    world.wait_for_certificate(domain);
    assert_ne!(world.serial(domain), first, "the old one was given up");
    assert_eq!((world.serial(HOST), get(world.server.http, domain, "/").status), (others, 308));
}

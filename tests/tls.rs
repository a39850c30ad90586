//! TLS with the platform's own CA, from outside: curl, git and the client, over HTTP/1.1 and HTTP/2.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use crate::harness::bind::Bind;
use crate::harness::{Crowd, Curl, Passage, Person, Project, Server, Visitors, get, serial, wait_until};

const DOMAIN: &str = "domain = \"paas.test\"\n";

/// The root, as anybody fetches it.
fn root(server: &Server) -> PathBuf {
    let answer = get(server.api, "api", "/ca.pem");
    assert!(answer.status == 200 && answer.body.starts_with("-----BEGIN CERTIFICATE"), "{answer:?}");
    let path = server.data().join("fetched-root.pem");
    std::fs::write(&path, answer.body).expect("write");
    path
}

struct World {
    server: Server,
    ada: Person,
    project: Project,
    curl: Curl,
}

impl World {
    fn new(config: &str) -> Self {
        let server = Server::with_config(config);
        let ada = Person::sign_up(&server, "ada@example.com");
        let project = Project::greeting(&ada, "hello", "one");
        project.push(&ada);
        let curl = Curl::trusting(&root(&server), server.https);
        Self { server, ada, project, curl }
    }
}

#[test]
fn apps_are_served_over_tls_by_http1_and_http2() {
    let world = World::new(DOMAIN);
    world.ada.run_in(&world.project, &["domains:add", "www.hello.example"]).ok();
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2"), ("--tls-max=1.2", "2")] {
        let option: Vec<&str> = option.split('=').collect();
        for host in ["hello.paas.test", "www.hello.example"] {
            let answer = world.curl.get(host, "/", &option);
            assert_eq!((answer.code, answer.status, answer.version.as_str()), (0, 200, version), "{host}: {answer:?}");
            assert!(answer.body.starts_with("one "), "{answer:?}");
        }
    }
    let said = world.curl.get(
        "hello.paas.test",
        "/headers",
        &["--http2", "-H", "Cookie: a=1", "-H", "X-Forwarded-Proto: http"],
    );
    assert!(said.body.to_lowercase().contains("x-forwarded-proto: https"), "{said:?}");
    let again = get(world.server.http, "paas.test", "/ca.pem");
    assert!(again.body.starts_with("-----BEGIN CERTIFICATE"), "also where visitors come: {again:?}");
    // The platform's own CA is trusted by nobody yet, so nobody is sent there.
    assert_eq!(get(world.server.http, "hello.paas.test", "/").status, 200);
}

#[test]
fn a_name_that_is_not_served_ends_the_handshake() {
    let world = World::new(DOMAIN);
    for host in ["nobody.paas.test", "paas.example", "hello.paas.test.example"] {
        let answer = world.curl.get(host, "/", &[]);
        assert_eq!(answer.code, 35, "{answer:?}");
        assert!(answer.errors.contains("alert"), "{answer:?}");
    }
    let unnamed = Command::new("curl")
        .args(["-sS", "-k", &format!("https://{}/", world.server.https)])
        .stderr(Stdio::piped())
        .output()
        .expect("curl");
    assert_eq!(unnamed.status.code(), Some(35), "no name, no certificate");
    let mut plain = TcpStream::connect(world.server.https).expect("connect");
    plain.write_all(b"GET / HTTP/1.1\r\nHost: hello.paas.test\r\n\r\n").expect("write");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "plain text is no TLS");
    assert_eq!(world.curl.get("hello.paas.test", "/", &[]).status, 200, "and nobody else minds");

    world.ada.run_in(&world.project, &["domains:add", "gone.example"]).ok();
    assert_eq!(world.curl.get("gone.example", "/", &[]).status, 200);
    world.ada.run_in(&world.project, &["domains:remove", "gone.example"]).ok();
    wait_until("the removed domain is served no more", Duration::from_secs(20), || {
        world.curl.get("gone.example", "/", &[]).code == 35
    });
}

/// However many names strangers think of, nothing is signed for each.
#[test]
fn all_names_below_a_wildcard_have_one_certificate() {
    let world = World::new(DOMAIN);
    world.ada.run_in(&world.project, &["domains:add", "*.hello.example"]).ok();
    for host in ["one.hello.example", "two.hello.example"] {
        assert_eq!(world.curl.get(host, "/", &[]).status, 200, "{host}");
    }
    let serial = |host| serial(world.server.https, host);
    assert!(!serial("one.hello.example").is_empty());
    assert_eq!(serial("one.hello.example"), serial("two.hello.example"));
    assert_eq!(world.curl.get("one.two.hello.example", "/", &[]).code, 35, "a wildcard is for one label");
}

#[test]
fn api_and_git_are_served_over_tls() {
    let world = World::new(DOMAIN);
    let (server, passage) = (&world.server, Passage::to(world.server.https));
    let health = world.curl.get("api.paas.test", "/healthz", &["--http2"]);
    assert_eq!((health.status, health.version.as_str()), (200, "2"), "{health:?}");
    // A browser may try one connection for all hosts of a certificate.
    let port = server.https.port();
    let misled = world.curl.get("hello.paas.test", "/", &["-H", &format!("Host: api.paas.test:{port}")]);
    assert_eq!(misled.status, 421, "{misled:?}");

    // Another home: the client logs in over TLS, and git finds the same key.
    let over_tls = |program: &str, args: &[&str]| {
        let mut command = world.ada.command(program);
        command
            .args(args)
            .current_dir(world.project.path())
            .env("GIGALIXIR_HOST", format!("https://api.paas.test:{port}"));
        command.env("HTTPS_PROXY", passage.url()).env("SSL_CERT_FILE", server.data().join("fetched-root.pem"));
        command.env("GIT_SSL_CAINFO", server.data().join("fetched-root.pem"));
        command
    };
    let host = format!("https://api.paas.test:{port}");
    let mut login = over_tls(
        env!("CARGO_BIN_EXE_gigalixir"),
        &["login", "--host", &host, "-e", "ada@example.com", "-y", "--password-stdin"],
    );
    let mut child = login.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("login");
    child.stdin.take().expect("stdin").write_all(b"correct horse battery").expect("write");
    let done = child.wait_with_output().expect("login");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let apps = over_tls(env!("CARGO_BIN_EXE_gigalixir"), &["apps"]).output().expect("apps");
    assert!(String::from_utf8_lossy(&apps.stdout).contains("hello"), "{}", String::from_utf8_lossy(&apps.stderr));

    for (version, greeting) in [("HTTP/1.1", "two"), ("HTTP/2", "three")] {
        world.project.greet(&world.ada, greeting);
        // Larger than git's buffer for one POST, so that the pack is streamed.
        world.project.write("large.bin", &noise(3 << 20, greeting));
        world.project.commit(&world.ada, greeting);
        let url = format!("https://git.paas.test:{port}/hello.git");
        let credentials =
            format!("credential.helper=!f() {{ echo username=ada@example.com; echo password={}; }}; f", key(&world));
        let push =
            ["-c", &format!("http.version={version}"), "-c", &credentials, "push", &url, "HEAD:refs/heads/master"];
        let pushed = over_tls("git", &push).output().expect("git");
        assert!(pushed.status.success(), "{version}: {}", String::from_utf8_lossy(&pushed.stderr));
        let answer = world.curl.get("hello.paas.test", "/", &[]);
        assert!(answer.body.starts_with(greeting), "{version}: {answer:?}");
    }
}

/// Bytes that do not compress, as text.
fn noise(length: usize, seed: &str) -> String {
    let mut state = seed.bytes().fold(7_u64, |state, byte| state.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + ((state >> 33) % 64) as u8)
    };
    (0..length).map(|_| next()).collect()
}

/// The API key in the person's netrc.
fn key(world: &World) -> String {
    let text = std::fs::read_to_string(world.ada.home().join(".netrc")).expect("netrc");
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "password").expect("password");
    words[at + 1].to_owned()
}

/// A CA of somebody's own.
struct Authority {
    pem: String,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().expect("key");
        let mut root = rcgen::CertificateParams::new(Vec::<String>::new()).expect("root");
        root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        root.distinguished_name.push(rcgen::DnType::CommonName, "Somebody's CA");
        let pem = root.self_signed(&key).expect("root").pem();
        Self { pem, issuer: rcgen::Issuer::new(root, key) }
    }

    /// A certificate and its key, PEM.
    fn sign(&self, host: &str) -> (String, String) {
        let key = rcgen::KeyPair::generate().expect("key");
        let leaf = rcgen::CertificateParams::new(vec![host.to_owned()]).expect("leaf");
        (leaf.signed_by(&key, &self.issuer).expect("leaf").pem(), key.serialize_pem())
    }
}

/// A CA of somebody's own and a certificate by it: (root, chain, key), PEM.
fn own_certificate(host: &str) -> (String, String, String) {
    let authority = Authority::new();
    let (chain, key) = authority.sign(host);
    (authority.pem, chain, key)
}

#[test]
fn an_own_certificate_goes_before_any_other_until_it_is_removed() {
    let mut world = World::new(DOMAIN);
    let host = "www.hello.example";
    world.ada.run_in(&world.project, &["domains:add", host, "--no-check"]).ok();
    let (root, chain, key) = own_certificate(host);
    let file = |name: &str, text: &str| {
        let path = world.ada.home().join(name);
        std::fs::write(&path, text).expect("write");
        path
    };
    let (root, chain_file, key_file) = (file("root.pem", &root), file("chain.pem", &chain), file("key.pem", &key));
    let other = file("other.pem", &own_certificate(host).2);
    let add = |domain: &str, key: &PathBuf| {
        let (chain, key) = (chain_file.display().to_string(), key.display().to_string());
        world.ada.run_in(&world.project, &["certs:add", domain, "--cert", &chain, "--key", &key])
    };
    assert!(add(host, &other).fails().contains("does not belong to the certificate"));
    assert!(add("hello.paas.test", &key_file).fails().contains("is not for hello.paas.test"));
    assert!(add("else.example", &key_file).fails().contains("is no host of `hello`"));
    add(host, &key_file).ok();

    let theirs = Curl::trusting(&root, world.server.https);
    assert_eq!(theirs.get(host, "/", &[]).status, 200);
    assert_eq!(world.curl.get(host, "/", &[]).code, 60, "the platform's own CA steps back");
    let plain = get(world.server.http, host, "/a?b=c");
    assert_eq!(plain.status, 308, "who has a real certificate is sent to it: {plain:?}");
    let shown = world.ada.run_in(&world.project, &["certs"]).ok();
    assert!(shown.contains("Somebody's CA") && shown.contains("replace it before"), "{shown}");
    assert!(shown.contains("gigalixir at paas.test"), "{shown}");

    world.server.kill();
    let raw = std::fs::read(world.server.data().join("gigalixir.db")).expect("database");
    let secret = key.lines().nth(1).expect("key").as_bytes();
    assert!(!raw.windows(secret.len()).any(|window| window == secret), "the key is sealed at rest");
    world.server.start_again();
    assert_eq!(theirs.get(host, "/", &[]).status, 200, "it survives a restart");
    let ca = world.ada.run(&["certs:ca"]).ok();
    assert_eq!(ca, std::fs::read_to_string(world.server.data().join("fetched-root.pem")).expect("root"));

    world.ada.run_in(&world.project, &["certs:remove", host]).ok();
    assert_eq!(world.curl.get(host, "/", &[]).status, 200, "and the platform's own CA signs again");
    assert_eq!(get(world.server.http, host, "/").status, 200);
}

/// While certificates are swapped there are visitors with old and with new connections, of each kind.
#[test]
fn certificates_are_swapped_under_load_without_a_failure() {
    let world = World::new(DOMAIN);
    world.project.write("server.py", include_str!("harness/echo.py"));
    world.project.commit(&world.ada, "echo");
    world.project.push(&world.ada);
    let (host, https, authority) = ("www.hello.example", world.server.https, Authority::new());
    world.ada.run_in(&world.project, &["domains:add", host, "--no-check"]).ok();
    let [root, chain, key] = ["root.pem", "chain.pem", "key.pem"].map(|name| world.ada.home().join(name));
    std::fs::write(&root, &authority.pem).expect("write");
    let swap = || {
        let before = serial(https, host);
        let (new_chain, new_key) = authority.sign(host);
        std::fs::write(&chain, new_chain).expect("write");
        std::fs::write(&key, new_key).expect("write");
        let (chain, key) = (chain.display().to_string(), key.display().to_string());
        world.ada.run_in(&world.project, &["certs:add", host, "--cert", &chain, "--key", &key]).ok();
        assert_ne!(serial(https, host), before, "the next handshake shows it");
    };
    swap();
    let crowd = Crowd { http1: 6, http2: 4, sockets: 20, socket_lasts: Duration::from_secs(3) };
    let visitors = Visitors::come_secured(crowd, host, https, &root);
    let done = AtomicBool::new(false);
    // Visitors of one request, whose every handshake is a new one.
    let short = |options: &[&str]| {
        let curl = Curl::trusting(&root, https);
        let (mut seen, mut failed) = (0, Vec::new());
        while !done.load(SeqCst) {
            let answer = curl.get(host, "/", options);
            seen += 1;
            if answer.status != 200 {
                failed.push(answer);
            }
        }
        assert!(failed.is_empty() && seen > 20, "{} of {seen}: {failed:?}", failed.len());
    };
    std::thread::scope(|scope| {
        scope.spawn(|| short(&["--http1.1"]));
        scope.spawn(|| short(&["--tls-max", "1.2"]));
        wait_until("they are served", Duration::from_secs(30), || visitors.served() > 100);
        (0..20).for_each(|_| swap());
        done.store(true, SeqCst);
    });
    let report = visitors.leave();
    assert_eq!(report.failures, Vec::<String>::new());
    assert!(report.answers > 500 && report.messages > 100 && report.repeated == 0, "{report:?}");
}

#[test]
fn adding_a_domain_tells_where_it_leads_now() {
    let Some(bind) = Bind::start("shop.example") else { return };
    let tls = format!("[tls]\ndns_servers = [\"{}\"]\npublic_addresses = [\"127.0.0.1\"]\n", bind.address);
    let world = World::new(&format!("{DOMAIN}{tls}"));
    let added = |domain: &str| world.ada.run_in(&world.project, &["domains:add", domain]);
    for (domain, words) in [
        ("www.shop.example", "leads here already"),
        ("far.shop.example", "leads to 192.0.2.7, which is not this platform"),
        ("bare.shop.example", "has no address yet"),
    ] {
        let ran = added(domain);
        assert_eq!(ran.stdout.trim(), format!("{domain}. CNAME hello.paas.test."));
        assert!(ran.ok_stderr().contains(words), "{domain}: {words}");
        assert_eq!(get(world.server.http, domain, "/").status, 200, "it is added all the same");
    }
}

#[test]
fn without_tls_nobody_listens() {
    let server = Server::with_config("[tls]\nmode = \"off\"\n");
    assert_eq!(server.https.port(), 0);
    assert_eq!(get(server.api, "api", "/ca.pem").status, 404);
}

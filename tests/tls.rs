//! TLS with the platform's own CA, from outside: curl, git and the client, over HTTP/1.1 and HTTP/2.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{Curl, Passage, Person, Project, Server, get, wait_until};

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

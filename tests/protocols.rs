//! Visitors and apps that speak their protocols by independent libraries (`protocols/`): gRPC, WebSockets over HTTP/1.1 and
//! HTTP/2, and HTTP/2 as it must not be spoken.

use std::path::PathBuf;

use crate::harness::{Person, Project, Server, Tools, get};

const HOST: &str = "hello.localhost";

struct World {
    server: Server,
    ada: Person,
    tools: Tools,
    root: String,
}

impl World {
    fn new() -> Option<Self> {
        let tools = Tools::find()?;
        let server = Server::start();
        let ada = Person::sign_up(&server, "ada@example.com");
        let path: PathBuf = server.data().join("fetched-root.pem");
        std::fs::write(&path, get(server.api, "api", "/ca.pem").body).expect("root");
        let root = path.display().to_string();
        Some(Self { server, ada, tools, root })
    }

    /// An app of one file and the libraries that it needs.
    fn deploy(&self, code: &str, libraries: &[&str]) -> Project {
        let project = Project::empty(&self.ada, "hello");
        project.write("Procfile", "web: PYTHONPATH=lib exec /usr/bin/python3 -u app.py\n");
        project.write("app.py", code);
        self.tools.carry(&project, libraries);
        project.commit(&self.ada, "app");
        project.create_app(&self.ada);
        project.push(&self.ada);
        project
    }

    #[track_caller]
    fn visit(&self, script: &str) {
        let https = self.server.https.port().to_string();
        let said = self.tools.run(script, &[&https, &self.root, HOST]);
        println!("{said}");
        assert!(said.lines().any(|line| line.starts_with("done")), "{said}");
    }
}

#[test]
fn grpc_passes_whole() {
    let Some(world) = World::new() else { return };
    let project = world.deploy(include_str!("protocols/grpc_app.py"), &["grpc", "typing_extensions.py"]);
    let shown = world.ada.run_in(&project, &["router:set", "--h2c", "on"]).ok();
    assert!(shown.lines().any(|line| line.contains("h2c") && line.contains("on")), "{shown}");
    world.visit(include_str!("protocols/grpc_visitor.py"));
    // What it speaks is a rule, not a guess.
    world.ada.run_in(&project, &["router:set", "--h2c", "off"]).ok();
    assert_eq!(world.server.visit("hello", "/").status, 502);
}

#[test]
fn websockets_pass_as_they_are_said() {
    let Some(world) = World::new() else { return };
    let project = world.deploy(include_str!("protocols/websocket_app.py"), &["websockets"]);
    let (http, https) = (world.server.http.port().to_string(), world.server.https.port().to_string());
    let checks = include_str!("protocols/websocket_visitor.py");
    assert_eq!(world.tools.run(checks, &[&http, &https, &world.root, HOST]).trim(), "done");
    world.visit(include_str!("protocols/websocket2_visitor.py"));
    // An app that is spoken to in HTTP/2 is asked for WebSockets as ever.
    world.ada.run_in(&project, &["router:set", "--h2c", "on"]).ok();
    world.visit(include_str!("protocols/websocket2_visitor.py"));
}

#[test]
fn http2_as_it_must_not_be_spoken_harms_nobody() {
    let Some(world) = World::new() else { return };
    let project = Project::greeting(&world.ada, "hello", "one");
    project.push(&world.ada);
    world.visit(include_str!("protocols/http2_cases.py"));
    let logs = world.ada.run_in(&project, &["logs", "--no-tail"]).ok();
    assert!(logs.contains("request /case") && !logs.contains("smuggled"), "{logs}");
}

//! Against a real Erlang node of this machine.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A node on an address and port of its own, without any epmd.
async fn node(cookie: &str) -> (Child, std::net::SocketAddr) {
    let ip = [127, 65, rand::random(), rand::random()];
    let free = std::net::TcpListener::bind((std::net::Ipv4Addr::from(ip), 0)).unwrap().local_addr().unwrap();
    let mut command = Command::new("erl");
    command.args(["-noinput", "-start_epmd", "false", "-erl_epmd_port", &free.port().to_string()]);
    command.args(["-name", &format!("some@{}", free.ip()), "-setcookie", cookie]);
    let interface = format!("{{{},{},{},{}}}", ip[0], ip[1], ip[2], ip[3]);
    command.args(["-kernel", "inet_dist_use_interface", &interface, "-eval", "io:format(\"up~n\")."]);
    let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while lines.next_line().await.unwrap().is_some_and(|line| line != "up") {}
    (child, free)
}

async fn greet(at: std::net::SocketAddr, cookie: &str) -> Result<Beam<TcpStream>, BeamError> {
    Beam::greet(TcpStream::connect(at).await.unwrap(), cookie, PATIENCE).await
}

#[tokio::test]
async fn a_real_node_answers_whoever_knows_its_cookie() {
    let (_child, at) = node("right").await;
    assert!(matches!(greet(at, "wrong").await, Err(BeamError::Cookie)));
    let mut beam = greet(at, "right").await.unwrap();
    assert_eq!(beam.name, format!("some@{}", at.ip()));
    assert_eq!(beam.call("erlang", "node", vec![]).await.unwrap(), Term::atom(&beam.name.clone()));
    // We are hidden: nobody's list of nodes has us.
    assert_eq!(beam.call("erlang", "nodes", vec![]).await.unwrap(), Term::List(vec![]));
    let answer =
        beam.evaluate("X = Y + 1, {X, [self() | make_ref()], fun(A) -> A end}.", &[("Y", Term::Int(41))]).await;
    let Ok(Term::Tuple(parts)) = answer else { panic!("{answer:?}") };
    assert_eq!(parts[0], Term::Int(42));
    let failed = beam.evaluate("erlang:error(oops).", &[]).await;
    assert!(matches!(&failed, Err(BeamError::Failed(why)) if why.contains("oops")), "{failed:?}");
    assert!(matches!(beam.evaluate("1 +", &[]).await, Err(BeamError::Failed(_))));
    assert_eq!(beam.call("erlang", "length", vec![Term::List(vec![Term::Int(1)])]).await.unwrap(), Term::Int(1));
}

#[tokio::test]
async fn what_is_no_node_is_told_from_one() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    assert!(matches!(greet(at, "any").await, Err(BeamError::NotANode)));
}

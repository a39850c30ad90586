use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::harness::{House, Work, house, house_with};
use crate::server::receiver::Limits;

/// Begins a push of `length` bytes.
fn begin(house: &House, length: usize, more: &str) -> TcpStream {
    begin_at(house, "git-receive-pack", length, more)
}

fn begin_at(house: &House, service: &str, length: usize, more: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", house.port)).unwrap();
    let head = format!(
        "POST /my-app.git/{service} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic bWVAZXhhbXBsZS5jb206a2V5\r\n\
         Connection: close\r\nContent-Length: {length}\r\n{more}\r\n",
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// Sends a body as a push and returns the whole answer.
fn post(house: &House, body: &[u8], more: &str) -> String {
    let mut stream = begin(house, body.len(), more);
    stream.write_all(body).unwrap();
    rest(stream)
}

fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn command(old: &str, new: &str, name: &str) -> Vec<u8> {
    let line = format!("{old} {new} {name}\0report-status");
    format!("{:04x}{line}0000", line.len() + 4).into_bytes()
}

fn pack(work: &Work) -> Vec<u8> {
    work.ok(&["repack", "-adq"]);
    let mut files = std::fs::read_dir(work.path.join(".git/objects/pack")).unwrap().map(|file| file.unwrap().path());
    std::fs::read(files.find(|path| path.extension().is_some_and(|end| end == "pack")).unwrap()).unwrap()
}

const NULL: &str = "0000000000000000000000000000000000000000";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_packs_are_refused_and_leave_nothing() {
    let house = house().await;
    let work = house.working_copy("work", "my-app");
    let commit = work.ok(&["rev-parse", "HEAD"]);
    let pack = pack(&work);
    let push = |pack: &[u8]| post(&house, &[command(NULL, &commit, "refs/heads/master"), pack.to_vec()].concat(), "");
    let mut wrong_sum = pack.clone();
    *wrong_sum.last_mut().unwrap() ^= 1;
    let mut wrong_middle = pack.clone();
    wrong_middle[40] ^= 0x55;
    let followed = [pack.clone(), b"something more".to_vec()].concat();
    for bad in [&pack[..pack.len() - 30], &pack[..8], &[], &wrong_sum, &wrong_middle, &followed, b"not a pack at all"] {
        let told = push(bad);
        assert!(told.contains("unpack ") && !told.contains("unpack ok"), "{told}");
        assert!(told.contains("ng refs/heads/master unpacker error"), "{told}");
        house.until("nothing is left", || house.leftovers("my-app").is_empty()).await;
        assert_eq!(house.packs("my-app"), 0);
    }
    let told = push(&pack);
    assert!(told.contains("unpack ok") && told.contains("ok refs/heads/master"), "{told}");
    let unknown = "1".repeat(40);
    let told = post(&house, &[command(NULL, &unknown, "refs/heads/x"), pack.clone()].concat(), "");
    assert!(told.contains("ng refs/heads/x missing necessary objects"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_none() {
    let house = house().await;
    assert!(post(&house, b"0000", "").starts_with("HTTP/1.1 200"));
    for bad in [&b""[..], b"zzzz", b"0010too short", b"000ahello\n0000", b"0001"] {
        let told = post(&house, bad, "");
        assert!(told.starts_with("HTTP/1.1 400"), "{told}");
    }
    let told = post(&house, b"0000", "Content-Encoding: gzip\r\n");
    assert!(told.starts_with("HTTP/1.1 400"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_refused() {
    let house = house_with(Limits { pack_bytes: 3 << 20, object_bytes: 2 << 20, ..Limits::default() }).await;
    let work = house.working_copy("work", "my-app");
    work.ok(&["push", "gigalixir", "master"]);
    work.commit("zeros", &"\0".repeat(3 << 20));
    let told = work.fails(&["push", "gigalixir", "master"]);
    assert!(told.contains("an object is larger than the limit of 2097152 bytes"), "{told}");
    work.ok(&["reset", "-q", "--hard", "HEAD^"]);
    work.bulk("data", 5 << 20);
    work.commit_all("bulk");
    let told = work.fails(&["push", "gigalixir", "master"]);
    assert!(told.contains("larger than the limit"), "{told}");
    house.until("nothing is left", || house.leftovers("my-app").is_empty()).await;
    assert_eq!(house.packs("my-app"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_begins_before_the_pack_is_read() {
    let house = house().await;
    let work = house.working_copy("work", "my-app");
    work.bulk("data", 1 << 20);
    let commit = work.commit_all("bulk");
    let line = format!("{NULL} {commit} refs/heads/master\0report-status side-band-64k");
    let body = [format!("{:04x}{line}0000", line.len() + 4).into_bytes(), pack(&work)].concat();
    let mut stream = begin(&house, body.len(), "");
    stream.write_all(&body[..body.len() - 1]).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    assert!(stream.read(&mut [0]).is_err(), "an answer began too early");
    stream.set_read_timeout(None).unwrap();
    stream.write_all(&body[body.len() - 1..]).unwrap();
    let told = rest(stream);
    assert!(told.contains("building") && told.contains("ok refs/heads/master"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zipped_pushes_and_clients_that_ask_first() {
    let house = house().await;
    let work = house.working_copy("work", "my-app");
    let commit = work.ok(&["rev-parse", "HEAD"]);
    let body = [command(NULL, &commit, "refs/heads/master"), pack(&work)].concat();
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    zipped.write_all(&body).unwrap();
    let told = post(&house, &zipped.finish().unwrap(), "Content-Encoding: gzip\r\n");
    assert!(told.contains("ok refs/heads/master"), "{told}");
    let mut stream = begin(&house, 4, "Expect: 100-continue\r\n");
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"0000").unwrap();
    assert!(rest(stream).starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hangs_up_leaves_nothing() {
    let house = house().await;
    let work = house.working_copy("work", "my-app");
    work.bulk("data", 1 << 20);
    let commit = work.commit_all("bulk");
    let body = [command(NULL, &commit, "refs/heads/master"), pack(&work)].concat();
    let mut stream = begin(&house, body.len(), "");
    stream.write_all(&body[..body.len() / 2]).unwrap();
    house.until("the quarantine stands", || !house.leftovers("my-app").is_empty()).await;
    drop(stream);
    house.until("the quarantine is gone", || house.leftovers("my-app").is_empty()).await;
    assert!(house.seen().is_empty());
}

/// A body can take its time, in which its sender loses their access, or the app its name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_let_in_long_ago_is_looked_at_again() {
    for slow_from in ["the commands", "the pack"] {
        let house = house().await;
        let work = house.working_copy("work", "my-app");
        let commit = work.ok(&["rev-parse", "HEAD"]);
        let body = [command(NULL, &commit, "refs/heads/master"), pack(&work)].concat();
        let begun = if slow_from == "the commands" { 10 } else { body.len() - 10 };
        let mut stream = begin(&house, body.len(), "");
        stream.write_all(&body[..begun]).unwrap();
        house.until("it is let in", || house.repository("my-app").exists()).await;
        house.shut();
        stream.write_all(&body[begun..]).unwrap();
        let told = rest(stream);
        assert!(told.contains("unpack no such app") && told.contains("ng refs/heads/master"), "{slow_from}: {told}");
        assert!(house.seen().is_empty(), "{slow_from}");
        house.until("nothing is left", || house.leftovers("my-app").is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_slowly_is_told_nothing_of_an_app_they_have_lost() {
    let house = house().await;
    let work = house.working_copy("work", "my-app");
    work.ok(&["push", "gigalixir", "master"]);
    let body = b"0014command=ls-refs\n00010000";
    let ask = || begin_at(&house, "git-upload-pack", body.len(), "Git-Protocol: version=2\r\n");
    let mut open = ask();
    open.write_all(body).unwrap();
    assert!(rest(open).contains("refs/heads/master"));
    let mut slow = ask();
    slow.write_all(&body[..10]).unwrap();
    // It has been let in when the server reads on; until then it would be refused as all others are.
    tokio::time::sleep(Duration::from_millis(300)).await;
    house.shut();
    slow.write_all(&body[10..]).unwrap();
    let told = rest(slow);
    assert!(told.starts_with("HTTP/1.1 200") && told.contains("ERR no such app"), "{told}");
    assert!(!told.contains("refs/heads/master"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_pushes_slowly_keeps_nobody_else_waiting() {
    let house = house_with(Limits { concurrent_packs: 2, packs_of_one: 1, ..Limits::default() }).await;
    let work = house.working_copy("work", "my-app");
    work.bulk("data", 1 << 20);
    let commit = work.commit_all("bulk");
    let body = [command(NULL, &commit, "refs/heads/master"), pack(&work)].concat();
    let begin_slowly = || {
        let mut stream = begin(&house, body.len(), "");
        stream.write_all(&body[..body.len() - 10]).unwrap();
        stream
    };
    let slow: Vec<TcpStream> = (0..3).map(|_| begin_slowly()).collect();
    house.until("one of them is being read", || house.leftovers("my-app").len() == 1).await;
    let other = house.working_copy("other", "my-other");
    other.ok(&["push", &house.url_of("you", "my-other"), "master"]);
    assert_eq!(house.leftovers("my-app").len(), 1, "the others wait for it, and for nothing else");
    drop(slow);
    house.until("nothing is left", || house.leftovers("my-app").is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_fetches_and_takes_nothing_is_given_up() {
    let standstill = Duration::from_millis(500);
    let house = house_with(Limits { concurrent_fetches: 2, fetches_of_one: 1, standstill, ..Limits::default() }).await;
    let work = house.working_copy("work", "my-app");
    work.bulk("data", 24 << 20);
    let commit = work.commit_all("bulk");
    work.ok(&["push", "-q", "gigalixir", "master"]);
    let line = |text: &str| format!("{:04x}{text}\n", text.len() + 5);
    let body = format!("{}0001{}{}0000", line("command=fetch"), line(&format!("want {commit}")), line("done"));
    let mut slow = begin_at(&house, "git-upload-pack", body.len(), "Git-Protocol: version=2\r\n");
    slow.write_all(body.as_bytes()).unwrap();
    let mut begun = [0; 15];
    slow.read_exact(&mut begun).unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200 OK");
    work.ok(&["clone", "-q", &house.url_of("you", "my-app"), "../yours"]);
    work.ok(&["clone", "-q", &house.url("my-app"), "../mine"]);
    let mut rest = Vec::new();
    // It may be cut off.
    let _ = slow.read_to_end(&mut rest);
    assert!(rest.len() < 24 << 20, "it was not sent whole: {}", rest.len());
}

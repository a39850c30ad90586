use std::time::Duration;

use super::harness::{House, Work, house_with};
use crate::server::domain::AppName;
use crate::server::receiver::places::Places;
use crate::server::receiver::{Limits, repack};

async fn several_pushes(house: &House) -> Work {
    let work = house.working_copy("work", "my-app");
    for n in 0..8 {
        work.commit(&format!("file{n}"), &"content\n".repeat(n + 1));
        work.ok(&["push", "-q", "gigalixir", "master", "master:keep"]);
        if n % 2 == 0 {
            work.ok(&["reset", "-q", "--hard", "HEAD^"]);
            work.commit("file", &n.to_string());
            work.ok(&["push", "-q", "-f", "gigalixir", "master"]);
            work.ok(&["push", "-q", "gigalixir", ":keep"]);
        }
    }
    work
}

fn check(house: &House, work: &Work) {
    let server = house.repository("my-app");
    work.ok(&["-C", server.to_str().unwrap(), "fsck", "--full", "--strict"]);
    let _ = std::fs::remove_dir_all(house.dir.path().join("clone"));
    work.ok(&["clone", "-q", &house.url("my-app"), "../clone"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packs_do_not_pile_up() {
    let house = house_with(Limits { packs: 5, ..Limits::default() }).await;
    let work = several_pushes(&house).await;
    house.until("few packs are left", || house.packs("my-app") <= 7).await;
    check(&house, &work);
    house.until("nothing is left", || house.leftovers("my-app").is_empty()).await;
    work.commit("after", "x");
    work.ok(&["push", "-q", "gigalixir", "master"]);
    check(&house, &work);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unreachable_outlives_the_grace_only() {
    let house = house_with(Limits { packs: 1000, ..Limits::default() }).await;
    let work = several_pushes(&house).await;
    work.commit("dropped", "x");
    work.ok(&["push", "-q", "gigalixir", "master:topic"]);
    let dropped = work.ok(&["rev-parse", "HEAD"]);
    work.ok(&["push", "-q", "gigalixir", ":topic"]);
    let (server, app) = (house.repository("my-app"), AppName::parse("my-app").unwrap());
    let is_there = || work.run(&["-C", server.to_str().unwrap(), "cat-file", "-e", &dropped]).0;
    let before = house.packs("my-app");
    assert!(before > 8 && is_there());
    for (grace, packs, kept) in [(Duration::from_secs(3600), 2, true), (Duration::ZERO, 1, false)] {
        let limits = Limits { packs: 0, garbage_grace: grace, ..Limits::default() };
        let again = crate::server::receiver::Receiver {
            dir: house.dir.path().join("repositories"),
            limits,
            rooms: std::sync::Mutex::default(),
            packs: Places::new(1, 1),
            fetches: std::sync::Arc::new(Places::new(1, 1)),
        };
        assert!(repack::run(&again, &app).await.unwrap());
        assert_eq!((house.packs("my-app"), is_there()), (packs, kept));
        check(&house, &work);
    }
}

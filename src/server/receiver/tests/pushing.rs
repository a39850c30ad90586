use std::os::unix::process::CommandExt;
use std::time::Duration;

use super::harness::{Act, house};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_deploys_and_its_ref_moves() {
    let house = house().await;
    let work = house.working_copy("work", "my-app");
    let first = work.ok(&["rev-parse", "HEAD"]);
    let told = work.ok(&["push", "gigalixir", "master"]);
    assert!(told.contains("remote: building"), "{told}");
    let seen = house.seen();
    assert_eq!(seen[0].push.commit, first);
    assert_eq!(seen[0].push.reference, "refs/heads/master");
    assert_eq!(seen[0].push.by.as_str(), "me@example.com");
    assert_eq!(seen[0].files["README"], "hello\n");
    // The second comes as a thin pack: a delta against a file that only the server's packs have.
    let long: String = (0..2000).map(|n| format!("line {n}\n")).collect();
    work.commit("long", &long);
    work.ok(&["push", "gigalixir", "master"]);
    let third = work.commit("long", &(long + "one more\n"));
    work.ok(&["push", "gigalixir", "master"]);
    assert_eq!(house.seen().len(), 3);
    assert!(house.seen()[2].files["long"].ends_with("one more\n"));
    let server = house.repository("my-app");
    assert_eq!(work.ok(&["-C", server.to_str().unwrap(), "rev-parse", "HEAD"]), third);
    work.ok(&["-C", server.to_str().unwrap(), "fsck", "--full", "--strict"]);
    house.until("nothing is left", || house.leftovers("my-app").is_empty()).await;
    // Nothing new: git itself does not ask, and so nothing is built.
    assert!(work.ok(&["push", "gigalixir", "master"]).contains("up-to-date"));
    assert_eq!(house.seen().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_push_leaves_nothing_and_can_be_pushed_again() {
    let house = house().await;
    let work = house.working_copy("work", "my-app");
    house.act(Act::Fail);
    for _ in 0..2 {
        let told = work.fails(&["push", "gigalixir", "master"]);
        assert!(told.contains("[remote rejected] master -> master (build failed)"), "{told}");
        assert!(told.contains("remote: the build broke"), "{told}");
        assert_eq!(house.packs("my-app"), 0);
        house.until("the quarantine is gone", || house.leftovers("my-app").is_empty()).await;
    }
    assert_eq!(work.ok(&["ls-remote", "gigalixir"]), "");
    house.act(Act::Commit);
    work.ok(&["push", "gigalixir", "master"]);
    assert_eq!(house.seen().len(), 3);
    assert!(work.ok(&["ls-remote", "gigalixir"]).contains("refs/heads/master"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_refs_are_stored_and_say_so() {
    let house = house().await;
    let work = house.working_copy("work", "my-app");
    work.ok(&["tag", "-a", "v1", "-m", "one"]);
    let told = work.ok(&["push", "gigalixir", "master:topic/one", "v1"]);
    assert!(told.contains("`refs/heads/topic/one` is stored and not deployed"), "{told}");
    assert!(house.seen().is_empty());
    work.ok(&["push", "gigalixir", "master:main"]);
    assert_eq!(house.seen()[0].push.reference, "refs/heads/main");
    let told = work.fails(&["push", "gigalixir", "master:topic"]);
    assert!(told.contains("cannot both exist"), "{told}");
    work.commit("more", "x");
    work.ok(&["branch", "other"]);
    let told = work.fails(&["push", "gigalixir", "master:master", "other:main"]);
    assert!(told.contains("one push deploys one branch"), "{told}");
    assert_eq!(house.seen().len(), 2);
    let told = work.ok(&["push", "gigalixir", ":main", ":topic/one", ":v1"]);
    assert!(told.contains("the app keeps running"), "{told}");
    let blob = work.ok(&["hash-object", "-w", "README"]);
    let told = work.fails(&["push", "gigalixir", &format!("{blob}:refs/heads/blob")]);
    assert!(told.contains("a branch must name a commit"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn force_pushes_and_stale_pushes() {
    let house = house().await;
    let work = house.working_copy("work", "my-app");
    work.commit("a", "1");
    work.ok(&["push", "gigalixir", "master"]);
    work.ok(&["reset", "-q", "--hard", "HEAD^"]);
    let forced = work.commit("a", "2");
    work.fails(&["push", "gigalixir", "master"]);
    work.ok(&["push", "-f", "gigalixir", "master"]);
    assert_eq!(house.seen().last().unwrap().push.commit, forced);
    // Two at once that both know the same old commit: the second waits, then is told to fetch.
    *house.deploys.pause.lock().unwrap() = Duration::from_millis(700);
    let other = house.working_copy("other", "my-app");
    other.ok(&["fetch", "-q", "gigalixir"]);
    other.ok(&["reset", "-q", "--hard", "gigalixir/master"]);
    work.commit("b", "1");
    other.commit("c", "1");
    let mut first = work.command(&["push", "gigalixir", "master"]).spawn().unwrap();
    house.deploys.started.notified().await;
    house.until("the first is building", || house.deploys.running.lock().unwrap().0 == 1).await;
    let told = other.fails(&["push", "gigalixir", "master"]);
    assert!(told.contains("Waiting for another push") && told.contains("fetch first"), "{told}");
    assert!(first.wait().unwrap().success());
    assert_eq!(house.deploys.running.lock().unwrap().1, 1, "never two at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn atomic_is_all_or_nothing_with_the_deploy() {
    let house = house().await;
    let work = house.working_copy("work", "my-app");
    house.act(Act::Fail);
    let told = work.fails(&["push", "--atomic", "gigalixir", "master", "master:topic"]);
    assert!(told.contains("build failed") && told.contains("atomic push failed"), "{told}");
    assert_eq!(work.ok(&["ls-remote", "gigalixir"]), "");
    let told = work.fails(&["push", "gigalixir", "master", "master:topic"]);
    assert!(told.contains("build failed"), "{told}");
    assert!(work.ok(&["ls-remote", "gigalixir"]).ends_with("refs/heads/topic"));
    house.act(Act::Succeed);
    let told = work.fails(&["push", "--atomic", "gigalixir", "master", "master:topic/x"]);
    assert!(told.contains("cannot both exist"), "{told}");
    assert_eq!(house.seen().len(), 2, "nothing is built for a push that cannot be");
    work.ok(&["push", "--atomic", "gigalixir", "master", "master:two"]);
    assert_eq!(work.ok(&["ls-remote", "--heads", "gigalixir"]).lines().count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_and_headers_reach_the_pipeline() {
    let house = house().await;
    let work = house.working_copy("work", "my-app");
    work.ok(&["push", "gigalixir", "master"]);
    work.commit("a", "1");
    let told = work.ok(&["push", "-o", "clean", "-o", "what", "gigalixir", "master"]);
    assert!(told.contains("the push option `what` means nothing here"), "{told}");
    work.commit("a", "2");
    work.ok(&["-c", "http.extraheader=GIGALIXIR-HOT: true", "push", "gigalixir", "master"]);
    work.commit("a", "3");
    work.ok(&["-c", "http.extraheader=GIGALIXIR-CLEAN: True", "push", "-o", "hot", "gigalixir", "master"]);
    let asked: Vec<_> = house.seen().iter().map(|seen| (seen.push.clean, seen.push.hot)).collect();
    assert_eq!(asked, [(false, false), (true, false), (false, true), (true, true)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunked_push_and_a_push_in_one_piece() {
    let house = house().await;
    let work = house.working_copy("work", "my-app");
    work.bulk("data", 6 << 20);
    work.commit_all("bulk");
    work.ok(&["-c", "http.postBuffer=65536", "push", "gigalixir", "master"]);
    work.bulk("data", 6 << 20);
    work.commit_all("more");
    work.ok(&["-c", "http.postBuffer=100000000", "push", "gigalixir", "master"]);
    assert_eq!(house.seen()[1].files.len(), 97);
    let server = house.repository("my-app");
    work.ok(&["-C", server.to_str().unwrap(), "fsck", "--full", "--strict"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_client_cancels_its_deploy() {
    let house = house().await;
    let work = house.working_copy("work", "my-app");
    house.act(Act::Hang);
    let mut push = work.command(&["push", "gigalixir", "master"]).process_group(0).spawn().unwrap();
    house.deploys.started.notified().await;
    // `git push` leaves the connection to helpers of its own.
    let group = rustix::process::Pid::from_child(&push);
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    push.wait().unwrap();
    tokio::time::timeout(Duration::from_secs(10), house.deploys.cancelled.notified()).await.expect("cancelled");
    house.until("nothing is left", || house.leftovers("my-app").is_empty()).await;
    assert_eq!(house.packs("my-app"), 0);
    house.act(Act::Succeed);
    work.ok(&["push", "gigalixir", "master"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_push_where() {
    let house = house().await;
    let work = house.working_copy("work", "my-app");
    let anonymous = format!("http://127.0.0.1:{}/my-app.git", house.port);
    assert!(work.fails(&["push", &anonymous, "master"]).contains("could not read Username"));
    let (others, none) =
        (work.fails(&["push", &house.url("other"), "master"]), work.fails(&["push", &house.url("none"), "master"]));
    assert_eq!(others.replace("other", "none"), none);
    assert!(none.contains("not found"), "{none}");
    let base = format!("http://me%40example.com:key@127.0.0.1:{}", house.port);
    for (n, path) in
        ["my-app.git/", "git.gigalixir.com/my-app.git", "git.gigalixir.com/my-app.git/", "my-app"].iter().enumerate()
    {
        work.commit("n", &n.to_string());
        work.ok(&["push", &format!("{base}/{path}"), "master"]);
    }
    assert_eq!(house.seen().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_to_different_apps_do_not_wait_for_each_other() {
    let house = house().await;
    *house.deploys.pause.lock().unwrap() = Duration::from_secs(3);
    let (one, two) = (house.working_copy("one", "my-one"), house.working_copy("two", "my-two"));
    let mut first = one.command(&["push", "-q", "gigalixir", "master"]).spawn().unwrap();
    let mut second = two.command(&["push", "-q", "gigalixir", "master"]).spawn().unwrap();
    house.until("both are building", || house.deploys.running.lock().unwrap().0 == 2).await;
    assert!(first.wait().unwrap().success() && second.wait().unwrap().success());
}

use super::harness::{Work, house};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clone_is_whole_and_fetches_what_is_new() {
    let house = house().await;
    let work = house.working_copy("work", "my-app");
    let empty = work.ok(&["clone", &house.url("my-app"), "../empty"]);
    assert!(empty.contains("empty repository"), "{empty}");
    for n in 0..30 {
        work.commit(&format!("folder{}/file{n}", n % 5), &format!("{n}\n").repeat(n + 1));
    }
    work.ok(&["tag", "-a", "v1", "-m", "one"]);
    work.ok(&["push", "gigalixir", "master:main", "v1", "master:topic"]);
    work.ok(&["clone", "-q", &house.url("my-app"), "../clone"]);
    let clone = Work { path: house.dir.path().join("clone"), home: work.home.clone() };
    assert_eq!(clone.ok(&["rev-parse", "HEAD"]), work.ok(&["rev-parse", "master"]));
    assert_eq!(clone.ok(&["symbolic-ref", "HEAD"]), "refs/heads/main");
    assert_eq!(clone.ok(&["rev-parse", "v1^{commit}"]), work.ok(&["rev-parse", "master"]));
    clone.ok(&["fsck", "--full", "--strict"]);
    let new = work.commit("folder1/file1", "changed\n");
    work.ok(&["tag", "-a", "v2", "-m", "two"]);
    work.ok(&["push", "gigalixir", "master:main", "v2"]);
    clone.ok(&["fetch", "-q"]);
    assert_eq!(clone.ok(&["rev-parse", "origin/main"]), new);
    assert_eq!(clone.ok(&["rev-parse", "v2^{commit}"]), new);
    let received = clone.ok(&["count-objects", "-v"]);
    assert!(received.contains("count: 5\n"), "only the new commit, its two trees, its file and its tag: {received}");
    clone.ok(&["fsck", "--full", "--strict"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_refs_and_unrelated_histories() {
    let house = house().await;
    let work = house.working_copy("work", "my-app");
    let wishes: Vec<_> = (0..300).map(|n| format!("master:refs/heads/branch-with-a-rather-long-name-{n}")).collect();
    let wishes =
        ["push", "-q", "gigalixir", "master:refs/heads/topic"].into_iter().chain(wishes.iter().map(String::as_str));
    work.ok(&wishes.collect::<Vec<_>>());
    let other = house.working_copy("other", "my-app");
    for n in 0..40 {
        other.commit("README", &n.to_string());
    }
    // What it says it has exceeds what git sends unzipped, and none of it is known to the server.
    other.ok(&["fetch", "-q", "gigalixir"]);
    assert_eq!(other.ok(&["branch", "-r"]).lines().count(), 301);
    other.ok(&["fsck", "--full", "--strict"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_served_says_so() {
    let house = house().await;
    let work = house.working_copy("work", "my-app");
    work.ok(&["push", "gigalixir", "master"]);
    let told = work.fails(&["-c", "protocol.version=0", "ls-remote", "gigalixir"]);
    assert!(told.contains("git protocol version 2"), "{told}");
    let told = work.fails(&["clone", "--depth", "1", &house.url("my-app"), "../shallow"]);
    assert!(told.contains("shallow"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shallow_clone_can_push_where_its_boundary_is_known() {
    let house = house().await;
    let work = house.working_copy("work", "my-app");
    work.commit("a", "1");
    work.ok(&["push", "gigalixir", "master"]);
    let source = format!("file://{}", work.path.display());
    work.ok(&["clone", "-q", "--depth", "1", &source, "../shallow"]);
    let shallow = Work { path: house.dir.path().join("shallow"), home: work.home.clone() };
    shallow.commit("b", "1");
    let told = shallow.fails(&["push", &house.url("my-new"), "master"]);
    assert!(told.contains("missing necessary objects"), "{told}");
    shallow.ok(&["push", &house.url("my-app"), "master"]);
    assert_eq!(house.seen().len(), 2);
}

use std::time::Duration;

use super::harness::{Work, house, house_with};
use crate::server::receiver::Limits;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkout_is_what_was_committed() {
    let house = house().await;
    let work = house.working_copy("work", "my-app");
    work.write("run", "#!/bin/sh\n");
    work.write("Case", "1");
    work.write("case", "2");
    work.write("odd \"näme\"\n/-x", "odd");
    work.write("crlf.txt", "a\nb\n");
    work.write("docs/deep/internal", "secret");
    work.write("docs/kept", "kept");
    work.write("gone.md", "gone");
    work.write("big.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n");
    work.write(".gitattributes", "*.txt eol=crlf\n*.bin filter=lfs\n*.md export-ignore\ndocs/deep export-ignore\n");
    std::os::unix::fs::symlink("/etc/passwd", work.path.join("absolute")).unwrap();
    std::os::unix::fs::symlink("../../..", work.path.join("outside")).unwrap();
    work.ok(&["-c", "filter.lfs.clean=cat", "add", "-A"]);
    work.ok(&["update-index", "--chmod=+x", "run"]);
    work.ok(&["commit", "-q", "-m", "all"]);
    let told = work.ok(&["push", "gigalixir", "master"]);
    assert!(told.contains("`big.bin` the first, are Git LFS pointers"), "{told}");
    let seen = house.seen()[0].clone();
    let files = &seen.files;
    assert_eq!(seen.executable.iter().collect::<Vec<_>>(), ["run"]);
    assert_eq!((files["Case"].as_str(), files["case"].as_str()), ("1", "2"));
    assert_eq!(files["odd \"näme\"\n/-x"], "odd");
    assert_eq!(files["crlf.txt"], "a\r\nb\r\n");
    assert_eq!((files["absolute"].as_str(), files["outside"].as_str()), ("-> /etc/passwd", "-> ../../.."));
    assert!(files.contains_key("docs/kept") && !files.contains_key("docs/deep/internal"), "{files:?}");
    assert!(!files.contains_key("gone.md"));
}

/// Makes a commit of a hand-written tree, as git itself would not.
fn commit_of_tree(work: &Work, entries: &[(&str, &str, &str)]) -> String {
    let mut tree = Vec::new();
    for (mode, name, id) in entries {
        tree.extend_from_slice(format!("{mode} {name}\0").as_bytes());
        tree.extend(hex::decode(id).unwrap());
    }
    let file = work.path.join("../tree");
    std::fs::write(&file, tree).unwrap();
    let tree = work.ok(&["hash-object", "-w", "-t", "tree", "--literally", file.to_str().unwrap()]);
    work.ok(&["commit-tree", "-m", "x", &tree])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_outside() {
    let house = house().await;
    let work = house.working_copy("work", "my-app");
    let outside = house.dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    work.write("../link", outside.to_str().unwrap());
    let link = work.ok(&["hash-object", "-w", "../link"]);
    let blob = work.ok(&["hash-object", "-w", "README"]);
    let folder = work.ok(&["rev-parse", "HEAD^{tree}"]);
    let hostile: [&[(&str, &str, &str)]; 8] = [
        &[("120000", "a", &link), ("40000", "a", &folder)],
        &[("40000", "a", &folder), ("120000", "a", &link)],
        &[("40000", "..", &folder)],
        &[("100644", ".git", &blob)],
        &[("40000", ".GIT", &folder)],
        &[("40000", "git~1", &folder)],
        &[("100644", "a/b", &blob)],
        &[("100644", ".", &blob)],
    ];
    for entries in hostile {
        let commit = commit_of_tree(&work, entries);
        let told = work.fails(&["push", "-f", "gigalixir", &format!("{commit}:refs/heads/master")]);
        assert!(told.contains("remote rejected"), "{entries:?}: {told}");
    }
    assert!(house.seen().is_empty());
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    house.until("nothing is left", || house.leftovers("my-app").is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trees_that_unfold_without_end_are_refused() {
    let house = house_with(Limits { tree_files: 1000, tree_bytes: 1 << 20, ..Limits::default() }).await;
    let work = house.working_copy("work", "my-app");
    let mut tree = work.ok(&["rev-parse", "HEAD^{tree}"]);
    for _ in 0..12 {
        let names: Vec<_> = (0..10).map(|n| n.to_string()).collect();
        let entries: Vec<_> = names.iter().map(|name| ("40000", name.as_str(), tree.as_str())).collect();
        let commit = commit_of_tree(&work, &entries);
        tree = work.ok(&["rev-parse", &format!("{commit}^{{tree}}")]);
    }
    let bomb = work.ok(&["commit-tree", "-m", "bomb", &tree]);
    let told = work.fails(&["push", "gigalixir", &format!("{bomb}:refs/heads/master")]);
    assert!(told.contains("too many files"), "{told}");
    let mut tree = work.ok(&["rev-parse", "HEAD^{tree}"]);
    for _ in 0..150 {
        let commit = commit_of_tree(&work, &[("40000", "d", &tree)]);
        tree = work.ok(&["rev-parse", &format!("{commit}^{{tree}}")]);
    }
    let deep = work.ok(&["commit-tree", "-m", "deep", &tree]);
    let told = work.fails(&["push", "gigalixir", &format!("{deep}:refs/heads/master")]);
    assert!(told.contains("levels of folders"), "{told}");
    work.commit("large", &"x".repeat(2 << 20));
    assert!(work.fails(&["push", "gigalixir", "master"]).contains("too many bytes"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn submodules_are_fetched() {
    let house = house().await;
    let public = |app: &str| format!("http://127.0.0.1:{}/{app}.git", house.port);
    let inner = house.working_copy("inner", "my-public-inner");
    inner.commit("inner-file", "inner");
    inner.ok(&["push", "-q", "gigalixir", "master"]);
    let middle = house.working_copy("middle", "my-public-middle");
    middle.ok(&["submodule", "--quiet", "add", &public("my-public-inner"), "deps/inner"]);
    middle.ok(&["config", "-f", ".gitmodules", "submodule.deps/inner.url", "../my-public-inner.git"]);
    middle.commit_all("sub");
    middle.commit("later", "not wanted above");
    middle.ok(&["push", "-q", "gigalixir", "master:topic"]);
    let top = house.working_copy("top", "my-top");
    top.ok(&["submodule", "--quiet", "add", "-b", "topic", &public("my-public-middle"), "vendor/middle"]);
    top.ok(&["-C", "vendor/middle", "checkout", "-q", "HEAD^"]);
    top.commit_all("sub");
    let told = top.ok(&["push", "gigalixir", "master"]);
    assert!(told.contains("Fetching submodule `vendor/middle`"), "{told}");
    let seen = house.seen();
    let files = &seen.last().unwrap().files;
    assert_eq!(files["vendor/middle/README"], "hello\n");
    assert_eq!(files["vendor/middle/deps/inner/inner-file"], "inner");
    assert!(!files.contains_key("vendor/middle/later") && !files.keys().any(|name| name.contains(".git/")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn submodules_that_cannot_be_fetched_say_why() {
    let house = house().await;
    let work = house.working_copy("work", "my-app");
    let secret = format!("http://me:hunter2@127.0.0.1:{}/my-none.git", house.port);
    let commit = work.ok(&["rev-parse", "HEAD"]);
    work.ok(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},sub")]);
    work.ok(&["commit", "-q", "-m", "gitlink"]);
    assert!(work.fails(&["push", "gigalixir", "master"]).contains("no `.gitmodules`"));
    for (url, why) in [
        ("file:///etc", "begin with `file:`"),
        ("/etc", "use https"),
        ("git@example.com:a/b.git", "use https"),
        ("ssh://example.com/a", "begin with `ssh:`"),
        ("git://example.com/a", "begin with `git:`"),
        ("ext::sh -c true", "use https"),
        ("../other.git", "is relative"),
        (&secret, "cannot be fetched"),
    ] {
        work.write(".gitmodules", &format!("[submodule \"sub\"]\n\tpath = sub\n\turl = {url}\n"));
        work.ok(&["add", ".gitmodules"]);
        work.ok(&["commit", "-q", "-m", "modules"]);
        let told = work.fails(&["push", "gigalixir", "master"]);
        assert!(told.contains("submodule `sub`") && told.contains(why), "{url}: {told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    assert!(house.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn submodules_are_bounded() {
    let limits =
        Limits { submodule_depth: 3, submodules: 6, submodule_time: Duration::from_secs(1), ..Limits::default() };
    let house = house_with(limits).await;
    // Nested: each holds the one before.
    let leaf = house.working_copy("level0", "my-public-0");
    leaf.ok(&["push", "-q", "gigalixir", "master:topic"]);
    let gitlink = |work: &Work, commit: &str, url: &str, places: &[String]| {
        let mut modules = String::new();
        for place in places {
            modules += &format!("[submodule \"{place}\"]\n\tpath = {place}\n\turl = {url}\n");
            work.ok(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{place}")]);
        }
        work.write(".gitmodules", &modules);
        work.ok(&["add", ".gitmodules"]);
        work.ok(&["commit", "-q", "-m", "submodules"]);
        work.ok(&["rev-parse", "HEAD"])
    };
    let url = |level: usize| format!("http://127.0.0.1:{}/my-public-{level}.git", house.port);
    let (mut commit, mut works) = (leaf.ok(&["rev-parse", "HEAD"]), vec![leaf]);
    for level in 1..=4 {
        let work = house.working_copy(&format!("level{level}"), &format!("my-public-{level}"));
        commit = gitlink(&work, &commit, &url(level - 1), &["sub".to_owned()]);
        work.ok(&["push", "-q", "gigalixir", "master:topic"]);
        works.push(work);
    }
    works[3].ok(&["push", "gigalixir", "master"]);
    assert!(house.seen()[0].files.contains_key("sub/sub/sub/README"));
    let told = works[4].fails(&["push", "gigalixir", "master"]);
    assert!(told.contains("more than 3 levels deep"), "{told}");
    let many = house.working_copy("many", "my-many");
    let places: Vec<_> = (0..7).map(|n| format!("sub{n}")).collect();
    gitlink(&many, &works[0].ok(&["rev-parse", "HEAD"]), &url(0), &places);
    let told = many.fails(&["push", "gigalixir", "master"]);
    assert!(told.contains("more than 6 submodules"), "{told}");
    // A server that accepts and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let slow = house.working_copy("slow", "my-slow");
    let nowhere = format!("http://{}/x.git", silent.local_addr().unwrap());
    gitlink(&slow, &commit, &nowhere, &["sub".to_owned()]);
    let told = slow.fails(&["push", "gigalixir", "master"]);
    assert!(told.contains("took longer than 1s"), "{told}");
}

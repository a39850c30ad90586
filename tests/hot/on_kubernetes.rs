//! The same in a real cluster, which starts pods anew without asking anybody.

use super::*;

#[test]
fn three_nodes_take_three_versions_and_refuse_a_bad_one() {
    if Place::Kubernetes.is_there() {
        three_nodes(Place::Kubernetes);
    }
}

/// Ends one replica's pod, as somebody does who knows nothing of us.
fn delete(tally: &Tally, name: &str) {
    let (cluster, namespace) = tally.server.in_namespace("tally");
    let deleted = cluster.kubectl(&["delete", "pod", name, "-n", &namespace, "--wait=false"]);
    assert!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));
}

/// Another pod is in its place, and all are at one version.
#[track_caller]
fn comes_back(tally: &Tally, name: &str, version: &str) {
    wait_until("another pod is in its place", LONG, || {
        let pods = tally.versions();
        pods.len() == 2 && pods.iter().all(|(other, ..)| other != name)
    });
    is_whole(tally, version);
    let pods = tally.json(&["ps", "--json"]);
    assert!(pods["pods"].as_array().expect("pods").iter().all(|pod| pod["runs"] == version), "{pods:#}");
}

#[test]
fn a_pod_that_is_deleted_boots_what_was_brought_to_it() {
    if !Place::Kubernetes.is_there() {
        return;
    }
    let mut tally = Tally::at(Place::Kubernetes, 2);
    let mut visitors = tally.visitors(4);
    tally.lay("0.2.0");
    tally.push_hot();
    visitors.iter_mut().for_each(|visitor| assert_eq!(visitor.count(), "0.2.0"));
    let after = tally.versions();
    // The next server knows it too, though the pods are those that it was before.
    tally.server.terminate();
    tally.server.start_again();
    tally.wait_for(2);
    assert_eq!(tally.versions(), after);
    delete(&tally, &after[0].0);
    comes_back(&tally, &after[0].0, "0.2.0");

    tally.ada.run_in(&tally.project, &["releases:rollback", "--hot"]).ok();
    is_whole(&tally, "back");
    let name = tally.versions()[1].0.clone();
    delete(&tally, &name);
    comes_back(&tally, &name, "0.1.0");

    let rpc = |replica: &str| {
        let expression = "IO.puts(System.get_env(\"WORD\", \"none\"))";
        let words = ["ps:run", "--replica", replica, "bin/tally", "rpc", expression];
        tally.ada.run_in(&tally.project, &words).ok().trim().to_owned()
    };
    let names = tally.versions();
    tally.ada.run_in(&tally.project, &["config:set", "--hot", "WORD=hello"]).ok();
    assert_eq!((rpc("web.1"), rpc("web.2")), ("hello".to_owned(), "hello".to_owned()));
    let told: Vec<_> = tally.versions().into_iter().map(|(name, ..)| name).collect();
    assert!(names.iter().all(|(name, ..)| told.contains(name)), "no replica was replaced: {told:?}");
    delete(&tally, &names[0].0);
    comes_back(&tally, &names[0].0, "0.1.0");
    assert_eq!((rpc("web.1"), rpc("web.2")), ("hello".to_owned(), "hello".to_owned()));

    tally.ada.run_in(&tally.project, &["ps:scale", "web=3"]).ok();
    tally.wait_for(3);
    assert_eq!(rpc("web.3"), "hello", "one that is added is like the others");
}

#[test]
fn a_server_killed_before_the_commit_goes_back() {
    if Place::Kubernetes.is_there() {
        kill_at(&mut Tally::at(Place::Kubernetes, 2), &["upgrade.node_begun", "upgrade.node_changed"], |_| ());
    }
}

/// And a pod that went between the commit and the word to the cluster has booted the old release, and goes forth with the
/// others.
#[test]
fn a_server_killed_after_the_commit_goes_forth() {
    if Place::Kubernetes.is_there() {
        let mut tally = Tally::at(Place::Kubernetes, 2);
        let last = |tally: &Tally| {
            let (cluster, namespace) = tally.server.in_namespace("tally");
            let named = cluster.kubectl(&["get", "pods", "-n", &namespace, "-l", "gigalixir.web=true", "-o", "name"]);
            let named = String::from_utf8_lossy(&named.stdout).into_owned();
            delete(tally, named.lines().last().expect("a pod").trim_start_matches("pod/"));
        };
        kill_at(&mut tally, &["deploy.committed", "upgrade.applied"], last);
    }
}

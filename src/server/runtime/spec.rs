//! What an instance finds in its environment: pure, and the same on every runtime.
//!
//! The workload brings the platform's variables and the app's config merged. Here comes what only the runtime knows of
//! one instance. Config wins over it, and names are built from what won; only `PORT` is the platform's alone, because
//! the router goes there.

use super::super::domain::{Workload, WorkloadId};
use std::collections::BTreeMap;

/// Where an instance lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place<'a> {
    /// The instance's name, its `HOSTNAME`.
    pub name: &'a str,
    /// Its 1-based index, its `HOST_INDEX`.
    pub index: u32,
    /// The address by which other instances of the app reach it, its `MY_POD_IP`.
    pub ip: &'a str,
    /// The port that it shall listen on, its `PORT`.
    pub port: u16,
}

/// The whole environment of one instance.
pub fn environment(workload: &Workload, place: &Place<'_>) -> BTreeMap<String, String> {
    let mut env = workload.env.clone();
    let mut otherwise = |name: &str, value: String| env.entry(name.to_owned()).or_insert(value).clone();
    otherwise("HOME", "/app".to_owned());
    otherwise("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned());
    otherwise("LC_ALL", "C.UTF-8".to_owned());
    otherwise("HOSTNAME", place.name.to_owned());
    otherwise("HOST_INDEX", place.index.to_string());
    otherwise("GIGALIXIR__REPLICA_IP", place.ip.to_owned());
    let ip = otherwise("MY_POD_IP", place.ip.to_owned());
    let node = otherwise("MY_NODE_NAME", format!("{}@{ip}", workload.id.app));
    otherwise("RELEASE_NODE", node);
    otherwise("RELEASE_DISTRIBUTION", "name".to_owned());
    env.insert("PORT".to_owned(), place.port.to_string());
    env
}

/// Variables that are files of [`FILES_FOLDER`] too, as older clients look for them, and what they are called here.
const FILES: [(&str, &str); 7] = [
    ("MY_POD_IP", "MY_POD_IP"),
    ("ERLANG_COOKIE", "ERLANG_COOKIE"),
    ("REPO", "APP_NAME"),
    ("APP", "GIGALIXIR_APP_NAME"),
    ("APP_KEY", "APP_KEY"),
    ("LOGPLEX_TOKEN", "LOGPLEX_TOKEN"),
    ("SECRET_KEY_BASE", "SECRET_KEY_BASE"),
];

/// Where they lie.
pub const FILES_FOLDER: &str = "/kube-env-vars";

/// The files of an instance's variables: name and text.
pub fn files(env: &BTreeMap<String, String>) -> impl Iterator<Item = (&'static str, &str)> {
    FILES.iter().map(|(name, variable)| (*name, env.get(*variable).map(String::as_str).unwrap_or_default()))
}

/// Which files there are and of which variables, where they are written by whoever has the variables: `FILE=VARIABLE …`.
pub fn named_files() -> String {
    FILES.map(|(name, variable)| format!("{name}={variable}")).join(" ")
}

/// What else of ours is in every instance, below `/opt/gigalixir`. The first script goes by several names.
pub const TOOLS: [(&str, &str); 4] = [
    ("bin/gigalixir_run", RUN),
    ("bin/epmd", RUN),
    ("run-cmd", RUN),
    ("migrate.exs", include_str!("../../../config/migrate.exs")),
];
/// The script of several names: what it does is in its name.
pub const RUN: &str = include_str!("../../../config/gigalixir_run");

/// A name for a new instance: the generation's, and five letters and digits that cannot be mistaken for each other or make
/// a word.
pub fn new_name(id: &WorkloadId) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let suffix: String = (0..5).map(|_| char::from(LETTERS[rand::random_range(0..LETTERS.len())])).collect();
    format!("{id}-{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::domain::*;

    fn env_with(config: &[(&str, &str)]) -> BTreeMap<String, String> {
        let workload = Workload {
            id: WorkloadId { app: AppName::parse("shop").unwrap(), process: ProcessType::web(), generation: 7 },
            release: ReleaseVersion(3),
            replicas: 2,
            slug: SlugDigest::parse(&"a".repeat(64)).unwrap(),
            stack: Stack::local(),
            command: "true".to_owned(),
            arguments: Vec::new(),
            env: config.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            size: Size::from_milli(500),
            health: HealthCheck::Tcp,
            lifetime: Lifetime::Service,
        };
        environment(&workload, &Place { name: "shop-web-7-x", index: 2, ip: "127.64.0.9", port: 12345 })
    }

    #[test]
    fn an_instance_knows_itself() {
        let env = env_with(&[("FOO", "bar")]);
        for (name, value) in [
            ("FOO", "bar"),
            ("PORT", "12345"),
            ("HOST_INDEX", "2"),
            ("HOSTNAME", "shop-web-7-x"),
            ("MY_POD_IP", "127.64.0.9"),
            ("MY_NODE_NAME", "shop@127.64.0.9"),
            ("RELEASE_NODE", "shop@127.64.0.9"),
            ("RELEASE_DISTRIBUTION", "name"),
            ("HOME", "/app"),
        ] {
            assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
        }
    }

    #[test]
    fn config_wins_and_names_follow_it_but_the_port_stays() {
        let env = env_with(&[("MY_POD_IP", "10.0.0.1"), ("PORT", "80"), ("RELEASE_DISTRIBUTION", "none")]);
        assert_eq!(env["MY_NODE_NAME"], "shop@10.0.0.1");
        assert_eq!(env["RELEASE_DISTRIBUTION"], "none");
        assert_eq!(env["PORT"], "12345");
    }
}

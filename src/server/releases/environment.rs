//! The environment of a replica and of a build, as far as it is the same for all replicas. Pure. The platform's variables
//! come first and the app's config last: a person may override anything.

use std::collections::BTreeMap;

use crate::server::domain::{AppName, ConfigVars, Hostname, ReleaseVersion, Slug, SlugKind};

use super::AppSecrets;

type Vars = BTreeMap<String, String>;

/// What a replica of `slug` runs with. The runtime adds what differs from replica to replica (`PORT`, `HOST_INDEX`,
/// `MY_POD_IP`, `RELEASE_NODE` …).
pub fn of_replica(
    app: &AppName,
    domain: &Hostname,
    secrets: &AppSecrets,
    version: ReleaseVersion,
    slug: &Slug,
    config: &ConfigVars,
) -> Vars {
    let mut vars = of_app(app, secrets, &slug.sha);
    let mut set = |name: &str, value: &str| vars.insert(name.to_owned(), value.to_owned());
    for name in ["ERLANG_COOKIE", "MY_COOKIE", "RELEASE_COOKIE"] {
        set(name, &secrets.erlang_cookie);
    }
    set("RELEASE_DISTRIBUTION", "name");
    set("APP_KEY", &secrets.app_key);
    set("LOGPLEX_TOKEN", &secrets.logplex_token);
    set("GIGALIXIR__APP_NAME", app.as_str());
    set("GIGALIXIR__APP_KEY", &secrets.app_key);
    set("GIGALIXIR_RELEASE_VERSION", &version.0.to_string());
    set("PHX_SERVER", "true");
    set("PHX_HOST", Hostname::of_app(app, domain).as_str());
    set("HOME", "/app");
    // The one UTF-8 locale that every Debian has; an absent one makes each shell complain in the app's log.
    set("LC_ALL", "C.UTF-8");
    if let Some(name) = &slug.customer_app_name {
        set("GIGALIXIR_APP_NAME", name);
    }
    if slug.kind == SlugKind::Release {
        for name in ["GIGALIXIR_DEFAULT_VMARGS", "REPLACE_OS_VARS", "RELX_REPLACE_OS_VARS"] {
            set(name, "true");
        }
        set("GIGALIXIR_COMMAND", start_command(slug));
    }
    over(vars, config)
}

/// What a build of commit `sha` runs with.
pub fn of_build(app: &AppName, secrets: &AppSecrets, sha: &str, config: &ConfigVars) -> Vars {
    let mut vars = of_app(app, secrets, sha);
    vars.insert("PORT".to_owned(), "4000".to_owned());
    over(vars, config)
}

fn of_app(app: &AppName, secrets: &AppSecrets, sha: &str) -> Vars {
    [
        ("APP_NAME", app.as_str()),
        ("SECRET_KEY_BASE", &secrets.secret_key_base),
        ("SOURCE_VERSION", sha),
        ("LIBCLUSTER_KUBERNETES_SELECTOR", &format!("repo={app}")),
        ("LIBCLUSTER_KUBERNETES_NODE_BASENAME", app.as_str()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn over(mut vars: Vars, config: &ConfigVars) -> Vars {
    vars.extend(config.as_map().clone());
    vars
}

/// How the release's own script is told to start it: as the capabilities file says, else as distillery wants it.
fn start_command(slug: &Slug) -> &str {
    let capabilities = slug.capabilities.get("distillery").unwrap_or(&slug.capabilities);
    capabilities.get("start_command").and_then(|command| command.as_str()).unwrap_or("foreground")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::domain::{ProcessType, SlugDigest, Stack};

    fn slug(kind: SlugKind, capabilities: serde_json::Value) -> Slug {
        Slug {
            digest: SlugDigest::parse(&"a".repeat(64)).unwrap(),
            size: 1,
            sha: "77f6c29".to_owned(),
            stack: Stack::parse("gigalixir-24").unwrap(),
            kind,
            processes: BTreeMap::from([(ProcessType::web(), "run".to_owned())]),
            customer_app_name: (kind == SlugKind::Release).then(|| "my_shop".to_owned()),
            customer_app_version: None,
            capabilities,
            schedules: Vec::new(),
        }
    }

    fn secrets() -> AppSecrets {
        AppSecrets {
            secret_key_base: "base".to_owned(),
            erlang_cookie: "cookie".to_owned(),
            app_key: "key".to_owned(),
            logplex_token: "token".to_owned(),
        }
    }

    fn shown(vars: &Vars) -> Vec<String> {
        vars.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    fn replica(slug: &Slug, config: &[(&str, &str)]) -> Vec<String> {
        let config = config.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config = ConfigVars::new(config).unwrap();
        let app = AppName::parse("shop").unwrap();
        let domain = Hostname::parse("example.com").unwrap();
        shown(&of_replica(&app, &domain, &secrets(), ReleaseVersion(3), slug, &config))
    }

    #[test]
    fn a_mix_release_gets_all_that_the_contract_lists() {
        let slug = slug(SlugKind::Release, serde_json::json!({"eval": "elixir", "start_command": "start"}));
        assert_eq!(
            replica(&slug, &[]),
            [
                "APP_KEY=key",
                "APP_NAME=shop",
                "ERLANG_COOKIE=cookie",
                "GIGALIXIR_APP_NAME=my_shop",
                "GIGALIXIR_COMMAND=start",
                "GIGALIXIR_DEFAULT_VMARGS=true",
                "GIGALIXIR_RELEASE_VERSION=3",
                "GIGALIXIR__APP_KEY=key",
                "GIGALIXIR__APP_NAME=shop",
                "HOME=/app",
                "LC_ALL=C.UTF-8",
                "LIBCLUSTER_KUBERNETES_NODE_BASENAME=shop",
                "LIBCLUSTER_KUBERNETES_SELECTOR=repo=shop",
                "LOGPLEX_TOKEN=token",
                "MY_COOKIE=cookie",
                "PHX_HOST=shop.example.com",
                "PHX_SERVER=true",
                "RELEASE_COOKIE=cookie",
                "RELEASE_DISTRIBUTION=name",
                "RELX_REPLACE_OS_VARS=true",
                "REPLACE_OS_VARS=true",
                "SECRET_KEY_BASE=base",
                "SOURCE_VERSION=77f6c29",
            ]
        );
    }

    #[test]
    fn the_start_command_is_the_buildpacks_word() {
        for (capabilities, wanted) in [
            (serde_json::json!({"distillery": {"start_command": "start"}}), "GIGALIXIR_COMMAND=start"),
            (serde_json::json!({"distillery": {"eval": "elixir"}}), "GIGALIXIR_COMMAND=foreground"),
            (serde_json::Value::Null, "GIGALIXIR_COMMAND=foreground"),
        ] {
            let vars = replica(&slug(SlugKind::Release, capabilities), &[]);
            assert!(vars.contains(&wanted.to_owned()), "{vars:?}");
        }
    }

    #[test]
    fn config_overrides_the_platform_and_other_slugs_have_no_release_variables() {
        let vars = replica(&slug(SlugKind::Mix, serde_json::Value::Null), &[("PHX_HOST", "a.b"), ("X", "1")]);
        assert!(vars.contains(&"PHX_HOST=a.b".to_owned()) && vars.contains(&"X=1".to_owned()));
        assert!(!vars.iter().any(|var| var.starts_with("REPLACE_OS_VARS") || var.starts_with("GIGALIXIR_COMMAND")));
    }

    #[test]
    fn a_build_knows_neither_cookie_nor_key() {
        let config = ConfigVars::new(BTreeMap::from([("MIX_ENV".to_owned(), "staging".to_owned())])).unwrap();
        let vars = of_build(&AppName::parse("shop").unwrap(), &secrets(), "77f6c29", &config);
        assert_eq!(
            shown(&vars),
            [
                "APP_NAME=shop",
                "LIBCLUSTER_KUBERNETES_NODE_BASENAME=shop",
                "LIBCLUSTER_KUBERNETES_SELECTOR=repo=shop",
                "MIX_ENV=staging",
                "PORT=4000",
                "SECRET_KEY_BASE=base",
                "SOURCE_VERSION=77f6c29",
            ]
        );
    }
}

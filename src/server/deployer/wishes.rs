//! A release as workloads: what the runtime will be told. Pure.

use std::time::Duration;

use crate::server::domain::{
    AppName, ConfigVars, Formation, HealthCheck, Hostname, Invalid, ProcessType, ReleaseVersion, Slug, Workload,
    WorkloadId,
};
use crate::server::releases::{AppSecrets, environment};

/// The config variable that asks for an HTTP health check: a path such as `/health`.
pub const HEALTH_PATH: &str = "GIGALIXIR_HEALTH_PATH";
/// The config variable with the seconds that a replica may take to become healthy.
pub const HEALTH_TIMEOUT: &str = "GIGALIXIR_HEALTH_TIMEOUT";

/// What all workloads of one rollout have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    /// Whose.
    pub app: &'a AppName,
    /// The platform's domain.
    pub domain: &'a Hostname,
    /// The app's own secrets.
    pub secrets: &'a AppSecrets,
    /// What it runs.
    pub version: ReleaseVersion,
    /// The code.
    pub slug: &'a Slug,
    /// The configuration.
    pub config: &'a ConfigVars,
}

/// How the app wants its health to be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HealthRules {
    /// For `web`.
    pub web: HealthCheck,
    /// How long all replicas together may take.
    pub timeout: Duration,
}

impl HealthRules {
    /// As the app's config says, else TCP and `default_timeout`. Refused when it says nonsense: better than to find out
    /// in the middle of a deploy.
    pub(super) fn new(config: &ConfigVars, default_timeout: Duration) -> Result<Self, Invalid> {
        let web = match config.as_map().get(HEALTH_PATH) {
            None => HealthCheck::Tcp,
            Some(path) if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) => {
                HealthCheck::Http(path.clone())
            }
            Some(_) => {
                return Err(Invalid::new("configs", format!("`{HEALTH_PATH}` must be a path such as /health")));
            }
        };
        let timeout = match config.as_map().get(HEALTH_TIMEOUT).map(|text| text.parse()) {
            None => default_timeout,
            Some(Ok(seconds @ 1..=1800)) => Duration::from_secs(seconds),
            Some(_) => {
                return Err(Invalid::new("configs", format!("`{HEALTH_TIMEOUT}` must be 1 to 1800 (seconds)")));
            }
        };
        Ok(Self { web, timeout })
    }
}

/// One workload per process type of the slug, as many replicas as the formation says (perhaps none).
pub(super) fn workloads(
    subject: Subject<'_>,
    formation: &Formation,
    generation: i64,
    rules: &HealthRules,
    uptime: Duration,
) -> Vec<Workload> {
    let Subject { app, domain, secrets, version, slug, config } = subject;
    let env = environment::of_replica(app, domain, secrets, version, slug, config);
    let health = |process: &ProcessType| match process.is_web() {
        true => rules.web.clone(),
        false => HealthCheck::Uptime(uptime),
    };
    let one = |(process, command): (&ProcessType, &String)| Workload {
        id: WorkloadId { app: app.clone(), process: process.clone(), generation },
        release: version,
        replicas: formation.replicas_of(process),
        slug: slug.digest.clone(),
        stack: slug.stack.clone(),
        command: command.clone(),
        env: env.clone(),
        size: formation.size,
        health: health(process),
    };
    slug.processes.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn health_rules_come_from_the_config() {
        let default = Duration::from_secs(60);
        let rules = |vars: &[(&str, &str)]| {
            let vars: BTreeMap<_, _> = vars.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            HealthRules::new(&ConfigVars::new(vars).unwrap(), default)
        };
        assert_eq!(rules(&[]), Ok(HealthRules { web: HealthCheck::Tcp, timeout: default }));
        let wanted = HealthRules { web: HealthCheck::Http("/up?x=1".to_owned()), timeout: Duration::from_secs(5) };
        assert_eq!(rules(&[(HEALTH_PATH, "/up?x=1"), (HEALTH_TIMEOUT, "5")]), Ok(wanted));
        for bad in [(HEALTH_PATH, "up"), (HEALTH_PATH, "/a b"), (HEALTH_TIMEOUT, "0"), (HEALTH_TIMEOUT, "1m")] {
            assert!(rules(&[bad]).is_err(), "{bad:?}");
        }
    }
}

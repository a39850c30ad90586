//! What each room is told of the operator's configuration. Rooms do not know `ServerConfig`; this is the only place
//! where keys become their settings and units are converted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use url::Url;

use super::actions::account::AccountRules;
use super::actions::apps::{AppSettings, Billing};
use super::announced::Announced;
use super::builder::{Bounds, BuilderConfig};
use super::config::{S3Config, ServerConfig, SlugStore};
use super::deployer;
use super::domain::{AppName, Price, Stack};
use super::drains;
use super::jobs;
use super::logs::LogLimits;
use super::receiver;
use super::releases::Keep;
use super::router::RouterConfig;
use super::slugs::{BucketConfig, SlugsConfig};
use super::ssh;

const MIB: u64 = 1 << 20;

pub(super) fn slugs(config: &ServerConfig) -> anyhow::Result<SlugsConfig> {
    let folder = config.data_dir.join("slugs");
    let mut slugs = SlugsConfig::on_disk(folder);
    slugs.cache_bytes = config.slugs.cache_mib * MIB;
    if config.slugs.store == SlugStore::S3 {
        slugs.bucket = Some(bucket(&config.slugs.s3)?);
    }
    Ok(slugs)
}

fn bucket(s3: &S3Config) -> anyhow::Result<BucketConfig> {
    let missing = |key: &str| format!("`slugs.store` is \"s3\", so `slugs.s3.{key}` is needed");
    Ok(BucketConfig {
        endpoint: s3.endpoint.clone().with_context(|| missing("endpoint"))?,
        bucket: s3.bucket.clone().with_context(|| missing("bucket"))?,
        region: s3.region.clone().unwrap_or_else(|| "us-east-1".to_owned()),
        access_key_id: s3.access_key.clone().with_context(|| missing("access_key"))?,
        secret_access_key: s3.secret_key.clone().with_context(|| missing("secret_key"))?,
        prefix: s3.prefix.clone(),
    })
}

pub(super) fn logs(config: &ServerConfig) -> LogLimits {
    LogLimits { app_bytes: config.limits.log_mib * MIB, ..LogLimits::default() }
}

pub(super) fn keep(config: &ServerConfig) -> Keep {
    Keep { releases: config.limits.releases_kept, ..Keep::default() }
}

pub(super) fn receiver(config: &ServerConfig) -> receiver::Limits {
    receiver::Limits {
        pack_bytes: config.limits.pack_mib * MIB,
        object_bytes: usize::try_from(config.limits.object_mib * MIB).unwrap_or(usize::MAX),
        concurrent_packs: config.limits.pushes_at_once,
        ..receiver::Limits::default()
    }
}

pub(super) fn builder(config: &ServerConfig, dir: PathBuf) -> BuilderConfig {
    let told = &config.builder;
    BuilderConfig {
        dir,
        bounds: Bounds {
            memory_bytes: told.memory_mib * MIB,
            processes: told.pids,
            time: Duration::from_mins(told.minutes),
            output_bytes: told.output_mib * MIB,
            disk_bytes: told.disk_mib * MIB,
            ..Bounds::default()
        },
        slug_bytes: config.limits.slug_mib * MIB,
        concurrent: told.at_once,
        buildpacks_dir: told.buildpacks_dir.clone(),
        elixir_mirror: told.elixir_mirror.clone(),
    }
}

pub(super) fn deployer(config: &ServerConfig) -> deployer::Settings {
    deployer::Settings {
        health_timeout: Duration::from_secs(config.deploy.health_seconds),
        drain: Duration::from_secs(config.deploy.drain_seconds),
        grace: Duration::from_secs(config.deploy.grace_seconds),
        config_bytes: config.limits.config_kib * 1024,
        ..deployer::Settings::new(config.domain.clone())
    }
}

pub(super) fn jobs(config: &ServerConfig) -> jobs::Settings {
    let told = &config.jobs;
    jobs::Settings {
        limit: Duration::from_secs(told.seconds),
        attended_limit: Duration::from_secs(told.terminal_seconds),
        longest: Duration::from_secs(told.longest_seconds),
        release_limit: Duration::from_secs(told.release_seconds),
        at_once: told.at_once,
        queued: told.queued,
        runners: told.runners,
        kept: told.kept,
        grace: Duration::from_secs(config.deploy.grace_seconds),
        ..jobs::Settings::new(config.domain.clone())
    }
}

pub(super) fn router(config: &ServerConfig) -> RouterConfig {
    let told = &config.router;
    // 0 is for ever.
    let unless_zero = |seconds: u64| (seconds > 0).then(|| Duration::from_secs(seconds));
    RouterConfig {
        trusted_proxies: config.trusted_proxies.clone(),
        announced: announced(config),
        body_timeout: Duration::from_secs(told.body_seconds),
        header_timeout: Duration::from_secs(told.header_seconds),
        connect_timeout: Duration::from_secs(told.connect_seconds),
        response_timeout: unless_zero(told.response_seconds),
        tunnel_idle_timeout: unless_zero(told.idle_seconds),
        ..RouterConfig::default()
    }
}

pub(super) fn announced(config: &ServerConfig) -> Announced {
    Announced::by(&config.router.proxy_protocol)
}

/// As visitors reach https: the port of `app_url` if that is https, else where we listen.
pub(super) fn https_port(config: &ServerConfig) -> u16 {
    let said = config.app_url.as_ref().filter(|url| url.scheme() == "https");
    said.and_then(Url::port_or_known_default).unwrap_or(config.https.port())
}

pub(super) fn ssh(config: &ServerConfig) -> ssh::Settings {
    let told = &config.gateway;
    ssh::Settings {
        login: Duration::from_secs(told.login_seconds),
        idle: Duration::from_secs(told.idle_seconds),
        keepalive: Duration::from_secs(told.keepalive_seconds),
        attempts: told.attempts_per_address,
        per_address: told.connections_per_address,
        per_account: told.connections_per_account,
        channels: told.channels_per_connection,
        buffer: told.buffer_mib << 20,
        drain: Duration::from_secs(told.drain_seconds),
    }
}

pub(super) fn accounts(config: &ServerConfig) -> AccountRules {
    AccountRules {
        signups: config.signups,
        rates: config.rates.clone(),
        ssh_keys: config.limits.ssh_keys_per_account,
        billing: config.billing.enabled,
        domain: config.domain.clone(),
        api_url: config.public_api(),
    }
}

pub(super) fn apps(
    config: &ServerConfig,
    cloud: &'static str,
    stacks: (Stack, Vec<Stack>),
) -> anyhow::Result<AppSettings> {
    Ok(AppSettings {
        per_account: config.limits.apps_per_account as usize,
        domains_per_app: config.limits.domains_per_app as usize,
        schedules_per_app: config.jobs.schedules,
        people_per_app: config.limits.people_per_app as usize,
        drains_per_app: config.limits.drains_per_app as usize,
        sessions_per_account: config.limits.sessions_per_account,
        cloud,
        stacks,
        domain: config.domain.clone(),
        app_url: Url::parse(&config.public_apps())?,
        git_url: Url::parse(&config.public_git())?,
        ssh: config.public_ssh(),
        api_url: Url::parse(&config.public_api())?,
        slug_url_life: Duration::from_secs(config.slugs.url_seconds),
        default_backend_key: config.router.default_backend_key.clone(),
        metrics_key: config.router.metrics_key.clone(),
        billing: Billing { price: price(config), currency: config.billing.currency.clone() },
    })
}

pub(super) fn drains(config: &ServerConfig) -> drains::Settings {
    let limits = &config.limits;
    drains::Settings {
        per_app: limits.drains_per_app as usize,
        private: limits.private_drains,
        pace: drains::Pace::default(),
    }
}

/// What use costs; nothing, unless the operator says so. A number that is no price was refused at the start.
pub(super) fn price(config: &ServerConfig) -> Price {
    let told = &config.billing;
    if told.enabled { Price::parse(told.price).unwrap_or_default() } else { Price::default() }
}

/// Where a browser finds an app.
pub(super) fn addresses(config: &ServerConfig) -> impl Fn(&AppName) -> String + Send + Sync + use<> {
    let config = config.clone();
    move |app| config.app_address(app)
}

/// The one stack of the local runtime: this machine, named as its os-release(5) names it (`debian-12`).
pub(super) fn machine_stack(os_release: &Path) -> Stack {
    let text = std::fs::read_to_string(os_release).unwrap_or_default();
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.map(|value| value.trim_matches('"').to_lowercase())
    };
    let name = [value("ID"), value("VERSION_ID")].into_iter().flatten().collect::<Vec<_>>().join("-");
    Stack::parse(&name).unwrap_or_else(|_| Stack::local())
}

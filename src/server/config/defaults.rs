//! What holds when nobody decided. `config/server.toml` says the same to the operator.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::Ipv4Net;

use super::{
    BillingConfig, BuilderConfig, DeployConfig, DockerSettings, GatewayConfig, JobsConfig, KubernetesSettings, Limits,
    LogFormat, Rates, RouterTimeouts, RuntimeChoice, S3Config, SandboxChoice, ServerConfig, Signups, SlugStore,
    SlugsConfig, SmtpConfig, TlsConfig,
};
use crate::server::domain::Hostname;

impl Default for ServerConfig {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            data_dir: PathBuf::new(),
            domain: Hostname::localhost(),
            api: loopback(4000),
            http: loopback(8080),
            https: loopback(8443),
            ssh: loopback(2222),
            runtime: RuntimeChoice::Auto,
            stop_apps_on_exit: false,
            signups: Signups::First,
            log: "info".into(),
            log_format: LogFormat::Auto,
            api_url: None,
            git_url: None,
            app_url: None,
            trusted_proxies: Vec::new(),
            smtp: SmtpConfig::default(),
            limits: Limits::default(),
            rates: Rates::default(),
            builder: BuilderConfig::default(),
            slugs: SlugsConfig::default(),
            deploy: DeployConfig::default(),
            jobs: JobsConfig::default(),
            router: RouterTimeouts::default(),
            tls: TlsConfig::default(),
            gateway: GatewayConfig::default(),
            billing: BillingConfig::default(),
            docker: DockerSettings::default(),
            kubernetes: KubernetesSettings::default(),
            file: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_kib: 1024,
            pack_mib: 1024,
            object_mib: 1024,
            pushes_at_once: 4,
            slug_mib: 500,
            log_mib: 16,
            releases_kept: 50,
            config_kib: 32,
            ssh_keys_per_account: 50,
            apps_per_account: 100,
            domains_per_app: 100,
            people_per_app: 25,
            drains_per_app: 5,
            private_drains: false,
            sessions_per_account: 1000,
        }
    }
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            requests_per_address: 6000,
            requests_per_account: 6000,
            logins_per_address: 30,
            logins_per_account: 10,
            codes_per_address: 30,
            codes_per_signup: 5,
            mails_per_recipient: 5,
        }
    }
}

impl Default for BuilderConfig {
    fn default() -> Self {
        Self {
            sandbox: SandboxChoice::Auto,
            elixir_mirror: None,
            buildpacks_dir: None,
            at_once: 2,
            minutes: 30,
            memory_mib: 4096,
            pids: 2048,
            disk_mib: 10_240,
            output_mib: 64,
        }
    }
}

impl Default for SlugsConfig {
    fn default() -> Self {
        Self { store: SlugStore::Local, url_seconds: 900, cache_mib: 4096, s3: S3Config::default() }
    }
}

impl Default for DeployConfig {
    fn default() -> Self {
        Self { health_seconds: 60, drain_seconds: 30, grace_seconds: 30 }
    }
}

impl Default for DockerSettings {
    fn default() -> Self {
        let subnets = Ipv4Net::new_assert(Ipv4Addr::new(10, 220, 0, 0), 14);
        Self { socket: "/var/run/docker.sock".into(), subnets, stacks_dir: None }
    }
}

impl Default for JobsConfig {
    fn default() -> Self {
        Self {
            seconds: 300,
            terminal_seconds: 3600,
            longest_seconds: 86_400,
            release_seconds: 1800,
            at_once: 5,
            queued: 20,
            runners: 10,
            kept: 200,
            output_kib: 1024,
            schedules: 50,
        }
    }
}

impl Default for RouterTimeouts {
    fn default() -> Self {
        Self {
            connect_seconds: 5,
            response_seconds: 60,
            header_seconds: 15,
            body_seconds: 60,
            idle_seconds: 3600,
            proxy_protocol: Vec::new(),
            default_backend_key: None,
            metrics_key: None,
        }
    }
}

impl Default for BillingConfig {
    fn default() -> Self {
        Self { enabled: false, price: 0.0, currency: "USD".into() }
    }
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            address: None,
            login_seconds: 30,
            idle_seconds: 3600,
            keepalive_seconds: 30,
            attempts_per_address: 30,
            connections_per_address: 1000,
            connections_per_account: 1000,
            channels_per_connection: 64,
            buffer_mib: 64,
            drain_seconds: 10,
        }
    }
}

//! Values that are well formed, and cannot work.

use super::addresses::SshAddress;
use super::{ServerConfig, SlugStore};
use crate::server::domain::Price;

impl ServerConfig {
    /// The first of them, as a sentence.
    pub(super) fn contradiction(&self) -> Option<String> {
        let s3 = &self.slugs.s3;
        let s3_complete =
            s3.endpoint.is_some() && s3.bucket.is_some() && s3.access_key.is_some() && s3.secret_key.is_some();
        let web = |url: &url::Url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
        let addresses = [
            ("api_url", &self.api_url),
            ("git_url", &self.git_url),
            ("app_url", &self.app_url),
            ("kubernetes.server_url", &self.kubernetes.server_url),
        ];
        let odd = addresses.into_iter().find(|(_, url)| url.as_ref().is_some_and(|url| !web(url)));
        if let Some((key, _)) = odd {
            return Some(format!("`{key}` is no http:// or https:// address"));
        }
        if self.slugs.store == SlugStore::S3 && !s3_complete {
            return Some(
                "slugs.store \"s3\" needs `endpoint`, `bucket`, `access_key` and `secret_key` in [slugs.s3]".into(),
            );
        }
        if self.smtp.username.is_some() != self.smtp.password.is_some() {
            return Some("[smtp] needs `username` and `password` (or `password_file`) together".into());
        }
        if let Err(why) = Price::parse(self.billing.price) {
            return Some(format!("`billing.{}` {}", why.field, why.message));
        }
        if self.docker.subnets.prefix_len() > 26 {
            return Some("`docker.subnets` must be a /26 or larger: each app's network takes 64 addresses".into());
        }
        let prefix = &self.kubernetes.namespace_prefix;
        let is_prefix = prefix.len() <= 32
            && prefix.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
            && prefix.bytes().next().is_none_or(|c| c.is_ascii_lowercase());
        if !is_prefix {
            return Some(
                "`kubernetes.namespace_prefix` must be at most 32 of a-z, 0-9 and -, and begin with a letter".into(),
            );
        }
        if self.limits.releases_kept < 2 {
            return Some("`limits.releases_kept` must be at least 2, so that there is a release to go back to".into());
        }
        if let Some(sentence) = self.tls.contradiction() {
            return Some(sentence);
        }
        if self.gateway.address.as_deref().is_some_and(|address| SshAddress::parse(address).is_none()) {
            return Some("`gateway.address` is neither a host nor HOST:PORT".into());
        }
        self.zero().map(|key| format!("`{key}` must not be 0"))
    }

    fn zero(&self) -> Option<&'static str> {
        let (limits, builder, deploy) = (&self.limits, &self.builder, &self.deploy);
        [
            ("limits.body_kib", limits.body_kib == 0),
            ("limits.config_kib", limits.config_kib == 0),
            ("limits.pack_mib", limits.pack_mib == 0),
            ("limits.object_mib", limits.object_mib == 0),
            ("limits.pushes_at_once", limits.pushes_at_once == 0),
            ("limits.slug_mib", limits.slug_mib == 0),
            ("limits.log_mib", limits.log_mib == 0),
            ("jobs.seconds", self.jobs.seconds == 0),
            ("jobs.terminal_seconds", self.jobs.terminal_seconds == 0),
            ("jobs.longest_seconds", self.jobs.longest_seconds == 0),
            ("jobs.release_seconds", self.jobs.release_seconds == 0),
            ("jobs.at_once", self.jobs.at_once == 0),
            ("jobs.kept", self.jobs.kept == 0),
            ("jobs.output_kib", self.jobs.output_kib == 0),
            ("rates.codes_per_signup", self.rates.codes_per_signup == 0),
            ("builder.at_once", builder.at_once == 0),
            ("builder.minutes", builder.minutes == 0),
            ("builder.memory_mib", builder.memory_mib == 0),
            ("builder.pids", builder.pids == 0),
            ("builder.disk_mib", builder.disk_mib == 0),
            ("slugs.url_seconds", self.slugs.url_seconds == 0),
            ("deploy.health_seconds", deploy.health_seconds == 0),
            ("router.connect_seconds", self.router.connect_seconds == 0),
            ("router.response_seconds", self.router.response_seconds == 0),
            ("router.header_seconds", self.router.header_seconds == 0),
            ("router.body_seconds", self.router.body_seconds == 0),
            ("gateway.login_seconds", self.gateway.login_seconds == 0),
            ("gateway.connections_per_address", self.gateway.connections_per_address == 0),
            ("gateway.connections_per_account", self.gateway.connections_per_account == 0),
            ("gateway.channels_per_connection", self.gateway.channels_per_connection == 0),
            ("gateway.buffer_mib", self.gateway.buffer_mib == 0),
        ]
        .into_iter()
        .find_map(|(key, is_zero)| is_zero.then_some(key))
    }
}

//! How much there may be of everything, and how often something may be asked.

use serde::Deserialize;

/// How much of everything. A MiB is 1,048,576 bytes.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// KiB of a JSON request.
    pub body_kib: usize,
    /// MiB of one push's pack.
    pub pack_mib: u64,
    /// MiB of one object in a pack, unpacked.
    pub object_mib: u64,
    /// Pushes received at once; others wait.
    pub pushes_at_once: usize,
    /// MiB of a slug.
    pub slug_mib: u64,
    /// MiB of log kept for each app.
    pub log_mib: u64,
    /// Releases kept for each app; at least 2, so that there is one to go back to.
    pub releases_kept: u32,
    /// KiB of an app's variables, names and values together.
    pub config_kib: usize,
    /// SSH keys of one account.
    pub ssh_keys_per_account: u32,
    /// Apps of one account.
    pub apps_per_account: u32,
    /// Custom domains of one app.
    pub domains_per_app: u32,
    /// People with a role in one app, beside its owner.
    pub people_per_app: u32,
    /// Log drains of one app.
    pub drains_per_app: u32,
    /// Whether drains may lead to this machine and to private networks.
    pub private_drains: bool,
    /// Consoles, programs and tunnels of one account over the API, at once.
    pub sessions_per_account: usize,
}

/// How often something may be asked: so many at once, then as many again evenly over the time. 0 is unlimited.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rates {
    /// Requests to the API and git per address (IPv6: per /64) and minute.
    pub requests_per_address: u32,
    /// Requests of one account per minute.
    pub requests_per_account: u32,
    /// Failed sign-ins per address (IPv6: per /64) and minute.
    pub logins_per_address: u32,
    /// Failed sign-ins per account and minute.
    pub logins_per_account: u32,
    /// Signup steps and tokens tried per address and minute.
    pub codes_per_address: u32,
    /// Wrong codes per signup; then it begins anew.
    pub codes_per_signup: u32,
    /// Mails to one mail address per hour.
    pub mails_per_recipient: u32,
}

/// One-off, scheduled and release-phase jobs.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobsConfig {
    /// Seconds of a job that does not say.
    pub seconds: u64,
    /// Seconds of a job at a terminal that does not say.
    pub terminal_seconds: u64,
    /// Seconds of any job.
    pub longest_seconds: u64,
    /// Seconds of a release phase.
    pub release_seconds: u64,
    /// Jobs of one app that run at a time.
    pub at_once: usize,
    /// Jobs of one app that wait.
    pub queued: u32,
    /// Runners of one app that there may be at a time, beside its jobs; 0 for none ever.
    pub runners: usize,
    /// Records of ended jobs kept for each app.
    pub kept: u32,
    /// KiB of output kept for each job.
    pub output_kib: u64,
    /// Schedules of one app.
    pub schedules: u32,
}

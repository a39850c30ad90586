//! The nouns. No IO, no async, no foreign types beyond time, ids and serde: a value that exists is valid, because its
//! constructor is the validator.

mod account;
mod app;
mod certificate;
mod config_vars;
mod formation;
mod front;
mod instance;
mod invalid;
mod job;
mod log_line;
mod names;
mod period;
mod push;
mod release;
mod role;
mod route_table;
mod rules;
mod schedule;
mod slug;
mod ssh_key;
mod upgrade;
mod workload;

pub use account::{Email, Tier, User, UserId};
pub use app::{App, AppId};
pub use certificate::{Certificate, CertificateOrder, CertificateSource, OrderStep};
pub use config_vars::ConfigVars;
pub use formation::{Formation, Size};
pub use front::{Canary, Front};
pub use instance::{Exit, ExitReason, Instance, InstanceState};
pub use invalid::Invalid;
pub use job::{Job, JobCommand, JobEnd, JobId, JobKind, JobState, Outcome};
pub use log_line::{LogLine, LogSource};
pub use names::{AppName, CertificateName, Hostname, ProcessType, Stack};
pub use period::{Amount, Period, Price};
pub use push::Push;
pub use release::{Release, ReleaseState, ReleaseVersion};
pub use role::Role;
pub use route_table::{Backend, Route, RouteState, RouteTable};
pub use rules::{Canonical, Rules};
pub use schedule::{Overlap, Schedule, ScheduleId, SchedulePlan};
pub use slug::{Slug, SlugDigest, SlugKind};
pub use ssh_key::SshKey;
pub use upgrade::{AppChange, ModuleChange, NodeUpgrade, NodeUpgradeState, Refusal, UpgradePlan, UpgradeScripts};
pub use workload::{HealthCheck, Lifetime, Workload, WorkloadId};
